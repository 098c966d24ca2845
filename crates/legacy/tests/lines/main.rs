//! Carbon's and InfluxDB's lines: golden files both ways, round trips, and damaged input.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod fuzz;
mod golden;
mod roundtrip;

use legacy::carbon::{self, Parser, Reader, ResourceTags, Rule};
use legacy::influx::{self, Precision, Schema};
use legacy::lines::{PayloadLimits, Refused};
use otlp::{Batch, Limits, Signal};

pub(crate) const NOW_UNIX_NS: u64 = 1_800_000_000_000_000_000;
pub(crate) const UNLIMITED: PayloadLimits = PayloadLimits { lines_max: usize::MAX, size_bytes_max: usize::MAX };

/// Reads lines of Graphite's; gives what is wrong with the others.
pub(crate) fn read_carbon(parser: &Parser, text: &[u8]) -> (Batch, Vec<String>) {
    let mut reader = Reader::new(parser);
    let mut faults = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Err(error) = reader.line(line, NOW_UNIX_NS) {
            assert!(!error.cause().is_empty());
            faults.push(error.to_string());
        }
    }
    (checked(reader.finish()), faults)
}

pub(crate) fn write_carbon(batch: &Batch, resource: ResourceTags) -> (String, Refused) {
    let (payloads, refused) = carbon::write(batch, resource, UNLIMITED);
    assert_eq!(payloads.iter().map(|payload| payload.items).sum::<u32>() + refused.total(), batch.items());
    (payloads.into_iter().map(|payload| String::from_utf8(payload.body).unwrap()).collect(), refused)
}

/// Reads lines of InfluxDB's; gives what is wrong with the others.
pub(crate) fn read_influx(precision: Precision, text: &[u8]) -> (Batch, Vec<String>) {
    let mut reader = influx::Reader::new(precision, NOW_UNIX_NS);
    let mut faults = Vec::new();
    reader.read(text, |error| faults.push(error.to_string()));
    (checked(reader.finish()), faults)
}

pub(crate) fn write_influx(batch: &Batch, schema: Schema) -> (String, Refused) {
    let (payloads, refused) = influx::write(batch, schema, Precision::Nanoseconds, UNLIMITED);
    assert_eq!(payloads.iter().map(|payload| payload.items).sum::<u32>() + refused.total(), batch.items());
    (payloads.into_iter().map(|payload| String::from_utf8(payload.body).unwrap()).collect(), refused)
}

/// What was made of lines is what a receiver of OTLP would take.
fn checked(batch: Batch) -> Batch {
    let parsed = Batch::parse(Signal::Metrics, batch.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(parsed.items(), batch.items());
    batch
}

/// The parser of the golden files whose name starts with `regex`.
pub(crate) fn rules() -> Parser {
    let labels = [("dot.key".to_owned(), "dot.value".to_owned())];
    let first = Rule::new(
        r"(?P<key_base>test)\.env(?P<key_env>[^.]*)\.(?P<key_host>[^.]*)",
        "name-prefix".to_owned(),
        labels.into(),
        carbon::PathKind::Cumulative,
    );
    let second =
        Rule::new(r"(?P<key_just>test)\.(?P<name_match>.*)", String::new(), Default::default(), Default::default());
    Parser::regex(vec![first.unwrap(), second.unwrap()], "_".to_owned())
}
