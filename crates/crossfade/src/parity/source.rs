//! What a side is read from: recordings, or backends of one signal each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use http::HeaderMap;
use otlp::{Batch, Signal};
use parity::{Rule, Side};
use report::columns::number;

use super::ParityArguments;
use super::capture::{Captured, is_capture};
use super::compare::Bar;
use super::jaeger::{Jaeger, Whole};
use super::loki::{Loki, MadeUp};
use super::place::{Header, Kind, Place, headers_of};
use super::prometheus::{Backend, Catalogue, LeftOut, Query, agree, agree_with_replica};
use super::queried::Queried;
use super::recording::Recording;
use super::settings::Asked;
use super::victorialogs::VictoriaLogs;
use super::window::{Window, extent};

/// One side: recordings, or backends of which no two keep the same signal.
pub(super) struct Sources {
    pub(super) side: Side,
    sources: Vec<Source>,
    /// The places, without what is secret in them.
    pub(super) shown: String,
}

/// What a side is read from.
enum Source {
    Recording(Box<Recorded>),
    Captured(Box<Captured>),
    Prometheus(Box<Backend>),
    Jaeger(Box<Jaeger>),
    Loki(Box<Loki>),
    VictoriaLogs(Box<VictoriaLogs>),
}

/// What a side has of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Nothing,
    /// A recording has it, from when to when.
    Recorded(Window),
    /// A backend answers what it is asked.
    Answers(Kind),
}

/// A recording, what is known of it, and how far it was read.
struct Recorded {
    path: PathBuf,
    reader: Option<Recording>,
    waiting: Option<Batch>,
    extents: BTreeMap<Signal, Window>,
}

/// How backends are read, which depends on what they are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    whole: Whole,
    made_up: MadeUp,
}

impl Manner {
    pub(super) fn of(places: &[Vec<(Place, HeaderMap)>; 2], asked: &Asked) -> Manner {
        let is_recording = |(place, _): &(Place, HeaderMap)| matches!(place, Place::Recording(_));
        let is_recorded = places.iter().flatten().any(is_recording);
        Manner {
            whole: if is_recorded { Whole::Spans } else { Whole::Traces },
            made_up: if is_recorded || asked.names_streams() { MadeUp::Kept } else { MadeUp::LeftOut },
        }
    }
}

/// The backends of both sides as they are asked for, by the command line or else by the configuration.
pub(super) fn places(arguments: &ParityArguments, asked: &Asked) -> anyhow::Result<[Vec<(Place, HeaderMap)>; 2]> {
    let of = |side: Side, places: &[Place], headers: &[Header], queried: &[Queried]| {
        let headers = |kind: Kind| headers_of(kind, headers);
        let places: Vec<(Place, HeaderMap)> = match places.is_empty() {
            false => {
                let with = |place: &Place| match place {
                    Place::Recording(_) => (place.clone(), HeaderMap::new()),
                    Place::Backend(kind, _) => (place.clone(), headers(*kind)),
                };
                places.iter().map(with).collect()
            }
            true => {
                let with = |queried: &Queried| {
                    let mut all = queried.headers.clone();
                    // One name after the other: a header that is given here goes before that of the file.
                    headers(queried.kind).iter().for_each(|(name, value)| drop(all.insert(name, value.clone())));
                    (Place::Backend(queried.kind, queried.url.clone()), all)
                };
                queried.iter().map(with).collect()
            }
        };
        match places.is_empty() {
            true => Err(anyhow!(
                "where is the {side} side? Name it with --{side} FILE or --{side} URL, or in `migration.{side}.query` of \
                 a file that --config names"
            )),
            false => Ok(places),
        }
    };
    let [of_legacy, of_new] = &asked.queried;
    let both = [
        of(Side::Legacy, &arguments.legacy, &arguments.legacy_header, of_legacy)?,
        of(Side::New, &arguments.new, &arguments.new_header, of_new)?,
    ];
    if !arguments.legacy.is_empty() && !arguments.new.is_empty() {
        each_has_its_counterpart(&both)?;
    }
    Ok(both)
}

/// Who names a backend means it to be compared with something.
fn each_has_its_counterpart(both: &[Vec<(Place, HeaderMap)>; 2]) -> anyhow::Result<()> {
    for (side, at) in [(Side::Legacy, 0), (Side::New, 1)] {
        let others = &both[1 - at];
        for (place, _) in &both[at] {
            let Place::Backend(kind, _) = place else { continue };
            let is_counterpart = |(other, _): &(Place, HeaderMap)| match other {
                Place::Recording(_) => true,
                Place::Backend(other, _) => other.signal() == kind.signal(),
            };
            if !others.iter().any(is_counterpart) {
                let (signal, name) = (kind.signal().name(), kind.name());
                bail!(
                    "{place} has the {signal} of the {side} side, and --{} names nothing to compare them with: repeat it \
                     with an address such as `{name}=http://…`",
                    side.other()
                );
            }
        }
    }
    Ok(())
}

impl Sources {
    pub(super) fn open(
        side: Side,
        places: &[(Place, HeaderMap)],
        manner: Manner,
        bar: &Bar,
    ) -> anyhow::Result<Sources> {
        let is_recording = |(place, _): &(Place, HeaderMap)| matches!(place, Place::Recording(_));
        if places.iter().any(is_recording) && !places.iter().all(is_recording) {
            bail!("the {side} side is recordings or backends, not both: a recording has all signals");
        }
        let mut sources: Vec<Source> = Vec::new();
        for (place, headers) in places {
            let headers = headers.clone();
            let source = match place {
                Place::Recording(path) if is_capture(path)? => {
                    Source::Captured(Box::new(Captured::open(side, path, bar)?))
                }
                Place::Recording(path) => Source::Recording(Box::new(Recorded::open(path, bar)?)),
                Place::Backend(Kind::Prometheus, url) => {
                    Source::Prometheus(Box::new(Backend::new(side, url, headers)?))
                }
                Place::Backend(Kind::Jaeger, url) => {
                    Source::Jaeger(Box::new(Jaeger::new(side, url, headers, manner.whole)?))
                }
                Place::Backend(Kind::Loki, url) => {
                    Source::Loki(Box::new(Loki::new(side, url, headers, manner.made_up)?))
                }
                Place::Backend(Kind::VictoriaLogs, url) => {
                    Source::VictoriaLogs(Box::new(VictoriaLogs::new(side, url, headers)?))
                }
            };
            let signal = source.kind().map(Kind::signal);
            if let Some(signal) = signal
                && sources.iter().any(|known| known.kind().map(Kind::signal) == Some(signal))
            {
                bail!("the {side} side has two backends of {}: name one", signal.name());
            }
            sources.push(source);
        }
        let shown: Vec<String> = places.iter().map(|(place, _)| place.to_string()).collect();
        Ok(Sources { side, sources, shown: shown.join(", ") })
    }

    /// What there is of a signal.
    pub(super) fn has(&self, signal: Signal) -> Has {
        let mut recorded = Window::EMPTY;
        for source in &self.sources {
            match source {
                Source::Recording(one) => {
                    recorded = one.extents.get(&signal).map_or(recorded, |extent| recorded.join(*extent));
                }
                Source::Captured(one) if signal == Signal::Metrics => recorded = recorded.join(one.extent),
                backend => {
                    if let Some(kind) = backend.kind().filter(|kind| kind.signal() == signal) {
                        return Has::Answers(kind);
                    }
                }
            }
        }
        if recorded.is_empty() { Has::Nothing } else { Has::Recorded(recorded) }
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.sources.iter().any(|source| source.kind().is_none())
    }

    /// Whether remote writes were captured, of which much is put together at a time.
    pub(super) fn is_captured(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Captured(_)))
    }

    /// Whether expressions may be asked for.
    pub(super) fn answers_expressions(&self) -> bool {
        self.has(Signal::Metrics) == Has::Answers(Kind::Prometheus)
    }

    /// Asks backends what there is.
    pub(super) async fn learn(&mut self, windows: &BTreeMap<Signal, Window>) -> anyhow::Result<()> {
        for source in &mut self.sources {
            let Some(window) = source.kind().and_then(|kind| windows.get(&kind.signal())) else { continue };
            match source {
                Source::Prometheus(backend) => backend.learn(*window).await?,
                Source::Jaeger(jaeger) => jaeger.learn(*window).await?,
                Source::Loki(loki) => loki.learn(*window).await?,
                Source::Recording(_) | Source::Captured(_) | Source::VictoriaLogs(_) => {}
            }
        }
        Ok(())
    }

    fn catalogues(&mut self) -> Vec<&mut Catalogue> {
        let mut found = Vec::new();
        for source in &mut self.sources {
            match source {
                Source::Prometheus(backend) => found.push(&mut backend.catalogue),
                Source::Captured(captured) => found.push(&mut captured.catalogue),
                _ => {}
            }
        }
        found
    }

    /// Reads what there is of a slice of time.
    pub(super) async fn read(&mut self, slice: &Slice<'_>, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        for source in &mut self.sources {
            let part = source.kind().and_then(|kind| slice.of(kind.signal()));
            // What has no time, or one beyond all others, comes with the rest.
            let until_unix_ns = if slice.is_last { u64::MAX } else { slice.time.to_unix_ns };
            match source {
                Source::Recording(recorded) => recorded.read(until_unix_ns, observe)?,
                Source::Captured(captured) => captured.read(until_unix_ns, observe)?,
                backend => {
                    if let Some(part) = part {
                        backend.answer(part, slice, observe).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What kept something from being compared.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |source: &Source| match source {
            Source::Recording(_) | Source::VictoriaLogs(_) => Vec::new(),
            Source::Prometheus(backend) => self.of_natives(backend.left_out),
            Source::Captured(captured) => self.of_natives(captured.left_out),
            Source::Jaeger(jaeger) => jaeger.notes().into_iter().collect(),
            Source::Loki(loki) => loki.notes().into_iter().collect(),
        };
        self.sources.iter().flat_map(note).collect()
    }

    /// What native histograms are not compared, and why.
    fn of_natives(&self, left_out: LeftOut) -> Vec<String> {
        let LeftOut { gauges, answers } = left_out;
        let of_gauges = (gauges > 0).then(|| {
            let side = self.side;
            format!("{gauges} samples of the {side} side are native histograms that are gauges, which are not compared")
        });
        let of_answers = (answers > 0).then(|| {
            format!(
                "{answers} samples that the {} side answered are native histograms, which are not compared: ask for a \
                 number, as with histogram_quantile or histogram_count",
                self.side
            )
        });
        of_gauges.into_iter().chain(of_answers).collect()
    }
}

/// Lets both sides know of metrics what only one of them does.
pub(super) fn share_types(sides: &mut [Sources; 2], rules: &[Rule]) {
    let [legacy, new] = sides;
    agree([legacy.catalogues(), new.catalogues()], rules);
}

/// Lets a replica know of metrics what the legacy side does, whose names it has.
pub(super) fn share_with_replica(legacy: &mut Sources, replica: &mut Sources) {
    agree_with_replica([legacy.catalogues(), replica.catalogues()]);
}

/// A slice of the time that is compared.
pub(super) struct Slice<'a> {
    pub(super) time: Window,
    pub(super) is_last: bool,
    pub(super) windows: &'a BTreeMap<Signal, Window>,
    pub(super) queries: &'a [Query],
    pub(super) step_ms: u64,
}

impl Slice<'_> {
    /// What of it is compared of a signal.
    fn of(&self, signal: Signal) -> Option<Window> {
        let window = self.windows.get(&signal)?;
        let mut part = window.meet(self.time);
        if signal == Signal::Logs && part.to_unix_ns == window.to_unix_ns {
            // The end of a part is not read with it, but the end of all is.
            part.to_unix_ns = part.to_unix_ns.saturating_add(1);
        }
        (part.from_unix_ns < part.to_unix_ns).then_some(part)
    }
}

impl Source {
    /// Reads what a backend has of a span of time.
    async fn answer(&mut self, part: Window, slice: &Slice<'_>, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        match self {
            Source::Recording(_) | Source::Captured(_) => Ok(()),
            Source::Jaeger(jaeger) => jaeger.read(part, observe).await,
            Source::Loki(loki) => loki.read(part, observe).await,
            Source::VictoriaLogs(logs) => logs.read(part, observe).await,
            Source::Prometheus(backend) => {
                let (from_unix_ms, to_unix_ms) = (part.from_unix_ns / 1_000_000, part.to_unix_ns.div_ceil(1_000_000));
                match slice.queries {
                    _ if to_unix_ms == from_unix_ms => Ok(()),
                    [] => backend.read(from_unix_ms, to_unix_ms, observe).await,
                    queries => backend.answer(queries, (from_unix_ms, to_unix_ms, slice.step_ms), observe).await,
                }
            }
        }
    }

    /// What kind of a backend it is.
    fn kind(&self) -> Option<Kind> {
        match self {
            Source::Recording(_) | Source::Captured(_) => None,
            Source::Prometheus(_) => Some(Kind::Prometheus),
            Source::Jaeger(_) => Some(Kind::Jaeger),
            Source::Loki(_) => Some(Kind::Loki),
            Source::VictoriaLogs(_) => Some(Kind::VictoriaLogs),
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
