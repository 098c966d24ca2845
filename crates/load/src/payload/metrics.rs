//! Data points of gauges and cumulative sums. Each point of a worker's templates is a series of its own.

use otlp::encode::{AttributesWriter, MetricsEncoder, NumberPointWriter, ScopeMetricsWriter};
use otlp::{NumberValue, Temporality};

use super::slots::{Kind, Mark, placeholder};
use super::{Draft, Plan, describe_resource, write_extra_attributes};
use crate::identity::{RUN_LABEL, WORKER_LABEL};

const POINTS_PER_METRIC: u32 = 10;
/// When all sums began: 2024-01-01, in nanoseconds since the Unix epoch.
const START_TIME_UNIX_NS: u64 = 1_704_067_200_000_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Instrument {
    Gauge,
    Sum,
}

pub(super) fn draft(plan: &Plan, template: usize) -> Draft {
    let items = plan.items;
    let mut encoder = MetricsEncoder::with_capacity(items as usize * 200 + 1024);
    let mut rng = plan.rng(template);
    let first_series = template as u32 * plan.settings.items_per_request;
    let mut doubles = Vec::new();
    let mut ints = Vec::new();
    for (number, points) in plan.shares() {
        encoder.resource_metrics(|block| {
            block.resource(|resource| describe_resource(plan, number, &mut resource.attributes()));
            block.scope_metrics(|scope| {
                scope.scope(|scope| {
                    scope.name("crossfade.load").version("1.0.0");
                });
                let mut first = points.start;
                while first < points.end {
                    let end = (first + POINTS_PER_METRIC).min(points.end);
                    let instrument = match (first / POINTS_PER_METRIC) % 2 {
                        0 => Instrument::Gauge,
                        _ => Instrument::Sum,
                    };
                    let of_kind = if instrument == Instrument::Gauge { &mut doubles } else { &mut ints };
                    of_kind.extend((first..end).map(|item| (item, 0)));
                    write_metric(plan, &mut rng, instrument, first_series + first, end - first, scope);
                    first = end;
                }
            });
        });
    }
    let marks = vec![
        Mark { kind: Kind::Time, items: (0..items).map(|item| (item, 0)).collect() },
        Mark { kind: Kind::Double, items: doubles },
        Mark { kind: Kind::Int, items: ints },
    ];
    Draft { batch: encoder.finish(), marks }
}

fn write_metric(
    plan: &Plan,
    rng: &mut fastrand::Rng,
    instrument: Instrument,
    first_series: u32,
    points: u32,
    scope: &mut ScopeMetricsWriter<'_>,
) {
    const GAUGES: [&str; 4] = ["load.queue.length", "load.pool.usage", "load.cache.entries", "load.session.active"];
    const SUMS: [&str; 4] = ["load.order.placed", "load.request.served", "load.cache.hit", "load.message.sent"];
    let kind = first_series / POINTS_PER_METRIC / 2;
    let name = |names: [&'static str; 4]| names[kind as usize % names.len()];
    scope.metric(|metric| match instrument {
        Instrument::Gauge => {
            metric.name(name(GAUGES)).description("Made by crossfade load.").unit("1");
            metric.gauge(|gauge| {
                for series in first_series..first_series + points {
                    gauge.point(|point| {
                        write_point(plan, rng, series, point);
                        point.value(NumberValue::Double(placeholder::VALUE as f64));
                    });
                }
            });
        }
        Instrument::Sum => {
            metric.name(name(SUMS)).description("Made by crossfade load.").unit("1");
            metric.sum(|sum| {
                for series in first_series..first_series + points {
                    sum.point(|point| {
                        write_point(plan, rng, series, point);
                        point.value(NumberValue::Int(placeholder::VALUE));
                    });
                }
                sum.temporality(Temporality::Cumulative).is_monotonic(true);
            });
        }
    });
}

fn write_point(plan: &Plan, rng: &mut fastrand::Rng, series: u32, point: &mut NumberPointWriter<'_>) {
    point.start_time_unix_nano(START_TIME_UNIX_NS).time_unix_nano(placeholder::TIME);
    let mut attributes = point.attributes();
    write_identity(plan, &mut attributes);
    attributes.string("series", &format!("{series:06}")).string("http.route", "/api/v1/orders/{id}/invoices");
    write_extra_attributes(plan, rng, &mut attributes);
}

fn write_identity(plan: &Plan, attributes: &mut AttributesWriter<'_>) {
    let (run, worker) = (plan.run.to_hex(), plan.worker.to_hex());
    attributes
        .string(RUN_LABEL, std::str::from_utf8(&run).unwrap_or_default())
        .string(WORKER_LABEL, std::str::from_utf8(&worker).unwrap_or_default());
}
