//! The messages of `jaeger.api_v2` as structs, after `model.proto` and `collector.proto` of jaeger-idl: another way to
//! read and write them than the one under test. As JSON, ids and bytes are hexadecimal and types have their names.

use legacy::thrift::{FieldsWriter, Kind, MessageKind, Protocol, Writer};
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PostSpansRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) batch: Option<Batch>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Batch {
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Process>,
    #[prost(message, repeated, tag = "1")]
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Process {
    #[prost(string, tag = "1")]
    pub(crate) service_name: String,
    #[prost(message, repeated, tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hex")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "hex")]
    pub(crate) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) operation_name: String,
    #[prost(message, repeated, tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<SpanRef>,
    #[prost(uint32, tag = "5")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) flags: u32,
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "9")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) logs: Vec<Log>,
    #[prost(message, optional, tag = "10")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Process>,
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) process_id: String,
    #[prost(string, repeated, tag = "12")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// `google.protobuf.Timestamp` and `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Time {
    #[prost(int64, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) nanos: i32,
}

impl Time {
    fn us(time: Option<&Time>) -> i64 {
        time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1000)
    }
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hex")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "hex")]
    pub(crate) span_id: Vec<u8>,
    #[prost(int32, tag = "3")]
    #[serde(with = "ref_type")]
    pub(crate) ref_type: i32,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) fields: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(int32, tag = "2")]
    #[serde(with = "value_type", skip_serializing_if = "is_default")]
    pub(crate) v_type: i32,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) v_str: String,
    #[prost(bool, tag = "4")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) v_bool: bool,
    #[prost(int64, tag = "5")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) v_int64: i64,
    #[prost(double, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) v_float64: f64,
    #[prost(bytes = "vec", tag = "7")]
    #[serde(with = "hex", skip_serializing_if = "Vec::is_empty")]
    pub(crate) v_binary: Vec<u8>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

mod hex {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
        pairs.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
    }
}

/// Numbers by their names; a number that has none stays one.
macro_rules! names {
    ($module:ident [$($name:literal),*]) => {
        mod $module {
            use super::*;

            const NAMES: &[&str] = &[$($name),*];

            pub(super) fn serialize<S: Serializer>(number: &i32, to: S) -> Result<S::Ok, S::Error> {
                match usize::try_from(*number).ok().and_then(|index| NAMES.get(index)) {
                    Some(name) => name.serialize(to),
                    None => number.serialize(to),
                }
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
                let value = serde_json::Value::deserialize(from)?;
                let named = value.as_str().and_then(|text| NAMES.iter().position(|name| *name == text));
                let number = named.map(|index| index as i64).or(value.as_i64());
                number.map(|number| number as i32).ok_or_else(|| serde::de::Error::custom("neither name nor number"))
            }
        }
    };
}

names!(value_type ["STRING", "BOOL", "INT64", "FLOAT64", "BINARY"]);
names!(ref_type ["CHILD_OF", "FOLLOWS_FROM"]);

// === The same in Thrift, after `jaeger.thrift` and `agent.thrift` ===

impl Batch {
    pub(crate) fn request(&self) -> Vec<u8> {
        PostSpansRequest { batch: Some(self.clone()) }.encode_to_vec()
    }

    pub(crate) fn thrift(&self, protocol: Protocol) -> Vec<u8> {
        let mut out = Writer::new(protocol);
        out.fields(|out| self.write(out));
        out.finish()
    }

    pub(crate) fn datagram(&self, protocol: Protocol) -> Vec<u8> {
        let mut out = Writer::new(protocol);
        out.message("emitBatch", MessageKind::Oneway, 1);
        out.fields(|out| out.fields(1, |out| self.write(out)));
        out.finish()
    }

    fn write(&self, out: &mut FieldsWriter<'_>) {
        let process = self.process.clone().unwrap_or_default();
        out.fields(1, |out| {
            out.string(1, &process.service_name);
            write_tags(out, 2, &process.tags);
        });
        out.list(2, Kind::Struct, &self.spans, |out, span| out.fields(|out| span.write(out)));
    }
}

/// The 64 bits of an id that begin at a byte; zeros for one that is shorter.
fn bits(id: &[u8], from_end: usize) -> i64 {
    let end = id.len().saturating_sub(from_end - 8);
    let bytes = end.checked_sub(8).map_or([0; 8], |start| id[start..end].try_into().unwrap());
    i64::from_be_bytes(bytes)
}

impl Span {
    fn write(&self, out: &mut FieldsWriter<'_>) {
        out.i64(1, bits(&self.trace_id, 8));
        out.i64(2, bits(&self.trace_id, 16));
        out.i64(3, bits(&self.span_id, 8));
        out.i64(4, 0);
        out.string(5, &self.operation_name);
        out.list(6, Kind::Struct, &self.references, |out, reference| {
            out.fields(|out| {
                out.i32(1, reference.ref_type);
                out.i64(2, bits(&reference.trace_id, 8));
                out.i64(3, bits(&reference.trace_id, 16));
                out.i64(4, bits(&reference.span_id, 8));
            });
        });
        out.i32(7, self.flags as i32);
        out.i64(8, Time::us(self.start_time.as_ref()));
        out.i64(9, Time::us(self.duration.as_ref()));
        write_tags(out, 10, &self.tags);
        out.list(11, Kind::Struct, &self.logs, |out, log| {
            out.fields(|out| {
                out.i64(1, Time::us(log.timestamp.as_ref()));
                write_tags(out, 2, &log.fields);
            });
        });
        out.bool(12, true);
    }
}

/// Thrift has its types in another order.
fn write_tags(out: &mut FieldsWriter<'_>, id: i16, tags: &[KeyValue]) {
    out.list(id, Kind::Struct, tags, |out, tag| {
        out.fields(|out| {
            out.string(1, &tag.key);
            out.i32(2, [0, 2, 3, 1, 4].get(tag.v_type as usize).copied().unwrap_or(tag.v_type));
            match tag.v_type {
                0 => out.string(3, &tag.v_str),
                1 => out.bool(5, tag.v_bool),
                2 => out.i64(6, tag.v_int64),
                3 => out.double(4, tag.v_float64),
                4 => out.bytes(7, &tag.v_binary),
                _ => {}
            }
        });
    });
}
