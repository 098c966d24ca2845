//! Delivers one request: compresses it, sends it, understands the answer, tries again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use component::clock;
use http::{HeaderMap, HeaderValue, header};
use otlp::Signal;
use otlp::response::ExportResponse;
use tokio_util::sync::CancellationToken;
use transport::coding::{Coding, Level, compress};
use transport::endpoint::Endpoint;
use transport::grpc::{Code, Origin, Status};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpError, HttpReply, HttpRequest, retry_after, shown};
use transport::retry::Backoff;
use transport::tls::{Alpn, ClientTlsConfig};
use url::Url;

use super::{Destination, Meters, Protocol, SendError};
use crate::latency::Latencies;
use crate::protocol::{JSON, PROTOBUF, grpc_path, http_path};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Acknowledged; of its items, so many were rejected all the same.
    Acked { rejected_items: u64 },
    /// Refused for good.
    Rejected,
    /// Tried for long enough, or cut off by the end of the run. It may have arrived or not.
    GivenUp,
}

/// What happened to the requests of one worker and signal.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) requests: u64,
    pub(crate) attempts: u64,
    pub(crate) bytes: u64,
    pub(crate) wire_bytes: u64,
    /// From the first attempt to the acknowledgement.
    pub(crate) latencies: Latencies,
    /// By cause: how often, and what the first one said.
    pub(crate) refusals: BTreeMap<String, (u64, String)>,
}

impl Book {
    fn refused(&mut self, refusal: &Refusal) {
        if let Some((count, _)) = self.refusals.get_mut(&refusal.cause) {
            *count += 1;
        } else {
            self.refusals.insert(refusal.cause.clone(), (1, refusal.message.clone()));
        }
    }
}

/// An answer other than success.
#[derive(Debug)]
struct Refusal {
    /// One of few, such as `UNAVAILABLE` or `HTTP 503`.
    cause: String,
    message: String,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// Try again, after this at least.
    Retry(Option<Duration>),
    GiveUp,
}

/// The connections of a run. Addresses and headers may hold secrets, so nothing here can be printed.
pub(crate) struct Connections {
    clients: Vec<Client>,
    compression: Coding,
    retry: Retry,
}

#[derive(Clone)]
enum Client {
    Grpc { client: GrpcClient, timeout: Duration },
    Http { client: HttpClient, requests: Arc<HttpRequests> },
}

/// What is the same for all requests of a signal.
struct HttpRequests {
    urls: [Url; Signal::ALL.len()],
    headers: HeaderMap,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    backoff: Backoff,
    retry_for: Duration,
}

/// Delivers over one connection.
#[derive(Clone)]
pub(crate) struct Courier {
    client: Client,
    compression: Coding,
    retry: Retry,
}

// === impl Connections ===

impl Connections {
    /// Prepares the connections; they are made with the first requests.
    pub(crate) fn open(destination: &Destination, connections: usize) -> Result<Connections, SendError> {
        let clients = match destination.protocol {
            Protocol::OtlpGrpc => {
                // A client each, so that every worker stays on its connection.
                (0..connections.max(1)).map(|_| grpc_client(destination)).collect::<Result<_, _>>()?
            }
            Protocol::OtlpHttpProtobuf | Protocol::OtlpHttpJson => vec![http_client(destination)?],
        };
        let retry = Retry { backoff: destination.backoff, retry_for: destination.retry_for };
        Ok(Connections { clients, compression: destination.compression, retry })
    }

    /// A courier on one of the connections, taking turns by the index.
    pub(crate) fn courier(&self, index: usize) -> Courier {
        let client = self.clients[index % self.clients.len()].clone();
        Courier { client, compression: self.compression, retry: self.retry }
    }
}

fn grpc_client(destination: &Destination) -> Result<Client, SendError> {
    let endpoint_error = |error: &dyn std::fmt::Display| SendError::Endpoint(error.to_string());
    let endpoint = Endpoint::parse(&destination.endpoint).map_err(|error| endpoint_error(&error))?;
    let mut settings = GrpcClientSettings::new(endpoint);
    if destination.endpoint.starts_with("https://") {
        let tls = ClientTlsConfig::new(destination.tls.clone(), Alpn::H2);
        settings.tls = Some(Arc::new(tls.map_err(|error| SendError::Tls(error.to_string()))?));
    }
    settings.connections_per_address = 1;
    settings.headers = destination.headers.clone();
    let client = GrpcClient::new(settings).map_err(|error| endpoint_error(&error))?;
    Ok(Client::Grpc { client, timeout: destination.timeout })
}

fn http_client(destination: &Destination) -> Result<Client, SendError> {
    let settings = HttpClientSettings {
        tls: destination.tls.clone(),
        timeout: Some(destination.timeout),
        headers: destination.headers.clone(),
        idle_connections_max: usize::from(u16::MAX),
        ..HttpClientSettings::default()
    };
    let client = HttpClient::new(settings).map_err(|error| SendError::Tls(error.to_string()))?;
    let url = |signal| http_url(&destination.endpoint, signal);
    let [traces, metrics, logs] = Signal::ALL;
    let mut headers = HeaderMap::new();
    let content_type = if destination.protocol == Protocol::OtlpHttpJson { JSON } else { PROTOBUF };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if destination.compression != Coding::Identity {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(destination.compression.name()));
    }
    let requests =
        HttpRequests { urls: [url(traces)?, url(metrics)?, url(logs)?], headers, protocol: destination.protocol };
    Ok(Client::Http { client, requests: Arc::new(requests) })
}

/// The endpoint as it may be shown: without user, password and query.
pub(super) fn shown_endpoint(destination: &Destination) -> String {
    match destination.protocol {
        Protocol::OtlpGrpc => Endpoint::parse(&destination.endpoint).map(|endpoint| endpoint.to_string()).ok(),
        Protocol::OtlpHttpProtobuf | Protocol::OtlpHttpJson => {
            base_url(&destination.endpoint).map(|url| shown(&url)).ok()
        }
    }
    .unwrap_or_default()
}

/// `http://host:4318` or `host:4318` with the signal's path behind it.
fn http_url(endpoint: &str, signal: Signal) -> Result<Url, SendError> {
    let mut url = base_url(endpoint)?;
    let path = format!("{}{}", url.path().trim_end_matches('/'), http_path(signal));
    url.set_path(&path);
    Ok(url)
}

fn base_url(endpoint: &str) -> Result<Url, SendError> {
    let scheme = if endpoint.contains("://") { "" } else { "http://" };
    match Url::parse(&format!("{scheme}{endpoint}")) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // What was written may hold a password.
        _ => Err(SendError::Endpoint("expected an address such as http://localhost:4318".to_owned())),
    }
}

// === impl Courier ===

impl Courier {
    /// Sends a request until it is settled. `cut` ends all waiting.
    pub(crate) async fn deliver(
        &self,
        signal: Signal,
        request: Bytes,
        book: &mut Book,
        meters: &Meters,
        cut: &CancellationToken,
    ) -> Settled {
        book.requests += 1;
        book.bytes += request.len() as u64;
        let packed = match self.compression {
            Coding::Identity => request,
            coding => compress(coding, Level::Fast, &request),
        };
        let started = clock::mono();
        let mut rng = None;
        let mut failures = 0;
        loop {
            book.attempts += 1;
            book.wire_bytes += packed.len() as u64;
            let attempt = self.attempt(signal, packed.clone());
            let refusal = match cut.run_until_cancelled(attempt).await {
                None => return Settled::GivenUp,
                Some(Ok(rejected_items)) => {
                    book.latencies.record(clock::mono().saturating_duration_since(started));
                    return Settled::Acked { rejected_items };
                }
                Some(Err(refusal)) => refusal,
            };
            meters.refusals.fetch_add(1, Ordering::Relaxed);
            book.refused(&refusal);
            let Next::Retry(asked) = refusal.next else { return Settled::Rejected };
            let delay = self.retry.backoff.delay(failures, rng.get_or_insert_with(fastrand::Rng::new));
            let delay = delay.max(asked.unwrap_or_default());
            failures += 1;
            if clock::mono().saturating_duration_since(started) + delay > self.retry.retry_for {
                return Settled::GivenUp;
            }
            meters.retrying.fetch_add(1, Ordering::Relaxed);
            let waited = cut.run_until_cancelled(tokio::time::sleep(delay)).await;
            meters.retrying.fetch_sub(1, Ordering::Relaxed);
            if waited.is_none() {
                return Settled::GivenUp;
            }
        }
    }

    /// Sends once. Returns how many items were rejected.
    async fn attempt(&self, signal: Signal, payload: Bytes) -> Result<u64, Refusal> {
        match &self.client {
            Client::Grpc { client, timeout } => {
                let message = GrpcMessage { coding: self.compression, payload };
                let answer = client.call(grpc_path(signal), message, &HeaderMap::new(), Some(*timeout)).await;
                match answer {
                    Ok(answer) if answer.is_empty() => Ok(0),
                    Ok(answer) => Ok(rejected_items(ExportResponse::decode(signal, &answer).ok())),
                    Err(status) => Err(Refusal::from(status)),
                }
            }
            Client::Http { client, requests } => {
                let url = requests.urls[signal as usize].clone();
                match client.send(HttpRequest::post(url, requests.headers.clone(), payload)).await {
                    Ok(reply) if reply.status.is_success() => Ok(rejected_items(requests.response(signal, &reply))),
                    Ok(reply) => Err(requests.refusal(&reply)),
                    Err(error) => Err(Refusal::from(&error)),
                }
            }
        }
    }
}

/// An answer that cannot be understood does not make a success less of one.
fn rejected_items(response: Option<ExportResponse>) -> u64 {
    response.map_or(0, |response| response.rejected_items)
}

impl HttpRequests {
    fn response(&self, signal: Signal, reply: &HttpReply) -> Option<ExportResponse> {
        match self.protocol {
            Protocol::OtlpHttpJson => ExportResponse::decode_json(signal, &reply.body).ok(),
            Protocol::OtlpHttpProtobuf | Protocol::OtlpGrpc => ExportResponse::decode(signal, &reply.body).ok(),
        }
    }

    fn refusal(&self, reply: &HttpReply) -> Refusal {
        const MESSAGE_CHARACTERS_MAX: usize = 300;
        let status = match self.protocol {
            Protocol::OtlpHttpJson => otlp::response::Status::decode_json(&reply.body).ok(),
            Protocol::OtlpHttpProtobuf | Protocol::OtlpGrpc => otlp::response::Status::decode(&reply.body).ok(),
        };
        let message = match status {
            Some(status) if !status.message.is_empty() => status.message,
            _ => String::from_utf8_lossy(&reply.body).chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        };
        let next = match reply.status.as_u16() {
            429 | 502 | 503 | 504 => {
                let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::unix_ns());
                Next::Retry(retry_after(&reply.headers, now))
            }
            _ => Next::GiveUp,
        };
        Refusal { cause: format!("HTTP {}", reply.status.as_u16()), message, next }
    }
}

impl From<Status> for Refusal {
    /// As OTLP says which codes may be tried again.
    fn from(status: Status) -> Self {
        let Status { code, message, retry_after, origin } = status;
        let next = match code {
            Code::ResourceExhausted if retry_after.is_none() => Next::GiveUp,
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted => Next::Retry(retry_after),
            _ => Next::GiveUp,
        };
        let cause = match (origin, code) {
            (Origin::Local, Code::DeadlineExceeded) => "no answer in time".to_owned(),
            (Origin::Local, Code::Unavailable) => "not reachable".to_owned(),
            _ => code.name().to_owned(),
        };
        Refusal { cause, message, next }
    }
}

impl From<&HttpError> for Refusal {
    fn from(error: &HttpError) -> Self {
        let (cause, next) = match error {
            HttpError::Connect { .. } => ("not reachable", Next::Retry(None)),
            HttpError::Broken { .. } => ("connection broke", Next::Retry(None)),
            HttpError::TimedOut { .. } => ("no answer in time", Next::Retry(None)),
            HttpError::Credentials { .. } => ("no credentials", Next::Retry(None)),
            HttpError::Redirect { .. } => ("redirect", Next::GiveUp),
            HttpError::Coding { .. } => ("damaged answer", Next::GiveUp),
            HttpError::Url { .. } => ("unusable address", Next::GiveUp),
        };
        Refusal { cause: cause.to_owned(), message: error.to_string(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_signal_comes_behind_the_endpoint() {
        for (endpoint, expected) in [
            ("localhost:4318", "http://localhost:4318/v1/logs"),
            ("http://localhost:4318/", "http://localhost:4318/v1/logs"),
            ("https://example.org/otlp", "https://example.org/otlp/v1/logs"),
        ] {
            assert_eq!(http_url(endpoint, Signal::Logs).unwrap().as_str(), expected);
        }
        for endpoint in ["", "ftp://localhost", "http://"] {
            assert!(http_url(endpoint, Signal::Logs).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn an_endpoint_is_shown_without_its_secrets() {
        let shown = |protocol, endpoint: &str| shown_endpoint(&Destination::new(protocol, endpoint));
        let secret = shown(Protocol::OtlpHttpProtobuf, "https://user:secret@example.org/otlp?key=secret");
        assert_eq!(secret, "https://example.org/otlp?...");
        assert_eq!(shown(Protocol::OtlpGrpc, "http://localhost:4317"), "localhost:4317");
    }

    fn check(code: Code, retry_after_ms: Option<u64>, expected: Next) {
        let retry_after = retry_after_ms.map(Duration::from_millis);
        let status = Status { retry_after, ..Status::new(code, "") };
        assert_eq!(Refusal::from(status).next, expected, "{code}");
    }

    #[test]
    fn codes_are_tried_again_as_otlp_says() {
        check(Code::Unavailable, None, Next::Retry(None));
        check(Code::Unavailable, Some(5), Next::Retry(Some(Duration::from_millis(5))));
        check(Code::ResourceExhausted, None, Next::GiveUp);
        check(Code::ResourceExhausted, Some(5), Next::Retry(Some(Duration::from_millis(5))));
        check(Code::DeadlineExceeded, None, Next::Retry(None));
        check(Code::InvalidArgument, Some(5), Next::GiveUp);
        check(Code::Internal, None, Next::GiveUp);
        check(Code::Unimplemented, None, Next::GiveUp);
    }
}
