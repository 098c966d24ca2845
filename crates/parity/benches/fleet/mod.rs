//! Two sides that watch the same many series: the legacy one as Prometheus names them, the new one as OpenTelemetry does.

use otlp::encode::{
    AttributesWriter, HistogramPointWriter, LogsEncoder, MetricsEncoder, NumberPointWriter, TracesEncoder,
};
use otlp::{Batch, NumberValue, SpanId, SpanKind, Temporality, TraceId};
use parity::{Comparator, Side};

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// Each series is shown so often.
pub(crate) const INTERVAL_S: u64 = 15;
/// Points, spans or records of a batch.
pub(crate) const BATCH_ITEMS: usize = 1000;

const BEGIN_S: u64 = 1_700_000_000;
const INSTANCE_ITEMS: usize = 100;
const METRIC_ITEMS: usize = 10;
const SERVICE_INSTANCES: usize = 50;
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What shows so many series again and again.
pub(crate) struct Fleet {
    pub(crate) kind: Kind,
    pub(crate) series: usize,
    pub(crate) round: u64,
    counts: Vec<u64>,
    random: fastrand::Rng,
}

impl Fleet {
    pub(crate) fn new(kind: Kind, series: usize) -> Fleet {
        Fleet { kind, series, round: 0, counts: vec![1000; series], random: fastrand::Rng::with_seed(7) }
    }

    /// The next samples of both sides of the first so many series. The new side looks some seconds later.
    pub(crate) fn next(&mut self, series: usize) -> Vec<(Side, Batch)> {
        self.round += 1;
        let mut shown = Vec::new();
        for (side, later_s) in [(Side::Legacy, 0), (Side::New, 7)] {
            for count in &mut self.counts[..series] {
                *count += self.random.u64(..100);
            }
            let time_unix_ns = (BEGIN_S + self.round * INTERVAL_S + later_s) * SECOND_NS;
            let batches = (0..series).step_by(BATCH_ITEMS);
            shown.extend(batches.map(|first| {
                let until = series.min(first + BATCH_ITEMS);
                (side, self.batch(side, first..until, time_unix_ns))
            }));
        }
        shown
    }

    fn batch(&self, side: Side, series: std::ops::Range<usize>, time_unix_ns: u64) -> Batch {
        let mut encoder = MetricsEncoder::new();
        for instance in series.clone().step_by(INSTANCE_ITEMS) {
            encoder.resource_metrics(|resource| {
                resource.resource(|resource| of_instance(&mut resource.attributes(), instance / INSTANCE_ITEMS));
                resource.scope_metrics(|scope| {
                    scope.scope(|scope| {
                        scope.name("shop.instrumentation");
                    });
                    for first in (instance..series.end.min(instance + INSTANCE_ITEMS)).step_by(METRIC_ITEMS) {
                        let points = first..series.end.min(first + METRIC_ITEMS);
                        scope.metric(|metric| self.metric(metric, side, points, time_unix_ns));
                    }
                });
            });
        }
        encoder.finish()
    }

    fn metric(
        &self,
        metric: &mut otlp::encode::MetricWriter<'_>,
        side: Side,
        points: std::ops::Range<usize>,
        time_unix_ns: u64,
    ) {
        // The instances of a service have metrics of their own.
        let service = points.start / INSTANCE_ITEMS / SERVICE_INSTANCES;
        let number = service * (INSTANCE_ITEMS / METRIC_ITEMS) + points.start % INSTANCE_ITEMS / METRIC_ITEMS;
        match (side, self.kind) {
            (Side::Legacy, Kind::Counter) => metric.name(&format!("shop_cart_{number}_requests_total")),
            (Side::New, Kind::Counter) => metric.name(&format!("shop.cart.{number}.requests")),
            (Side::Legacy, _) => metric.name(&format!("shop_cart_{number}_size")),
            (Side::New, _) => metric.name(&format!("shop.cart.{number}.size")),
        };
        let counted = |at: usize| self.counts[at];
        match self.kind {
            Kind::Counter => metric.sum(|sum| {
                sum.is_monotonic(true).temporality(Temporality::Cumulative);
                for at in points {
                    sum.point(|point| number_point(point, side, at, counted(at), time_unix_ns));
                }
            }),
            Kind::Gauge => metric.gauge(|gauge| {
                for at in points {
                    gauge.point(|point| number_point(point, side, at, counted(at) % 1000, time_unix_ns));
                }
            }),
            Kind::Histogram => metric.histogram(|histogram| {
                histogram.temporality(Temporality::Cumulative);
                for at in points {
                    histogram.point(|point| histogram_point(point, side, at, counted(at), time_unix_ns));
                }
            }),
        };
    }
}

fn number_point(point: &mut NumberPointWriter<'_>, side: Side, at: usize, value: u64, time_unix_ns: u64) {
    point.start_time_unix_nano(BEGIN_S * SECOND_NS).time_unix_nano(time_unix_ns);
    point.value(NumberValue::Int(i64::try_from(value).unwrap_or_default()));
    labels(&mut point.attributes(), side, at);
}

fn histogram_point(point: &mut HistogramPointWriter<'_>, side: Side, at: usize, count: u64, time_unix_ns: u64) {
    point.start_time_unix_nano(BEGIN_S * SECOND_NS).time_unix_nano(time_unix_ns);
    point.count(count).sum(count as f64 * 0.2);
    let each = count / (BOUNDS.len() as u64 + 1);
    point.bucket_counts(BOUNDS.iter().map(|_| each).chain([count - each * BOUNDS.len() as u64]));
    point.explicit_bounds(BOUNDS);
    labels(&mut point.attributes(), side, at);
}

fn labels(attributes: &mut AttributesWriter<'_>, side: Side, at: usize) {
    const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];
    let names = match side {
        Side::Legacy => ["http_method", "http_status_code", "http_route", "cloud_region", "pod"],
        Side::New => ["http.method", "http.status_code", "http.route", "cloud.region", "pod"],
    };
    let in_instance = at % INSTANCE_ITEMS;
    attributes.string(names[0], METHODS[in_instance % 5]);
    attributes.string(names[1], if in_instance.is_multiple_of(2) { "200" } else { "404" });
    attributes.string(names[2], &format!("/cart/{{id}}/items/{}", in_instance % METRIC_ITEMS));
    attributes.string(names[3], "eu-central-1");
    attributes.string(names[4], &format!("checkout-7c9f8d5b6-{}", at / INSTANCE_ITEMS));
}

fn of_instance(attributes: &mut AttributesWriter<'_>, instance: usize) {
    attributes.string("service.name", "checkout");
    attributes.string("service.namespace", "shop");
    attributes.string("service.instance.id", &format!("627cc493-f310-47de-96bd-71410b7d{instance:05}"));
    attributes.string("deployment.environment.name", "production");
    attributes.string("host.name", &format!("node-{}", instance % 50));
    attributes.string("k8s.pod.name", &format!("checkout-7c9f8d5b6-{instance}"));
}

/// A batch of spans, in traces of ten; with the same ids on both sides, or with ids of its own.
pub(crate) fn spans(side: Side, round: u64, has_same_ids: bool) -> Batch {
    let mut encoder = TracesEncoder::new();
    let seed = if has_same_ids { 0 } else { side as u64 + 1 };
    encoder.resource_spans(|resource| {
        resource.resource(|resource| of_instance(&mut resource.attributes(), 1));
        resource.scope_spans(|scope| {
            for at in 0..BATCH_ITEMS as u64 {
                let (trace, span) = (round * BATCH_ITEMS as u64 + at / 10, at % 10);
                scope.span(|writer| {
                    let id = |span: u64| SpanId::from_slice(&(trace * 16 + span + 1).to_be_bytes());
                    let trace_id = TraceId::from_slice(&[seed.to_be_bytes(), (trace + 1).to_be_bytes()].concat());
                    writer.trace_id(trace_id.expect("16 bytes")).span_id(id(span).expect("8 bytes"));
                    if span > 0 {
                        writer.parent_span_id(id((span - 1) / 2).expect("8 bytes"));
                    }
                    let start_unix_ns = (BEGIN_S + round) * SECOND_NS + span * 1_000_000;
                    writer.start_time_unix_nano(start_unix_ns).end_time_unix_nano(start_unix_ns + 5_000_000);
                    writer.kind(SpanKind::Server).name(&format!("GET /cart/{trace}/items"));
                    labels(&mut writer.attributes(), Side::New, usize::try_from(at).unwrap_or_default());
                });
            }
        });
    });
    encoder.finish()
}

/// A batch of records of ten streams.
pub(crate) fn records(round: u64) -> Batch {
    let mut encoder = LogsEncoder::new();
    for stream in 0..10u64 {
        encoder.resource_logs(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.name", &format!("checkout-{stream}"));
                resource.attributes().string("host.name", "node-1");
            });
            resource.scope_logs(|scope| {
                for at in 0..BATCH_ITEMS as u64 / 10 {
                    scope.log_record(|record| {
                        record.time_unix_nano((BEGIN_S + round) * SECOND_NS + at * 1_000_000);
                        record.severity_number(9);
                        record.body().string(&format!("cart {at} of customer {round} was checked out in 17 ms"));
                        labels(&mut record.attributes(), Side::New, usize::try_from(at).unwrap_or_default());
                    });
                }
            });
        });
    }
    encoder.finish()
}

/// Lets a comparator see all series for so many rounds.
pub(crate) fn warm(comparator: &mut Comparator, fleet: &mut Fleet, rounds: u64) {
    for round in 0..rounds {
        let series = fleet.series;
        fleet.next(series).iter().for_each(|(side, batch)| comparator.observe(*side, batch));
        if round % 2 == 1 {
            comparator.close();
        }
    }
}
