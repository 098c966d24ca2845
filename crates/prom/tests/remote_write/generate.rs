//! Requests that provoke: keys that collide, empty values, every kind of metric, flags, exemplars.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prom::names::Strategy as Translation;
use prom::write::proto::TimeSeries;
use prom::write::{ResourceLabels, ScopeLabels, Settings, TargetInfo};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::MetricsRequest;

/// Whether data points of several metrics may have this series, so that its samples may lie in several lanes: `m_count`
/// is a gauge and a series of the histogram `m`.
pub(crate) fn may_come_from_several_metrics(series: &TimeSeries) -> bool {
    series.labels.iter().any(|label| match label.name.as_str() {
        "__name__" => ["_count", "_sum", "_bucket"].iter().any(|suffix| label.value.ends_with(suffix)),
        name => name == "le" || name == "quantile",
    })
}

fn key() -> impl Strategy<Value = String> {
    let usual = prop_oneof![
        Just("a"),
        Just("b.c"),
        Just("b_c"),
        Just("http.method"),
        Just("Zone"),
        Just("le"),
        Just("quantile"),
        Just("job"),
        Just("instance"),
        Just("region"),
        Just("__name__"),
        Just("otel.scope.name"),
        Just("5xx"),
        Just("é.x"),
        Just("same"),
    ];
    prop_oneof![60 => usual.prop_map(str::to_owned), 1 => Just(String::new()), 1 => Just("_".to_owned())]
}

fn value() -> impl Strategy<Value = Option<AnyValue>> {
    let text = prop_oneof![Just(String::new()), Just("x".to_owned()), Just("y\"z".to_owned()), "[a-z]{130}"];
    let value = prop_oneof![
        8 => text.prop_map(Value::StringValue),
        1 => any::<i64>().prop_map(Value::IntValue),
        1 => any::<bool>().prop_map(Value::BoolValue),
        1 => any::<f64>().prop_map(Value::DoubleValue),
        1 => vec(any::<u8>(), 0..4).prop_map(Value::BytesValue),
        1 => any::<i64>().prop_map(|number| {
            let values = vec![AnyValue { value: Some(Value::IntValue(number)) }];
            Value::ArrayValue(ArrayValue { values })
        }),
    ];
    option::weighted(0.97, value.prop_map(|value| AnyValue { value: Some(value) }))
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec((key(), value()), 0..4).prop_map(|pairs| {
        pairs.into_iter().map(|(key, value)| KeyValue { key, value, ..KeyValue::default() }).collect()
    })
}

/// Keys once each, as the specification wants them.
fn unique_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let service = prop_oneof![Just("service.name"), Just("service.namespace"), Just("service.instance.id")];
    let key = prop_oneof![key(), service.prop_map(str::to_owned)];
    btree_map(key, value(), 0..5).prop_map(|pairs| {
        pairs.into_iter().map(|(key, value)| KeyValue { key, value, ..KeyValue::default() }).collect()
    })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 9 => 1_600_000_000_000_000_000..1_800_000_000_000_000_000_u64]
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(0_u32), 1 => Just(1_u32)]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), (0..1000_u32).prop_map(f64::from), Just(0.0), Just(-0.0), Just(f64::NAN)]
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    let id = |size: usize| prop_oneof![Just(Vec::new()), Just(vec![0; size]), vec(any::<u8>(), size)];
    let value = option::of(prop_oneof![
        float().prop_map(exemplar::Value::AsDouble),
        any::<i64>().prop_map(exemplar::Value::AsInt)
    ]);
    let exemplar = (attributes(), time(), value, id(8), id(16)).prop_map(
        |(filtered_attributes, time_unix_nano, value, span_id, trace_id)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            value,
            span_id,
            trace_id,
        },
    );
    prop_oneof![3 => Just(Vec::new()), 1 => vec(exemplar, 1..4)]
}

fn numbers() -> impl Strategy<Value = Vec<NumberDataPoint>> {
    let value = option::weighted(
        0.95,
        prop_oneof![
            float().prop_map(number_data_point::Value::AsDouble),
            any::<i64>().prop_map(number_data_point::Value::AsInt)
        ],
    );
    let point = (attributes(), time(), value, flags(), exemplars()).prop_map(
        |(attributes, time_unix_nano, value, flags, exemplars)| NumberDataPoint {
            attributes,
            time_unix_nano,
            start_time_unix_nano: 5,
            value,
            flags,
            exemplars,
        },
    );
    vec(point, 0..4)
}

fn histograms() -> impl Strategy<Value = Vec<HistogramDataPoint>> {
    let bounds = prop_oneof![Just(vec![]), Just(vec![0.1, 1.0, 10.0]), vec(float(), 0..4)];
    let point =
        (attributes(), time(), 0..1000_u64, option::of(float()), bounds, vec(0..100_u64, 0..5), flags(), exemplars())
            .prop_map(|(attributes, time_unix_nano, count, sum, explicit_bounds, bucket_counts, flags, exemplars)| {
                HistogramDataPoint {
                    attributes,
                    time_unix_nano,
                    count,
                    sum,
                    explicit_bounds,
                    bucket_counts,
                    flags,
                    exemplars,
                    min: Some(1.0),
                    ..HistogramDataPoint::default()
                }
            });
    vec(point, 0..3)
}

fn buckets() -> impl Strategy<Value = Option<Buckets>> {
    let offset = prop_oneof![8 => -100..100_i32, 1 => Just(i32::MAX), 1 => Just(i32::MIN)];
    let counts = vec(prop_oneof![3 => Just(0_u64), 2 => 1..50_u64], 0..20);
    option::of((offset, counts).prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }))
}

fn exponential_histograms() -> impl Strategy<Value = Vec<ExponentialHistogramDataPoint>> {
    let scale = prop_oneof![-5..12_i32, Just(20), Just(i32::MAX)];
    let numbers = (0..1000_u64, 0..9_u64, option::weighted(0.9, float()), scale, prop_oneof![Just(0.0), Just(0.25)]);
    let point = (attributes(), time(), numbers, buckets(), buckets(), flags(), exemplars()).prop_map(
        |(attributes, time_unix_nano, numbers, positive, negative, flags, exemplars)| {
            let (count, zero_count, sum, scale, zero_threshold) = numbers;
            ExponentialHistogramDataPoint {
                attributes,
                time_unix_nano,
                count,
                zero_count,
                sum,
                scale,
                zero_threshold,
                positive,
                negative,
                flags,
                exemplars,
                ..ExponentialHistogramDataPoint::default()
            }
        },
    );
    vec(point, 0..3)
}

fn summaries() -> impl Strategy<Value = Vec<SummaryDataPoint>> {
    let quantile = (prop_oneof![Just(0.5), Just(0.99), Just(1.0)], float());
    let quantiles = vec(quantile.prop_map(|(quantile, value)| ValueAtQuantile { quantile, value }), 0..3);
    let point = (attributes(), time(), 0..1000_u64, float(), quantiles, flags()).prop_map(
        |(attributes, time_unix_nano, count, sum, quantile_values, flags)| SummaryDataPoint {
            attributes,
            time_unix_nano,
            count,
            sum,
            quantile_values,
            flags,
            ..SummaryDataPoint::default()
        },
    );
    vec(point, 0..3)
}

fn data() -> impl Strategy<Value = Option<Data>> {
    let temporality = || prop_oneof![8 => Just(2_i32), 1 => Just(1_i32), 1 => Just(0_i32)];
    prop_oneof![
        1 => Just(None),
        8 => numbers().prop_map(|data_points| Some(Data::Gauge(Gauge { data_points }))),
        8 => (numbers(), temporality(), any::<bool>()).prop_map(|(data_points, aggregation_temporality, is_monotonic)| {
            Some(Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }))
        }),
        8 => (histograms(), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Some(Data::Histogram(Histogram { data_points, aggregation_temporality }))
        }),
        6 => (exponential_histograms(), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Some(Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality }))
        }),
        6 => summaries().prop_map(|data_points| Some(Data::Summary(Summary { data_points }))),
    ]
}

fn metric() -> impl Strategy<Value = Metric> {
    let name =
        prop_oneof![Just("m"), Just("http.requests"), Just("http.requests.count"), Just("x"), Just(""), Just("@")];
    let unit = prop_oneof![Just(""), Just("s"), Just("1"), Just("By/s")];
    let types = prop_oneof![3 => Just(""), 1 => Just("info"), 1 => Just("unknown"), 1 => Just("stateset")];
    (name, unit, types, data()).prop_map(|(name, unit, scraped_as, data)| {
        let value = Some(AnyValue { value: Some(Value::StringValue(scraped_as.to_owned())) });
        let metadata = vec![KeyValue { key: "prometheus.type".to_owned(), value, ..KeyValue::default() }];
        Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            description: format!("{name} in {unit}"),
            metadata: if scraped_as.is_empty() { vec![] } else { metadata },
            data,
        }
    })
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    let name = prop_oneof![Just(""), Just("lib")];
    let version = prop_oneof![Just(""), Just("1.0")];
    let attributes = prop_oneof![3 => Just(vec![]), 1 => unique_attributes()];
    option::of((name, version, attributes).prop_map(|(name, version, attributes)| InstrumentationScope {
        name: name.to_owned(),
        version: version.to_owned(),
        attributes,
        dropped_attributes_count: 0,
    }))
}

pub(crate) fn request() -> impl Strategy<Value = MetricsRequest> {
    let scope_metrics = (scope(), vec(metric(), 0..4)).prop_map(|(scope, metrics)| ScopeMetrics {
        scope,
        metrics,
        schema_url: String::new(),
    });
    let resource =
        option::of(unique_attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() }));
    let resource_metrics = (resource, vec(scope_metrics, 0..3)).prop_map(|(resource, scope_metrics)| ResourceMetrics {
        resource,
        scope_metrics,
        schema_url: String::new(),
    });
    vec(resource_metrics, 0..3).prop_map(|resource_metrics| MetricsRequest { resource_metrics })
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let external = prop_oneof![
        2 => Just(vec![]),
        1 => Just(vec![("region".to_owned(), "eu".to_owned()), ("b.c".to_owned(), "outside".to_owned())]),
        1 => Just(vec![("job".to_owned(), "outside".to_owned()), ("Zebra".to_owned(), "1".to_owned()), ("zz".to_owned(), String::new())]),
    ];
    let resource_labels = prop_oneof![2 => Just(ResourceLabels::None), 1 => Just(ResourceLabels::All), 1 => Just(ResourceLabels::WithoutService)];
    let strategy = (0..Translation::ALL.len()).prop_map(|index| Translation::ALL[index]);
    let target_info = prop_oneof![Just(TargetInfo::Send), Just(TargetInfo::Omit)];
    let scope_labels = prop_oneof![Just(ScopeLabels::Send), Just(ScopeLabels::Omit)];
    let namespace = prop_oneof![2 => Just(""), 1 => Just("ns")];
    (external, resource_labels, strategy, target_info, scope_labels, namespace).prop_map(
        |(external_labels, resource_labels, strategy, target_info, scope_labels, namespace)| Settings {
            namespace: namespace.to_owned(),
            strategy,
            external_labels,
            resource_labels,
            target_info,
            scope_labels,
        },
    )
}
