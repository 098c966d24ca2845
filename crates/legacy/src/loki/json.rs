//! The JSON forms.
//!
//! `/loki/api/v1/push`: `{"streams": [{"stream": {name: value}, "values": [[nanoseconds, line, {name: value}?]]}]}`.
//! `/api/prom/push`, from before Loki 1.0: `{"streams": [{"labels": "{…}", "entries": [{"ts": RFC 3339, "line": …}]}]}`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Entry, LabelSet, Push, PushError, Take};

/// Hands every entry of a body of `/loki/api/v1/push` to `take`.
///
/// # Errors
/// At the first thing that is wrong, and what `take` says.
pub fn read_json(bytes: &[u8], take: &mut Take<'_>) -> Result<(), PushError> {
    let body: Body<Stream<'_>> = serde_json::from_slice(bytes)?;
    for (stream, Stream { stream: labels, values }) in body.streams.into_iter().enumerate() {
        for (entry, Value { timestamp, line, structured_metadata }) in values.into_iter().enumerate() {
            let timestamp_unix_ns = timestamp.parse().map_err(|_| PushError::Timestamp { stream, entry })?;
            take(&labels.0, &Entry { timestamp_unix_ns, line, structured_metadata: structured_metadata.0 })?;
        }
    }
    Ok(())
}

/// Hands every entry of a body of `/api/prom/push` to `take`.
///
/// # Errors
/// As [`read_json`].
pub fn read_legacy_json(bytes: &[u8], take: &mut Take<'_>) -> Result<(), PushError> {
    let body: Body<LegacyStream<'_>> = serde_json::from_slice(bytes)?;
    for (stream, LegacyStream { labels, entries }) in body.streams.into_iter().enumerate() {
        let labels = LabelSet::parse(&labels).map_err(|error| PushError::Labels { stream, error })?;
        for (entry, LegacyEntry { timestamp, line }) in entries.into_iter().enumerate() {
            let at: Option<jiff::Timestamp> = timestamp.parse().ok();
            let timestamp_unix_ns = at.and_then(|at| u64::try_from(at.as_nanosecond()).ok());
            let timestamp_unix_ns = timestamp_unix_ns.ok_or(PushError::Timestamp { stream, entry })?;
            take(&labels, &Entry::new(timestamp_unix_ns, line))?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Body<S> {
    streams: Vec<S>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    stream: Labels,
    #[serde(borrow, default, deserialize_with = "or_none")]
    values: Vec<Value<'a>>,
}

#[derive(Deserialize)]
struct LegacyStream<'a> {
    #[serde(borrow)]
    labels: Cow<'a, str>,
    #[serde(default, deserialize_with = "or_none")]
    entries: Vec<LegacyEntry<'a>>,
}

#[derive(Deserialize)]
struct LegacyEntry<'a> {
    #[serde(borrow, alias = "timestamp", rename = "ts")]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    line: Cow<'a, str>,
}

struct Value<'a> {
    timestamp: Cow<'a, str>,
    line: Cow<'a, str>,
    structured_metadata: Pairs<'a>,
}

/// `null` is an empty list, as Go writes a nil slice.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Labels(LabelSet);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Pairs::deserialize(deserializer).map(|pairs| Labels(pairs.0.into_iter().collect()))
    }
}

/// A map of texts, in its order.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[nanoseconds as a string, line, structured metadata if there is any]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
                let Text(timestamp) = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let Text(line) = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                let structured_metadata = seq.next_element::<Pairs<'de>>()?.unwrap_or_default();
                match seq.next_element::<IgnoredAny>()? {
                    None => Ok(Value { timestamp, line, structured_metadata }),
                    Some(_) => Err(A::Error::invalid_length(4, &self)),
                }
            }
        }
        deserializer.deserialize_seq(ValueVisitor)
    }
}

pub(super) fn write(push: &Push<'_>) -> Vec<u8> {
    let mut out = b"{\"streams\":[".to_vec();
    for (index, (labels, entries)) in push.streams().enumerate() {
        out.extend_from_slice(if index > 0 { b",{\"stream\":" } else { b"{\"stream\":" });
        write_map(labels.iter(), &mut out);
        out.extend_from_slice(b",\"values\":[");
        for (index, entry) in entries.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b",[\"" } else { b"[\"" });
            out.extend_from_slice(itoa::Buffer::new().format(entry.timestamp_unix_ns).as_bytes());
            out.extend_from_slice(b"\",");
            write_text(&entry.line, &mut out);
            if !entry.structured_metadata.is_empty() {
                out.push(b',');
                write_map(entry.structured_metadata.iter().map(|(name, value)| (&**name, &**value)), &mut out);
            }
            out.push(b']');
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    out
}

fn write_map<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(name, out);
        out.push(b':');
        write_text(value, out);
    }
    out.push(b'}');
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}
