//! OTLP/gRPC.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use otlp::Signal;
use transport::grpc::{self, Code, GrpcLimits, Status, UnaryCall};
use transport::server::{RequestBody, ResponseBody};

use super::batch;
use crate::shared::{Intakes, grpc_status};

/// What answers gRPC calls.
pub(super) struct Service {
    pub(super) intakes: Intakes,
    pub(super) limits: GrpcLimits,
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        _ => None,
    }
}

pub(super) async fn answer(service: Arc<Service>, request: Request<RequestBody>) -> Response<ResponseBody> {
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
