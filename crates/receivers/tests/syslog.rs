//! The `syslog` receiver on real sockets: forms, framings, origins, backpressure, and what is lost, counted.

#![allow(clippy::unwrap_used)]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::time::Duration;

use component::{Refused, Unit};
use otlp::Signal;
use otlp::view::{AnyValueView, LogRecordView};
use support::{Started, errors, free_port, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const NEW: &str = r#"<165>1 2003-10-11T22:14:15.003Z web-1 shop 8710 ID47 [ex@1 a="1" a="2" b="x"] order 7 shipped"#;

struct Server {
    started: Started,
    port: u16,
}

/// A receiver over `transport`, with options of that (`{port}` filled in) and of its own.
async fn server(transport: &str, inner: &str, outer: &str) -> Server {
    let port = free_port();
    let yaml = format!("{transport}: {{listen_address: \"127.0.0.1:{port}\"{inner}}}\n{outer}");
    let started = start("syslog", &yaml, &[Signal::Logs]).await;
    Server { started, port }
}

impl Server {
    /// Sends over TCP, and waits until the server has read all.
    async fn send(&self, bytes: &[u8]) {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut Vec::new())).await.unwrap();
    }

    async fn until(&self, holds: impl Fn(&Server) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time");
    }

    fn records(&self) -> Vec<String> {
        let mut records = Vec::new();
        for batch in self.started.kept.batches() {
            for block in batch.logs().unwrap().resource_logs() {
                let resource = shown(AnyValueView::KvList(block.resource().attributes()));
                for record in block.scope_logs().flat_map(|scope| scope.log_records()) {
                    let prefix = if resource == "{}" { String::new() } else { format!("{resource} ") };
                    records.push(prefix + &describe(&record));
                }
            }
        }
        records
    }

    fn bodies(&self) -> Vec<String> {
        let records = self.records();
        records.iter().map(|record| record.rsplit(" | ").next().unwrap().to_owned()).collect()
    }

    fn seen(&self, unit: Unit) -> (u64, Vec<(&'static str, u64)>) {
        let all = self.started.arrivals.all();
        let seen = all.into_iter().filter(|(_, of, _)| *of == unit).map(|(_, _, seen)| seen);
        seen.fold((0, Vec::new()), |(received, mut lost), seen| {
            lost.extend(seen.lost);
            (received + seen.received, lost)
        })
    }

    fn malformed(&self, cause: &str) -> f64 {
        let families = self.started.metrics.gather();
        let family = families.iter().find(|family| family.name == "crossfade_syslog_malformed");
        let series = family.into_iter().flat_map(|family| &family.series);
        series.filter(|(labels, _)| labels["cause"] == cause).map(|(_, value)| value).sum()
    }
}

fn describe(record: &LogRecordView<'_>) -> String {
    assert!(record.observed_time_unix_nano() > 1_700_000_000_000_000_000);
    format!(
        "{} {}{} {} | {}",
        record.time_unix_nano(),
        record.severity_number(),
        record.severity_text(),
        shown(AnyValueView::KvList(record.attributes())),
        record.body().as_str().unwrap()
    )
}

fn shown(value: AnyValueView<'_>) -> String {
    match value {
        AnyValueView::String(text) => text.to_owned(),
        AnyValueView::Int(number) => number.to_string(),
        AnyValueView::Array(values) => format!("{:?}", values.map(shown).collect::<Vec<_>>()),
        AnyValueView::KvList(pairs) => {
            let pairs: Vec<String> = pairs.map(|pair| format!("{}={}", pair.key(), shown(pair.value()))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_of_rfc_5424_becomes_a_record_as_in_the_collector() {
    let server = server("tcp", "", "protocol: rfc5424").await;
    server.send(format!("{NEW}\n<13>1 - - - - - -\r\n\n").as_bytes()).await;
    let expected = "1065910455003000000 10notice {appname=shop, facility=20, facility_text=local4, hostname=web-1, \
                    message=order 7 shipped, msg_id=ID47, priority=165, proc_id=8710, \
                    structured_data={ex@1={a=[\"1\", \"2\"], b=x}}, version=1} | ";
    assert_eq!(
        server.records(),
        [
            expected.to_owned() + NEW,
            "0 10notice {facility=1, facility_text=user, priority=13, version=1} | <13>1 - - - - - -".to_owned()
        ]
    );
    assert_eq!(server.seen(Unit::Messages), (2, vec![]));
}

#[tokio::test]
async fn times_of_rfc_3164_are_local_to_the_location() {
    let server = server("tcp", "", "protocol: rfc3164\nlocation: America/Detroit").await;
    server.send(b"<34>Oct 11 2003 22:14:15 mymachine su[7]: failed").await;
    let expected = "1065924855000000000 18crit {appname=su, facility=4, facility_text=auth, hostname=mymachine, \
                    message=failed, priority=34, proc_id=7} | <34>Oct 11 2003 22:14:15 mymachine su[7]: failed";
    assert_eq!(server.records(), [expected]);
}

#[tokio::test]
async fn messages_come_over_tls() {
    let identity = tls::Identity::new();
    let tls = format!(", tls: {}", identity.yaml());
    let server = server("tcp", &tls, "protocol: rfc5424\nenable_octet_counting: true").await;
    let mut client = identity.connect(server.port).await;
    client.write_all(format!("{} {NEW}", NEW.len()).as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    server.until(|server| server.started.kept.items() == 1).await;
    assert_eq!(server.bodies(), [NEW]);
}

#[tokio::test]
async fn counted_messages_may_hold_line_feeds() {
    let server = server("tcp", "", "protocol: rfc5424\nenable_octet_counting: true").await;
    let two = "<13>1 - - - - - - two\nlines";
    server.send(format!("{} {two}{} {NEW}", two.len(), NEW.len()).as_bytes()).await;
    assert_eq!(server.bodies(), [two, NEW]);
}

#[tokio::test]
async fn a_message_of_another_form_goes_on_as_it_came_and_is_counted() {
    let server = server("tcp", "", "protocol: rfc5424").await;
    server.send(b"hello\n<13>1 nonsense\n\xff\xfe\n").await;
    assert_eq!(server.records(), ["0 0 {} | hello", "0 0 {} | <13>1 nonsense", "0 0 {} | \u{fffd}\u{fffd}"]);
    assert_eq!((server.malformed("no_priority"), server.malformed("no_timestamp")), (2.0, 1.0));
    assert_eq!(server.seen(Unit::Messages), (3, vec![]));
}

#[tokio::test]
async fn on_error_drop_drops_it_and_counts_the_loss() {
    let server = server("tcp", "", "protocol: rfc5424\non_error: drop_quiet").await;
    server.send(format!("hello\n{NEW}\n").as_bytes()).await;
    assert_eq!(server.bodies(), [NEW]);
    assert_eq!(server.seen(Unit::Messages), (2, vec![("no_priority", 1)]));
}

#[tokio::test]
async fn a_priority_may_be_left_out() {
    let server = server("tcp", "", "protocol: rfc3164\nallow_skip_pri_header: true").await;
    server.send(b"Oct 11 2003 22:14:15 h su: failed\n").await;
    let expected = "1065910455000000000 0 {appname=su, hostname=h, message=failed} | Oct 11 2003 22:14:15 h su: failed";
    assert_eq!(server.records(), [expected]);
}

#[tokio::test]
async fn attributes_resource_origin_and_operators_apply() {
    let outer = "protocol: rfc5424\nattributes: {from: syslog}\nresource: {site: east}\noperators: [{type: move, from: \
                 attributes.message, to: body}, {type: remove, field: attributes.facility_text}]";
    let server = server("tcp", ", add_attributes: true", outer).await;
    server.send(b"<13>1 - - - - - - text\n").await;
    let records = server.records();
    let (start, end) = records[0].split_once("net.peer.ip=127.0.0.1, net.peer.port=").unwrap();
    let port = server.port;
    let expected =
        format!("{{site=east}} 0 10notice {{facility=1, from=syslog, net.host.ip=127.0.0.1, net.host.port={port}, ");
    assert_eq!(start, expected);
    assert!(end.ends_with(", net.transport=IP.TCP, priority=13, version=1} | text"), "{end}");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_skipped_and_counted() {
    let server = server("tcp", ", max_log_size: 100", "protocol: rfc5424").await;
    let long = format!("<13>1 - - - - - - {}\n", "x".repeat(64 << 10));
    server.send(format!("{long}<13>1 - - - - - - next\n").as_bytes()).await;
    assert_eq!(server.bodies(), ["<13>1 - - - - - - next"]);
    assert_eq!(server.seen(Unit::Messages), (2, vec![("too_long", 1)]));
}

#[tokio::test]
async fn half_a_counted_message_is_counted() {
    let server = server("tcp", "", "protocol: rfc5424\nenable_octet_counting: true").await;
    server.send(b"100 <13>1 - - -").await;
    assert_eq!(server.seen(Unit::Messages), (1, vec![("broken_off", 1)]));
}

#[tokio::test]
async fn what_arrives_together_is_one_batch() {
    let server = server("tcp", "", "protocol: rfc5424").await;
    server.send(format!("{NEW}\n").repeat(2500).as_bytes()).await;
    assert_eq!(server.started.kept.items(), 2500);
    assert!(server.started.kept.batches().len() < 100, "{}", server.started.kept.batches().len());
}

#[tokio::test]
async fn while_there_is_no_room_a_stream_is_not_read() {
    let server = server("tcp", "", "protocol: rfc5424").await;
    let after = Duration::from_millis(10);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let mut client = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    // Far more than the buffers of both sides hold.
    let line = format!("<13>1 - - - - - - {}\n", "x".repeat(1 << 14));
    let lines = line.repeat(4096);
    let stuck = tokio::time::timeout(Duration::from_millis(300), client.write_all(lines.as_bytes())).await;
    assert!(stuck.is_err(), "the sender must wait");
    assert!(server.seen(Unit::Messages).0 < 1000, "{:?}", server.seen(Unit::Messages));
    server.started.kept.take_again();
    server.until(|server| server.started.kept.items() > 0).await;
    assert_eq!(server.seen(Unit::Messages).1, []);
}

#[tokio::test]
async fn datagrams_are_messages() {
    let server = server("udp", ", add_attributes: true", "protocol: rfc3164").await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", server.port)).await.unwrap();
    for text in ["<34>Oct 11 2003 22:14:15 h su: two\nlines\n\0", "\n", "nonsense"] {
        client.send(text.as_bytes()).await.unwrap();
    }
    server.until(|server| server.started.kept.items() == 2).await;
    let records = server.records();
    assert!(records[0].contains("message=two\nlines, net.host.ip=127.0.0.1"), "{}", records[0]);
    assert!(records[0].ends_with("net.transport=IP.UDP, priority=34} | <34>Oct 11 2003 22:14:15 h su: two\nlines"));
    assert!(records[1].ends_with("| nonsense"), "{}", records[1]);
    assert_eq!(server.seen(Unit::Datagrams), (2, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_datagram_is_lost_in_silence() {
    let server = server("udp", ", receive_buffer_size: 4KiB, async: {readers: 2}", "protocol: rfc3164").await;
    let after = Duration::from_millis(10);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", server.port)).await.unwrap();
    for _ in 0..2000 {
        client.send(b"<34>Oct 11 2003 22:14:15 h su: text").await.unwrap();
    }
    server.started.kept.take_again();
    let total = |server: &Server| {
        let (received, lost) = server.seen(Unit::Datagrams);
        received + lost.iter().map(|(_, count)| count).sum::<u64>()
    };
    server.until(|server| total(server) == 2000).await;
    let (received, lost) = server.seen(Unit::Datagrams);
    assert!(lost.iter().all(|(cause, _)| *cause == "kernel_drop") && !lost.is_empty(), "{lost:?}");
    server.until(|server| server.started.kept.items() == received).await;
}

#[test]
fn settings_that_make_no_sense_are_errors() {
    let check = |yaml: &str, expected: &str| {
        let errors = errors("syslog", yaml);
        assert!(errors.contains(expected), "{errors}");
    };
    let tcp = "tcp: {listen_address: \"localhost:0\"}\nprotocol: rfc5424\n";
    let udp = "udp: {listen_address: \"localhost:0\"}\nprotocol: rfc5424\n";
    check("protocol: rfc5424", "expected a transport: `tcp:` or `udp:`");
    check("tcp: {}\nprotocol: rfc5424", "tcp.listen_address: is required");
    check("tcp: {listen_address: \"localhost:0\"}", "protocol: is required");
    check("tcp: {listen_address: \"localhost:0\"}\nprotocol: rfc9999", "one of");
    check(&format!("{tcp}location: Nowhere/Else"), "a time zone such as `UTC`");
    check(&format!("{tcp}non_transparent_framing_trailer: NUL"), "not built yet");
    check(&format!("{udp}enable_octet_counting: true"), "is for `tcp` only");
    check(&format!("{tcp}enable_octet_counting: true\nallow_skip_pri_header: true"), "exclude each other");
    check(
        &format!("{tcp}operators: [{{type: recombine, combine_field: body, is_first_entry: \"true\"}}]"),
        "not built",
    );
    check(&format!("{tcp}attributes: {{a: EXPR(1)}}"), "not built yet");
    check("tcp: {listen_address: \"localhost:0\", multiline: {line_start_pattern: x}}\nprotocol: rfc5424", "not built");
}
