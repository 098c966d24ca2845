//! OTLP JSON, both ways, driven by the tables of the schema.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding> and proto3's JSON mapping,
//! <https://protobuf.dev/programming-guides/json/>.
//!
//! Written: lowerCamelCase names, 64-bit integers as strings, enums as integers, trace and span ids as lower-case
//! hexadecimal, other bytes as base64, doubles with the strings `"NaN"`, `"Infinity"` and `"-Infinity"`. Scalars with
//! their default value are left out.
//!
//! Read: names in lowerCamelCase or snake_case, integers as numbers or strings, enums as integers or names, ids in
//! either case, base64 in either alphabet with or without padding. `null` is as if the field were absent, and unknown
//! fields are skipped, as the specification demands. Whatever else cannot be carried over is an error with its place:
//! nothing is dropped in silence.
//!
//! Unknown fields of protobuf have no names and so no place in JSON; [`encode`] leaves them out.

mod decode;
mod encode;

use std::fmt;

pub(crate) use decode::transcode;
pub(crate) use encode::{append_message, append_string};

use crate::check::REQUEST_SIZE_MAX;
use crate::schema::Id;
use crate::{Batch, Limits, Signal};

/// Reads a request in JSON.
///
/// # Errors
/// [`JsonError`] names the first fault and its place.
pub fn decode(signal: Signal, json: &[u8], limits: &Limits) -> Result<Batch, JsonError> {
    let (bytes, items) = transcode(Id::request(signal), json, limits)?;
    if bytes.len() > REQUEST_SIZE_MAX {
        return Err(JsonError { line: 0, column: 0, path: String::new(), kind: JsonErrorKind::TooLarge });
    }
    debug_assert_eq!(crate::check::check(signal, &bytes, limits), Ok(items), "JSON becomes a valid request");
    Ok(Batch::from_trusted(signal, bytes.into(), items))
}

/// Appends a batch as JSON.
pub fn encode(batch: &Batch, out: &mut Vec<u8>) {
    append_message(Id::request(batch.signal()), batch.bytes(), out);
}

/// Why JSON is not an export request, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", Place(*.line, *.column, .path))]
pub struct JsonError {
    /// The line, from 1 on; 0 where the fault has no place.
    pub line: usize,
    /// The column, in bytes, from 1 on.
    pub column: usize,
    /// The way to the value, such as `resourceSpans[0].scopeSpans[0].spans[3].traceId`; empty for the document.
    pub path: String,
    /// What is wrong.
    pub kind: JsonErrorKind,
}

/// Line, column and path.
struct Place<'a>(usize, usize, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(line, column, path) = self;
        if *line > 0 {
            write!(f, " at line {line}, column {column}")?;
        }
        if path.is_empty() { Ok(()) } else { write!(f, " ({path})") }
    }
}

/// What is wrong with JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// Not JSON.
    #[error("invalid JSON: {0}")]
    Syntax(String),
    /// A value of another type than the field has.
    #[error("{0}")]
    WrongType(String),
    /// An id that is not hexadecimal or has another length.
    #[error("expected an id of {digits} hexadecimal digits")]
    InvalidId {
        /// The digits that the id has.
        digits: usize,
    },
    /// Bytes that are not base64.
    #[error("invalid base64")]
    InvalidBase64,
    /// A number that the field cannot hold, or text that is no number.
    #[error("expected {expected}")]
    InvalidNumber {
        /// What the field holds.
        expected: &'static str,
    },
    /// A name that the enum does not have.
    #[error("unknown value {0:?}")]
    UnknownEnumValue(String),
    /// A field that occurs twice, or a second value where a message holds one of several.
    #[error("a second value")]
    Repeated,
    /// A value nested deeper than [`Limits::depth_max`].
    #[error("value nested too deeply")]
    TooDeep,
    /// A request of more than 2^31 - 1 bytes in protobuf.
    #[error("too large")]
    TooLarge,
}
