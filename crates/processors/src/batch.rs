//! `batch`: how records are put together behind the journal, where no acknowledgement waits for it and no error is
//! hidden from a sender.

use std::time::Duration;

use component::{BatchLimits, BuiltProcessor, ProcessorFactory};
use config::Section;
use otlp::Signal;

/// Makes `batch` processors.
pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "batch", aliases: &[], signals: &Signal::ALL, build: |section, _| build(section) };

fn build(section: &mut Section<'_>) -> Option<BuiltProcessor> {
    let items_min = section.get("send_batch_size").integer::<u32>().or(8192);
    let items_max = section.get("send_batch_max_size").integer::<u32>().or(0);
    let delay_max = section.get("timeout").duration().or(Duration::from_millis(200));
    section.unsupported("metadata_keys", "batches apart by the metadata of requests");
    section.without_effect("metadata_cardinality_limit", "it bounds `metadata_keys`, which are not built yet");
    if items_max != 0 && items_max < items_min {
        section.error("send_batch_max_size", format!("{items_max} is below `send_batch_size` ({items_min})"));
        return None;
    }
    // Without a time to wait, whatever is there is sent at once, however little.
    let items_min = if delay_max.is_zero() { 0 } else { u64::from(items_min) };
    Some(BuiltProcessor::Batching(BatchLimits { items_min, bytes_min: 0, items_max, bytes_max: 0, delay_max }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{build_error, build_with};

    fn check(yaml: &str, items_min: u64, items_max: u32, delay_ms: u64) {
        let Some(BuiltProcessor::Batching(limits)) = build_with(&FACTORY, yaml) else { panic!("no limits: {yaml}") };
        let delay_max = Duration::from_millis(delay_ms);
        assert_eq!(limits, BatchLimits { items_min, bytes_min: 0, items_max, bytes_max: 0, delay_max });
    }

    #[test]
    fn defaults_are_the_collectors() {
        check("", 8192, 0, 200);
        check("metadata_keys: []", 8192, 0, 200);
    }

    #[test]
    fn every_option_is_taken() {
        check("{send_batch_size: 10000, send_batch_max_size: 11000, timeout: 10s}", 10_000, 11_000, 10_000);
    }

    #[test]
    fn without_a_size_or_a_time_batches_go_out_at_once() {
        check("send_batch_size: 0", 0, 0, 200);
        check("timeout: 0s", 0, 0, 0);
        check("{send_batch_size: 0, send_batch_max_size: 100}", 0, 100, 200);
    }

    #[test]
    fn a_largest_size_below_the_usual_one_is_refused() {
        let error = build_error(&FACTORY, "{send_batch_size: 100, send_batch_max_size: 99}");
        assert_eq!(error, "processors.it.send_batch_max_size: 99 is below `send_batch_size` (100) (c.yaml:1:45)");
    }

    #[test]
    fn batches_by_metadata_are_not_built_yet() {
        let error = build_error(&FACTORY, "metadata_keys: [tenant]");
        assert!(error.contains("not built yet: batches apart by the metadata of requests"), "{error}");
    }
}
