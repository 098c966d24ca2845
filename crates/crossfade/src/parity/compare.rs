//! Feeds both sides to the comparator, slice by slice of time, so that neither runs ahead of the other.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::anyhow;
use component::clock;
use indicatif::{ProgressBar, ProgressStyle};
use otlp::{Batch, Signal};
use parity::{ChartBounds, Charts, Comparator, Side};
use report::columns::number;
use report::{Document, SideSummary};

use super::control::{self, Control};
use super::gaps::Gaps;
use super::prometheus::{Query, read_queries};
use super::settings::{Asked, nanoseconds};
use super::source::{Has, Manner, Slice, Sources, places, share_types, share_with_replica};
use super::window::{Window, cut, extent};
use super::{ParityArguments, ReportFormat};
use crate::moment;

/// Raw samples are read in slices of this length.
const SLICE: Duration = Duration::from_secs(1800);
/// And in shorter ones where all samples of a slice are held at once.
const SLICE_OF_CAPTURES: Duration = Duration::from_secs(300);
/// Expressions are evaluated at so many steps at once.
const SLICE_STEPS: u64 = 1000;
/// A recording is read in so many slices at most.
const SLICES_MAX: u64 = 500;
/// How long backends get to have everything, where nobody says otherwise.
const SETTLE: Duration = Duration::from_secs(120);

/// No clock stands beyond this, which is in the year 2262; what claims to be later is not compared.
const TIME_MAX_UNIX_NS: u64 = i64::MAX as u64;

/// What is to be read of each signal, and from when to when.
pub(super) type Windows = BTreeMap<Signal, Window>;

/// Compares as the command line asks.
pub(super) async fn compare(arguments: &ParityArguments) -> anyhow::Result<(Document, Charts)> {
    compare_as(arguments, &Asked::read(arguments)?, Bar::new()).await
}

/// Compares as something else asks.
pub(super) async fn compare_as(
    arguments: &ParityArguments,
    asked: &Asked,
    bar: Bar,
) -> anyhow::Result<(Document, Charts)> {
    let places = places(arguments, asked)?;
    let manner = Manner::of(&places, asked);
    let mut sides =
        [Sources::open(Side::Legacy, &places[0], manner, &bar)?, Sources::open(Side::New, &places[1], manner, &bar)?];
    let mut replica = control::open(arguments, &sides[0], manner, &bar)?;
    let queries = match &arguments.queries {
        Some(_) if !sides.iter().all(Sources::answers_expressions) => {
            return Err(anyhow!(
                "--queries needs a Prometheus HTTP API on both sides: a recording answers no expressions"
            ));
        }
        Some(path) => read_queries(path, &asked.comparison.names.rules)?,
        None => Vec::new(),
    };
    let (windows, mut notes) = windows(sides.each_ref(), arguments, asked)?;
    bar.say("asking what there is");
    for side in sides.iter_mut().chain(&mut replica) {
        side.learn(&windows).await?;
    }
    share_types(&mut sides, &asked.comparison.names.rules);
    replica.iter_mut().for_each(|replica| share_with_replica(&mut sides[0], replica));
    let mut settings = asked.settings([sides[0].has(Signal::Logs), sides[1].has(Signal::Logs)]);
    settings.metrics.names.rules.splice(0..0, queries.iter().map(Query::rule));
    let control = match &replica {
        Some(replica) => Some(Control::new([&sides[0], replica], (arguments, asked), &windows, settings.clone())?),
        None => None,
    };
    if let ReportFormat::Html = arguments.format {
        settings.metrics.charts = ChartBounds::MANY;
    }
    let mut taking = Taking::new(Comparator::new(settings), control, &windows, bar);
    if sides.iter().all(|side| matches!(side.has(Signal::Metrics), Has::Answers(_))) {
        taking.gaps = windows.get(&Signal::Metrics).copied().map(Gaps::within);
    }
    let step_ms = u64::try_from(arguments.step.as_millis()).unwrap_or(u64::MAX);
    taking.read(&mut sides, replica.as_mut(), &queries, step_ms).await?;
    let Taking { mut comparator, control, gaps, seen, bar, .. } = taking;
    let charts = comparator.charts();
    bar.leave();
    let (mut report, control) = match (control, &replica) {
        (Some(control), Some(replica)) => control.finish(comparator.finish(), replica.shown.clone()),
        _ => (comparator.finish(), None),
    };
    gaps.iter().for_each(|gaps| gaps.add_to(&mut report));
    notes.extend(sides.iter().chain(&replica).flat_map(Sources::notes));
    let remarks = not_compared(&sides);
    let [of_legacy, of_new] = seen;
    let [legacy, new] = sides;
    let sides = [of_legacy.summary(legacy.shown), of_new.summary(new.shown)];
    Ok((
        Document::new(report, sides, asked.comparison.demand, notes).with_remarks(remarks).with_control(control),
        charts,
    ))
}

/// From when to when each signal is compared, and what is to be said of that.
pub(super) fn windows(
    sides: [&Sources; 2],
    arguments: &ParityArguments,
    asked: &Asked,
) -> anyhow::Result<(Windows, Vec<String>)> {
    let settle_ns = asked.comparison.settle.map_or(0, nanoseconds);
    let (mut windows, mut notes) = (Windows::new(), Vec::new());
    let sealed = |window: Window| {
        let to_unix_ns = window.to_unix_ns.min(TIME_MAX_UNIX_NS).saturating_sub(settle_ns);
        Window { to_unix_ns, ..window }
    };
    let both_recorded = sides.iter().all(|side| side.is_recorded());
    for signal in Signal::ALL {
        let window = match (sides[0].has(signal), sides[1].has(signal)) {
            (Has::Answers(_), Has::Answers(_)) => asked_window(arguments, asked)?,
            (Has::Answers(_), Has::Recorded(one)) | (Has::Recorded(one), Has::Answers(_)) => sealed(one),
            (Has::Recorded(legacy), Has::Recorded(new)) => {
                let both = legacy.meet(new);
                if both.is_empty() {
                    notes.push(format!("the {} of the two recordings have no time in common", signal.name()));
                }
                sealed(both)
            }
            (Has::Recorded(one), Has::Nothing) | (Has::Nothing, Has::Recorded(one)) if both_recorded => sealed(one),
            (Has::Answers(_), Has::Nothing) if sides[1].is_recorded() => {
                notes.push(format!("the recording of the new side has no {}", signal.name()));
                continue;
            }
            (Has::Nothing, Has::Answers(_)) if sides[0].is_recorded() => {
                notes.push(format!("the recording of the legacy side has no {}", signal.name()));
                continue;
            }
            // Said in the end, or of a backend and a recording that has more than it.
            _ => continue,
        };
        windows.insert(signal, window);
    }
    Ok((windows, notes))
}

/// Signals for which only one side names a backend: nobody asked to have them compared.
fn not_compared(sides: &[Sources; 2]) -> Vec<String> {
    let one_sided = |signal: Signal| match (sides[0].has(signal), sides[1].has(signal)) {
        (Has::Answers(_), Has::Nothing) if !sides[1].is_recorded() => Some((signal, Side::Legacy)),
        (Has::Nothing, Has::Answers(_)) if !sides[0].is_recorded() => Some((signal, Side::New)),
        _ => None,
    };
    let said = |(signal, side): (Signal, Side)| {
        format!("the {} are not compared: only the {side} side names where they are", signal.name())
    };
    Signal::ALL.into_iter().filter_map(one_sided).map(said).collect()
}

/// What backends are asked.
fn asked_window(arguments: &ParityArguments, asked: &Asked) -> anyhow::Result<Window> {
    let now = clock::unix_ns();
    let to_unix_ns = match &arguments.to {
        Some(to) => moment::parse(to, now).map_err(|error| anyhow!("--to: {error}"))?,
        None => now.saturating_sub(nanoseconds(asked.comparison.settle.unwrap_or(SETTLE))),
    };
    // Whole seconds, so that steps of an expression are at the same times however often it is asked.
    let to_unix_ns = to_unix_ns - to_unix_ns % 1_000_000_000;
    let window = Window { from_unix_ns: to_unix_ns.saturating_sub(nanoseconds(arguments.range)), to_unix_ns };
    match arguments.range.is_zero() || arguments.step.as_millis() == 0 {
        true => Err(anyhow!("--range and --step must be longer than nothing")),
        false => Ok(window),
    }
}

/// What was taken in of one side.
#[derive(Default)]
pub(super) struct Seen {
    items: u64,
    extent: Option<Window>,
}

impl Seen {
    pub(super) fn add(&mut self, batch: &Batch) {
        self.items += u64::from(batch.items());
        let extent = extent(batch);
        if !extent.is_empty() {
            self.extent = Some(self.extent.map_or(extent, |known| known.join(extent)));
        }
    }

    pub(super) fn summary(self, source: String) -> SideSummary {
        SideSummary {
            source,
            items: self.items,
            from_unix_ns: self.extent.map(|extent| extent.from_unix_ns),
            to_unix_ns: self.extent.map(|extent| extent.to_unix_ns),
        }
    }
}

/// Takes both sides in.
struct Taking<'a> {
    comparator: Comparator,
    control: Option<Control>,
    /// Of backends, which are asked for all that they have; recordings may be silent where nothing happens.
    gaps: Option<Gaps>,
    windows: &'a Windows,
    seen: [Seen; 2],
    bar: Bar,
}

impl<'a> Taking<'a> {
    fn new(comparator: Comparator, control: Option<Control>, windows: &'a Windows, bar: Bar) -> Taking<'a> {
        Taking { comparator, control, gaps: None, windows, seen: <[Seen; 2]>::default(), bar }
    }

    /// Reads all of both sides, and of the replica.
    async fn read(
        &mut self,
        sides: &mut [Sources; 2],
        mut replica: Option<&mut Sources>,
        queries: &[Query],
        step_ms: u64,
    ) -> anyhow::Result<()> {
        let whole = self.windows.values().fold(Window::EMPTY, |all, window| all.join(*window));
        if whole.is_empty() {
            return Ok(());
        }
        let slice_ns = match queries.is_empty() {
            true => nanoseconds(slice_of(sides)).max((whole.to_unix_ns - whole.from_unix_ns) / SLICES_MAX),
            false => steps_ns(step_ms, self.windows),
        };
        let slices = (whole.to_unix_ns - whole.from_unix_ns) / slice_ns + 1;
        self.bar.begin(slices * if replica.is_some() { 3 } else { 2 });
        for slice in 0..slices {
            let from_unix_ns = whole.from_unix_ns + slice * slice_ns;
            let is_last = slice + 1 == slices;
            let to_unix_ns = if is_last { whole.to_unix_ns } else { from_unix_ns + slice_ns };
            let time = Window { from_unix_ns, to_unix_ns };
            let slice = Slice { time, is_last, windows: self.windows, queries, step_ms };
            for side in sides.iter_mut() {
                let of_side = side.side;
                side.read(&slice, &mut |batch| self.observe(of_side, batch)).await?;
                self.bar.advance();
            }
            if let (Some(replica), Some(control)) = (replica.as_deref_mut(), &mut self.control) {
                replica.read(&slice, &mut |batch| control.observe(Side::New, batch)).await?;
                self.bar.advance();
            }
            if !is_last {
                self.comparator.close();
                self.control.iter_mut().for_each(Control::close);
            }
        }
        Ok(())
    }

    fn observe(&mut self, side: Side, batch: Batch) {
        if let (Some(control), Side::Legacy) = (&mut self.control, side) {
            control.observe(Side::Legacy, batch.clone());
        }
        let Some(window) = self.windows.get(&batch.signal()) else { return };
        let batch = cut(batch, *window);
        if batch.items() == 0 {
            return;
        }
        let seen = &mut self.seen[side as usize];
        seen.add(&batch);
        self.bar.say(&format!("{side}: {} items", number(seen.items)));
        self.comparator.observe(side, &batch);
        self.gaps.iter_mut().for_each(|gaps| gaps.observe(side, &batch));
    }
}

fn slice_of(sides: &[Sources; 2]) -> Duration {
    if sides.iter().any(Sources::is_captured) { SLICE_OF_CAPTURES } else { SLICE }
}

/// How much time is read at once where expressions are evaluated: whole steps, and no more than fits the other signals.
fn steps_ns(step_ms: u64, windows: &Windows) -> u64 {
    let step_ns = step_ms.saturating_mul(1_000_000).max(1);
    let steps = match windows.len() {
        1 => SLICE_STEPS,
        _ => (nanoseconds(SLICE) / step_ns).clamp(1, SLICE_STEPS),
    };
    step_ns.saturating_mul(steps)
}

/// The progress, where somebody looks.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// No progress: nobody waits for it.
    pub(super) fn hidden() -> Bar {
        Bar(ProgressBar::hidden())
    }

    fn new() -> Bar {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        Bar(bar)
    }

    fn begin(&self, slices: u64) {
        self.0.set_length(slices);
        self.0.set_position(0);
        let style = ProgressStyle::with_template("{bar:40} {percent} %  {eta} left  {msg}");
        self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }

    pub(super) fn say(&self, text: &str) {
        self.0.set_message(text.to_owned());
        self.0.tick();
    }

    fn advance(&self) {
        self.0.inc(1);
    }

    fn leave(&self) {
        self.0.finish_and_clear();
    }
}
