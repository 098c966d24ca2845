//! Finds the samples of a remote write request, and whose they are.
//!
//! Specification: <https://prometheus.io/docs/specs/prw/remote_write_spec/>, `prometheus.WriteRequest` of version 1.0.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use otlp::wire::{FieldValue, Fields};
use prom::text::is_stale_nan;

use crate::identity::{Identity, RUN_LABEL, WORKER_LABEL};

/// Two different series with one hash would count as out of order once in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesKey(pub(super) u64);

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) series: SeriesKey,
    pub(super) timestamp_ms: i64,
    /// Of a native histogram, its count.
    pub(super) value: f64,
    pub(super) identity: Option<Identity>,
}

impl Sample {
    pub(super) fn is_staleness_marker(&self) -> bool {
        is_stale_nan(self.value)
    }
}

/// What a request holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples {
    pub(super) samples: Vec<Sample>,
    /// Label sets that are not sorted, not unique, or without a name: a strict receiver refuses them.
    pub(super) invalid_label_sets: u32,
}

/// Walks over a request.
pub(super) fn samples(request: &[u8]) -> Samples {
    let hasher = FixedState::with_seed(0);
    let mut found = Samples::default();
    for field in Fields::new(request) {
        if let (1, FieldValue::Length(series)) = (field.number, field.value) {
            read_series(series, &hasher, &mut found);
        }
    }
    found
}

/// `TimeSeries`: the labels, then the samples, as all known encoders write it.
fn read_series(series: &[u8], hasher: &FixedState, found: &mut Samples) {
    let labels = Labels::read(series, hasher);
    found.invalid_label_sets += u32::from(!labels.is_valid());
    for field in Fields::new(series) {
        let FieldValue::Length(message) = field.value else { continue };
        let (value, timestamp_ms) = match field.number {
            2 => read_sample(message),
            4 => read_histogram(message),
            _ => continue,
        };
        let identity = labels.identity(value);
        found.samples.push(Sample { series: labels.key, timestamp_ms, value, identity });
    }
}

/// `Sample`: value and timestamp.
fn read_sample(message: &[u8]) -> (f64, i64) {
    let (mut value, mut timestamp_ms) = (0.0, 0);
    for field in Fields::new(message) {
        match field.number {
            1 => value = field.value.double(),
            2 => timestamp_ms = field.value.varint() as i64,
            _ => {}
        }
    }
    (value, timestamp_ms)
}

/// `Histogram`: the count, as an integer or a double; a staleness marker is in the sum.
fn read_histogram(message: &[u8]) -> (f64, i64) {
    let (mut count, mut sum, mut timestamp_ms) = (0.0, 0.0, 0);
    for field in Fields::new(message) {
        match field.number {
            1 => count = field.value.varint() as f64,
            2 => count = field.value.double(),
            3 => sum = field.value.double(),
            15 => timestamp_ms = field.value.varint() as i64,
            _ => {}
        }
    }
    (if is_stale_nan(sum) { sum } else { count }, timestamp_ms)
}

/// What the labels of a series tell.
struct Labels<'a> {
    key: SeriesKey,
    run: &'a [u8],
    worker: &'a [u8],
    name: &'a [u8],
    has_bound: bool,
    is_sorted: bool,
}

impl<'a> Labels<'a> {
    fn read(series: &'a [u8], hasher: &FixedState) -> Self {
        let mut hash = hasher.build_hasher();
        let mut last: &[u8] = &[];
        let mut labels =
            Labels { key: SeriesKey(0), run: &[], worker: &[], name: &[], has_bound: false, is_sorted: true };
        for field in Fields::new(series) {
            let (1, FieldValue::Length(message)) = (field.number, field.value) else { continue };
            hash.write_usize(message.len());
            hash.write(message);
            let (name, value) = read_label(message);
            labels.is_sorted &= last < name;
            last = name;
            match name {
                b"__name__" => labels.name = value,
                b"le" | b"quantile" => labels.has_bound = true,
                _ if name == RUN_LABEL.as_bytes() => labels.run = value,
                _ if name == WORKER_LABEL.as_bytes() => labels.worker = value,
                _ => {}
            }
        }
        labels.key = SeriesKey(hash.finish());
        labels
    }

    fn is_valid(&self) -> bool {
        self.is_sorted && !self.name.is_empty()
    }

    /// Of the samples that a histogram becomes, only the count has the identity of its data point.
    fn identity(&self, value: f64) -> Option<Identity> {
        if self.run.is_empty() || self.has_bound || self.name.ends_with(b"_sum") || self.name.ends_with(b"_created") {
            return None;
        }
        Identity::of_point(self.run, self.worker, value)
    }
}

fn read_label(message: &[u8]) -> (&[u8], &[u8]) {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::new(message) {
        match field.number {
            1 => name = field.value.bytes(),
            2 => value = field.value.bytes(),
            _ => {}
        }
    }
    (name, value)
}

#[cfg(test)]
pub(super) mod tests {
    use otlp::wire::{write_bytes_field, write_double_field, write_varint_field};
    use prom::text::STALE_NAN;

    use super::*;

    /// Appends a series with one sample to a request.
    pub(in crate::receive) fn write_series(out: &mut Vec<u8>, labels: &[(&str, &str)], value: f64, timestamp_ms: i64) {
        let mut series = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            write_bytes_field(&mut label, 1, name.as_bytes());
            write_bytes_field(&mut label, 2, value.as_bytes());
            write_bytes_field(&mut series, 1, &label);
        }
        let mut sample = Vec::new();
        write_double_field(&mut sample, 1, value);
        write_varint_field(&mut sample, 2, timestamp_ms as u64);
        write_bytes_field(&mut series, 2, &sample);
        write_bytes_field(out, 1, &series);
    }

    const WHO: [(&str, &str); 2] = [(RUN_LABEL, "00000007"), (WORKER_LABEL, "0002")];

    fn check(labels: &[(&str, &str)], value: f64, sequence: Option<u64>) {
        let mut request = Vec::new();
        write_series(&mut request, labels, value, 1_700_000_000_000);
        let found = samples(&request).samples;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].timestamp_ms, 1_700_000_000_000);
        assert_eq!(found[0].identity.map(|identity| identity.sequence), sequence, "{labels:?}");
    }

    #[test]
    fn the_value_of_a_sample_is_its_sequence_number() {
        let [run, worker] = WHO;
        check(&[("__name__", "load_queue_length"), run, worker], 42.0, Some(42));
        check(&[("__name__", "http_seconds_count"), run, worker], 42.0, Some(42));
        check(&[("__name__", "http_seconds_sum"), run, worker], 42.0, None);
        check(&[("__name__", "http_seconds_bucket"), ("le", "+Inf"), run, worker], 42.0, None);
        check(&[("__name__", "up")], 1.0, None);
        check(&[("__name__", "load_queue_length"), run, worker], STALE_NAN, None);
    }

    #[test]
    fn a_series_is_known_by_its_labels() {
        let mut request = Vec::new();
        write_series(&mut request, &[("__name__", "a"), ("b", "c")], 1.0, 1);
        write_series(&mut request, &[("__name__", "a"), ("b", "c")], 2.0, 2);
        write_series(&mut request, &[("__name__", "a"), ("bc", "")], 2.0, 2);
        let found = samples(&request);
        assert_eq!(found.samples[0].series, found.samples[1].series);
        assert_ne!(found.samples[0].series, found.samples[2].series);
        assert_eq!(found.invalid_label_sets, 0);
    }

    #[test]
    fn label_sets_that_a_strict_receiver_refuses_are_counted() {
        let mut request = Vec::new();
        write_series(&mut request, &[("b", "c"), ("__name__", "a")], 1.0, 1);
        write_series(&mut request, &[("b", "c")], 1.0, 1);
        write_series(&mut request, &[("__name__", "a"), ("b", "c"), ("b", "d")], 1.0, 1);
        assert_eq!(samples(&request).invalid_label_sets, 3);
    }

    #[test]
    fn bytes_that_are_no_request_do_no_harm() {
        for len in 0..64 {
            samples(&vec![0x0a; len]);
            samples(&vec![0xff; len]);
        }
    }
}
