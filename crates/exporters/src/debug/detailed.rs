//! `verbosity: detailed`: everything there is.

use std::fmt::Write as _;

use otlp::view::{
    ExemplarView, ExponentialHistogramPointView, HistogramPointView, KeyValues, LogRecordView, MetricData, MetricView,
    NumberPointView, Repeated, ResourceView, ScopeView, SpanView, SummaryPointView,
};
use otlp::{Batch, NumberValue, SpanKind, StatusCode, Temporality};

use super::text::{clean, exponential_bounds, line, span_id, time, trace_id, typed};

pub(super) fn write(batch: &Batch, out: &mut String) {
    for (index, block) in batch.traces().into_iter().flat_map(|view| view.resource_spans()).enumerate() {
        line!(out, "ResourceSpans #{index}");
        write_resource(out, block.schema_url(), block.resource());
        for (index, scope) in block.scope_spans().enumerate() {
            write_scope(out, "ScopeSpans", index, scope.schema_url(), scope.scope());
            scope.spans().enumerate().for_each(|(index, span)| write_span(out, index, span));
        }
    }
    for (index, block) in batch.metrics().into_iter().flat_map(|view| view.resource_metrics()).enumerate() {
        line!(out, "ResourceMetrics #{index}");
        write_resource(out, block.schema_url(), block.resource());
        for (index, scope) in block.scope_metrics().enumerate() {
            write_scope(out, "ScopeMetrics", index, scope.schema_url(), scope.scope());
            scope.metrics().enumerate().for_each(|(index, metric)| write_metric(out, index, metric));
        }
    }
    for (index, block) in batch.logs().into_iter().flat_map(|view| view.resource_logs()).enumerate() {
        line!(out, "ResourceLog #{index}");
        write_resource(out, block.schema_url(), block.resource());
        for (index, scope) in block.scope_logs().enumerate() {
            write_scope(out, "ScopeLogs", index, scope.schema_url(), scope.scope());
            scope.log_records().enumerate().for_each(|(index, log)| write_log(out, index, log));
        }
    }
}

fn write_resource(out: &mut String, schema_url: &str, resource: ResourceView<'_>) {
    line!(out, "Resource SchemaURL: {}", clean(schema_url));
    write_attributes(out, "", "Resource attributes", resource.attributes());
    write_dropped(out, "", "Attributes", resource.dropped_attributes_count());
}

fn write_scope(out: &mut String, name: &str, index: usize, schema_url: &str, scope: ScopeView<'_>) {
    line!(out, "{name} #{index}");
    line!(out, "{name} SchemaURL: {}", clean(schema_url));
    line!(out, "InstrumentationScope {} {}", clean(scope.name()), clean(scope.version()));
    write_attributes(out, "", "InstrumentationScope attributes", scope.attributes());
    write_dropped(out, "", "Attributes", scope.dropped_attributes_count());
}

/// The attributes under a heading; nothing without any.
fn write_attributes(out: &mut String, indent: &str, heading: &str, attributes: KeyValues<'_>) {
    for (index, attribute) in attributes.enumerate() {
        if index == 0 {
            line!(out, "{indent}{heading}:");
        }
        let margin = if indent.is_empty() { "     ->" } else { "          ->" };
        line!(out, "{margin} {}: {}", clean(attribute.key()), typed(attribute.value()));
    }
}

/// How many the sender discarded, if it did.
fn write_dropped(out: &mut String, indent: &str, what: &str, count: u32) {
    if count > 0 {
        line!(out, "{indent}Dropped{what}Count: {count}");
    }
}

const UNDER: &str = "     -> ";

fn write_span(out: &mut String, index: usize, span: SpanView<'_>) {
    line!(out, "Span #{index}");
    let status = span.status();
    let fields = [
        ("Trace ID", trace_id(span.trace_id())),
        ("Parent ID", span_id(span.parent_span_id())),
        ("ID", span_id(span.span_id())),
        ("Name", clean(span.name()).into_owned()),
        ("Kind", kind(span.kind()).to_owned()),
        ("TraceState", clean(span.trace_state()).into_owned()),
        ("Start time", time(span.start_time_unix_nano())),
        ("End time", time(span.end_time_unix_nano())),
        ("Status code", status_code(status.code()).to_owned()),
        ("Status message", clean(status.message()).into_owned()),
    ];
    for (name, text) in fields.into_iter().filter(|(name, text)| *name != "TraceState" || !text.is_empty()) {
        line!(out, "    {name:<15}: {text}");
    }
    write_dropped(out, "    ", "Attributes", span.dropped_attributes_count());
    write_dropped(out, "    ", "Events", span.dropped_events_count());
    write_dropped(out, "    ", "Links", span.dropped_links_count());
    write_attributes(out, "", "Attributes", span.attributes());
    for (index, event) in span.events().enumerate() {
        if index == 0 {
            line!(out, "Events:");
        }
        line!(out, "SpanEvent #{index}");
        line!(out, "{UNDER}Name: {}", clean(event.name()));
        line!(out, "{UNDER}Timestamp: {}", time(event.time_unix_nano()));
        line!(out, "{UNDER}DroppedAttributesCount: {}", event.dropped_attributes_count());
        write_attributes(out, UNDER, "Attributes", event.attributes());
    }
    for (index, link) in span.links().enumerate() {
        if index == 0 {
            line!(out, "Links:");
        }
        line!(out, "SpanLink #{index}");
        line!(out, "{UNDER}Trace ID: {}", trace_id(link.trace_id()));
        line!(out, "{UNDER}ID: {}", span_id(link.span_id()));
        line!(out, "{UNDER}TraceState: {}", clean(link.trace_state()));
        line!(out, "{UNDER}DroppedAttributesCount: {}", link.dropped_attributes_count());
        write_attributes(out, UNDER, "Attributes", link.attributes());
    }
}

fn write_log(out: &mut String, index: usize, log: LogRecordView<'_>) {
    line!(out, "LogRecord #{index}");
    line!(out, "ObservedTimestamp: {}", time(log.observed_time_unix_nano()));
    line!(out, "Timestamp: {}", time(log.time_unix_nano()));
    line!(out, "SeverityText: {}", clean(log.severity_text()));
    line!(out, "SeverityNumber: {}({})", severity(log.severity_number()), log.severity_number());
    if !log.event_name().is_empty() {
        line!(out, "EventName: {}", clean(log.event_name()));
    }
    line!(out, "Body: {}", typed(log.body()));
    write_attributes(out, "", "Attributes", log.attributes());
    write_dropped(out, "", "Attributes", log.dropped_attributes_count());
    line!(out, "Trace ID: {}", trace_id(log.trace_id()));
    line!(out, "Span ID: {}", span_id(log.span_id()));
    line!(out, "Flags: {}", log.flags());
}

fn write_metric(out: &mut String, index: usize, metric: MetricView<'_>) {
    line!(out, "Metric #{index}");
    line!(out, "Descriptor:");
    line!(out, "{UNDER}Name: {}", clean(metric.name()));
    line!(out, "{UNDER}Description: {}", clean(metric.description()));
    line!(out, "{UNDER}Unit: {}", clean(metric.unit()));
    write_attributes(out, UNDER, "Metadata", metric.metadata());
    let kind = |out: &mut String, kind: &str| line!(out, "{UNDER}DataType: {kind}");
    let from = |out: &mut String, from: Temporality| {
        line!(out, "{UNDER}AggregationTemporality: {}", temporality(from));
    };
    match metric.data() {
        MetricData::Empty => kind(out, "Empty"),
        MetricData::Gauge { points } => {
            kind(out, "Gauge");
            write_numbers(out, points);
        }
        MetricData::Sum { points, temporality, is_monotonic } => {
            kind(out, "Sum");
            line!(out, "{UNDER}IsMonotonic: {is_monotonic}");
            from(out, temporality);
            write_numbers(out, points);
        }
        MetricData::Histogram { points, temporality } => {
            kind(out, "Histogram");
            from(out, temporality);
            points.enumerate().for_each(|(index, point)| write_histogram(out, index, point));
        }
        MetricData::ExponentialHistogram { points, temporality } => {
            kind(out, "ExponentialHistogram");
            from(out, temporality);
            points.enumerate().for_each(|(index, point)| write_exponential(out, index, point));
        }
        MetricData::Summary { points } => {
            kind(out, "Summary");
            points.enumerate().for_each(|(index, point)| write_summary(out, index, point));
        }
    }
}

/// What data points of every kind have.
fn write_point(
    out: &mut String,
    heading: &str,
    attributes: KeyValues<'_>,
    start_unix_ns: u64,
    unix_ns: u64,
    flags: u32,
) {
    line!(out, "{heading}");
    write_attributes(out, "", "Data point attributes", attributes);
    line!(out, "StartTimestamp: {}", time(start_unix_ns));
    line!(out, "Timestamp: {}", time(unix_ns));
    if flags != 0 {
        line!(out, "Flags: {flags}");
    }
}

fn write_number(out: &mut String, indent: &str, value: Option<NumberValue>) {
    match value {
        Some(NumberValue::Int(number)) => line!(out, "{indent}Value: {number}"),
        Some(NumberValue::Double(number)) => line!(out, "{indent}Value: {number:.6}"),
        None => {}
    }
}

fn write_totals(out: &mut String, count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) {
    line!(out, "Count: {count}");
    for (name, number) in [("Sum", sum), ("Min", min), ("Max", max)] {
        if let Some(number) = number {
            line!(out, "{name}: {number:.6}");
        }
    }
}

fn write_numbers<'a>(out: &mut String, points: Repeated<'a, NumberPointView<'a>>) {
    for (index, point) in points.enumerate() {
        let heading = format!("NumberDataPoints #{index}");
        let (start, at) = (point.start_time_unix_nano(), point.time_unix_nano());
        write_point(out, &heading, point.attributes(), start, at, point.flags());
        write_number(out, "", point.value());
        write_exemplars(out, point.exemplars());
    }
}

fn write_histogram(out: &mut String, index: usize, point: HistogramPointView<'_>) {
    let heading = format!("HistogramDataPoints #{index}");
    let (start, at) = (point.start_time_unix_nano(), point.time_unix_nano());
    write_point(out, &heading, point.attributes(), start, at, point.flags());
    write_totals(out, point.count(), point.sum(), point.min(), point.max());
    for (index, bound) in point.explicit_bounds().enumerate() {
        line!(out, "ExplicitBounds #{index}: {bound:.6}");
    }
    for (index, count) in point.bucket_counts().enumerate() {
        line!(out, "Buckets #{index}, Count: {count}");
    }
    write_exemplars(out, point.exemplars());
}

fn write_exponential(out: &mut String, index: usize, point: ExponentialHistogramPointView<'_>) {
    let heading = format!("ExponentialHistogramDataPoints #{index}");
    let (start, at) = (point.start_time_unix_nano(), point.time_unix_nano());
    write_point(out, &heading, point.attributes(), start, at, point.flags());
    write_totals(out, point.count(), point.sum(), point.min(), point.max());
    let bounds = |offset: i32, position: usize| exponential_bounds(point.scale(), i64::from(offset) + position as i64);
    let negative: Vec<u64> = point.negative().bucket_counts().collect();
    for (position, count) in negative.iter().enumerate().rev() {
        let (lower, upper) = bounds(point.negative().offset(), position);
        line!(out, "Bucket [-{upper:.6}, -{lower:.6}), Count: {count}");
    }
    if point.zero_count() > 0 {
        let zero = point.zero_threshold();
        line!(out, "Bucket [{}, {zero}], Count: {}", if zero == 0.0 { 0.0 } else { -zero }, point.zero_count());
    }
    for (position, count) in point.positive().bucket_counts().enumerate() {
        let (lower, upper) = bounds(point.positive().offset(), position);
        line!(out, "Bucket ({lower:.6}, {upper:.6}], Count: {count}");
    }
    write_exemplars(out, point.exemplars());
}

fn write_summary(out: &mut String, index: usize, point: SummaryPointView<'_>) {
    let heading = format!("SummaryDataPoints #{index}");
    let (start, at) = (point.start_time_unix_nano(), point.time_unix_nano());
    write_point(out, &heading, point.attributes(), start, at, point.flags());
    write_totals(out, point.count(), Some(point.sum()), None, None);
    for (index, quantile) in point.quantile_values().enumerate() {
        line!(out, "QuantileValue #{index}: Quantile {:.6}, Value {:.6}", quantile.quantile(), quantile.value());
    }
}

fn write_exemplars<'a>(out: &mut String, exemplars: Repeated<'a, ExemplarView<'a>>) {
    for (index, exemplar) in exemplars.enumerate() {
        if index == 0 {
            line!(out, "Exemplars:");
        }
        line!(out, "Exemplar #{index}");
        line!(out, "{UNDER}Trace ID: {}", trace_id(exemplar.trace_id()));
        line!(out, "{UNDER}Span ID: {}", span_id(exemplar.span_id()));
        line!(out, "{UNDER}Timestamp: {}", time(exemplar.time_unix_nano()));
        write_number(out, UNDER, exemplar.value());
        write_attributes(out, UNDER, "FilteredAttributes", exemplar.filtered_attributes());
    }
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "Unspecified",
        SpanKind::Internal => "Internal",
        SpanKind::Server => "Server",
        SpanKind::Client => "Client",
        SpanKind::Producer => "Producer",
        SpanKind::Consumer => "Consumer",
    }
}

fn status_code(code: StatusCode) -> &'static str {
    match code {
        StatusCode::Unset => "Unset",
        StatusCode::Ok => "Ok",
        StatusCode::Error => "Error",
    }
}

fn temporality(temporality: Temporality) -> &'static str {
    match temporality {
        Temporality::Unspecified => "Unspecified",
        Temporality::Delta => "Delta",
        Temporality::Cumulative => "Cumulative",
    }
}

/// `Info2` for 10: four steps for each of six names.
pub(super) fn severity(number: i32) -> String {
    const NAMES: [&str; 6] = ["Trace", "Debug", "Info", "Warn", "Error", "Fatal"];
    let Some(step) = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) else {
        return if number == 0 { "Unspecified".to_owned() } else { String::new() };
    };
    match (NAMES.get(step / 4), step % 4) {
        (None, _) => String::new(),
        (Some(name), 0) => (*name).to_owned(),
        (Some(name), more) => format!("{name}{}", more + 1),
    }
}
