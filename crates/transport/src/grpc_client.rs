//! A gRPC client for unary calls with raw bytes, over HTTP/2 connections that it owns.
//!
//! A call costs no task and copies no payload: the five-byte prefix and the payload go to the socket as they are, in
//! one system call where the peer's frame size permits. Connections are made on first use, several per address (an
//! HTTP/2 connection is one lock and one socket), and replaced when they die.

mod connection;
mod message;
mod pool;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::client::ResponseFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::coding::Coding;
use crate::endpoint::Endpoint;
use crate::grpc::{self, Code, FRAME_PREFIX_BYTES, FramePrefix, Origin, Status};
use crate::retry::Backoff;
use crate::tls::ClientTlsConfig;
use auth::Credentials;

use message::MessageBuf;
use pool::{Lease, Pool};

/// Attempts that are free of doubt: the peer said, or it is certain, that the call was not processed.
const UNPROCESSED_ATTEMPTS_MAX: u32 = 3;
/// Heads of calls that are kept; a client has few methods and one timeout.
const HEADS_KEPT_MAX: usize = 32;
/// How much of a foreign answer is quoted.
const QUOTE_BYTES_MAX: usize = 200;

/// How calls are spread over the addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancer {
    /// Over all of them, in turn.
    #[default]
    RoundRobin,
    /// The first that can be reached.
    PickFirst,
}

/// Pings that find dead connections where nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// A ping is sent when a connection has been in use for this long without an answer. Servers may refuse pings more
    /// often than every five minutes.
    pub interval: Duration,
    /// A ping must be answered by then.
    pub timeout: Duration,
    /// Whether connections without calls are pinged too.
    pub when: KeepaliveWhen,
}

/// Which connections are pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepaliveWhen {
    /// Those with calls in flight.
    CallsInFlight,
    /// All (`permit_without_stream`).
    Always,
}

/// What a client needs.
#[derive(Debug, Clone)]
pub struct GrpcClientSettings {
    /// Where to call.
    pub endpoint: Endpoint,
    /// TLS, made with [`Alpn::H2`](crate::tls::Alpn::H2); plain text, if absent.
    pub tls: Option<Arc<ClientTlsConfig>>,
    /// What to send as `:authority` instead of the endpoint.
    pub authority: Option<String>,
    /// How calls are spread over addresses.
    pub balancer: Balancer,
    /// Connections to each address.
    pub connections_per_address: usize,
    /// A connection must stand by then.
    pub connect_timeout: Duration,
    /// Pings by interval; without, a connection is only pinged after a call that got no answer in time.
    pub keepalive: Option<Keepalive>,
    /// Fields sent with each call.
    pub headers: HeaderMap,
    /// Credentials sent with each call.
    pub credentials: Option<Arc<dyn Credentials>>,
    /// The largest answer.
    pub response_bytes_max: usize,
    /// The pause between attempts to connect.
    pub reconnect: Backoff,
    /// How often names are looked up again.
    pub resolve_interval: Duration,
    /// What the client calls itself.
    pub user_agent: HeaderValue,
}

impl GrpcClientSettings {
    /// The defaults for an endpoint, in plain text.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> GrpcClientSettings {
        GrpcClientSettings {
            endpoint,
            tls: None,
            authority: None,
            balancer: Balancer::RoundRobin,
            connections_per_address: 2,
            connect_timeout: Duration::from_secs(10),
            keepalive: None,
            headers: HeaderMap::new(),
            credentials: None,
            response_bytes_max: 4 << 20,
            reconnect: Backoff {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(5),
                multiplier: 1.6,
                jitter: 0.2,
            },
            resolve_interval: Duration::from_secs(30),
            user_agent: HeaderValue::from_static(concat!("crossfade/", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrpcClientError {
    /// What should stand as `:authority` cannot.
    #[error("`{0}` is not a valid authority")]
    Authority(String),
    /// A field that gRPC keeps for itself.
    #[error("the header `{0}` belongs to the protocol and cannot be set")]
    ReservedHeader(HeaderName),
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcMessage {
    /// How the payload is compressed already.
    pub coding: Coding,
    /// The payload as it goes over the wire.
    pub payload: Bytes,
}

impl GrpcMessage {
    /// A message without compression.
    #[must_use]
    pub fn plain(payload: Bytes) -> GrpcMessage {
        GrpcMessage { coding: Coding::Identity, payload }
    }
}

/// A client of one endpoint. Cloning shares its connections.
#[derive(Clone)]
pub struct GrpcClient {
    inner: Arc<Inner>,
}

struct Inner {
    settings: GrpcClientSettings,
    scheme: Scheme,
    authority: Authority,
    headers: HeaderMap,
    heads: RwLock<Vec<(HeadKey, Request<()>)>>,
    pool: Pool,
}

/// What the head of a call depends on, credentials and metadata aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeadKey {
    path: &'static str,
    coding: Coding,
    timeout: Option<Duration>,
}

impl fmt::Debug for GrpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClient").field("endpoint", &self.inner.settings.endpoint).finish_non_exhaustive()
    }
}

impl GrpcClient {
    /// Makes a client; connections follow with the first call.
    ///
    /// # Errors
    /// [`GrpcClientError`], for an authority or a header that cannot be sent.
    pub fn new(settings: GrpcClientSettings) -> Result<GrpcClient, GrpcClientError> {
        let scheme = if settings.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = authority(&settings)?;
        let headers = base_headers(&settings)?;
        let pool = Pool::new(&settings);
        Ok(GrpcClient {
            inner: Arc::new(Inner { settings, scheme, authority, headers, heads: RwLock::default(), pool }),
        })
    }

    /// The endpoint that is called.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.settings.endpoint
    }

    /// Makes a unary call. `path` is `/package.Service/Method`; `metadata` comes on top of the client's own headers and
    /// replaces them where names are equal.
    ///
    /// A call that certainly was not processed (refused stream, connection going away) is made again at once;
    /// everything else is the caller's to decide.
    ///
    /// # Errors
    /// [`Status`], from the peer or from this side: see [`Origin`]. UNAVAILABLE names the endpoint and the cause,
    /// DEADLINE_EXCEEDED the timeout.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use bytes::Bytes;
    /// use http::HeaderMap;
    /// use transport::endpoint::Endpoint;
    /// use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = GrpcClient::new(GrpcClientSettings::new(Endpoint::parse("localhost:4317")?))?;
    /// let message = GrpcMessage::plain(Bytes::from_static(b"..."));
    /// let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    /// let answer = client.call(path, message, &HeaderMap::new(), Some(Duration::from_secs(5))).await?;
    /// # Ok(()) }
    /// ```
    pub async fn call(
        &self,
        path: &'static str,
        message: GrpcMessage,
        metadata: &HeaderMap,
        timeout: Option<Duration>,
    ) -> Result<Bytes, Status> {
        let Some(timeout) = timeout else { return self.inner.attempts(path, &message, metadata, None).await };
        let deadline = Instant::now() + timeout;
        let attempts = self.inner.attempts(path, &message, metadata, Some(timeout));
        match tokio::time::timeout_at(deadline, attempts).await {
            Ok(result) => result,
            Err(_elapsed) => {
                self.inner.pool.suspect();
                let endpoint = &self.inner.settings.endpoint;
                let text = format!("{endpoint} did not answer within {} ms", timeout.as_millis());
                Err(Status::new(Code::DeadlineExceeded, text))
            }
        }
    }
}

/// The outcome of one attempt that did not succeed.
enum Failure {
    /// The call reached nobody: it may be made again without the risk of a duplicate.
    Unprocessed(Status),
    Final(Status),
}

impl Inner {
    async fn attempts(
        &self,
        path: &'static str,
        message: &GrpcMessage,
        metadata: &HeaderMap,
        timeout: Option<Duration>,
    ) -> Result<Bytes, Status> {
        let mut attempt = 1;
        loop {
            let lease = self.pool.lease(&self.settings).await?;
            let request = self.request(HeadKey { path, coding: message.coding, timeout }, metadata)?;
            let failure = match self.attempt(&lease, request, message).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Unprocessed(_) if attempt < UNPROCESSED_ATTEMPTS_MAX => attempt += 1,
                Failure::Unprocessed(status) | Failure::Final(status) => return Err(status),
            }
        }
    }

    fn request(&self, key: HeadKey, metadata: &HeaderMap) -> Result<Request<()>, Status> {
        let mut request = self.head(key)?;
        let headers = request.headers_mut();
        if let Some(credentials) = &self.settings.credentials {
            // Without them the server would refuse for good what it will take in a moment.
            let (name, value) =
                credentials.field().map_err(|error| Status::new(Code::Unavailable, error.to_string()))?;
            headers.insert(name, value);
        }
        for name in metadata.keys() {
            headers.remove(name);
        }
        headers.extend(metadata.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(request)
    }

    /// The head of a call, from the few that a client sends again and again.
    fn head(&self, key: HeadKey) -> Result<Request<()>, Status> {
        if let Some((_, head)) = self.heads.read().iter().find(|(known, _)| *known == key) {
            return Ok(head.clone());
        }
        let head = self.build_head(key)?;
        let mut heads = self.heads.write();
        if heads.len() == HEADS_KEPT_MAX {
            heads.clear();
        }
        heads.push((key, head.clone()));
        Ok(head)
    }

    fn build_head(&self, key: HeadKey) -> Result<Request<()>, Status> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let invalid =
            |cause: &dyn fmt::Display| Status::new(Code::Internal, format!("`{}` is not a path: {cause}", key.path));
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(key.path).map_err(|error| invalid(&error))?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| invalid(&error))?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if key.coding != Coding::Identity {
            headers.insert("grpc-encoding", HeaderValue::from_static(key.coding.name()));
        }
        if let Some(timeout) = key.timeout {
            headers.insert("grpc-timeout", timeout_value(timeout));
        }
        Ok(request)
    }

    async fn attempt(&self, lease: &Lease, request: Request<()>, message: &GrpcMessage) -> Result<Bytes, Failure> {
        let length = u32::try_from(message.payload.len())
            .map_err(|_| Failure::Final(Status::new(Code::ResourceExhausted, "a message is at most 4 GiB")))?;
        let prefix = FramePrefix { compressed: message.coding != Coding::Identity, length };
        let body = MessageBuf::new(prefix.encode(), message.payload.clone());
        // What was not even queued was not processed.
        let unsent =
            |error: h2::Error| Failure::Unprocessed(self.local(Code::Unavailable, &crate::body::chain(&error)));
        let response = lease.send(request, body).map_err(unsent)?;
        self.receive(response).await
    }

    async fn receive(&self, response: ResponseFuture) -> Result<Bytes, Failure> {
        let response = response.await.map_err(|error| self.failure(&error))?;
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::OK || !grpc::is_grpc(&head.headers) {
            return Err(Failure::Final(self.foreign(&Response::from_parts(head, ()), body).await));
        }
        if let Some(status) = grpc::decode_status(&head.headers) {
            return status.map(|()| Bytes::new()).map_err(Failure::Final);
        }
        let mut collected = Collected::new(self.settings.response_bytes_max);
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| self.failure(&error))?;
            let _released = body.flow_control().release_capacity(data.len());
            collected.push(data).map_err(Failure::Final)?;
        }
        let trailers = body.trailers().await.map_err(|error| self.failure(&error))?;
        match trailers.as_ref().and_then(grpc::decode_status) {
            Some(Ok(())) => collected.message(&head.headers).map_err(Failure::Final),
            Some(Err(status)) => Err(Failure::Final(status)),
            None => Err(Failure::Final(self.local(Code::Internal, "the answer has no grpc-status"))),
        }
    }

    /// The status for an answer that is not gRPC, as from a proxy (`http-grpc-status-mapping.md`).
    async fn foreign(&self, head: &Response<()>, mut body: h2::RecvStream) -> Status {
        let code = match head.status().as_u16() {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        let quote = match body.data().await {
            Some(Ok(data)) => String::from_utf8_lossy(&data[..data.len().min(QUOTE_BYTES_MAX)]).into_owned(),
            _ => String::new(),
        };
        let mut status = self.local(code, &format!("HTTP status {} instead of gRPC: {quote:?}", head.status()));
        status.origin = Origin::Peer;
        status
    }

    fn local(&self, code: Code, cause: &str) -> Status {
        Status::new(code, format!("{}: {cause}", self.settings.endpoint))
    }

    /// Sorts an error of HTTP/2 (RFC 9113, section 7, and gRPC's mapping of it).
    fn failure(&self, error: &h2::Error) -> Failure {
        use h2::Reason;
        let refused = error.reason() == Some(Reason::REFUSED_STREAM);
        let going_away = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
        let code = match error.reason() {
            // What ends the whole connection says nothing about this call.
            _ if !error.is_reset() => Code::Unavailable,
            Some(Reason::CANCEL) if error.is_remote() => Code::Cancelled,
            Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
            Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
            // A reset stream with any other reason says that something is wrong, not where.
            Some(_) if error.is_remote() && !refused => Code::Internal,
            _ => Code::Unavailable,
        };
        let status = self.local(code, &crate::body::chain(error));
        if refused || going_away { Failure::Unprocessed(status) } else { Failure::Final(status) }
    }
}

/// The pieces of an answer.
struct Collected {
    limit_bytes: usize,
    first: Bytes,
    more: BytesMut,
}

impl Collected {
    fn new(limit_bytes: usize) -> Collected {
        Collected { limit_bytes, first: Bytes::new(), more: BytesMut::new() }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Status> {
        let limit_bytes = self.limit_bytes.saturating_add(FRAME_PREFIX_BYTES);
        if self.first.len() + self.more.len() + data.len() > limit_bytes {
            let text = format!("the answer is larger than the limit of {} bytes", self.limit_bytes);
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        if self.first.is_empty() {
            self.first = data;
        } else {
            self.more.extend_from_slice(&data);
        }
        Ok(())
    }

    /// The one message of a unary answer.
    fn message(self, headers: &HeaderMap) -> Result<Bytes, Status> {
        let mut bytes =
            if self.more.is_empty() { self.first } else { [self.first.as_ref(), self.more.as_ref()].concat().into() };
        let malformed = |what: &str| Status::new(Code::Internal, format!("the answer is malformed: {what}"));
        let prefix = bytes.get(..FRAME_PREFIX_BYTES).and_then(|bytes| bytes.try_into().ok());
        let prefix = FramePrefix::decode(prefix.ok_or_else(|| malformed("no message"))?)
            .map_err(|flag| malformed(&format!("unknown flag {flag}")))?;
        bytes.advance(FRAME_PREFIX_BYTES);
        if bytes.len() != prefix.length as usize {
            return Err(malformed("not exactly one message"));
        }
        if !prefix.compressed {
            return Ok(bytes);
        }
        let name = headers.get("grpc-encoding").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let coding = Coding::parse(name).filter(|coding| *coding != Coding::Identity);
        let coding = coding.ok_or_else(|| malformed(&format!("unknown grpc-encoding `{name}`")))?;
        crate::coding::decompress(coding, &bytes, self.limit_bytes).map_err(|error| malformed(&error.to_string()))
    }
}

fn authority(settings: &GrpcClientSettings) -> Result<Authority, GrpcClientError> {
    let text = match (&settings.authority, &settings.endpoint) {
        (Some(authority), _) => authority.clone(),
        (None, Endpoint::Unix(_)) => "localhost".to_owned(),
        (None, endpoint) => endpoint.to_string(),
    };
    Authority::try_from(text.as_str()).map_err(|_| GrpcClientError::Authority(text))
}

fn base_headers(settings: &GrpcClientSettings) -> Result<HeaderMap, GrpcClientError> {
    let mut headers = HeaderMap::with_capacity(8 + settings.headers.len());
    for (name, value) in &settings.headers {
        let reserved = name.as_str().starts_with("grpc-")
            || [header::CONTENT_TYPE, header::TE, header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
                .contains(name);
        if reserved {
            return Err(GrpcClientError::ReservedHeader(name.clone()));
        }
        headers.append(name.clone(), value.clone());
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    if !headers.contains_key(header::USER_AGENT) {
        headers.insert(header::USER_AGENT, settings.user_agent.clone());
    }
    Ok(headers)
}

/// `grpc-timeout`: at most eight digits, in the finest unit that holds them.
fn timeout_value(timeout: Duration) -> HeaderValue {
    const DIGITS_MAX: u128 = 99_999_999;
    let units =
        [(timeout.as_millis(), 'm'), (u128::from(timeout.as_secs()), 'S'), (u128::from(timeout.as_secs() / 3600), 'H')];
    let (amount, unit) = units.into_iter().find(|(amount, _)| *amount <= DIGITS_MAX).unwrap_or((DIGITS_MAX, 'H'));
    // Digits and a letter are a valid header value.
    HeaderValue::try_from(format!("{}{unit}", amount.max(1))).unwrap_or(HeaderValue::from_static("1S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_timeout(timeout: Duration, expected: &str) {
        assert_eq!(timeout_value(timeout), expected);
    }

    #[test]
    fn a_timeout_is_sent_in_at_most_eight_digits() {
        check_timeout(Duration::from_secs(5), "5000m");
        check_timeout(Duration::from_secs(200_000), "200000S");
        check_timeout(Duration::from_nanos(1), "1m");
        check_timeout(Duration::from_secs(1_000_000_000), "277777H");
        check_timeout(Duration::MAX, "99999999H");
    }

    #[test]
    fn headers_of_the_protocol_cannot_be_set() {
        let mut settings = GrpcClientSettings::new(Endpoint::parse("localhost:1").unwrap());
        settings.headers.insert("grpc-timeout", HeaderValue::from_static("1S"));
        let error = GrpcClient::new(settings).unwrap_err();
        assert!(error.to_string().contains("grpc-timeout"), "{error}");
    }
}
