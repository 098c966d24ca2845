//! Records as a batch.

use otlp::Batch;
use otlp::encode::{LogRecordWriter, LogsEncoder};

use super::entry::{Entry, Value};

/// How many blocks are looked through for one with the resource and the scope of a record.
const LOOKED_AT_MAX: usize = 16;

/// A batch with these records, in their order; those with one resource and scope stand together.
pub(crate) fn batch(entries: &[Entry]) -> Batch {
    let mut blocks: Vec<Vec<&Entry>> = Vec::new();
    for entry in entries {
        let recent = blocks.len().saturating_sub(LOOKED_AT_MAX);
        let is_same = |block: &&mut Vec<&Entry>| {
            block.first().is_some_and(|of| of.resource == entry.resource && of.scope_name == entry.scope_name)
        };
        match blocks[recent..].iter_mut().rev().find(is_same) {
            Some(block) => block.push(entry),
            None => blocks.push(vec![entry]),
        }
    }
    let mut encoder = LogsEncoder::new();
    for block in &blocks {
        let Some(first) = block.first() else { continue };
        encoder.resource_logs(|resource_logs| {
            resource_logs.resource(|resource| {
                let mut attributes = resource.attributes();
                for (key, value) in pairs(&first.resource) {
                    value.write(attributes.value(key));
                }
            });
            resource_logs.scope_logs(|scope_logs| {
                if !first.scope_name.is_empty() {
                    scope_logs.scope(|scope| {
                        scope.name(&first.scope_name);
                    });
                }
                for entry in block {
                    scope_logs.log_record(|record| write(record, entry));
                }
            });
        });
    }
    encoder.finish()
}

fn pairs(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let values = match map {
        Value::Map(values) => Some(values),
        _ => None,
    };
    values.into_iter().flatten()
}

fn write(record: &mut LogRecordWriter<'_>, entry: &Entry) {
    record
        .time_unix_nano(entry.time_unix_ns)
        .observed_time_unix_nano(entry.observed_unix_ns)
        .severity_number(entry.severity_number)
        .severity_text(&entry.severity_text);
    if entry.body != Value::Null {
        entry.body.write(record.body());
    }
    let mut attributes = record.attributes();
    for (key, value) in pairs(&entry.attributes) {
        value.write(attributes.value(key));
    }
    record.flags(entry.flags);
    if let Some(trace_id) = entry.trace_id {
        record.trace_id(trace_id);
    }
    if let Some(span_id) = entry.span_id {
        record.span_id(span_id);
    }
}
