//! Settings that many components share, under the Collector's names and with its defaults (core v0.159).
//!
//! A shape whose keys stand among the component's own (`GrpcClient`, `HttpServer`, …) reads them from the component's
//! section; a shape with a key of its own (`TlsClient` under `tls`, `Retry` under `retry_on_failure`) reads from that
//! sub-section. A default that differs from component to component is an `Option` here, and the component's to give.
//!
//! ```
//! use config::shapes::{Compression, GrpcClient};
//! let loaded = config::parse_str("c.yaml", "endpoint: http://tempo:4317", &config::TestEnvironment::new()).unwrap();
//! let mut diagnostics = config::Diagnostics::new();
//! let client = config::Section::open(&loaded.root, "exporters.otlp", &mut diagnostics).read(GrpcClient::read);
//! assert!(diagnostics.finish().is_ok());
//! let endpoint = client.endpoint.as_ref().unwrap();
//! assert_eq!(endpoint.value.address.to_string(), "tempo:4317");
//! assert_eq!(client.compression.unwrap_or(Compression::Gzip), Compression::Gzip);
//! assert!(!client.uses_tls());
//! ```

mod compression;
mod endpoint;
mod grpc;
mod http;
mod queue;
mod tls;

pub use compression::Compression;
pub use endpoint::{Endpoint, EndpointError, GrpcEndpoint, HttpEndpoint, Scheme};
pub use grpc::{
    GrpcClient, GrpcKeepaliveClient, GrpcKeepaliveEnforcement, GrpcKeepaliveServer, GrpcServer, LoadBalancing,
};
pub use http::{Cors, HttpClient, HttpServer};
pub use queue::{QueueBatch, Retry, SendingQueue, Sizer};
pub use tls::{TlsClient, TlsMaterial, TlsServer, TlsVersion};

use crate::id::ComponentId;
use crate::section::{Section, Spanned};

/// Where a server listens: the `transport` key next to `endpoint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP over IPv4 or IPv6.
    #[default]
    Tcp,
    /// A Unix socket; the endpoint is its path.
    Unix,
}

impl Transport {
    /// Reads `endpoint` and `transport`, which give the endpoint its meaning together.
    fn read_endpoint(section: &mut Section<'_>) -> (Option<Spanned<Endpoint>>, Transport) {
        let transport = section
            .get("transport")
            .one_of(&[
                ("tcp", Transport::Tcp),
                ("tcp4", Transport::Tcp),
                ("tcp6", Transport::Tcp),
                ("unix", Transport::Unix),
            ])
            .or_default();
        let endpoint = section.get("endpoint");
        let endpoint = match transport {
            Transport::Tcp => endpoint.parse_with("an address such as `localhost:4317`", Endpoint::parse_listen),
            Transport::Unix => endpoint.parse_with("the path of a Unix socket", Endpoint::parse_unix),
        };
        let endpoint = endpoint.spanned();
        section.child_if_present("dialer", |dialer| {
            dialer.without_effect("timeout", "a server does not dial");
        });
        (endpoint, transport)
    }
}

/// Reads `auth: {authenticator: …}`.
fn read_auth(section: &mut Section<'_>) -> Option<Spanned<ComponentId>> {
    section.child_if_present("auth", |auth| {
        auth.unsupported("request_params", "authentication by parameters of the request");
        auth.get("authenticator").component_id().required_spanned()
    })?
}
