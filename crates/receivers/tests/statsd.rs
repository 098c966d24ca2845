//! The `statsd` receiver on real sockets of every kind, what it makes of lines, and the account of what is lost.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::{Refused, Seen, Unit};
use otlp::view::MetricData;
use otlp::{Batch, Signal};
use serde_json::Value;
use support::{Kept, Started, errors, start};

const SIGNALS: [Signal; 2] = [Signal::Metrics, Signal::Logs];
/// No flush but the last one.
const LONG: &str = "aggregation_interval: 1h\n";

async fn statsd(options: &str) -> Started {
    start("statsd", options, &SIGNALS).await
}

/// The address that the system chose.
fn socket(started: &Started, metric: &str) -> String {
    let families = started.metrics.gather();
    let family = families.iter().find(|family| family.name == metric).unwrap();
    family.series[0].0["socket"].split('#').next().unwrap().to_owned()
}

fn udp(started: &Started) -> String {
    socket(started, "crossfade_receiver_receive_buffer_bytes")
}

fn tcp(started: &Started) -> String {
    socket(started, "crossfade_receiver_open_connections")
}

fn send_udp(to: &str, packets: &[&str]) {
    let sender = UdpSocket::bind(if to.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
    for packet in packets {
        sender.send_to(packet.as_bytes(), to).unwrap();
    }
}

/// What all sockets of the receiver have seen of a unit.
fn seen(started: &Started, unit: Unit) -> Seen {
    let mut all = Seen::default();
    for (_, _, seen) in started.arrivals.all().into_iter().filter(|(_, of, _)| *of == unit) {
        all.received += seen.received;
        for (cause, count) in seen.lost {
            *all.lost.entry(cause).or_default() += count;
        }
    }
    all
}

async fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

/// Stops the receiver once it has read so many lines, and gives what it handed on.
async fn stop_after(started: Started, lines: u64) -> Vec<Batch> {
    wait_for("lines", || (seen(&started, Unit::Lines).received >= lines).then_some(())).await;
    let kept = started.kept.clone();
    drop(started);
    settled(&kept).await
}

/// What was handed on in the end, after the receiver was told to stop.
async fn settled(kept: &Kept) -> Vec<Batch> {
    wait_for("the last flush", || (!kept.batches().is_empty()).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    kept.batches()
}

/// The sums of all batches, over all their attributes, by name.
fn total(batches: &[Batch], name: &str) -> f64 {
    let mut total = 0.0;
    for batch in batches.iter().filter(|batch| batch.signal() == Signal::Metrics) {
        for resource in batch.metrics().unwrap().resource_metrics() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                if let (true, MetricData::Sum { points, .. }) = (metric.name() == name, metric.data()) {
                    total += points.map(|point| point.value().map_or(0.0, otlp::NumberValue::as_double)).sum::<f64>();
                }
            }
        }
    }
    total
}

/// Every batch as JSON, without what depends on the clock and the release.
fn shown(batches: &[Batch]) -> Value {
    let mut all: Vec<Value> = batches
        .iter()
        .map(|batch| {
            let mut json = Vec::new();
            otlp::json::encode(batch, &mut json);
            serde_json::from_slice(&json).unwrap()
        })
        .collect();
    all.iter_mut().for_each(mask);
    Value::Array(all)
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(mask);
            items.sort_by_key(|item| item.get("name").map(Value::to_string));
        }
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                if key.ends_with("TimeUnixNano") || key == "timeUnixNano" || key == "version" {
                    *value = Value::String("(changes)".to_owned());
                }
                mask(value);
            }
        }
        _ => {}
    }
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/statsd");
    let mut cases: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// Sends the packets of each case, and compares with its golden file. `UPDATE_GOLDEN=1` writes the file.
#[tokio::test]
async fn lines_become_what_the_golden_files_hold() {
    for case in cases() {
        let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap_or_default();
        let started = statsd(&format!("endpoint: 127.0.0.1:0\n{}", read("receiver.yaml"))).await;
        let packets = read("packets.txt");
        let packets: Vec<_> = packets.split("\n\n").collect();
        let lines = packets.iter().flat_map(|packet| packet.lines()).count() as u64;
        send_udp(&udp(&started), &packets);
        let found = serde_json::to_string_pretty(&shown(&stop_after(started, lines).await)).unwrap() + "\n";
        let golden = case.join("expected.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        assert_eq!(found, read("expected.json"), "{}", case.display());
    }
}

const LINES: &str = "a:1|c\na:2|c\nb:1|c\n";

/// Sends the same three lines and looks at the totals.
async fn check_transport(options: &str, send: impl FnOnce(&Started)) {
    let started = statsd(&format!("{LONG}{options}")).await;
    send(&started);
    let batches = stop_after(started, 3).await;
    assert_eq!((total(&batches, "a"), total(&batches, "b")), (3.0, 1.0), "{options}");
}

#[tokio::test]
async fn every_transport_brings_lines() {
    for options in ["endpoint: 127.0.0.1:0", "endpoint: localhost:0\ntransport: udp4", "endpoint: :0\nreaders: 3"] {
        let port = |started: &Started| udp(started).rsplit(':').next().unwrap().to_owned();
        check_transport(options, |started| send_udp(&format!("127.0.0.1:{}", port(started)), &[LINES])).await;
    }
    check_transport("endpoint: localhost:0\ntransport: udp6", |started| send_udp(&udp(started), &[LINES])).await;
    for options in ["", "framing: newline\n"] {
        let options = format!("endpoint: 127.0.0.1:0\ntransport: tcp\n{options}");
        check_transport(&options, |started| {
            TcpStream::connect(tcp(started)).unwrap().write_all(LINES.trim_end().as_bytes()).unwrap();
        })
        .await;
    }
    check_transport("endpoint: localhost:0\ntransport: tcp6", |started| {
        let to = tcp(started);
        assert!(to.starts_with("[::1]"), "{to}");
        TcpStream::connect(to).unwrap().write_all(LINES.as_bytes()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn unix_sockets_bring_lines_and_have_the_permissions_that_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("statsd.sock");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let options = |transport: &str| format!("endpoint: {}\ntransport: {transport}\n", path.display());
    check_transport(&options("unixgram"), |_| {
        assert_eq!(mode(&path), 0o622);
        UnixDatagram::unbound().unwrap().send_to(LINES.as_bytes(), &path).unwrap();
    })
    .await;
    let prefixed = [&(LINES.len() as u32).to_le_bytes()[..], LINES.as_bytes()].concat();
    for (framing, bytes) in [
        ("", prefixed.as_slice()),
        ("framing: length_prefixed\n", &prefixed),
        ("", LINES.as_bytes()),
        ("framing: newline\n", LINES.as_bytes()),
    ] {
        check_transport(&format!("{}socket_permissions: 0600\n{framing}", options("unix")), |_| {
            assert_eq!(mode(&path), 0o600);
            UnixStream::connect(&path).unwrap().write_all(bytes).unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn lines_come_over_tls() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls: {{cert_file: {}, key_file: {}}}", path("cert.pem").display(), path("key.pem").display());
    check_transport(&format!("endpoint: 127.0.0.1:0\ntransport: tcp\n{tls}"), |started| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut session = rustls::ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
        let mut socket = TcpStream::connect(tcp(started)).unwrap();
        std::thread::spawn(move || {
            rustls::Stream::new(&mut session, &mut socket).write_all(LINES.as_bytes()).unwrap();
            session.send_close_notify();
            session.complete_io(&mut socket).unwrap();
        });
    })
    .await;
}

#[tokio::test]
async fn what_is_malformed_is_counted_by_cause_and_the_rest_of_its_packet_counts() {
    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0")).await;
    send_udp(&udp(&started), &["a:1|c\nnonsense\na:x|c\na:2|c\n\nb:1|q"]);
    wait_for("lines", || (seen(&started, Unit::Lines).received == 5).then_some(())).await;
    let lost = seen(&started, Unit::Lines).lost;
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), [("type_unknown", 1), ("value", 1), ("value_missing", 1)]);
    assert_eq!(total(&stop_after(started, 5).await, "a"), 3.0);
}

#[tokio::test]
async fn a_packet_that_is_too_long_counts_up_to_its_last_whole_line() {
    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0\nmax_packet_size: 20")).await;
    send_udp(&udp(&started), &["a:1|c\na:2|c\na:30|c|#cut:off"]);
    wait_for("lines", || (seen(&started, Unit::Lines).received == 3).then_some(())).await;
    assert_eq!(seen(&started, Unit::Lines).lost.into_iter().collect::<Vec<_>>(), [("truncated", 1)]);
    assert_eq!(total(&stop_after(started, 3).await, "a"), 3.0);

    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0\ntransport: tcp\nmax_packet_size: 20")).await;
    let long = format!("a:1|c\n{}\na:2|c\n", "x".repeat(100));
    TcpStream::connect(tcp(&started)).unwrap().write_all(long.as_bytes()).unwrap();
    wait_for("lines", || (seen(&started, Unit::Lines).received == 3).then_some(())).await;
    assert_eq!(seen(&started, Unit::Lines).lost.into_iter().collect::<Vec<_>>(), [("line_too_long", 1)]);
    assert_eq!(total(&stop_after(started, 3).await, "a"), 3.0);
}

/// More than a small receive buffer holds, from several senders at once.
#[tokio::test]
async fn in_a_flood_what_was_sent_is_what_was_received_and_what_the_kernel_dropped() {
    const SENDERS: u64 = 3;
    const EACH: u64 = 20_000;
    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0\nreaders: 2\nreceive_buffer: 4KiB")).await;
    let to = udp(&started);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let to = to.clone();
            std::thread::spawn(move || {
                let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                (0..EACH).for_each(|_| assert_eq!(sender.send_to(b"flood:1|c", &to).unwrap(), 9));
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let datagrams = wait_for("an account of all", || {
        let seen = seen(&started, Unit::Datagrams);
        let dropped = seen.lost.get("kernel_drop").copied().unwrap_or(0);
        (seen.received + dropped == SENDERS * EACH).then_some((seen.received, dropped))
    })
    .await;
    assert!(datagrams.0 > 0 && datagrams.1 > 0, "{datagrams:?}");
    assert_eq!(seen(&started, Unit::Lines), Seen { received: datagrams.0, ..Seen::default() });
    assert_eq!(total(&stop_after(started, datagrams.0).await, "flood"), datagrams.0 as f64);
}

#[tokio::test]
async fn what_pipelines_refuse_is_kept_and_later_lines_are_added_up_meanwhile() {
    let started = statsd("endpoint: 127.0.0.1:0\naggregation_interval: 20ms").await;
    let retry = Refused::Retry { after: Duration::from_millis(1), cause: "full".to_owned() };
    started.kept.refuse(retry);
    let to = udp(&started);
    for _ in 0..50 {
        send_udp(&to, &["a:1|c", "a:1|c"]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(started.kept.batches().is_empty());
    started.kept.take_again();
    wait_for("the total", || (total(&started.kept.batches(), "a") == 100.0).then_some(())).await;
    let lost = seen(&started, Unit::Lines).lost;
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_stop_hands_on_what_was_queued_in_the_socket() {
    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0")).await;
    let (to, kept) = (udp(&started), started.kept.clone());
    let packets = ["a:1|c"; 500];
    send_udp(&to, &packets);
    drop(started);
    assert_eq!(total(&settled(&kept).await, "a"), 500.0);
}

#[tokio::test]
async fn a_stop_gives_up_what_is_refused_until_the_end_and_counts_it() {
    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0")).await;
    started.kept.refuse(Refused::Retry { after: Duration::from_secs(3600), cause: "full".to_owned() });
    send_udp(&udp(&started), &["a:1|c\nb:1|c"]);
    wait_for("lines", || (seen(&started, Unit::Lines).received == 2).then_some(())).await;
    let metrics = started.metrics.clone();
    drop(started);
    wait_for("the loss", || {
        let families = metrics.gather();
        let lost = families.iter().find(|family| family.name == "crossfade_statsd_lost_items")?;
        (lost.series.iter().map(|(_, value)| value).sum::<f64>() == 2.0).then_some(())
    })
    .await;
}

#[test]
fn options_without_a_meaning_for_the_transport_are_errors() {
    let cases = [
        ("transport: tcp\nreaders: 2", "readers: is for `transport: udp` alone"),
        ("transport: tcp\nreceive_buffer: 1MiB", "receive_buffer: is for `transport: udp or"),
        ("tls: {cert_file: a, key_file: b}", "tls: is for `transport: tcp` alone"),
        ("framing: newline", "framing: is for `transport: tcp or"),
        ("socket_permissions: 0600", "socket_permissions: is for `transport: unixgram or"),
        ("transport: unixgram", "endpoint: is required: expected the path of a Unix socket"),
        ("transport: unix\nendpoint: /x\nsocket_permissions: 622", "octal permissions such as `0622`, found `622`"),
        ("endpoint: unix:///x", "for a path, `transport` is `unixgram` or `unix`"),
        ("transport: quic", "transport: expected one of"),
        ("readers: 0", "readers"),
        ("mapping_config: /does/not/exist.yaml", "mapping_config: cannot read `/does/not/exist.yaml`"),
        ("nonsense: 1", "unknown key `nonsense`"),
    ];
    for (options, expected) in cases {
        let found = errors("statsd", options);
        assert!(found.contains(expected), "{options}: {found}");
    }
    assert_eq!(errors("statsd", "endpoint: 0.0.0.0:8125\nreaders: 4\nreceive_buffer: 8MiB\nmax_packet_size: 8192"), "");
}

#[tokio::test]
async fn a_mapping_file_is_read_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mapping.yaml");
    let mapping = "mappings:\n- match: shop.*.orders\n  name: orders\n  labels: {shop: $1}\n";
    std::fs::write(&path, mapping).unwrap();
    let started = statsd(&format!("{LONG}endpoint: 127.0.0.1:0\nmapping_config: {}", path.display())).await;
    send_udp(&udp(&started), &["shop.north.orders:2|c\nshop.south.orders:3|c"]);
    assert_eq!(total(&stop_after(started, 2).await, "orders"), 5.0);
    std::fs::write(&path, "mappings:\n- math: x\n").unwrap();
    let found = errors("statsd", &format!("mapping_config: {}", path.display()));
    assert!(found.contains("mapping.yaml:2"), "{found}");
}
