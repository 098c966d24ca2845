//! A page of its own: no script, nothing loaded, every name inert.

use std::collections::HashMap;
use std::fmt::Write;

use parity::{Chart, Charts, Part, Percent, Side, Subject, Verdict};

use crate::columns::number;
use crate::document::{Document, Suggestions, headline, is_of_sets, other_names, repeats, shown, subjects_of};

/// So many series are shown as charts, and of one subject; of sets of series, one.
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
:root{color-scheme:light dark;--line:#8884;--legacy:#b45309;--new:#0369a1;
--different:#c81e1e;--inconclusive:#92590c;--equivalent:#15803d;--other:#5b6472}
@media(prefers-color-scheme:dark){:root{--legacy:#fbbf24;--new:#38bdf8;
--different:#f87171;--inconclusive:#facc15;--equivalent:#4ade80;--other:#a8b1bf}}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h2{margin:2.5rem 0 .5rem}
p{margin:.5rem 0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{padding-left:0}
td.number,th.number{text-align:right}
td.different,td.inconclusive,td.equivalent,td.not_comparable{white-space:nowrap}
code{font:13px/1.5 ui-monospace,monospace;overflow-wrap:break-word}
h2 code{font-size:1.1rem}
a{color:inherit}
.different{color:var(--different)}.inconclusive{color:var(--inconclusive)}
.equivalent{color:var(--equivalent)}.not_comparable{color:var(--other)}
.counts{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;padding:0;list-style:none;font-size:1.1rem}
.charts{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:.5rem 0;flex:1 1 20rem;min-width:0}
svg{width:100%;height:auto;border:1px solid var(--line)}
polyline{fill:none;stroke-width:1.5}
.legacy{stroke:var(--legacy)}.new{stroke:var(--new)}
text{font:10px sans-serif;fill:currentColor}
@media(max-width:40rem){tr{display:block;border-bottom:1px solid var(--line);padding:.4rem 0}
th{display:none}td{display:block;border:0;padding:.1rem 0}td.number{text-align:left}td.number::after{content:' items'}}
";

pub(crate) fn write(document: &Document, charts: &Charts) -> String {
    let mut out = String::new();
    let verdict = document.verdict.name();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Parity: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Parity: {verdict}</h1>\n"
    );
    write_counts(&mut out, document);
    write_suggestions(&mut out, document);
    write_sides(&mut out, document);
    for remark in document.remarks() {
        let _ = writeln!(out, "<p>Note: {}</p>", escaped(&remark));
    }
    write_failures(&mut out, document);
    let numbers = write_subjects(&mut out, document);
    let by_name = charts.by_name();
    let mut shown_charts = 0;
    for subject in document.differing().take(DETAILED_MAX) {
        write_difference(&mut out, subject, numbers.get(&place_of(subject)).copied().unwrap_or(0));
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
    out.push_str("</body>\n</html>\n");
    out
}

/// How many there are of each verdict.
fn write_counts(out: &mut String, document: &Document) {
    out.push_str("<ul class=\"counts\">\n");
    for verdict in ["different", "inconclusive", "equivalent", "not_comparable"] {
        let (count, words) = (document.count(verdict), verdict.replace('_', " "));
        let _ = writeln!(out, "<li class=\"{verdict}\"><strong>{count}</strong> {words}</li>");
    }
    out.push_str("</ul>\n");
    if document.report.left_out > 0 {
        let _ = writeln!(out, "<p>{} items left out.</p>", number(document.report.left_out));
    }
}

/// What would help.
fn write_suggestions(out: &mut String, document: &Document) {
    let Some(Suggestions { words, configuration }) = document.suggestions() else { return };
    out.push_str("<h2>What would help</h2>\n<ul>\n");
    for sentence in &words {
        let _ = writeln!(out, "<li>{}.</li>", escaped(sentence));
    }
    // The line ends are those of the configuration; what is in a line is made inert.
    let lines: Vec<String> = configuration.lines().map(escaped).collect();
    let _ = writeln!(out, "</ul>\n<pre style=\"overflow-x:auto\"><code>{}</code></pre>", lines.join("\n"));
}

/// What tells a subject from all others.
fn place_of(subject: &Subject) -> (&str, &str) {
    (subject.signal, &subject.name)
}

fn write_sides(out: &mut String, document: &Document) {
    let (margin, confidence) = (Percent(document.margin_ratio), document.confidence * 100.0);
    let _ = writeln!(out, "<p>Asked: equal within {margin} at {confidence:.0} %.</p>");
    out.push_str("<table>\n<tr><th>side</th><th>source</th><th>time</th><th class=\"number\">items</th></tr>\n");
    for (name, side) in document.sources() {
        let (source, time, items) = (code(&side.source), side.time(), number(side.items));
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
        let names = subjects_of(&subjects, |name| format!("<code>{}</code>", code(name)));
        let _ = writeln!(out, "<h2>{title}</h2>\n<p>{explanation}</p>\n<p>Subjects: {names}.</p>");
        let _ = writeln!(out, "<p>Example: {example}</p>\n<p>Remedy: {remedy}</p>");
    }
}

/// Everything in one table; gives the numbers of those that have a section of their own.
fn write_subjects<'a>(out: &mut String, document: &'a Document) -> HashMap<(&'a str, &'a str), usize> {
    let mut numbers = HashMap::new();
    out.push_str(
        "<h2>Everything</h2>\n<table>\n<tr><th>verdict</th><th>signal</th><th>subject</th><th>in words</th></tr>\n",
    );
    for (at, subject) in document.by_urgency().into_iter().enumerate() {
        let (class, verdict) = (subject.verdict.name(), shown(&subject.verdict));
        let mut name = format!("<code>{}</code>", code(&subject.name));
        if matches!(subject.verdict, Verdict::Different(_)) && at < DETAILED_MAX {
            name = format!("<a href=\"#subject-{}\">{name}</a>", at + 1);
            numbers.insert(place_of(subject), at + 1);
        }
        let _ = writeln!(
            out,
            "<tr><td class=\"{class}\">{verdict}</td><td>{}</td><td>{name}</td><td>{}</td></tr>",
            subject.signal,
            escaped(&headline(subject))
        );
    }
    out.push_str("</table>\n");
    numbers
}

fn write_difference(out: &mut String, subject: &Subject, number: usize) {
    let (name, sentence) = (code(&subject.name), escaped(&subject.sentence));
    let _ = writeln!(
        out,
        "<section id=\"subject-{number}\">\n<h2 class=\"different\"><code>{name}</code></h2>\n<p>{sentence}.</p>"
    );
    if let Some(names) = other_names(subject) {
        let _ = writeln!(out, "<p>Names: {}.</p>", escaped(&names));
    }
    write_depths(out, subject);
    if let Some(failure) = subject.failure {
        let _ = writeln!(out, "<p>Failure: <strong>{}</strong></p>", escaped(failure.explain().title));
    }
    if repeats(subject) && subject.parts.len() <= 1 {
        return;
    }
    let open = if subject.parts.len() > 5 { "" } else { " open" };
    let _ = writeln!(out, "<details{open}><summary>where</summary>\n<table>");
    for part in &subject.parts {
        let (class, verdict) = (part.verdict.name(), shown(&part.verdict));
        let (name, sentence) = (code(&part.name), escaped(&part.sentence));
        let _ = writeln!(
            out,
            "<tr><td class=\"{class}\">{verdict}</td><td><code>{name}</code></td><td>{sentence}</td></tr>"
        );
    }
    out.push_str("</table></details>\n");
}

/// What it comes to at each depth, where several were looked at.
fn write_depths(out: &mut String, subject: &Subject) {
    if subject.depths.len() < 2 {
        return;
    }
    out.push_str("<table>\n<tr><th>depth</th><th>verdict</th><th>in words</th></tr>\n");
    for at in &subject.depths {
        let (class, verdict, sentence) = (at.verdict.name(), shown(&at.verdict), escaped(&at.sentence));
        let _ = writeln!(out, "<tr><td>{}</td><td class=\"{class}\">{verdict}</td><td>{sentence}</td></tr>", at.depth);
    }
    out.push_str("</table>\n");
}

/// The parts that are shown: those that differ, or where only the sets do, those that are on one side alone.
fn charted(subject: &Subject) -> impl Iterator<Item = &Part> {
    let mut parts: Vec<&Part> =
        subject.parts.iter().filter(|part| !matches!(part.verdict, Verdict::Equivalent { .. })).collect();
    parts.sort_by_key(|part| crate::document::urgency(&part.verdict));
    // What stands for a set of series has no chart itself.
    let is_of_one = |part: &&Part| subject.counts.is_empty() || !part.name.contains(" series such as ");
    parts.into_iter().filter(is_of_one).take(if is_of_sets(subject) { 1 } else { CHARTS_OF_SUBJECT_MAX })
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
    let _ = writeln!(out, "<p><code>{}</code>{unit}</p>\n<div class=\"charts\">", code(&part.name));
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

/// A name, which may end its line where a word of it ends.
fn code(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut word = 0;
    for (at, _) in name.match_indices(['_', '.', ',', '{', '/', ':', ' ']) {
        out.push_str(&escaped(&name[word..=at]));
        out.push_str("<wbr>");
        word = at + 1;
    }
    out + &escaped(&name[word..])
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
