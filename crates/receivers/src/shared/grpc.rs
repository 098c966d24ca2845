//! Receivers that take calls over gRPC: what their servers run on.

use component::BuildContext;
use config::Section;
use config::shapes::GrpcServer;
use transport::configured;
use transport::endpoint::Endpoint;
use transport::grpc::GrpcLimits;
use transport::server::ServerSettings;

use super::local;

/// What a server of a receiver runs on.
pub(crate) struct GrpcSettings {
    pub(crate) endpoint: Endpoint,
    pub(crate) server: ServerSettings,
    pub(crate) limits: GrpcLimits,
}

impl GrpcSettings {
    /// Reads the Collector's options of a gRPC server from among the component's own.
    pub(crate) fn read(section: &mut Section<'_>, context: &BuildContext<'_>, port_default: u16) -> GrpcSettings {
        let shape = GrpcServer::read(section);
        let authenticator = context.authenticators.authenticator(shape.auth.as_ref(), section);
        let (server, limits) = configured::grpc_server(&shape, authenticator, section);
        let named = shape.endpoint.as_ref().map(|named| configured::endpoint(&named.value));
        GrpcSettings { endpoint: named.unwrap_or_else(|| local(port_default)), server, limits }
    }
}
