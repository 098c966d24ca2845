//! What is written is read as the same, and what is read is written as the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use legacy::carbon::{Parser, ResourceTags};
use legacy::influx::{FieldValue, LineWriter, Lines, Point, Precision, Schema};
use otlp::encode::{AttributesWriter, MetricsEncoder};
use otlp::{Batch, NumberValue, Temporality};
use proptest::prelude::*;

use crate::{read_carbon, read_influx, write_carbon, write_influx};

// === Lines of InfluxDB's ===

/// Names as they can be written: without control characters, and not with a backslash at the end.
fn name() -> impl Strategy<Value = String> {
    "[ -~é\u{1F600}]{1,8}"
        .prop_map(|text| text.trim_end_matches('\\').to_owned())
        .prop_filter("a name", |text| !text.is_empty())
}

fn field_value() -> impl Strategy<Value = FieldValue<'static>> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(FieldValue::Float),
        any::<i64>().prop_map(FieldValue::Int),
        any::<u64>().prop_map(FieldValue::UInt),
        any::<bool>().prop_map(FieldValue::Bool),
        "[\\PC\n\r\"\\\\]{0,12}".prop_map(|text| FieldValue::String(Cow::Owned(text))),
    ]
}

fn point() -> impl Strategy<Value = Point<'static>> {
    let measurement = name().prop_filter("no comment", |name| !name.starts_with('#'));
    let tags = prop::collection::btree_map(name(), name(), 0..4);
    let fields = prop::collection::vec((name(), field_value()), 1..4);
    (measurement, tags, fields, any::<Option<i64>>()).prop_map(|(measurement, tags, fields, timestamp)| Point {
        measurement: measurement.into(),
        tags: tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        timestamp,
    })
}

proptest! {
    #[test]
    fn lines_are_read_as_they_were_written(points in prop::collection::vec(point(), 0..5)) {
        // Blanks before a measurement belong to no name.
        let points: Vec<_> = points.into_iter().filter(|point| !point.measurement.starts_with(' ')).collect();
        let mut writer = LineWriter::new();
        for point in &points {
            writer.point(point).unwrap();
        }
        let read: Vec<Point<'_>> = Lines::new(writer.as_str().as_bytes()).map(|line| line.unwrap().1).collect();
        prop_assert_eq!(read, points);
    }

    #[test]
    fn whatever_the_names_are_a_point_is_one_line(measurement in "\\PC{1,6}|[#\n\r\\\\ ,=]{1,6}", key in "[\n\r\\\\ ,=a]{1,6}", value in "[\n\r\\\\ ,=a]{1,6}") {
        let point = Point {
            measurement: measurement.into(),
            tags: vec![(key.into(), value.into())],
            fields: vec![("f".into(), FieldValue::Int(1))],
            timestamp: None,
        };
        let mut writer = LineWriter::new();
        writer.point(&point).unwrap();
        prop_assert_eq!(writer.as_str().lines().count(), 1);
        let read: Vec<_> = Lines::new(writer.as_str().as_bytes()).collect();
        prop_assert!(matches!(&read[..], [Ok((1, point))] if point.tags.len() == 1 && point.fields.len() == 1), "{:?}", read);
    }
}

// === Metrics ===

#[derive(Clone, Debug)]
enum Data {
    Gauge(NumberValue),
    Sum(NumberValue),
    /// Bounds and counts; the last count is beyond all bounds.
    Histogram(Vec<(i32, u32)>, u32, Option<(f64, f64)>),
    Summary(Vec<(u8, f64)>, u32),
}

#[derive(Clone, Debug)]
struct Metric {
    name: String,
    attributes: BTreeMap<String, String>,
    time_unix_ns: u64,
    data: Data,
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |value| value.is_finite())
}

fn number() -> impl Strategy<Value = NumberValue> {
    prop_oneof![any::<i64>().prop_map(NumberValue::Int), finite().prop_map(NumberValue::Double)]
}

fn data() -> impl Strategy<Value = Data> {
    let buckets = prop::collection::btree_map(2..1000i32, any::<u32>(), 0..5).prop_map(|map| map.into_iter().collect());
    let quantiles = prop::collection::btree_map(0..=100u8, finite(), 1..4).prop_map(|map| map.into_iter().collect());
    prop_oneof![
        number().prop_map(Data::Gauge),
        number().prop_map(Data::Sum),
        (buckets, any::<u32>(), any::<Option<(i32, i32)>>()).prop_map(|(buckets, rest, range)| {
            Data::Histogram(buckets, rest, range.map(|(min, max)| (f64::from(min), f64::from(max))))
        }),
        (quantiles, any::<u32>()).prop_map(|(quantiles, count)| Data::Summary(quantiles, count)),
    ]
}

/// Metrics of one point each, in the order that a reader puts them in.
fn metrics() -> impl Strategy<Value = Vec<Metric>> {
    let attributes = prop::collection::btree_map("[a-c]{1,2}", "[a-c ,=\\\\é]{1,3}x", 0..3);
    let one = (attributes, 1_000_000_000..i64::MAX as u64, data());
    prop::collection::btree_map("m[a-d.]{1,3}x", one, 0..4).prop_map(|named| {
        let metric = |(name, (attributes, time_unix_ns, data))| Metric { name, attributes, time_unix_ns, data };
        named.into_iter().map(metric).collect()
    })
}

fn encode(metrics: &[Metric]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    if metrics.is_empty() {
        return encoder.finish();
    }
    encoder.resource_metrics(|block| {
        block.resource(|resource| {
            resource.attributes().string("service.name", "shop");
        });
        block.scope_metrics(|scope| {
            scope.scope(|scope| {
                scope.name("lib").version("1");
            });
            for metric in metrics {
                scope.metric(|writer| encode_metric(writer, metric));
            }
        });
    });
    encoder.finish()
}

fn attributes(metric: &Metric, mut to: AttributesWriter<'_>) {
    for (key, value) in &metric.attributes {
        to.string(key, value);
    }
}

fn encode_metric(writer: &mut otlp::encode::MetricWriter<'_>, metric: &Metric) {
    writer.name(&metric.name);
    let (start, time) = (7, metric.time_unix_ns);
    match &metric.data {
        Data::Gauge(value) => writer.gauge(|gauge| {
            gauge.point(|point| {
                point.start_time_unix_nano(start).time_unix_nano(time).value(*value);
                attributes(metric, point.attributes());
            });
        }),
        Data::Sum(value) => writer.sum(|sum| {
            sum.point(|point| {
                point.start_time_unix_nano(start).time_unix_nano(time).value(*value);
                attributes(metric, point.attributes());
            });
            sum.temporality(Temporality::Cumulative).is_monotonic(true);
        }),
        Data::Histogram(buckets, rest, range) => writer.histogram(|histogram| {
            histogram.point(|point| {
                let counts = buckets.iter().map(|(_, count)| u64::from(*count)).chain([u64::from(*rest)]);
                point.start_time_unix_nano(start).time_unix_nano(time).count(counts.clone().sum()).sum(1.5);
                point.bucket_counts(counts).explicit_bounds(buckets.iter().map(|(bound, _)| f64::from(*bound)));
                if let Some((min, max)) = range {
                    point.min(*min).max(*max);
                }
                attributes(metric, point.attributes());
            });
            histogram.temporality(Temporality::Cumulative);
        }),
        Data::Summary(quantiles, count) => writer.summary(|summary| {
            summary.point(|point| {
                point.start_time_unix_nano(start).time_unix_nano(time).count(u64::from(*count)).sum(2.5);
                for (percent, value) in quantiles {
                    point.quantile(|quantile| {
                        quantile.quantile(f64::from(*percent) / 100.0).value(*value);
                    });
                }
                attributes(metric, point.attributes());
            });
        }),
    }
}

/// A batch as JSON, in which numbers are what they are whatever their type.
fn described(batch: &Batch) -> String {
    let mut text = Vec::new();
    otlp::json::encode(batch, &mut text);
    String::from_utf8(text).unwrap()
}

proptest! {
    #[test]
    fn the_first_schema_of_influxdb_keeps_metrics_as_they_are(metrics in metrics()) {
        let batch = encode(&metrics);
        let (lines, refused) = write_influx(&batch, Schema::TelegrafPrometheusV1);
        prop_assert_eq!(refused.total(), 0);
        let (read, faults) = read_influx(Precision::Nanoseconds, lines.as_bytes());
        prop_assert_eq!(faults, Vec::<String>::new());
        prop_assert_eq!(described(&read), described(&batch), "{}", lines);
    }

    #[test]
    fn the_second_schema_of_influxdb_loses_only_that_a_sum_is_one(mut metrics in metrics()) {
        let batch = encode(&metrics);
        let (lines, refused) = write_influx(&batch, Schema::TelegrafPrometheusV2);
        prop_assert_eq!(refused.total(), 0);
        let (read, faults) = read_influx(Precision::Nanoseconds, lines.as_bytes());
        prop_assert_eq!(faults, Vec::<String>::new());
        for metric in &mut metrics {
            if let Data::Sum(value) = metric.data {
                metric.data = Data::Gauge(value);
            }
        }
        prop_assert_eq!(described(&read), described(&encode(&metrics)), "{}", lines);
    }

    #[test]
    fn what_graphite_s_lines_say_is_written_as_the_same_lines(metrics in metrics()) {
        let (lines, refused) = write_carbon(&encode(&metrics), ResourceTags::All);
        prop_assert_eq!(refused.total(), 0);
        let (read, faults) = read_carbon(&Parser::plaintext(), lines.as_bytes());
        prop_assert_eq!(faults, Vec::<String>::new());
        let (again, _) = write_carbon(&read, ResourceTags::None);
        let sorted = |lines: &str| {
            let mut lines: Vec<String> = lines.lines().map(sorted_tags).collect();
            lines.sort();
            lines
        };
        prop_assert_eq!(sorted(&again), sorted(&lines));
    }
}

/// A line with its tags in order: `upper_bound` comes last where it is written.
fn sorted_tags(line: &str) -> String {
    let (path, rest) = line.split_once(' ').unwrap();
    let mut parts: Vec<&str> = path.split(';').collect();
    parts[1..].sort_unstable();
    format!("{} {rest}", parts.join(";"))
}
