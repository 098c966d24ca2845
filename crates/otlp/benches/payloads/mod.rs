//! Requests of the shape that the comparisons of this project use: 200 items, spans of 357 bytes, data points of 149,
//! log records of 155.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const ITEMS: u64 = 200;
const START: u64 = 1_700_000_000_123_456_789;

pub(crate) fn string(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![
            string("service.name", "checkout"),
            string("service.namespace", "shop"),
            string("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"),
            string("telemetry.sdk.language", "rust"),
            string("host.name", "node-17.eu-central-1.compute.internal"),
        ],
        ..Default::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "shop.checkout".into(), version: "1.4.2".into(), ..Default::default() })
}

/// Bytes that look random, as ids do, and are the same in every run.
fn id<const N: usize>(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..N)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn span(index: u64) -> Span {
    Span {
        trace_id: id::<16>(index / 8),
        span_id: id::<8>(index + 1000),
        parent_span_id: id::<8>(index + 2000),
        flags: 0x101,
        name: "POST /api/v1/orders/{id}".into(),
        kind: 2,
        start_time_unix_nano: START + index * 1_000_003,
        end_time_unix_nano: START + index * 1_000_003 + 5_000_017,
        attributes: vec![
            string("http.request.method", "POST"),
            string("http.route", "/api/v1/orders/{id}"),
            attribute("http.response.status_code", Value::IntValue(200)),
            string("server.address", "orders.shop.svc"),
            string("network.protocol.version", "1.1"),
            string("user_agent.original", "shop-web/3.1.4b (linux; x64)"),
            string("shop.customer.id", &format!("c-{:08}", index * 7919)),
        ],
        status: Some(Status { code: 1, ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn traces() -> Vec<u8> {
    let spans: Vec<_> = (0..ITEMS).map(span).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans { scope: scope(), spans, ..Default::default() }],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

/// Spans of all shapes, against which no branch predictor learns a pattern: 0 to 15 attributes of several kinds and
/// lengths, some beyond ASCII, and events on every fourth.
pub(crate) fn mixed_traces() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut attributes = |max: usize| -> Vec<KeyValue> {
        let count = rng.usize(0..max);
        (0..count)
            .map(|_| {
                let key = &"http.request.header.content.type.of.the.body"[..rng.usize(5..40)];
                match rng.u8(0..20) {
                    0 => attribute(key, Value::BoolValue(true)),
                    1..4 => attribute(key, Value::IntValue(rng.i64(0..100_000))),
                    4 => attribute(key, Value::DoubleValue(rng.f64())),
                    5 => string(key, "заказ принят"),
                    _ => string(key, &"abcdefgh".repeat(16)[..rng.usize(1..100)]),
                }
            })
            .collect()
    };
    let spans = (0..ITEMS)
        .map(|index| {
            let mut span = span(index);
            span.attributes = attributes(16);
            if index % 4 == 0 {
                let event = Event { name: "retry".into(), attributes: attributes(4), ..Default::default() };
                span.events.push(event);
            }
            span
        })
        .collect();
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource: resource(), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn point(index: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![
            string("http.request.method", "GET"),
            string("http.route", &format!("/api/v1/items/{index:04}")),
            string("server.address", "items.shop.svc.cluster.local:18443"),
        ],
        start_time_unix_nano: START,
        time_unix_nano: START + 15_000_000_000,
        value: Some(number_data_point::Value::AsDouble(index as f64 * 1.25)),
        ..Default::default()
    }
}

pub(crate) fn metrics() -> Vec<u8> {
    let metrics = (0..ITEMS / 10)
        .map(|metric| Metric {
            name: format!("shop.items.requested.{metric:02}"),
            unit: "{request}".into(),
            data: Some(metric::Data::Gauge(Gauge {
                data_points: (0..10).map(|index| point(metric * 10 + index)).collect(),
            })),
            ..Default::default()
        })
        .collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics { scope: scope(), metrics, ..Default::default() }],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

fn log_record(index: u64) -> LogRecord {
    let body = format!("order {index:06} accepted, 3 items, charged EUR 42.42");
    LogRecord {
        time_unix_nano: START + index,
        observed_time_unix_nano: START + index + 1000,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![string("order.kind", "web"), string("code.function", "accept")],
        trace_id: id::<16>(index),
        span_id: id::<8>(index),
        ..Default::default()
    }
}

pub(crate) fn logs() -> Vec<u8> {
    let log_records: Vec<_> = (0..ITEMS).map(log_record).collect();
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs { scope: scope(), log_records, ..Default::default() }],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

/// That the requests have the sizes that the figures are quoted for.
pub(crate) fn assert_sizes() {
    assert_eq!(span(1).encoded_len(), 357);
    assert_eq!(point(1).encoded_len(), 149);
    assert_eq!(log_record(1).encoded_len(), 155);
}
