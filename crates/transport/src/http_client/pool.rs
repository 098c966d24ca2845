//! Connections by destination: made, kept while idle, thrown away.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use super::proxy::Proxy;
use super::{HttpClientSettings, HttpError, shown};
use crate::connect::{ConnectError, connect_tcp, connect_tls, resolve};
use crate::io::Io;
use crate::tls::ClientTlsConfig;

/// Kept connections of all destinations together.
const IDLE_TOTAL_MAX: usize = 4096;
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

type Body = Full<Bytes>;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    scheme: Scheme,
    /// Without brackets.
    host: String,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

impl Destination {
    pub(super) fn of(url: &Url) -> Result<Destination, HttpError> {
        let unusable = |problem| HttpError::Url { url: shown(url), problem };
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(unusable("only http and https are supported")),
        };
        let host = url.host_str().ok_or_else(|| unusable("the host is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or_else(|| unusable("the port is missing"))?;
        Ok(Destination { scheme, host, port })
    }
}

/// What stands in the request line (RFC 9112, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetForm {
    /// The path and the query.
    Origin,
    /// The whole address.
    Absolute,
}

/// A connection that can take one request now.
pub(super) enum Pooled {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Why a request got no response.
pub(super) struct SendError {
    /// Nothing of it was sent.
    pub(super) unsent: bool,
    pub(super) cause: String,
}

impl Pooled {
    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let sent = match self {
            Pooled::Http1(send) => send.try_send_request(request).await,
            Pooled::Http2(send) => send.try_send_request(request).await,
        };
        sent.map_err(|mut error| SendError {
            unsent: error.take_message().is_some(),
            cause: crate::body::chain(error.error()),
        })
    }

    fn is_usable(&self) -> bool {
        match self {
            Pooled::Http1(send) => send.is_ready(),
            Pooled::Http2(send) => send.is_ready(),
        }
    }
}

struct Kept {
    connection: Pooled,
    since: Instant,
}

pub(super) struct Pool {
    tls: ClientTlsConfig,
    connect_timeout: Duration,
    proxy: Option<Proxy>,
    address_is_allowed: fn(IpAddr) -> bool,
    idle_connections_max: usize,
    idle_timeout: Duration,
    kept: Mutex<KeptConnections>,
}

#[derive(Default)]
struct KeptConnections {
    by_destination: HashMap<Destination, Vec<Kept>>,
    total: usize,
}

impl Pool {
    pub(super) fn new(settings: &HttpClientSettings, tls: ClientTlsConfig) -> Pool {
        Pool {
            tls,
            connect_timeout: settings.connect_timeout,
            proxy: settings.proxy.clone(),
            address_is_allowed: settings.address_is_allowed,
            idle_connections_max: settings.idle_connections_max,
            idle_timeout: settings.idle_timeout,
            kept: Mutex::default(),
        }
    }

    /// A kept connection, or a new one.
    pub(super) async fn connection(&self, destination: &Destination, url: &Url) -> Result<Pooled, ConnectError> {
        let kept = self.kept.lock().take(destination, Instant::now(), self.idle_timeout);
        match kept {
            Some(kept) => Ok(kept),
            None => self.connect(destination, url).await,
        }
    }

    /// Keeps a connection whose response has been read to its end.
    pub(super) fn give_back(&self, destination: &Destination, connection: Pooled) {
        if let Pooled::Http1(send) = &connection
            && send.is_closed()
        {
            return;
        }
        let mut kept = self.kept.lock();
        kept.put(destination, connection, Instant::now(), self.idle_connections_max, self.idle_timeout);
    }

    /// How a request names its target on this connection.
    pub(super) fn target_form(&self, url: &Url, connection: &Pooled) -> TargetForm {
        match connection {
            Pooled::Http1(_) if self.proxy.is_none() || url.scheme() == "https" => TargetForm::Origin,
            // A proxy needs to know where to; HTTP/2 takes scheme and authority apart again.
            Pooled::Http1(_) | Pooled::Http2(_) => TargetForm::Absolute,
        }
    }

    /// Credentials for the proxy, where it reads the request's head.
    pub(super) fn proxy_authorization(&self, url: &Url) -> Option<HeaderValue> {
        self.proxy.as_ref().filter(|_| url.scheme() == "http").and_then(|proxy| proxy.authorization.clone())
    }

    async fn connect(&self, destination: &Destination, url: &Url) -> Result<Pooled, ConnectError> {
        let limit = self.connect_timeout;
        match tokio::time::timeout(limit, self.establish(destination, url)).await {
            Ok(connected) => connected,
            Err(_elapsed) => {
                let address = format!("{}:{}", destination.host, destination.port);
                Err(ConnectError::TimedOut { address, timeout_ms: limit.as_millis() })
            }
        }
    }

    async fn establish(&self, destination: &Destination, url: &Url) -> Result<Pooled, ConnectError> {
        let authority = match url.port_or_known_default() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (destination.host.as_str(), destination.port),
        };
        let mut addresses = resolve(host, port).await?;
        if self.proxy.is_none() {
            addresses.retain(|address| (self.address_is_allowed)(address.ip()));
        }
        if addresses.is_empty() {
            let cause = "connections to this address are not allowed here".to_owned();
            return Err(ConnectError::Socket { address: authority, cause });
        }
        let mut socket = connect_tcp(&addresses, self.connect_timeout).await?;
        if destination.scheme == Scheme::Http {
            return greet(Io::Plain(socket), &authority).await;
        }
        if let Some(proxy) = &self.proxy {
            socket = proxy.tunnel(socket, &authority).await?;
        }
        let io = connect_tls(socket, &self.tls, &destination.host, &authority, self.connect_timeout).await?;
        greet(io, &authority).await
    }
}

/// Starts the protocol that both sides agreed on.
async fn greet(io: Io, authority: &str) -> Result<Pooled, ConnectError> {
    let failed =
        |error: hyper::Error| ConnectError::Socket { address: authority.to_owned(), cause: crate::body::chain(&error) };
    let http2 = matches!(&io, Io::TlsClient(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"));
    let io = TokioIo::new(io);
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(KEEPALIVE_INTERVAL);
        let (send, connection) = builder.handshake(io).await.map_err(failed)?;
        tokio::spawn(connection);
        return Ok(Pooled::Http2(send));
    }
    let (send, connection) = http1::handshake(io).await.map_err(failed)?;
    tokio::spawn(connection);
    Ok(Pooled::Http1(send))
}

impl KeptConnections {
    fn take(&mut self, destination: &Destination, now: Instant, idle_timeout: Duration) -> Option<Pooled> {
        let kept = self.by_destination.get_mut(destination)?;
        let mut found = None;
        while let Some(candidate) = kept.pop() {
            self.total -= 1;
            if now.duration_since(candidate.since) < idle_timeout && candidate.connection.is_usable() {
                if let Pooled::Http2(send) = &candidate.connection {
                    // An HTTP/2 connection serves many at once, so it also stays.
                    let connection = Pooled::Http2(send.clone());
                    kept.push(Kept { connection, since: now });
                    self.total += 1;
                }
                found = Some(candidate.connection);
                break;
            }
        }
        if kept.is_empty() {
            self.by_destination.remove(destination);
        }
        found
    }

    fn put(
        &mut self,
        destination: &Destination,
        connection: Pooled,
        now: Instant,
        per_destination_max: usize,
        idle_timeout: Duration,
    ) {
        if self.total >= IDLE_TOTAL_MAX {
            self.sweep(now, idle_timeout);
        }
        let kept = self.by_destination.entry(destination.clone()).or_default();
        let is_known = matches!(connection, Pooled::Http2(_))
            && kept.iter().any(|kept| matches!(kept.connection, Pooled::Http2(_)));
        if !is_known && kept.len() < per_destination_max && self.total < IDLE_TOTAL_MAX {
            kept.push(Kept { connection, since: now });
            self.total += 1;
        } else if kept.is_empty() {
            self.by_destination.remove(destination);
        }
    }

    fn sweep(&mut self, now: Instant, idle_timeout: Duration) {
        self.by_destination.retain(|_, kept| {
            kept.retain(|kept| now.duration_since(kept.since) < idle_timeout && kept.connection.is_usable());
            !kept.is_empty()
        });
        self.total = self.by_destination.values().map(Vec::len).sum();
    }
}
