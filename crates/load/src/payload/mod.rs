//! Requests of every signal, made once and then patched in place.
//!
//! A [`Generator`] encodes a request with placeholders where ids, times and sequence numbers stand, remembers where they
//! stand, and from then on only writes those few bytes per item. The buffer goes to the socket as it is and comes back.
//!
//! ```
//! use load::payload::{Form, Generator, PayloadSettings};
//! use load::{RunId, WorkerId};
//! use otlp::{Batch, Limits, Signal};
//!
//! let settings = PayloadSettings::default();
//! let mut generator = Generator::new(&settings, Signal::Traces, Form::Protobuf, RunId(1), WorkerId(0));
//! let payload = generator.next(1_700_000_000_000_000_000);
//! assert_eq!(payload.sequences(), 1..=200);
//! let batch = Batch::parse(Signal::Traces, payload.bytes.clone(), &Limits::default()).unwrap();
//! assert_eq!(batch.items(), 200);
//! drop(batch);
//! generator.give_back(payload);
//! ```

mod logs;
mod metrics;
mod slots;
mod traces;

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use otlp::{Batch, Signal};

use crate::identity::{RunId, WorkerId};
pub(crate) use slots::Stamp;
use slots::{Mark, Slots};

/// What requests look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadSettings {
    /// Spans, data points or log records of a request: 1 to [`PayloadSettings::ITEMS_MAX`].
    pub items_per_request: u32,
    /// Among how many resources they are divided: 1 to `items_per_request`.
    pub resources_per_request: u32,
    /// Attributes of each item beyond the usual ones: 0 to [`PayloadSettings::EXTRA_ATTRIBUTES_MAX`].
    pub extra_attributes: u32,
    /// Series of each worker, rounded up to whole requests. A series has at most one point in a millisecond, so few
    /// series at a high rate make times that run ahead of the clock.
    pub series_per_worker: u32,
    /// Chooses the texts.
    pub seed: u64,
}

impl PayloadSettings {
    /// The most items of a request.
    pub const ITEMS_MAX: u32 = 100_000;
    /// The most additional attributes of an item.
    pub const EXTRA_ATTRIBUTES_MAX: u32 = 256;
    /// The most series of a worker.
    pub const SERIES_MAX: u32 = 1_000_000;
}

impl Default for PayloadSettings {
    /// 200 items of one resource.
    fn default() -> Self {
        PayloadSettings {
            items_per_request: 200,
            resources_per_request: 1,
            extra_attributes: 0,
            series_per_worker: 1000,
            seed: 0,
        }
    }
}

/// How requests are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Protobuf.
    Protobuf,
    /// OTLP's JSON.
    Json,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The serialized request.
    pub bytes: Bytes,
    /// The sequence number of its first item; the others follow.
    pub first: u64,
    /// How many items it has.
    pub items: u32,
    /// Which template it came from; none for one that does not come back.
    template: Option<usize>,
}

impl Payload {
    /// The sequence numbers of its items.
    pub fn sequences(&self) -> RangeInclusive<u64> {
        self.first..=self.first + u64::from(self.items) - 1
    }
}

/// Makes the requests of one signal and one worker.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    templates: Vec<Template>,
    turn: usize,
    next_sequence: u64,
}

/// What a template is made from.
#[derive(Clone, Copy, Debug)]
struct Plan {
    settings: PayloadSettings,
    signal: Signal,
    form: Form,
    run: RunId,
    worker: WorkerId,
    /// The items that are made: those of a whole request, or only the first of them.
    items: u32,
}

#[derive(Debug)]
struct Template {
    /// Away while the request is under way.
    buffer: Option<BytesMut>,
    slots: Slots,
    /// The time of its last request, in milliseconds since the Unix epoch.
    time_ms: u64,
}

/// A request with placeholders, and where which ones stand.
struct Draft {
    batch: Batch,
    marks: Vec<Mark>,
}

impl Generator {
    /// A generator whose first item has the sequence number 1. Settings beyond their bounds count as the bounds.
    pub fn new(settings: &PayloadSettings, signal: Signal, form: Form, run: RunId, worker: WorkerId) -> Self {
        let items_per_request = settings.items_per_request.clamp(1, PayloadSettings::ITEMS_MAX);
        let settings = PayloadSettings {
            items_per_request,
            resources_per_request: settings.resources_per_request.clamp(1, items_per_request),
            extra_attributes: settings.extra_attributes.min(PayloadSettings::EXTRA_ATTRIBUTES_MAX),
            series_per_worker: settings.series_per_worker.clamp(1, PayloadSettings::SERIES_MAX),
            ..*settings
        };
        let plan = Plan { settings, signal, form, run, worker, items: items_per_request };
        let templates = match signal {
            Signal::Metrics => settings.series_per_worker.div_ceil(items_per_request) as usize,
            Signal::Traces | Signal::Logs => 1,
        };
        let templates = (0..templates).map(|index| plan.template(index)).collect();
        Generator { plan, templates, turn: 0, next_sequence: 1 }
    }

    /// The next request.
    pub fn next(&mut self, now_unix_ns: u64) -> Payload {
        let index = self.turn;
        self.turn = (self.turn + 1) % self.templates.len();
        let first = self.next_sequence;
        self.next_sequence += u64::from(self.plan.settings.items_per_request);
        let plan = self.plan;
        let template = &mut self.templates[index];
        // A request that never came back took its buffer along.
        let mut buffer = template.buffer.take().unwrap_or_else(|| plan.template(index).buffer.unwrap_or_default());
        template.stamp(&plan, &mut buffer, first, now_unix_ns);
        Payload { bytes: buffer.freeze(), first, items: plan.settings.items_per_request, template: Some(index) }
    }

    /// A request with fewer items than the others have, such as the last one of a given total.
    pub fn next_partial(&mut self, items: u32, now_unix_ns: u64) -> Payload {
        let items = items.clamp(1, self.plan.settings.items_per_request);
        let first = self.next_sequence;
        self.next_sequence += u64::from(items);
        let mut template = Plan { items, ..self.plan }.template(self.turn);
        let of_series = &mut self.templates[self.turn];
        template.time_ms = of_series.time_ms;
        let mut buffer = template.buffer.take().unwrap_or_default();
        template.stamp(&self.plan, &mut buffer, first, now_unix_ns);
        of_series.time_ms = template.time_ms;
        Payload { bytes: buffer.freeze(), first, items, template: None }
    }

    /// Takes the buffer of a settled request back, so that the next one need not be encoded.
    pub fn give_back(&mut self, payload: Payload) {
        let Some(template) = payload.template.and_then(|index| self.templates.get_mut(index)) else { return };
        // The socket may still hold on to bytes that were answered early.
        let buffer = payload.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        template.buffer = Some(buffer);
    }

    /// How many items were made.
    pub fn items(&self) -> u64 {
        self.next_sequence - 1
    }
}

impl Plan {
    fn template(&self, index: usize) -> Template {
        let draft = match self.signal {
            Signal::Traces => traces::draft(self),
            Signal::Metrics => metrics::draft(self, index),
            Signal::Logs => logs::draft(self),
        };
        let bytes = match self.form {
            Form::Protobuf => draft.batch.bytes().clone(),
            Form::Json => {
                let mut json = Vec::new();
                otlp::json::encode(&draft.batch, &mut json);
                json.into()
            }
        };
        let slots = Slots::locate(&bytes, self.form, &draft.marks);
        drop(draft);
        let buffer = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        Template { buffer: Some(buffer), slots, time_ms: 0 }
    }

    /// Divides the items among the resources: the resource and its range of items.
    fn shares(&self) -> impl Iterator<Item = (u32, std::ops::Range<u32>)> {
        let (whole, resources) = (self.settings.items_per_request, self.settings.resources_per_request);
        let items = self.items;
        // A request of fewer items is the beginning of a whole one: its items keep their resources.
        let bound = move |index: u32| ((u64::from(whole) * u64::from(index) / u64::from(resources)) as u32).min(items);
        (0..resources).map(move |index| (index, bound(index)..bound(index + 1))).filter(|(_, items)| !items.is_empty())
    }

    fn rng(&self, index: usize) -> fastrand::Rng {
        let worker = u64::from(self.worker.0) << 32 | index as u64;
        fastrand::Rng::with_seed(self.settings.seed ^ worker.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl Template {
    fn stamp(&mut self, plan: &Plan, buffer: &mut BytesMut, first: u64, now_unix_ns: u64) {
        const NS_PER_MS: u64 = 1_000_000;
        let time_unix_ns = match plan.signal {
            Signal::Metrics => {
                self.time_ms = (now_unix_ns / NS_PER_MS).max(self.time_ms + 1);
                self.time_ms * NS_PER_MS
            }
            Signal::Traces | Signal::Logs => now_unix_ns,
        };
        let stamp = Stamp { run: plan.run, worker: plan.worker, first, time_unix_ns };
        self.slots.patch(buffer, plan.form, &stamp);
    }
}

/// Fills in what describes a resource: the instance is told by the worker and the number of the resource.
fn describe_resource(plan: &Plan, number: u32, attributes: &mut otlp::encode::AttributesWriter<'_>) {
    const SERVICES: [&str; 8] =
        ["frontend", "checkout", "payment", "catalogue", "inventory", "shipping", "recommendation", "gateway"];
    let service = SERVICES[number as usize % SERVICES.len()];
    let worker = plan.worker;
    attributes
        .string("service.name", service)
        .string("service.namespace", "shop")
        .string("service.version", "2.14.3")
        .string("service.instance.id", &format!("{service}-{worker}-{number}"))
        .string("deployment.environment.name", "load")
        .string("host.name", &format!("node-{:03}", (u32::from(worker.0) + number) % 500))
        .string("telemetry.sdk.name", "crossfade-load")
        .string("telemetry.sdk.language", "rust");
}

fn write_extra_attributes(plan: &Plan, rng: &mut fastrand::Rng, attributes: &mut otlp::encode::AttributesWriter<'_>) {
    for number in 0..plan.settings.extra_attributes {
        attributes.string(&format!("extra.attribute.{number:03}"), &format!("value-{:08x}", rng.u32(..)));
    }
}

#[cfg(test)]
mod tests;
