//! Streams over gRPC: messages in both directions, limits, and clients that stall.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use transport::coding::{Coding, Level, compress};
use transport::grpc::{self, Code, GrpcLimits, Status, StreamCall};
use transport::server::ServerSettings;

use crate::support::Server;

const SOON: Duration = Duration::from_secs(10);

/// Repeats what it gets. `fail` ends the call with a status.
async fn repeat(mut call: StreamCall) -> Result<(), Status> {
    while let Some(message) = call.next().await? {
        if message.payload == "fail" {
            return Err(Status::new(Code::Unavailable, "full").with_retry_after(Duration::from_secs(7)));
        }
        call.answer(&message.payload).await?;
    }
    Ok(())
}

fn server(limits: GrpcLimits, settings: ServerSettings) -> Server {
    Server::start(settings, move |request, _| async move { grpc::streaming(request, &limits, repeat) })
}

struct Client {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    head: HeaderMap,
    received: BytesMut,
}

impl Client {
    async fn start(server: &Server, window_bytes: u32, headers: &[(&str, &str)]) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (send, connection) = builder.initial_window_size(window_bytes).handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::post("http://x/test.Service/Repeat").header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut ready = send.ready().await.unwrap();
        let (response, sending) = ready.send_request(request.body(()).unwrap(), false).unwrap();
        let response = tokio::time::timeout(SOON, response).await.unwrap().unwrap();
        let (head, receiving) = response.into_parts();
        assert_eq!(head.status, 200);
        Client { sending, receiving, head: head.headers, received: BytesMut::new() }
    }

    fn send(&mut self, bytes: impl Into<Bytes>) {
        self.sending.send_data(bytes.into(), false).unwrap();
    }

    fn end(&mut self) {
        self.sending.send_data(Bytes::new(), true).unwrap();
    }

    async fn receive(&mut self) -> Option<Bytes> {
        loop {
            if let Some(prefix) = self.received.first_chunk::<5>() {
                let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                if self.received.len() >= 5 + length {
                    return Some(self.received.split_to(5 + length).split_off(5).freeze());
                }
            }
            let data = tokio::time::timeout(SOON, self.receiving.data()).await.unwrap()?.unwrap();
            self.receiving.flow_control().release_capacity(data.len()).unwrap();
            self.received.extend_from_slice(&data);
        }
    }

    /// The status at the end, and nothing before it.
    async fn status(&mut self) -> (String, String) {
        assert_eq!(self.receive().await, None);
        let trailers = tokio::time::timeout(SOON, self.receiving.trailers()).await.unwrap().unwrap().unwrap();
        let text = |name| trailers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (text("grpc-status"), text("grpc-message"))
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}

const WINDOW: u32 = 1 << 20;

#[tokio::test]
async fn every_message_is_answered_before_the_next_is_sent() {
    let server = server(GrpcLimits::default(), ServerSettings::grpc());
    let mut client = Client::start(&server, WINDOW, &[]).await;
    for size in [0, 1, 5, 4096, 70_000, 1_000_000] {
        let message = vec![b'x'; size];
        client.send(framed(&message));
        assert_eq!(client.receive().await.unwrap(), message, "{size}");
    }
    client.end();
    assert_eq!(client.status().await, ("0".to_owned(), String::new()));
    assert_eq!(server.stop().await.cut_connections, 0);
}

#[tokio::test]
async fn messages_may_come_in_pieces_and_together() {
    let server = server(GrpcLimits::default(), ServerSettings::grpc());
    let mut client = Client::start(&server, WINDOW, &[]).await;
    let both = [framed(b"first"), framed(b"second")].concat();
    for byte in &both {
        client.send(vec![*byte]);
        tokio::task::yield_now().await;
    }
    client.send(both.repeat(2));
    for expected in ["first", "second"].repeat(3) {
        assert_eq!(client.receive().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_stream_may_be_compressed() {
    let server = server(GrpcLimits::default(), ServerSettings::grpc());
    let mut client = Client::start(&server, WINDOW, &[("grpc-encoding", "gzip")]).await;
    let packed = compress(Coding::Gzip, Level::Fast, &[b'a'; 1000]);
    let mut message = framed(&packed);
    message[0] = 1;
    client.send(message);
    client.send(framed(b"plain"));
    assert_eq!(client.receive().await.unwrap(), vec![b'a'; 1000]);
    assert_eq!(client.receive().await.unwrap(), "plain");
}

#[tokio::test]
async fn a_refusal_ends_the_stream_with_its_status_in_the_trailers() {
    let server = server(GrpcLimits::default(), ServerSettings::grpc());
    let mut client = Client::start(&server, WINDOW, &[]).await;
    assert!(!client.head.contains_key("grpc-status"));
    client.send(framed(b"one"));
    assert_eq!(client.receive().await.unwrap(), "one");
    client.send(framed(b"fail"));
    assert_eq!(client.status().await, ("14".to_owned(), "full".to_owned()));
}

async fn check_broken(headers: &[(&str, &str)], bytes: &[u8], code: &str, words: &str) {
    let limits = GrpcLimits { message_bytes_max: 10_000, ..GrpcLimits::default() };
    let server = server(limits, ServerSettings::grpc());
    let mut client = Client::start(&server, WINDOW, headers).await;
    client.send(bytes.to_vec());
    client.end();
    let (found, message) = client.status().await;
    assert!(found == code && message.contains(words), "{found} {message}");
}

#[tokio::test]
async fn broken_messages_end_the_stream() {
    check_broken(&[], b"\0\0\0", "13", "breaks off").await;
    check_broken(&[], b"\0\0\0\0\x09short", "13", "breaks off").await;
    check_broken(&[], b"\x02\0\0\0\x01a", "13", "unknown flag 2").await;
    check_broken(&[], b"\0\xff\xff\xff\xffa", "8", "10000").await;
    check_broken(&[], b"\x01\0\0\0\x01a", "13", "names no coding").await;
    let bomb = compress(Coding::Gzip, Level::Fast, &vec![0; 1 << 20]);
    let mut message = framed(&bomb);
    message[0] = 1;
    check_broken(&[("grpc-encoding", "gzip")], &message, "8", "10000").await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_the_head() {
    let server = server(GrpcLimits::default(), ServerSettings::grpc());
    let client = Client::start(&server, WINDOW, &[("grpc-encoding", "br")]).await;
    assert_eq!(client.head["grpc-status"], "12");
    assert!(client.head["grpc-accept-encoding"].to_str().unwrap().contains("gzip"));
    let client = Client::start(&server, WINDOW, &[("grpc-timeout", "soon")]).await;
    assert_eq!(client.head["grpc-status"], "3");
}

#[tokio::test]
async fn a_client_may_be_silent_between_messages_beyond_every_limit_of_one() {
    let limits = GrpcLimits { idle_timeout: Some(Duration::from_millis(50)), ..GrpcLimits::default() };
    let settings = ServerSettings { request_read_timeout: Some(Duration::from_millis(100)), ..ServerSettings::grpc() };
    let server = server(limits, settings);
    let mut client = Client::start(&server, WINDOW, &[]).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.send(framed(b"still here"));
        assert_eq!(client.receive().await.unwrap(), "still here");
    }
}

#[tokio::test]
async fn a_message_that_stalls_ends_its_stream_and_frees_what_it_held() {
    let limits = GrpcLimits { idle_timeout: Some(Duration::from_millis(100)), ..GrpcLimits::default() };
    let settings = ServerSettings { receiving_bytes_max: 50_000, ..ServerSettings::grpc() };
    let server = server(limits, settings);
    let mut stalled = Client::start(&server, WINDOW, &[]).await;
    stalled.send(framed(&[b'x'; 40_000])[..39_000].to_vec());
    let (code, message) = stalled.status().await;
    assert!(code == "4" && message.contains("38995"), "{code} {message}");
    let mut next = Client::start(&server, WINDOW, &[]).await;
    for _ in 0..3 {
        next.send(framed(&[b'y'; 40_000]));
        assert_eq!(next.receive().await.unwrap(), vec![b'y'; 40_000], "what was held is free again");
    }
}

#[tokio::test]
async fn a_message_that_drips_ends_its_stream() {
    let settings = ServerSettings { request_read_timeout: Some(Duration::from_millis(300)), ..ServerSettings::grpc() };
    let server = server(GrpcLimits::default(), settings);
    let mut client = Client::start(&server, WINDOW, &[]).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.send(framed(b"in time"));
    assert_eq!(client.receive().await.unwrap(), "in time");
    for byte in framed(&[b'x'; 100]) {
        if client.sending.send_data(vec![byte].into(), false).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.status().await.0, "4");
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_given_up_and_others_go_on() {
    let running = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&running);
    let limits = GrpcLimits { idle_timeout: Some(Duration::from_millis(200)), ..GrpcLimits::default() };
    let server = Server::start(ServerSettings::grpc(), move |request, _| {
        let running = Arc::clone(&counted);
        async move {
            grpc::streaming(request, &limits, |call| async move {
                running.fetch_add(1, Ordering::Relaxed);
                let ended = repeat(call).await;
                running.fetch_sub(1, Ordering::Relaxed);
                ended
            })
        }
    });
    let mut deaf = Client::start(&server, 0, &[]).await;
    for _ in 0..100 {
        deaf.send(framed(b"hello"));
    }
    let mut other = Client::start(&server, WINDOW, &[]).await;
    other.send(framed(b"hello"));
    assert_eq!(other.receive().await.unwrap(), "hello");
    let given_up = async {
        while running.load(Ordering::Relaxed) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, given_up).await.expect("the handler of the deaf client should end");
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_client_goes_or_its_deadline_passes() {
    struct Guard(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (dropped, mut was_dropped) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(ServerSettings::grpc(), move |request, _| {
        let guard = Guard(dropped.clone());
        async move {
            grpc::streaming(request, &GrpcLimits::default(), |_call| async move {
                let _guard = guard;
                std::future::pending().await
            })
        }
    });
    let mut client = Client::start(&server, WINDOW, &[]).await;
    client.sending.send_reset(h2::Reason::CANCEL);
    tokio::time::timeout(SOON, was_dropped.recv()).await.unwrap();
    let mut client = Client::start(&server, WINDOW, &[("grpc-timeout", "50m")]).await;
    assert_eq!(client.status().await.0, "4");
    tokio::time::timeout(SOON, was_dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn a_connection_with_an_open_stream_is_not_idle() {
    let settings = ServerSettings { idle_timeout: Some(Duration::from_millis(100)), ..ServerSettings::grpc() };
    let server = server(GrpcLimits::default(), settings);
    let mut client = Client::start(&server, WINDOW, &[]).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.send(framed(b"still here"));
    assert_eq!(client.receive().await.unwrap(), "still here");
}
