//! Taking some resources out of a batch and leaving the others, as bytes.

use bytes::Bytes;

use crate::view::{ResourceLogsView, ResourceMetricsView, ResourceSpansView, ResourceView};
use crate::wire::{FieldValue, Fields, write_bytes_field};
use crate::{Batch, Signal};

/// The field of a request that holds its resources.
const RESOURCE_BLOCKS: u32 = 1;

/// The batch with the resources that `keep` says yes to; everything in them, and unknown fields of the request, is as
/// it was. `None`: nothing is left.
///
/// ```
/// # use otlp::{Batch, Signal};
/// let batch = Batch::empty(Signal::Traces);
/// assert!(otlp::retain_resources(&batch, |resource| resource.attributes().get("service.name").is_some()).is_none());
/// ```
pub fn retain_resources(batch: &Batch, keep: impl Fn(ResourceView<'_>) -> bool) -> Option<Batch> {
    let mut items = 0;
    let mut kept = Vec::new();
    let mut all = true;
    for field in Fields::new(batch.bytes()) {
        let block = match field.value {
            FieldValue::Length(block) if field.number == RESOURCE_BLOCKS => block,
            _ => {
                kept.extend_from_slice(&batch.bytes()[field.start..field.end]);
                continue;
            }
        };
        if keep(resource(batch.signal(), block)) {
            items += count(batch.signal(), block);
            write_bytes_field(&mut kept, RESOURCE_BLOCKS, block);
        } else {
            all = false;
        }
    }
    if all {
        return (batch.items() > 0).then(|| batch.clone());
    }
    let items = u32::try_from(items).unwrap_or(u32::MAX);
    (items > 0).then(|| Batch::from_trusted(batch.signal(), Bytes::from(kept), items))
}

fn resource(signal: Signal, block: &[u8]) -> ResourceView<'_> {
    match signal {
        Signal::Traces => ResourceSpansView::new(block).resource(),
        Signal::Metrics => ResourceMetricsView::new(block).resource(),
        Signal::Logs => ResourceLogsView::new(block).resource(),
    }
}

fn count(signal: Signal, block: &[u8]) -> usize {
    match signal {
        Signal::Traces => ResourceSpansView::new(block).scope_spans().map(|scope| scope.spans().count()).sum(),
        Signal::Metrics => {
            let metrics = ResourceMetricsView::new(block).scope_metrics().flat_map(|scope| scope.metrics());
            metrics.map(|metric| metric.data().points()).sum()
        }
        Signal::Logs => ResourceLogsView::new(block).scope_logs().map(|scope| scope.log_records().count()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::encode::LogsEncoder;

    fn batch(services: &[(&str, u32)]) -> Batch {
        let mut encoder = LogsEncoder::new();
        for (service, records) in services {
            encoder.resource_logs(|resource| {
                resource.resource(|resource| {
                    resource.attributes().string("service.name", service);
                });
                resource.scope_logs(|scope| {
                    for at in 0..*records {
                        scope.log_record(|record| {
                            record.time_unix_nano(u64::from(at) + 1);
                        });
                    }
                });
            });
        }
        encoder.finish()
    }

    fn check(services: &[(&str, u32)], keep: &str, expected: &[(&str, u32)]) {
        let kept = retain_resources(&batch(services), |resource| {
            resource.attributes().get("service.name").is_some_and(|name| name.to_text() == keep)
        });
        let expected = (!expected.is_empty()).then(|| batch(expected));
        assert_eq!(kept.as_ref().map(Batch::bytes), expected.as_ref().map(Batch::bytes));
        if let Some(kept) = kept {
            let parsed = Batch::parse(Signal::Logs, kept.bytes().clone(), &Limits::default()).unwrap();
            assert_eq!(parsed.items(), kept.items());
        }
    }

    #[test]
    fn some_resources_stay_as_they_are() {
        check(&[("a", 2), ("b", 3), ("a", 1)], "a", &[("a", 2), ("a", 1)]);
        check(&[("a", 2), ("b", 3)], "b", &[("b", 3)]);
    }

    #[test]
    fn a_batch_of_which_all_stays_is_the_same() {
        let whole = batch(&[("a", 2)]);
        assert_eq!(retain_resources(&whole, |_| true).unwrap().bytes().as_ptr(), whole.bytes().as_ptr());
    }

    #[test]
    fn nothing_is_left_of_a_batch_without_items() {
        check(&[("a", 2)], "b", &[]);
        check(&[("a", 0), ("b", 1)], "a", &[]);
    }
}
