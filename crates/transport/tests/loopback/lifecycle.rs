//! How servers begin and end: addresses, unix sockets, age, stop.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use transport::endpoint::Endpoint;
use transport::grpc::{self, GrpcLimits};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};
use transport::server::{self, PortSharing, ResponseBody, ServerSettings};

use crate::support::{ECHO, Server, call, echo_grpc, grpc_client, grpc_server, http_server};

#[tokio::test]
async fn an_address_in_use_says_whom_to_ask() {
    let first = server::bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
    let endpoint = Endpoint::parse(&first.local().to_string()).unwrap();
    let error = server::bind(&endpoint, PortSharing::Exclusive).unwrap_err().to_string();
    assert!(error.contains(&endpoint.to_string()) && error.contains("ss -ltnp"), "{error}");
    let absent = Endpoint::parse("203.0.113.7:4317").unwrap();
    let error = server::bind(&absent, PortSharing::Exclusive).unwrap_err().to_string();
    assert!(error.contains("203.0.113.7:4317") && error.contains("no such address"), "{error}");
}

#[tokio::test]
async fn a_port_can_be_shared_on_purpose() {
    let first = server::bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Shared).unwrap();
    let endpoint = Endpoint::parse(&first.local().to_string()).unwrap();
    assert!(server::bind(&endpoint, PortSharing::Shared).is_ok());
}

#[tokio::test]
async fn an_empty_host_means_every_address() {
    let endpoint = Endpoint::parse(":0").unwrap();
    let server =
        Server::start_at(&endpoint, ServerSettings::grpc(), |request, _| echo_grpc(request, GrpcLimits::default()));
    let client = grpc_client(Endpoint::parse(&format!("127.0.0.1:{}", server.port)).unwrap());
    assert!(call(&client, ECHO, "x").await.is_ok());
}

#[tokio::test]
async fn unix_sockets_work_and_an_abandoned_one_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grpc.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "abandoned");
    let endpoint = Endpoint::parse(&format!("unix://{}", path.display())).unwrap();
    let server = Server::start_at(&endpoint, ServerSettings::grpc(), |request, connection| async move {
        assert_eq!(connection.peer, None);
        echo_grpc(request, GrpcLimits::default()).await
    });
    let payload = vec![b'u'; 200_000];
    assert_eq!(call(&grpc_client(endpoint.clone()), ECHO, payload.clone()).await.unwrap(), payload);
    let error = server::bind(&endpoint, PortSharing::Exclusive).unwrap_err().to_string();
    assert!(error.contains("lsof"), "{error}");
    server.stop().await;
    assert!(!path.exists());
}

/// A server whose handler waits until it is told to go on.
fn waiting_server(settings: ServerSettings) -> (Server, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (go, wait) = mpsc::channel::<()>(1);
    let (arrive, arrived) = mpsc::channel(1);
    let wait = std::sync::Arc::new(tokio::sync::Mutex::new(wait));
    let server = Server::start(settings, move |request, _| {
        let (wait, arrive) = (wait.clone(), arrive.clone());
        async move {
            arrive.send(()).await.unwrap();
            wait.lock().await.recv().await;
            match grpc::is_grpc(request.headers()) {
                true => echo_grpc(request, GrpcLimits::default()).await,
                false => Response::new(ResponseBody::full("late")),
            }
        }
    });
    (server, go, arrived)
}

#[tokio::test]
async fn requests_in_work_are_finished_when_the_server_stops() {
    let (server, go, mut arrived) = waiting_server(ServerSettings::default());
    let client = grpc_client(server.endpoint());
    let grpc_call = tokio::spawn(async move { call(&client, ECHO, "finished").await });
    arrived.recv().await.unwrap();
    let url = server.url("/");
    let http_call = tokio::spawn(async move {
        HttpClient::new(HttpClientSettings::default()).unwrap().send(HttpRequest::get(url)).await
    });
    arrived.recv().await.unwrap();
    let address = server.endpoint();
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(call(&grpc_client(address), ECHO, "new").await.is_err(), "nobody listens any more");
    go.send(()).await.unwrap();
    go.send(()).await.unwrap();
    assert_eq!(grpc_call.await.unwrap().unwrap(), "finished");
    assert_eq!(http_call.await.unwrap().unwrap().body, "late");
    assert_eq!(stopping.await.unwrap().cut_connections, 0);
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_cut() {
    let settings = ServerSettings { stop_grace: Duration::from_millis(100), ..ServerSettings::grpc() };
    let (server, _go, mut arrived) = waiting_server(settings);
    let client = grpc_client(server.endpoint());
    let hanging = tokio::spawn(async move { call(&client, ECHO, "never").await });
    arrived.recv().await.unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(3), server.stop()).await.unwrap();
    assert_eq!(stopped.cut_connections, 1);
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn idle_connections_do_not_delay_a_stop() {
    let server = http_server(ServerSettings::default());
    let client = HttpClient::new(HttpClientSettings::default()).unwrap();
    client.send(HttpRequest::post(server.url("/"), HeaderMap::new(), Bytes::from_static(b"x"))).await.unwrap();
    let silent = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stopped = tokio::time::timeout(Duration::from_secs(1), server.stop()).await.unwrap();
    assert_eq!(stopped.cut_connections, 0);
    drop(silent);
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_no_call_is_lost() {
    let age = Duration::from_millis(200);
    let settings = ServerSettings {
        connection_age_max: Some(age),
        connection_age_grace: Some(Duration::from_secs(1)),
        ..ServerSettings::grpc()
    };
    let server = grpc_server(settings);
    let client = grpc_client(server.endpoint());
    let deadline = tokio::time::Instant::now() + 4 * age;
    while tokio::time::Instant::now() < deadline {
        call(&client, ECHO, "x").await.unwrap();
    }
    assert!(server.stats.accepted() >= 4, "{:?}", server.stats);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let settings = ServerSettings { idle_timeout: Some(Duration::from_millis(150)), ..ServerSettings::default() };
    let (server, go, mut arrived) = waiting_server(settings);
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    arrived.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    go.send(()).await.unwrap();
    let mut answer = Vec::new();
    // The end of the stream is the server closing the connection.
    tokio::time::timeout(Duration::from_secs(3), socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK") && answer.ends_with(b"late"));
}

#[tokio::test]
async fn a_response_can_be_streamed() {
    let server = Server::start(ServerSettings::default(), |_, _| async {
        let (send, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            for piece in ["one ", "two ", "three"] {
                send.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
            }
        });
        Response::new(ResponseBody::stream(pieces))
    });
    let client = HttpClient::new(HttpClientSettings::default()).unwrap();
    assert_eq!(client.send(HttpRequest::get(server.url("/"))).await.unwrap().body, "one two three");
}

#[tokio::test]
async fn a_silent_http2_connection_is_kept_as_long_as_the_settings_say() {
    let settings = ServerSettings { header_read_timeout: Duration::from_millis(100), ..ServerSettings::grpc() };
    let server = grpc_server(settings);
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let (_send, connection) = h2::client::handshake(socket).await.unwrap();
    let driver = tokio::spawn(connection);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!driver.is_finished(), "its preface came in time, and there is no idle limit");
    assert_eq!(server.stats.open(), 1);
}
