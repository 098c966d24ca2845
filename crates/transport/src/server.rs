//! Servers for HTTP/1.1 and HTTP/2 on one port, with or without TLS.
//!
//! The accept loop survives whatever one client or the system does to it: failed handshakes, exhausted descriptors,
//! silent connections. Each connection has its own task; each request runs as the protocol demands, and its handler is
//! dropped when the client gives up.

mod accept;
mod connection;
mod listener;
mod watched;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;

pub use crate::body::{
    BodyError, BodyLimits, CompressedFrame, Payload, PayloadError, RequestBody, ResponseBody, read_body, read_payload,
};
pub(crate) use accept::{AcceptPause, Accepted, Limits, Signals, accept, secure};
pub use listener::{BindError, Listener, LocalAddress, PortSharing, bind};
pub(crate) use listener::{SocketKind, bind_first, is_abandoned};

use crate::tls::ServerTlsConfig;
use auth::Authenticator;

/// How a server treats its connections.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// TLS; plain text, if absent.
    pub tls: Option<Arc<ServerTlsConfig>>,
    /// Who may send; everybody, if absent.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// Whether the authenticator is asked about what browsers ask before they send.
    pub preflights: Preflights,
    /// Connections at the same time; further ones are closed at once.
    pub connections_max: usize,
    /// A TLS handshake must be complete by then.
    pub tls_handshake_timeout: Duration,
    /// The head of a request, the first one included, must be complete by then.
    pub header_read_timeout: Duration,
    /// A whole request must have arrived by then, counted from its head; unlimited, if absent.
    pub request_read_timeout: Option<Duration>,
    /// A connection without a request in work is closed after this; never, if absent.
    pub idle_timeout: Option<Duration>,
    /// A connection is asked to go after this, give or take a tenth; never, if absent.
    pub connection_age_max: Option<Duration>,
    /// What requests in work get to finish, after the connection's age is reached; unlimited, if absent.
    pub connection_age_grace: Option<Duration>,
    /// What requests in work get to finish, after the server was told to stop.
    pub stop_grace: Duration,
    /// What the bodies of all requests that are still arriving may hold together; what comes beyond is refused until
    /// there is room.
    pub receiving_bytes_max: usize,
    /// Which protocols are spoken.
    pub protocols: Protocols,
    /// Whether responses carry a date.
    pub date_header: DateHeader,
    /// The settings of HTTP/2.
    pub http2: Http2Settings,
}

/// Which protocols a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1 and HTTP/2, by ALPN or by the client's first bytes.
    Http1AndHttp2,
    /// HTTP/2 only, as for gRPC.
    Http2Only,
}

/// Whether responses carry the `Date` field that RFC 9110 asks of origin servers. gRPC does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateHeader {
    /// They do.
    Sent,
    /// They do not.
    Omitted,
}

/// The settings of HTTP/2 (RFC 9113, section 6.5.2) and the bounds on misuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Settings {
    /// The flow-control window of a stream.
    pub stream_window_bytes: u32,
    /// The flow-control window of a connection.
    pub connection_window_bytes: u32,
    /// The largest frame that is received.
    pub frame_bytes_max: u32,
    /// Requests at the same time on one connection.
    pub concurrent_streams_max: u32,
    /// A ping is sent after this much silence; none, if absent.
    pub keepalive_interval: Option<Duration>,
    /// A ping must be answered by then.
    pub keepalive_timeout: Duration,
    /// The largest head of a request, uncompressed.
    pub header_list_bytes_max: u32,
    /// Streams that a client reset before they were accepted; more end the connection (CVE-2023-44487).
    pub pending_reset_streams_max: usize,
    /// Streams that this side reset for a client's errors; more end the connection.
    pub local_reset_streams_max: usize,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Http2Settings {
            stream_window_bytes: 8 << 20,
            connection_window_bytes: 32 << 20,
            frame_bytes_max: 1 << 20,
            concurrent_streams_max: 1000,
            keepalive_interval: Some(Duration::from_secs(60)),
            keepalive_timeout: Duration::from_secs(20),
            header_list_bytes_max: 64 << 10,
            pending_reset_streams_max: 20,
            local_reset_streams_max: 1024,
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            tls: None,
            authenticator: None,
            preflights: Preflights::Checked,
            connections_max: 10_000,
            tls_handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(30),
            request_read_timeout: Some(Duration::from_secs(120)),
            idle_timeout: Some(Duration::from_secs(300)),
            connection_age_max: None,
            connection_age_grace: None,
            stop_grace: Duration::from_secs(5),
            receiving_bytes_max: 512 << 20,
            protocols: Protocols::Http1AndHttp2,
            date_header: DateHeader::Sent,
            http2: Http2Settings::default(),
        }
    }
}

impl ServerSettings {
    /// The defaults for a gRPC server: HTTP/2 only, no date, no idle limit.
    #[must_use]
    pub fn grpc() -> ServerSettings {
        ServerSettings {
            protocols: Protocols::Http2Only,
            date_header: DateHeader::Omitted,
            idle_timeout: None,
            ..ServerSettings::default()
        }
    }
}

/// The questions that browsers ask before they send to another origin (`OPTIONS`), which never carry credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflights {
    /// They need credentials like every other request.
    Checked,
    /// They pass: the handler answers them without doing anything.
    Pass,
}

/// What is known of the connection on which a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnInfo {
    /// The client's address; none for unix sockets.
    pub peer: Option<SocketAddr>,
    /// The address that the client connected to.
    pub local: LocalAddress,
    /// The TLS session, if there is one.
    pub tls: Option<TlsInfo>,
}

/// What is known of a TLS session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The client's certificate in DER form, verified, if the server asks for one.
    pub client_certificate: Option<Bytes>,
}

/// What a server has seen so far.
#[derive(Debug, Default)]
pub struct ServerStats {
    accepted: AtomicU64,
    refused: AtomicU64,
    accept_errors: AtomicU64,
    tls_failures: AtomicU64,
    open: AtomicUsize,
}

impl ServerStats {
    /// Connections accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
    /// Connections closed at once, because the limit was reached.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
    /// Errors of the system while accepting.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }
    /// TLS handshakes that failed or timed out.
    #[must_use]
    pub fn tls_failures(&self) -> u64 {
        self.tls_failures.load(Ordering::Relaxed)
    }
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that had not finished within the grace and were cut.
    pub cut_connections: usize,
}

/// Serves until `stop` is cancelled, then lets requests in work finish within the grace and returns.
///
/// The handler is called for each request, on the connection's runtime; its future is dropped when the client resets
/// the stream or the connection breaks.
///
/// ```no_run
/// use std::sync::Arc;
/// use http::{Request, Response};
/// use tokio_util::sync::CancellationToken;
/// use transport::endpoint::Endpoint;
/// use transport::server::{self, BodyLimits, ConnInfo, PortSharing, RequestBody, ResponseBody, ServerSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = server::bind(&Endpoint::parse("localhost:4318")?, PortSharing::Exclusive)?;
/// let stop = CancellationToken::new();
/// let handler = |request: Request<RequestBody>, _connection: Arc<ConnInfo>| async move {
///     let (head, body) = request.into_parts();
///     match server::read_payload(&head.headers, body, &BodyLimits::default()).await {
///         Ok(payload) => Response::new(ResponseBody::full(format!("{} bytes", payload.bytes.len()))),
///         Err(error) => server::text_response(error.status(), error.to_string()),
///     }
/// };
/// server::serve(listener, ServerSettings::default(), handler, stop).await;
/// # Ok(()) }
/// ```
pub async fn serve<H, F>(listener: Listener, settings: ServerSettings, handler: H, stop: CancellationToken) -> Stopped
where
    H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    serve_counted(listener, settings, handler, stop, Arc::default()).await
}

/// Like [`serve`], and counts in `stats`.
pub async fn serve_counted<H, F>(
    listener: Listener,
    settings: ServerSettings,
    handler: H,
    stop: CancellationToken,
    stats: Arc<ServerStats>,
) -> Stopped
where
    H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let limits = Limits { connections_max: settings.connections_max, stop_grace: settings.stop_grace };
    let shared = Arc::new(connection::Shared::new(settings, handler, Arc::clone(&stats), stop.clone()));
    let cut = shared.cut.clone();
    let serve_one = move |accepted| connection::run(Arc::clone(&shared), accepted);
    accept(listener, limits, serve_one, Signals { stop, cut }, stats).await
}

/// A short plain-text response, as for errors.
#[must_use]
pub fn text_response(status: StatusCode, text: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
