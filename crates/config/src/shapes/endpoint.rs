//! Addresses: where to listen, where to connect to, and URLs.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::secret::Secret;

/// An address of a server or a client: a host and a port, or a Unix socket.
///
/// ```
/// use config::shapes::Endpoint;
/// let endpoint = Endpoint::parse_listen("[::1]:4317").unwrap();
/// assert_eq!(endpoint, Endpoint::Tcp { host: "::1".into(), port: 4317 });
/// assert_eq!(endpoint.to_string(), "[::1]:4317");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Host and port.
    Tcp {
        /// A name or an address, without brackets. Empty, for a server, means all addresses of the machine.
        host: String,
        /// The port; zero, for a server, means a free one.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`: without TLS.
    Http,
    /// `https`: with TLS.
    Https,
}

/// Where a gRPC client connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcEndpoint {
    /// The address. Its host is resolved by DNS, with or without `dns:///` in front of it.
    pub address: Endpoint,
    /// The scheme that was written, if it was `http://` or `https://`.
    pub scheme: Option<Scheme>,
}

/// A URL that an HTTP client talks to. `Display` and `Debug` leave out the password and the query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpEndpoint {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The host, without brackets.
    pub host: String,
    /// The port; 80 or 443 when the URL has none.
    pub port: u16,
    /// The path, with its leading `/`; empty when the URL has none.
    pub path: String,
    /// What stands behind `?`.
    pub query: Option<Secret>,
    /// User and password in front of the host.
    pub user: Option<(String, Secret)>,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing was written.
    #[error("it is empty")]
    Empty,
    /// A server's address with a scheme in front of it.
    #[error("the address takes no such scheme: remove `{0}://`")]
    SchemeNotWanted(String),
    /// A URL without a scheme.
    #[error("the scheme is missing: write `http://{0}` or `https://{0}`")]
    SchemeMissing(String),
    /// A scheme that there is not.
    #[error("`{0}` is no scheme that is known here")]
    SchemeUnknown(String),
    /// No port.
    #[error("the port is missing")]
    PortMissing,
    /// A port that is no number from 0 to 65535.
    #[error("the port `{0}` is no number from 0 to 65535")]
    Port(String),
    /// No host.
    #[error("the host is missing")]
    HostMissing,
    /// A host with characters that no host has.
    #[error("`{0}` is no host name or address")]
    Host(String),
    /// An IPv6 address without brackets.
    #[error("write an IPv6 address in brackets, as in `[::1]:4317`")]
    BracketsMissing,
    /// Something behind the port.
    #[error("nothing may follow the port, found `{0}`")]
    Trailing(String),
    /// A socket without a path.
    #[error("the path of the Unix socket is missing")]
    PathMissing,
    /// A path with characters that no URL has.
    #[error("the path of the URL has white space or control characters")]
    Path,
}

// === impl Endpoint ===

impl Endpoint {
    /// Where a server listens: `localhost:4317`, `:4317` and `0.0.0.0:4317` (every address), `[::1]:4317`,
    /// `unix:///run/crossfade.sock`.
    pub fn parse_listen(text: &str) -> Result<Endpoint, EndpointError> {
        let text = text.trim();
        if let Some(path) = unix_path(text) {
            return Endpoint::parse_unix(path);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(EndpointError::SchemeNotWanted(scheme.to_owned()));
        }
        Endpoint::host_and_port(text)
    }

    /// Where a client connects to: as [`Endpoint::parse_listen`], but with a host.
    pub fn parse_connect(text: &str) -> Result<Endpoint, EndpointError> {
        match Endpoint::parse_listen(text)? {
            Endpoint::Tcp { host, .. } if host.is_empty() => Err(EndpointError::HostMissing),
            endpoint => Ok(endpoint),
        }
    }

    /// The path of a Unix socket, with or without `unix:` or `unix://` in front of it.
    pub fn parse_unix(text: &str) -> Result<Endpoint, EndpointError> {
        let text = text.trim();
        match unix_path(text).unwrap_or(text) {
            "" => Err(EndpointError::PathMissing),
            path => Ok(Endpoint::Unix(PathBuf::from(path))),
        }
    }

    fn host_and_port(text: &str) -> Result<Endpoint, EndpointError> {
        let (host, port) = split_host(text)?;
        let port = port.ok_or(EndpointError::PortMissing)?;
        Ok(Endpoint::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } => write_host(f, host).and_then(|()| write!(f, ":{port}")),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

// === impl GrpcEndpoint ===

impl GrpcEndpoint {
    /// Reads a gRPC target: `tempo:4317`, `http://tempo:4317`, `https://tempo`, `dns:///tempo:4317`,
    /// `unix:///run/otel.sock`. Empty text is none.
    ///
    /// Syntax: <https://github.com/grpc/grpc/blob/master/doc/naming.md>.
    pub fn parse(text: &str) -> Result<Option<GrpcEndpoint>, EndpointError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(path) = unix_path(text) {
            return Ok(Some(GrpcEndpoint { address: Endpoint::parse_unix(path)?, scheme: None }));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            // `dns://resolver/name`: the resolver, usually empty, stands in front of the name.
            Some(("dns" | "passthrough", rest)) => (None, rest.rsplit_once('/').map_or(rest, |(_, name)| name)),
            Some((scheme, _)) => return Err(EndpointError::SchemeUnknown(scheme.to_owned())),
            None => (None, text.strip_prefix("dns:").unwrap_or(text)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_host(rest)?;
        if host.is_empty() {
            return Err(EndpointError::HostMissing);
        }
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, Some(Scheme::Https)) => 443,
            (None, Some(Scheme::Http)) => 80,
            (None, None) => return Err(EndpointError::PortMissing),
        };
        Ok(Some(GrpcEndpoint { address: Endpoint::Tcp { host: host.to_owned(), port }, scheme }))
    }
}

// === impl HttpEndpoint ===

impl HttpEndpoint {
    /// Reads a URL with `http://` or `https://`.
    pub fn parse(text: &str) -> Result<HttpEndpoint, EndpointError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, _)) => return Err(EndpointError::SchemeUnknown(scheme.to_owned())),
            None => return Err(EndpointError::SchemeMissing(text.to_owned())),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user_and_password(user)), host),
            None => (None, authority),
        };
        let (host, port) = split_host(host)?;
        if host.is_empty() {
            return Err(EndpointError::HostMissing);
        }
        if path_and_query.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(EndpointError::Path);
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(Secret::new(query))),
            None => (path_and_query, None),
        };
        let port = port.unwrap_or(if scheme == Scheme::Https { 443 } else { 80 });
        Ok(HttpEndpoint { scheme, host: host.to_owned(), port, path: path.to_owned(), query, user })
    }

    /// `host:port`, with brackets around an IPv6 address: what a connection is made to.
    pub fn address(&self) -> String {
        Endpoint::Tcp { host: self.host.clone(), port: self.port }.to_string()
    }

    /// The same URL with `suffix` (such as `/v1/traces`) behind its path.
    #[must_use]
    pub fn join(&self, suffix: &str) -> HttpEndpoint {
        let path = format!("{}{suffix}", self.path.strip_suffix('/').unwrap_or(&self.path));
        HttpEndpoint { path, ..self.clone() }
    }

    /// Path and query as a request line has them; `/` when there is no path. May hold a secret.
    pub fn path_and_query(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.query {
            Some(query) => format!("{path}?{}", query.expose()),
            None => path.to_owned(),
        }
    }
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default_port) = match self.scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        write!(f, "{scheme}://")?;
        if self.user.is_some() {
            f.write_str("…@")?;
        }
        write_host(f, &self.host)?;
        if self.port != default_port {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)?;
        if self.query.is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn user_and_password(text: &str) -> (String, Secret) {
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    (decode(user), Secret::new(decode(password)))
}

fn unix_path(text: &str) -> Option<&str> {
    text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"))
}

/// Splits `host:port`, `[v6]:port`, `:port` and `host`; the port is none when there is none.
fn split_host(text: &str) -> Result<(&str, Option<u16>), EndpointError> {
    if text.is_empty() {
        return Err(EndpointError::Empty);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(EndpointError::BracketsMissing)?;
            if host.parse::<std::net::Ipv6Addr>().is_err() && !host.contains('%') {
                return Err(EndpointError::Host(host.to_owned()));
            }
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(EndpointError::Trailing(after.to_owned())),
            };
            return Ok((host, port.map(parse_port).transpose()?));
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(EndpointError::BracketsMissing),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let sound = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !host.chars().all(sound) {
        return Err(EndpointError::Host(host.to_owned()));
    }
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    if let Some((port, rest)) = text.split_once('/') {
        return match port.parse::<u16>() {
            Ok(_) => Err(EndpointError::Trailing(format!("/{rest}"))),
            Err(_) => Err(EndpointError::Port(port.to_owned())),
        };
    }
    match text {
        "" => Err(EndpointError::PortMissing),
        text if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| EndpointError::Port(text.to_owned()))
        }
        text => Err(EndpointError::Port(text.to_owned())),
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str, expected: Result<&str, EndpointError>) {
        let shown = Endpoint::parse_listen(text).map(|endpoint| endpoint.to_string());
        assert_eq!(shown, expected.map(str::to_owned), "for {text:?}");
    }

    fn grpc(text: &str, expected: Result<(&str, Option<Scheme>), EndpointError>) {
        let endpoint = GrpcEndpoint::parse(text).map(|endpoint| endpoint.expect("not empty"));
        let shown = endpoint.map(|endpoint| (endpoint.address.to_string(), endpoint.scheme));
        assert_eq!(shown, expected.map(|(address, scheme)| (address.to_owned(), scheme)), "for {text:?}");
    }

    #[test]
    fn a_listening_address_is_a_host_and_a_port_or_a_socket() {
        listen("localhost:4317", Ok("localhost:4317"));
        listen(":4317", Ok(":4317"));
        listen("0.0.0.0:0", Ok("0.0.0.0:0"));
        listen("[::1]:4317", Ok("[::1]:4317"));
        listen("[::]:4317", Ok("[::]:4317"));
        listen("my_host-1.internal:80", Ok("my_host-1.internal:80"));
        listen("unix:///run/c.sock", Ok("unix:///run/c.sock"));
        listen("unix:c.sock", Ok("unix://c.sock"));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        listen("", Err(EndpointError::Empty));
        listen("localhost", Err(EndpointError::PortMissing));
        listen("localhost:", Err(EndpointError::PortMissing));
        listen("localhost:http", Err(EndpointError::Port("http".into())));
        listen("localhost:70000", Err(EndpointError::Port("70000".into())));
        listen("localhost:+80", Err(EndpointError::Port("+80".into())));
        listen("http://localhost:80", Err(EndpointError::SchemeNotWanted("http".into())));
        listen("::1:4317", Err(EndpointError::BracketsMissing));
        listen("[::1", Err(EndpointError::BracketsMissing));
        listen("[nope]:1", Err(EndpointError::Host("nope".into())));
        listen("[::1]x", Err(EndpointError::Trailing("x".into())));
        listen("a b:1", Err(EndpointError::Host("a b".into())));
        listen("localhost:80/path", Err(EndpointError::Trailing("/path".into())));
        listen("unix://", Err(EndpointError::PathMissing));
        assert_eq!(Endpoint::parse_connect(":4317"), Err(EndpointError::HostMissing));
    }

    #[test]
    fn a_grpc_target_may_have_a_scheme() {
        grpc("tempo:4317", Ok(("tempo:4317", None)));
        grpc("http://tempo:4317", Ok(("tempo:4317", Some(Scheme::Http))));
        grpc("https://otlp.example.com", Ok(("otlp.example.com:443", Some(Scheme::Https))));
        grpc("http://tempo:4317/", Ok(("tempo:4317", Some(Scheme::Http))));
        grpc("dns:///tempo:4317", Ok(("tempo:4317", None)));
        grpc("dns://8.8.8.8/tempo:4317", Ok(("tempo:4317", None)));
        grpc("dns:tempo:4317", Ok(("tempo:4317", None)));
        grpc("passthrough:///[::1]:1", Ok(("[::1]:1", None)));
        grpc("unix:///run/otel.sock", Ok(("unix:///run/otel.sock", None)));
        grpc("tempo", Err(EndpointError::PortMissing));
        grpc(":4317", Err(EndpointError::HostMissing));
        grpc("xds:///tempo:4317", Err(EndpointError::SchemeUnknown("xds".into())));
        grpc("http://tempo:4317/v1/traces", Err(EndpointError::Trailing("/v1/traces".into())));
        assert_eq!(GrpcEndpoint::parse(" "), Ok(None));
    }

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        let url = HttpEndpoint::parse("https://[::1]:9090/api/v1/write").unwrap();
        assert_eq!(
            (url.scheme, url.address().as_str(), url.path.as_str()),
            (Scheme::Https, "[::1]:9090", "/api/v1/write")
        );
        let url = HttpEndpoint::parse("http://localhost").unwrap();
        assert_eq!((url.port, url.path_and_query().as_str()), (80, "/"));
        assert_eq!(HttpEndpoint::parse("http://a:1/base/").unwrap().join("/v1/logs").path, "/base/v1/logs");
        assert_eq!(HttpEndpoint::parse("localhost:4318"), Err(EndpointError::SchemeMissing("localhost:4318".into())));
        assert_eq!(HttpEndpoint::parse("ftp://a"), Err(EndpointError::SchemeUnknown("ftp".into())));
        assert_eq!(HttpEndpoint::parse("http:///x"), Err(EndpointError::Empty));
        assert_eq!(HttpEndpoint::parse("http://a/b c"), Err(EndpointError::Path));
    }

    #[test]
    fn a_url_never_shows_its_password_or_its_query() {
        let url = HttpEndpoint::parse("https://me:p%40ss@push.example.com/api?token=abc").unwrap();
        assert_eq!(url.to_string(), "https://…@push.example.com/api?…");
        assert_eq!(format!("{url:?}"), "https://…@push.example.com/api?…");
        assert_eq!(url.user.as_ref().unwrap().1.expose(), "p@ss");
        assert_eq!(url.path_and_query(), "/api?token=abc");
    }
}
