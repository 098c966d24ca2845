//! Datagrams over real sockets, and the account of those that are lost.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use transport::datagram::{self, DatagramReader, DatagramSettings, DatagramSocket, DatagramStats, Extent};
use transport::endpoint::Endpoint;
use transport::server::LocalAddress;

struct Reader {
    stats: Arc<DatagramStats>,
    stop: CancellationToken,
    reader: DatagramReader,
    seen: mpsc::Receiver<(Vec<u8>, Option<SocketAddr>, Extent)>,
}

impl Reader {
    fn start(socket: DatagramSocket) -> Reader {
        let (send, seen) = mpsc::channel();
        let (stats, stop) = (socket.stats(), CancellationToken::new());
        let handle = move |batch: &[datagram::Datagram<'_>]| {
            for datagram in batch {
                send.send((datagram.bytes.to_vec(), datagram.peer, datagram.extent)).unwrap();
            }
        };
        let reader = socket.read(stop.clone(), handle).unwrap();
        Reader { stats, stop, reader, seen }
    }

    async fn stop(self) -> usize {
        self.stop.cancel();
        self.reader.join().await.unwrap();
        self.seen.iter().count()
    }
}

fn bind(endpoint: &str, settings: &DatagramSettings) -> Vec<DatagramSocket> {
    datagram::bind(&Endpoint::parse(endpoint).unwrap(), settings).unwrap()
}

fn address(socket: &DatagramSocket) -> SocketAddr {
    let LocalAddress::Tcp(address) = socket.local() else { panic!("no address: {:?}", socket.local()) };
    address
}

#[tokio::test]
async fn udp_datagrams_arrive_with_their_senders() {
    for (endpoint, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), (":0", "127.0.0.1"), (":0", "::1")] {
        let socket = bind(endpoint, &DatagramSettings::default()).remove(0);
        let port = address(&socket).port();
        let reader = Reader::start(socket);
        let sender = UdpSocket::bind((host, 0)).unwrap();
        for payload in [&b"first"[..], b"", &[b'x'; 65_000]] {
            sender.send_to(payload, (host, port)).unwrap();
            let seen = reader.seen.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(seen, (payload.to_vec(), sender.local_addr().ok(), Extent::Whole), "{endpoint} {host}");
        }
        assert_eq!((reader.stats.datagrams(), reader.stats.bytes()), (3, 65_005));
        reader.stop().await;
    }
}

#[tokio::test]
async fn a_longer_datagram_is_seen_as_truncated_and_counted() {
    let settings = DatagramSettings { datagram_bytes_max: 10, ..DatagramSettings::default() };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.sock");
    let udp = bind("127.0.0.1:0", &settings).remove(0);
    let unix = bind(&format!("unix://{}", path.display()), &settings).remove(0);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"0123456789abc", address(&udp)).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"0123456789abc", &path).unwrap();
    for socket in [udp, unix] {
        let reader = Reader::start(socket);
        let (bytes, _, extent) = reader.seen.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((bytes.as_slice(), extent), (&b"0123456789"[..], Extent::Truncated { sent_bytes: 13 }));
        assert_eq!((reader.stats.truncated(), reader.stats.bytes()), (1, 10));
        reader.stop().await;
    }
}

/// Sends to a socket that nobody reads yet, then reads it: what is missing must be what the kernel says it dropped.
async fn check_account_of_drops(sent_later: usize) {
    const SENT: usize = 2000;
    let settings = DatagramSettings { receive_buffer_bytes: Some(16 << 10), ..DatagramSettings::default() };
    let socket = bind("127.0.0.1:0", &settings).remove(0);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = address(&socket);
    for _ in 0..SENT {
        sender.send_to(&[b'x'; 100], to).unwrap();
    }
    let reader = Reader::start(socket);
    reader.seen.recv_timeout(Duration::from_secs(5)).unwrap();
    for _ in 0..sent_later {
        sender.send_to(b"later", to).unwrap();
    }
    let stats = Arc::clone(&reader.stats);
    reader.stop().await;
    let (received, dropped) = (stats.datagrams(), stats.kernel_drops());
    assert!(dropped > 0 && received > 0, "received {received}, dropped {dropped}");
    assert_eq!(received + dropped, (SENT + sent_later) as u64, "received {received}, dropped {dropped}");
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted_also_where_nothing_arrives_any_more() {
    check_account_of_drops(0).await;
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted_along_with_what_arrives() {
    check_account_of_drops(500).await;
}

#[tokio::test]
async fn drops_are_known_while_the_datagrams_go_on() {
    let settings = DatagramSettings { receive_buffer_bytes: Some(16 << 10), ..DatagramSettings::default() };
    let socket = bind("127.0.0.1:0", &settings).remove(0);
    let (stats, to, stop) = (socket.stats(), address(&socket), CancellationToken::new());
    let slow = |_: &[datagram::Datagram<'_>]| std::thread::sleep(Duration::from_millis(5));
    let reader = socket.read(stop.clone(), slow).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = 0_u64;
    // The reader finds the socket filled each time, and never has to wait for it.
    while stats.kernel_drops() == 0 && sent < 1_000_000 {
        sender.send_to(b"flood", to).unwrap();
        sent += 1;
    }
    assert!(stats.kernel_drops() > 0, "unknown after {sent}");
    stop.cancel();
    reader.join().await.unwrap();
    assert_eq!(stats.datagrams() + stats.kernel_drops(), sent);
}

#[tokio::test]
async fn a_reader_stops_soon_and_reads_what_was_queued() {
    let settings = DatagramSettings { receive_buffer_bytes: Some(1 << 20), ..DatagramSettings::default() };
    let socket = bind("127.0.0.1:0", &settings).remove(0);
    let (stats, to, stop) = (socket.stats(), address(&socket), CancellationToken::new());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..300 {
        sender.send_to(b"queued", to).unwrap();
    }
    stop.cancel();
    let reader = socket.read(stop, |_| {}).unwrap();
    tokio::time::timeout(Duration::from_secs(2), reader.join()).await.unwrap().unwrap();
    assert_eq!((stats.datagrams(), stats.kernel_drops()), (300, 0));
    assert!(stats.receive_buffer_bytes() >= 200 << 10, "{stats:?}");
}

#[tokio::test]
async fn several_readers_share_a_port_and_what_they_see_adds_up() {
    let settings = DatagramSettings { readers: 3, ..DatagramSettings::default() };
    let sockets = bind("127.0.0.1:0", &settings);
    let to = address(&sockets[0]);
    assert!(sockets.iter().all(|socket| address(socket) == to) && sockets.len() == 3);
    let readers: Vec<_> = sockets.into_iter().map(Reader::start).collect();
    for _ in 0..60 {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", to).unwrap();
    }
    let mut seen = 0;
    for reader in readers {
        seen += reader.stop().await;
    }
    assert_eq!(seen, 60);
}

#[tokio::test]
async fn a_port_in_use_is_not_taken_over() {
    let socket = bind("127.0.0.1:0", &DatagramSettings::default()).remove(0);
    let endpoint = Endpoint::parse(&socket.local().to_string()).unwrap();
    for readers in [1, 2] {
        let settings = DatagramSettings { readers, ..DatagramSettings::default() };
        let error = datagram::bind(&endpoint, &settings).unwrap_err().to_string();
        assert!(error.contains(&endpoint.to_string()) && error.contains("ss -lunp"), "{error}");
    }
}

#[tokio::test]
async fn an_abandoned_unix_socket_is_replaced_and_a_used_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.sock");
    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists(), "abandoned");
    let endpoint = Endpoint::Unix(path.clone());
    let socket = datagram::bind(&endpoint, &DatagramSettings::default()).unwrap().remove(0);
    let error = datagram::bind(&endpoint, &DatagramSettings::default()).unwrap_err().to_string();
    assert!(error.contains("lsof"), "{error}");
    let reader = Reader::start(socket);
    UnixDatagram::unbound().unwrap().send_to(b"hello", &path).unwrap();
    let (bytes, peer, _) = reader.seen.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!((bytes.as_slice(), peer), (&b"hello"[..], None));
    reader.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_handler_that_panics_is_told_of() {
    let socket = bind("127.0.0.1:0", &DatagramSettings::default()).remove(0);
    let to = address(&socket);
    let reader = socket.read(CancellationToken::new(), |_| panic!("on purpose")).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", to).unwrap();
    assert_eq!(reader.join().await, Err(datagram::ReaderPanicked));
}
