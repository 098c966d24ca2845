//! Arbitrary requests.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// Text of all lengths and alphabets that matter: empty, short ASCII, long, beyond ASCII.
fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => "[a-z._]{0,12}",
        1 => "\\PC{0,8}",
        1 => "[a-z]{120,140}",
    ]
}

fn double() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1.5), -1e300..1e300]
}

fn count() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![Just(0), 0..300u64, Just(u64::MAX), any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![4 => Just(0), 1 => any::<u32>()]
}

fn trace_id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![]), vec(any::<u8>(), 16)]
}

fn span_id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![]), vec(any::<u8>(), 8)]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let scalar = prop_oneof![
        1 => Just(None),
        6 => text().prop_map(|value| Some(Value::StringValue(value))),
        1 => any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
        2 => prop_oneof![-200..200i64, any::<i64>()].prop_map(|value| Some(Value::IntValue(value))),
        1 => double().prop_map(|value| Some(Value::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..10).prop_map(|value| Some(Value::BytesValue(value))),
    ]
    .prop_map(|value| AnyValue { value });
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3)
                .prop_map(|values| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) }),
            vec((text(), of(inner)), 0..3).prop_map(|pairs| {
                let values =
                    pairs.into_iter().map(|(key, value)| KeyValue { key, value, ..Default::default() }).collect();
                AnyValue { value: Some(Value::KvlistValue(KeyValueList { values })) }
            }),
        ]
    })
}

pub fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let pair = (text(), of(any_value())).prop_map(|(key, value)| KeyValue { key, value, ..Default::default() });
    vec(pair, 0..4)
}

fn entity_ref() -> impl Strategy<Value = EntityRef> {
    (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef { schema_url, r#type, id_keys, description_keys },
    )
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    let entity_refs = prop_oneof![5 => Just(vec![]), 1 => vec(entity_ref(), 1..3)];
    of((attributes(), small(), entity_refs).prop_map(|(attributes, dropped_attributes_count, entity_refs)| Resource {
        attributes,
        dropped_attributes_count,
        entity_refs,
    }))
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    of((text(), text(), attributes(), small()).prop_map(|(name, version, attributes, dropped_attributes_count)| {
        InstrumentationScope { name, version, attributes, dropped_attributes_count }
    }))
}

fn event() -> impl Strategy<Value = Event> {
    (count(), text(), attributes(), small()).prop_map(|(time_unix_nano, name, attributes, dropped_attributes_count)| {
        Event { time_unix_nano, name, attributes, dropped_attributes_count }
    })
}

fn link() -> impl Strategy<Value = Link> {
    (trace_id(), span_id(), text(), attributes(), small(), small()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let status = of((text(), 0..4i32).prop_map(|(message, code)| Status { message, code }));
    (
        (trace_id(), span_id(), text(), span_id(), small(), text()),
        (-1..7i32, count(), count(), attributes(), small()),
        (vec(event(), 0..3), small(), vec(link(), 0..3), small(), status),
    )
        .prop_map(|(identity, what, rest)| Span {
            trace_id: identity.0,
            span_id: identity.1,
            trace_state: identity.2,
            parent_span_id: identity.3,
            flags: identity.4,
            name: identity.5,
            kind: what.0,
            start_time_unix_nano: what.1,
            end_time_unix_nano: what.2,
            attributes: what.3,
            dropped_attributes_count: what.4,
            events: rest.0,
            dropped_events_count: rest.1,
            links: rest.2,
            dropped_links_count: rest.3,
            status: rest.4,
        })
}

pub fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (scope(), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let block = (resource(), vec(scope_spans, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(block, 0..4).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    (
        (count(), count(), -1..26i32, text(), of(any_value())),
        (attributes(), small(), small(), trace_id(), span_id(), text()),
    )
        .prop_map(|(what, rest)| LogRecord {
            time_unix_nano: what.0,
            observed_time_unix_nano: what.1,
            severity_number: what.2,
            severity_text: what.3,
            body: what.4,
            attributes: rest.0,
            dropped_attributes_count: rest.1,
            flags: rest.2,
            trace_id: rest.3,
            span_id: rest.4,
            event_name: rest.5,
        })
}

pub fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (scope(), vec(log_record(), 0..4), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let block = (resource(), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(block, 0..4).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let value = prop_oneof![
        Just(None),
        double().prop_map(|value| Some(exemplar::Value::AsDouble(value))),
        any::<i64>().prop_map(|value| Some(exemplar::Value::AsInt(value))),
    ];
    (attributes(), count(), span_id(), trace_id(), value).prop_map(
        |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value,
        },
    )
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    prop_oneof![3 => Just(vec![]), 1 => vec(exemplar(), 1..3)]
}

fn number_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        1 => Just(None),
        3 => double().prop_map(|value| Some(number_data_point::Value::AsDouble(value))),
        3 => any::<i64>().prop_map(|value| Some(number_data_point::Value::AsInt(value))),
    ];
    (attributes(), count(), count(), exemplars(), small(), value).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value)| NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            exemplars,
            flags,
            value,
        },
    )
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    (
        (attributes(), count(), count(), count(), of(double())),
        (vec(count(), 0..5), vec(double(), 0..4), exemplars(), small(), of(double()), of(double())),
    )
        .prop_map(|(what, rest)| HistogramDataPoint {
            attributes: what.0,
            start_time_unix_nano: what.1,
            time_unix_nano: what.2,
            count: what.3,
            sum: what.4,
            bucket_counts: rest.0,
            explicit_bounds: rest.1,
            exemplars: rest.2,
            flags: rest.3,
            min: rest.4,
            max: rest.5,
        })
}

fn buckets() -> impl Strategy<Value = Option<Buckets>> {
    of((any::<i32>(), vec(count(), 0..5)).prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }))
}

fn exponential_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    (
        (attributes(), count(), count(), count(), of(double()), -10..20i32),
        (count(), buckets(), buckets(), small(), exemplars(), of(double()), of(double()), double()),
    )
        .prop_map(|(what, rest)| ExponentialHistogramDataPoint {
            attributes: what.0,
            start_time_unix_nano: what.1,
            time_unix_nano: what.2,
            count: what.3,
            sum: what.4,
            scale: what.5,
            zero_count: rest.0,
            positive: rest.1,
            negative: rest.2,
            flags: rest.3,
            exemplars: rest.4,
            min: rest.5,
            max: rest.6,
            zero_threshold: rest.7,
        })
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(), count(), count(), count(), double(), vec(quantile, 0..4), small()).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags)| SummaryDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            count,
            sum,
            quantile_values,
            flags,
        },
    )
}

fn data() -> impl Strategy<Value = metric::Data> {
    prop_oneof![
        vec(number_point(), 0..4).prop_map(|data_points| metric::Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 0..4), 0..3i32, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram_point(), 0..3), 0..3i32).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_point(), 0..3), 0..3i32).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary_point(), 0..3).prop_map(|data_points| metric::Data::Summary(Summary { data_points })),
    ]
}

pub fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = (text(), text(), text(), attributes(), of(data()))
        .prop_map(|(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data });
    let scope_metrics = (scope(), vec(metric, 0..4), text()).prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
        scope,
        metrics,
        schema_url,
    });
    let block = (resource(), vec(scope_metrics, 0..3), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(block, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}
