//! Lines of log backends as records: the labels of their stream are the resource, what else is known of them the
//! attributes of the record.

use std::borrow::Cow;
use std::collections::BTreeMap;

use otlp::Batch;
use otlp::encode::LogsEncoder;

/// A batch has so many records at most.
const BATCH_RECORDS_MAX: usize = 5000;

/// Labels by their names.
pub(super) type Labels<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// A line with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) time_unix_ns: u64,
    pub(super) text: Cow<'a, str>,
    pub(super) fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// The lines of one stream as batches.
pub(super) fn batches(labels: &Labels<'_>, lines: &[Line<'_>]) -> Vec<Batch> {
    lines.chunks(BATCH_RECORDS_MAX).map(|lines| batch(labels, lines)).collect()
}

fn batch(labels: &Labels<'_>, lines: &[Line<'_>]) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.resource(|resource| {
            labels.iter().for_each(|(name, value)| {
                resource.attributes().string(name, value);
            });
        });
        block.scope_logs(|scope| {
            for line in lines {
                scope.log_record(|record| {
                    record.time_unix_nano(line.time_unix_ns).body().string(&line.text);
                    line.fields.iter().for_each(|(name, value)| {
                        record.attributes().string(name, value);
                    });
                });
            }
        });
    });
    encoder.finish()
}
