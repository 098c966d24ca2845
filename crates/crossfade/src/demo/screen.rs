//! What a person sees: tables that are drawn over themselves in a terminal, and a block now and then elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use parity::{AtDepth, Depth, Needs, Report, Subject, Verdict};
use pipeline::Line;

use super::Ended;
use super::plot::Plot;

/// One moment.
pub(super) struct Scene<'a> {
    pub(super) elapsed: Duration,
    pub(super) lines: &'a [Line],
    /// Held, and the bound.
    pub(super) journal_bytes: (u64, u64),
    pub(super) act: String,
    pub(super) report: Option<&'a Report>,
    pub(super) now_unix_ns: u64,
}

/// Where it is shown.
pub(super) struct Screen {
    live: bool,
    has_colours: bool,
    drawn_lines: usize,
    frames: u32,
    /// What each exporter had delivered, and when, for the rates.
    before: BTreeMap<String, (Duration, u64)>,
}

/// Without a terminal every so many frames are written, and the first of each act.
const PLAIN_EVERY: u32 = 16;
/// No line is longer.
const COLUMNS: usize = 98;
/// What is compared is named in so many.
const NAME: usize = 30;

/// How something is set off in a terminal.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Open,
    Bad,
    Bold,
}

impl Screen {
    pub(super) fn open() -> Screen {
        let live = std::io::stdout().is_terminal();
        let has_colours = live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { live, has_colours, drawn_lines: 0, frames: 0, before: BTreeMap::new() }
    }

    fn toned(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Open => "33",
            Tone::Bad => "1;31",
            Tone::Bold => "1",
        };
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn introduce(&self, yaml: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "A small shop is in the middle of its migration: it counts every order twice, the old way (StatsD and\n\
             /metrics) and the new way (OTLP). Beside it runs a shop whose items are numbered. This runs:\n"
        )?;
        yaml.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
        writeln!(out)
    }

    /// What has been shown stays, and what comes next is drawn below it.
    pub(super) fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.drawn_lines = 0;
        self.frames = 0;
        writeln!(std::io::stdout().lock(), "\n{text}\n")
    }

    /// The next frame is shown, whatever came before it.
    pub(super) fn turn(&mut self) {
        self.frames = 0;
    }

    pub(super) fn draw(&mut self, scene: &Scene<'_>) -> std::io::Result<()> {
        self.frames += 1;
        if !self.live && self.frames % PLAIN_EVERY != 1 {
            return Ok(());
        }
        let table = self.table(scene);
        let mut out = std::io::stdout().lock();
        if self.live && self.drawn_lines > 0 {
            // Up to where the last table began, then clear what is below.
            write!(out, "\x1b[{}A\x1b[J", self.drawn_lines)?;
        }
        self.drawn_lines = table.lines().count();
        write!(out, "{table}")?;
        out.flush()
    }

    fn table(&mut self, scene: &Scene<'_>) -> String {
        let title = shortened(&format!("{:>3} s  {}", scene.elapsed.as_secs(), scene.act), COLUMNS);
        let mut text = self.toned(Tone::Bold, &title) + "\n";
        text += &self.ledger(scene);
        text += &self.parity(scene.report);
        text + "\n"
    }

    fn ledger(&mut self, scene: &Scene<'_>) -> String {
        let mut text = format!(
            "  {:<14}  {:<28} {:>8} {:>9} {:>6} {:>8} {:>6} {:>5}\n",
            "pipeline", "exporter", "accepted", "delivered", "per s", "pending", "lag s", "lost"
        );
        for line in scene.lines {
            let rate = self.rate(scene.elapsed, line);
            let oldest = line.oldest_pending_unix_ns.unwrap_or(scene.now_unix_ns);
            let lag_s = scene.now_unix_ns.saturating_sub(oldest) as f64 / 1e9;
            let lost = line.rejected_items() + line.dropped_items();
            let row = format!(
                "  {:<14}  {:<28} {:>8} {:>9} {:>6} {:>8} {lag_s:>6.1} {lost:>5}",
                line.pipeline, line.exporter, line.accepted, line.delivered, rate, line.pending
            );
            // What waits for seconds is worth a look.
            text += &if lag_s >= 2.0 { self.toned(Tone::Open, &row) } else { row };
            text.push('\n');
        }
        let (held, max) = scene.journal_bytes;
        let balanced = if scene.lines.iter().all(Line::balances) { "balances" } else { "DOES NOT BALANCE" };
        text + &format!("  the ledger {balanced}; the journal holds {} of {} KiB\n\n", held >> 10, max >> 10)
    }

    fn parity(&self, report: Option<&Report>) -> String {
        let mut text = format!("  {:<NAME$} {:<6}  {:<8}  {}\n", "parity", "source", "delivery", "in words");
        let Some(report) = report else { return text + "  no verdict was taken yet\n" };
        for subject in report.subjects.iter().filter(|subject| subject.signal == "metrics") {
            text += &self.row(subject);
        }
        text
    }

    fn row(&self, subject: &Subject) -> String {
        let at = |depth: Depth| subject.depths.iter().find(|at| at.depth == depth);
        let (source, delivery) = (self.cell(at(Depth::Source), 6), self.cell(at(Depth::Delivery), 8));
        // What is delivered stands in the column of that name.
        let name = shortened(subject.name.strip_prefix("delivery by ").unwrap_or(&subject.name), NAME);
        let words = shortened(&words(subject), COLUMNS - NAME - 21);
        let is_different = matches!(subject.verdict, Verdict::Different(_));
        let [name, words] = [format!("{name:<NAME$}"), words].map(|text| match is_different {
            true => self.toned(Tone::Bad, &text),
            false => text,
        });
        format!("  {name} {source}  {delivery}  {words}\n")
    }

    /// One word for what something comes to at a depth.
    fn cell(&self, at: Option<&AtDepth>, width: usize) -> String {
        let (tone, word) = match at.map(|at| &at.verdict) {
            None => return " ".repeat(width),
            Some(Verdict::Equivalent { .. }) => (Tone::Good, "equal"),
            Some(Verdict::Different(_)) => (Tone::Bad, "DIFFER"),
            Some(Verdict::Inconclusive { .. }) => (Tone::Open, "open"),
            Some(Verdict::NotComparable { .. }) => return format!("{:<width$}", "–"),
        };
        self.toned(tone, &format!("{word:<width$}"))
    }

    /// Delivered items a second since the last look.
    fn rate(&mut self, now: Duration, line: &Line) -> u64 {
        let name = format!("{} {}", line.pipeline, line.exporter);
        let (then, delivered) = self.before.insert(name, (now, line.delivered)).unwrap_or((now, line.delivered));
        let seconds = (now - then).as_secs_f64();
        if seconds > 0.0 { ((line.delivered - delivered) as f64 / seconds).round() as u64 } else { 0 }
    }

    /// What was found, with its remedy.
    pub(super) fn found(&mut self, plot: &Plot, report: Option<&Report>) -> std::io::Result<()> {
        let Some(subject) = report.and_then(|report| plot.culprit(report)) else { return Ok(()) };
        let seconds = plot.story.found_after.unwrap_or_default().as_secs();
        let title = subject.failure.map_or("a failure without a name", |failure| failure.explain().title);
        let remedy = subject.failure.map_or("", |failure| failure.explain().remedy);
        let mut out = std::io::stdout().lock();
        let head = format!("Found after {seconds} s: {}, {title}", subject.name);
        writeln!(out, "\n{}", self.toned(Tone::Bad, &head))?;
        for (word, text) in [("where", subject.sentence.as_str()), ("remedy", remedy)] {
            write!(out, "{}", wrapped(&format!("  {word:<8}{text}"), COLUMNS, 10))?;
        }
        self.drawn_lines = 0;
        Ok(())
    }

    pub(super) fn conclude(&self, ended: &Ended, page: &Path) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "The ledger at the end: accepted = delivered + rejected + dropped + pending")?;
        for line in &ended.rest.lines {
            let sign = if line.balances() { "=" } else { "≠" };
            let (rejected, dropped) = (line.rejected_items(), line.dropped_items());
            writeln!(
                out,
                "  {:<14}  {:<28} {} {sign} {} + {rejected} + {dropped} + {}",
                line.pipeline, line.exporter, line.accepted, line.delivered, line.pending
            )?;
        }
        let Ended { looks, unbalanced_looks, .. } = ended;
        writeln!(out, "  looked at {looks} times on the way, and it balanced {} times", looks - unbalanced_looks)?;
        writeln!(out, "\nWhat the backends counted of the numbered items, against what was acknowledged:")?;
        for verdict in &ended.verdicts {
            let signals = verdict.signals.iter().map(|found| format!("{} {}", found.acked_items, found.signal));
            writeln!(out, "  {verdict} ({})", signals.collect::<Vec<_>>().join(", "))?;
        }
        writeln!(out, "  {}", ended.agreement)?;
        writeln!(out, "\nWhat was counted twice: {}", ended.counted)?;
        writeln!(out, "\nThe report with charts of what differs: {}", page.display())?;
        self.verdict(&mut out, ended)
    }

    fn verdict(&self, out: &mut impl Write, ended: &Ended) -> std::io::Result<()> {
        let story = &ended.story;
        let mut untrue = story.untrue();
        if !ended.is_exact() {
            untrue.push("the backends did NOT get the same; see above".to_owned());
        }
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs();
        if untrue.is_empty() {
            let (proven, found) = (seconds(story.proven_after), seconds(story.found_after));
            let text = format!(
                "Verdict: parity was proven after {proven} s; a backend that refused everything for a while made no \
                 difference; what went wrong was found and named after {found} s; there was no false alarm. Both \
                 backends got all that they were to get: no item was lost, and no numbered one came twice."
            );
            return write!(out, "\n{}", self.toned(Tone::Good, &wrapped(&text, COLUMNS, 0)));
        }
        writeln!(out, "\n{}", self.toned(Tone::Bad, "Verdict: it did not go as told."))?;
        untrue.iter().try_for_each(|words| write!(out, "{}", wrapped(&format!("  - {words}"), COLUMNS, 4)))
    }
}

/// A verdict in so many words as a row has room for.
fn words(subject: &Subject) -> String {
    match &subject.verdict {
        Verdict::Different(finding) => finding.cause.to_string(),
        Verdict::Inconclusive { needs } => match needs {
            Needs::Data { from } => format!("nothing came from the {from} side yet"),
            Needs::Overlap => "nothing of the same time yet".to_owned(),
            Needs::Delivery { items, .. } => format!("{items} items wait for the backend"),
            Needs::Windows { more, .. } => format!("needs {more} more windows of time"),
            Needs::Events { more, .. } => format!("needs to count about {more:.0} more"),
            Needs::Steadiness { .. } => "needs more time".to_owned(),
            Needs::Certainty { suspected, .. } => format!("perhaps {}", suspected.cause),
            Needs::BeyondNoise { .. } => "differs no more than the noise".to_owned(),
        },
        _ => subject.sentence.clone(),
    }
}

/// As much of a text as fits.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// Lines that end between words; all but the first are indented.
fn wrapped(text: &str, columns: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut line = String::new();
    // What the first line begins with keeps its spaces.
    let begin = text.len() - text.trim_start().len();
    line.push_str(&text[..begin]);
    let mut is_first = true;
    for word in text[begin..].split(' ') {
        if !is_first && line.chars().count() + 1 + word.chars().count() > columns {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent);
        } else if !is_first {
            line.push(' ');
        }
        line.push_str(word);
        is_first = false;
    }
    out + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_keep_their_indent() {
        assert_eq!(wrapped("  where   one two three", 16, 10), "  where   one\n          two\n          three\n");
        assert_eq!(wrapped("short", 16, 2), "short\n");
        assert_eq!(shortened("ünïcödé", 4), "ünï…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }
}
