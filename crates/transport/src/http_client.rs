//! An HTTP client for payloads: HTTP/1.1 with kept connections, HTTP/2 where the server offers it, capped answers,
//! redirects and proxies under control.

mod pool;
mod proxy;
mod reply;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::time::Instant;
use url::{Position, Url};

use crate::connect::ConnectError;
use crate::tls::{Alpn, ClientTls, ClientTlsConfig, TlsError};
use auth::Secret;
use auth::{Authorization, Credentials, CredentialsError};

pub use proxy::{Proxy, ProxyError};
pub use reply::{HttpReply, retry_after};

use pool::{Destination, Pool, TargetForm};

/// Redirects that are followed for one request.
const REDIRECTS_MAX: usize = 5;

/// Whether redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// A redirect is the answer.
    #[default]
    Refused,
    /// Followed to the same scheme, host and port only; to another it is an error.
    SameHost,
    /// Followed anywhere, at most five times; credentials and configured headers stay behind when the host changes, and
    /// HTTPS is never left for HTTP.
    AnyHostWithoutCredentials,
}

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/2 where TLS offers it, else HTTP/1.1.
    #[default]
    Negotiated,
    /// HTTP/1.1 only.
    Http1,
}

/// What a client needs.
#[derive(Debug, Clone)]
pub struct HttpClientSettings {
    /// TLS for `https` addresses.
    pub tls: ClientTls,
    /// A request and its answer must be complete by then; unlimited, if absent.
    pub timeout: Option<Duration>,
    /// A connection must stand by then.
    pub connect_timeout: Duration,
    /// Fields sent with each request.
    pub headers: HeaderMap,
    /// Credentials sent with each request.
    pub credentials: Option<Arc<dyn Credentials>>,
    /// The most of an answer that is read, before and after decompression.
    pub response_bytes_max: usize,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// The proxy; none, if absent. The environment is not asked.
    pub proxy: Option<Proxy>,
    /// Connections kept per host while nothing is sent.
    pub idle_connections_max: usize,
    /// How long they are kept.
    pub idle_timeout: Duration,
    /// Which protocol is spoken.
    pub version: HttpVersion,
    /// Which of the addresses that a name has may be connected to, after redirects too: all, unless told otherwise. A
    /// proxy's address is not asked about.
    pub address_is_allowed: fn(IpAddr) -> bool,
    /// What the client calls itself.
    pub user_agent: HeaderValue,
}

impl Default for HttpClientSettings {
    fn default() -> Self {
        HttpClientSettings {
            tls: ClientTls::default(),
            timeout: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(10),
            headers: HeaderMap::new(),
            credentials: None,
            response_bytes_max: 4 << 20,
            redirects: Redirects::Refused,
            proxy: None,
            idle_connections_max: 32,
            idle_timeout: Duration::from_secs(90),
            version: HttpVersion::Negotiated,
            address_is_allowed: |_| true,
            user_agent: HeaderValue::from_static(concat!("crossfade/", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// A request to send.
#[derive(Clone)]
pub struct HttpRequest {
    /// GET, POST and so on.
    pub method: Method,
    /// An `http` or `https` address. User and password in it become basic authentication.
    pub url: Url,
    /// Fields of this request; they replace the client's of the same name.
    pub headers: HeaderMap,
    /// The body as it goes over the wire.
    pub body: Bytes,
    /// Replaces the client's timeout.
    pub timeout: Option<Duration>,
    /// Replaces the client's limit of the answer.
    pub response_bytes_max: Option<usize>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpRequest({} {}, {} bytes)", self.method, shown(&self.url), self.body.len())
    }
}

impl HttpRequest {
    /// A GET request.
    #[must_use]
    pub fn get(url: Url) -> HttpRequest {
        HttpRequest {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            response_bytes_max: None,
        }
    }

    /// A POST request.
    #[must_use]
    pub fn post(url: Url, headers: HeaderMap, body: Bytes) -> HttpRequest {
        HttpRequest { method: Method::POST, url, headers, body, timeout: None, response_bytes_max: None }
    }
}

/// Why there is no answer. No text holds user, password or query of an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not an address that this client can ask.
    #[error("{url} cannot be requested: {problem}")]
    Url {
        /// The address without secrets.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No connection: the request was not sent.
    #[error("{url}: {cause}")]
    Connect {
        /// The address without secrets.
        url: String,
        /// Why.
        cause: ConnectError,
    },
    /// The connection broke: the request may or may not have been processed.
    #[error("{url}: the connection broke: {cause}")]
    Broken {
        /// The address without secrets.
        url: String,
        /// What was reported.
        cause: String,
    },
    /// No complete answer in time.
    #[error("{url} did not answer completely within {timeout_ms} ms")]
    TimedOut {
        /// The address without secrets.
        url: String,
        /// The limit.
        timeout_ms: u128,
    },
    /// A redirect that must not be followed.
    #[error("{url} redirects to {location}, which is not followed: {reason}")]
    Redirect {
        /// The address without secrets.
        url: String,
        /// Where it redirects to, without secrets.
        location: String,
        /// Why it is not followed.
        reason: &'static str,
    },
    /// There is nothing to authenticate with at the moment: the request was not sent.
    #[error("{url}: {cause}")]
    Credentials {
        /// The address without secrets.
        url: String,
        /// Why not.
        cause: CredentialsError,
    },
    /// An answer whose compression is damaged or unknown.
    #[error("{url}: {cause}")]
    Coding {
        /// The address without secrets.
        url: String,
        /// What is wrong.
        cause: String,
    },
}

/// A client for any number of hosts. Cloning shares its connections.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    settings: HttpClientSettings,
    headers: HeaderMap,
    pool: Pool,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Makes a client; connections follow with the requests.
    ///
    /// # Errors
    /// [`TlsError`], if the TLS settings cannot be used.
    pub fn new(settings: HttpClientSettings) -> Result<HttpClient, TlsError> {
        let alpn = match settings.version {
            HttpVersion::Negotiated => Alpn::H2OrHttp1,
            HttpVersion::Http1 => Alpn::Http1,
        };
        let tls = ClientTlsConfig::new(settings.tls.clone(), alpn)?;
        let mut headers = settings.headers.clone();
        if !headers.contains_key(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, settings.user_agent.clone());
        }
        let pool = Pool::new(&settings, tls);
        Ok(HttpClient { inner: Arc::new(Inner { settings, headers, pool }) })
    }

    /// Sends a request and reads the answer, up to the limit.
    ///
    /// Any status is an answer. An answer to a request with `Accept-Encoding` is decompressed.
    ///
    /// # Errors
    /// [`HttpError`]; only [`HttpError::Connect`] says for certain that nothing was sent.
    ///
    /// ```no_run
    /// use bytes::Bytes;
    /// use http::HeaderMap;
    /// use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = HttpClient::new(HttpClientSettings::default())?;
    /// let url = "http://localhost:4318/v1/traces".parse()?;
    /// let reply = client.send(HttpRequest::post(url, HeaderMap::new(), Bytes::from_static(b"..."))).await?;
    /// println!("{} {} bytes", reply.status, reply.body.len());
    /// # Ok(()) }
    /// ```
    pub async fn send(&self, request: HttpRequest) -> Result<HttpReply, HttpError> {
        let timeout = request.timeout.or(self.inner.settings.timeout);
        let Some(timeout) = timeout else { return self.inner.send(request).await };
        let url = shown(&request.url);
        let deadline = Instant::now() + timeout;
        match tokio::time::timeout_at(deadline, self.inner.send(request)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(HttpError::TimedOut { url, timeout_ms: timeout.as_millis() }),
        }
    }
}

/// One step of a request that may be redirected.
struct Step {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    /// Whether this still goes to where the user pointed.
    trusted: Trust,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    ConfiguredHost,
    OtherHost,
}

impl Inner {
    async fn send(&self, request: HttpRequest) -> Result<HttpReply, HttpError> {
        let limit_bytes = request.response_bytes_max.unwrap_or(self.settings.response_bytes_max);
        let HttpRequest { method, url, headers, body, .. } = request;
        let mut step = Step { method, url, headers, body, trusted: Trust::ConfiguredHost };
        for _ in 0..=REDIRECTS_MAX {
            let accepts_codings = step.headers.contains_key(header::ACCEPT_ENCODING);
            let reply = self.exchange(&step, limit_bytes).await?;
            if self.settings.redirects == Redirects::Refused || !reply.is_redirect() {
                return if accepts_codings { reply.decoded(&step.url, limit_bytes) } else { Ok(reply) };
            }
            step = self.redirected(step, &reply)?;
        }
        Err(HttpError::Redirect {
            url: shown(&step.url),
            location: shown(&step.url),
            reason: "five redirects were followed already",
        })
    }

    async fn exchange(&self, step: &Step, limit_bytes: usize) -> Result<HttpReply, HttpError> {
        let destination = Destination::of(&step.url)?;
        let url = || shown(&step.url);
        let mut attempt = 1;
        loop {
            let connection = self.pool.connection(&destination, &step.url).await;
            let mut connection = connection.map_err(|cause| HttpError::Connect { url: url(), cause })?;
            let request = self.request(step, self.pool.target_form(&step.url, &connection))?;
            match connection.send(request).await {
                Ok(response) => {
                    let read = HttpReply::read(response, limit_bytes).await;
                    let reply = read.map_err(|cause| HttpError::Broken { url: url(), cause })?;
                    if !reply.truncated {
                        self.pool.give_back(&destination, connection);
                    }
                    return Ok(reply);
                }
                // A kept connection that the server had closed took nothing: once more on another one.
                Err(error) if error.unsent && attempt < 3 => attempt += 1,
                Err(error) => return Err(HttpError::Broken { url: url(), cause: error.cause }),
            }
        }
    }

    fn request(&self, step: &Step, form: TargetForm) -> Result<Request<Full<Bytes>>, HttpError> {
        let unusable = |problem| HttpError::Url { url: shown(&step.url), problem };
        let host = &step.url[Position::BeforeHost..Position::AfterPort];
        let path = &step.url[Position::BeforePath..Position::AfterQuery];
        let uri = match form {
            TargetForm::Origin => Uri::try_from(path),
            TargetForm::Absolute => Uri::try_from(format!("{}://{host}{path}", step.url.scheme())),
        };
        let uri = uri.map_err(|_| unusable("the path holds invalid characters"))?;
        let host = HeaderValue::from_str(host).map_err(|_| unusable("the host holds invalid characters"))?;
        let mut request = Request::new(Full::new(step.body.clone()));
        *request.method_mut() = step.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        if step.trusted == Trust::ConfiguredHost {
            *headers = self.headers.clone();
            if let Some(credentials) = &self.settings.credentials {
                let (name, value) =
                    credentials.field().map_err(|cause| HttpError::Credentials { url: shown(&step.url), cause })?;
                headers.insert(name, value);
            } else if let Some(value) = url_credentials(&step.url) {
                headers.insert(header::AUTHORIZATION, value);
            }
        } else {
            headers.insert(header::USER_AGENT, self.settings.user_agent.clone());
        }
        for name in step.headers.keys() {
            headers.remove(name);
        }
        headers.extend(step.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers.insert(header::HOST, host);
        if let Some(value) = self.pool.proxy_authorization(&step.url) {
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// The request that a redirect leads to (RFC 9110, section 15.4), if it may be made.
    fn redirected(&self, step: Step, reply: &HttpReply) -> Result<Step, HttpError> {
        let location = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let refused = |location: String, reason| HttpError::Redirect { url: shown(&step.url), location, reason };
        let next = step.url.join(location).map_err(|_| refused("no valid address".to_owned(), "it cannot be read"))?;
        if !matches!(next.scheme(), "http" | "https") {
            return Err(refused(shown(&next), "only http and https are followed"));
        }
        if step.url.scheme() == "https" && next.scheme() == "http" {
            return Err(refused(shown(&next), "it leaves HTTPS for HTTP"));
        }
        let same = next.origin() == step.url.origin();
        if !same && self.settings.redirects == Redirects::SameHost {
            return Err(refused(shown(&next), "it is another host, and credentials stay here"));
        }
        let trusted = if same { step.trusted } else { Trust::OtherHost };
        let keeps_method = matches!(reply.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let reads = matches!(step.method, Method::GET | Method::HEAD);
        if !keeps_method && !reads {
            return Err(refused(shown(&next), "the body would not be sent again"));
        }
        let mut headers = step.headers;
        if trusted == Trust::OtherHost {
            // What describes the message may go along; everything else may be a secret.
            let harmless = [header::ACCEPT, header::ACCEPT_ENCODING, header::CONTENT_TYPE, header::CONTENT_ENCODING];
            headers = headers
                .iter()
                .filter(|(name, _)| harmless.contains(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        Ok(Step { method: step.method, url: next, headers, body: step.body, trusted })
    }
}

/// `user:password@` of an address as a header value.
fn url_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = Secret::new(decode(url.password().unwrap_or_default()));
    Authorization::basic(&decode(url.username()), &password).ok().map(|made| made.header_value())
}

/// An address without user, password, query and fragment.
#[must_use]
pub fn shown(url: &Url) -> String {
    let query = if url.query().is_some() { "?..." } else { "" };
    let host = &url[Position::BeforeHost..Position::AfterPort];
    format!("{}://{host}{}{query}", url.scheme(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_shown(url: &str, expected: &str) {
        assert_eq!(shown(&Url::parse(url).unwrap()), expected);
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        check_shown("https://user:secret@host:8443/api/v1?token=secret#x", "https://host:8443/api/v1?...");
        check_shown("http://host/", "http://host/");
        check_shown("http://[::1]:9090/metrics", "http://[::1]:9090/metrics");
    }

    #[test]
    fn credentials_in_an_address_become_a_header() {
        let url = Url::parse("http://user:p%40ss@host/").unwrap();
        assert_eq!(url_credentials(&url).unwrap(), "Basic dXNlcjpwQHNz");
        assert!(url_credentials(&Url::parse("http://host/").unwrap()).is_none());
    }
}
