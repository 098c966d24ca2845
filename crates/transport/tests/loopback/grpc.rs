//! gRPC over loopback sockets: calls, status, compression, limits.

use std::time::Duration;

use crate::samples::telemetry_like;
use crate::support::{ECHO, EMPTY, Server, call, call_packed, grpc_client, grpc_server};
use bytes::Bytes;
use http::HeaderMap;
use transport::coding::{Coding, Level, compress};
use transport::grpc::{self, Code, GrpcLimits, Origin, Status};
use transport::grpc_client::GrpcMessage;
use transport::server::ServerSettings;

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent() {
    let server = grpc_server(ServerSettings::grpc());
    let client = grpc_client(server.endpoint());
    for size in [0, 1, 5, 16_384, 70_000, 3_000_000] {
        let payload = Bytes::from(telemetry_like(size));
        assert_eq!(call(&client, ECHO, payload.clone()).await.unwrap(), payload, "{size}");
        assert_eq!(call(&client, EMPTY, payload).await.unwrap(), Bytes::new());
    }
    assert_eq!(server.stop().await.cut_connections, 0);
}

#[tokio::test]
async fn every_coding_is_understood() {
    let server = grpc_server(ServerSettings::grpc());
    let client = grpc_client(server.endpoint());
    let payload = telemetry_like(100_000);
    for coding in Coding::ALL {
        let packed = compress(coding, Level::Fast, &payload);
        assert_eq!(call_packed(&client, coding, packed).await.unwrap(), payload, "{coding}");
    }
}

#[tokio::test]
async fn a_status_travels_with_its_retry_delay() {
    let delay = Duration::from_millis(2500);
    let server = Server::start(ServerSettings::grpc(), move |request, _| async move {
        let refuse =
            |_| async move { Err(Status::new(Code::ResourceExhausted, "voll: \u{fc}").with_retry_after(delay)) };
        grpc::unary(request, &GrpcLimits::default(), refuse).await
    });
    let status = call(&grpc_client(server.endpoint()), ECHO, "x").await.unwrap_err();
    assert_eq!((status.code, status.retry_after, status.origin), (Code::ResourceExhausted, Some(delay), Origin::Peer));
    assert_eq!(status.message, "voll: \u{fc}");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let server = grpc_server(ServerSettings::grpc());
    let status = call(&grpc_client(server.endpoint()), "/test.Service/Other", "x").await.unwrap_err();
    assert_eq!((status.code, status.origin), (Code::Unimplemented, Origin::Peer));
    assert!(status.message.contains("/test.Service/Other"), "{status}");
}

#[tokio::test]
async fn a_deadline_ends_the_call_on_both_sides() {
    let (dropped, mut was_dropped) = tokio::sync::mpsc::channel(1);
    let server = Server::start(ServerSettings::grpc(), move |request, _| {
        let dropped = dropped.clone();
        async move {
            grpc::unary(request, &GrpcLimits::default(), |call| async move {
                assert!(call.deadline.is_some());
                let _guard = dropped;
                std::future::pending().await
            })
            .await
        }
    });
    let client = grpc_client(server.endpoint());
    let message = GrpcMessage::plain(Bytes::from_static(b"x"));
    let status = client.call(ECHO, message, &HeaderMap::new(), Some(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(status.code, Code::DeadlineExceeded);
    // The handler's own clone is gone when its future is dropped; the server's stays until it stops.
    server.stop.cancel();
    let nothing = tokio::time::timeout(Duration::from_secs(2), was_dropped.recv()).await.unwrap();
    assert_eq!(nothing, Option::<()>::None);
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_names_the_endpoint() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let client = grpc_client(transport::endpoint::Endpoint::parse(&endpoint).unwrap());
    for _ in 0..3 {
        let status = call(&client, ECHO, "x").await.unwrap_err();
        assert_eq!((status.code, status.origin), (Code::Unavailable, Origin::Local));
        assert!(status.message.contains(&endpoint) && status.message.contains("refused"), "{status}");
    }
}
