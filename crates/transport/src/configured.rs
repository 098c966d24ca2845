//! What the shapes of a configuration become here: one place that maps the Collector's options to this crate's
//! settings, for every component.

use std::sync::Arc;
use std::time::Duration;

use config::shapes;
use config::{Headers, Section};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::coding::{Coding, Level};
use crate::endpoint::Endpoint;
use crate::grpc::GrpcLimits;
use crate::grpc_client::{Balancer, GrpcClientSettings, Keepalive, KeepaliveWhen};
use crate::http_client::{HttpClientSettings, HttpVersion, Proxy};
use crate::server::{BodyLimits, ServerSettings};
use crate::tls::{
    Alpn, ClientTls, ClientTlsConfig, Pem, ServerTls, ServerTlsConfig, ServerVerification, SystemRoots, TlsVersion,
};
use auth::{Authenticator, Credentials, Nobody, Secret};

/// Where to listen or connect.
pub fn endpoint(endpoint: &shapes::Endpoint) -> Endpoint {
    match endpoint {
        shapes::Endpoint::Tcp { host, port } => Endpoint::Tcp { host: host.clone(), port: *port },
        shapes::Endpoint::Unix(path) => Endpoint::Unix(path.clone()),
    }
}

/// A URL, with the user and password that the configuration wrote into it.
pub fn url(endpoint: &shapes::HttpEndpoint) -> Result<Url, String> {
    let scheme = match endpoint.scheme {
        shapes::Scheme::Http => "http",
        shapes::Scheme::Https => "https",
    };
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let text = format!("{scheme}://{host}:{}{}", endpoint.port, endpoint.path);
    let mut url = Url::parse(&text).map_err(|error| format!("{text}: {error}"))?;
    url.set_query(endpoint.query.as_ref().map(config::Secret::expose));
    if let Some((user, password)) = &endpoint.user {
        // Both fail only for URLs without a host.
        let _ = url.set_username(user);
        let _ = url.set_password(Some(password.expose()).filter(|password| !password.is_empty()));
    }
    Ok(url)
}

/// Header fields, with values that stay out of logs. The error names the field and never its value.
pub fn headers(headers: &Headers) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| format!("the value of the header `{name}` has characters that no header can carry"))?;
        value.set_sensitive(true);
        map.append(field, value);
    }
    Ok(map)
}

/// How to compress over HTTP. `None`: not at all.
pub fn coding(compression: shapes::Compression, level: Option<i32>) -> Option<(Coding, Level)> {
    let coding = match compression {
        shapes::Compression::None => return None,
        shapes::Compression::Gzip => Coding::Gzip,
        shapes::Compression::Zlib | shapes::Compression::Deflate => Coding::Deflate,
        shapes::Compression::Snappy | shapes::Compression::SnappyFramed => Coding::Snappy,
        shapes::Compression::Zstd => Coding::Zstd,
        shapes::Compression::Lz4 => Coding::Lz4,
    };
    Some((coding, level.map_or(Level::Fast, Level::Exact)))
}

fn pem(material: &shapes::TlsMaterial) -> Pem {
    match material {
        shapes::TlsMaterial::File(path) => Pem::File(path.clone()),
        shapes::TlsMaterial::Pem(text) => Pem::Inline(Secret::new(text.expose())),
    }
}

fn version(version: shapes::TlsVersion) -> TlsVersion {
    match version {
        shapes::TlsVersion::V1_2 => TlsVersion::V1_2,
        shapes::TlsVersion::V1_3 => TlsVersion::V1_3,
    }
}

/// A client's TLS.
pub fn client_tls(tls: &shapes::TlsClient) -> ClientTls {
    let both = tls.include_system_ca_certs_pool;
    ClientTls {
        ca: tls.ca.as_ref().map(pem),
        system_roots: if both { SystemRoots::Always } else { SystemRoots::UnlessCaIsGiven },
        certificate: tls.cert.as_ref().map(pem),
        key: tls.key.as_ref().map(pem),
        verification: match tls.insecure_skip_verify {
            true => ServerVerification::InsecureSkip,
            false => ServerVerification::Full,
        },
        server_name_override: tls.server_name_override.clone(),
        min_version: tls.min_version.map(version),
        max_version: tls.max_version.map(version),
        reload_interval: tls.reload_interval,
    }
}

/// A server's TLS, with its files read.
pub fn server_tls(tls: &shapes::TlsServer) -> Result<Arc<ServerTlsConfig>, String> {
    let (Some(certificate), Some(key)) = (&tls.cert, &tls.key) else {
        return Err("a server needs a certificate and a key".to_owned());
    };
    // Files that are to be followed without an interval are looked at this often.
    const RELOAD_INTERVAL: Duration = Duration::from_secs(60);
    let settings = ServerTls {
        certificate: pem(certificate),
        key: pem(key),
        client_ca: tls.client_ca_file.clone().map(Pem::File),
        min_version: tls.min_version.map(version),
        max_version: tls.max_version.map(version),
        reload_interval: tls.reload_interval.or(tls.client_ca_file_reload.then_some(RELOAD_INTERVAL)),
    };
    ServerTlsConfig::new(settings).map(Arc::new).map_err(|error| error.to_string())
}

/// A gRPC server and the limits of its calls; what is wrong is reported to `section`. `authenticator` is what `auth`
/// names.
pub fn grpc_server(
    shape: &shapes::GrpcServer,
    authenticator: Option<Arc<dyn Authenticator>>,
    section: &mut Section<'_>,
) -> (ServerSettings, GrpcLimits) {
    let authenticator = asked(shape.auth.is_some(), authenticator);
    let mut settings = ServerSettings { authenticator, ..ServerSettings::grpc() };
    if let Some(tls) = &shape.tls {
        settings.tls = report(server_tls(tls), "tls", section);
    }
    if let Some(streams) = shape.max_concurrent_streams {
        settings.http2.concurrent_streams_max = streams;
    }
    let keepalive = &shape.keepalive;
    settings.idle_timeout = keepalive.max_connection_idle;
    settings.connection_age_max = keepalive.max_connection_age;
    settings.connection_age_grace = keepalive.max_connection_age_grace;
    if let Some(time) = keepalive.time {
        settings.http2.keepalive_interval = Some(time);
    }
    if let Some(timeout) = keepalive.timeout {
        settings.http2.keepalive_timeout = timeout;
    }
    let buffers = shape.read_buffer_size.or(shape.write_buffer_size).is_some();
    warn(section, "read_buffer_size", buffers, "buffers grow with what they hold");
    warn(section, "include_metadata", shape.include_metadata, "no processor here reads request headers yet");
    let message_bytes_max = (shape.max_recv_msg_size_mib as usize).saturating_mul(1 << 20);
    (settings, GrpcLimits { message_bytes_max, ..GrpcLimits::default() })
}

/// An HTTP server and the limits of its bodies; what is wrong is reported to `section`. `authenticator` is what `auth`
/// names.
pub fn http_server(
    shape: &shapes::HttpServer,
    authenticator: Option<Arc<dyn Authenticator>>,
    section: &mut Section<'_>,
) -> (ServerSettings, BodyLimits) {
    let authenticator = asked(shape.auth.is_some(), authenticator);
    let mut settings = ServerSettings { authenticator, ..ServerSettings::default() };
    if let Some(tls) = &shape.tls {
        settings.tls = report(server_tls(tls), "tls", section);
    }
    let given = |timeout: Duration| Some(timeout).filter(|timeout| !timeout.is_zero());
    if let Some(timeout) = shape.read_timeout {
        settings.request_read_timeout = given(timeout);
    }
    if let Some(timeout) = shape.read_header_timeout.and_then(given) {
        settings.header_read_timeout = timeout;
    }
    if let Some(timeout) = shape.idle_timeout {
        settings.idle_timeout = given(timeout);
    }
    warn(section, "write_timeout", shape.write_timeout.is_some(), "answers are small and written at once");
    warn(section, "keep_alives_enabled", !shape.keep_alives_enabled, "idle connections end by `idle_timeout`");
    warn(section, "include_metadata", shape.include_metadata, "no processor here reads request headers yet");
    let bytes_max = usize::try_from(shape.max_request_body_size).unwrap_or(usize::MAX);
    (settings, BodyLimits { bytes_max, ..BodyLimits::default() })
}

/// A gRPC client; what is wrong is reported to `section`. TLS is on unless `tls.insecure` or an `http://` endpoint says
/// otherwise. `credentials` are of what `auth` names.
pub fn grpc_client(
    shape: &shapes::GrpcClient,
    credentials: Option<Arc<dyn Credentials>>,
    section: &mut Section<'_>,
) -> Option<GrpcClientSettings> {
    let Some(named) = &shape.endpoint else {
        section.error("endpoint", "is required: expected an address such as `localhost:4317`");
        return None;
    };
    let mut settings = GrpcClientSettings::new(endpoint(&named.value.address));
    let plain = shape.tls.insecure || named.value.scheme == Some(shapes::Scheme::Http);
    if !plain || shape.tls.asks_for_tls() {
        let tls = ClientTlsConfig::new(client_tls(&shape.tls), Alpn::H2).map_err(|error| error.to_string());
        settings.tls = Some(Arc::new(report(tls, "tls", section)?));
    }
    settings.headers = report(headers(&shape.headers), "headers", section)?;
    settings.credentials = credentials;
    settings.authority.clone_from(&shape.authority);
    settings.balancer = match shape.balancer_name {
        Some(shapes::LoadBalancing::PickFirst) => Balancer::PickFirst,
        Some(shapes::LoadBalancing::RoundRobin) | None => Balancer::RoundRobin,
    };
    settings.keepalive = shape.keepalive.as_ref().map(|keepalive| Keepalive {
        interval: keepalive.time,
        timeout: keepalive.timeout,
        when: match keepalive.permit_without_stream {
            true => KeepaliveWhen::Always,
            false => KeepaliveWhen::CallsInFlight,
        },
    });
    let buffers = shape.read_buffer_size.or(shape.write_buffer_size).is_some();
    warn(section, "read_buffer_size", buffers, "buffers grow with what they hold");
    warn(section, "wait_for_ready", shape.wait_for_ready, "what cannot be sent waits in the journal");
    if let Some(agent) = &shape.user_agent {
        let value = HeaderValue::from_str(agent).map_err(|_| "has characters that no header can carry".to_owned());
        settings.user_agent = report(value, "user_agent", section)?;
    }
    Some(settings)
}

/// An HTTP client; what is wrong is reported to `section`. `credentials` are of what `auth` names.
pub fn http_client(
    shape: &shapes::HttpClient,
    credentials: Option<Arc<dyn Credentials>>,
    section: &mut Section<'_>,
) -> Option<HttpClientSettings> {
    let mut settings = HttpClientSettings { tls: client_tls(&shape.tls), ..HttpClientSettings::default() };
    settings.headers = report(headers(&shape.headers), "headers", section)?;
    settings.credentials = credentials;
    settings.timeout = shape.timeout.filter(|timeout| !timeout.is_zero());
    if let Some(proxy) = &shape.proxy_url {
        let proxy = url(&proxy.value).and_then(|url| Proxy::new(&url).map_err(|error| error.to_string()));
        settings.proxy = Some(report(proxy, "proxy_url", section)?);
    }
    settings.idle_connections_max = match shape.disable_keep_alives {
        true => 0,
        false => shape.max_idle_conns_per_host.unwrap_or(shape.max_idle_conns).max(1),
    };
    if let Some(timeout) = shape.idle_conn_timeout {
        settings.idle_timeout = timeout;
    }
    let buffers = shape.read_buffer_size.or(shape.write_buffer_size).is_some();
    warn(section, "read_buffer_size", buffers, "buffers grow with what they hold");
    let bound = shape.max_conns_per_host.is_some();
    warn(section, "max_conns_per_host", bound, "`sending_queue.num_consumers` bounds the requests under way");
    let pings = shape.http2_read_idle_timeout.is_some();
    warn(section, "http2_read_idle_timeout", pings, "a request without an answer ends by `timeout`");
    settings.version = match shape.force_attempt_http2 {
        true => HttpVersion::Negotiated,
        false => HttpVersion::Http1,
    };
    Some(settings)
}

/// A server that should ask for credentials never runs without, whatever its caller makes of an `auth` that names
/// nothing useful.
fn asked(is_asked: bool, authenticator: Option<Arc<dyn Authenticator>>) -> Option<Arc<dyn Authenticator>> {
    authenticator.or_else(|| is_asked.then(|| Arc::new(Nobody) as Arc<dyn Authenticator>))
}

fn warn(section: &mut Section<'_>, key: &str, given: bool, why: &str) {
    if given {
        section.warning(key, format!("has no effect: {why}"));
    }
}

fn report<T>(result: Result<T, String>, key: &str, section: &mut Section<'_>) -> Option<T> {
    result.map_err(|message| section.error(key, message)).ok()
}
