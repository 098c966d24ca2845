//! Jaeger's model of spans, borrowed from what was read.

use std::borrow::Cow;

use otlp::{SpanId, TraceId};

/// What emitted spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process<'a> {
    /// The name of the service; may be empty.
    pub service_name: Cow<'a, str>,
    /// What else describes it.
    pub tags: Vec<Tag<'a>>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// The trace. A 64-bit id has zeros in front.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The parent, where it is named outside of the references; zeros otherwise.
    pub parent_span_id: SpanId,
    /// The name of the operation.
    pub operation_name: Cow<'a, str>,
    /// Other spans that it relates to.
    pub references: Vec<Reference>,
    /// Bit 0 says that it is sampled, bit 1 that it is for debugging.
    pub flags: u32,
    /// When it started, in nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: i64,
    /// What describes it.
    pub tags: Vec<Tag<'a>>,
    /// What happened meanwhile.
    pub logs: Vec<Log<'a>>,
    /// What Jaeger has to remark.
    pub warnings: Vec<Cow<'a, str>>,
}

impl Default for Span<'_> {
    fn default() -> Self {
        Span {
            trace_id: TraceId::new([0; TraceId::SIZE]),
            span_id: SpanId::new([0; SpanId::SIZE]),
            parent_span_id: SpanId::new([0; SpanId::SIZE]),
            operation_name: Cow::default(),
            references: Vec::new(),
            flags: 0,
            start_unix_ns: 0,
            duration_ns: 0,
            tags: Vec::new(),
            logs: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// A reference to another span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// How it relates to it.
    pub kind: ReferenceKind,
    /// The other span's trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
}

/// How a span relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// The other waits for it.
    ChildOf,
    /// The other does not.
    FollowsFrom,
}

/// What happened at one moment of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log<'a> {
    /// When, in nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    /// What.
    pub fields: Vec<Tag<'a>>,
}

/// A value with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag<'a> {
    /// The name.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Tag<'a> {
    /// A tag with text.
    pub fn text(key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        Tag { key: key.into(), value: Value::Text(value.into()) }
    }
}

/// The value of a tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `STRING`.
    Text(Cow<'a, str>),
    /// `BOOL`.
    Bool(bool),
    /// `INT64`, in Thrift `LONG`.
    Int(i64),
    /// `FLOAT64`, in Thrift `DOUBLE`.
    Double(f64),
    /// `BINARY`.
    Binary(&'a [u8]),
    /// A type that Jaeger does not have.
    Unknown(i32),
}

/// Nanoseconds of seconds and a rest, as the well-known types of protobuf have them. What lies before the epoch or
/// beyond 64 bits is set to the bound.
pub(super) fn unix_ns(seconds: i64, nanos: i32) -> u64 {
    let ns = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
}

/// The same for durations, which may be below zero.
pub(super) fn duration_ns(seconds: i64, nanos: i32) -> i64 {
    let ns = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
