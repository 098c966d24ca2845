//! The gRPC client: connections that are kept, lost, replaced and spread; peers that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transport::coding::Coding;
use transport::endpoint::Endpoint;
use transport::grpc::{self, Code, GrpcLimits, Origin};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage, Keepalive, KeepaliveWhen};
use transport::server::{Http2Settings, ResponseBody, ServerSettings};

use crate::samples::telemetry_like;
use crate::support::{ECHO, EMPTY, Server, call, echo_grpc, grpc_client, grpc_server};

fn settings(port: u16) -> GrpcClientSettings {
    GrpcClientSettings::new(Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap())
}

fn local(port: u16) -> GrpcClient {
    GrpcClient::new(settings(port)).unwrap()
}

#[tokio::test]
async fn calls_take_turns_over_the_configured_connections() {
    let server = grpc_server(ServerSettings::grpc());
    let client = GrpcClient::new(GrpcClientSettings { connections_per_address: 3, ..settings(server.port) }).unwrap();
    for _ in 0..20 {
        call(&client, ECHO, "x").await.unwrap();
    }
    assert_eq!(server.stats.accepted(), 3);
    drop(client);
    for _ in 0..100 {
        if server.stats.open() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a dropped client leaves connections open");
}

#[tokio::test]
async fn many_calls_at_once_all_succeed() {
    let http2 = Http2Settings { concurrent_streams_max: 4, ..Http2Settings::default() };
    let server = grpc_server(ServerSettings { http2, ..ServerSettings::grpc() });
    let client = grpc_client(server.endpoint());
    let payload = Bytes::from(telemetry_like(50_000));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (client, payload) = (client.clone(), payload.clone());
            tokio::spawn(async move { call(&client, ECHO, payload).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap() == payload);
    }
}

#[tokio::test]
async fn a_large_message_respects_small_windows() {
    let http2 = Http2Settings {
        stream_window_bytes: 65_535,
        connection_window_bytes: 65_535,
        frame_bytes_max: 16_384,
        ..Http2Settings::default()
    };
    let server = grpc_server(ServerSettings { http2, ..ServerSettings::grpc() });
    let payload = Bytes::from(telemetry_like(3_000_000));
    assert!(call(&grpc_client(server.endpoint()), ECHO, payload.clone()).await.unwrap() == payload);
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let first = grpc_server(ServerSettings::grpc());
    let (endpoint, client) = (first.endpoint(), grpc_client(first.endpoint()));
    call(&client, ECHO, "x").await.unwrap();
    first.stop().await;
    assert_eq!(call(&client, ECHO, "x").await.unwrap_err().code, Code::Unavailable);
    let second =
        Server::start_at(&endpoint, ServerSettings::grpc(), |request, _| echo_grpc(request, GrpcLimits::default()));
    let mut attempts = 0;
    while let Err(status) = call(&client, ECHO, "x").await {
        attempts += 1;
        assert!(attempts < 50, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(second.stats.accepted() > 0);
}

#[tokio::test]
async fn metadata_and_authority_arrive_and_metadata_replaces_headers() {
    let server = Server::start(ServerSettings::grpc(), |request, _| async move {
        grpc::unary(request, &GrpcLimits::default(), |call| async move {
            let text = |name: &str| call.metadata().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
            let host = call.head.uri.authority().map(ToString::to_string).unwrap_or_default();
            let all = ["x-fixed", "x-both", "te", "user-agent"].map(text).join(" ");
            Ok(Bytes::from(format!("{host} {all} {}", call.deadline.is_some())))
        })
        .await
    });
    let mut settings = settings(server.port);
    settings.authority = Some("backend.example".to_owned());
    settings.headers.insert("x-fixed", HeaderValue::from_static("fixed"));
    settings.headers.insert("x-both", HeaderValue::from_static("client"));
    settings.user_agent = HeaderValue::from_static("test/1");
    let metadata = HeaderMap::from_iter([("x-both".parse().unwrap(), HeaderValue::from_static("call"))]);
    let message = GrpcMessage::plain(Bytes::new());
    let answer = GrpcClient::new(settings).unwrap().call(ECHO, message, &metadata, None).await.unwrap();
    assert_eq!(answer, "backend.example fixed call trailers test/1 false");
}

#[tokio::test]
async fn compressed_messages_reach_the_handler_with_their_frame() {
    let server = Server::start(ServerSettings::grpc(), |request, _| async move {
        grpc::unary(request, &GrpcLimits::default(), |call| async move {
            Ok(call.frame.map(|frame| frame.bytes).unwrap_or_default())
        })
        .await
    });
    let client = grpc_client(server.endpoint());
    let one = transport::coding::compress(Coding::Gzip, transport::coding::Level::Fast, b"payload");
    for (payload, expected) in
        [(one.clone(), one.clone()), (Bytes::from([one.as_ref(), one.as_ref()].concat()), Bytes::new())]
    {
        let message = GrpcMessage { coding: Coding::Gzip, payload };
        assert_eq!(client.call(ECHO, message, &HeaderMap::new(), None).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let server = grpc_server(ServerSettings::grpc());
    let client = GrpcClient::new(GrpcClientSettings { response_bytes_max: 1000, ..settings(server.port) }).unwrap();
    assert_eq!(call(&client, ECHO, vec![0; 1000]).await.unwrap().len(), 1000);
    let status = call(&client, ECHO, vec![0; 1_000_000]).await.unwrap_err();
    assert_eq!((status.code, status.origin), (Code::ResourceExhausted, Origin::Local));
    assert!(status.message.contains("1000"), "{status}");
    assert_eq!(call(&client, EMPTY, "x").await.unwrap(), "");
}

#[tokio::test]
async fn an_answer_that_is_not_grpc_is_mapped_by_its_status() {
    let server = Server::start(ServerSettings::default(), |request, _| async move {
        let code = request.uri().path().trim_start_matches('/').parse().unwrap();
        let mut response = Response::new(ResponseBody::full("<html>upstream is down</html>"));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    });
    let client = grpc_client(server.endpoint());
    for (path, code) in [
        ("/503", Code::Unavailable),
        ("/429", Code::Unavailable),
        ("/401", Code::Unauthenticated),
        ("/403", Code::PermissionDenied),
        ("/404", Code::Unimplemented),
        ("/418", Code::Unknown),
        ("/200", Code::Unknown),
    ] {
        let status = call(&client, path, "x").await.unwrap_err();
        assert_eq!((status.code, status.origin), (code, Origin::Peer), "{path}");
        assert!(status.message.contains("upstream is down"), "{status}");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_said_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _sent = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let status = call(&local(port), ECHO, "x").await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains("no HTTP/2 connection"), "{status}");
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client =
        GrpcClient::new(GrpcClientSettings { connect_timeout: Duration::from_millis(200), ..settings(port) }).unwrap();
    let status = call(&client, ECHO, "x").await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains("200 ms"), "{status}");
}

/// Forwards bytes to a server until it is told to swallow them.
struct Tunnel {
    port: u16,
    swallow: tokio::sync::watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
}

impl Tunnel {
    async fn to(server: &Server) -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (swallow, swallowing) = tokio::sync::watch::channel(false);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, target) = (accepted.clone(), server.port);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(forward(near_read, far_write, swallowing.clone()));
                tokio::spawn(forward(far_read, near_write, swallowing.clone()));
            }
        });
        Tunnel { port, swallow, accepted }
    }
}

/// Once it has swallowed something, a direction stays dead.
async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    swallowing: tokio::sync::watch::Receiver<bool>,
) {
    let mut piece = vec![0; 65_536];
    let mut dead = false;
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        dead |= *swallowing.borrow();
        if !dead && to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    if dead {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_connection_that_went_silent_is_replaced_by_keepalive() {
    let server = grpc_server(ServerSettings::grpc());
    let tunnel = Tunnel::to(&server).await;
    let keepalive = Some(Keepalive {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        when: KeepaliveWhen::CallsInFlight,
    });
    let client =
        GrpcClient::new(GrpcClientSettings { keepalive, connections_per_address: 1, ..settings(tunnel.port) }).unwrap();
    call(&client, ECHO, "before").await.unwrap();
    tunnel.swallow.send(true).unwrap();
    let status = call(&client, ECHO, "lost").await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable, "long before the deadline: {status}");
    tunnel.swallow.send(false).unwrap();
    call(&client, ECHO, "after").await.unwrap();
    assert_eq!(tunnel.accepted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_makes_the_connection_suspect() {
    let server = grpc_server(ServerSettings::grpc());
    let tunnel = Tunnel::to(&server).await;
    let keepalive = Some(Keepalive {
        interval: Duration::from_secs(3600),
        timeout: Duration::from_millis(100),
        when: KeepaliveWhen::CallsInFlight,
    });
    let client =
        GrpcClient::new(GrpcClientSettings { keepalive, connections_per_address: 1, ..settings(tunnel.port) }).unwrap();
    call(&client, ECHO, "before").await.unwrap();
    tunnel.swallow.send(true).unwrap();
    let message = GrpcMessage::plain(Bytes::from_static(b"lost"));
    let status = client.call(ECHO, message, &HeaderMap::new(), Some(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(status.code, Code::DeadlineExceeded);
    tunnel.swallow.send(false).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    call(&client, ECHO, "after").await.unwrap();
    assert_eq!(tunnel.accepted.load(Ordering::Relaxed), 2);
}

/// A peer that answers its first streams with an error of HTTP/2.
async fn refusing_peer(refusals: usize, reason: h2::Reason) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((_request, mut respond))) = connection.accept().await {
                    if count.fetch_add(1, Ordering::SeqCst) < refusals {
                        respond.send_reset(reason);
                        continue;
                    }
                    let head =
                        Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
                    respond.send_response(head.body(()).unwrap(), true).unwrap();
                }
            });
        }
    });
    (port, seen)
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_and_an_unclear_failure_is_not() {
    let (port, seen) = refusing_peer(2, h2::Reason::REFUSED_STREAM).await;
    call(&local(port), ECHO, "x").await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    let (port, seen) = refusing_peer(9, h2::Reason::REFUSED_STREAM).await;
    assert_eq!(call(&local(port), ECHO, "x").await.unwrap_err().code, Code::Unavailable);
    assert_eq!(seen.load(Ordering::SeqCst), 3, "not for ever");
    let (port, seen) = refusing_peer(1, h2::Reason::INTERNAL_ERROR).await;
    assert_eq!(call(&local(port), ECHO, "x").await.unwrap_err().code, Code::Internal);
    assert_eq!(seen.load(Ordering::SeqCst), 1, "it may have been processed");
}

#[tokio::test]
async fn the_addresses_of_localhost_are_one_server() {
    let server = grpc_server(ServerSettings::grpc());
    let client = grpc_client(Endpoint::parse(&format!("localhost:{}", server.port)).unwrap());
    for _ in 0..10 {
        call(&client, ECHO, "x").await.unwrap();
    }
    assert_eq!(server.stats.accepted(), 2, "two connections to the one address that answers");
}
