//! Where to listen and where to connect: `host:port`, `unix:///path`, and the spellings that gRPC clients use.

use std::fmt;
use std::path::PathBuf;

/// A network address as a user wrote it, before names are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or address and a port. An empty host means all addresses of this machine when listening.
    Tcp {
        /// The name or address, without brackets.
        host: String,
        /// The port; 0 lets the system choose when listening.
        port: u16,
    },
    /// A unix domain socket.
    Unix(PathBuf),
}

/// Why an endpoint could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither `host:port` nor a known scheme.
    #[error("`{endpoint}` is not an endpoint: expected `host:port` or `unix:///path`, {problem}")]
    Malformed {
        /// What was written.
        endpoint: String,
        /// What is missing or wrong.
        problem: &'static str,
    },
    /// A scheme that exists elsewhere but not here.
    #[error(
        "`{endpoint}`: the scheme `{scheme}` is not supported; use `host:port`, `dns:///host:port` or `unix:///path`"
    )]
    Scheme {
        /// What was written.
        endpoint: String,
        /// The scheme found.
        scheme: String,
    },
}

impl Endpoint {
    /// Parses `host:port`, `[::1]:port`, `:port`, `dns:///host:port`, `http://host:port`, `https://host:port`,
    /// `unix:///path` and `unix:path`.
    ///
    /// Whether TLS is used is not decided here: as in the Collector, the TLS settings decide, not the scheme.
    ///
    /// # Errors
    /// [`EndpointError`] says what is wrong with which text.
    pub fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        let malformed = |problem| EndpointError::Malformed { endpoint: text.to_owned(), problem };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(malformed("the path is missing"))
            } else {
                Ok(Endpoint::Unix(path.into()))
            };
        }
        let authority = match text.split_once("://") {
            None => text.strip_prefix("dns:").unwrap_or(text),
            Some(("dns", rest)) => rest.rsplit('/').next().unwrap_or(rest),
            Some(("http" | "https" | "passthrough" | "tcp", rest)) => {
                rest.trim_start_matches('/').trim_end_matches('/')
            }
            Some((scheme, _)) => {
                return Err(EndpointError::Scheme { endpoint: text.to_owned(), scheme: scheme.to_owned() });
            }
        };
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| malformed("the port is missing"))?;
        let port = port.parse().map_err(|_| malformed("the port is not a number from 0 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains([':', '[', ']']) {
            return Err(malformed("an IPv6 address stands in brackets, as in `[::1]:4317`"));
        }
        let host = bracketed.unwrap_or(host);
        if host.contains(['/', '@', '?', '#', ' ']) {
            return Err(malformed("the host holds characters that do not belong there"));
        }
        Ok(Endpoint::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Endpoint::parse(text) {
            Ok(Endpoint::Tcp { host, port }) => format!("tcp {host} {port}"),
            Ok(Endpoint::Unix(path)) => format!("unix {}", path.display()),
            Err(error) => format!("error {error}"),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn the_spellings_of_the_collector_and_of_grpc_are_understood() {
        check("localhost:4317", "tcp localhost 4317");
        check(":4317", "tcp  4317");
        check("[::1]:4317", "tcp ::1 4317");
        check("dns:///backend.example:4317", "tcp backend.example 4317");
        check("dns://8.8.8.8/backend.example:4317", "tcp backend.example 4317");
        check("dns:backend.example:4317", "tcp backend.example 4317");
        check("https://backend.example:4317/", "tcp backend.example 4317");
        check("unix:///run/otlp.sock", "unix /run/otlp.sock");
        check("unix:otlp.sock", "unix otlp.sock");
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("localhost", "the port is missing");
        check("localhost:x", "not a number");
        check("::1:4317", "brackets");
        check("unix://", "the path is missing");
        check("xds:///service", "`xds` is not supported");
        check("user@host:1", "characters that do not belong");
    }
}
