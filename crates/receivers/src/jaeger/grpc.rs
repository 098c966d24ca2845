//! `jaeger.api_v2.CollectorService`, of `collector.proto`.

use std::sync::Arc;

use bytes::Bytes;
use component::Intake;
use http::{Request, Response};
use legacy::jaeger;
use transport::grpc::{self, Code, GrpcLimits, Status, UnaryCall};
use transport::server::{RequestBody, ResponseBody};

use crate::shared::grpc_status;

const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

/// What answers gRPC calls.
pub(super) struct Service {
    pub(super) intake: Intake,
    pub(super) limits: GrpcLimits,
}

pub(super) async fn answer(service: Arc<Service>, request: Request<RequestBody>) -> Response<ResponseBody> {
    let path = request.uri().path();
    if path != POST_SPANS {
        return Status::unknown_method(path).into_response();
    }
    grpc::unary(request, &service.limits, async |call: UnaryCall| {
        let batch = jaeger::from_proto(&call.message)
            .map_err(|malformed| Status::new(Code::InvalidArgument, malformed.to_string()))?;
        if batch.items() > 0 {
            service.intake.accept(batch).await.map_err(grpc_status)?;
        }
        // `PostSpansResponse` has no fields.
        Ok(Bytes::new())
    })
    .await
}
