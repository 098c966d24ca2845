//! What one reader thread adds up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use memchr::memchr;

use super::alias::{Aliases, Client, Target, Weight};
use super::cell::{Cell, Member, Timers};
use super::collected::{Collected, TimedPoint, Update};
use super::event::{self, Attributes, Event, ServiceCheck};
use super::line::{Head, Line, StatsdType, Tag, Values, parse_fields, split_head};
use super::malformed::Malformed;
use super::mapping::{self, Action, Mapped, MappingCache};
use super::report::PacketReport;
use super::series::{SeriesBuilder, Shape};
use super::settings::{Dialect, Settings, Toggle};
use super::slots::{Numbers, Scalar, Slot, Slots};
use super::value::{Sign, Value, parse_value};
use super::{LINE_BYTES_MAX, line};

/// So many single values, set members and timed points are held until the next take, over all series.
const VALUES_MAX: usize = 4 << 20;

/// Events and the like may take so many bytes until the next take.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A client over UDP or TCP.
    Peer(SocketAddr),
    /// A client over a Unix socket, which has no address.
    Local,
}

/// What one reader thread adds up between two flushes. It shares nothing with other threads.
///
/// ```
/// use std::sync::Arc;
/// use aggregation::statsd::{Settings, Shard, Source, Store};
///
/// let settings = Arc::new(Settings::default());
/// let mut shard = Shard::new(Arc::clone(&settings));
/// let mut store = Store::new(settings, 1_000);
///
/// let report = shard.packet(b"orders:3|c|#shop:north\norders:4|c|#shop:north\nnonsense", Source::Local, 2_000);
/// assert_eq!((report.lines, report.kept(), report.malformed.total()), (3, 2, 1));
///
/// store.merge(shard.take());
/// let flushed = store.flush(3_000);
/// assert_eq!(flushed.metrics[0].items(), 1);
/// ```
#[derive(Debug)]
pub struct Shard {
    settings: Arc<Settings>,
    aliases: Aliases,
    slots: Slots,
    names: MappingCache,
    timed: HashMap<(u32, u64), Cell>,
    events: Vec<Event>,
    checks: Vec<ServiceCheck>,
    event_bytes: usize,
    values_held: usize,
}

/// Whether a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
}

impl Shard {
    /// An empty shard. All shards of a store are to have its settings.
    pub fn new(settings: Arc<Settings>) -> Shard {
        Shard {
            aliases: Aliases::new(settings.hasher.clone()),
            slots: Slots::new(settings.series_max),
            names: MappingCache::new(),
            timed: HashMap::new(),
            events: Vec::new(),
            checks: Vec::new(),
            event_bytes: 0,
            values_held: 0,
            settings,
        }
    }

    /// Adds the lines of a packet, or of a piece of a stream that ends with a line. `now_unix_ns` is when it came: by
    /// that, the last value of a gauge is told where several shards have one in the same interval.
    ///
    /// Every line stands for itself: one that is refused takes no other with it. What several clients send under one
    /// name and with the same tags is one series, unless `client_address` makes their addresses part of it.
    pub fn packet(&mut self, bytes: &[u8], source: Source, now_unix_ns: u64) -> PacketReport {
        let client = self.client(source);
        let mut report = PacketReport::default();
        let mut rest = bytes;
        loop {
            let end = memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            let line = line.trim_ascii();
            if !line.is_empty() {
                report.lines += 1;
                match self.line(line, &client, now_unix_ns) {
                    Ok(Fate::Kept) => {}
                    Ok(Fate::Dropped) => report.dropped += 1,
                    Err(cause) => report.refuse(cause, line),
                }
            }
            match end {
                Some(end) => rest = &rest[end + 1..],
                None => return report,
            }
        }
    }

    /// Hands over what was added since the last call, for [`Store::merge`](super::Store::merge).
    pub fn take(&mut self) -> Collected {
        let mut collected = Collected {
            updates: Vec::new(),
            timed: Vec::with_capacity(self.timed.len()),
            events: std::mem::take(&mut self.events),
            checks: std::mem::take(&mut self.checks),
        };
        for ((slot, time_ns), cell) in self.timed.drain() {
            let series = Arc::clone(self.slots.series(slot));
            collected.timed.push(TimedPoint { series, time_ns, cell });
        }
        let numbers = self.slots.take(|Slot { series, cell, samples, last_ns, .. }| {
            collected.updates.push(Update { series, cell, samples, last_ns });
        });
        if numbers == Numbers::Changed {
            self.aliases.forget();
        }
        self.event_bytes = 0;
        self.values_held = 0;
        collected
    }

    /// Whether so much is held that a flush before its time is better than refusing what comes next.
    pub fn is_crowded(&self) -> bool {
        self.values_held > VALUES_MAX / 2 || self.event_bytes > EVENT_BYTES_MAX / 2
    }

    fn client(&self, source: Source) -> Client {
        match source {
            Source::Peer(peer) if self.settings.client_address == Toggle::On => Client::at(peer.ip()),
            Source::Peer(_) | Source::Local => Client::ANY,
        }
    }

    #[inline]
    fn line(&mut self, line: &[u8], client: &Client, now_ns: u64) -> Result<Fate, Malformed> {
        if line.len() > LINE_BYTES_MAX {
            return Err(Malformed::LineTooLong);
        }
        if line[0] == b'_' && self.settings.dialect != Dialect::Etsy {
            if line.starts_with(b"_e{") {
                return self.event(line, now_ns);
            }
            if line.starts_with(b"_sc|") {
                return self.service_check(line, now_ns);
            }
        }
        let head = split_head(line)?;
        let hash = self.aliases.hash(&head, client);
        match self.aliases.find(hash, &head, client) {
            Some(target) => self.add(target, head.values, now_ns),
            None => self.samples(head, client, now_ns),
        }
    }

    /// Etsy lets several samples of one name follow each other. The first error is the line's; the others count.
    #[cold]
    fn samples(&mut self, head: Head<'_>, client: &Client, now_ns: u64) -> Result<Fate, Malformed> {
        let (mut fate, mut more) = self.unknown(head, client, now_ns);
        while let Some(rest) = more {
            let Some(at) = memchr(b'|', rest) else { return fate.and(Err(Malformed::TypeMissing)) };
            let next = Head { name: head.name, values: &rest[..at], tail: &rest[at + 1..] };
            let (next, behind) = self.unknown(next, client, now_ns);
            fate = fate.and_then(|fate| next.map(|_| fate));
            more = behind;
        }
        fate
    }

    /// A line that was not seen before in this form, and what follows its first sample.
    fn unknown<'a>(
        &mut self,
        head: Head<'a>,
        client: &Client,
        now_ns: u64,
    ) -> (Result<Fate, Malformed>, Option<&'a [u8]>) {
        match parse_fields(head, self.settings.dialect) {
            Ok(line) => (self.sample(head, &line, client, now_ns), line.more),
            Err(cause) => (Err(cause), None),
        }
    }

    fn sample(&mut self, head: Head<'_>, line: &Line<'_>, client: &Client, now_ns: u64) -> Result<Fate, Malformed> {
        let target = self.resolve(line, client)?;
        match line.timestamp_s {
            Some(seconds) => self.add_timed(target, head.values, seconds * 1_000_000_000, now_ns),
            None => {
                if line.more.is_none() {
                    let hash = self.aliases.hash(&head, client);
                    // The same samples of an Etsy line may come here a second time.
                    if self.aliases.find(hash, &head, client).is_none() {
                        self.aliases.remember(hash, &head, client, target);
                    }
                }
                self.add(target, head.values, now_ns)
            }
        }
    }

    /// The series of a line, and how its values count there.
    fn resolve(&mut self, line: &Line<'_>, client: &Client) -> Result<Target, Malformed> {
        let name: Cow<'_, str> = match line.name_end {
            [] => String::from_utf8_lossy(line.name),
            end => String::from_utf8_lossy(&[line.name, end].concat()).into_owned().into(),
        };
        let settings = &*self.settings;
        let mut attributes = tag_attributes(line.tags(), settings.simple_tags)?;
        event::origin_attributes(line.container_id, line.external_data, line.cardinality, &mut attributes);
        if let Some(address) = client.address() {
            attributes.push(("client.address".into(), address.to_string().into()));
        }
        let mapped = settings.mappings.as_ref().map(|mappings| self.names.find(mappings, &name, line.statsd_type));
        if mapped.is_some_and(|mapped| mapped.action == Action::Drop) {
            return Ok(Target::Dropped);
        }
        let Some(shape) = shape(settings, mapped, &name, line.statsd_type) else { return Ok(Target::Dropped) };
        let mut series = SeriesBuilder {
            shape,
            name: Cow::Borrowed(&name),
            unit: "",
            description: None,
            attributes,
            expiry_ns: settings.expiry_ns(),
        };
        let mut scale = 1.0;
        if let Some(mapped) = mapped {
            scale = mapped.scale(line.statsd_type);
            mapped.apply(&mut series, line.statsd_type);
        }
        if settings.metric_type_attribute == Toggle::On {
            series.attributes.push(("metric_type".into(), line.statsd_type.name().into()));
        }
        let slot = self.slots.slot(series.build(&settings.hasher))?;
        Ok(Target::Series { slot, weight: Weight { scale, rate: line.rate } })
    }

    #[inline]
    fn add(&mut self, target: Target, values: &[u8], now_ns: u64) -> Result<Fate, Malformed> {
        let Target::Series { slot, weight } = target else { return Ok(Fate::Dropped) };
        let weighing = Weighing { weight, dialect: self.settings.dialect };
        if let Some(scalar) = self.slots.scalar(slot)
            && let Ok(value) = parse_value(values)
            && (value.sign == Sign::Absent || weighing.dialect != Dialect::Etsy || scalar == Scalar::Gauge)
        {
            add_value(&mut self.slots.touch(slot, now_ns).cell, value, weighing, now_ns);
            return Ok(Fate::Kept);
        }
        self.add_other(slot, weighing, values, now_ns)
    }

    #[inline]
    fn is_counter(&self, slot: u32) -> bool {
        self.slots.series(slot).shape == Shape::Counter
    }

    /// What is not the single value of a counter or a gauge.
    fn add_other(&mut self, slot: u32, weighing: Weighing, values: &[u8], now_ns: u64) -> Result<Fate, Malformed> {
        let room = VALUES_MAX - self.values_held.min(VALUES_MAX);
        if self.slots.series(slot).shape == Shape::Set {
            if room == 0 {
                return Err(Malformed::ValuesLimit);
            }
            if let Cell::Set(members) = &mut self.slots.touch(slot, now_ns).cell {
                self.values_held += usize::from(members.add(values) == Member::New);
            }
            return Ok(Fate::Kept);
        }
        // All or nothing, so that a line that is refused has not counted in part.
        let mut count = 0;
        for value in Values::packed(values).numbers() {
            if !may_be(value?, &self.slots.series(slot).shape, weighing.dialect) {
                return Err(Malformed::Value);
            }
            count += 1;
        }
        if count > 1 && weighing.dialect == Dialect::Etsy {
            return Err(Malformed::TypeMissing);
        }
        let holds = matches!(self.slots.series(slot).shape, Shape::Points | Shape::Summary { .. });
        if holds && count > room {
            return Err(Malformed::ValuesLimit);
        }
        for value in Values::packed(values).numbers().flatten() {
            let cell = &mut self.slots.touch(slot, now_ns).cell;
            self.values_held = (self.values_held as isize + add_value(cell, value, weighing, now_ns)).max(0) as usize;
        }
        Ok(Fate::Kept)
    }

    /// A value with a time of its own. A gauge, or a delta, becomes a point at that time; a cumulative total cannot
    /// change in the past, so that it counts from now on.
    fn add_timed(&mut self, target: Target, values: &[u8], time_ns: u64, now_ns: u64) -> Result<Fate, Malformed> {
        let Target::Series { slot, weight } = target else { return Ok(Fate::Dropped) };
        if self.is_counter(slot) && self.settings.temporality == otlp::Temporality::Cumulative {
            return self.add(target, values, now_ns);
        }
        if self.values_held >= VALUES_MAX {
            return Err(Malformed::ValuesLimit);
        }
        if let Some(error) = Values::packed(values).numbers().find_map(Result::err) {
            return Err(error);
        }
        let shape = self.slots.series(slot).shape.clone();
        let mut added = 0;
        let cell = self.timed.entry((slot, time_ns)).or_insert_with(|| {
            added = 1;
            Cell::new(&shape)
        });
        // Values in their own time are whole ones: there is nothing that a sign could be relative to.
        let weighing = Weighing { weight, dialect: Dialect::Dogstatsd };
        for value in Values::packed(values).numbers().flatten() {
            add_value(cell, value, weighing, now_ns);
        }
        self.values_held += added;
        Ok(Fate::Kept)
    }

    fn event(&mut self, line: &[u8], now_ns: u64) -> Result<Fate, Malformed> {
        self.event_room(line)?;
        let event = event::parse_event(line, self.settings.simple_tags, now_ns)?;
        self.events.push(event);
        Ok(Fate::Kept)
    }

    fn service_check(&mut self, line: &[u8], now_ns: u64) -> Result<Fate, Malformed> {
        self.event_room(line)?;
        let check = event::parse_service_check(line, self.settings.simple_tags, now_ns)?;
        self.checks.push(check);
        Ok(Fate::Kept)
    }

    fn event_room(&mut self, line: &[u8]) -> Result<(), Malformed> {
        const EVENT_OVERHEAD_BYTES: usize = 512;
        let bytes = self.event_bytes + 2 * line.len() + EVENT_OVERHEAD_BYTES;
        if bytes > EVENT_BYTES_MAX {
            return Err(Malformed::ValuesLimit);
        }
        self.event_bytes = bytes;
        Ok(())
    }
}

/// How the values of a line count.
#[derive(Clone, Copy)]
struct Weighing {
    weight: Weight,
    dialect: Dialect,
}

/// Adds a value to a cell; gives by how many the values held became more.
#[inline]
fn add_value(cell: &mut Cell, value: Value, weighing: Weighing, now_ns: u64) -> isize {
    let Weighing { weight: Weight { scale, rate }, dialect } = weighing;
    match cell {
        Cell::Counter(counter) => counter.add(value.number, scale, rate),
        Cell::Gauge(gauge) => {
            let number = scaled(value, scale);
            match (value.sign, dialect) {
                (Sign::Present, Dialect::Auto | Dialect::Etsy) => gauge.change(number, now_ns),
                _ => gauge.set(number, now_ns),
            }
        }
        Cell::Timers(timers) => {
            let held = timers.values_held();
            add_timer(timers, scaled(value, scale), 1.0 / rate, dialect, now_ns);
            return timers.values_held() as isize - held as isize;
        }
        Cell::Set(_) => {}
    }
    0
}

/// To Etsy's, only a gauge has a sign.
fn may_be(value: Value, shape: &Shape, dialect: Dialect) -> bool {
    value.sign == Sign::Absent || dialect != Dialect::Etsy || *shape == Shape::Gauge
}

fn scaled(value: Value, scale: f64) -> f64 {
    (value.number.as_f64() * scale).clamp(f64::MIN, f64::MAX)
}

/// Etsy's rate weights the count of a timer, not the values that sum and percentiles are made of. The buckets of a
/// histogram add up to its count, so that there the two cannot differ.
fn add_timer(timers: &mut Timers, value: f64, count: f64, dialect: Dialect, now_ns: u64) {
    let summary = matches!(timers.body, super::cell::Body::Summary(_));
    let weight = if summary && dialect == Dialect::Etsy { 1.0 } else { count };
    timers.add(value, count, weight, now_ns);
}

/// What a line is written as; none when the configuration drops it.
fn shape(settings: &Settings, mapped: Option<&Mapped>, name: &str, statsd_type: StatsdType) -> Option<Shape> {
    let observer = match statsd_type {
        StatsdType::Counter => return Some(Shape::Counter),
        StatsdType::Gauge => return Some(Shape::Gauge),
        StatsdType::Set => return Some(Shape::Set),
        StatsdType::Timing => &settings.timings,
        StatsdType::Histogram => &settings.histograms,
        StatsdType::Distribution => &settings.distributions,
    };
    match (mapped.and_then(|mapped| mapped.shape.clone()), observer) {
        (Some(shape), _) => Some(shape),
        (None, Some(observer)) => observer.shape(name),
        (None, None) if mapped.is_some() => Some(mapping::default_shape()),
        (None, None) => Some(Shape::Points),
    }
}

/// Tags as attributes. What is no UTF-8 is replaced, so that the rest of the line counts.
pub(super) fn tag_attributes<'a>(
    tags: impl Iterator<Item = Tag<'a>>,
    simple_tags: Toggle,
) -> Result<Attributes<'a>, Malformed> {
    let mut attributes = Vec::new();
    for Tag { key, value } in tags {
        let value = value.unwrap_or_default();
        if key.is_empty() {
            return Err(Malformed::TagKeyEmpty);
        }
        if value.is_empty() && simple_tags == Toggle::Off {
            return Err(Malformed::TagValueMissing);
        }
        if attributes.len() == line::TAGS_MAX {
            return Err(Malformed::TagsTooMany);
        }
        attributes.push((String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
    }
    Ok(attributes)
}
