//! Entries as log records, as the Collector's translator makes them.
//!
//! | Loki | OTLP |
//! |---|---|
//! | line | body |
//! | labels, but for those that begin with `__` | attributes of the log record |
//! | structured metadata | attributes of the log record; one with the name of a label gets the suffix `_extracted`, as in Loki's own queries |
//! | timestamp | time, if it is asked for; else the time of receipt |

use std::borrow::Cow;
use std::collections::HashSet;

use otlp::Batch;
use otlp::encode::{LogsEncoder, ScopeLogsWriter};

use super::{Entry, LabelSet, PushError, Take};

/// Which time a log record gets: `use_incoming_timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// That of its entry; where that is unknown, the time of receipt.
    Incoming,
    /// The time of receipt.
    OfReceipt,
}

/// How a push becomes log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Which time they get.
    pub timestamps: Timestamps,
    /// The time of receipt, in nanoseconds since the Unix epoch.
    pub received_unix_ns: u64,
    /// How large all of them may be together, in bytes, by a guess from above.
    pub size_bytes_max: usize,
}

/// Bytes of a log record or an attribute beside its texts: tags, lengths, times.
const RECORD_BYTES: usize = 40;
const ATTRIBUTE_BYTES: usize = 20;

/// The log records of all entries that `read` hands over: one of [`super::read_protobuf`], [`super::read_json`] and
/// [`super::read_legacy_json`] with the bytes of the push.
///
/// # Errors
/// What `read` says, and [`PushError::TooLarge`].
pub fn to_batch(
    conversion: &Conversion,
    read: impl FnOnce(&mut Take<'_>) -> Result<(), PushError>,
) -> Result<Batch, PushError> {
    let mut encoder = LogsEncoder::new();
    let mut left_bytes = conversion.size_bytes_max;
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            read(&mut |labels, entry| {
                left_bytes = left_bytes
                    .checked_sub(size_guess(labels, entry))
                    .ok_or(PushError::TooLarge { limit_bytes: conversion.size_bytes_max })?;
                write_record(conversion, labels, entry, scope);
                Ok(())
            })
        })
    })?;
    Ok(encoder.finish())
}

fn size_guess(labels: &LabelSet, entry: &Entry<'_>) -> usize {
    let pair = |name: &str, value: &str| name.len() + value.len() + ATTRIBUTE_BYTES;
    let labels: usize = labels.iter().map(|(name, value)| pair(name, value)).sum();
    let metadata: usize = entry.structured_metadata.iter().map(|(name, value)| pair(name, value)).sum();
    RECORD_BYTES + entry.line.len() + labels + metadata
}

fn write_record(conversion: &Conversion, labels: &LabelSet, entry: &Entry<'_>, scope: &mut ScopeLogsWriter<'_>) {
    let received = conversion.received_unix_ns;
    let time = match (conversion.timestamps, entry.timestamp_unix_ns) {
        (Timestamps::OfReceipt, _) | (Timestamps::Incoming, 0) => received,
        (Timestamps::Incoming, time) => time,
    };
    scope.log_record(|record| {
        record.time_unix_nano(time).observed_time_unix_nano(received);
        record.body().string(&entry.line);
        let mut attributes = record.attributes();
        for (name, value) in labels.iter().filter(|(name, _)| !name.starts_with("__")) {
            attributes.string(name, value);
        }
        // Attributes are unique: of equal names, the first one counts.
        let mut seen = HashSet::new();
        for (name, value) in &entry.structured_metadata {
            let mut name = Cow::Borrowed(&**name);
            while labels.get(&name).is_some() {
                name.to_mut().push_str("_extracted");
            }
            if seen.insert(name.clone()) {
                attributes.string(&name, value);
            }
        }
    });
}
