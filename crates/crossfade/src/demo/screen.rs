//! What a person sees: a table that is drawn over itself in a terminal, and a line now and then elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use otlp::Signal;
use pipeline::Line;

use super::Ended;

/// One moment.
pub(super) struct Scene<'a> {
    pub(super) elapsed: Duration,
    pub(super) lines: &'a [Line],
    /// Held, and the bound.
    pub(super) journal_bytes: (u64, u64),
    pub(super) act: String,
    pub(super) now_unix_ns: u64,
}

/// Where it is shown.
pub(super) struct Screen {
    live: bool,
    drawn_lines: usize,
    frames: u32,
    /// What each exporter had delivered, and when, for the rates.
    before: BTreeMap<String, (Duration, u64)>,
}

/// Without a terminal every so many frames are written.
const PLAIN_EVERY: u32 = 6;

impl Screen {
    pub(super) fn open() -> Screen {
        Screen { live: std::io::stdout().is_terminal(), drawn_lines: 0, frames: 0, before: BTreeMap::new() }
    }

    pub(super) fn introduce(&self, yaml: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "A small shop emits traces, metrics and logs by OTLP and exposes /metrics. This runs:\n")?;
        yaml.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
        writeln!(out)
    }

    pub(super) fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.drawn_lines = 0;
        writeln!(std::io::stdout().lock(), "\n{text}")
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
        let mut text = format!("{:>3} s  {}\n", scene.elapsed.as_secs(), scene.act);
        text +=
            "         pipeline  exporter                        accepted  delivered   per s  pending  lag s  lost\n";
        for line in scene.lines {
            let rate = self.rate(scene.elapsed, line);
            let oldest = line.oldest_pending_unix_ns.unwrap_or(scene.now_unix_ns);
            let lag_s = scene.now_unix_ns.saturating_sub(oldest) as f64 / 1e9;
            let lost = line.rejected_items() + line.dropped_items();
            text += &format!(
                "         {:<8}  {:<30} {:>9}  {:>9} {:>7}  {:>7}  {lag_s:>5.1} {lost:>5}\n",
                line.pipeline, line.exporter, line.accepted, line.delivered, rate, line.pending
            );
        }
        let (held, max) = scene.journal_bytes;
        let balanced = if scene.lines.iter().all(Line::balances) { "balances" } else { "DOES NOT BALANCE" };
        let (held, max) = (held >> 10, max >> 10);
        text += &format!("         the ledger {balanced}; the journal holds {held} of {max} KiB\n");
        text
    }

    /// Delivered items a second since the last look.
    fn rate(&mut self, now: Duration, line: &Line) -> u64 {
        let name = format!("{} {}", line.pipeline, line.exporter);
        let (then, delivered) = self.before.insert(name, (now, line.delivered)).unwrap_or((now, line.delivered));
        let seconds = (now - then).as_secs_f64();
        if seconds > 0.0 { ((line.delivered - delivered) as f64 / seconds).round() as u64 } else { 0 }
    }

    pub(super) fn conclude(&self, ended: &Ended) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nThe ledger at the end: accepted = delivered + rejected + dropped + pending")?;
        for line in &ended.rest.lines {
            let sign = if line.balances() { "=" } else { "≠" };
            let (rejected, dropped) = (line.rejected_items(), line.dropped_items());
            writeln!(
                out,
                "  {:<8} {:<30} {} {sign} {} + {rejected} + {dropped} + {}",
                line.pipeline, line.exporter, line.accepted, line.delivered, line.pending
            )?;
        }
        let Ended { looks, unbalanced_looks, .. } = ended;
        writeln!(out, "  looked at {looks} times on the way, and it balanced {} times", looks - unbalanced_looks)?;
        writeln!(out, "\nWhat the backends counted, item by item, against what the shop had acknowledged:")?;
        for verdict in &ended.verdicts {
            let signals = verdict.signals.iter().map(|found| format!("{} {}", found.acked_items, found.signal));
            writeln!(out, "  {verdict} ({})", signals.collect::<Vec<_>>().join(", "))?;
        }
        writeln!(out, "  {}{}", ended.agreement, origins(ended).unwrap_or_default())?;
        match ended.is_good() {
            true => writeln!(
                out,
                "\nVerdict: both backends got the same, to the item. Nothing was lost, nothing came twice."
            ),
            false => writeln!(out, "\nVerdict: the backends did NOT get the same; see above."),
        }
    }
}

/// Why the ledger counts more data points than the shop has pushed. None, where the figures do not add up that way:
/// then they speak for themselves.
fn origins(ended: &Ended) -> Option<String> {
    let accepted = ended.rest.lines.iter().find(|line| line.signal == Signal::Metrics)?.accepted;
    let mut judged = ended.verdicts.iter().flat_map(|verdict| &verdict.signals);
    let pushed = judged.find(|found| found.signal == Signal::Metrics)?.acked_items;
    let scraped = ended.agreement.common_items.checked_sub(pushed)?;
    let reports = accepted.checked_sub(ended.agreement.common_items)?;
    Some(format!(
        ", {pushed} pushed and {scraped} scraped; the other {reports} of the ledger's {accepted} are `up` and its like, \
         which each scrape adds"
    ))
}
