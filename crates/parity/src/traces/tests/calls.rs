//! Traces that tests put together call by call.

use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, SpanKind, StatusCode, TraceId};

use super::super::*;

/// One span; the first one of a trace is its root.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    /// The call that it is made by.
    pub(super) below: usize,
    pub(super) attributes: Vec<(&'static str, &'static str)>,
    pub(super) events: Vec<&'static str>,
    /// So many links to spans of other traces.
    pub(super) links: u64,
    pub(super) is_error: bool,
}

impl Call {
    pub(super) fn new(name: &'static str, kind: SpanKind) -> Call {
        Call { name, kind, below: 0, attributes: vec![], events: vec![], links: 0, is_error: false }
    }

    pub(super) fn drop_attribute(&mut self, key: &str) {
        self.attributes.retain(|(known, _)| *known != key);
    }

    pub(super) fn rename_attribute(&mut self, old: &str, new: &'static str) {
        self.attributes.iter_mut().filter(|(known, _)| *known == old).for_each(|(key, _)| *key = new);
    }
}

/// The calls of a request: a page that asks a database twice, which tries again now and then.
pub(super) fn request(number: u64) -> Vec<Call> {
    let mut root = Call::new("GET /cart", SpanKind::Server);
    root.attributes = vec![("http.method", "GET"), ("region", "eu"), ("team", "pay")];
    if number.is_multiple_of(3) {
        root.attributes.push(("user", "known"));
    }
    root.links = number % 2;
    let mut select = Call::new("SELECT", SpanKind::Client);
    select.attributes = vec![("db.system", "postgresql")];
    let mut price = Call::new("price", SpanKind::Internal);
    price.events = if number.is_multiple_of(4) { vec!["retry", "retry", "done"] } else { vec!["done"] };
    vec![root, select.clone(), price, Call { below: 2, ..select }]
}

fn at_ns(number: u64) -> u64 {
    1_000_000_000_000 + number * 50_000_000
}

fn span_id(of: u64, at: usize) -> SpanId {
    SpanId::new((of * 100 + at as u64 + 1).to_be_bytes())
}

fn trace_id(of: u64) -> TraceId {
    let mut bytes = [0u8; 16];
    bytes[..8].copy_from_slice(&(of + 1).to_be_bytes());
    bytes[8..].copy_from_slice(&7u64.to_be_bytes());
    TraceId::new(bytes)
}

/// A trace of these calls. Its ids are those of `ids`.
pub(super) fn trace(number: u64, ids: u64, resource: &[(&str, &str)], calls: &[Call]) -> Batch {
    let of = number + ids;
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|spans| {
        spans.resource(|written| {
            let mut attributes = written.attributes();
            attributes.string("service.name", "shop");
            resource.iter().for_each(|(key, value)| {
                attributes.string(key, value);
            });
        });
        spans.scope_spans(|scope| {
            scope.scope(|scope| {
                scope.name("shop.http").version("1.2");
            });
            for (at, call) in calls.iter().enumerate() {
                scope.span(|span| {
                    span.trace_id(trace_id(of)).span_id(span_id(of, at)).name(call.name).kind(call.kind);
                    if at > 0 {
                        span.parent_span_id(span_id(of, call.below));
                    }
                    span.start_time_unix_nano(at_ns(number)).end_time_unix_nano(at_ns(number) + 5_000_123);
                    for (key, value) in &call.attributes {
                        span.attributes().string(key, value);
                    }
                    for name in &call.events {
                        span.event(|event| {
                            event.time_unix_nano(at_ns(number) + 1000).name(name);
                            event.attributes().string("why", "busy");
                        });
                    }
                    for link in 0..call.links {
                        span.link(|written| {
                            written.trace_id(trace_id(of + link + 1_000)).span_id(span_id(of + link + 1_000, 0));
                            written.attributes().string("batch", "night");
                        });
                    }
                    let code = if call.is_error { StatusCode::Error } else { StatusCode::Unset };
                    span.status(|status| {
                        status.code(code);
                    });
                });
            }
        });
    });
    encoder.finish()
}

/// What both sides come to, where the batches of each are those of a function.
pub(super) fn compare(
    requests: u64,
    legacy: impl Fn(u64) -> Vec<Batch>,
    new: impl Fn(u64) -> Vec<Batch>,
) -> Vec<PopulationVerdict> {
    let mut traces = Traces::new(TraceSettings::default());
    for number in 0..requests {
        legacy(number).iter().for_each(|batch| traces.observe(Side::Legacy, batch.traces().unwrap()));
        new(number).iter().for_each(|batch| traces.observe(Side::New, batch.traces().unwrap()));
        if number % 100 == 0 {
            traces.close(traces.watermark());
        }
    }
    traces.close(u64::MAX)
}

/// The only verdict of ten thousand spans or so, where the new side is changed; none for the ids of the legacy side.
pub(super) fn changed(new_ids: u64, change: impl Fn(u64, &mut Vec<Call>)) -> PopulationVerdict {
    let of = |number: u64, ids: u64, calls: &[Call]| vec![trace(number, ids, &[("host.name", "a")], calls)];
    let mut verdicts = compare(
        1500,
        |number| of(number, 0, &request(number)),
        |number| {
            let mut calls = request(number);
            change(number, &mut calls);
            of(number, new_ids, &calls)
        },
    );
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    verdicts.remove(0)
}

/// The cause of a difference that is strong enough among ten thousand others, and what shows it.
pub(super) fn found(population: &PopulationVerdict) -> (crate::verdict::Cause, String) {
    let Verdict::Different(finding) = &population.verdict else { panic!("{population:?}") };
    assert!(population.strength.value() > 10_000.0 / 0.05, "{population:?}");
    (finding.cause.clone(), finding.evidence.clone())
}
