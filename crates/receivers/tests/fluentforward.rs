//! The `fluentforward` receiver on real sockets: modes, acknowledgements, backpressure, who may send, and what must be
//! refused.

#![allow(clippy::unwrap_used)]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::Write;
use std::time::Duration;

use component::{Refused, Unit};
use otlp::Signal;
use sha2::{Digest, Sha512};
use support::{Started, errors, free_port, start};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

const ONE: &[u8] = b"\x93\xa3app\xce\x65\x53\xf1\x00\x81\xa3log\xa3one";

struct Server {
    started: Started,
    port: u16,
}

async fn server(options: &str) -> Server {
    let port = free_port();
    let started = start("fluentforward", &format!("endpoint: 127.0.0.1:{port}\n{options}"), &[Signal::Logs]).await;
    Server { started, port }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    fn bodies(&self) -> Vec<String> {
        let batches = self.started.kept.batches();
        let records = batches.iter().flat_map(|batch| batch.logs().unwrap().resource_logs());
        let records = records.flat_map(|block| block.scope_logs()).flat_map(|scope| scope.log_records());
        records.map(|record| record.body().as_str().unwrap().to_owned()).collect()
    }

    async fn until(&self, holds: impl Fn(&Server) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time");
    }

    fn lost(&self, cause: &str) -> u64 {
        let all = self.started.arrivals.all();
        let messages = all.iter().filter(|(_, unit, _)| *unit == Unit::Messages);
        messages.map(|(_, _, seen)| seen.lost.get(cause).copied().unwrap_or(0)).sum()
    }
}

async fn exactly<R: AsyncRead + Unpin>(io: &mut R, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    tokio::time::timeout(Duration::from_secs(10), io.read_exact(&mut read)).await.expect("in time").unwrap();
    assert_eq!(read, expected, "{}", read.escape_ascii());
}

async fn ends<R: AsyncRead + Unpin>(io: &mut R) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(10), io.read_to_end(&mut rest)).await.expect("in time");
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    [&[0xc6], u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
}

fn entry(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [b"\x92\xce\x65\x53\xf1\x00\x81\xa3log\xd9".as_slice(), &[length], text.as_bytes()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn send_all_modes<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) {
    let chunk = |name: &str| [b"\xa5chunk\xa1".as_slice(), name.as_bytes()].concat();
    let message = [b"\x94", &ONE[1..], b"\x81", &chunk("m")].concat();
    let forward = [b"\x93\xa3app\x92", entry("two").as_slice(), &entry("three"), b"\x81", &chunk("f")].concat();
    let packed = [b"\x93\xa3app", binary(&entry("four")).as_slice(), b"\x81", &chunk("p")].concat();
    let members = [gzip(&entry("five")), gzip(&entry("six"))].concat();
    let compressed = [b"\x93\xa3app", binary(&members).as_slice(), b"\x82\xaacompressed\xa4gzip", &chunk("c")].concat();
    for (bytes, name) in [(message, "m"), (forward, "f"), (packed, "p"), (compressed, "c")] {
        // In two pieces, with a heartbeat before.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        io.write_all(&[b"\xc0", first].concat()).await.unwrap();
        io.write_all(second).await.unwrap();
        exactly(io, &[b"\x81\xa3ack\xa1", name.as_bytes()].concat()).await;
    }
}

const ALL: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

#[tokio::test]
async fn all_modes_are_taken_and_chunks_are_acknowledged() {
    let server = server("").await;
    send_all_modes(&mut server.connect().await).await;
    assert_eq!(server.bodies(), ALL);
    let seen = server.started.arrivals.all().remove(0).2;
    assert_eq!((seen.received, seen.lost.len()), (4, 0));
}

#[tokio::test]
async fn a_unix_socket_is_named_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fluent.sock");
    let yaml = format!("endpoint: unix://{}", path.display());
    let started = start("fluent_forward", &yaml, &[Signal::Logs]).await;
    send_all_modes(&mut UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(started.kept.items(), 6);
}

#[tokio::test]
async fn all_modes_are_taken_over_tls_and_plain_text_is_not() {
    let identity = tls::Identity::new();
    let server = server(&format!("tls: {}", identity.yaml())).await;
    send_all_modes(&mut identity.connect(server.port).await).await;
    assert_eq!(server.bodies(), ALL);
    let mut client = server.connect().await;
    client.write_all(ONE).await.unwrap();
    // An alert of TLS may come before the end.
    let _ = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut Vec::new())).await.expect("in time");
    assert_eq!(server.bodies(), ALL);
}

#[tokio::test]
async fn without_a_chunk_nothing_is_answered_and_messages_may_follow_at_once() {
    let server = server("").await;
    let mut client = server.connect().await;
    client.write_all(&ONE.repeat(100)).await.unwrap();
    client.shutdown().await.unwrap();
    ends(&mut client).await;
    assert_eq!(server.bodies(), vec!["one"; 100]);
}

#[tokio::test]
async fn while_there_is_no_room_nothing_is_acknowledged_and_nothing_more_is_read() {
    let server = server("").await;
    let after = Duration::from_millis(10);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let mut client = server.connect().await;
    let message = [b"\x94", &ONE[1..], b"\x81\xa5chunk\xa1x"].concat();
    client.write_all(&message.repeat(2)).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), client.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    server.started.kept.take_again();
    exactly(&mut client, b"\x81\xa3ack\xa1x\x81\xa3ack\xa1x").await;
    assert_eq!(server.bodies(), ["one", "one"]);
}

#[tokio::test]
async fn what_can_never_be_taken_is_not_acknowledged_and_counted() {
    let server = server("").await;
    server.started.kept.refuse(Refused::Permanent { cause: "too large".into() });
    let mut client = server.connect().await;
    client.write_all(&[b"\x94", &ONE[1..], b"\x81\xa5chunk\xa1x"].concat()).await.unwrap();
    ends(&mut client).await;
    assert_eq!(server.lost("refused"), 1);
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_and_is_counted_by_cause() {
    let server = server("max_message_size: 64KiB").await;
    let bomb = [b"\x93\xa3app", binary(&gzip(&vec![0; 1 << 20])).as_slice(), b"\x81\xaacompressed\xa4gzip"].concat();
    let cases: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\x93\xa3app\xc1", "no_messagepack"),
        (b"\x92\xa3app\xc6\x7f\xff\xff\xff", "too_large"),
        (b"\x92\xa3app\xdd\xff\xff\xff\xff", "too_large"),
        (&bomb, "too_large"),
        (b"\x93\xa3app\x01\x81", "broken_off"),
    ];
    for (index, (bytes, cause)) in cases.into_iter().enumerate() {
        let before = server.lost(cause);
        let mut client = server.connect().await;
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        ends(&mut client).await;
        assert_eq!(server.lost(cause), before + 1, "{index} {cause}");
    }
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn connections_that_say_nothing_keep_no_other_one_from_being_served() {
    let server = server("").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(server.connect().await);
    }
    send_all_modes(&mut server.connect().await).await;
    assert_eq!(server.bodies(), ALL);
}

// === Who may send ===

fn sha512(parts: &[&[u8]]) -> String {
    Sha512::digest(parts.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the server says first: its nonce and the salt for passwords.
async fn helo(client: &mut TcpStream, with_user: bool) -> (Vec<u8>, Vec<u8>) {
    exactly(client, b"\x92\xa4HELO\x83\xa5nonce\xc4\x10").await;
    let mut nonce = vec![0; 16];
    client.read_exact(&mut nonce).await.unwrap();
    let mut auth = vec![0; if with_user { 16 } else { 0 }];
    exactly(client, if with_user { b"\xa4auth\xc4\x10" } else { b"\xa4auth\xa0" }).await;
    client.read_exact(&mut auth).await.unwrap();
    exactly(client, b"\xa9keepalive\xc3").await;
    (nonce, auth)
}

async fn ping(client: &mut TcpStream, nonce: &[u8], key: &str, user: &str, password: &str) {
    let digest = sha512(&[b"salt", b"me", nonce, key.as_bytes()]);
    let mut message = b"\x96\xa4PING\xa2me\xa4salt".to_vec();
    for text in [digest.as_str(), user, password] {
        message.extend_from_slice(&[0xd9, u8::try_from(text.len()).unwrap()]);
        message.extend_from_slice(text.as_bytes());
    }
    client.write_all(&message).await.unwrap();
}

async fn is_welcome(client: &mut TcpStream, nonce: &[u8]) {
    exactly(client, b"\x95\xa4PONG\xc3\xa0\xa4here\xd9\x80").await;
    exactly(client, sha512(&[b"salt", b"here", nonce, b"secret"]).as_bytes()).await;
}

#[tokio::test]
async fn who_knows_the_shared_key_may_send() {
    let server = server("security: {shared_key: secret, self_hostname: here}").await;
    let mut client = server.connect().await;
    let (nonce, _) = helo(&mut client, false).await;
    ping(&mut client, &nonce, "secret", "", "").await;
    is_welcome(&mut client, &nonce).await;
    send_all_modes(&mut client).await;
    assert_eq!(server.bodies(), ALL);
}

#[tokio::test]
async fn who_does_not_know_the_shared_key_is_told_and_sent_away() {
    let server = server("security: {shared_key: secret, self_hostname: here}").await;
    let mut client = server.connect().await;
    let (nonce, _) = helo(&mut client, false).await;
    ping(&mut client, &nonce, "guess", "", "").await;
    exactly(&mut client, b"\x95\xa4PONG\xc2\xb3shared_key mismatch\xa0\xa0").await;
    ends(&mut client).await;
    let mut client = server.connect().await;
    helo(&mut client, false).await;
    client.write_all(ONE).await.unwrap();
    ends(&mut client).await;
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn users_show_their_passwords() {
    let server = server("security: {shared_key: secret, self_hostname: here, users: {alice: wonder, bob: b}}").await;
    for (user, password, is_known) in [
        ("alice", "wonder", true),
        ("bob", "b", true),
        ("alice", "b", false),
        ("eve", "wonder", false),
        ("", "", false),
    ] {
        let mut client = server.connect().await;
        let (nonce, auth) = helo(&mut client, true).await;
        let digest = sha512(&[&auth, user.as_bytes(), password.as_bytes()]);
        ping(&mut client, &nonce, "secret", user, &digest).await;
        match is_known {
            true => is_welcome(&mut client, &nonce).await,
            false => {
                exactly(&mut client, b"\x95\xa4PONG\xc2\xbausername/password mismatch\xa0\xa0").await;
                ends(&mut client).await;
            }
        }
    }
}

#[tokio::test]
async fn a_stop_while_there_is_no_room_leaves_no_message_uncounted() {
    let server = server("").await;
    let after = Duration::from_secs(3600);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let mut client = server.connect().await;
    client.write_all(ONE).await.unwrap();
    server.until(|server| server.started.arrivals.all().iter().any(|(_, _, seen)| seen.received == 1)).await;
    server.started.stop();
    ends(&mut client).await;
    assert_eq!(server.lost("stopping"), 1);
}

#[test]
fn settings_that_make_no_sense_are_errors() {
    let check = |yaml: &str, expected: &str| {
        let errors = errors("fluentforward", yaml);
        assert!(errors.contains(expected), "{errors}");
    };
    check("endpoint: nowhere", "the port is missing");
    check("security: {}", "security.shared_key: is required");
    check("security: {shared_key: [1]}", "expected a string");
    check("tls: {}", "a server needs a certificate and a key");
    check("max_message_size: 1", "max_message_size");
    check("endpont: localhost:1", "did you mean `endpoint`?");
}
