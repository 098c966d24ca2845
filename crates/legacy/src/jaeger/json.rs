//! The JSON of Jaeger's query API, version 1: what `/api/traces` answers, and what its page offers for download.
//!
//! Specification: the structures of Jaeger's `internal/uimodel`. Times and durations are microseconds. Other backends
//! with this API write every value as text, so an `error` of the text `true` counts as the boolean, and whole numbers
//! may be text, as Jaeger itself writes those beyond 53 bits.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, TraceId};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::group::Group;
use super::model::{self, ReferenceKind, Value};
use super::names::ERROR;
use super::{Malformed, to_otlp};

/// What the query API answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// The traces, each on its own.
    pub traces: Vec<QueriedTrace>,
    /// What it says went wrong.
    pub errors: Vec<String>,
}

/// One trace of an answer.
#[derive(Debug)]
pub struct QueriedTrace {
    /// Its id.
    pub trace_id: TraceId,
    /// Its spans.
    pub batch: Batch,
}

/// Reads an answer of `/api/traces` or `/api/traces/{id}`.
///
/// # Errors
/// [`Malformed`] says what is wrong and where.
pub fn from_json(answer: &[u8]) -> Result<Answer, Malformed> {
    let wire: Wire<'_> = serde_json::from_slice(answer).map_err(|error| Malformed::Json(error.to_string()))?;
    let errors = wire.errors.unwrap_or_default().into_iter().map(|error| error.msg.into_owned()).collect();
    let traces = wire.data.unwrap_or_default().iter().map(trace).collect::<Result<_, _>>()?;
    Ok(Answer { traces, errors })
}

fn trace(trace: &Trace<'_>) -> Result<QueriedTrace, Malformed> {
    let trace_id = id(&trace.trace_id, "traceID").map(TraceId::new)?;
    let mut binaries = Binaries::default();
    // Decoded first, so that values can be borrowed from there.
    let spans = trace.spans.iter();
    spans.clone().flat_map(WireSpan::all_tags).try_for_each(|tag| binaries.decode(tag))?;
    let all: Vec<&WireProcess<'_>> = trace.processes.values().chain(spans.filter_map(|s| s.process.as_ref())).collect();
    all.iter().flat_map(|process| tags_of(process.tags.as_deref())).try_for_each(|tag| binaries.decode(tag))?;
    let none = WireProcess::default();
    let mut places = HashMap::new();
    let mut groups: Vec<(&WireProcess<'_>, Group<'_, model::Span<'_>>)> = Vec::new();
    for wire in &trace.spans {
        let named = wire.process.as_ref().or_else(|| trace.processes.get(&*wire.process_id));
        let process = named.unwrap_or(&none);
        let span = span(wire, &binaries)?;
        let at = *places.entry(std::ptr::from_ref(process)).or_insert(groups.len());
        if at == groups.len() {
            groups.push((process, Group::default()));
        }
        if let Some((_, group)) = groups.get_mut(at) {
            group.push(to_otlp::scope(&span.tags), span);
        }
    }
    let mut out = TracesEncoder::new();
    for (process, group) in &groups {
        let tags = tags(process.tags.as_deref(), &binaries);
        let process = model::Process { service_name: Cow::Borrowed(&process.service_name), tags };
        to_otlp::write_group(&mut out, Some(&process), group, |out, span| {
            to_otlp::write_span(out, span);
            Ok::<(), Malformed>(())
        })?;
    }
    Ok(QueriedTrace { trace_id, batch: out.finish() })
}

fn span<'a>(wire: &'a WireSpan<'_>, binaries: &'a Binaries) -> Result<model::Span<'a>, Malformed> {
    let references = wire.references.iter().flatten().map(|reference| {
        Ok(model::Reference {
            kind: match &*reference.kind {
                "FOLLOWS_FROM" => ReferenceKind::FollowsFrom,
                _ => ReferenceKind::ChildOf,
            },
            trace_id: TraceId::new(id(&reference.trace_id, "references.traceID")?),
            span_id: SpanId::new(id(&reference.span_id, "references.spanID")?),
        })
    });
    let logs = wire.logs.iter().flatten();
    let log = |log: &'a WireLog<'_>| model::Log {
        time_unix_ns: log.timestamp.saturating_mul(1000),
        fields: tags(log.fields.as_deref(), binaries),
    };
    Ok(model::Span {
        trace_id: TraceId::new(id(&wire.trace_id, "traceID")?),
        span_id: SpanId::new(id(&wire.span_id, "spanID")?),
        parent_span_id: SpanId::new(id(&wire.parent_span_id, "parentSpanID")?),
        operation_name: Cow::Borrowed(&wire.operation_name),
        references: references.collect::<Result<_, Malformed>>()?,
        flags: wire.flags,
        start_unix_ns: wire.start_time.saturating_mul(1000),
        duration_ns: wire.duration.saturating_mul(1000),
        tags: tags(wire.tags.as_deref(), binaries),
        logs: logs.map(log).collect(),
        warnings: wire.warnings.iter().flatten().map(|text| Cow::Borrowed(&**text)).collect(),
    })
}

/// An id in hexadecimal, of which zeros in front may be missing.
fn id<const SIZE: usize>(text: &str, field: &'static str) -> Result<[u8; SIZE], Malformed> {
    let wrong = || Malformed::Id { field, text: text.chars().take(TOLD_CHARS_MAX).collect() };
    if text.len() > 2 * SIZE || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = if text.is_empty() { 0 } else { u128::from_str_radix(text, 16).map_err(|_| wrong())? };
    let mut id = [0; SIZE];
    id.copy_from_slice(&number.to_be_bytes()[16 - SIZE..]);
    Ok(id)
}

/// How much of something wrong is told.
const TOLD_CHARS_MAX: usize = 40;

fn tags_of<'w, 'a>(tags: Option<&'w [WireTag<'a>]>) -> impl Iterator<Item = &'w WireTag<'a>> {
    tags.into_iter().flatten()
}

fn tags<'a>(wire: Option<&'a [WireTag<'_>]>, binaries: &'a Binaries) -> Vec<model::Tag<'a>> {
    let tag = |tag: &'a WireTag<'_>| model::Tag { key: Cow::Borrowed(&tag.key), value: value(tag, binaries) };
    tags_of(wire).map(tag).collect()
}

fn value<'a>(tag: &'a WireTag<'_>, binaries: &'a Binaries) -> Value<'a> {
    let text = match &tag.value {
        Scalar::Text(text) => &**text,
        Scalar::Bool(value) => return Value::Bool(*value),
        Scalar::Int(value) if tag.kind == "float64" => return Value::Double(*value as f64),
        Scalar::Int(value) => return Value::Int(*value),
        Scalar::Double(value) => return Value::Double(*value),
        Scalar::None => "",
    };
    let known = match &*tag.kind {
        "int64" => text.parse().ok().map(Value::Int),
        "float64" => text.parse().ok().map(Value::Double),
        "bool" => text.parse().ok().map(Value::Bool),
        "binary" => binaries.0.get(text).map(|bytes| Value::Binary(bytes)),
        _ if tag.key == ERROR && text == "true" => Some(Value::Bool(true)),
        _ => None,
    };
    known.unwrap_or(Value::Text(Cow::Borrowed(text)))
}

/// Bytes by their writing in base64.
#[derive(Default)]
struct Binaries(BTreeMap<String, Vec<u8>>);

impl Binaries {
    fn decode(&mut self, tag: &WireTag<'_>) -> Result<(), Malformed> {
        if let ("binary", Scalar::Text(text)) = (&*tag.kind, &tag.value)
            && !self.0.contains_key(&**text)
        {
            let wrong = |_| Malformed::Base64 { key: tag.key.chars().take(TOLD_CHARS_MAX).collect() };
            self.0.insert(text.to_string(), STANDARD.decode(text.as_bytes()).map_err(wrong)?);
        }
        Ok(())
    }
}

// === The JSON as it is ===

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    data: Option<Vec<Trace<'a>>>,
    #[serde(borrow, default)]
    errors: Option<Vec<WireError<'a>>>,
}

#[derive(Deserialize)]
struct WireError<'a> {
    #[serde(borrow, default)]
    msg: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    #[serde(borrow, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    spans: Vec<WireSpan<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    processes: BTreeMap<Cow<'a, str>, WireProcess<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProcess<'a> {
    #[serde(borrow, default)]
    service_name: Cow<'a, str>,
    #[serde(borrow, default)]
    tags: Option<Vec<WireTag<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan<'a> {
    #[serde(borrow, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, rename = "spanID")]
    span_id: Cow<'a, str>,
    #[serde(borrow, default, rename = "parentSpanID")]
    parent_span_id: Cow<'a, str>,
    #[serde(default)]
    flags: u32,
    #[serde(borrow, default)]
    operation_name: Cow<'a, str>,
    #[serde(borrow, default)]
    references: Option<Vec<WireReference<'a>>>,
    start_time: u64,
    duration: i64,
    #[serde(borrow, default)]
    tags: Option<Vec<WireTag<'a>>>,
    #[serde(borrow, default)]
    logs: Option<Vec<WireLog<'a>>>,
    #[serde(borrow, default, rename = "processID")]
    process_id: Cow<'a, str>,
    #[serde(borrow, default)]
    process: Option<WireProcess<'a>>,
    #[serde(borrow, default)]
    warnings: Option<Vec<Cow<'a, str>>>,
}

impl<'a> WireSpan<'a> {
    fn all_tags(&self) -> impl Iterator<Item = &WireTag<'a>> {
        let of_logs = self.logs.iter().flatten().flat_map(|log| tags_of(log.fields.as_deref()));
        tags_of(self.tags.as_deref()).chain(of_logs)
    }
}

#[derive(Deserialize)]
struct WireReference<'a> {
    #[serde(borrow, default, rename = "refType")]
    kind: Cow<'a, str>,
    #[serde(borrow, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, rename = "spanID")]
    span_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct WireLog<'a> {
    timestamp: u64,
    #[serde(borrow, default)]
    fields: Option<Vec<WireTag<'a>>>,
}

#[derive(Deserialize)]
struct WireTag<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Scalar<'a>,
}

/// A value as it is written.
#[derive(Default)]
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    #[default]
    None,
}

/// `null` stands for nothing, as Go writes an empty slice or map.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of a tag")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Int(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar<'de>, E> {
                Ok(i64::try_from(value).map_or(Scalar::Double(value as f64), Scalar::Int))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Double(value))
            }

            fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::None)
            }

            // A list or a map is no value that Jaeger has.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::None)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::None)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
