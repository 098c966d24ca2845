//! Where the bytes stand that differ from request to request, and writing them.

use memchr::memmem;

use super::Form;
use crate::identity::{self, Identity, LOG_ID_LEN, RunId, WorkerId};

/// The kinds of bytes that are patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    TraceId,
    SpanId,
    ParentSpanId,
    StartTime,
    EndTime,
    Time,
    ObservedTime,
    LogId,
    Double,
    Int,
}

/// Which items have bytes of one kind, in their order in the request. The second number of an item is, for a time, its
/// distance from the request's, in nanoseconds; for the id of a trace or a parent, the item at the root of the trace.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) items: Vec<(u32, u32)>,
}

/// What stands in a request until it is patched. Long enough, and odd enough, to be found by searching.
pub(super) mod placeholder {
    use otlp::{SpanId, TraceId};

    pub(in crate::payload) const TRACE_ID: TraceId = TraceId::new(*b"\xe3\x91\xfe\x07trace id\xb5\x8a\xd1\x9c");
    pub(in crate::payload) const SPAN_ID: SpanId = SpanId::new(*b"\xd7span\xfa\x8e\xc6");
    pub(in crate::payload) const PARENT_SPAN_ID: SpanId = SpanId::new(*b"\x9eroot\xb6\xf3\xa2");
    // Nineteen digits, as every time from 2001 to 2286 has.
    pub(in crate::payload) const START_TIME: u64 = 1_111_213_141_516_171_819;
    pub(in crate::payload) const END_TIME: u64 = 1_222_324_252_627_282_920;
    pub(in crate::payload) const TIME: u64 = 1_333_435_363_738_393_031;
    pub(in crate::payload) const OBSERVED_TIME: u64 = 1_444_546_474_849_404_142;
    pub(in crate::payload) const LOG_ID: &str = "load-RRRRRRRR-WWWW-SSSSSSSSSSSS";
    /// The value of a data point: no sequence number is longer in digits.
    pub(in crate::payload) const VALUE: i64 = (1 << 53) - 1;
}

/// What a request is stamped with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) run: RunId,
    pub(crate) worker: WorkerId,
    /// The sequence number of the first item.
    pub(crate) first: u64,
    pub(crate) time_unix_ns: u64,
}

/// The places of one request.
#[derive(Debug)]
pub(super) struct Slots(Vec<Slot>);

#[derive(Clone, Copy, Debug)]
struct Slot {
    kind: Kind,
    at: u32,
    item: u32,
    /// As in [`Mark`]; for a value in JSON its width, in bytes.
    argument: u32,
}

impl Slots {
    /// Finds the placeholders.
    pub(super) fn locate(request: &[u8], form: Form, marks: &[Mark]) -> Slots {
        let mut slots = Vec::new();
        for mark in marks {
            let pattern = mark.kind.pattern(form);
            let found = memmem::find_iter(request, &pattern);
            let before = slots.len();
            slots.extend(mark.items.iter().zip(found).map(|(&(item, argument), found)| {
                let (at, argument) = match (form, mark.kind) {
                    (Form::Json, Kind::Double | Kind::Int) => {
                        let start = found + pattern.len();
                        let width = request[start..].iter().position(|byte| matches!(byte, b',' | b'}'));
                        (start, width.unwrap_or(0) as u32)
                    }
                    _ => (found, argument),
                };
                Slot { kind: mark.kind, at: at as u32, item, argument }
            }));
            assert_eq!(slots.len() - before, mark.items.len(), "every placeholder of {:?} is found", mark.kind);
        }
        // In the order of the request, so that memory is walked through once.
        slots.sort_by_key(|slot| slot.at);
        Slots(slots)
    }

    /// Writes what differs.
    pub(super) fn patch(&self, request: &mut [u8], form: Form, stamp: &Stamp) {
        match form {
            Form::Protobuf => self.0.iter().for_each(|slot| slot.patch_protobuf(request, stamp)),
            Form::Json => self.0.iter().for_each(|slot| slot.patch_json(request, stamp)),
        }
    }
}

impl Slot {
    #[inline]
    fn patch_protobuf(&self, request: &mut [u8], stamp: &Stamp) {
        let at = self.at as usize;
        match self.kind {
            Kind::TraceId => write(request, at, self.trace_id(stamp).as_bytes()),
            Kind::SpanId => write(request, at, stamp.identity(self.item).span_id().as_bytes()),
            Kind::ParentSpanId => write(request, at, stamp.identity(self.argument).span_id().as_bytes()),
            Kind::StartTime | Kind::EndTime | Kind::Time | Kind::ObservedTime => {
                write(request, at, &self.time(stamp).to_le_bytes());
            }
            Kind::LogId => write(request, at, &stamp.identity(self.item).log_id()),
            Kind::Double => write(request, at, &(stamp.sequence(self.item) as f64).to_le_bytes()),
            Kind::Int => write(request, at, &stamp.sequence(self.item).to_le_bytes()),
        }
    }

    fn patch_json(&self, request: &mut [u8], stamp: &Stamp) {
        let at = self.at as usize;
        match self.kind {
            Kind::TraceId => write(request, at, &self.trace_id(stamp).to_hex()),
            Kind::SpanId => write(request, at, &stamp.identity(self.item).span_id().to_hex()),
            Kind::ParentSpanId => write(request, at, &stamp.identity(self.argument).span_id().to_hex()),
            Kind::StartTime | Kind::EndTime | Kind::Time | Kind::ObservedTime => {
                write(request, at, format!("{:019}", self.time(stamp)).as_bytes());
            }
            Kind::LogId => write(request, at, &stamp.identity(self.item).log_id()),
            // Space before a comma or a brace means nothing in JSON.
            Kind::Double => {
                let text = format!("{:<1$}", stamp.sequence(self.item), self.argument as usize);
                write(request, at, text.as_bytes());
            }
            Kind::Int => {
                let text = format!("{:<1$}", format!("\"{}\"", stamp.sequence(self.item)), self.argument as usize);
                write(request, at, text.as_bytes());
            }
        }
    }

    #[inline]
    fn trace_id(&self, stamp: &Stamp) -> otlp::TraceId {
        identity::trace_id(stamp.run, u64::from(stamp.worker.0) << 48 | stamp.sequence(self.argument))
    }

    #[inline]
    fn time(&self, stamp: &Stamp) -> u64 {
        stamp.time_unix_ns.saturating_add(u64::from(self.argument))
    }
}

impl Stamp {
    #[inline]
    fn sequence(&self, item: u32) -> u64 {
        self.first + u64::from(item)
    }

    #[inline]
    fn identity(&self, item: u32) -> Identity {
        Identity { run: self.run, worker: self.worker, sequence: self.sequence(item) }
    }
}

/// Writes bytes of the same length as the placeholder's.
#[inline]
fn write(request: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = request.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl Kind {
    /// What to search for.
    fn pattern(self, form: Form) -> Vec<u8> {
        use placeholder::{
            END_TIME, LOG_ID, OBSERVED_TIME, PARENT_SPAN_ID, SPAN_ID, START_TIME, TIME, TRACE_ID, VALUE,
        };
        debug_assert_eq!(LOG_ID.len(), LOG_ID_LEN);
        let time = |time: u64| match form {
            Form::Protobuf => time.to_le_bytes().to_vec(),
            Form::Json => time.to_string().into_bytes(),
        };
        match (self, form) {
            (Kind::TraceId, Form::Protobuf) => TRACE_ID.as_bytes().to_vec(),
            (Kind::TraceId, Form::Json) => TRACE_ID.to_hex().to_vec(),
            (Kind::SpanId, Form::Protobuf) => SPAN_ID.as_bytes().to_vec(),
            (Kind::SpanId, Form::Json) => SPAN_ID.to_hex().to_vec(),
            (Kind::ParentSpanId, Form::Protobuf) => PARENT_SPAN_ID.as_bytes().to_vec(),
            (Kind::ParentSpanId, Form::Json) => PARENT_SPAN_ID.to_hex().to_vec(),
            (Kind::StartTime, _) => time(START_TIME),
            (Kind::EndTime, _) => time(END_TIME),
            (Kind::Time, _) => time(TIME),
            (Kind::ObservedTime, _) => time(OBSERVED_TIME),
            (Kind::LogId, _) => LOG_ID.into(),
            (Kind::Double, Form::Protobuf) => (VALUE as f64).to_le_bytes().to_vec(),
            (Kind::Int, Form::Protobuf) => VALUE.to_le_bytes().to_vec(),
            (Kind::Double, Form::Json) => b"\"asDouble\":".to_vec(),
            (Kind::Int, Form::Json) => b"\"asInt\":".to_vec(),
        }
    }
}
