//! JSON to protobuf in one pass, without a tree in between.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{JsonError, JsonErrorKind};
use crate::schema::{EnumNames, FieldSchema, Id, Kind, Label};
use crate::wire::{OpenField, WireType, write_bytes_field, write_tag, write_varint, zigzag_encode};
use crate::{Limits, SpanId, TraceId};

/// Reads a message in JSON and returns it as protobuf, and the number of items in it.
pub(crate) fn transcode(id: Id, json: &[u8], limits: &Limits) -> Result<(Vec<u8>, u32), JsonError> {
    let mut context = Context {
        // Usually a request takes less than half in protobuf; never more than four times, which arrays of `0` do.
        out: Vec::with_capacity(json.len() / 2),
        items: 0,
        depth: 0,
        depth_max: limits.depth_max.min(Limits::DEPTH_MAX_CEILING),
        path: Vec::new(),
        fault: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // Values are bounded by the limits, and unknown fields are skipped without recursion.
    deserializer.disable_recursion_limit();
    let result = MessageSeed { context: &mut context, id }.deserialize(&mut deserializer);
    match result.and_then(|_| deserializer.end()) {
        Ok(()) => Ok((context.out, context.items)),
        Err(error) => Err(context.error(&error)),
    }
}

struct Context {
    out: Vec<u8>,
    items: u32,
    depth: u16,
    depth_max: u16,
    /// The way to the current value; left as it is at the first fault.
    path: Vec<Segment>,
    /// What is wrong, where `serde_json` does not know it.
    fault: Option<JsonErrorKind>,
}

enum Segment {
    Field(&'static str),
    Index(usize),
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Field(name) => write!(f, ".{name}"),
            Segment::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Context {
    fn fail<E: Error>(&mut self, kind: JsonErrorKind) -> E {
        self.fault = Some(kind);
        E::custom("invalid value")
    }

    fn error(&mut self, error: &serde_json::Error) -> JsonError {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // The place is kept apart.
        let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned();
        let kind = match self.fault.take() {
            Some(kind) => kind,
            None if error.is_data() => JsonErrorKind::WrongType(text),
            None => JsonErrorKind::Syntax(text),
        };
        let path: String = self.path.iter().map(Segment::to_string).collect();
        JsonError { line, column, path: path.trim_start_matches('.').to_owned(), kind }
    }
}

/// Whether a value was there; `null` is as good as none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Present,
    Null,
}

/// Appends the fields of one message.
struct MessageSeed<'c> {
    context: &'c mut Context,
    id: Id,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = Presence;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Presence, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.id.schema().name)
    }

    fn visit_unit<E: Error>(self) -> Result<Presence, E> {
        Ok(Presence::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Presence, A::Error> {
        let context = self.context;
        let schema = self.id.schema();
        context.depth += u16::from(schema.is_nesting);
        if context.depth > context.depth_max {
            return Err(context.fail(JsonErrorKind::TooDeep));
        }
        let mut seen = 0u32;
        while let Some(field) = map.next_key_seed(KeySeed(schema.fields))? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            context.path.push(Segment::Field(field.json));
            if map.next_value_seed(FieldSeed { context, field })? == Presence::Present {
                // The members of the one `oneof` exclude each other.
                let slot = if field.label == Label::Oneof { 1 } else { 1 << field.number };
                if seen & slot != 0 {
                    return Err(context.fail(JsonErrorKind::Repeated));
                }
                seen |= slot;
            }
            context.path.pop();
        }
        context.depth -= u16::from(schema.is_nesting);
        Ok(Presence::Present)
    }
}

/// Finds the field with a name, in either spelling.
struct KeySeed(&'static [FieldSchema]);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static FieldSchema>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Option<&'static FieldSchema>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.json == name || field.name == name))
    }
}

/// Appends one field, however often it repeats.
struct FieldSeed<'c> {
    context: &'c mut Context,
    field: &'static FieldSchema,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Presence;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Presence, D::Error> {
        match (self.field.label, self.field.kind) {
            (Label::Many, _) => deserializer.deserialize_any(ListVisitor(self)),
            (_, Kind::Message(id)) => self.message(id, deserializer),
            _ => deserializer.deserialize_any(ScalarVisitor { seed: self, framing: Framing::Field }),
        }
    }
}

impl FieldSeed<'_> {
    fn message<'de, D: Deserializer<'de>>(self, id: Id, deserializer: D) -> Result<Presence, D::Error> {
        let context = self.context;
        let number = u32::from(self.field.number);
        let open = OpenField::begin(&mut context.out, number, 0);
        let presence = MessageSeed { context, id }.deserialize(deserializer)?;
        match presence {
            Presence::Present => open.end(&mut context.out),
            Presence::Null => open.cancel(&mut context.out, number),
        }
        Ok(presence)
    }
}

struct ListVisitor<'c>(FieldSeed<'c>);

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<Presence, E> {
        Ok(Presence::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Presence, A::Error> {
        let FieldSeed { context, field } = self.0;
        let number = u32::from(field.number);
        let packed = field.is_packable().then(|| OpenField::begin(&mut context.out, number, 0));
        let mut count = 0;
        context.path.push(Segment::Index(0));
        while list.next_element_seed(ElementSeed(FieldSeed { context, field }))?.is_some() {
            count += 1;
            context.path.pop();
            context.path.push(Segment::Index(count));
        }
        context.path.pop();
        match packed {
            Some(packed) if count == 0 => packed.cancel(&mut context.out, number),
            Some(packed) => packed.end(&mut context.out),
            None => {}
        }
        Ok(Presence::Present)
    }
}

/// Appends one value of a repeated field, which cannot be `null`.
struct ElementSeed<'c>(FieldSeed<'c>);

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let FieldSeed { context, field } = self.0;
        let presence = match field.kind {
            Kind::Message(id) => {
                context.items += u32::from(id.schema().is_item);
                FieldSeed { context: &mut *context, field }.message(id, deserializer)?
            }
            _ => {
                let framing = if field.is_packable() { Framing::Packed } else { Framing::Field };
                let seed = FieldSeed { context: &mut *context, field };
                deserializer.deserialize_any(ScalarVisitor { seed, framing })?
            }
        };
        match presence {
            Presence::Present => Ok(()),
            Presence::Null => Err(context.fail(JsonErrorKind::WrongType("null in an array".to_owned()))),
        }
    }
}

/// Whether a scalar comes with its tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Field,
    Packed,
}

/// A scalar as it stands in JSON.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
    Text(&'a str),
}

struct ScalarVisitor<'c> {
    seed: FieldSeed<'c>,
    framing: Framing,
}

impl ScalarVisitor<'_> {
    fn accept<E: Error>(self, scalar: Scalar<'_>) -> Result<Presence, E> {
        let field = self.seed.field;
        // Default values are left out where absence means the same.
        let keep_default = field.label != Label::One || self.framing == Framing::Packed;
        let mut writer = ScalarWriter { out: &mut self.seed.context.out, field, framing: self.framing, keep_default };
        match writer.write(scalar) {
            Ok(()) => Ok(Presence::Present),
            Err(kind) => Err(self.seed.context.fail(kind)),
        }
    }
}

impl<'de> Visitor<'de> for ScalarVisitor<'_> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(expected(self.seed.field.kind))
    }

    fn visit_unit<E: Error>(self) -> Result<Presence, E> {
        Ok(Presence::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Presence, E> {
        self.accept(Scalar::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Presence, E> {
        self.accept(Scalar::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Presence, E> {
        self.accept(Scalar::Signed(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Presence, E> {
        self.accept(Scalar::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Presence, E> {
        self.accept(Scalar::Text(value))
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Int32 | Kind::Sint32 => "a 32-bit integer",
        Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer",
        Kind::Int64 | Kind::Sfixed64 => "a 64-bit integer",
        Kind::Uint64 | Kind::Fixed64 => "an unsigned 64-bit integer",
        Kind::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        Kind::Enum(_) => "the number or name of an enum value",
        Kind::String => "a string",
        Kind::Bytes => "a base64 string",
        Kind::TraceId | Kind::SpanId => "a hexadecimal string",
        Kind::Message(_) => "an object",
    }
}

struct ScalarWriter<'c> {
    out: &'c mut Vec<u8>,
    field: &'static FieldSchema,
    framing: Framing,
    keep_default: bool,
}

impl ScalarWriter<'_> {
    fn write(&mut self, scalar: Scalar<'_>) -> Result<(), JsonErrorKind> {
        match self.field.kind {
            Kind::Bool => match scalar {
                Scalar::Bool(value) => self.varint(u64::from(value)),
                _ => return Err(self.wrong_type(scalar)),
            },
            Kind::Int32 => self.varint(i64::from(self.integer::<i32>(scalar)?) as u64),
            Kind::Sint32 => self.varint(zigzag_encode(i64::from(self.integer::<i32>(scalar)?))),
            Kind::Uint32 => self.varint(u64::from(self.integer::<u32>(scalar)?)),
            Kind::Int64 => self.varint(self.integer::<i64>(scalar)? as u64),
            Kind::Uint64 => self.varint(self.integer::<u64>(scalar)?),
            Kind::Fixed32 => {
                let value = self.integer::<u32>(scalar)?;
                self.fixed(WireType::Fixed32, &value.to_le_bytes());
            }
            Kind::Fixed64 => {
                let value = self.integer::<u64>(scalar)?;
                self.fixed(WireType::Fixed64, &value.to_le_bytes());
            }
            Kind::Sfixed64 => {
                let value = self.integer::<i64>(scalar)?;
                self.fixed(WireType::Fixed64, &value.to_le_bytes());
            }
            Kind::Double => {
                let value = self.double(scalar)?;
                self.fixed(WireType::Fixed64, &value.to_bits().to_le_bytes());
            }
            Kind::Enum(names) => {
                let value = self.enumeration(names, scalar)?;
                self.varint(i64::from(value) as u64);
            }
            Kind::String => self.bytes(self.text(scalar)?.as_bytes()),
            Kind::Bytes => self.base64(self.text(scalar)?)?,
            Kind::TraceId => match self.text(scalar)? {
                "" => self.bytes(&[]),
                text => self.id(TraceId::from_hex(text.as_bytes()).as_ref().map(TraceId::as_bytes))?,
            },
            Kind::SpanId => match self.text(scalar)? {
                "" => self.bytes(&[]),
                text => self.id(SpanId::from_hex(text.as_bytes()).as_ref().map(SpanId::as_bytes))?,
            },
            Kind::Message(_) => return Err(self.wrong_type(scalar)),
        }
        Ok(())
    }

    fn wrong_type(&self, scalar: Scalar<'_>) -> JsonErrorKind {
        let found = match scalar {
            Scalar::Bool(_) => "a bool",
            Scalar::Unsigned(_) | Scalar::Signed(_) | Scalar::Double(_) => "a number",
            Scalar::Text(_) => "a string",
        };
        JsonErrorKind::WrongType(format!("expected {}, found {found}", expected(self.field.kind)))
    }

    fn invalid_number(&self) -> JsonErrorKind {
        JsonErrorKind::InvalidNumber { expected: expected(self.field.kind) }
    }

    fn text<'a>(&self, scalar: Scalar<'a>) -> Result<&'a str, JsonErrorKind> {
        match scalar {
            Scalar::Text(text) => Ok(text),
            _ => Err(self.wrong_type(scalar)),
        }
    }

    /// An integer as a number or a string; also `1e3` and `2.0`, which the mapping allows where they are exact.
    fn integer<T: TryFrom<i128>>(&self, scalar: Scalar<'_>) -> Result<T, JsonErrorKind> {
        let value = match scalar {
            Scalar::Unsigned(value) => Some(i128::from(value)),
            Scalar::Signed(value) => Some(i128::from(value)),
            Scalar::Double(value) => exact_integer(value),
            Scalar::Text(text) => text.parse::<i128>().ok().or_else(|| decimal(text).and_then(exact_integer)),
            Scalar::Bool(_) => return Err(self.wrong_type(scalar)),
        };
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| self.invalid_number())
    }

    fn double(&self, scalar: Scalar<'_>) -> Result<f64, JsonErrorKind> {
        match scalar {
            Scalar::Unsigned(value) => Ok(value as f64),
            Scalar::Signed(value) => Ok(value as f64),
            Scalar::Double(value) => Ok(value),
            Scalar::Text("NaN") => Ok(f64::NAN),
            Scalar::Text("Infinity") => Ok(f64::INFINITY),
            Scalar::Text("-Infinity") => Ok(f64::NEG_INFINITY),
            Scalar::Text(text) => decimal(text).ok_or_else(|| self.invalid_number()),
            Scalar::Bool(_) => Err(self.wrong_type(scalar)),
        }
    }

    fn enumeration(&self, names: &EnumNames, scalar: Scalar<'_>) -> Result<i32, JsonErrorKind> {
        let Scalar::Text(text) = scalar else {
            return self.integer(scalar);
        };
        let value =
            text.strip_prefix(names.prefix).and_then(|name| names.values.iter().position(|value| *value == name));
        match value.and_then(|value| i32::try_from(value).ok()) {
            Some(value) => Ok(value),
            None => text.parse().map_err(|_| JsonErrorKind::UnknownEnumValue(text.to_owned())),
        }
    }

    fn base64(&mut self, text: &str) -> Result<(), JsonErrorKind> {
        let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        let bytes = engine.decode(text).map_err(|_| JsonErrorKind::InvalidBase64)?;
        self.bytes(&bytes);
        Ok(())
    }

    fn id<const N: usize>(&mut self, id: Option<&[u8; N]>) -> Result<(), JsonErrorKind> {
        let digits = if matches!(self.field.kind, Kind::TraceId) { 2 * TraceId::SIZE } else { 2 * SpanId::SIZE };
        self.bytes(id.ok_or(JsonErrorKind::InvalidId { digits })?);
        Ok(())
    }

    fn bytes(&mut self, value: &[u8]) {
        if self.keep_default || !value.is_empty() {
            write_bytes_field(self.out, u32::from(self.field.number), value);
        }
    }

    fn varint(&mut self, value: u64) {
        if self.begin(WireType::Varint, value == 0) {
            write_varint(self.out, value);
        }
    }

    fn fixed(&mut self, wire: WireType, value: &[u8]) {
        if self.begin(wire, value.iter().all(|byte| *byte == 0)) {
            self.out.extend_from_slice(value);
        }
    }

    /// Appends the tag if the value is to be written with one. Returns whether it is to be written.
    fn begin(&mut self, wire: WireType, is_default: bool) -> bool {
        let is_written = self.keep_default || !is_default;
        if is_written && self.framing == Framing::Field {
            write_tag(self.out, u32::from(self.field.number), wire);
        }
        is_written
    }
}

/// The double that a decimal number is; not the names that Rust would accept.
fn decimal(text: &str) -> Option<f64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    is_decimal.then(|| text.parse().ok()).flatten().filter(|value: &f64| value.is_finite())
}

/// The integer that a double is, within the range in which doubles are exact.
fn exact_integer(value: f64) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i128)
}

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
static STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
static URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
