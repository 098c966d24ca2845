//! The rows of the matrix.

use parity::Failure;

use super::Outcome;
use super::events::{self, Of};
use super::metrics::{self, Fault, Kind, Starts};

pub(crate) struct Row {
    pub(crate) method: &'static str,
    pub(crate) name: &'static str,
    /// Of what the sides differ in, what may be named; nothing for rows without a difference.
    pub(crate) causes: &'static [&'static str],
    pub(crate) failure: Option<Failure>,
    pub(crate) run: Box<dyn Fn(u64, f64) -> Outcome + Sync>,
}

fn clean(method: &'static str, kind: Kind) -> Row {
    let run = move |seed, hours| metrics::Scene::any(seed, kind, hours).run();
    Row { method, name: "anything", causes: &[], failure: None, run: Box::new(run) }
}

fn clean_slow(method: &'static str, name: &'static str, kind: Kind, per_second: f64) -> Row {
    let run = move |seed, hours| metrics::Scene::slow(seed, kind, per_second, hours).run();
    Row { method, name, causes: &[], failure: None, run: Box::new(run) }
}

fn clean_events(method: &'static str, of: Of) -> Row {
    let run = move |seed, hours| events::Scene::any(seed, of, hours / 4.0).run();
    Row { method, name: "anything", causes: &[], failure: None, run: Box::new(run) }
}

fn faulty(
    method: &'static str,
    name: &'static str,
    causes: &'static [&'static str],
    failure: Option<Failure>,
    scene: impl Fn(u64) -> metrics::Scene + Sync + 'static,
) -> Row {
    Row { method, name, causes, failure, run: Box::new(move |seed, _| scene(seed).run()) }
}

fn faulty_events(
    method: &'static str,
    name: &'static str,
    causes: &'static [&'static str],
    failure: Option<Failure>,
    of: Of,
    fault: events::Fault,
) -> Row {
    let run = move |seed, _| events::Scene { fault, ..events::Scene::plain(seed, of) }.run();
    Row { method, name, causes, failure, run: Box::new(run) }
}

/// Events a second: as good as none, and about three a day.
const NEVER: f64 = 1e-12;
const THREE_A_DAY: f64 = 3.0 / 86_400.0;

/// Streams without a difference.
pub(crate) fn clean_rows() -> Vec<Row> {
    vec![
        clean("counter", Kind::Counter),
        clean_slow("counter", "idle", Kind::Counter, NEVER),
        clean_slow("counter", "3 events a day", Kind::Counter, THREE_A_DAY),
        clean_slow("counter", "one in 20 s", Kind::Counter, 0.05),
        clean("counter against deltas", Kind::Delta),
        clean_slow("counter against deltas", "idle", Kind::Delta, NEVER),
        clean_slow("counter against deltas", "3 events a day", Kind::Delta, THREE_A_DAY),
        clean("gauge", Kind::Gauge),
        clean("explicit histogram", Kind::Explicit),
        clean("exponential histogram", Kind::Exponential),
        clean("summary", Kind::Summary),
        clean_events("series set", Of::Series),
        clean_events("logs", Of::Logs),
        clean_events("traces, shared ids", Of::Shared),
        clean_events("traces, other ids", Of::Separate),
    ]
}

const LOSS: &[&str] = &["Loss"];
const LOST: Option<Failure> = Some(Failure::SilentLoss);

/// Streams with a difference.
pub(crate) fn faulty_rows() -> Vec<Row> {
    let mut rows = counters();
    rows.extend(gauges());
    rows.extend(distributions());
    rows.extend(others());
    rows
}

fn counters() -> Vec<Row> {
    let plain =
        |fault, hours| move |seed| metrics::Scene { fault, hours, ..metrics::Scene::plain(seed, Kind::Counter) };
    let fast = |per_second, fault, hours| {
        move |seed| metrics::Scene { fault, hours, per_second, ..metrics::Scene::plain(seed, Kind::Counter) }
    };
    let minute = |seed| metrics::Scene {
        fault: Fault::Loss(0.01),
        intervals_s: [15.0, 60.0],
        ..metrics::Scene::plain(seed, Kind::Counter)
    };
    let started = |fault| {
        move |seed| metrics::Scene {
            fault,
            starts: Starts::Both,
            hours: 1.0,
            ..metrics::Scene::plain(seed, Kind::Counter)
        }
    };
    let slow = |kind, per_second, fault| {
        move |seed| metrics::Scene {
            fault,
            per_second,
            pattern: metrics::Pattern::Regular,
            hours: 24.0,
            ..metrics::Scene::plain(seed, kind)
        }
    };
    let delta = |fault| move |seed| metrics::Scene { fault, ..metrics::Scene::plain(seed, Kind::Delta) };
    let unit = Some(Failure::UnitChanged);
    let twice = Some(Failure::DuplicateWriters);
    let resets = Some(Failure::InjectedResets);
    let deltas = Some(Failure::DeltasDropped);
    vec![
        faulty("counter", "0.1 % lost (10/s, 24 h)", LOSS, LOST, fast(10.0, Fault::Loss(0.001), 24.0)),
        faulty("counter", "1 % lost (1/s)", LOSS, LOST, plain(Fault::Loss(0.01), 3.0)),
        faulty("counter", "1 % lost (5/s)", LOSS, LOST, fast(5.0, Fault::Loss(0.01), 3.0)),
        faulty("counter", "1 % lost (1/s, 15 s against 60 s)", LOSS, LOST, minute),
        faulty("counter", "5 % lost (1/s)", LOSS, LOST, plain(Fault::Loss(0.05), 3.0)),
        faulty("counter", "unit × 1000", &["UnitChanged"], unit, plain(Fault::Scale(1000.0), 1.0)),
        faulty("counter", "each event twice", &["Duplicated"], twice, plain(Fault::Scale(2.0), 1.0)),
        faulty("counter", "resets every 5 min", &["InjectedResets"], resets, plain(Fault::ResetEvery(300.0), 3.0)),
        faulty("counter", "starts restated", &["InjectedResets"], resets, started(Fault::RestatedStarts)),
        faulty(
            "counter",
            "first 30 events lost",
            &["FirstIncrementLost"],
            Some(Failure::FirstIncrementLost),
            started(Fault::FirstLost(30)),
        ),
        faulty("counter", "stops after 30 min", &["Stopped"], LOST, plain(Fault::StopAfter(1800.0), 1.0)),
        faulty("counter", "3 a day, the 2nd lost", LOSS, LOST, slow(Kind::Counter, THREE_A_DAY, Fault::OneLost(2))),
        faulty(
            "counter",
            "one of 30 lost (1 in 10 min)",
            LOSS,
            LOST,
            slow(Kind::Counter, 1.0 / 600.0, Fault::OneLost(30)),
        ),
        faulty("counter", "1 % lost (1 in 20 s, 6 h)", LOSS, LOST, fast(0.05, Fault::Loss(0.01), 6.0)),
        faulty(
            "counter",
            "one side stands still (1 a minute)",
            LOSS,
            LOST,
            slow(Kind::Counter, 1.0 / 60.0, Fault::Loss(1.0)),
        ),
        faulty(
            "counter against deltas",
            "3 a day, the 2nd lost",
            &["DeltasLost"],
            deltas,
            slow(Kind::Delta, THREE_A_DAY, Fault::OneLost(2)),
        ),
        faulty("counter against deltas", "1 % lost (1/s)", &["DeltasLost"], deltas, delta(Fault::Loss(0.01))),
        faulty("counter against deltas", "5 % lost (1/s)", &["DeltasLost"], deltas, delta(Fault::Loss(0.05))),
    ]
}

fn gauges() -> Vec<Row> {
    let gauge = |factor| {
        move |seed| metrics::Scene {
            fault: Fault::Scale(factor),
            hours: 6.0,
            ..metrics::Scene::plain(seed, Kind::Gauge)
        }
    };
    let summary = |factor| {
        move |seed| metrics::Scene {
            fault: Fault::Scale(factor),
            per_second: 5.0,
            ..metrics::Scene::plain(seed, Kind::Summary)
        }
    };
    let unit = Some(Failure::UnitChanged);
    let five = |seed| metrics::Scene { fault: Fault::Loss(0.05), ..metrics::Scene::plain(seed, Kind::Summary) };
    vec![
        faulty("gauge", "2 % higher", &["Level"], None, gauge(1.02)),
        faulty("gauge", "5 % higher", &["Level"], None, gauge(1.05)),
        faulty("gauge", "unit × 0.001", &["UnitChanged"], unit, gauge(0.001)),
        faulty("summary", "unit × 0.001", &["UnitChanged"], unit, summary(0.001)),
        faulty("summary", "5 % of the events lost", LOSS, LOST, five),
    ]
}

fn distributions() -> Vec<Row> {
    let of = |kind, fault| move |seed| metrics::Scene { fault, per_second: 5.0, ..metrics::Scene::plain(seed, kind) };
    let (explicit, exponential) = (Kind::Explicit, Kind::Exponential);
    let shifted: &[&str] = &["BucketsShifted"];
    let seconds = Some(Failure::SecondsInMillisecondBuckets);
    let unit = Some(Failure::UnitChanged);
    vec![
        faulty("explicit histogram", "1 % lost (5/s)", LOSS, LOST, of(explicit, Fault::Loss(0.01))),
        faulty(
            "explicit histogram",
            "8 to 10 in the next bucket",
            shifted,
            None,
            of(explicit, Fault::ShiftedBuckets(1.0)),
        ),
        faulty(
            "explicit histogram",
            "seconds in ms buckets",
            &["SecondsInMillisecondBuckets"],
            seconds,
            of(explicit, Fault::SecondsInMilliseconds),
        ),
        faulty("exponential histogram", "1 % lost (5/s)", LOSS, LOST, of(exponential, Fault::Loss(0.01))),
        faulty("exponential histogram", "unit × 0.001", &["UnitChanged"], unit, of(exponential, Fault::Scale(0.001))),
    ]
}

fn others() -> Vec<Row> {
    use events::Fault::{Attribute, Changed, Event, Fragmented, Loss, OneMissing, Rewritten, Twice};
    let attribute = Some(Failure::AttributeChanged);
    let twice = Some(Failure::DuplicateWriters);
    let propagators = Some(Failure::MixedPropagators);
    let (fields, missing): (&[&str], &[&str]) = (&["FieldsDiffer"], &["AttributeMissing"]);
    let (shared, separate) = ("traces, shared ids", "traces, other ids");
    let fragments: &[&str] = &["TracesFragmented"];
    vec![
        faulty_events("series set", "1 of 20 missing", &["SeriesMissing"], LOST, Of::Series, OneMissing),
        faulty_events("series set", "attribute dropped", missing, attribute, Of::Series, Attribute),
        faulty_events("series set", "values in lower case", &["ValueRewritten"], attribute, Of::Series, Rewritten),
        faulty_events("logs", "1 % lost (1/s)", LOSS, LOST, Of::Logs, Loss(0.01)),
        faulty_events("logs", "5 % lost (1/s)", LOSS, LOST, Of::Logs, Loss(0.05)),
        faulty_events("logs", "each record twice", &["Duplicated"], twice, Of::Logs, Twice),
        faulty_events("logs", "1 % of the texts changed", fields, None, Of::Logs, Changed(0.01)),
        faulty_events("logs", "attribute dropped", &["FieldsDiffer"], None, Of::Logs, Attribute),
        faulty_events(shared, "1 % lost (1/s)", LOSS, LOST, Of::Shared, Loss(0.01)),
        faulty_events(shared, "5 % lost (1/s)", LOSS, LOST, Of::Shared, Loss(0.05)),
        faulty_events(shared, "attribute dropped", missing, attribute, Of::Shared, Attribute),
        faulty_events(shared, "event dropped", fields, None, Of::Shared, Event),
        faulty_events(shared, "5 % of one name changed", fields, None, Of::Shared, Changed(0.05)),
        faulty_events(shared, "fragmented", fragments, propagators, Of::Shared, Fragmented),
        faulty_events(separate, "1 % lost (1/s)", LOSS, LOST, Of::Separate, Loss(0.01)),
        faulty_events(separate, "5 % lost (1/s)", LOSS, LOST, Of::Separate, Loss(0.05)),
        faulty_events(separate, "attribute dropped", missing, attribute, Of::Separate, Attribute),
        faulty_events(separate, "event dropped", fields, None, Of::Separate, Event),
        faulty_events(separate, "20 % of one name changed", fields, None, Of::Separate, Changed(0.2)),
        faulty_events(separate, "fragmented", fragments, propagators, Of::Separate, Fragmented),
    ]
}
