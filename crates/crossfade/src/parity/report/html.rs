//! A page of its own: no script, nothing loaded, every name inert.

use std::fmt::Write;

use parity::{Part, Percent, Side, Subject, Verdict};

use super::{Document, other_names, shown};
use crate::parity::charts::{Chart, Charts};

/// So many series are shown as charts, and of one subject.
const CHARTS_MAX: usize = 24;
const CHARTS_OF_SUBJECT_MAX: usize = 4;

/// So many subjects that differ are shown with their parts.
const DETAILED_MAX: usize = 200;

/// The size of a chart, and the space around its lines.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 150.0;
const SPACE: f64 = 10.0;

/// Nothing but the styles of the page itself is allowed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--legacy:#b45309;--new:#0369a1}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1 small{font-weight:normal}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
td.number,th.number{text-align:right}
code{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
h2 code{font-size:1.1rem}
td code{display:inline-block;min-width:8rem}
.different{color:#dc2626}.inconclusive{color:#a16207}.equivalent{color:#15803d}.not_comparable{color:#6b7280}
section{margin:2rem 0}
.charts{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:.5rem 0;flex:1 1 24rem}
svg{width:100%;height:auto;border:1px solid var(--line)}
polyline{fill:none;stroke-width:1.5}
.legacy{stroke:var(--legacy)}.new{stroke:var(--new)}
text{font:10px sans-serif;fill:currentColor}
";

pub(super) fn write(document: &Document, charts: &Charts) -> String {
    let mut out = String::new();
    let verdict = document.verdict.name();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Parity: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Parity: {verdict}</h1>\n<p>{}.</p>\n",
        escaped(&document.summary())
    );
    write_sides(&mut out, document);
    for remark in document.remarks() {
        let _ = writeln!(out, "<p>Note: {}</p>", escaped(&remark));
    }
    let by_name = charts.by_name();
    let mut shown_charts = 0;
    for subject in document.differing().take(DETAILED_MAX) {
        write_difference(&mut out, subject);
        for part in charted(subject) {
            if let Some(chart) = by_name.get(&part.name).filter(|_| shown_charts < CHARTS_MAX) {
                write_chart(&mut out, part, chart);
                shown_charts += 1;
            }
        }
        out.push_str("</section>\n");
    }
    if let Some(more) = document.not_detailed(DETAILED_MAX) {
        let _ = writeln!(out, "<p>{}.</p>", escaped(&more));
    }
    write_failures(&mut out, document);
    write_subjects(&mut out, document);
    out.push_str("</body>\n</html>\n");
    out
}

fn write_sides(out: &mut String, document: &Document) {
    let (margin, confidence) = (Percent(document.margin_ratio), document.confidence * 100.0);
    let _ = writeln!(out, "<p>Asked: equal within {margin} at {confidence:.0} %.</p>");
    out.push_str("<table>\n<tr><th>side</th><th>source</th><th>time</th><th class=\"number\">items</th></tr>\n");
    for (name, side) in document.sources() {
        let (source, time, items) = (escaped(&side.source), side.time(), side.items);
        let _ = writeln!(
            out,
            "<tr><td>{name}</td><td><code>{source}</code></td><td>{time}</td><td class=\"number\">{items}</td></tr>"
        );
    }
    out.push_str("</table>\n");
}

fn write_failures(out: &mut String, document: &Document) {
    for (explanation, subjects) in document.found_failures() {
        let parity::Explanation { title, explanation, example, remedy } = explanation;
        let [title, explanation, example, remedy] = [title, explanation, example, remedy].map(escaped);
        let _ = writeln!(out, "<h2>{title}, {subjects}</h2>\n<p>{explanation}</p>");
        let _ = writeln!(out, "<p>Example: {example}</p>\n<p>Remedy: {remedy}</p>");
    }
}

fn write_subjects(out: &mut String, document: &Document) {
    out.push_str(
        "<h2>Everything</h2>\n<table>\n<tr><th>verdict</th><th>signal</th><th>subject</th><th>in words</th></tr>\n",
    );
    for subject in document.by_urgency() {
        let (class, verdict) = (subject.verdict.name(), shown(&subject.verdict));
        let _ = writeln!(
            out,
            "<tr><td class=\"{class}\">{verdict}</td><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            subject.signal,
            escaped(&subject.name),
            escaped(&subject.sentence)
        );
    }
    out.push_str("</table>\n");
}

fn write_difference(out: &mut String, subject: &Subject) {
    let (name, sentence) = (escaped(&subject.name), escaped(&subject.sentence));
    let _ = writeln!(out, "<section>\n<h2 class=\"different\"><code>{name}</code></h2>\n<p>{sentence}.</p>");
    if let Some(names) = other_names(subject) {
        let _ = writeln!(out, "<p>Names: {}.</p>", escaped(&names));
    }
    if let Some(failure) = subject.failure {
        let _ = writeln!(out, "<p>Failure: <strong>{}</strong></p>", escaped(failure.explain().title));
    }
    let open = if subject.parts.len() > 5 { "" } else { " open" };
    if !subject.parts.is_empty() {
        let _ = writeln!(out, "<details{open}><summary>where</summary>\n<table>");
        for part in &subject.parts {
            let (class, verdict) = (part.verdict.name(), shown(&part.verdict));
            let (name, sentence) = (escaped(&part.name), escaped(&part.sentence));
            let _ = writeln!(
                out,
                "<tr><td class=\"{class}\">{verdict}</td><td><code>{name}</code></td><td>{sentence}</td></tr>"
            );
        }
        out.push_str("</table></details>\n");
    }
}

/// The parts that are shown: those that differ, or where only the sets do, those that are on one side alone.
fn charted(subject: &Subject) -> impl Iterator<Item = &Part> {
    let mut parts: Vec<&Part> =
        subject.parts.iter().filter(|part| !matches!(part.verdict, Verdict::Equivalent { .. })).collect();
    parts.sort_by_key(|part| super::urgency(&part.verdict));
    // What stands for a set of series has no chart itself.
    let is_of_one = |part: &&Part| subject.counts.is_empty() || !part.name.contains(" series such as ");
    parts.into_iter().filter(is_of_one).take(CHARTS_OF_SUBJECT_MAX)
}

/// Both sides beside each other, to the same scale.
fn write_chart(out: &mut String, part: &Part, chart: &Chart) {
    let sides = [Side::Legacy, Side::New].map(|side| (side, chart.drawn(side)));
    let range = |of: fn(&(u64, f64)) -> f64| {
        let values = sides.iter().flat_map(|(_, points)| points).map(of);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (times, values) = (range(|point| point.0 as f64), range(|point| point.1));
    let unit = if chart.is_count { ", rise by the second" } else { "" };
    let _ = writeln!(out, "<p><code>{}</code>{unit}</p>\n<div class=\"charts\">", escaped(&part.name));
    for (side, points) in &sides {
        let _ = write!(
            out,
            "<figure><figcaption>{side}</figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{side}\">"
        );
        match points.is_empty() {
            true => {
                let _ = write!(out, "<text x=\"{}\" y=\"{}\">nothing</text>", WIDTH / 2.0 - 20.0, HEIGHT / 2.0);
            }
            false => write_line(out, *side, points, times, values),
        }
        out.push_str("</svg></figure>\n");
    }
    out.push_str("</div>\n");
}

fn write_line(out: &mut String, side: Side, points: &[(u64, f64)], times: (f64, f64), values: (f64, f64)) {
    let _ = write!(out, "<polyline class=\"{side}\" points=\"");
    for (time, value) in points {
        let x = SPACE + place(*time as f64, times) * (WIDTH - 2.0 * SPACE);
        let y = HEIGHT - SPACE - place(*value, values) * (HEIGHT - 2.0 * SPACE);
        let _ = write!(out, "{x:.1},{y:.1} ");
    }
    let (least, greatest) = (brief(values.0), brief(values.1));
    let bottom = HEIGHT - 2.0;
    let _ = write!(out, "\"/><text x=\"4\" y=\"10\">{greatest}</text><text x=\"4\" y=\"{bottom}\">{least}</text>");
}

/// A number with the digits that a chart can show.
fn brief(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if !(1e-3..1e9).contains(&size) => format!("{value:.3e}"),
        _ if size >= 1000.0 => format!("{value:.0}"),
        _ if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Where a value lies between the least and the greatest; in the middle, if they are the same.
fn place(value: f64, (low, high): (f64, f64)) -> f64 {
    if high > low { (value - low) / (high - low) } else { 0.5 }
}

/// Text for elements and for attributes in double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
