//! Clients that mean harm, and what the others notice of them: nothing.

use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use auth::{Authorization, BearerTokens, Credentials};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::coding::{Coding, Level, compress};
use transport::grpc::{Code, GrpcLimits};
use transport::grpc_client::{GrpcClient, GrpcClientSettings};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};
use transport::server::{BodyLimits, Protocols, ResponseBody, ServerSettings};
use transport::tls::{ServerTls, ServerTlsConfig};

use crate::support::{ECHO, Server, call, call_packed, echo_grpc, echo_http, grpc_client, grpc_server, http_server};

const SOON: Duration = Duration::from_secs(5);

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(("127.0.0.1", server.port)).await.unwrap()
}

/// Waits until the other side closes, and returns what it sent before.
async fn read_to_close(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match tokio::time::timeout(SOON, socket.read(&mut piece)).await.expect("the server should close") {
            Ok(0) | Err(_) => return all,
            Ok(read) => all.extend_from_slice(&piece[..read]),
        }
    }
}

fn impatient() -> ServerSettings {
    ServerSettings { header_read_timeout: Duration::from_millis(200), ..ServerSettings::default() }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let http2_only = ServerSettings { protocols: Protocols::Http2Only, ..impatient() };
    for settings in [impatient(), http2_only] {
        let server = http_server(settings);
        for start in [&b""[..], b"G", b"PRI * HTTP/2.0\r\n", b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: "] {
            let mut socket = connect(&server).await;
            socket.write_all(start).await.unwrap();
            read_to_close(&mut socket).await;
        }
        assert_eq!(server.stats.open(), 0);
    }
}

#[tokio::test]
async fn a_head_that_drips_is_closed() {
    let server = http_server(impatient());
    let mut socket = connect(&server).await;
    let mut closed = false;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if socket.write_all(b"x").await.is_err() {
            closed = true;
            break;
        }
    }
    assert!(
        closed || {
            read_to_close(&mut socket).await;
            true
        }
    );
    let reply = HttpClient::new(HttpClientSettings::default()).unwrap();
    assert_eq!(reply.send(HttpRequest::get(server.url("/"))).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_second_head_on_a_kept_connection_must_come_in_time_too() {
    let server = http_server(impatient());
    let mut socket = connect(&server).await;
    socket.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    socket.write_all(b"POST / HTTP/1.1\r\nhost: ").await.unwrap();
    assert!(read_to_close(&mut socket).await.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_body_that_stalls_or_drips_is_given_up() {
    let limits = BodyLimits { idle_timeout: Some(Duration::from_millis(200)), ..BodyLimits::default() };
    let settings =
        ServerSettings { request_read_timeout: Some(Duration::from_millis(600)), ..ServerSettings::default() };
    let server = Server::start(settings, move |request, _| echo_http(request, limits));
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n";
    let mut stalled = connect(&server).await;
    stalled.write_all(head).await.unwrap();
    assert!(read_to_close(&mut stalled).await.starts_with(b"HTTP/1.1 408"));
    let mut dripping = connect(&server).await;
    dripping.write_all(head).await.unwrap();
    for _ in 0..9 {
        // The server may have answered and closed already.
        let _sent = dripping.write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(read_to_close(&mut dripping).await.starts_with(b"HTTP/1.1 408"));
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_and_those_within_go_on() {
    let server = http_server(ServerSettings { connections_max: 2, ..ServerSettings::default() });
    let mut first = connect(&server).await;
    let second = connect(&server).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut third = connect(&server).await;
    assert_eq!(read_to_close(&mut third).await, b"");
    assert_eq!(server.stats.refused(), 1);
    first.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    assert!(read_to_close(&mut first).await.starts_with(b"HTTP/1.1 200"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut fourth = connect(&server).await;
    fourth.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    assert!(read_to_close(&mut fourth).await.starts_with(b"HTTP/1.1 200"), "a place is free again");
    drop(second);
}

#[tokio::test]
async fn failed_and_endless_handshakes_leave_the_server_alive() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = ServerTls {
        certificate: transport::tls::Pem::Inline(Secret::new(certified.cert.pem())),
        key: transport::tls::Pem::Inline(Secret::new(certified.signing_key.serialize_pem())),
        client_ca: None,
        min_version: None,
        max_version: None,
        reload_interval: None,
    };
    let settings = ServerSettings {
        tls: Some(Arc::new(ServerTlsConfig::new(tls).unwrap())),
        tls_handshake_timeout: Duration::from_millis(200),
        ..ServerSettings::default()
    };
    let server = http_server(settings);
    for start in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0, 1], &[0xff; 100]] {
        let mut socket = connect(&server).await;
        socket.write_all(start).await.unwrap();
        read_to_close(&mut socket).await;
    }
    drop(connect(&server).await);
    let ca = Some(transport::tls::Pem::Inline(Secret::new(certified.cert.pem())));
    let tls = transport::tls::ClientTls { ca, ..Default::default() };
    let client = HttpClient::new(HttpClientSettings { tls, ..HttpClientSettings::default() }).unwrap();
    let url = format!("https://localhost:{}/", server.port).parse().unwrap();
    assert_eq!(client.send(HttpRequest::get(url)).await.unwrap().status, StatusCode::OK);
    assert!(server.stats.tls_failures() >= 4, "{:?}", server.stats);
}

#[tokio::test]
async fn bodies_that_never_end_do_not_fill_the_memory_together() {
    let settings = ServerSettings { receiving_bytes_max: 100_000, ..ServerSettings::default() };
    let server = Server::start(settings, |request, _| async move {
        match transport::grpc::is_grpc(request.headers()) {
            true => echo_grpc(request, GrpcLimits::default()).await,
            false => echo_http(request, BodyLimits::default()).await,
        }
    });
    let mut greedy = connect(&server).await;
    greedy.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
    greedy.write_all(&[b'x'; 95_000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let client = HttpClient::new(HttpClientSettings::default()).unwrap();
    let ask = async || {
        let request = HttpRequest::post(server.url("/"), http::HeaderMap::new(), Bytes::from(vec![b'y'; 10_000]));
        client.send(request).await.unwrap().status
    };
    assert_eq!(ask().await, StatusCode::SERVICE_UNAVAILABLE);
    let status = call(&grpc_client(server.endpoint()), ECHO, vec![b'y'; 10_000]).await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable, "{status}");
    drop(greedy);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ask().await, StatusCode::OK, "there is room again");
}

// === HTTP/2 ===

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `:method POST`, `:scheme http`, `:path /`, from the static table, and `:authority x`.
const REQUEST_HEAD: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'x'];
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Sends what `flood` gives until the server closes the connection; another client works all the while.
async fn check_flood(flood: impl Fn(u32) -> Vec<u8>) {
    let server = grpc_server(ServerSettings::grpc());
    let other = grpc_client(server.endpoint());
    assert!(call(&other, ECHO, "before").await.is_ok());
    let mut socket = connect(&server).await;
    socket.write_all(PREFACE).await.unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let drain = tokio::spawn(async move {
        let mut piece = [0; 4096];
        while reader.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    });
    let flooding = async {
        for index in 0..200_000_u32 {
            if writer.write_all(&flood(index)).await.is_err() {
                return true;
            }
            if index % 1000 == 0 {
                assert!(call(&other, ECHO, "during").await.is_ok());
            }
        }
        false
    };
    assert!(
        tokio::time::timeout(SOON, flooding).await.expect("the flood should be ended"),
        "the flood was let through"
    );
    drain.abort();
    assert!(call(&other, ECHO, "after").await.is_ok());
}

#[tokio::test]
async fn a_rapid_reset_ends_only_its_own_connection() {
    check_flood(|index| {
        let stream = 2 * index + 1;
        let mut both = frame(HEADERS, END_HEADERS, stream, REQUEST_HEAD);
        both.extend_from_slice(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        both
    })
    .await;
}

#[tokio::test]
async fn a_continuation_flood_ends_only_its_own_connection() {
    check_flood(|index| match index {
        0 => frame(HEADERS, 0, 1, REQUEST_HEAD),
        _ => frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b']),
    })
    .await;
}

#[tokio::test]
async fn an_empty_data_flood_ends_only_its_own_connection() {
    check_flood(|index| match index {
        0 => frame(HEADERS, END_HEADERS, 1, REQUEST_HEAD),
        _ => frame(DATA, 0, 1, &[]),
    })
    .await;
}

#[tokio::test]
async fn a_settings_flood_does_not_disturb_others() {
    let server = grpc_server(ServerSettings::grpc());
    let other = grpc_client(server.endpoint());
    let mut socket = connect(&server).await;
    socket.write_all(PREFACE).await.unwrap();
    // Acknowledgements are never read: what the server may hold of them is bounded.
    let flood: Vec<u8> = (0..2000).flat_map(|_| frame(SETTINGS, 0, 0, &[])).collect();
    for _ in 0..20 {
        let sent = tokio::time::timeout(Duration::from_millis(100), socket.write_all(&flood)).await;
        assert!(call(&other, ECHO, "during").await.is_ok());
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = grpc_server(ServerSettings::grpc());
    let mut settings = GrpcClientSettings::new(server.endpoint());
    settings.headers.insert("x-large", HeaderValue::from_str(&"x".repeat(100_000)).unwrap());
    let status = call(&GrpcClient::new(settings).unwrap(), ECHO, "x").await.unwrap_err();
    assert_ne!(status.code, Code::Ok);
    assert!(call(&grpc_client(server.endpoint()), ECHO, "x").await.is_ok());
}

// === gRPC ===

fn small_messages() -> Server {
    let limits = GrpcLimits { message_bytes_max: 10_000, ..GrpcLimits::default() };
    Server::start(ServerSettings::grpc(), move |request, _| echo_grpc(request, limits))
}

#[tokio::test]
async fn a_bomb_in_a_message_is_resource_exhausted() {
    let server = small_messages();
    let client = grpc_client(server.endpoint());
    for coding in Coding::ALL {
        let bomb = compress(coding, Level::Fast, &vec![0; 150_000]);
        let status = call_packed(&client, coding, bomb).await.unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted, "{coding}: {status}");
        assert!(status.message.contains("10000"), "{status}");
        assert!(call(&client, ECHO, "alive").await.is_ok());
    }
}

#[tokio::test]
async fn a_corrupt_message_ends_the_call_and_nothing_else() {
    let server = small_messages();
    let client = grpc_client(server.endpoint());
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Deflate, Coding::Snappy, Coding::Lz4] {
        let status = call_packed(&client, coding, Bytes::from_static(b"no stream")).await.unwrap_err();
        assert_eq!(status.code, Code::Internal, "{coding}: {status}");
    }
    assert!(call(&client, ECHO, "alive").await.is_ok());
}

/// Sends a raw body as a gRPC request and returns status code and message of the answer.
async fn raw_call(server: &Server, headers: &[(&'static str, &'static str)], body: &'static [u8]) -> (String, String) {
    let socket = connect(server).await;
    let (send, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://x{ECHO}")).body(()).unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    let (response, mut stream) = send.ready().await.unwrap().send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(body), true).unwrap();
    let response: Response<h2::RecvStream> = response.await.unwrap();
    let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    if response.status() != StatusCode::OK {
        return (response.status().to_string(), String::new());
    }
    (text("grpc-status"), format!("{} {}", text("grpc-message"), text("grpc-accept-encoding")))
}

#[tokio::test]
async fn broken_framing_gives_a_status_that_says_so() {
    let server = small_messages();
    let check = async |headers: &[_], body, code: &str, text: &str| {
        let (found, message) = raw_call(&server, headers, body).await;
        assert!(found == code && message.contains(text), "{found} {message}");
    };
    check(&[], b"", "13", "without a message").await;
    check(&[], b"\0\0\0", "13", "breaks off").await;
    check(&[], b"\0\0\0\0\x09short", "13", "breaks off").await;
    check(&[], b"\0\0\0\0\x01a\0\0\0\0\x01b", "13", "more than one").await;
    check(&[], b"\x02\0\0\0\x01a", "13", "unknown flag 2").await;
    check(&[], b"\0\xff\xff\xff\xffa", "8", "10000").await;
    check(&[], b"\x01\0\0\0\x01a", "13", "names no coding").await;
    check(&[("grpc-encoding", "br")], b"\x01\0\0\0\x01a", "12", "gzip,zstd").await;
    check(&[("grpc-timeout", "soon")], b"\0\0\0\0\x01a", "3", "grpc-timeout").await;
    check(&[("content-type", "application/json")], b"{}", "415 Unsupported Media Type", "").await;
}

#[tokio::test]
async fn a_message_that_stalls_is_given_up() {
    let limits = GrpcLimits { idle_timeout: Some(Duration::from_millis(100)), ..GrpcLimits::default() };
    let server = Server::start(ServerSettings::grpc(), move |request, _| echo_grpc(request, limits));
    let (send, connection) = h2::client::handshake(connect(&server).await).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://x{ECHO}")).header("content-type", "application/grpc").body(()).unwrap();
    let (response, mut stream) = send.ready().await.unwrap().send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"\0\0\0\0\x09"), false).unwrap();
    let response = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
}

// === credentials ===

#[tokio::test]
async fn requests_without_the_token_are_refused_before_the_handler() {
    let tokens = BearerTokens::new(&[Secret::new("good-token")]).unwrap();
    let settings = ServerSettings { authenticator: Some(Arc::new(tokens)), ..ServerSettings::default() };
    let server = Server::start(settings, |request, _| async move {
        match transport::grpc::is_grpc(request.headers()) {
            true => echo_grpc(request, GrpcLimits::default()).await,
            false => Response::new(ResponseBody::full("secret data")),
        }
    });
    let check = async |token: Option<&str>, expected: StatusCode, code: Option<Code>| {
        let credentials = token.map(|token| {
            Arc::new(Authorization::bearer("Bearer", &Secret::new(token)).unwrap()) as Arc<dyn Credentials>
        });
        let http = HttpClientSettings { credentials: credentials.clone(), ..HttpClientSettings::default() };
        let reply = HttpClient::new(http).unwrap().send(HttpRequest::get(server.url("/"))).await.unwrap();
        assert_eq!(reply.status, expected, "{token:?}");
        assert_eq!(reply.headers.contains_key(header::WWW_AUTHENTICATE), code.is_some());
        let grpc = GrpcClientSettings { credentials, ..GrpcClientSettings::new(server.endpoint()) };
        let called = call(&GrpcClient::new(grpc).unwrap(), ECHO, "x").await;
        assert_eq!(called.err().map(|status| status.code), code, "{token:?}");
    };
    check(Some("good-token"), StatusCode::OK, None).await;
    for token in [None, Some(""), Some("good"), Some("good-toke"), Some("good-token2"), Some("bad-token!")] {
        check(token, StatusCode::UNAUTHORIZED, Some(Code::Unauthenticated)).await;
    }
}
