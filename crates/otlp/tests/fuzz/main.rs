//! Valid requests, mutated at random from a fixed seed. `FUZZ_ITERATIONS` sets how often (10,000 by default), and
//! `FUZZ_SEED` another seed. `cargo fuzz` runs the same functions with coverage feedback, see `fuzz/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod entries;

use otlp::encode::{AttributesWriter, LogsEncoder, MetricsEncoder, TracesEncoder};
use otlp::response::{ExportResponse, Status};
use otlp::wire::{FieldValue, Fields, write_bytes_field, write_varint_field};
use otlp::{Batch, NumberValue, Signal, SpanId, StatusCode, Temporality, TraceId, json};

/// Bytes that change the meaning of tags, lengths, text and JSON.
const INTERESTING: &[u8] =
    &[0, 1, 2, 5, 8, 0x0a, 0x12, 0x7f, 0x80, 0xc3, 0xff, b'"', b'{', b'}', b'[', b']', b'\\', b','];

/// Changes bytes without regard to what they mean.
fn mutate_bytes(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(0..=bytes.len());
    let end = (at + rng.usize(0..16)).min(bytes.len());
    match rng.u8(0..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
        1 if at < bytes.len() => bytes[at] = INTERESTING[rng.usize(0..INTERESTING.len())],
        2 => bytes.insert(at, INTERESTING[rng.usize(0..INTERESTING.len())]),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = rng.usize(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        5 if rng.u8(0..8) == 0 => bytes.truncate(at),
        // A digit for a digit and a letter for a letter leave text what it is.
        6 | 7 if at < bytes.len() && bytes[at].is_ascii_alphanumeric() => bytes[at] = rng.alphanumeric() as u8,
        _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        _ => {}
    }
}

/// Changes the fields of a message somewhere inside, and keeps all lengths right.
fn mutate_message(rng: &mut fastrand::Rng, message: &[u8]) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = Fields::new(message).map(|field| field.raw(message).to_vec()).collect();
    if fields.is_empty() {
        return [message, &[0x08, rng.u8(..) & 0x7f]].concat();
    }
    let at = rng.usize(0..fields.len());
    let field = Fields::new(&fields[at]).next().unwrap();
    match (field.value, rng.u8(0..8)) {
        // Mostly further down, whether it is a message or text that looks like one.
        (FieldValue::Length(inner), 0..6) => {
            let inner = mutate_message(rng, inner);
            let number = field.number;
            fields[at].clear();
            write_bytes_field(&mut fields[at], number, &inner);
        }
        (_, 0) => drop(fields.remove(at)),
        (_, 1..3) => fields.insert(rng.usize(0..=at), fields[at].clone()),
        (_, 3..5) => {
            let other = rng.usize(0..fields.len());
            fields.swap(at, other);
        }
        (FieldValue::Varint(_), _) => {
            let number = field.number;
            fields[at].clear();
            write_varint_field(&mut fields[at], number, rng.u64(..) >> rng.u8(0..64));
        }
        (_, 5) => write_bytes_field(&mut fields[at], 900, b"unknown"),
        _ => mutate_bytes(rng, &mut fields[at]),
    }
    fields.concat()
}

fn mutate(rng: &mut fastrand::Rng, input: &mut Vec<u8>) {
    if rng.bool() && !input.is_empty() {
        let message = mutate_message(rng, &input[1..]);
        input.truncate(1);
        input.extend(message);
    } else {
        (0..rng.usize(1..=2)).for_each(|_| mutate_bytes(rng, input));
    }
}

/// Runs `entry` on mutations of `inputs`, and of mutations of them.
fn drive(inputs: &[Vec<u8>], entry: fn(&[u8]) -> bool, mutate: fn(&mut fastrand::Rng, &mut Vec<u8>)) {
    let setting = |name| std::env::var(name).ok().and_then(|value: String| value.parse().ok());
    let iterations: u64 = setting("FUZZ_ITERATIONS").unwrap_or(10_000);
    let mut rng = fastrand::Rng::with_seed(setting("FUZZ_SEED").unwrap_or(0x07e1));
    let mut input = Vec::new();
    let mut checked = 0;
    for iteration in 0..iterations {
        if iteration % 4 == 0 {
            input.clone_from(&inputs[rng.usize(0..inputs.len())]);
        }
        mutate(&mut rng, &mut input);
        match std::panic::catch_unwind(|| entry(&input)) {
            Ok(was_checked) => checked += u64::from(was_checked),
            Err(panic) => {
                eprintln!("iteration {iteration}, input {input:02x?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // Otherwise the mutations would only ever test the refusal.
    assert!(checked >= iterations / 10, "{checked} of {iterations} inputs were accepted");
}

/// The input of an entry: the signal's number, then the bytes.
fn input(signal: Signal, bytes: &[u8]) -> Vec<u8> {
    let number = Signal::ALL.iter().position(|other| *other == signal).unwrap();
    [&[u8::try_from(number).unwrap()], bytes].concat()
}

fn attributes(mut out: AttributesWriter<'_>) {
    out.string("service.name", "checkout").int("n", -300).double("d", 0.5).bool("b", true).bytes("raw", &[0, 0xff]);
    out.value("list").array(|values| {
        values.value().string("é");
        values.value().kvlist(|pairs| {
            pairs.int("inner", 1);
        });
    });
}

fn traces() -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.resource(|resource| attributes(resource.attributes()));
        block.schema_url("https://opentelemetry.io/schemas/1.38.0");
        block.scope_spans(|scope| {
            scope.scope(|scope| {
                scope.name("http").version("1");
            });
            for name in ["GET /", "POST /"] {
                scope.span(|span| {
                    span.trace_id(TraceId::new([7; 16])).span_id(SpanId::new([8; 8])).name(name).flags(0x101);
                    span.start_time_unix_nano(1_700_000_000_000_000_000).dropped_attributes_count(300);
                    attributes(span.attributes());
                    span.event(|event| attributes(event.attributes()));
                    span.link(|link| {
                        link.trace_id(TraceId::new([9; 16])).span_id(SpanId::new([1; 8]));
                    });
                    span.status(|status| {
                        status.code(StatusCode::Error).message("no");
                    });
                });
            }
        });
    });
    encoder.finish()
}

fn logs() -> Batch {
    let mut encoder = LogsEncoder::new();
    for severity in [9, 17] {
        encoder.resource_logs(|block| {
            block.resource(|resource| attributes(resource.attributes()));
            block.scope_logs(|scope| {
                scope.log_record(|record| {
                    record.time_unix_nano(5).severity_number(severity).severity_text("WARN").event_name("e");
                    record.trace_id(TraceId::new([7; 16])).span_id(SpanId::new([8; 8]));
                    record.body().kvlist(|pairs| {
                        pairs.string("message", "out of stock");
                    });
                    attributes(record.attributes());
                });
            });
        });
    }
    encoder.finish()
}

fn metrics() -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("requests").unit("{request}").description("all");
                metric.sum(|sum| {
                    sum.temporality(Temporality::Delta).is_monotonic(true);
                    for value in [NumberValue::Int(-1), NumberValue::Double(1.5)] {
                        sum.point(|point| {
                            point.time_unix_nano(9).value(value);
                            attributes(point.attributes());
                            point.exemplar(|exemplar| {
                                exemplar.time_unix_nano(8).value(value).trace_id(TraceId::new([7; 16]));
                            });
                        });
                    }
                });
            });
            scope.metric(|metric| {
                metric.histogram(|histogram| {
                    histogram.point(|point| {
                        point.count(3).sum(1.0).bucket_counts([1, 2]).explicit_bounds([0.5]).min(0.0).max(1.0);
                    });
                });
            });
            scope.metric(|metric| {
                metric.exponential_histogram(|histogram| {
                    histogram.point(|point| {
                        point.scale(-2).zero_count(1).positive(|buckets| {
                            buckets.offset(-5).bucket_counts([1, 300, 0]);
                        });
                    });
                });
            });
            scope.metric(|metric| {
                metric.summary(|summary| {
                    summary.point(|point| {
                        point.count(1).sum(2.0).quantile(|quantile| {
                            quantile.quantile(0.99).value(2.0);
                        });
                    });
                });
            });
        });
    });
    encoder.finish()
}

fn requests() -> Vec<Vec<u8>> {
    [traces(), metrics(), logs()].iter().map(|batch| input(batch.signal(), batch.bytes())).collect()
}

#[test]
fn no_request_breaks_what_was_let_in() {
    drive(&requests(), entries::request, mutate);
}

#[test]
fn no_bytes_break_what_expects_checked_ones() {
    drive(&requests(), entries::unchecked, mutate);
}

#[test]
fn no_json_breaks_the_reader() {
    let requests = [traces(), metrics(), logs()].map(|batch| {
        let mut text = Vec::new();
        json::encode(&batch, &mut text);
        input(batch.signal(), &text)
    });
    drive(&requests, entries::request_json, mutate_bytes);
}

#[test]
fn no_answer_breaks_the_reader() {
    let response = ExportResponse { rejected_items: 5, error_message: "late".to_owned() };
    let retry_delay = Some(std::time::Duration::from_millis(1_500));
    let status = Status { code: 14, message: "full".to_owned(), retry_delay };
    let mut json = Vec::new();
    response.encode_json(Signal::Traces, &mut json);
    let mut status_json = Vec::new();
    status.encode_json(&mut status_json);
    let inputs = [response.encode(), json, status.encode(), status_json];
    drive(&inputs.map(|bytes| input(Signal::Traces, &bytes)), entries::responses, mutate_bytes);
}
