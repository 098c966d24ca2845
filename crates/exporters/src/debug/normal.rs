//! `verbosity: normal`: a line for each item.

use std::fmt::Write as _;

use otlp::view::{
    AnyValueView, ExponentialHistogramPointView, HistogramPointView, KeyValues, MetricData, MetricView,
    NumberPointView, ResourceView, ScopeView, SummaryPointView,
};
use otlp::{Batch, NumberValue};

use super::text::{after_space, clean, double, exponential_bounds, line, pairs, span_id, trace_id, value};

pub(super) fn write(batch: &Batch, out: &mut String) {
    for (index, block) in batch.traces().into_iter().flat_map(|view| view.resource_spans()).enumerate() {
        header(out, "ResourceTraces", index, block.schema_url(), block.resource());
        for (index, scope) in block.scope_spans().enumerate() {
            scope_header(out, "ScopeTraces", index, scope.schema_url(), scope.scope());
            for span in scope.spans() {
                let (trace, id) = (trace_id(span.trace_id()), span_id(span.span_id()));
                line!(out, "{} {trace} {id}{}", clean(span.name()), after_space(&pairs(span.attributes(), " ")));
            }
        }
    }
    for (index, block) in batch.metrics().into_iter().flat_map(|view| view.resource_metrics()).enumerate() {
        header(out, "ResourceMetrics", index, block.schema_url(), block.resource());
        for (index, scope) in block.scope_metrics().enumerate() {
            scope_header(out, "ScopeMetrics", index, scope.schema_url(), scope.scope());
            scope.metrics().for_each(|metric| write_metric(out, metric));
        }
    }
    for (index, block) in batch.logs().into_iter().flat_map(|view| view.resource_logs()).enumerate() {
        header(out, "ResourceLog", index, block.schema_url(), block.resource());
        for (index, scope) in block.scope_logs().enumerate() {
            scope_header(out, "ScopeLog", index, scope.schema_url(), scope.scope());
            for log in scope.log_records() {
                line!(out, "{}{}", value(log.body()), after_space(&pairs(log.attributes(), " ")));
            }
        }
    }
}

fn header(out: &mut String, name: &str, index: usize, schema_url: &str, resource: ResourceView<'_>) {
    line!(out, "{name} #{index}{}{}", schema(schema_url), after_space(&pairs(resource.attributes(), " ")));
}

fn scope_header(out: &mut String, name: &str, index: usize, schema_url: &str, scope: ScopeView<'_>) {
    let version = if scope.version().is_empty() { String::new() } else { format!("@{}", clean(scope.version())) };
    let scope_name = after_space(&format!("{}{version}", clean(scope.name())));
    let attributes = after_space(&pairs(scope.attributes(), " "));
    line!(out, "{name} #{index}{scope_name}{}{attributes}", schema(schema_url));
}

fn schema(schema_url: &str) -> String {
    if schema_url.is_empty() { String::new() } else { format!(" [{}]", clean(schema_url)) }
}

fn write_metric(out: &mut String, metric: MetricView<'_>) {
    let mut write = |attributes: KeyValues<'_>, values: String| {
        line!(out, "{}{{{}}} {values}", clean(metric.name()), pairs(attributes, ","));
    };
    match metric.data() {
        MetricData::Empty => {}
        MetricData::Gauge { points } | MetricData::Sum { points, .. } => {
            points.for_each(|point| write(point.attributes(), number(point)));
        }
        MetricData::Histogram { points, .. } => {
            points.for_each(|point| write(point.attributes(), histogram(point)));
        }
        MetricData::ExponentialHistogram { points, .. } => {
            points.for_each(|point| write(point.attributes(), exponential_histogram(point)));
        }
        MetricData::Summary { points } => points.for_each(|point| write(point.attributes(), summary(point))),
    }
}

fn number(point: NumberPointView<'_>) -> String {
    match point.value() {
        Some(NumberValue::Int(number)) => AnyValueView::Int(number).to_text().into_owned(),
        Some(NumberValue::Double(number)) => double(number),
        None => "(no recorded value)".to_owned(),
    }
}

/// `count=3 sum=1.5` and what else is given.
fn totals(count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> String {
    let mut text = format!("count={count}");
    for (name, number) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(number) = number {
            // Writing into a string does not fail.
            let _ = write!(text, " {name}={}", double(number));
        }
    }
    text
}

fn histogram(point: HistogramPointView<'_>) -> String {
    let mut text = totals(point.count(), point.sum(), point.min(), point.max());
    let mut bounds = point.explicit_bounds();
    for count in point.bucket_counts() {
        // The last bucket has no bound.
        let bound = bounds.next().map(|bound| format!("le{}=", double(bound))).unwrap_or_default();
        let _ = write!(text, " {bound}{count}");
    }
    text
}

fn exponential_histogram(point: ExponentialHistogramPointView<'_>) -> String {
    let mut text = totals(point.count(), point.sum(), point.min(), point.max());
    let bounds = |offset: i32, position: usize| {
        let (lower, upper) = exponential_bounds(point.scale(), i64::from(offset) + position as i64);
        (double(lower), double(upper))
    };
    let negative: Vec<u64> = point.negative().bucket_counts().collect();
    for (position, count) in negative.iter().enumerate().rev() {
        let (lower, upper) = bounds(point.negative().offset(), position);
        let _ = write!(text, " [-{upper},-{lower})={count}");
    }
    if point.zero_count() > 0 {
        let _ = write!(text, " 0={}", point.zero_count());
    }
    for (position, count) in point.positive().bucket_counts().enumerate() {
        let (lower, upper) = bounds(point.positive().offset(), position);
        let _ = write!(text, " ({lower},{upper}]={count}");
    }
    text
}

fn summary(point: SummaryPointView<'_>) -> String {
    let mut text = totals(point.count(), Some(point.sum()), None, None);
    for quantile in point.quantile_values() {
        let _ = write!(text, " q{}={}", double(quantile.quantile()), double(quantile.value()));
    }
    text
}
