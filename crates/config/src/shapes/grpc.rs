//! gRPC clients and servers.

use std::time::Duration;

use super::endpoint::{Endpoint, GrpcEndpoint, Scheme};
use super::tls::{TlsClient, TlsServer};
use super::{Compression, Transport, read_auth};
use crate::Headers;
use crate::id::ComponentId;
use crate::section::{Section, Spanned};

/// The keys of a gRPC client, which stand among the exporter's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrpcClient {
    /// `endpoint`; none when not given.
    pub endpoint: Option<Spanned<GrpcEndpoint>>,
    /// `headers`, sent with every request.
    pub headers: Headers,
    /// `timeout` of one request; none when not given, zero for none at all.
    pub timeout: Option<Duration>,
    /// `compression`; none when not given.
    pub compression: Option<Compression>,
    /// `tls`.
    pub tls: TlsClient,
    /// `keepalive`; none when not given.
    pub keepalive: Option<GrpcKeepaliveClient>,
    /// `balancer_name`; none when not given.
    pub balancer_name: Option<LoadBalancing>,
    /// `wait_for_ready`: wait for a connection instead of failing at once.
    pub wait_for_ready: bool,
    /// `authority`: what `:authority` says instead of the endpoint.
    pub authority: Option<String>,
    /// `user_agent`.
    pub user_agent: Option<String>,
    /// `auth`: the extension that authenticates requests.
    pub auth: Option<Spanned<ComponentId>>,
    /// `read_buffer_size` in bytes.
    pub read_buffer_size: Option<usize>,
    /// `write_buffer_size` in bytes.
    pub write_buffer_size: Option<usize>,
}

/// How a gRPC client chooses between the addresses of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalancing {
    /// `round_robin`: all of them in turn.
    #[default]
    RoundRobin,
    /// `pick_first`: the first that answers.
    PickFirst,
}

/// The `keepalive` section of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcKeepaliveClient {
    /// `time`: ping after this much silence.
    pub time: Duration,
    /// `timeout`: the connection is dead when the answer takes longer.
    pub timeout: Duration,
    /// `permit_without_stream`: ping also while nothing is under way.
    pub permit_without_stream: bool,
}

/// The keys of a gRPC server.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcServer {
    /// `endpoint`; none when not given.
    pub endpoint: Option<Spanned<Endpoint>>,
    /// `transport`.
    pub transport: Transport,
    /// `tls`; none when not given: no TLS.
    pub tls: Option<TlsServer>,
    /// `max_recv_msg_size_mib`: the largest message in MiB, after decompression.
    pub max_recv_msg_size_mib: u32,
    /// `max_concurrent_streams` of one connection; none when not given or 0.
    pub max_concurrent_streams: Option<u32>,
    /// `read_buffer_size` in bytes.
    pub read_buffer_size: Option<usize>,
    /// `write_buffer_size` in bytes.
    pub write_buffer_size: Option<usize>,
    /// `keepalive`.
    pub keepalive: GrpcKeepaliveServer,
    /// `auth`: the extension that authenticates requests.
    pub auth: Option<Spanned<ComponentId>>,
    /// `include_metadata`: keep the headers of requests for processors.
    pub include_metadata: bool,
}

/// The `keepalive.server_parameters` section of a server and, in `enforcement`, its `keepalive.enforcement_policy`.
/// None is gRPC's own default; zero counts as not given, as in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcKeepaliveServer {
    /// `max_connection_idle`: close a connection without requests after this time.
    pub max_connection_idle: Option<Duration>,
    /// `max_connection_age`: ask every connection to end after this time, so that clients spread out again.
    pub max_connection_age: Option<Duration>,
    /// `max_connection_age_grace`: how long requests under way may still take then.
    pub max_connection_age_grace: Option<Duration>,
    /// `time`: ping after this much silence.
    pub time: Option<Duration>,
    /// `timeout`: the connection is dead when the answer takes longer.
    pub timeout: Option<Duration>,
    /// `enforcement_policy`.
    pub enforcement: GrpcKeepaliveEnforcement,
}

/// The `keepalive.enforcement_policy` section of a server: what clients may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcKeepaliveEnforcement {
    /// `min_time` between two pings of a client.
    pub min_time: Option<Duration>,
    /// `permit_without_stream`: a client may ping while nothing is under way.
    pub permit_without_stream: bool,
}

// === impl GrpcClient ===

impl GrpcClient {
    /// Reads the keys of a gRPC client from the section of its component.
    pub fn read(section: &mut Section<'_>) -> GrpcClient {
        let choices = [("round_robin", LoadBalancing::RoundRobin), ("pick_first", LoadBalancing::PickFirst)];
        let endpoint = section.get("endpoint").parse_with("an address such as `localhost:4317`", GrpcEndpoint::parse);
        let endpoint =
            endpoint.spanned().and_then(|Spanned { value, position }| Some(Spanned { value: value?, position }));
        section.unsupported("middlewares", "middleware extensions");
        GrpcClient {
            endpoint,
            headers: section.get("headers").secret_map().or_default(),
            timeout: section.get("timeout").duration().optional(),
            compression: Compression::read_grpc(section.get("compression")).optional(),
            tls: section.child("tls", TlsClient::read),
            keepalive: section.child_if_present("keepalive", GrpcKeepaliveClient::read),
            balancer_name: section.get("balancer_name").one_of(&choices).optional(),
            wait_for_ready: section.get("wait_for_ready").bool().or(false),
            authority: section.get("authority").string().non_empty().optional(),
            user_agent: section.get("user_agent").string().non_empty().optional(),
            auth: read_auth(section),
            read_buffer_size: section.get("read_buffer_size").integer().optional(),
            write_buffer_size: section.get("write_buffer_size").integer().optional(),
        }
    }

    /// Whether to speak TLS. `https://` always does. `http://` does not, unless `tls` names a certificate or the like.
    /// Without a scheme it is TLS unless `tls.insecure` is set. A Unix socket goes by the same rule.
    pub fn uses_tls(&self) -> bool {
        match self.endpoint.as_ref().and_then(|endpoint| endpoint.value.scheme) {
            Some(Scheme::Https) => true,
            Some(Scheme::Http) => !self.tls.insecure && self.tls.asks_for_tls(),
            None => !self.tls.insecure || self.tls.ca.is_some(),
        }
    }
}

impl GrpcKeepaliveClient {
    fn read(section: &mut Section<'_>) -> GrpcKeepaliveClient {
        let ten_seconds = Duration::from_secs(10);
        GrpcKeepaliveClient {
            time: section.get("time").duration().above_zero().or(ten_seconds),
            timeout: section.get("timeout").duration().above_zero().or(ten_seconds),
            permit_without_stream: section.get("permit_without_stream").bool().or(false),
        }
    }
}

// === impl GrpcServer ===

impl GrpcServer {
    /// Reads the keys of a gRPC server from the section of its component or protocol.
    pub fn read(section: &mut Section<'_>) -> GrpcServer {
        let (endpoint, transport) = Transport::read_endpoint(section);
        section.unsupported("middlewares", "middleware extensions");
        GrpcServer {
            endpoint,
            transport,
            tls: section.child_if_present("tls", TlsServer::read),
            // Zero is the Collector's way to say "the default".
            max_recv_msg_size_mib: section
                .get("max_recv_msg_size_mib")
                .integer()
                .range(0..=4095)
                .optional()
                .filter(|size| *size > 0)
                .unwrap_or(4),
            max_concurrent_streams: section.get("max_concurrent_streams").integer().optional().filter(|max| *max > 0),
            read_buffer_size: section.get("read_buffer_size").integer().optional(),
            write_buffer_size: section.get("write_buffer_size").integer().optional(),
            keepalive: section.child("keepalive", GrpcKeepaliveServer::read),
            auth: read_auth(section),
            include_metadata: section.get("include_metadata").bool().or(false),
        }
    }
}

impl GrpcKeepaliveServer {
    fn read(section: &mut Section<'_>) -> GrpcKeepaliveServer {
        let parameters = section.child("server_parameters", |parameters| {
            let mut duration = |key| parameters.get(key).duration().optional().filter(|value| !value.is_zero());
            GrpcKeepaliveServer {
                max_connection_idle: duration("max_connection_idle"),
                max_connection_age: duration("max_connection_age"),
                max_connection_age_grace: duration("max_connection_age_grace"),
                time: duration("time"),
                timeout: duration("timeout"),
                enforcement: GrpcKeepaliveEnforcement::default(),
            }
        });
        let enforcement = section.child("enforcement_policy", |policy| GrpcKeepaliveEnforcement {
            min_time: policy.get("min_time").duration().optional().filter(|value| !value.is_zero()),
            permit_without_stream: policy.get("permit_without_stream").bool().or(false),
        });
        GrpcKeepaliveServer { enforcement, ..parameters }
    }
}
