//! OTLP/gRPC.

use std::sync::Arc;

use bytes::Bytes;
use component::StartError;
use http::{Request, Response};
use otlp::Signal;
use tokio_util::sync::CancellationToken;
use transport::grpc::{self, Code, GrpcLimits, Status, UnaryCall};
use transport::server::{ConnInfo, Listener, RequestBody, ResponseBody, ServerSettings};

use super::batch;
use crate::shared::{Intakes, grpc_status};

/// What answers gRPC calls.
pub(super) struct Service {
    pub(super) intakes: Intakes,
    pub(super) limits: GrpcLimits,
}

pub(super) async fn serve(
    listener: Listener,
    settings: ServerSettings,
    service: Arc<Service>,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let handler = move |request: Request<RequestBody>, _: Arc<ConnInfo>| answer(Arc::clone(&service), request);
    transport::server::serve(listener, settings, handler, stop).await;
    Ok(())
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        _ => None,
    }
}

async fn answer(service: Arc<Service>, request: Request<RequestBody>) -> Response<ResponseBody> {
    let path = request.uri().path();
    let Some(signal) = signal(path) else { return Status::unknown_method(path).into_response() };
    let Some(intake) = service.intakes.get(&signal) else {
        let message = format!("no pipeline here takes {signal} from this receiver");
        return Status::new(Code::Unimplemented, message).into_response();
    };
    grpc::unary(request, &service.limits, async |call: UnaryCall| {
        let batch = batch(signal, call.message, call.frame)
            .map_err(|malformed| Status::new(Code::InvalidArgument, malformed.to_string()))?;
        intake.accept(batch).await.map_err(grpc_status)?;
        // An empty message is an `Export…ServiceResponse` without partial success: everything was taken.
        Ok(Bytes::new())
    })
    .await
}
