use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, SpanKind, StatusCode, TraceId};

use super::*;
use crate::verdict::Cause;

/// A trace of a request: a server span, and two calls below it.
struct Request {
    number: u64,
    at_ns: u64,
    ids: u64,
    /// What the second call is named.
    second: &'static str,
    attribute: Option<&'static str>,
    /// The context of the second call is lost.
    is_fragmented: bool,
}

impl Request {
    fn new(number: u64) -> Request {
        let at_ns = 1_000_000_000_000 + number * 50_000_000;
        Request { number, at_ns, ids: 0, second: "SELECT", attribute: Some("eu"), is_fragmented: false }
    }

    fn batch(&self) -> Batch {
        let mut encoder = TracesEncoder::new();
        let id = |of: u64| {
            let mut bytes = [0u8; 16];
            bytes[..8].copy_from_slice(&(self.number + self.ids).to_be_bytes());
            bytes[8..].copy_from_slice(&of.to_be_bytes());
            TraceId::new(bytes)
        };
        let span_id = |of: u64| SpanId::new((self.number * 10 + self.ids + of + 1).to_be_bytes());
        encoder.resource_spans(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.name", "shop");
            });
            resource.scope_spans(|scope| {
                let calls =
                    [("GET /cart", SpanKind::Server), ("price", SpanKind::Client), (self.second, SpanKind::Internal)];
                for (at, (name, kind)) in calls.into_iter().enumerate() {
                    let at = at as u64;
                    scope.span(|span| {
                        let is_apart = at == 2 && self.is_fragmented;
                        span.trace_id(if is_apart { id(7) } else { id(1) }).span_id(span_id(at)).name(name).kind(kind);
                        if at > 0 {
                            span.parent_span_id(span_id(0));
                        }
                        span.start_time_unix_nano(self.at_ns).end_time_unix_nano(self.at_ns + 5_000_123);
                        if let Some(value) = self.attribute {
                            span.attributes().string("region", value);
                        }
                        span.status(|status| {
                            status.code(StatusCode::Unset);
                        });
                    });
                }
            });
        });
        encoder.finish()
    }
}

fn check(change: impl Fn(Request) -> Option<Request>) -> (Ids, Vec<PopulationVerdict>) {
    let mut traces = Traces::new(TraceSettings::default());
    for number in 0..4000 {
        traces.observe(Side::Legacy, Request::new(number).batch().traces().unwrap());
        if let Some(request) = change(Request::new(number)) {
            traces.observe(Side::New, request.batch().traces().unwrap());
        }
        if number % 500 == 0 {
            traces.close(traces.watermark());
        }
    }
    let verdicts = traces.close(u64::MAX);
    (traces.ids(), verdicts)
}

fn cause(verdicts: &[PopulationVerdict]) -> Cause {
    let different = verdicts.iter().find_map(|population| match &population.verdict {
        Verdict::Different(finding) => Some(finding.cause.clone()),
        _ => None,
    });
    different.unwrap_or_else(|| panic!("{verdicts:?}"))
}

#[test]
fn the_same_spans_are_equal() {
    let (ids, verdicts) = check(Some);
    assert_eq!((ids, verdicts.len()), (Ids::Shared, 1));
    assert!(
        matches!(verdicts[0].verdict, Verdict::Equivalent { margin_ratio, .. } if margin_ratio < 0.002),
        "{verdicts:?}"
    );
    assert_eq!((verdicts[0].legacy, verdicts[0].new), (12_000, 12_000));
}

#[test]
fn what_jaeger_and_zipkin_lose_is_no_difference() {
    let (_, verdicts) = check(|request| Some(Request { at_ns: request.at_ns / 1000 * 1000, ..request }));
    assert!(matches!(verdicts[0].verdict, Verdict::Equivalent { .. }), "{verdicts:?}");
}

#[test]
fn lost_spans_are_a_loss() {
    let (_, verdicts) = check(|request| (request.number % 20 != 0).then_some(request));
    let Cause::Loss { side: Side::New, ratio_low, ratio_high } = cause(&verdicts) else { panic!("{verdicts:?}") };
    assert!(ratio_low < 0.05 && ratio_high > 0.05, "{ratio_low} {ratio_high}");
}

#[test]
fn an_attribute_that_is_gone_and_one_that_changed_are_named() {
    let (_, verdicts) = check(|request| Some(Request { attribute: None, ..request }));
    assert_eq!(cause(&verdicts), Cause::AttributeMissing { side: Side::New, key: "region".into() });
    let (_, verdicts) = check(|request| Some(Request { attribute: Some("us"), ..request }));
    assert_eq!(cause(&verdicts), Cause::FieldsDiffer { fields: vec!["attribute region".into()] });
}

#[test]
fn traces_of_other_ids_are_equal_by_their_shapes() {
    let (ids, verdicts) = check(|request| Some(Request { ids: 1_000_000, ..request }));
    assert_eq!(ids, Ids::Separate);
    assert_eq!(verdicts[0].population, "shop GET /cart");
    assert!(matches!(verdicts[0].verdict, Verdict::Equivalent { .. }), "{verdicts:?}");
}

#[test]
fn another_shape_is_found_among_other_ids() {
    let (_, verdicts) = check(|request| Some(Request { ids: 1_000_000, second: "INSERT", ..request }));
    assert_eq!(cause(&verdicts), Cause::FieldsDiffer { fields: vec!["shape".into()] });
}

#[test]
fn broken_traces_are_found_among_other_ids() {
    let (_, verdicts) = check(|request| Some(Request { ids: 1_000_000, is_fragmented: true, ..request }));
    assert!(matches!(cause(&verdicts), Cause::TracesFragmented { side: Side::New, .. }), "{verdicts:?}");
}

#[test]
fn a_share_of_the_traces_is_the_same_share_on_both_sides() {
    let mut traces = Traces::new(TraceSettings { share_permille: 250, ..TraceSettings::default() });
    for side in [Side::Legacy, Side::New] {
        for number in 0..400 {
            traces.observe(side, Request::new(number).batch().traces().unwrap());
        }
    }
    let verdicts = traces.close(u64::MAX / 2);
    let [shop] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    assert_eq!(shop.legacy, shop.new);
    // Each trace has three spans.
    assert!((200..400).contains(&shop.legacy) && shop.legacy.is_multiple_of(3), "{shop:?}");
}

mod calls;
mod protocols;
mod separate;
mod shared;
