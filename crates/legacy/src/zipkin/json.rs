//! Version 2 in JSON.

use std::collections::BTreeMap;
use std::fmt;

use otlp::{SpanId, TraceId};
use serde::de::{Error, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Malformed;
use super::model::{Annotation, Endpoint, Kind, Span, Tags, Value};

// === reading ===

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Span>, Malformed> {
    let spans: Vec<JsonSpan> = serde_json::from_slice(bytes)?;
    Ok(spans.into_iter().map(JsonSpan::into_span).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan {
    trace_id: Hex<TraceId>,
    id: Hex<SpanId>,
    #[serde(default)]
    parent_id: MaybeHex,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    timestamp: Option<Unsigned>,
    #[serde(default)]
    duration: Option<Unsigned>,
    #[serde(default)]
    local_endpoint: Option<JsonEndpoint>,
    #[serde(default)]
    remote_endpoint: Option<JsonEndpoint>,
    #[serde(default)]
    annotations: Option<Vec<JsonAnnotation>>,
    #[serde(default)]
    tags: Option<BTreeMap<String, Scalar>>,
    #[serde(default)]
    debug: Option<bool>,
    #[serde(default)]
    shared: Option<bool>,
}

impl JsonSpan {
    fn into_span(self) -> Span {
        let annotation = |one: JsonAnnotation| Annotation {
            timestamp_us: one.timestamp.unwrap_or_default().0,
            value: one.value.unwrap_or_default(),
        };
        Span {
            trace_id: self.trace_id.0,
            id: self.id.0,
            parent_id: self.parent_id.0,
            kind: kind(&self.kind.unwrap_or_default()),
            name: self.name.unwrap_or_default(),
            timestamp_us: self.timestamp.unwrap_or_default().0,
            duration_us: self.duration.unwrap_or_default().0,
            local: self.local_endpoint.map(JsonEndpoint::into_endpoint).unwrap_or_default(),
            remote: self.remote_endpoint.map(JsonEndpoint::into_endpoint).unwrap_or_default(),
            annotations: self.annotations.unwrap_or_default().into_iter().map(annotation).collect(),
            // The specification has text only; others are taken as Zipkin takes them.
            tags: self.tags.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_text())).collect(),
            debug: self.debug.unwrap_or_default(),
            shared: self.shared.unwrap_or_default(),
        }
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "CLIENT" => Kind::Client,
        "SERVER" => Kind::Server,
        "PRODUCER" => Kind::Producer,
        "CONSUMER" => Kind::Consumer,
        _ => Kind::Unspecified,
    }
}

#[derive(Deserialize)]
struct JsonAnnotation {
    #[serde(default)]
    timestamp: Option<Unsigned>,
    #[serde(default)]
    value: Option<String>,
}

/// An endpoint, the same in both versions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonEndpoint {
    #[serde(default)]
    service_name: Option<String>,
    #[serde(default)]
    ipv4: Option<String>,
    #[serde(default)]
    ipv6: Option<String>,
    #[serde(default)]
    port: Option<Port>,
}

impl JsonEndpoint {
    pub(super) fn into_endpoint(self) -> Endpoint {
        let service = self.service_name.unwrap_or_default();
        let mut endpoint = Endpoint { service, port: self.port.map_or(0, |port| port.0), ..Endpoint::default() };
        self.ipv4.iter().chain(&self.ipv6).for_each(|text| endpoint.set_address(text));
        endpoint
    }
}

/// An id in hexadecimal digits. It may be shorter than its type, and is then filled with zeros.
pub(super) struct Hex<Id>(pub(super) Id);

/// The id of a parent, which may be absent, empty or zero.
#[derive(Default)]
pub(super) struct MaybeHex(pub(super) Option<SpanId>);

/// The bytes of an id in hexadecimal digits.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.is_empty() || text.len() > 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (place, digit) in text.bytes().rev().enumerate() {
        let value = char::from(digit).to_digit(16)? as u8;
        bytes[N - 1 - place / 2] |= value << (4 * (place % 2));
    }
    Some(bytes)
}

impl<'de> Deserialize<'de> for Hex<TraceId> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = digits(&text).map(TraceId::new).filter(|id| !id.is_zero());
        id.map(Hex).ok_or_else(|| wrong(&text, &"a trace id: 16 or 32 hexadecimal digits, not all zero"))
    }
}

impl<'de> Deserialize<'de> for Hex<SpanId> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = digits(&text).map(SpanId::new).filter(|id| !id.is_zero());
        id.map(Hex).ok_or_else(|| wrong(&text, &"a span id: 16 hexadecimal digits, not all zero"))
    }
}

impl<'de> Deserialize<'de> for MaybeHex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        if text.is_empty() {
            return Ok(MaybeHex(None));
        }
        let id = digits(&text).map(SpanId::new);
        let id = id.ok_or_else(|| wrong(&text, &"the id of a parent: 16 hexadecimal digits"))?;
        Ok(MaybeHex(Some(id).filter(|id| !id.is_zero())))
    }
}

/// An error that repeats no more of the text than a person reads.
fn wrong<E: Error>(text: &str, expected: &dyn serde::de::Expected) -> E {
    const SHOWN_BYTES_MAX: usize = 64;
    E::invalid_value(Unexpected::Str(&text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]), expected)
}

/// A number that is not below zero. Clients write it as a number, with a fraction, or as text, as Zipkin takes it.
#[derive(Clone, Copy, Default)]
pub(super) struct Unsigned(pub(super) u64);

struct UnsignedVisitor;

impl Visitor<'_> for UnsignedVisitor {
    type Value = Unsigned;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number that is not below zero")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Unsigned, E> {
        Ok(Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Unsigned, E> {
        let unsigned = u64::try_from(value).map(Unsigned);
        unsigned.map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Unsigned, E> {
        // Beyond 2^63 a double is no count of anything.
        if (0.0..9.2e18).contains(&value) {
            return Ok(Unsigned(value as u64));
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Unsigned, E> {
        text.parse().map(Unsigned).map_err(|_| wrong(text, &self))
    }
}

impl<'de> Deserialize<'de> for Unsigned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnsignedVisitor)
    }
}

struct Port(u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Unsigned(port) = Unsigned::deserialize(deserializer)?;
        let port = u16::try_from(port).map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(port), &"a port"));
        port.map(Port)
    }
}

/// The value of a tag: text, a number or a truth value.
pub(super) struct Scalar(pub(super) Value);

impl Scalar {
    fn into_text(self) -> Value {
        match self.0 {
            Value::Text(text) => Value::Text(text),
            other => Value::Text(other.text().into_owned()),
        }
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text of a tag")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar(Value::Text(String::new())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(Value::Int(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(Value::Double(value)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(Value::Text(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar(Value::Text(text)))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

// === writing ===

pub(super) fn write(span: &Span, out: &mut Vec<u8>) {
    // Nothing in a span refuses to be written, and a vector takes everything.
    let _ = serde_json::to_writer(out, span);
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("traceId", &self.trace_id_hex())?;
        if let Some(parent_id) = self.parent_id {
            map.serialize_entry("parentId", &parent_id.to_string())?;
        }
        map.serialize_entry("id", &self.id.to_string())?;
        let kind = match self.kind {
            Kind::Unspecified => None,
            Kind::Client => Some("CLIENT"),
            Kind::Server => Some("SERVER"),
            Kind::Producer => Some("PRODUCER"),
            Kind::Consumer => Some("CONSUMER"),
        };
        if let Some(kind) = kind {
            map.serialize_entry("kind", kind)?;
        }
        if !self.name.is_empty() {
            map.serialize_entry("name", &self.name)?;
        }
        for (key, value) in [("timestamp", self.timestamp_us), ("duration", self.duration_us)] {
            if value > 0 {
                map.serialize_entry(key, &value)?;
            }
        }
        for (key, endpoint) in [("localEndpoint", &self.local), ("remoteEndpoint", &self.remote)] {
            if !endpoint.is_empty() {
                map.serialize_entry(key, endpoint)?;
            }
        }
        if !self.annotations.is_empty() {
            map.serialize_entry("annotations", &self.annotations)?;
        }
        if !self.tags.is_empty() {
            map.serialize_entry("tags", &TagTexts(&self.tags))?;
        }
        for (key, value) in [("debug", self.debug), ("shared", self.shared)] {
            if value {
                map.serialize_entry(key, &true)?;
            }
        }
        map.end()
    }
}

impl Span {
    /// 16 digits for an id of 64 bits, and 32 for one of 128.
    fn trace_id_hex(&self) -> String {
        let mut text = self.trace_id.to_string();
        if self.trace_id.as_bytes()[..8] == [0; 8] {
            text.drain(..16);
        }
        text
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.service.is_empty() {
            map.serialize_entry("serviceName", &self.service)?;
        }
        if let Some(address) = self.ipv4 {
            map.serialize_entry("ipv4", &address.to_string())?;
        }
        if let Some(address) = self.ipv6 {
            map.serialize_entry("ipv6", &address.to_string())?;
        }
        if self.port > 0 {
            map.serialize_entry("port", &self.port)?;
        }
        map.end()
    }
}

impl Serialize for Annotation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("timestamp", &self.timestamp_us)?;
        map.serialize_entry("value", &self.value)?;
        map.end()
    }
}

struct TagTexts<'a>(&'a Tags);

impl Serialize for TagTexts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value.text())))
    }
}
