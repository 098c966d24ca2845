use std::collections::BTreeMap;

use otlp::view::MetricData;
use prom::text::{Entry, Limits, Parser};

use super::*;
use crate::receive::{Backend, Checking, ReceiveSettings};
use instruments::BOUNDS_MS;
use till::{Order, OrderState};

fn orders(seed: u64, seconds: u64) -> Vec<Order> {
    let mut till = Till::new(seed, 100.0);
    std::iter::from_fn(|| till.next_before(Duration::from_secs(seconds))).collect()
}

#[test]
fn the_same_seed_gives_the_same_orders_at_about_the_rate() {
    assert_eq!(orders(7, 60), orders(7, 60));
    assert_ne!(orders(7, 60), orders(8, 60));
    assert!((5500..6500).contains(&orders(7, 60).len()), "{}", orders(7, 60).len());
    for rate in [f64::NAN, -1.0, f64::INFINITY] {
        let mut till = Till::new(1, rate);
        let come = std::iter::from_fn(|| till.next_before(Duration::from_secs(10))).count();
        assert!((1..25_000).contains(&come), "{rate}: {come}");
    }
}

/// What both ways have counted after a minute, of which the second half has a fault.
fn counted(fault: DualFault) -> [Instruments; 2] {
    let (mut legacy, mut new) = (Instruments::default(), Instruments::default());
    for (number, order) in orders(7, 60).iter().enumerate() {
        legacy.record(order);
        new.record_with(order, if number < 3000 { DualFault::None } else { fault });
    }
    [legacy, new]
}

#[test]
fn both_ways_count_the_same_unless_one_forgets_paid_orders() {
    let [legacy, new] = counted(DualFault::None);
    assert_eq!(legacy, new);
    let [legacy, new] = counted(DualFault::LoseNewShare(0.25));
    let paid = OrderState::Paid as usize;
    let lost = (legacy.orders[paid] - new.orders[paid]) as f64 / (legacy.orders[paid] as f64 / 2.0);
    assert!((0.2..0.3).contains(&lost), "{lost}");
    let with_all = Instruments { orders: legacy.orders, ..new };
    assert_eq!(legacy, with_all, "nothing else is lost");
}

/// Sums of a request by name and value of the only attribute.
fn sums(batch: &otlp::Batch) -> BTreeMap<(String, String), i64> {
    let mut sums = BTreeMap::new();
    let resources = batch.metrics().unwrap();
    for metric in resources.resource_metrics().flat_map(|block| block.scope_metrics()).flat_map(|scope| scope.metrics())
    {
        let MetricData::Sum { points, .. } = metric.data() else { continue };
        for point in points {
            let value = point.attributes().next().unwrap().value().to_text().into_owned();
            sums.insert((metric.name().to_owned(), value), point.value().unwrap().as_double() as i64);
        }
    }
    sums
}

const TIMES: Times = Times { opened_unix_ns: 1_700_000_000_000_000_000, now_unix_ns: 1_700_000_060_000_000_000 };

#[test]
fn lines_of_statsd_come_to_what_the_new_way_exports() {
    let mut lines = Vec::new();
    orders(7, 60).iter().for_each(|order| ways::write_lines(&mut lines, order));
    let [_, new] = counted(DualFault::None);
    let exported = sums(&ways::export(Service::Checkout, &new, TIMES));
    for state in OrderState::ALL {
        let line = format!("shop.orders:1|c|#state:{}", state.name());
        let sent = lines.iter().filter(|sent| **sent == line).count() as i64;
        assert!(sent > 100, "{sent} {line}");
        assert_eq!(exported[&("shop.orders".to_owned(), state.name().to_owned())], sent, "{line}");
    }
    let packets = ways::packets(&lines);
    assert!(packets.iter().all(|packet| packet.len() <= 1400));
    assert_eq!(packets.join("\n"), lines.join("\n"));
}

#[test]
fn the_page_shows_what_the_new_way_exports() {
    let [legacy, new] = counted(DualFault::None);
    let page = ways::page(&legacy);
    let mut shown = BTreeMap::new();
    let mut parser = Parser::new(prom::text::Format::Text, &page, Limits::default());
    while let Some(entry) = parser.next_entry().unwrap() {
        if let Entry::Sample(sample) = entry {
            shown.insert(String::from_utf8(sample.series.to_vec()).unwrap(), sample.value);
        }
    }
    for ((name, value), count) in sums(&ways::export(Service::Payment, &new, TIMES)) {
        let series = format!("{}_total{{state=\"{value}\"}}", name.replace('.', "_"));
        assert_eq!(shown[&series], count as f64, "{series}");
    }
    assert_eq!(shown["shop_payment_duration_seconds_count"], new.payment.count as f64);
    assert_eq!(shown["shop_payment_duration_seconds_bucket{le=\"+Inf\"}"], new.payment.count as f64);
    let below = new.payment.buckets[..4].iter().sum::<u64>() as f64;
    assert_eq!((BOUNDS_MS[3], shown["shop_payment_duration_seconds_bucket{le=\"0.05\"}"]), (50, below));
}

#[tokio::test]
async fn an_open_shop_emits_both_ways_and_counts_refunds_from_the_release_on() {
    let otlp_grpc = Some(Endpoint::parse("127.0.0.1:0").unwrap());
    let settings = ReceiveSettings { otlp_grpc, checking: Checking::Everything, ..ReceiveSettings::default() };
    let backend = Backend::start(settings, &Handle::current()).unwrap();
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    let shop = Dual::start(DualSettings {
        statsd: statsd.local_addr().unwrap(),
        otlp_endpoint: format!("http://{}", backend.addresses().otlp_grpc.as_ref().unwrap()),
        export_interval: Duration::from_millis(20),
        orders_per_s: 500.0,
        ..DualSettings::default()
    })
    .unwrap();
    shop.set_fault(DualFault::RenameNewAttribute);
    while shop.report().orders < 100 || shop.report().exports < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let shared = Arc::clone(&shop.shared);
    let report = shop.close().await;
    assert_eq!((report.refused_packets, report.failed_exports), (0, 0), "{report}");
    assert!(report.packets > 0 && report.exports >= 6, "{report}");
    let received = backend.stop().await;
    let state = shared.state.lock();
    assert_eq!(state.legacy, state.new);
    assert!(state.new.refunds.unwrap().iter().sum::<u64>() > 0);
    assert!(String::from_utf8(ways::page(&state.legacy)).unwrap().contains("shop_refunds_total{reason=\"late\"}"));
    assert!(received.signals.iter().any(|signal| signal.items > 0));
}
