//! The ways in which the shop emits what it counts: lines of StatsD, a page for a scrape, requests of OTLP.

use std::fmt::Write;

use otlp::encode::{MetricsEncoder, ScopeMetricsWriter};
use otlp::{Batch, NumberValue, Temporality};
use prom::text::{FamilyKind, Format, SampleToWrite, Writer};

use super::instruments::{BOUNDS_MS, Durations, Instruments, PAYMENT_STATES};
use super::till::{Order, OrderState, REFUND_REASONS};

/// The services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Checkout,
    Payment,
}

// === StatsD ===

/// What the old instrumentation of checkout says of an order.
pub(super) fn write_lines(lines: &mut Vec<String>, order: &Order) {
    for state in [OrderState::Placed, order.outcome.state()] {
        lines.push(format!("shop.orders:1|c|#state:{}", state.name()));
    }
    lines.push(format!("shop.checkout.time:{}|ms", order.checkout_ms));
}

pub(super) fn carts_line(carts: f64) -> String {
    format!("shop.carts:{carts}|g")
}

/// Packets of as many lines as fit into one that no network divides.
pub(super) fn packets(lines: &[String]) -> Vec<String> {
    const PACKET_BYTES_MAX: usize = 1400;
    let mut packets: Vec<String> = Vec::new();
    for line in lines {
        match packets.last_mut().filter(|packet| packet.len() + 1 + line.len() <= PACKET_BYTES_MAX) {
            Some(packet) => {
                let _ = write!(packet, "\n{line}");
            }
            None => packets.push(line.clone()),
        }
    }
    packets
}

// === Prometheus ===

/// The page of the payment service.
pub(super) fn page(instruments: &Instruments) -> Vec<u8> {
    let mut writer = Writer::new(Format::Text);
    writer.family("shop_payments_total", FamilyKind::Counter, "Payments by state.", "");
    for (state, count) in PAYMENT_STATES.iter().zip(instruments.payments) {
        writer.sample(&SampleToWrite::new("shop_payments_total", count as f64), [("state", *state)]);
    }
    writer.family("shop_payments_waiting", FamilyKind::Gauge, "Payments that wait for their bank.", "");
    writer.sample(&SampleToWrite::new("shop_payments_waiting", instruments.waiting_payments), []);
    let name = "shop_payment_duration_seconds";
    writer.family(name, FamilyKind::Histogram, "How long payments took.", "");
    write_durations(&mut writer, name, &instruments.payment);
    if let Some(refunds) = instruments.refunds {
        writer.family("shop_refunds_total", FamilyKind::Counter, "Refunds by reason.", "");
        for (reason, count) in REFUND_REASONS.iter().zip(refunds) {
            writer.sample(&SampleToWrite::new("shop_refunds_total", count as f64), [("reason", *reason)]);
        }
    }
    writer.finish()
}

fn write_durations(writer: &mut Writer, name: &str, durations: &Durations) {
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    let bounds = BOUNDS_MS.iter().map(|ms| (f64::from(*ms) / 1000.0).to_string()).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(durations.buckets) {
        below += count;
        let sample = SampleToWrite { last_label: Some(("le", &bound)), ..SampleToWrite::new(&bucket, below as f64) };
        writer.sample(&sample, []);
    }
    writer.sample(&SampleToWrite::new(&format!("{name}_sum"), durations.sum_s()), []);
    writer.sample(&SampleToWrite::new(&format!("{name}_count"), durations.count as f64), []);
}

// === OTLP ===

/// From when to when a request counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) opened_unix_ns: u64,
    pub(super) now_unix_ns: u64,
}

/// One export of a service.
pub(super) fn export(service: Service, instruments: &Instruments, times: Times) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|resource| {
            let name = if service == Service::Checkout { "checkout" } else { "payment" };
            resource
                .attributes()
                .string("service.name", name)
                .string("service.namespace", "shop")
                .string("service.instance.id", &format!("{name}-1"));
        });
        block.scope_metrics(|scope| {
            scope.scope(|scope| {
                scope.name("shop");
            });
            match service {
                Service::Checkout => write_checkout(scope, instruments, times),
                Service::Payment => write_payment(scope, instruments, times),
            }
        });
    });
    encoder.finish()
}

fn write_checkout(scope: &mut ScopeMetricsWriter<'_>, instruments: &Instruments, times: Times) {
    let orders = OrderState::ALL.iter().zip(instruments.orders);
    let orders = orders.map(|(state, count)| (state.name(), count));
    write_sum(scope, ("shop.orders", "{order}", "shop.order.state"), orders, times);
    write_gauge(scope, ("shop.carts", "{cart}"), instruments.carts, times);
    write_histogram(scope, "shop.checkout.duration", &instruments.checkout, times);
}

fn write_payment(scope: &mut ScopeMetricsWriter<'_>, instruments: &Instruments, times: Times) {
    let payments = PAYMENT_STATES.into_iter().zip(instruments.payments);
    write_sum(scope, ("shop.payments", "{payment}", "state"), payments, times);
    write_gauge(scope, ("shop.payments.waiting", "{payment}"), instruments.waiting_payments, times);
    write_histogram(scope, "shop.payment.duration", &instruments.payment, times);
    if let Some(refunds) = instruments.refunds {
        let refunds = REFUND_REASONS.into_iter().zip(refunds);
        write_sum(scope, ("shop.refunds", "{refund}", "refund.cause"), refunds, times);
    }
}

fn write_sum<'a>(
    scope: &mut ScopeMetricsWriter<'_>,
    (name, unit, key): (&str, &str, &str),
    counts: impl Iterator<Item = (&'a str, u64)>,
    times: Times,
) {
    scope.metric(|metric| {
        metric.name(name).unit(unit);
        metric.sum(|sum| {
            for (value, count) in counts {
                sum.point(|point| {
                    point.start_time_unix_nano(times.opened_unix_ns).time_unix_nano(times.now_unix_ns);
                    point.value(NumberValue::Int(i64::try_from(count).unwrap_or(i64::MAX)));
                    point.attributes().string(key, value);
                });
            }
            sum.temporality(Temporality::Cumulative).is_monotonic(true);
        });
    });
}

fn write_gauge(scope: &mut ScopeMetricsWriter<'_>, (name, unit): (&str, &str), value: f64, times: Times) {
    scope.metric(|metric| {
        metric.name(name).unit(unit);
        metric.gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano(times.now_unix_ns).value(NumberValue::Double(value));
            });
        });
    });
}

fn write_histogram(scope: &mut ScopeMetricsWriter<'_>, name: &str, durations: &Durations, times: Times) {
    scope.metric(|metric| {
        metric.name(name).unit("s");
        metric.histogram(|histogram| {
            histogram.point(|point| {
                point.start_time_unix_nano(times.opened_unix_ns).time_unix_nano(times.now_unix_ns);
                point.count(durations.count).sum(durations.sum_s());
                point.bucket_counts(durations.buckets);
                point.explicit_bounds(BOUNDS_MS.map(|ms| f64::from(ms) / 1000.0));
            });
            histogram.temporality(Temporality::Cumulative);
        });
    });
}
