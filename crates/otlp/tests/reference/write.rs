//! Structs written through the encoders.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp::encode::{
    AttributesWriter, BucketsWriter, ExemplarWriter, ExponentialHistogramPointWriter, HistogramPointWriter,
    LogRecordWriter, LogsEncoder, MetricWriter, MetricsEncoder, NumberPointWriter, ResourceWriter, ScopeWriter,
    SpanWriter, SummaryPointWriter, TracesEncoder, ValueWriter,
};
use otlp::{Batch, NumberValue, SpanId, SpanKind, StatusCode, Temporality, TraceId};

pub fn traces(request: &ExportTraceServiceRequest) -> Batch {
    let mut encoder = TracesEncoder::new();
    for block in &request.resource_spans {
        encoder.resource_spans(|writer| {
            if let Some(found) = &block.resource {
                writer.resource(|writer| resource(writer, found));
            }
            for scope_spans in &block.scope_spans {
                writer.scope_spans(|writer| {
                    if let Some(found) = &scope_spans.scope {
                        writer.scope(|writer| scope(writer, found));
                    }
                    scope_spans.spans.iter().for_each(|found| writer.span(|writer| span(writer, found)));
                    writer.schema_url(&scope_spans.schema_url);
                });
            }
            writer.schema_url(&block.schema_url);
        });
    }
    encoder.finish()
}

pub fn logs(request: &ExportLogsServiceRequest) -> Batch {
    let mut encoder = LogsEncoder::new();
    for block in &request.resource_logs {
        encoder.resource_logs(|writer| {
            if let Some(found) = &block.resource {
                writer.resource(|writer| resource(writer, found));
            }
            for scope_logs in &block.scope_logs {
                writer.scope_logs(|writer| {
                    if let Some(found) = &scope_logs.scope {
                        writer.scope(|writer| scope(writer, found));
                    }
                    for found in &scope_logs.log_records {
                        writer.log_record(|writer| log_record(writer, found));
                    }
                    writer.schema_url(&scope_logs.schema_url);
                });
            }
            writer.schema_url(&block.schema_url);
        });
    }
    encoder.finish()
}

pub fn metrics(request: &ExportMetricsServiceRequest) -> Batch {
    let mut encoder = MetricsEncoder::new();
    for block in &request.resource_metrics {
        encoder.resource_metrics(|writer| {
            if let Some(found) = &block.resource {
                writer.resource(|writer| resource(writer, found));
            }
            for scope_metrics in &block.scope_metrics {
                writer.scope_metrics(|writer| {
                    if let Some(found) = &scope_metrics.scope {
                        writer.scope(|writer| scope(writer, found));
                    }
                    scope_metrics.metrics.iter().for_each(|found| writer.metric(|writer| metric(writer, found)));
                    writer.schema_url(&scope_metrics.schema_url);
                });
            }
            writer.schema_url(&block.schema_url);
        });
    }
    encoder.finish()
}

fn resource(writer: &mut ResourceWriter<'_>, resource: &Resource) {
    attributes(&mut writer.attributes(), &resource.attributes);
    writer.dropped_attributes_count(resource.dropped_attributes_count);
}

fn scope(writer: &mut ScopeWriter<'_>, scope: &InstrumentationScope) {
    writer.name(&scope.name).version(&scope.version).dropped_attributes_count(scope.dropped_attributes_count);
    attributes(&mut writer.attributes(), &scope.attributes);
}

pub fn attributes(writer: &mut AttributesWriter<'_>, attributes: &[KeyValue]) {
    for attribute in attributes {
        let written = writer.value(&attribute.key);
        match &attribute.value {
            Some(found) => value(written, found),
            None => written.empty(),
        }
    }
}

fn value(writer: ValueWriter<'_>, found: &AnyValue) {
    match &found.value {
        None | Some(Value::StringValueStrindex(_)) => writer.empty(),
        Some(Value::StringValue(found)) => writer.string(found),
        Some(Value::BoolValue(found)) => writer.bool(*found),
        Some(Value::IntValue(found)) => writer.int(*found),
        Some(Value::DoubleValue(found)) => writer.double(*found),
        Some(Value::BytesValue(found)) => writer.bytes(found),
        Some(Value::ArrayValue(array)) => {
            writer.array(|writer| array.values.iter().for_each(|found| value(writer.value(), found)));
        }
        Some(Value::KvlistValue(list)) => writer.kvlist(|writer| attributes(writer, &list.values)),
    }
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_slice(bytes)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_slice(bytes)
}

fn span(writer: &mut SpanWriter<'_>, span: &Span) {
    trace_id(&span.trace_id).map(|id| writer.trace_id(id));
    span_id(&span.span_id).map(|id| writer.span_id(id));
    span_id(&span.parent_span_id).map(|id| writer.parent_span_id(id));
    writer
        .trace_state(&span.trace_state)
        .name(&span.name)
        .kind(SpanKind::from_number(span.kind).unwrap_or_default())
        .start_time_unix_nano(span.start_time_unix_nano)
        .end_time_unix_nano(span.end_time_unix_nano)
        .flags(span.flags)
        .dropped_attributes_count(span.dropped_attributes_count)
        .dropped_events_count(span.dropped_events_count)
        .dropped_links_count(span.dropped_links_count);
    attributes(&mut writer.attributes(), &span.attributes);
    for event in &span.events {
        writer.event(|writer| {
            writer.time_unix_nano(event.time_unix_nano).name(&event.name);
            attributes(&mut writer.attributes(), &event.attributes);
            writer.dropped_attributes_count(event.dropped_attributes_count);
        });
    }
    for link in &span.links {
        writer.link(|writer| {
            trace_id(&link.trace_id).map(|id| writer.trace_id(id));
            span_id(&link.span_id).map(|id| writer.span_id(id));
            writer.trace_state(&link.trace_state).flags(link.flags);
            attributes(&mut writer.attributes(), &link.attributes);
            writer.dropped_attributes_count(link.dropped_attributes_count);
        });
    }
    if let Some(status) = &span.status {
        writer.status(|writer| {
            writer.message(&status.message).code(StatusCode::from_number(status.code).unwrap_or_default());
        });
    }
}

fn log_record(writer: &mut LogRecordWriter<'_>, record: &LogRecord) {
    trace_id(&record.trace_id).map(|id| writer.trace_id(id));
    span_id(&record.span_id).map(|id| writer.span_id(id));
    writer
        .time_unix_nano(record.time_unix_nano)
        .observed_time_unix_nano(record.observed_time_unix_nano)
        .severity_number(record.severity_number)
        .severity_text(&record.severity_text)
        .dropped_attributes_count(record.dropped_attributes_count)
        .flags(record.flags)
        .event_name(&record.event_name);
    if let Some(body) = &record.body {
        value(writer.body(), body);
    }
    attributes(&mut writer.attributes(), &record.attributes);
}

fn metric(writer: &mut MetricWriter<'_>, metric: &Metric) {
    writer.name(&metric.name).description(&metric.description).unit(&metric.unit);
    attributes(&mut writer.metadata(), &metric.metadata);
    match &metric.data {
        None => {}
        Some(metric::Data::Gauge(gauge)) => writer.gauge(|writer| {
            gauge.data_points.iter().for_each(|point| writer.point(|writer| number_point(writer, point)));
        }),
        Some(metric::Data::Sum(sum)) => writer.sum(|writer| {
            writer.temporality(temporality(sum.aggregation_temporality)).is_monotonic(sum.is_monotonic);
            sum.data_points.iter().for_each(|point| writer.point(|writer| number_point(writer, point)));
        }),
        Some(metric::Data::Histogram(histogram)) => writer.histogram(|writer| {
            writer.temporality(temporality(histogram.aggregation_temporality));
            histogram.data_points.iter().for_each(|point| writer.point(|writer| histogram_point(writer, point)));
        }),
        Some(metric::Data::ExponentialHistogram(histogram)) => writer.exponential_histogram(|writer| {
            writer.temporality(temporality(histogram.aggregation_temporality));
            histogram.data_points.iter().for_each(|point| writer.point(|writer| exponential_point(writer, point)));
        }),
        Some(metric::Data::Summary(summary)) => writer.summary(|writer| {
            summary.data_points.iter().for_each(|point| writer.point(|writer| summary_point(writer, point)));
        }),
    }
}

fn temporality(number: i32) -> Temporality {
    Temporality::from_number(number).unwrap_or_default()
}

fn number_point(writer: &mut NumberPointWriter<'_>, point: &NumberDataPoint) {
    attributes(&mut writer.attributes(), &point.attributes);
    writer.start_time_unix_nano(point.start_time_unix_nano).time_unix_nano(point.time_unix_nano).flags(point.flags);
    match point.value {
        None => {}
        Some(number_data_point::Value::AsInt(value)) => drop(writer.value(NumberValue::Int(value))),
        Some(number_data_point::Value::AsDouble(value)) => drop(writer.value(NumberValue::Double(value))),
    }
    point.exemplars.iter().for_each(|found| writer.exemplar(|writer| exemplar(writer, found)));
}

fn histogram_point(writer: &mut HistogramPointWriter<'_>, point: &HistogramDataPoint) {
    attributes(&mut writer.attributes(), &point.attributes);
    writer
        .start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .count(point.count)
        .bucket_counts(point.bucket_counts.iter().copied())
        .explicit_bounds(point.explicit_bounds.iter().copied())
        .flags(point.flags);
    point.sum.map(|value| writer.sum(value));
    point.min.map(|value| writer.min(value));
    point.max.map(|value| writer.max(value));
    point.exemplars.iter().for_each(|found| writer.exemplar(|writer| exemplar(writer, found)));
}

fn buckets(writer: &mut BucketsWriter<'_>, buckets: &Buckets) {
    writer.offset(buckets.offset).bucket_counts(buckets.bucket_counts.iter().copied());
}

fn exponential_point(writer: &mut ExponentialHistogramPointWriter<'_>, point: &ExponentialHistogramDataPoint) {
    attributes(&mut writer.attributes(), &point.attributes);
    writer
        .start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .count(point.count)
        .scale(point.scale)
        .zero_count(point.zero_count)
        .zero_threshold(point.zero_threshold)
        .flags(point.flags);
    point.sum.map(|value| writer.sum(value));
    point.min.map(|value| writer.min(value));
    point.max.map(|value| writer.max(value));
    if let Some(found) = &point.positive {
        writer.positive(|writer| buckets(writer, found));
    }
    if let Some(found) = &point.negative {
        writer.negative(|writer| buckets(writer, found));
    }
    point.exemplars.iter().for_each(|found| writer.exemplar(|writer| exemplar(writer, found)));
}

fn summary_point(writer: &mut SummaryPointWriter<'_>, point: &SummaryDataPoint) {
    attributes(&mut writer.attributes(), &point.attributes);
    writer
        .start_time_unix_nano(point.start_time_unix_nano)
        .time_unix_nano(point.time_unix_nano)
        .count(point.count)
        .sum(point.sum)
        .flags(point.flags);
    for found in &point.quantile_values {
        writer.quantile(|writer| {
            writer.quantile(found.quantile).value(found.value);
        });
    }
}

fn exemplar(writer: &mut ExemplarWriter<'_>, exemplar: &Exemplar) {
    attributes(&mut writer.filtered_attributes(), &exemplar.filtered_attributes);
    writer.time_unix_nano(exemplar.time_unix_nano);
    trace_id(&exemplar.trace_id).map(|id| writer.trace_id(id));
    span_id(&exemplar.span_id).map(|id| writer.span_id(id));
    match exemplar.value {
        None => {}
        Some(exemplar::Value::AsInt(value)) => drop(writer.value(NumberValue::Int(value))),
        Some(exemplar::Value::AsDouble(value)) => drop(writer.value(NumberValue::Double(value))),
    }
}
