//! Logs, traces and sets of series.

use otlp::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use otlp::{Batch, NumberValue, SpanId, SpanKind, Temporality, TraceId};
use parity::Side;

use super::naive::{self, Shown};
use super::{BEGIN_S, Outcome, SECOND_NS, Watch, at, exponential};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Of {
    Logs,
    /// Traces with the same ids on both sides.
    Shared,
    /// Traces with ids of their own.
    Separate,
    /// Twenty series of a counter.
    Series,
}

/// What is wrong on the new side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    Loss(f64),
    Twice,
    /// This share of the records has another text, or of the spans another name.
    Changed(f64),
    /// An attribute is gone.
    Attribute,
    /// The events of a span are gone.
    Event,
    /// The values of an attribute are written in another case.
    Rewritten,
    /// One of the callees begins traces of its own.
    Fragmented,
    /// One series of twenty is not there.
    OneMissing,
}

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) of: Of,
    pub(crate) per_second: f64,
    pub(crate) delay_s: [f64; 2],
    pub(crate) hours: f64,
    pub(crate) fault: Fault,
}

impl Scene {
    pub(crate) fn plain(seed: u64, of: Of) -> Scene {
        Scene { seed, of, per_second: 1.0, delay_s: [1.0, 20.0], hours: 3.0, fault: Fault::None }
    }

    pub(crate) fn any(seed: u64, of: Of, hours: f64) -> Scene {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x10c5);
        let per_second = [0.02, 0.2, 1.0, 3.0][random.usize(..4)];
        let delay_s = [0, 1].map(|_| [0.1, 5.0, 25.0][random.usize(..3)]);
        Scene { per_second, delay_s, hours, ..Scene::plain(seed, of) }
    }

    pub(crate) fn run(&self) -> Outcome {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut watch = Watch::new();
        let end = BEGIN_S + self.hours * 3600.0;
        let mut shown = [Shown::Deltas(vec![]), Shown::Deltas(vec![])];
        let (mut now, mut number, mut next_close) = (BEGIN_S, 0, BEGIN_S + 60.0);
        // What is under way to each side, by when it arrives.
        let mut waiting: [std::collections::BTreeMap<(u64, u64), Batch>; 2] = Default::default();
        while now < end {
            now += if self.of == Of::Series { 15.0 } else { exponential(&mut random, self.per_second) };
            number += 1;
            for side in [Side::Legacy, Side::New] {
                let arrives = now + random.f64() * self.delay_s[at(side)];
                let copies = match (side, self.fault) {
                    (Side::New, Fault::Loss(ratio)) => usize::from(random.f64() >= ratio),
                    (Side::New, Fault::Twice) => 2,
                    _ => 1,
                };
                for copy in 0..copies {
                    let batch = self.batch(side, number, now, &mut random, copy);
                    shown[at(side)].push(now, 1.0);
                    waiting[at(side)].insert(((arrives * 1e6) as u64, number * 2 + copy as u64), batch);
                }
            }
            while now > next_close {
                for side in [Side::Legacy, Side::New] {
                    let later = waiting[at(side)].split_off(&((next_close * 1e6) as u64, 0));
                    for batch in std::mem::replace(&mut waiting[at(side)], later).values() {
                        watch.comparator.observe(side, batch);
                    }
                }
                watch.close(next_close);
                next_close += 60.0;
            }
        }
        let naive = naive::compare(&shown, end);
        let series = if self.of == Of::Series { 20.0 } else { 1.0 };
        Outcome { naive, days: series * self.hours / 24.0, ..watch.finish(end) }
    }

    fn batch(&self, side: Side, number: u64, now: f64, random: &mut fastrand::Rng, copy: usize) -> Batch {
        let fault = if side == Side::New { self.fault } else { Fault::None };
        let is_changed = matches!(fault, Fault::Changed(ratio) if random.f64() < ratio);
        match self.of {
            Of::Logs => log(number, now, fault, is_changed),
            Of::Shared => trace(number, now, fault, is_changed, copy as u64 * 1_000_000_000),
            Of::Separate => {
                let own = (side as u64 + 1) * 10_000_000 + copy as u64 * 1_000_000_000;
                trace(number, now, fault, is_changed, own)
            }
            // The sides see the series at other moments.
            Of::Series => series(now + side as u64 as f64 * 7.0, number, fault),
        }
    }
}

fn ns(seconds: f64) -> u64 {
    (seconds * SECOND_NS) as u64
}

fn log(number: u64, now: f64, fault: Fault, is_changed: bool) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|resource| {
        resource.resource(|resource| {
            resource.attributes().string("service.name", "shop");
        });
        resource.scope_logs(|scope| {
            scope.log_record(|record| {
                record.time_unix_nano(ns(now));
                let body = format!("request {number} took {} ms", number * 7919 % 300);
                record.body().string(if is_changed { "REDACTED" } else { &body });
                if fault != Fault::Attribute {
                    record.attributes().string("http.route", "/cart");
                }
            });
        });
    });
    encoder.finish()
}

/// A request: a server span, a call below it, and what the callee does.
fn trace(number: u64, now: f64, fault: Fault, is_changed: bool, ids: u64) -> Batch {
    let id = |of: u64| {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&(number + ids).to_be_bytes());
        bytes[8..].copy_from_slice(&of.to_be_bytes());
        TraceId::new(bytes)
    };
    let span_id = |of: u64| SpanId::new(((number + ids) * 10 + of + 1).to_be_bytes());
    let mut encoder = TracesEncoder::new();
    for (service, spans) in [("shop", 0..2u64), ("price", 2..4)] {
        encoder.resource_spans(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.name", service);
            });
            resource.scope_spans(|scope| {
                for at in spans {
                    let (name, kind) = [
                        ("GET /cart", SpanKind::Server),
                        ("price", SpanKind::Client),
                        ("POST /price", SpanKind::Server),
                        ("SELECT", SpanKind::Client),
                    ][at as usize];
                    let is_apart = fault == Fault::Fragmented && at >= 2;
                    scope.span(|span| {
                        span.trace_id(if is_apart { id(7) } else { id(1) }).span_id(span_id(at)).kind(kind);
                        span.name(if is_changed && at == 3 { "INSERT" } else { name });
                        if at > 0 && !(is_apart && at == 2) {
                            span.parent_span_id(span_id(at - 1));
                        }
                        span.start_time_unix_nano(ns(now)).end_time_unix_nano(ns(now + 0.05));
                        if fault != Fault::Attribute {
                            span.attributes().string("region", "eu");
                        }
                        // What only some requests have: the same ones on both sides.
                        if number.is_multiple_of(3) {
                            span.attributes().string("user", "known");
                        }
                        if fault != Fault::Event && at == 3 {
                            span.event(|event| {
                                event.time_unix_nano(ns(now + 0.01)).name("retry");
                            });
                        }
                    });
                }
            });
        });
    }
    encoder.finish()
}

fn series(now: f64, number: u64, fault: Fault) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("requests").sum(|sum| {
                    sum.is_monotonic(true).temporality(Temporality::Cumulative);
                    // Series come one after the other, as a service meets new routes.
                    for series in (0..20u64).filter(|series| number > series * 20) {
                        if fault == Fault::OneMissing && series == 0 {
                            continue;
                        }
                        let route = format!("/Route{}", series / 2);
                        sum.point(|point| {
                            point.time_unix_nano(ns(now));
                            point.value(NumberValue::Double(((number - series * 20) * (series + 1)) as f64));
                            let lower = route.to_lowercase();
                            let route = if fault == Fault::Rewritten { &lower } else { &route };
                            point.attributes().string("route", route);
                            if fault != Fault::Attribute {
                                point.attributes().string("method", if series % 2 == 0 { "GET" } else { "POST" });
                            }
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}
