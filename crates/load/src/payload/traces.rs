//! Traces of five spans, as a shop's backend makes them: a request, and four calls that it causes.

use otlp::encode::{AttributesWriter, SpanWriter, TracesEncoder};
use otlp::{SpanKind, StatusCode};

use super::slots::{Kind, Mark, placeholder};
use super::{Draft, Plan, describe_resource, write_extra_attributes};

const SPANS_PER_TRACE: u32 = 5;
/// From the request's time to the start of a span, and from there to its end.
const STEP_NS: u32 = 1_000;
const DURATION_NS: u32 = 12_345_678;

pub(super) fn draft(plan: &Plan) -> Draft {
    let items = plan.items;
    let mut encoder = TracesEncoder::with_capacity(items as usize * 400 + 1024);
    let mut rng = plan.rng(0);
    for (number, spans) in plan.shares() {
        encoder.resource_spans(|block| {
            block.resource(|resource| describe_resource(plan, number, &mut resource.attributes()));
            block.scope_spans(|scope| {
                scope.scope(|scope| {
                    scope.name("crossfade.load").version("1.0.0");
                });
                for item in spans {
                    scope.span(|span| write_span(plan, &mut rng, item % SPANS_PER_TRACE, span));
                }
            });
        });
    }
    Draft { batch: encoder.finish(), marks: marks(items) }
}

fn marks(items: u32) -> Vec<Mark> {
    let root = |item: u32| item - item % SPANS_PER_TRACE;
    let start = |item: u32| (item % SPANS_PER_TRACE) * STEP_NS;
    let all = |argument: &dyn Fn(u32) -> u32| (0..items).map(|item| (item, argument(item))).collect();
    vec![
        Mark { kind: Kind::TraceId, items: all(&root) },
        Mark { kind: Kind::SpanId, items: all(&|_| 0) },
        Mark {
            kind: Kind::ParentSpanId,
            items: (0..items).filter(|item| root(*item) != *item).map(|item| (item, root(item))).collect(),
        },
        Mark { kind: Kind::StartTime, items: all(&start) },
        Mark { kind: Kind::EndTime, items: all(&|item| start(item) + DURATION_NS / (item % SPANS_PER_TRACE + 1)) },
    ]
}

fn write_span(plan: &Plan, rng: &mut fastrand::Rng, role: u32, span: &mut SpanWriter<'_>) {
    const NAMES: [(&str, SpanKind); SPANS_PER_TRACE as usize] = [
        ("POST /api/v1/orders", SpanKind::Server),
        ("SELECT shop.carts", SpanKind::Client),
        ("shop.v1.Payment/Charge", SpanKind::Client),
        ("price the order", SpanKind::Internal),
        ("publish order.placed", SpanKind::Producer),
    ];
    let (name, kind) = NAMES[role as usize];
    span.trace_id(placeholder::TRACE_ID).span_id(placeholder::SPAN_ID);
    if role != 0 {
        span.parent_span_id(placeholder::PARENT_SPAN_ID);
    }
    span.name(name).kind(kind).start_time_unix_nano(placeholder::START_TIME).end_time_unix_nano(placeholder::END_TIME);
    let mut attributes = span.attributes();
    match role {
        0 => describe_request(rng, &mut attributes),
        1 => describe_query(rng, &mut attributes),
        2 => describe_call(rng, &mut attributes),
        3 => describe_pricing(rng, &mut attributes),
        _ => describe_message(rng, &mut attributes),
    }
    attributes.int("thread.id", rng.i64(10..64));
    write_extra_attributes(plan, rng, &mut attributes);
    span.status(|status| {
        status.code(StatusCode::Ok);
    });
    span.flags(0x101);
}

fn describe_request(rng: &mut fastrand::Rng, attributes: &mut AttributesWriter<'_>) {
    attributes
        .string("http.request.method", "POST")
        .string("url.scheme", "https")
        .string("url.path", "/api/v1/orders")
        .string("http.route", "/api/v1/orders")
        .int("http.response.status_code", 201)
        .string("client.address", &format!("10.{}.{}.{}", rng.u8(100..), rng.u8(100..), rng.u8(100..)))
        .string("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
}

fn describe_query(rng: &mut fastrand::Rng, attributes: &mut AttributesWriter<'_>) {
    attributes
        .string("db.system.name", "postgresql")
        .string("db.namespace", "shop")
        .string("db.operation.name", "SELECT")
        .string("db.query.text", "SELECT sku, quantity FROM carts WHERE cart_id = $1")
        .string("server.address", &format!("db-{:02}.internal", rng.u8(..100)))
        .int("server.port", 5432);
}

fn describe_call(rng: &mut fastrand::Rng, attributes: &mut AttributesWriter<'_>) {
    attributes
        .string("rpc.system", "grpc")
        .string("rpc.service", "shop.v1.Payment")
        .string("rpc.method", "Charge")
        .int("rpc.grpc.status_code", 0)
        .string("server.address", &format!("payment-{:02}.internal", rng.u8(..100)))
        .int("server.port", 8443)
        .string("shop.payment.provider", "example-bank")
        .string("network.protocol.version", "2");
}

fn describe_pricing(rng: &mut fastrand::Rng, attributes: &mut AttributesWriter<'_>) {
    attributes
        .string("shop.currency", "EUR")
        .double("shop.order.total", f64::from(rng.u32(100..100_000)) / 100.0)
        .int("shop.order.lines", rng.i64(1..64))
        .bool("shop.order.gift", rng.bool())
        .string("shop.discount.code", &format!("SPRING-{:06}", rng.u32(..1_000_000)))
        .string("code.function.name", "shop::pricing::Basket::price")
        .string("code.file.path", "src/pricing/basket.rs")
        .int("code.line.number", 117);
}

fn describe_message(rng: &mut fastrand::Rng, attributes: &mut AttributesWriter<'_>) {
    attributes
        .string("messaging.system", "kafka")
        .string("messaging.operation.name", "publish")
        .string("messaging.destination.name", "order.placed")
        .string("messaging.destination.partition.id", &format!("{:02}", rng.u8(..64)))
        .string("messaging.client.id", "checkout-producer-1")
        .int("messaging.message.body.size", rng.i64(200..2000));
}
