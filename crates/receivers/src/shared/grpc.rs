//! Receivers that take calls over gRPC: what their servers run on, and how they serve.

use std::future::Future;
use std::sync::Arc;

use component::{BuildContext, StartError};
use config::Section;
use config::shapes::GrpcServer;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use transport::configured;
use transport::endpoint::Endpoint;
use transport::grpc::GrpcLimits;
use transport::server::{Listener, RequestBody, ResponseBody, ServerSettings};

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

/// Serves until `stop`: `answer` gets what all calls share, and a call.
pub(crate) async fn serve<S, F>(
    listener: Listener,
    server: ServerSettings,
    service: Arc<S>,
    answer: fn(Arc<S>, Request<RequestBody>) -> F,
    stop: CancellationToken,
) -> Result<(), StartError>
where
    S: Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let handler = move |request: Request<RequestBody>, _| answer(Arc::clone(&service), request);
    transport::server::serve(listener, server, handler, stop).await;
    Ok(())
}
