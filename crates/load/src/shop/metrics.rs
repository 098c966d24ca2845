//! The metrics that services push: counters, gauges and histograms whose values are sequence numbers.

use otlp::encode::{AttributesWriter, MetricsEncoder, ScopeMetricsWriter};
use otlp::{Batch, NumberValue, Temporality};

use super::{Service, Timetable};
use crate::identity::{RUN_LABEL, WORKER_LABEL};

#[derive(Clone, Copy, PartialEq)]
enum Instrument {
    Sum,
    Gauge,
    Histogram,
}

/// One metric: its name, its unit, and the attribute that tells its series apart.
struct Definition {
    name: &'static str,
    unit: &'static str,
    instrument: Instrument,
    key: &'static str,
    values: &'static [&'static str],
}

const DEFINITIONS: [Definition; 7] = [
    Definition {
        name: "shop.orders",
        unit: "{order}",
        instrument: Instrument::Sum,
        key: "shop.order.state",
        values: &["received", "stored", "paid", "failed", "cancelled"],
    },
    Definition {
        name: "shop.queue.length",
        unit: "{order}",
        instrument: Instrument::Gauge,
        key: "shop.queue.name",
        values: &["incoming", "payment", "shipping"],
    },
    Definition {
        name: "rpc.server.call.duration",
        unit: "s",
        instrument: Instrument::Histogram,
        key: "rpc.method",
        values: &["Place", "Charge", "Refund", "Quote", "Cancel"],
    },
    Definition {
        name: "http.client.open_connections",
        unit: "{connection}",
        instrument: Instrument::Gauge,
        key: "server.address",
        values: &["catalogue", "inventory", "shipping", "bank"],
    },
    Definition {
        name: "db.client.operations",
        unit: "{operation}",
        instrument: Instrument::Sum,
        key: "db.operation.name",
        values: &["SELECT", "INSERT", "UPDATE", "DELETE"],
    },
    Definition {
        name: "process.memory.usage",
        unit: "By",
        instrument: Instrument::Gauge,
        key: "process.memory.kind",
        values: &["heap", "stack", "mapped"],
    },
    Definition {
        name: "process.cpu.ticks",
        unit: "{tick}",
        instrument: Instrument::Sum,
        key: "cpu.mode",
        values: &["user", "system"],
    },
];

const BOUNDS_S: [f64; 6] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

/// How many series a service has.
pub(super) fn series(_service: Service) -> u64 {
    DEFINITIONS.iter().map(|definition| definition.values.len() as u64).sum()
}

/// One export of all series, after so many points were sent.
pub(super) fn encode(service: Service, timetable: &Timetable, sent_points: u64, now_unix_ns: u64) -> Batch {
    let mut encoder = MetricsEncoder::new();
    let mut next = Point { timetable, service, sequence: sent_points + 1, unix_ns: now_unix_ns };
    encoder.resource_metrics(|block| {
        block.resource(|resource| service.describe(&mut resource.attributes()));
        block.scope_metrics(|scope| {
            scope.scope(|scope| {
                scope.name("shop");
            });
            for definition in &DEFINITIONS {
                write_metric(definition, &mut next, scope);
            }
        });
    });
    encoder.finish()
}

/// The point that is next to be written.
struct Point<'a> {
    timetable: &'a Timetable,
    service: Service,
    sequence: u64,
    unix_ns: u64,
}

impl Point<'_> {
    fn describe(&self, key: &str, value: &str, mut attributes: AttributesWriter<'_>) {
        let (run, worker) = (self.timetable.run.to_hex(), self.service.worker().to_hex());
        attributes
            .string(key, value)
            .string(RUN_LABEL, std::str::from_utf8(&run).unwrap_or_default())
            .string(WORKER_LABEL, std::str::from_utf8(&worker).unwrap_or_default());
    }
}

fn write_metric(definition: &Definition, next: &mut Point<'_>, scope: &mut ScopeMetricsWriter<'_>) {
    let Definition { name, unit, instrument, key, values } = definition;
    scope.metric(|metric| {
        metric.name(name).unit(unit);
        match instrument {
            Instrument::Sum => metric.sum(|sum| {
                for value in *values {
                    sum.point(|point| {
                        point.start_time_unix_nano(next.timetable.opened_unix_ns).time_unix_nano(next.unix_ns);
                        point.value(NumberValue::Int(next.sequence as i64));
                        next.describe(key, value, point.attributes());
                    });
                    next.sequence += 1;
                }
                sum.temporality(Temporality::Cumulative).is_monotonic(true);
            }),
            Instrument::Gauge => metric.gauge(|gauge| {
                for value in *values {
                    gauge.point(|point| {
                        point.time_unix_nano(next.unix_ns).value(NumberValue::Double(next.sequence as f64));
                        next.describe(key, value, point.attributes());
                    });
                    next.sequence += 1;
                }
            }),
            Instrument::Histogram => metric.histogram(|histogram| {
                for value in *values {
                    histogram.point(|point| {
                        point.start_time_unix_nano(next.timetable.opened_unix_ns).time_unix_nano(next.unix_ns);
                        point.count(next.sequence).sum(next.sequence as f64 / 32.0);
                        point.bucket_counts(bucket_counts(next.sequence)).explicit_bounds(BOUNDS_S);
                        next.describe(key, value, point.attributes());
                    });
                    next.sequence += 1;
                }
                histogram.temporality(Temporality::Cumulative);
            }),
        }
    });
}

/// The count divided among the buckets, so that none ever falls while the count rises.
fn bucket_counts(count: u64) -> [u64; BOUNDS_S.len() + 1] {
    let buckets = BOUNDS_S.len() as u64 + 1;
    let mut counts = [0; BOUNDS_S.len() + 1];
    for (bucket, share) in (0..buckets).zip(&mut counts) {
        *share = (count + bucket) / buckets;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_hold_the_whole_count_and_never_fall() {
        let mut before = bucket_counts(0);
        for count in 0..1000 {
            let counts = bucket_counts(count);
            assert_eq!(counts.iter().sum::<u64>(), count);
            assert!(before.iter().zip(counts).all(|(before, after)| *before <= after));
            before = counts;
        }
    }
}
