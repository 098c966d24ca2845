//! Requests as the list of their records, each with what stands around it.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, Gauge, Histogram, ResourceMetrics, ScopeMetrics, Sum, Summary,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

/// One block for each span.
pub fn traces(request: &ExportTraceServiceRequest) -> Vec<ResourceSpans> {
    let mut flat = Vec::new();
    for block in &request.resource_spans {
        for scope in &block.scope_spans {
            for span in &scope.spans {
                let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..scope.clone() }];
                flat.push(ResourceSpans { scope_spans, ..block.clone() });
            }
        }
    }
    flat
}

/// One block for each log record.
pub fn logs(request: &ExportLogsServiceRequest) -> Vec<ResourceLogs> {
    let mut flat = Vec::new();
    for block in &request.resource_logs {
        for scope in &block.scope_logs {
            for record in &scope.log_records {
                let scope_logs = vec![ScopeLogs { log_records: vec![record.clone()], ..scope.clone() }];
                flat.push(ResourceLogs { scope_logs, ..block.clone() });
            }
        }
    }
    flat
}

/// One block for each data point.
pub fn metrics(request: &ExportMetricsServiceRequest) -> Vec<ResourceMetrics> {
    let mut flat = Vec::new();
    for block in &request.resource_metrics {
        for scope in &block.scope_metrics {
            for metric in &scope.metrics {
                for data in metric.data.iter().flat_map(single_points) {
                    let mut metric = metric.clone();
                    metric.data = Some(data);
                    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..scope.clone() }];
                    flat.push(ResourceMetrics { scope_metrics, ..block.clone() });
                }
            }
        }
    }
    flat
}

/// The data, once for each data point.
fn single_points(data: &Data) -> Vec<Data> {
    match data {
        Data::Gauge(all) => {
            let single = |point: &_| Data::Gauge(Gauge { data_points: vec![Clone::clone(point)] });
            all.data_points.iter().map(single).collect()
        }
        Data::Sum(all) => {
            let single = |point: &_| Data::Sum(Sum { data_points: vec![Clone::clone(point)], ..all.clone() });
            all.data_points.iter().map(single).collect()
        }
        Data::Histogram(all) => {
            let single =
                |point: &_| Data::Histogram(Histogram { data_points: vec![Clone::clone(point)], ..all.clone() });
            all.data_points.iter().map(single).collect()
        }
        Data::ExponentialHistogram(all) => {
            let single = |point: &_| {
                Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![Clone::clone(point)],
                    ..all.clone()
                })
            };
            all.data_points.iter().map(single).collect()
        }
        Data::Summary(all) => {
            let single = |point: &_| Data::Summary(Summary { data_points: vec![Clone::clone(point)] });
            all.data_points.iter().map(single).collect()
        }
    }
}
