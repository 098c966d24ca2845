//! The converter against a plain reference, and case by case.
#![allow(missing_docs, clippy::unwrap_used)]

mod cases;
mod generate;
mod natives;
mod read;
mod reference;

use otlp::{Batch, Limits, Signal};
use prom::write::proto::{Label, TimeSeries, WriteRequest};
use prom::write::{Converter, Metadata, Partition, Request, Settings};
use proptest::prelude::*;
use prost::Message;

use reference::Reference;

type MetricsRequest = opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

fn batch(request: &MetricsRequest) -> Batch {
    Batch::parse(Signal::Metrics, request.encode_to_vec().into(), &Limits::default()).expect("a valid request")
}

fn decode(request: &Request) -> WriteRequest {
    WriteRequest::decode(request.body.as_slice()).expect("a valid write request")
}

/// All series of requests, in their order.
fn series(requests: &[Request]) -> Vec<TimeSeries> {
    requests.iter().flat_map(|request| decode(request).timeseries).collect()
}

/// One line for each series, with floats by their bits: the staleness marker is a NaN, and NaN is unequal to itself.
fn describe(series: &[TimeSeries]) -> Vec<String> {
    let bits = |value: f64| format!("{value:?}={:x}", value.to_bits());
    let labels = |labels: &[Label]| {
        labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect::<Vec<_>>().join(",")
    };
    let one = |series: &TimeSeries| {
        let mut line = format!("{{{}}}", labels(&series.labels));
        for sample in &series.samples {
            line += &format!(" {}@{}", bits(sample.value), sample.timestamp);
        }
        for exemplar in &series.exemplars {
            line += &format!(" # {{{}}} {}@{}", labels(&exemplar.labels), bits(exemplar.value), exemplar.timestamp);
        }
        for histogram in &series.histograms {
            line += &format!(" {} {} {histogram:?}", bits(histogram.sum), bits(histogram.zero_threshold));
        }
        line
    };
    series.iter().map(one).collect()
}

const ONE_LANE: Partition = Partition { lanes: 1, lane_items_min: 1, size_bytes_max: usize::MAX };

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_series_is_the_references(requests in prop::collection::vec(generate::request(), 1..4), settings in generate::settings()) {
        // One converter for all: what it remembers must not change what it writes.
        let mut converter = Converter::new(settings.clone(), ONE_LANE);
        for request in &requests {
            let batch = batch(request);
            let refused = converter.append(&batch, Metadata::Send);
            let made = converter.take();
            // As it arrives: the library leaves a negative zero out, as if it were a zero.
            let arrived = MetricsRequest::decode(batch.bytes().clone()).expect("a valid request");
            let expected = Reference::convert(&arrived, &settings);
            let (left, right) = (describe(&series(&made)), describe(&expected.series));
            for (left, right) in left.iter().zip(&right) {
                prop_assert_eq!(left, right);
            }
            prop_assert_eq!(left.len(), right.len());
            prop_assert_eq!(refused.iter().collect::<Vec<_>>(), expected.refused());
            let items: u32 = made.iter().map(|request| request.items).sum();
            prop_assert_eq!(items + refused.total(), batch.items());
            let metadata: Vec<_> = made.iter().flat_map(|request| decode(request).metadata).collect();
            prop_assert_eq!(metadata, expected.metadata);
        }
    }

    #[test]
    fn lanes_and_sizes_only_distribute(
        request in generate::request(),
        settings in generate::settings(),
        lanes in 1..6_u32,
        size_bytes_max in prop_oneof![Just(1_usize), 200..3000_usize],
    ) {
        let batch = batch(&request);
        let mut converter = Converter::new(settings.clone(), Partition { lanes, lane_items_min: 1, size_bytes_max });
        let refused = converter.append(&batch, Metadata::Omit);
        let made = converter.take();
        let mut whole = Converter::new(settings, ONE_LANE);
        whole.append(&batch, Metadata::Omit);
        let whole = series(&whole.take());

        let mut left = describe(&series(&made));
        let mut right = describe(&whole);
        left.sort();
        right.sort();
        prop_assert_eq!(left, right);
        prop_assert_eq!(made.iter().map(|request| request.items).sum::<u32>() + refused.total(), batch.items());
        let counted = made.iter().all(|request| decode(request).timeseries.len() == request.series as usize);
        prop_assert!(counted);
        prop_assert!(made.iter().all(|request| request.lane < lanes));
        // The samples of a series lie in one lane, in the order in which they came.
        for one in &whole {
            let samples_of = |all: &[TimeSeries]| -> Vec<TimeSeries> {
                all.iter().filter(|other| other.labels == one.labels).cloned().collect()
            };
            let lanes_of: Vec<u32> = made
                .iter()
                .filter(|request| decode(request).timeseries.iter().any(|other| other.labels == one.labels))
                .map(|request| request.lane)
                .collect();
            let is_shared = generate::may_come_from_several_metrics(one);
            prop_assert!(is_shared || lanes_of.windows(2).all(|pair| pair[0] == pair[1]), "{lanes_of:?} {one:?}");
            if !is_shared {
                prop_assert_eq!(describe(&samples_of(&series(&made))), describe(&samples_of(&whole)));
            }
        }
    }
}

#[test]
fn damaged_batches_never_panic() {
    let mut random = fastrand::Rng::with_seed(0x77);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut converter = Converter::new(Settings::default(), Partition::default());
    for _ in 0..300 {
        let tree = generate::request().new_tree(&mut runner).expect("a request");
        let bytes = proptest::strategy::ValueTree::current(&tree).encode_to_vec();
        for _ in 0..20 {
            let mut bytes = bytes.clone();
            for _ in 0..=random.usize(..4) {
                if bytes.is_empty() {
                    break;
                }
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at),
                }
            }
            // Not even the walk at the door stands between: views promise never to panic, and so does the converter.
            converter.append(&Batch::from_trusted(Signal::Metrics, bytes.into(), 0), Metadata::Send);
            let size: usize = converter.take().iter().map(|request| request.body.len()).sum();
            assert!(size < 1 << 24, "{size} bytes");
        }
    }
}
