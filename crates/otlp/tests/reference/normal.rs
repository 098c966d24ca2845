//! What views cannot tell apart, made the same: absent and empty messages, and the entity references that views skip.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;

pub fn traces(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for block in &mut request.resource_spans {
        resource(&mut block.resource);
        for scope_spans in &mut block.scope_spans {
            scope(&mut scope_spans.scope);
            for span in &mut scope_spans.spans {
                attributes(&mut span.attributes);
                span.events.iter_mut().for_each(|event| attributes(&mut event.attributes));
                span.links.iter_mut().for_each(|link| attributes(&mut link.attributes));
                drop_empty(&mut span.status);
            }
        }
    }
    request
}

pub fn logs(mut request: ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    for block in &mut request.resource_logs {
        resource(&mut block.resource);
        for scope_logs in &mut block.scope_logs {
            scope(&mut scope_logs.scope);
            for record in &mut scope_logs.log_records {
                attributes(&mut record.attributes);
                optional_value(&mut record.body);
            }
        }
    }
    request
}

pub fn metrics(mut request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest {
    for block in &mut request.resource_metrics {
        resource(&mut block.resource);
        for scope_metrics in &mut block.scope_metrics {
            scope(&mut scope_metrics.scope);
            for metric in &mut scope_metrics.metrics {
                attributes(&mut metric.metadata);
                if let Some(found) = &mut metric.data {
                    data(found);
                }
            }
        }
    }
    request
}

fn data(data: &mut metric::Data) {
    match data {
        metric::Data::Gauge(gauge) => gauge.data_points.iter_mut().for_each(|point| {
            attributes(&mut point.attributes);
            exemplars(&mut point.exemplars);
        }),
        metric::Data::Sum(sum) => sum.data_points.iter_mut().for_each(|point| {
            attributes(&mut point.attributes);
            exemplars(&mut point.exemplars);
        }),
        metric::Data::Histogram(histogram) => histogram.data_points.iter_mut().for_each(|point| {
            attributes(&mut point.attributes);
            exemplars(&mut point.exemplars);
        }),
        metric::Data::ExponentialHistogram(histogram) => histogram.data_points.iter_mut().for_each(|point| {
            attributes(&mut point.attributes);
            exemplars(&mut point.exemplars);
            drop_empty(&mut point.positive);
            drop_empty(&mut point.negative);
        }),
        metric::Data::Summary(summary) => {
            summary.data_points.iter_mut().for_each(|point| attributes(&mut point.attributes));
        }
    }
}

fn exemplars(exemplars: &mut [Exemplar]) {
    exemplars.iter_mut().for_each(|exemplar| attributes(&mut exemplar.filtered_attributes));
}

fn drop_empty<T: Default + PartialEq>(message: &mut Option<T>) {
    message.take_if(|message| *message == T::default());
}

fn resource(found: &mut Option<Resource>) {
    if let Some(resource) = found {
        attributes(&mut resource.attributes);
        resource.entity_refs.clear();
    }
    drop_empty(found);
}

fn scope(found: &mut Option<InstrumentationScope>) {
    if let Some(scope) = found {
        attributes(&mut scope.attributes);
    }
    drop_empty(found);
}

fn attributes(attributes: &mut [KeyValue]) {
    attributes.iter_mut().for_each(|attribute| optional_value(&mut attribute.value));
}

fn optional_value(found: &mut Option<AnyValue>) {
    if let Some(found) = found {
        value(found);
    }
    drop_empty(found);
}

fn value(found: &mut AnyValue) {
    match &mut found.value {
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(value),
        Some(Value::KvlistValue(list)) => attributes(&mut list.values),
        _ => {}
    }
}
