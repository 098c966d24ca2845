//! Feeds both sides to the comparator, slice by slice of time, so that neither runs ahead of the other.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use component::clock;
use indicatif::{ProgressBar, ProgressStyle};
use otlp::{Batch, Signal};
use parity::{Charts, Comparator, Side};
use report::columns::number;
use report::{Document, SideSummary};

use super::control::{self, Control};
use super::gaps::Gaps;
use super::prometheus::{Backend, Query, read_queries};
use super::recording::Recording;
use super::settings::{Asked, nanoseconds};
use super::window::{Window, cut, extent};
use super::{Header, ParityArguments, Place, ReportFormat};
use crate::moment;

/// Raw samples are read in slices of this length.
const SLICE: Duration = Duration::from_secs(1800);
/// Expressions are evaluated at so many steps at once.
const SLICE_STEPS: u64 = 1000;
/// A recording is read in so many slices at most.
const SLICES_MAX: u64 = 500;
/// How long backends get to have everything, where nobody says otherwise.
const SETTLE: Duration = Duration::from_secs(120);

/// No clock stands beyond this, which is in the year 2262; what claims to be later is not compared.
const TIME_MAX_UNIX_NS: u64 = i64::MAX as u64;

/// One side.
pub(super) enum Source {
    Recording(Box<Recorded>),
    Backend(Box<Backend>),
}

/// A recording, what is known of it, and how far it was read.
pub(super) struct Recorded {
    path: PathBuf,
    reader: Option<Recording>,
    waiting: Option<Batch>,
    extents: BTreeMap<Signal, Window>,
}

/// What is read at once.
#[derive(Clone, Copy)]
struct Slice<'a> {
    from_unix_ns: u64,
    to_unix_ns: u64,
    is_last: bool,
    queries: &'a [Query],
    step_ms: u64,
}

/// What is to be read of each signal, and from when to when.
pub(super) type Windows = BTreeMap<Signal, Window>;

pub(super) async fn compare(arguments: &ParityArguments) -> anyhow::Result<(Document, Charts)> {
    let asked = Asked::read(arguments)?;
    let bar = Bar::new();
    let mut sides = [
        Source::open(Side::Legacy, &arguments.legacy, &arguments.legacy_header, &bar)?,
        Source::open(Side::New, &arguments.new, &arguments.new_header, &bar)?,
    ];
    let mut replica = control::open(arguments, &sides[0], &bar)?;
    let queries = match &arguments.queries {
        Some(_) if sides.iter().any(|side| matches!(side, Source::Recording(_))) => {
            return Err(anyhow!("--queries needs two backends: a recording answers no expressions"));
        }
        Some(path) => read_queries(path, &asked.names.rules)?,
        None => Vec::new(),
    };
    let (windows, mut notes) = windows(sides.each_ref(), arguments, &asked)?;
    learn(&mut sides, replica.as_mut(), (&windows, &asked), &bar).await?;
    let mut settings = asked.settings();
    settings.metrics.names.rules.splice(0..0, queries.iter().map(Query::rule));
    let charts = match arguments.format {
        ReportFormat::Html => Charts::of_names(settings.metrics.names.clone()),
        _ => Charts::default(),
    };
    let control = match &replica {
        Some(replica) => Some(Control::new((&sides[0], replica), (arguments, &asked), &windows, settings.clone())?),
        None => None,
    };
    let mut taking = Taking::new(Comparator::new(settings), control, charts, &windows, bar);
    if sides.iter().all(|side| matches!(side, Source::Backend(_))) {
        taking.gaps = windows.get(&Signal::Metrics).copied().map(Gaps::within);
    }
    let step_ms = u64::try_from(arguments.step.as_millis()).unwrap_or(u64::MAX);
    taking.read(&mut sides, replica.as_mut(), &queries, step_ms).await?;
    let Taking { mut comparator, control, charts, gaps, seen, bar, .. } = taking;
    bar.leave();
    let report = comparator.finish();
    let (mut report, control) = match (control, &arguments.control) {
        (Some(control), Some(place)) => {
            let (report, summary) = control.finish(report, place.to_string());
            (report, Some(summary))
        }
        _ => (report, None),
    };
    gaps.iter().for_each(|gaps| gaps.add_to(&mut report));
    let natives: u64 = sides.iter().chain(&replica).map(Source::native_histograms).sum();
    if natives > 0 {
        notes.push(format!("{natives} samples are native histograms, which are not read from backends yet"));
    }
    let [legacy, new] = [&arguments.legacy, &arguments.new].map(ToString::to_string);
    let [of_legacy, of_new] = seen;
    let sides = [of_legacy.summary(legacy), of_new.summary(new)];
    Ok((Document::new(report, sides, asked.demand, notes).with_control(control), charts))
}

impl Source {
    pub(super) fn open(side: Side, place: &Place, headers: &[Header], bar: &Bar) -> anyhow::Result<Source> {
        Ok(match place {
            Place::Recording(path) => Source::Recording(Box::new(Recorded::open(path, bar)?)),
            Place::Prometheus(url) => Source::Backend(Box::new(Backend::new(side, url, headers)?)),
        })
    }

    /// Reads a slice of time.
    async fn read(&mut self, slice: Slice<'_>, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        let Slice { from_unix_ns, to_unix_ns, is_last, queries, step_ms } = slice;
        let (from_unix_ms, to_unix_ms) = (from_unix_ns / 1_000_000, to_unix_ns.div_ceil(1_000_000));
        match self {
            // What has no time, or one beyond all others, comes with the rest.
            Source::Recording(recorded) => recorded.read(if is_last { u64::MAX } else { to_unix_ns }, observe),
            Source::Backend(_) if to_unix_ms == from_unix_ms => Ok(()),
            Source::Backend(backend) if queries.is_empty() => backend.read(from_unix_ms, to_unix_ms, observe).await,
            Source::Backend(backend) => backend.answer(queries, (from_unix_ms, to_unix_ms, step_ms), observe).await,
        }
    }

    fn native_histograms(&self) -> u64 {
        match self {
            Source::Recording(_) => 0,
            Source::Backend(backend) => backend.native_histograms,
        }
    }
}

impl Recorded {
    /// Reads it once to know from when to when it goes.
    fn open(path: &Path, bar: &Bar) -> anyhow::Result<Recorded> {
        let mut reader = Recording::open(path)?;
        let mut extents = BTreeMap::new();
        let mut items = 0;
        while let Some(batch) = reader.next()? {
            let known = extents.entry(batch.signal()).or_insert(Window::EMPTY);
            *known = known.join(extent(&batch));
            items += u64::from(batch.items());
            bar.say(&format!("{}: {} items", path.display(), number(items)));
        }
        extents.retain(|_, extent| !extent.is_empty());
        Ok(Recorded { path: path.to_owned(), reader: None, waiting: None, extents })
    }

    /// Gives the batches up to a time, in the order they were written.
    fn read(&mut self, to_unix_ns: u64, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            reader => reader.insert(Recording::open(&self.path)?),
        };
        loop {
            let next = match self.waiting.take() {
                Some(batch) => Some(batch),
                None => reader.next()?,
            };
            let Some(batch) = next else { return Ok(()) };
            let newest = extent(&batch);
            if !newest.is_empty() && newest.to_unix_ns > to_unix_ns {
                self.waiting = Some(batch);
                return Ok(());
            }
            observe(batch);
        }
    }
}

/// From when to when each signal is compared, and what is to be said of that.
pub(super) fn windows(
    sides: [&Source; 2],
    arguments: &ParityArguments,
    asked: &Asked,
) -> anyhow::Result<(Windows, Vec<String>)> {
    let of = |side: &Source, signal| match side {
        Source::Recording(recorded) => recorded.extents.get(&signal).copied(),
        Source::Backend(_) => None,
    };
    let recorded = sides.iter().filter(|side| matches!(side, Source::Recording(_))).count();
    if recorded == 0 {
        return Ok((BTreeMap::from([(Signal::Metrics, asked_window(arguments, asked)?)]), Vec::new()));
    }
    let settle_ns = asked.settle.map_or(0, nanoseconds);
    let (mut windows, mut notes) = (Windows::new(), Vec::new());
    for signal in Signal::ALL {
        let [legacy, new] = sides.map(|side| of(side, signal));
        let window = match (legacy, new) {
            (None, None) => continue,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(legacy), Some(new)) => {
                let both = legacy.meet(new);
                if both.is_empty() {
                    notes.push(format!("the {} of the two recordings have no time in common", signal.name()));
                }
                both
            }
        };
        let to_unix_ns = window.to_unix_ns.min(TIME_MAX_UNIX_NS).saturating_sub(settle_ns);
        windows.insert(signal, Window { to_unix_ns, ..window });
    }
    if recorded == 1 {
        // A metrics API knows nothing of other signals.
        windows.retain(|signal, _| *signal == Signal::Metrics);
    }
    Ok((windows, notes))
}

/// What backends are asked.
fn asked_window(arguments: &ParityArguments, asked: &Asked) -> anyhow::Result<Window> {
    let now = clock::unix_ns();
    let to_unix_ns = match &arguments.to {
        Some(to) => moment::parse(to, now).map_err(|error| anyhow!("--to: {error}"))?,
        None => now.saturating_sub(nanoseconds(asked.settle.unwrap_or(SETTLE))),
    };
    // Whole seconds, so that steps of an expression are at the same times however often it is asked.
    let to_unix_ns = to_unix_ns - to_unix_ns % 1_000_000_000;
    let window = Window { from_unix_ns: to_unix_ns.saturating_sub(nanoseconds(arguments.range)), to_unix_ns };
    match arguments.range.is_zero() || arguments.step.as_millis() == 0 {
        true => Err(anyhow!("--range and --step must be longer than nothing")),
        false => Ok(window),
    }
}

/// Asks backends which metrics they have.
async fn learn(
    sides: &mut [Source; 2],
    mut replica: Option<&mut Source>,
    (windows, asked): (&Windows, &Asked),
    bar: &Bar,
) -> anyhow::Result<()> {
    let Some(window) = windows.get(&Signal::Metrics) else { return Ok(()) };
    bar.say("asking which metrics there are");
    for side in sides.iter_mut().chain(replica.as_deref_mut()) {
        if let Source::Backend(backend) = side {
            backend.learn(*window).await?;
        }
    }
    let [legacy, new] = sides;
    let rules = &asked.names.rules;
    match (&mut *legacy, new) {
        (Source::Backend(legacy), Source::Backend(new)) => {
            legacy.agree(Some(new), rules);
            new.agree(Some(legacy), rules);
        }
        (Source::Backend(one), Source::Recording(_)) | (Source::Recording(_), Source::Backend(one)) => {
            one.agree(None, rules);
        }
        (Source::Recording(_), Source::Recording(_)) => {}
    }
    if let (Some(Source::Backend(replica)), Source::Backend(legacy)) = (replica, legacy) {
        // They have the same names.
        replica.agree(Some(legacy), &[]);
    }
    Ok(())
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
    charts: Charts,
    /// Of backends, which are asked for all that they have; recordings may be silent where nothing happens.
    gaps: Option<Gaps>,
    windows: &'a Windows,
    seen: [Seen; 2],
    bar: Bar,
}

impl<'a> Taking<'a> {
    fn new(
        comparator: Comparator,
        control: Option<Control>,
        charts: Charts,
        windows: &'a Windows,
        bar: Bar,
    ) -> Taking<'a> {
        Taking { comparator, control, charts, gaps: None, windows, seen: <[Seen; 2]>::default(), bar }
    }

    /// Reads all of both sides, and of the replica.
    async fn read(
        &mut self,
        sides: &mut [Source; 2],
        mut replica: Option<&mut Source>,
        queries: &[Query],
        step_ms: u64,
    ) -> anyhow::Result<()> {
        let whole = self.windows.values().fold(Window::EMPTY, |all, window| all.join(*window));
        if whole.is_empty() {
            return Ok(());
        }
        let slice_ns = match queries.is_empty() {
            true => nanoseconds(SLICE).max((whole.to_unix_ns - whole.from_unix_ns) / SLICES_MAX),
            false => (step_ms * 1_000_000).saturating_mul(SLICE_STEPS),
        };
        let slices = (whole.to_unix_ns - whole.from_unix_ns) / slice_ns + 1;
        self.bar.begin(slices * if replica.is_some() { 3 } else { 2 });
        for slice in 0..slices {
            let from_unix_ns = whole.from_unix_ns + slice * slice_ns;
            let is_last = slice + 1 == slices;
            let to_unix_ns = if is_last { whole.to_unix_ns } else { from_unix_ns + slice_ns };
            let slice = Slice { from_unix_ns, to_unix_ns, is_last, queries, step_ms };
            for (side, source) in [Side::Legacy, Side::New].into_iter().zip(sides.iter_mut()) {
                source.read(slice, &mut |batch| self.observe(side, batch)).await?;
                self.bar.advance();
            }
            if let (Some(source), Some(control)) = (replica.as_deref_mut(), &mut self.control) {
                source.read(slice, &mut |batch| control.observe(Side::New, batch)).await?;
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
        self.charts.observe(side, &batch);
    }
}

/// The progress, where somebody looks.
pub(super) struct Bar(ProgressBar);

impl Bar {
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

    fn say(&self, text: &str) {
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
