//! Requests read back through views into structs.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
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
use otlp::view::{
    AnyValueView, BucketsView, EventView, ExemplarView, ExponentialHistogramPointView, HistogramPointView, KeyValues,
    LinkView, LogRecordView, LogsView, MetricData, MetricView, MetricsView, NumberPointView, ResourceView, ScopeView,
    SpanView, SummaryPointView, TracesView,
};
use otlp::{NumberValue, SpanId, TraceId};

pub fn traces(view: TracesView<'_>) -> ExportTraceServiceRequest {
    let resource_spans = view
        .resource_spans()
        .map(|block| ResourceSpans {
            resource: some(resource(block.resource())),
            scope_spans: block
                .scope_spans()
                .map(|scope_spans| ScopeSpans {
                    scope: some(scope(scope_spans.scope())),
                    spans: scope_spans.spans().map(|view| span(&view)).collect(),
                    schema_url: scope_spans.schema_url().into(),
                })
                .collect(),
            schema_url: block.schema_url().into(),
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

pub fn logs(view: LogsView<'_>) -> ExportLogsServiceRequest {
    let resource_logs = view
        .resource_logs()
        .map(|block| ResourceLogs {
            resource: some(resource(block.resource())),
            scope_logs: block
                .scope_logs()
                .map(|scope_logs| ScopeLogs {
                    scope: some(scope(scope_logs.scope())),
                    log_records: scope_logs.log_records().map(|view| log_record(&view)).collect(),
                    schema_url: scope_logs.schema_url().into(),
                })
                .collect(),
            schema_url: block.schema_url().into(),
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }
}

pub fn metrics(view: MetricsView<'_>) -> ExportMetricsServiceRequest {
    let resource_metrics = view
        .resource_metrics()
        .map(|block| ResourceMetrics {
            resource: some(resource(block.resource())),
            scope_metrics: block
                .scope_metrics()
                .map(|scope_metrics| ScopeMetrics {
                    scope: some(scope(scope_metrics.scope())),
                    metrics: scope_metrics.metrics().map(|view| metric(&view)).collect(),
                    schema_url: scope_metrics.schema_url().into(),
                })
                .collect(),
            schema_url: block.schema_url().into(),
        })
        .collect();
    ExportMetricsServiceRequest { resource_metrics }
}

/// Views do not tell an absent message from an empty one; nor does the protocol.
fn some<T: Default + PartialEq>(message: T) -> Option<T> {
    (message != T::default()).then_some(message)
}

fn trace_id(id: Option<TraceId>) -> Vec<u8> {
    id.map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

fn span_id(id: Option<SpanId>) -> Vec<u8> {
    id.map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

pub fn attributes(views: KeyValues<'_>) -> Vec<KeyValue> {
    views
        .map(|view| KeyValue { key: view.key().into(), value: some(any_value(view.value())), ..Default::default() })
        .collect()
}

fn any_value(view: AnyValueView<'_>) -> AnyValue {
    let value = match view {
        AnyValueView::Empty => None,
        AnyValueView::String(value) => Some(Value::StringValue(value.into())),
        AnyValueView::Bool(value) => Some(Value::BoolValue(value)),
        AnyValueView::Int(value) => Some(Value::IntValue(value)),
        AnyValueView::Double(value) => Some(Value::DoubleValue(value)),
        AnyValueView::Bytes(value) => Some(Value::BytesValue(value.into())),
        AnyValueView::Array(values) => Some(Value::ArrayValue(ArrayValue { values: values.map(any_value).collect() })),
        AnyValueView::KvList(values) => Some(Value::KvlistValue(KeyValueList { values: attributes(values) })),
    };
    AnyValue { value }
}

fn resource(view: ResourceView<'_>) -> Resource {
    Resource {
        attributes: attributes(view.attributes()),
        dropped_attributes_count: view.dropped_attributes_count(),
        // Views leave them to those who copy bytes.
        entity_refs: vec![],
    }
}

fn scope(view: ScopeView<'_>) -> InstrumentationScope {
    InstrumentationScope {
        name: view.name().into(),
        version: view.version().into(),
        attributes: attributes(view.attributes()),
        dropped_attributes_count: view.dropped_attributes_count(),
    }
}

fn span(view: &SpanView<'_>) -> Span {
    Span {
        trace_id: trace_id(view.trace_id()),
        span_id: span_id(view.span_id()),
        trace_state: view.trace_state().into(),
        parent_span_id: span_id(view.parent_span_id()),
        flags: view.flags(),
        name: view.name().into(),
        kind: view.kind_number(),
        start_time_unix_nano: view.start_time_unix_nano(),
        end_time_unix_nano: view.end_time_unix_nano(),
        attributes: attributes(view.attributes()),
        dropped_attributes_count: view.dropped_attributes_count(),
        events: view.events().map(event).collect(),
        dropped_events_count: view.dropped_events_count(),
        links: view.links().map(link).collect(),
        dropped_links_count: view.dropped_links_count(),
        status: some(Status { message: view.status().message().into(), code: view.status().code_number() }),
    }
}

fn event(view: EventView<'_>) -> Event {
    Event {
        time_unix_nano: view.time_unix_nano(),
        name: view.name().into(),
        attributes: attributes(view.attributes()),
        dropped_attributes_count: view.dropped_attributes_count(),
    }
}

fn link(view: LinkView<'_>) -> Link {
    Link {
        trace_id: trace_id(view.trace_id()),
        span_id: span_id(view.span_id()),
        trace_state: view.trace_state().into(),
        attributes: attributes(view.attributes()),
        dropped_attributes_count: view.dropped_attributes_count(),
        flags: view.flags(),
    }
}

fn log_record(view: &LogRecordView<'_>) -> LogRecord {
    LogRecord {
        time_unix_nano: view.time_unix_nano(),
        observed_time_unix_nano: view.observed_time_unix_nano(),
        severity_number: view.severity_number(),
        severity_text: view.severity_text().into(),
        body: some(any_value(view.body())),
        attributes: attributes(view.attributes()),
        dropped_attributes_count: view.dropped_attributes_count(),
        flags: view.flags(),
        trace_id: trace_id(view.trace_id()),
        span_id: span_id(view.span_id()),
        event_name: view.event_name().into(),
    }
}

fn metric(view: &MetricView<'_>) -> Metric {
    Metric {
        name: view.name().into(),
        description: view.description().into(),
        unit: view.unit().into(),
        metadata: attributes(view.metadata()),
        data: data(view.data()),
    }
}

fn data(view: MetricData<'_>) -> Option<metric::Data> {
    Some(match view {
        MetricData::Empty => return None,
        MetricData::Gauge { points } => {
            metric::Data::Gauge(Gauge { data_points: points.map(|view| number_point(&view)).collect() })
        }
        MetricData::Sum { points, temporality, is_monotonic } => metric::Data::Sum(Sum {
            data_points: points.map(|view| number_point(&view)).collect(),
            aggregation_temporality: temporality.number(),
            is_monotonic,
        }),
        MetricData::Histogram { points, temporality } => metric::Data::Histogram(Histogram {
            data_points: points.map(|view| histogram_point(&view)).collect(),
            aggregation_temporality: temporality.number(),
        }),
        MetricData::ExponentialHistogram { points, temporality } => {
            metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: points.map(|view| exponential_point(&view)).collect(),
                aggregation_temporality: temporality.number(),
            })
        }
        MetricData::Summary { points } => {
            metric::Data::Summary(Summary { data_points: points.map(|view| summary_point(&view)).collect() })
        }
    })
}

fn number_point(view: &NumberPointView<'_>) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(view.attributes()),
        start_time_unix_nano: view.start_time_unix_nano(),
        time_unix_nano: view.time_unix_nano(),
        exemplars: view.exemplars().map(exemplar).collect(),
        flags: view.flags(),
        value: view.value().map(|value| match value {
            NumberValue::Int(value) => number_data_point::Value::AsInt(value),
            NumberValue::Double(value) => number_data_point::Value::AsDouble(value),
        }),
    }
}

fn histogram_point(view: &HistogramPointView<'_>) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(view.attributes()),
        start_time_unix_nano: view.start_time_unix_nano(),
        time_unix_nano: view.time_unix_nano(),
        count: view.count(),
        sum: view.sum(),
        bucket_counts: view.bucket_counts().collect(),
        explicit_bounds: view.explicit_bounds().collect(),
        exemplars: view.exemplars().map(exemplar).collect(),
        flags: view.flags(),
        min: view.min(),
        max: view.max(),
    }
}

fn buckets(view: BucketsView<'_>) -> Option<Buckets> {
    some(Buckets { offset: view.offset(), bucket_counts: view.bucket_counts().collect() })
}

fn exponential_point(view: &ExponentialHistogramPointView<'_>) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes: attributes(view.attributes()),
        start_time_unix_nano: view.start_time_unix_nano(),
        time_unix_nano: view.time_unix_nano(),
        count: view.count(),
        sum: view.sum(),
        scale: view.scale(),
        zero_count: view.zero_count(),
        positive: buckets(view.positive()),
        negative: buckets(view.negative()),
        flags: view.flags(),
        exemplars: view.exemplars().map(exemplar).collect(),
        min: view.min(),
        max: view.max(),
        zero_threshold: view.zero_threshold(),
    }
}

fn summary_point(view: &SummaryPointView<'_>) -> SummaryDataPoint {
    SummaryDataPoint {
        attributes: attributes(view.attributes()),
        start_time_unix_nano: view.start_time_unix_nano(),
        time_unix_nano: view.time_unix_nano(),
        count: view.count(),
        sum: view.sum(),
        quantile_values: view
            .quantile_values()
            .map(|view| ValueAtQuantile { quantile: view.quantile(), value: view.value() })
            .collect(),
        flags: view.flags(),
    }
}

fn exemplar(view: ExemplarView<'_>) -> Exemplar {
    Exemplar {
        filtered_attributes: attributes(view.filtered_attributes()),
        time_unix_nano: view.time_unix_nano(),
        span_id: span_id(view.span_id()),
        trace_id: trace_id(view.trace_id()),
        value: view.value().map(|value| match value {
            NumberValue::Int(value) => exemplar::Value::AsInt(value),
            NumberValue::Double(value) => exemplar::Value::AsDouble(value),
        }),
    }
}
