//! Recordings of a shop that is seen by two pipelines, and how the binary is asked about them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use otlp::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use otlp::{Batch, NumberValue, SpanId, SpanKind, Temporality, TraceId};
use parity::Side;

pub(crate) const START_S: u64 = 1_800_000_000;
pub(crate) const LENGTH_S: u64 = 3600;

/// A name that would run a script in a page which does not escape it.
pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

/// What is wrong with the new side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// One event in fifty is lost.
    Loss,
    /// The queue is three percent fuller.
    Level,
}

/// How many requests there were after so many seconds.
pub(crate) fn requests(seconds: f64, side: Side, fault: Fault) -> f64 {
    let count = (50.0 * seconds).floor();
    match (side, fault) {
        (Side::New, Fault::Loss) => count - (count * 0.02).floor(),
        _ => count,
    }
}

/// How full the queue was then.
pub(crate) fn depth(seconds: f64) -> f64 {
    100.0 + 10.0 * (seconds / 300.0).sin()
}

fn metrics(names: Side, side: Side, fault: Fault, at_s: u64) -> Batch {
    let name = if names == Side::Legacy { "requests_total" } else { "requests" };
    let fuller = if side == Side::New && fault == Fault::Level { 1.03 } else { 1.0 };
    let time = (START_S + at_s) * 1_000_000_000;
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name(name);
                metric.sum(|sum| {
                    sum.temporality(Temporality::Cumulative).is_monotonic(true);
                    sum.point(|point| {
                        point.time_unix_nano(time).start_time_unix_nano(START_S * 1_000_000_000);
                        point.value(NumberValue::Double(requests(at_s as f64, side, fault)));
                        point.attributes().string("shop", HOSTILE);
                    });
                });
            });
            scope.metric(|metric| {
                metric.name("queue.depth");
                metric.gauge(|gauge| {
                    gauge.point(|point| {
                        point.time_unix_nano(time).value(NumberValue::Double(fuller * depth(at_s as f64)));
                    });
                });
            });
        });
    });
    encoder.finish()
}

fn logs(at_s: u64) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|resource| {
        resource.resource(|resource| {
            resource.attributes().string("service.name", HOSTILE);
        });
        resource.scope_logs(|scope| {
            for record in 0..5 {
                scope.log_record(|log| {
                    log.time_unix_nano((START_S + at_s + record) * 1_000_000_000)
                        .body()
                        .string(&format!("order {at_s}"));
                });
            }
        });
    });
    encoder.finish()
}

fn traces(at_s: u64) -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|resource| {
        resource.resource(|resource| {
            resource.attributes().string("service.name", "checkout");
        });
        resource.scope_spans(|scope| {
            scope.span(|span| {
                let mut id = [1; 16];
                id[..8].copy_from_slice(&at_s.to_be_bytes());
                span.trace_id(TraceId::new(id))
                    .span_id(SpanId::new([2; 8]))
                    .name("POST /orders")
                    .kind(SpanKind::Server);
                let start = (START_S + at_s) * 1_000_000_000;
                span.start_time_unix_nano(start).end_time_unix_nano(start + 40_000_000);
            });
        });
    });
    encoder.finish()
}

/// What one side recorded, as the `file` exporter writes it: the sides sample at other moments, and began and ended at
/// other times.
pub(crate) fn recording(side: Side, fault: Fault) -> Vec<u8> {
    recorded(side, side, fault)
}

/// What a second sampler of the legacy side recorded, at the moments of the new side.
pub(crate) fn replica(fault: Fault) -> Vec<u8> {
    recorded(Side::Legacy, Side::New, fault)
}

fn recorded(names: Side, side: Side, fault: Fault) -> Vec<u8> {
    let (interval, phase, from, to) = match side {
        Side::Legacy => (15, 0, 0, LENGTH_S),
        Side::New => (10, 3, 60, LENGTH_S - 90),
    };
    let mut out = Vec::new();
    let mut write = |batch: &Batch| {
        otlp::json::encode(batch, &mut out);
        out.push(b'\n');
    };
    for at_s in from..to {
        if at_s % interval == phase {
            write(&metrics(names, side, fault, at_s));
        }
        if at_s % 20 == 0 {
            write(&logs(at_s));
        }
        if at_s % 4 == 0 {
            write(&traces(at_s));
        }
    }
    out
}

/// Writes both recordings into a directory.
pub(crate) fn record(directory: &Path, fault: Fault) {
    for (name, side) in [("legacy.jsonl", Side::Legacy), ("new.jsonl", Side::New)] {
        fs::write(directory.join(name), recording(side, fault)).unwrap();
    }
}

/// Runs `crossfade parity` in a directory.
pub(crate) fn parity(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
    command.current_dir(directory).arg("parity").args(arguments).output().unwrap()
}

/// Runs it and holds the exit code to what is expected; gives what it wrote.
pub(crate) fn check_exit(directory: &Path, arguments: &[&str], expected: i32) -> (String, String) {
    let output = parity(directory, arguments);
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(expected), "{arguments:?}\n{out}\n{err}");
    (out, err)
}
