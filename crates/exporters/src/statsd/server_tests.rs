//! What is sent, read by a StatsD server: whatever names and attributes are, no line is malformed, and what counters add
//! up to is what the sums were.

use std::collections::BTreeMap;

use aggregation::statsd::{Dialect, Settings as ServerSettings, Shard, Source, Store};
use component::Exporter;
use legacy::lines::{PointData, for_each_point};
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue, Temporality};
use proptest::prelude::*;

use super::tests::exporter;

const DIALECTS: [(&str, Dialect); 4] = [
    ("dogstatsd", Dialect::Dogstatsd),
    ("etsy", Dialect::Etsy),
    ("graphite", Dialect::Auto),
    ("influx", Dialect::Auto),
];

/// What a server has of the packets of a batch: sums, and gauges by name.
fn served(exporter: &dyn Exporter, batch: &Batch, dialect: Dialect) -> (f64, BTreeMap<String, Vec<f64>>) {
    let mut settings = ServerSettings::default();
    settings.dialect = dialect;
    let settings = std::sync::Arc::new(settings);
    let (mut shard, mut store) = (Shard::new(settings.clone()), Store::new(settings, 1));
    let encoded = exporter.encode(batch);
    assert!(encoded.rejected.is_empty(), "{:?}", encoded.rejected);
    for request in &encoded.requests {
        let report = shard.packet(&request.body, Source::Local, 2);
        assert_eq!(report.malformed.total(), 0, "{:?}", report.first_malformed);
    }
    store.merge(shard.take());
    let (mut sum, mut gauges) = (0.0, BTreeMap::<String, Vec<f64>>::new());
    let number = |value: Option<NumberValue>| match value {
        Some(NumberValue::Int(value)) => value as f64,
        Some(NumberValue::Double(value)) => value,
        None => panic!("a point without a value"),
    };
    for batch in store.flush(3).metrics {
        for_each_point(&batch, |point| match point.data {
            PointData::Sum { point, .. } => sum += number(point.value()),
            PointData::Gauge(value) => {
                gauges.entry(point.metric.name().to_owned()).or_default().push(number(value.value()));
            }
            _ => panic!("{} is of another kind", point.metric.name()),
        });
    }
    (sum, gauges)
}

/// Counters and gauges with one name and these attributes.
fn batch(name: &str, attributes: &BTreeMap<String, String>, counts: &[u32], level: f64) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name(name).sum(|sum| {
                    for (index, count) in counts.iter().enumerate() {
                        sum.point(|point| {
                            point.time_unix_nano(1).value(NumberValue::Int(i64::from(*count)));
                            point.attributes().int("index", index as i64);
                            attributes.iter().for_each(|(key, value)| {
                                point.attributes().string(key, value);
                            });
                        });
                    }
                    sum.temporality(Temporality::Delta).is_monotonic(true);
                });
            });
            scope.metric(|metric| {
                metric.name("level").gauge(|gauge| {
                    gauge.point(|point| {
                        point.time_unix_nano(1).value(NumberValue::Double(level));
                    });
                });
            });
        });
    });
    encoder.finish()
}

proptest! {
    #[test]
    fn a_server_understands_every_line_and_counts_the_same(
        name in "[\\PC\n\r|:@#,;=\\[\\]{} ]{1,12}",
        attributes in prop::collection::btree_map("[\\PC\n\r|:@#,;= ]{0,6}", "[\\PC\n\r|:@#,;= ]{0,6}", 0..4),
        counts in prop::collection::vec(any::<u32>(), 1..20),
        level in -1e9..1e9f64,
    ) {
        let batch = batch(&name, &attributes, &counts, level);
        let expected: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        for (dialect, server) in DIALECTS {
            let exporter = exporter(&format!("{{dialect: {dialect}}}"));
            let (sum, gauges) = served(&*exporter, &batch, server);
            prop_assert_eq!(sum, expected, "{}", dialect);
            prop_assert_eq!(&gauges["level"], &vec![level], "{}", dialect);
        }
    }
}

#[test]
fn no_metric_is_taken_for_an_event_or_a_service_check() {
    for name in ["_e{1,1}", "_sc", "_e"] {
        let (sum, _) = served(&*exporter("{}"), &batch(name, &BTreeMap::new(), &[3], 1.0), Dialect::Dogstatsd);
        assert_eq!(sum, 3.0, "{name}");
    }
}
