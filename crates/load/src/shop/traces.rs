//! The spans of orders. Each service knows only its own, and all are one trace.

use std::ops::Range;

use otlp::encode::{ScopeSpansWriter, SpanWriter, TracesEncoder};
use otlp::{Batch, SpanId, SpanKind, StatusCode};

use super::{Service, Timetable};
use crate::identity::{Identity, trace_id};

/// One span of an order.
struct Part {
    name: &'static str,
    kind: SpanKind,
    /// The service and the number of the span that it is a child of.
    parent: Option<(Service, u64)>,
    start_ms: u64,
    end_ms: u64,
}

const fn part(
    name: &'static str,
    kind: SpanKind,
    parent: Option<(Service, u64)>,
    (start_ms, end_ms): (u64, u64),
) -> Part {
    Part { name, kind, parent, start_ms, end_ms }
}

const FRONTEND: [Part; 2] = [
    part("POST /checkout", SpanKind::Server, None, (0, 42)),
    part("shop.v1.Checkout/Place", SpanKind::Client, Some((Service::Frontend, 0)), (2, 40)),
];
const CHECKOUT: [Part; 3] = [
    part("shop.v1.Checkout/Place", SpanKind::Server, Some((Service::Frontend, 1)), (3, 39)),
    part("INSERT shop.orders", SpanKind::Client, Some((Service::Checkout, 0)), (5, 12)),
    part("shop.v1.Payment/Charge", SpanKind::Client, Some((Service::Checkout, 0)), (13, 37)),
];
const PAYMENT: [Part; 2] = [
    part("shop.v1.Payment/Charge", SpanKind::Server, Some((Service::Checkout, 2)), (14, 36)),
    part("authorise the card", SpanKind::Internal, Some((Service::Payment, 0)), (16, 35)),
];

const fn parts(service: Service) -> &'static [Part] {
    match service {
        Service::Frontend => &FRONTEND,
        Service::Checkout => &CHECKOUT,
        Service::Payment => &PAYMENT,
    }
}

/// How many spans a service makes of an order.
pub(super) const fn spans_per_order(service: Service) -> u64 {
    parts(service).len() as u64
}

/// The span of a service for an order. Sequence numbers follow from it, without a gap.
pub(super) fn span_id(timetable: &Timetable, service: Service, order: u64, number: u64) -> SpanId {
    let sequence = order * spans_per_order(service) + number + 1;
    Identity { run: timetable.run, worker: service.worker(), sequence }.span_id()
}

/// The spans of these orders.
pub(super) fn encode(service: Service, timetable: &Timetable, orders: Range<u64>) -> Batch {
    let mut encoder = TracesEncoder::new();
    if orders.is_empty() {
        return encoder.finish();
    }
    encoder.resource_spans(|block| {
        block.resource(|resource| service.describe(&mut resource.attributes()));
        block.scope_spans(|scope| {
            scope.scope(|scope| {
                scope.name("shop");
            });
            orders.for_each(|order| write_order(service, timetable, order, scope));
        });
    });
    encoder.finish()
}

fn write_order(service: Service, timetable: &Timetable, order: u64, scope: &mut ScopeSpansWriter<'_>) {
    let began_unix_ns = timetable.order_unix_ns(order);
    for (number, part) in (0..).zip(parts(service)) {
        scope.span(|span| {
            span.trace_id(trace_id(timetable.run, order)).span_id(span_id(timetable, service, order, number));
            if let Some((parent, number)) = part.parent {
                span.parent_span_id(span_id(timetable, parent, order, number));
            }
            span.name(part.name)
                .kind(part.kind)
                .start_time_unix_nano(began_unix_ns + part.start_ms * 1_000_000)
                .end_time_unix_nano(began_unix_ns + part.end_ms * 1_000_000);
            describe(service, order, part, span);
        });
    }
}

fn describe(service: Service, order: u64, part: &Part, span: &mut SpanWriter<'_>) {
    let has_failed = Timetable::is_failure(order);
    let mut attributes = span.attributes();
    attributes.int("shop.order.id", order as i64);
    match (service, part.kind) {
        (Service::Frontend, SpanKind::Server) => {
            attributes
                .string("http.request.method", "POST")
                .string("http.route", "/checkout")
                .int("http.response.status_code", if has_failed { 502 } else { 201 });
        }
        (Service::Checkout, SpanKind::Client) if part.name.starts_with("INSERT") => {
            attributes.string("db.system.name", "postgresql").string("db.collection.name", "orders");
            return;
        }
        (_, SpanKind::Server | SpanKind::Client) => {
            attributes.string("rpc.system", "grpc").int("rpc.grpc.status_code", if has_failed { 14 } else { 0 });
        }
        _ => {
            attributes.string("shop.card.network", if order.is_multiple_of(3) { "blue" } else { "red" });
        }
    }
    if has_failed {
        span.status(|status| {
            status.code(StatusCode::Error).message("the card's bank does not answer");
        });
    }
}
