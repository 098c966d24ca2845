//! HTTP proxies: absolute-form requests for `http`, tunnels by CONNECT for `https` (RFC 9110, sections 7.1 and 9.3.6).

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use url::Url;

use super::{shown, url_credentials};
use crate::connect::ConnectError;
use crate::io::{Io, Socket};

/// A proxy to send requests through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authorization: Option<HeaderValue>,
    shown: String,
}

/// Why a proxy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url} is not a proxy that can be used: {problem}")]
pub struct ProxyError {
    url: String,
    problem: &'static str,
}

impl Proxy {
    /// A proxy by its address, as `http://user:password@proxy:3128`.
    ///
    /// # Errors
    /// [`ProxyError`], for schemes other than `http`.
    pub fn new(url: &Url) -> Result<Proxy, ProxyError> {
        let failed = |problem| ProxyError { url: shown(url), problem };
        if url.scheme() != "http" {
            return Err(failed("only `http` proxies are supported"));
        }
        let host = url.host_str().ok_or_else(|| failed("it has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Proxy { host, port, authorization: url_credentials(url), shown: shown(url) })
    }

    /// Asks for a tunnel to `authority` on a connection to the proxy.
    pub(super) async fn tunnel(&self, socket: Socket, authority: &str) -> Result<Socket, ConnectError> {
        let failed = |cause: String| ConnectError::Proxy { proxy: self.shown.clone(), cause };
        let broken = |error: hyper::Error| failed(crate::body::chain(&error));
        let io = TokioIo::new(Io::Plain(socket));
        let (mut send, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(io).await.map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        let uri = Uri::try_from(authority).map_err(|error| failed(error.to_string()))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = uri;
        let host = HeaderValue::from_str(authority).map_err(|error| failed(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let response = send.send_request(request).await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(failed(format!("status {}", response.status())));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
        let parts = upgraded.downcast::<TokioIo<Io>>().map_err(|_| failed("the connection is gone".to_owned()))?;
        // A server that speaks before the TLS handshake is not one.
        if !parts.read_buf.is_empty() {
            return Err(failed("bytes came before the tunnel was used".to_owned()));
        }
        match parts.io.into_inner() {
            Io::Plain(socket) => Ok(socket),
            Io::TlsClient(_) | Io::TlsServer(_) => Err(failed("unexpected TLS".to_owned())),
        }
    }
}
