//! What the services write about orders.

use std::ops::Range;

use otlp::Batch;
use otlp::encode::{LogRecordWriter, LogsEncoder};

use super::{Service, Timetable, traces};
use crate::identity::{Identity, LOG_ID_KEY, trace_id};

const fn texts(service: Service) -> &'static [&'static str] {
    match service {
        Service::Frontend => &["checkout requested"],
        Service::Checkout => &["order stored", "order placed"],
        Service::Payment => &["card charged"],
    }
}

/// How many log records a service writes about an order.
pub(super) const fn records_per_order(service: Service) -> u64 {
    texts(service).len() as u64
}

/// The log records about these orders.
pub(super) fn encode(service: Service, timetable: &Timetable, orders: Range<u64>) -> Batch {
    let mut encoder = LogsEncoder::new();
    if orders.is_empty() {
        return encoder.finish();
    }
    encoder.resource_logs(|block| {
        block.resource(|resource| service.describe(&mut resource.attributes()));
        block.scope_logs(|scope| {
            scope.scope(|scope| {
                scope.name("shop");
            });
            for order in orders {
                for (number, text) in (0..).zip(texts(service)) {
                    scope.log_record(|record| write_record(service, timetable, order, number, text, record));
                }
            }
        });
    });
    encoder.finish()
}

fn write_record(
    service: Service,
    timetable: &Timetable,
    order: u64,
    number: u64,
    text: &str,
    record: &mut LogRecordWriter<'_>,
) {
    let sequence = order * records_per_order(service) + number + 1;
    let id = Identity { run: timetable.run, worker: service.worker(), sequence }.log_id();
    let id = std::str::from_utf8(&id).unwrap_or_default();
    let unix_ns = timetable.order_unix_ns(order) + (20 + number) * 1_000_000;
    let (severity, severity_text) = if Timetable::is_failure(order) { (17, "ERROR") } else { (9, "INFO") };
    record
        .time_unix_nano(unix_ns)
        .observed_time_unix_nano(unix_ns)
        .severity_number(severity)
        .severity_text(severity_text);
    record.body().string(&format!("order {order}: {text} ({id})"));
    record.attributes().string(LOG_ID_KEY, id).int("shop.order.id", order as i64);
    record.trace_id(trace_id(timetable.run, order)).span_id(traces::span_id(timetable, service, order, 0));
}
