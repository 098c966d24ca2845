//! What all shards of a receiver add up to, and what is known of each series.

use std::sync::Arc;

use hashbrown::HashTable;
use otlp::{Batch, NumberValue, Temporality};

use super::cell::{Body, Cell, Counter, Rounding, Timers};
use super::collected::{Collected, TimedPoint, Update};
use super::data::{Data, Point};
use super::emit;
use super::event::{Event, ServiceCheck};
use super::series::{Series, SeriesBuilder, Shape};
use super::settings::{CounterNumbers, Settings, Toggle};

/// So many single values, set members and timed points are held until the next flush, over all series.
const VALUES_MAX: usize = 16 << 20;

/// Events may take so many bytes until the next flush.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// What a merge could not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Values of series beyond `max_series`; their cause is
    /// [`Malformed::SeriesLimit`](super::Malformed::SeriesLimit).
    pub refused: u64,
    /// Values and events for which there was no room until the next flush; their cause is
    /// [`Malformed::ValuesLimit`](super::Malformed::ValuesLimit).
    pub values_refused: u64,
}

/// What a flush hands out.
#[derive(Debug, Default)]
#[must_use = "what is not delivered is lost"]
pub struct Flushed {
    /// The metrics, in batches of bounded size. There are none when nothing is to be said.
    pub metrics: Vec<Batch>,
    /// Events, and the messages of service checks.
    pub logs: Option<Batch>,
}

/// What all shards of a receiver add up to.
///
/// The receiver calls [`Shard::take`](super::Shard::take) on each shard and [`Store::merge`] with what it gets, then
/// [`Store::flush`], once in every `aggregation_interval` and once more before it stops.
///
/// What [`Store::flush`] handed out is no longer in the store. A receiver whose batches are not taken keeps them and
/// offers them again, in order, while it goes on merging and flushing: deltas of different intervals are different
/// batches, none replaces another. A receiver that would hold too many of them rather leaves out flushes: the store
/// goes on adding, and the next flush covers all the time since the last one. Either way nothing is lost or counted
/// twice.
#[derive(Debug)]
pub struct Store {
    settings: Arc<Settings>,
    states: Vec<State>,
    index: HashTable<u32>,
    timed: Vec<TimedPoint>,
    events: Vec<Event>,
    event_bytes: usize,
    values_held: usize,
    flushed_ns: u64,
}

/// What is known of one series.
#[derive(Debug)]
struct State {
    series: Arc<Series>,
    /// What came since the last flush; of a gauge, also its value.
    interval: Cell,
    /// What came since `start_ns`, if totals are kept.
    total: Option<Cell>,
    fresh: Fresh,
    start_ns: u64,
    last_ns: u64,
    /// The part of a count that was not whole enough to be written.
    carry: f64,
}

/// Whether anything came since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fresh {
    Yes,
    No,
}

impl Store {
    /// An empty store. Its first interval begins at `now_unix_ns`.
    pub fn new(settings: Arc<Settings>, now_unix_ns: u64) -> Store {
        Store {
            settings,
            states: Vec::new(),
            index: HashTable::new(),
            timed: Vec::new(),
            events: Vec::new(),
            event_bytes: 0,
            values_held: 0,
            flushed_ns: now_unix_ns,
        }
    }

    /// How many series are known.
    pub fn series(&self) -> usize {
        self.states.len()
    }

    /// Adds what a shard collected.
    pub fn merge(&mut self, collected: Collected) -> Merged {
        let mut merged = Merged::default();
        for update in collected.updates {
            self.update(update, &mut merged);
        }
        for point in collected.timed {
            self.add_timed(point, &mut merged);
        }
        for event in collected.events {
            self.add_event(event, &mut merged);
        }
        for check in collected.checks {
            self.check(&check, &mut merged);
        }
        merged
    }

    fn add_timed(&mut self, point: TimedPoint, merged: &mut Merged) {
        if self.values_held >= VALUES_MAX {
            merged.values_refused += 1;
            return;
        }
        self.values_held += 1;
        self.timed.push(point);
    }

    fn add_event(&mut self, event: Event, merged: &mut Merged) {
        let bytes = self.event_bytes + event.size_bytes();
        if bytes > EVENT_BYTES_MAX {
            merged.values_refused += 1;
            return;
        }
        self.event_bytes = bytes;
        self.events.push(event);
    }

    fn update(&mut self, update: Update, merged: &mut Merged) {
        let Update { series, cell, samples, last_ns } = update;
        let values = cell.values_held();
        if values > 0 && self.values_held + values > VALUES_MAX {
            merged.values_refused += samples;
            return;
        }
        let same = |&state: &u32| {
            let own = &self.states[state as usize].series;
            Arc::ptr_eq(own, &series) || own.key == series.key
        };
        if let Some(&state) = self.index.find(series.hash, same) {
            let state = &mut self.states[state as usize];
            let before = state.interval.values_held();
            state.interval.merge(cell);
            self.values_held = self.values_held + state.interval.values_held() - before.min(self.values_held);
            state.fresh = Fresh::Yes;
            state.last_ns = state.last_ns.max(last_ns);
            return;
        }
        let number = match u32::try_from(self.states.len()) {
            Ok(number) if self.states.len() < self.settings.series_max => number,
            _ => {
                merged.refused += samples;
                return;
            }
        };
        self.values_held += values;
        let (hash, states) = (series.hash, &self.states);
        self.index.insert_unique(hash, number, |&state| states[state as usize].series.hash);
        let total = self.keeps_totals(&series.shape).then(|| Cell::new(&series.shape));
        let start_ns = self.flushed_ns;
        self.states.push(State { series, interval: cell, total, fresh: Fresh::Yes, start_ns, last_ns, carry: 0.0 });
    }

    fn keeps_totals(&self, shape: &Shape) -> bool {
        let adds_up = !matches!(shape, Shape::Gauge | Shape::Set | Shape::Points);
        adds_up && self.settings.temporality == Temporality::Cumulative
    }

    /// A service check is a gauge of its status; its message, if it has one, is a log record.
    fn check(&mut self, check: &ServiceCheck, merged: &mut Merged) {
        let attributes = check.attributes.iter().map(|(key, value)| (key.into(), value.into())).collect();
        let series = SeriesBuilder {
            shape: Shape::Gauge,
            name: check.name.as_str().into(),
            unit: "",
            description: None,
            attributes,
            expiry_ns: self.settings.expiry_ns(),
        };
        let series = Arc::new(series.build(&self.settings.hasher));
        let mut cell = Cell::new(&Shape::Gauge);
        if let Cell::Gauge(gauge) = &mut cell {
            gauge.set(f64::from(check.status), check.observed_ns);
        }
        if let Some(event) = check.message_event() {
            self.add_event(event, merged);
        }
        match check.time_ns {
            Some(time_ns) => self.add_timed(TimedPoint { series, time_ns, cell }, merged),
            None => self.update(Update { series, cell, samples: 1, last_ns: check.observed_ns }, merged),
        }
    }

    /// Hands out what came since the last flush, and forgets series that were not updated for longer than their
    /// expiry. Cumulative series, and gauges that are repeated, end with a point that has no recorded value.
    pub fn flush(&mut self, now_unix_ns: u64) -> Flushed {
        let now_ns = now_unix_ns;
        let mut timed = put_together(std::mem::take(&mut self.timed));
        let mut points = Vec::with_capacity(self.states.len());
        // A clock that was set back must not make an interval end before it began.
        let interval_start_ns = self.flushed_ns.min(now_ns);
        for state in &mut self.states {
            state.points(&self.settings, interval_start_ns, now_ns, &mut points);
        }
        for point in &mut timed {
            points.extend(point.point(&self.settings));
        }
        let metrics = emit::metrics(points, &self.settings);
        let logs = emit::logs(&std::mem::take(&mut self.events));
        self.flushed_ns = now_ns;
        self.values_held = 0;
        self.event_bytes = 0;
        self.forget_expired(now_ns);
        Flushed { metrics, logs }
    }

    fn forget_expired(&mut self, now_ns: u64) {
        let before = self.states.len();
        self.states.retain(|state| !state.has_expired(now_ns));
        if self.states.len() == before {
            return;
        }
        self.index.clear();
        let states = &self.states;
        for (number, state) in (0_u32..).zip(states) {
            self.index.insert_unique(state.series.hash, number, |&state| states[state as usize].series.hash);
        }
    }
}

// === impl State ===

impl State {
    fn has_expired(&self, now_ns: u64) -> bool {
        self.series.expiry_ns.is_some_and(|expiry_ns| now_ns.saturating_sub(self.last_ns) > expiry_ns)
    }

    /// Appends what is to be said of the series, and begins its next interval.
    fn points<'a>(&'a mut self, settings: &Settings, interval_start_ns: u64, now_ns: u64, out: &mut Vec<Point<'a>>) {
        let fresh = std::mem::replace(&mut self.fresh, Fresh::No) == Fresh::Yes;
        let repeated = match self.series.shape {
            Shape::Gauge => settings.repeat_gauges == Toggle::On,
            _ => self.total.is_some(),
        };
        if !fresh && !repeated {
            return;
        }
        let expired = !fresh && self.has_expired(now_ns);
        let start_ns = if self.total.is_some() { self.start_ns.min(now_ns) } else { interval_start_ns };
        let point = |series, data| Point { series, start_ns, time_ns: now_ns, monotonic: Toggle::Off, data };
        match &mut self.interval {
            _ if expired => {
                let monotonic = match &self.total {
                    Some(Cell::Counter(total)) => monotonic(total, settings),
                    _ => Toggle::Off,
                };
                out.push(Point { monotonic, ..point(&self.series, Data::Stale) });
            }
            Cell::Gauge(gauge) => {
                out.push(point(&self.series, Data::Gauge(NumberValue::Double(gauge.settle()))));
            }
            Cell::Set(members) => {
                let count = std::mem::take(members).len();
                out.push(point(&self.series, Data::Gauge(NumberValue::Int(count as i64))));
            }
            Cell::Counter(counter) => {
                let interval = std::mem::replace(counter, counter.emptied());
                let sum = match &mut self.total {
                    Some(Cell::Counter(total)) => {
                        total.merge(interval);
                        *total
                    }
                    _ => interval,
                };
                let data = Data::Sum(counter_value(&sum, settings));
                out.push(Point { monotonic: monotonic(&sum, settings), ..point(&self.series, data) });
            }
            Cell::Timers(timers) => {
                let interval = std::mem::replace(&mut **timers, Timers::new(&self.series.shape));
                let series = &*self.series;
                match (interval.body, &mut self.total) {
                    (Body::Points(values), _) => out.extend(values.into_iter().map(|(time_ns, value)| Point {
                        time_ns,
                        ..point(series, Data::Gauge(NumberValue::Double(value)))
                    })),
                    (body, Some(Cell::Timers(total))) => {
                        let interval = Timers { body, ..interval };
                        let quantiles = interval.quantiles(&series.shape);
                        total.merge(interval.without_values());
                        out.push(point(series, total.data(quantiles, Rounding::Each)));
                    }
                    (body, _) => {
                        let interval = Timers { body, ..interval };
                        let quantiles = interval.quantiles(&series.shape);
                        out.push(point(series, interval.data(quantiles, Rounding::Carry(&mut self.carry))));
                    }
                }
            }
        }
    }
}

// === impl TimedPoint ===

impl TimedPoint {
    /// The point at its own time. A delta of which nobody knows when it began has no start.
    fn point(&mut self, settings: &Settings) -> Option<Point<'_>> {
        let (data, monotonic) = match &mut self.cell {
            Cell::Counter(counter) => (Data::Sum(counter_value(counter, settings)), monotonic(counter, settings)),
            Cell::Gauge(gauge) => (Data::Gauge(NumberValue::Double(gauge.settle())), Toggle::Off),
            Cell::Set(_) | Cell::Timers(_) => return None,
        };
        Some(Point { series: &self.series, start_ns: 0, time_ns: self.time_ns, monotonic, data })
    }
}

/// One point for each series and time, however many shards had one.
fn put_together(mut timed: Vec<TimedPoint>) -> Vec<TimedPoint> {
    timed.sort_by(|left, right| (&left.series.key, left.time_ns).cmp(&(&right.series.key, right.time_ns)));
    let mut together: Vec<TimedPoint> = Vec::with_capacity(timed.len());
    for point in timed {
        match together.last_mut() {
            Some(last) if last.time_ns == point.time_ns && last.series.key == point.series.key => {
                last.cell.merge(point.cell);
            }
            _ => together.push(point),
        }
    }
    together
}

fn counter_value(counter: &Counter, settings: &Settings) -> NumberValue {
    match settings.counter_numbers {
        CounterNumbers::Int => counter.value(),
        CounterNumbers::Float => NumberValue::Double(counter.as_f64()),
    }
}

/// A sum that was told to fall is not monotonic, whatever the configuration says.
fn monotonic(counter: &Counter, settings: &Settings) -> Toggle {
    if counter.negative { Toggle::Off } else { settings.monotonic_counters }
}
