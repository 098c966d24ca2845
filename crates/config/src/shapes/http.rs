//! HTTP clients and servers.

use std::time::Duration;

use super::endpoint::{Endpoint, HttpEndpoint};
use super::tls::{TlsClient, TlsServer};
use super::{Compression, Transport, read_auth};
use crate::Headers;
use crate::id::ComponentId;
use crate::section::{Section, Spanned};

/// The largest request body that a server takes when nothing is said: 20 MiB, after decompression.
const MAX_REQUEST_BODY_SIZE: u64 = 20 << 20;

/// The keys of an HTTP client, which stand among the exporter's own.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpClient {
    /// `endpoint`; none when not given.
    pub endpoint: Option<Spanned<HttpEndpoint>>,
    /// `headers`, sent with every request.
    pub headers: Headers,
    /// `timeout` of one request; none when not given, zero for none at all.
    pub timeout: Option<Duration>,
    /// `compression`; none when not given.
    pub compression: Option<Compression>,
    /// `compression_params.level`; none for the default level. For gzip, zlib and deflate it is from 1 to 9; without
    /// a `compression` it is not checked, since the component's default decides.
    pub compression_level: Option<i32>,
    /// `tls`.
    pub tls: TlsClient,
    /// `auth`: the extension that authenticates requests.
    pub auth: Option<Spanned<ComponentId>>,
    /// `proxy_url`.
    pub proxy_url: Option<Spanned<HttpEndpoint>>,
    /// `read_buffer_size` in bytes.
    pub read_buffer_size: Option<usize>,
    /// `write_buffer_size` in bytes.
    pub write_buffer_size: Option<usize>,
    /// `max_idle_conns`: idle connections in all; zero for no bound.
    pub max_idle_conns: usize,
    /// `max_idle_conns_per_host`; none when not given or 0.
    pub max_idle_conns_per_host: Option<usize>,
    /// `max_conns_per_host`; none when not given or 0: no bound.
    pub max_conns_per_host: Option<usize>,
    /// `idle_conn_timeout`: an idle connection is closed after this time; none when 0.
    pub idle_conn_timeout: Option<Duration>,
    /// `disable_keep_alives`: a new connection for every request.
    pub disable_keep_alives: bool,
    /// `http2_read_idle_timeout`: ping after this much silence; none when not given or 0.
    pub http2_read_idle_timeout: Option<Duration>,
    /// `http2_ping_timeout`: the connection is dead when the answer takes longer; 15 s when not given or 0.
    pub http2_ping_timeout: Duration,
    /// `force_attempt_http2`: offer HTTP/2 where there is TLS.
    pub force_attempt_http2: bool,
}

/// The keys of an HTTP server.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpServer {
    /// `endpoint`; none when not given.
    pub endpoint: Option<Spanned<Endpoint>>,
    /// `transport`.
    pub transport: Transport,
    /// `tls`; none when not given: no TLS.
    pub tls: Option<TlsServer>,
    /// `cors`; none when not given.
    pub cors: Option<Cors>,
    /// `auth`: the extension that authenticates requests.
    pub auth: Option<Spanned<ComponentId>>,
    /// `max_request_body_size` in bytes, after decompression.
    pub max_request_body_size: u64,
    /// `include_metadata`: keep the headers of requests for processors.
    pub include_metadata: bool,
    /// `response_headers`, sent with every answer.
    pub response_headers: Headers,
    /// `compression_algorithms` that are taken; none when not given: all of them.
    pub compression_algorithms: Option<Vec<Compression>>,
    /// `read_timeout` for a whole request; none when not given, zero for none at all.
    pub read_timeout: Option<Duration>,
    /// `read_header_timeout`; none when not given, zero for none at all.
    pub read_header_timeout: Option<Duration>,
    /// `write_timeout` for an answer; none when not given, zero for none at all.
    pub write_timeout: Option<Duration>,
    /// `idle_timeout` between two requests; none when not given, zero for none at all.
    pub idle_timeout: Option<Duration>,
    /// `keep_alives_enabled`.
    pub keep_alives_enabled: bool,
}

/// The `cors` section of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// `allowed_origins`; `*` stands for any characters.
    pub allowed_origins: Vec<String>,
    /// `allowed_headers`, besides the ones that are always allowed.
    pub allowed_headers: Vec<String>,
    /// `exposed_headers` of answers.
    pub exposed_headers: Vec<String>,
    /// `max_age` in seconds: how long a browser may remember the answer; none when not given or 0.
    pub max_age_seconds: Option<u32>,
}

// === impl HttpClient ===

impl HttpClient {
    /// Reads the keys of an HTTP client from the section of its component.
    pub fn read(section: &mut Section<'_>) -> HttpClient {
        section.unsupported("cookies", "a cookie jar for the client");
        section.unsupported("middlewares", "middleware extensions");
        let compression = Compression::read_http(section.get("compression")).optional();
        HttpClient {
            endpoint: url(section, "endpoint"),
            headers: section.get("headers").secret_map().or_default(),
            timeout: section.get("timeout").duration().optional(),
            compression,
            compression_level: section.child("compression_params", |params| compression_level(params, compression)),
            tls: section.child("tls", TlsClient::read),
            auth: read_auth(section),
            proxy_url: url(section, "proxy_url"),
            read_buffer_size: section.get("read_buffer_size").integer().optional(),
            write_buffer_size: section.get("write_buffer_size").integer().optional(),
            max_idle_conns: section.get("max_idle_conns").integer().or(100),
            max_idle_conns_per_host: section.get("max_idle_conns_per_host").integer().optional().filter(|max| *max > 0),
            max_conns_per_host: section.get("max_conns_per_host").integer().optional().filter(|max| *max > 0),
            idle_conn_timeout: Some(section.get("idle_conn_timeout").duration().or(Duration::from_secs(90)))
                .filter(|timeout| !timeout.is_zero()),
            disable_keep_alives: section.get("disable_keep_alives").bool().or(false),
            http2_read_idle_timeout: section
                .get("http2_read_idle_timeout")
                .duration()
                .optional()
                .filter(|timeout| !timeout.is_zero()),
            http2_ping_timeout: section
                .get("http2_ping_timeout")
                .duration()
                .optional()
                .filter(|timeout| !timeout.is_zero())
                .unwrap_or(Duration::from_secs(15)),
            force_attempt_http2: section.get("force_attempt_http2").bool().or(true),
        }
    }
}

/// The level, checked against the compression it is for. None for the default level, which is 0, and -1 of zlib.
fn compression_level(params: &mut Section<'_>, compression: Option<Compression>) -> Option<i32> {
    let level = params.get("level").integer::<i32>().optional().filter(|level| *level != 0)?;
    match compression {
        None | Some(Compression::Zstd) => Some(level),
        Some(Compression::Gzip | Compression::Zlib | Compression::Deflate) => match level {
            1..=9 => Some(level),
            -1 => None,
            _ => {
                params.error("level", "expected a level from 1 to 9, or -1 for the default");
                None
            }
        },
        Some(Compression::None) => None,
        Some(other) => {
            params.error("level", format!("`{other}` has no levels"));
            None
        }
    }
}

/// A URL; an empty text counts as not given.
fn url(section: &mut Section<'_>, key: &'static str) -> Option<Spanned<HttpEndpoint>> {
    let parse = |text: &str| match text {
        "" => Ok(None),
        text => HttpEndpoint::parse(text).map(Some),
    };
    let read = section.get(key).parse_with("a URL such as `http://localhost:4318`", parse);
    let Spanned { value, position } = read.spanned()?;
    Some(Spanned { value: value?, position })
}

// === impl HttpServer ===

impl HttpServer {
    /// Reads the keys of an HTTP server from the section of its component or protocol.
    pub fn read(section: &mut Section<'_>) -> HttpServer {
        let (endpoint, transport) = Transport::read_endpoint(section);
        section.unsupported("middlewares", "middleware extensions");
        let algorithms = section.get("compression_algorithms").each(|item| Compression::read_http(item).required());
        HttpServer {
            endpoint,
            transport,
            compression_algorithms: algorithms.optional(),
            tls: section.child_if_present("tls", TlsServer::read),
            cors: section.child_if_present("cors", Cors::read),
            auth: read_auth(section),
            // Zero is the Collector's way to say "the default".
            max_request_body_size: section
                .get("max_request_body_size")
                .bytes()
                .optional()
                .filter(|size| *size > 0)
                .unwrap_or(MAX_REQUEST_BODY_SIZE),
            include_metadata: section.get("include_metadata").bool().or(false),
            response_headers: section.get("response_headers").secret_map().or_default(),
            read_timeout: section.get("read_timeout").duration().optional(),
            read_header_timeout: section.get("read_header_timeout").duration().optional(),
            write_timeout: section.get("write_timeout").duration().optional(),
            idle_timeout: section.get("idle_timeout").duration().optional(),
            keep_alives_enabled: section.get("keep_alives_enabled").bool().or(true),
        }
    }
}

impl Cors {
    fn read(section: &mut Section<'_>) -> Cors {
        let cors = Cors {
            allowed_origins: section.get("allowed_origins").strings().or_default(),
            allowed_headers: section.get("allowed_headers").strings().or_default(),
            exposed_headers: section.get("exposed_headers").strings().or_default(),
            max_age_seconds: section.get("max_age").integer().optional().filter(|age| *age > 0),
        };
        if cors.allowed_origins.is_empty() && !cors.allowed_headers.is_empty() {
            section.warning("allowed_headers", "has no effect without `allowed_origins`");
        }
        cors
    }
}
