//! Servers for protocols that are not HTTP, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::server::{self, LocalAddress, PortSharing, ServerStats, Stopped};
use transport::stream::{self, Connection, Frame, FrameError, Frames, Framing, StreamSettings};
use transport::tls::{Pem, ServerTls, ServerTlsConfig};

struct Server {
    local: LocalAddress,
    stats: Arc<ServerStats>,
    stop: CancellationToken,
    task: JoinHandle<Stopped>,
    /// What the handlers saw: each line, and how a connection ended.
    seen: mpsc::UnboundedReceiver<String>,
}

impl Server {
    fn start(settings: StreamSettings) -> Server {
        Server::start_at(&Endpoint::parse("127.0.0.1:0").unwrap(), settings)
    }

    fn start_at(endpoint: &Endpoint, settings: StreamSettings) -> Server {
        let listener = server::bind(endpoint, PortSharing::Exclusive).unwrap();
        let local = listener.local();
        let (send, seen) = mpsc::unbounded_channel();
        let handler = move |connection: Connection| answer_lines(connection, send.clone());
        let (stop, stats) = (CancellationToken::new(), Arc::new(ServerStats::default()));
        let task = tokio::spawn(stream::serve_counted(listener, settings, handler, stop.clone(), Arc::clone(&stats)));
        Server { local, stats, stop, task, seen }
    }

    async fn connect(&self) -> TcpStream {
        let LocalAddress::Tcp(address) = &self.local else { panic!("{:?}", self.local) };
        TcpStream::connect(address).await.unwrap()
    }

    async fn next(&mut self) -> String {
        tokio::time::timeout(Duration::from_secs(5), self.seen.recv()).await.unwrap().unwrap()
    }
}

/// Answers each line with its length; hangs at the line `hang`.
async fn answer_lines(connection: Connection, seen: mpsc::UnboundedSender<String>) {
    let mut lines = Frames::new(connection.io, Framing::Lines, 100);
    let end = loop {
        let answer = match lines.next().await {
            Ok(None) => break "end".to_owned(),
            Err(FrameError::Io(error)) => break format!("{:?}", error.kind()),
            Err(error) => break error.to_string(),
            Ok(Some(Frame::Whole(b"hang"))) => std::future::pending().await,
            Ok(Some(Frame::Whole(line))) => {
                seen.send(String::from_utf8_lossy(line).into_owned()).unwrap();
                format!("{}\n", line.len())
            }
            Ok(Some(Frame::TooLong { bytes })) => format!("too long {bytes}\n"),
        };
        if let Err(error) = lines.io_mut().write_all(answer.as_bytes()).await {
            break format!("cannot write: {:?}", error.kind());
        }
    };
    seen.send(end).unwrap();
}

/// Sends lines, closes this direction, and returns the answer.
async fn converse(mut io: impl AsyncReadExt + AsyncWriteExt + Unpin, lines: &str) -> String {
    io.write_all(lines.as_bytes()).await.unwrap();
    io.shutdown().await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn lines_are_served_over_tcp_and_unix_sockets() {
    let mut server = Server::start(StreamSettings::default());
    let lines = format!("one\r\n{}\nthree", "x".repeat(500));
    assert_eq!(converse(server.connect().await, &lines).await, "3\ntoo long 500\n5\n");
    assert_eq!([server.next().await, server.next().await, server.next().await], ["one", "three", "end"]);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let server = Server::start_at(&Endpoint::Unix(path.clone()), StreamSettings::default());
    assert_eq!(converse(UnixStream::connect(&path).await.unwrap(), "four\n").await, "4\n");
    server.stop.cancel();
    server.task.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn lines_are_served_over_tls_and_what_is_no_handshake_is_counted() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = ServerTls {
        certificate: Pem::Inline(Secret::new(certified.cert.pem())),
        key: Pem::Inline(Secret::new(certified.signing_key.serialize_pem())),
        client_ca: None,
        min_version: None,
        max_version: None,
        reload_interval: None,
    };
    let tls = Some(Arc::new(ServerTlsConfig::new(tls).unwrap()));
    let server = Server::start(StreamSettings { tls, ..StreamSettings::default() });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let name = "localhost".try_into().unwrap();
    let mut secured = connector.connect(name, server.connect().await).await.unwrap();
    secured.write_all(b"secret\n").await.unwrap();
    secured.flush().await.unwrap();
    let mut answer = [0; 2];
    secured.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"6\n");
    let mut plain = server.connect().await;
    plain.write_all(b"plain text\n").await.unwrap();
    let _alert = plain.read_to_end(&mut Vec::new()).await;
    assert_eq!(server.stats.tls_failures(), 1);
}

#[tokio::test]
async fn a_silent_connection_is_given_up_and_one_that_speaks_is_not() {
    let idle_timeout = Some(Duration::from_millis(200));
    let mut server = Server::start(StreamSettings { idle_timeout, ..StreamSettings::default() });
    let mut speaking = server.connect().await;
    for _ in 0..6 {
        speaking.write_all(b"x\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(server.next().await, "x");
    }
    let silent = server.connect().await;
    assert_eq!(server.next().await, "TimedOut");
    drop(silent);
}

#[tokio::test]
async fn silent_connections_are_held_up_to_the_limit_and_refused_beyond_it() {
    const HELD: usize = 300;
    let mut server = Server::start(StreamSettings { connections_max: HELD, ..StreamSettings::default() });
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(server.connect().await);
    }
    let mut beyond = server.connect().await;
    assert_eq!(beyond.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!((server.stats.open(), server.stats.refused()), (HELD, 1));
    held[HELD / 2].write_all(b"still served\n").await.unwrap();
    assert_eq!(server.next().await, "still served");
    drop(held);
    while server.stats.open() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(converse(server.connect().await, "x\n").await, "1\n");
}

#[tokio::test]
async fn a_stop_reads_what_has_arrived_and_no_half_line() {
    let mut server = Server::start(StreamSettings::default());
    let mut client = server.connect().await;
    client.write_all(b"begun\n").await.unwrap();
    assert_eq!(server.next().await, "begun");
    // The handler gets no turn between these two: the runtime of this test has one thread.
    client.try_write(b"arrived\nhalf a li").unwrap();
    server.stop.cancel();
    assert_eq!([server.next().await, server.next().await], ["arrived", "ConnectionAborted"]);
    assert_eq!(server.task.await.unwrap().cut_connections, 0);
}

#[tokio::test]
async fn a_handler_that_does_not_end_within_the_grace_is_cut() {
    let stop_grace = Duration::from_millis(100);
    let server = Server::start(StreamSettings { stop_grace, ..StreamSettings::default() });
    let mut client = server.connect().await;
    client.write_all(b"x\nhang\n").await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    server.stop.cancel();
    assert_eq!(server.task.await.unwrap().cut_connections, 1);
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
}
