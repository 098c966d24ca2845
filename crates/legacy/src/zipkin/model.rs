//! A span as version 2 has it, with tags that may have types: those of version 1 in Thrift do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use otlp::{SpanId, TraceId};

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) trace_id: TraceId,
    pub(super) id: SpanId,
    pub(super) parent_id: Option<SpanId>,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// In microseconds since the Unix epoch; 0 where it is absent.
    pub(super) timestamp_us: u64,
    /// In microseconds; 0 where it is absent.
    pub(super) duration_us: u64,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) annotations: Vec<Annotation>,
    pub(super) tags: Tags,
    pub(super) debug: bool,
    pub(super) shared: bool,
}

/// Tags by key.
pub(super) type Tags = BTreeMap<String, Value>;

/// The role of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Unspecified,
    Client,
    Server,
    Producer,
    Consumer,
}

/// A side of a span. An empty name, port 0 and no address: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) service: String,
    pub(super) ipv4: Option<Ipv4Addr>,
    pub(super) ipv6: Option<Ipv6Addr>,
    pub(super) port: u16,
}

/// Something that happened at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) timestamp_us: u64,
    pub(super) value: String,
}

/// The value of a tag.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
}

impl Span {
    /// A span of which nothing but the ids is known.
    pub(super) fn new(trace_id: TraceId, id: SpanId) -> Span {
        Span {
            trace_id,
            id,
            parent_id: None,
            kind: Kind::Unspecified,
            name: String::new(),
            timestamp_us: 0,
            duration_us: 0,
            local: Endpoint::default(),
            remote: Endpoint::default(),
            annotations: Vec::new(),
            tags: Tags::new(),
            debug: false,
            shared: false,
        }
    }
}

impl Endpoint {
    pub(super) fn is_empty(&self) -> bool {
        *self == Endpoint::default()
    }

    /// Takes an address from text; text that is none is passed over, as in Zipkin.
    pub(super) fn set_address(&mut self, text: &str) {
        if let Ok(address) = text.parse::<IpAddr>() {
            self.set_ip(address);
        }
    }

    /// An address of version 6 that only wraps one of version 4 is one of version 4.
    pub(super) fn set_ip(&mut self, address: IpAddr) {
        match address.to_canonical() {
            IpAddr::V4(address) => self.ipv4 = Some(address),
            IpAddr::V6(address) => self.ipv6 = Some(address),
        }
    }
}

impl Value {
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Text(text) => Cow::Borrowed(text),
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Value::Int(value) => Cow::Owned(value.to_string()),
            Value::Double(value) => Cow::Owned(value.to_string()),
        }
    }
}

/// Takes a tag out, as text.
pub(super) fn take(tags: &mut Tags, key: &str) -> Option<String> {
    tags.remove(key).map(|value| match value {
        Value::Text(text) => text,
        other => other.text().into_owned(),
    })
}

/// Takes a tag out if it is a number that fits.
pub(super) fn take_count(tags: &mut Tags, key: &str) -> u32 {
    let count = tags.get(key).and_then(|value| value.text().parse().ok());
    if count.is_some() {
        tags.remove(key);
    }
    count.unwrap_or(0)
}
