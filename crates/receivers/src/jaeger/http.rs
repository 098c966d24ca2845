//! Thrift over HTTP: `POST /api/traces` of Jaeger's collector.

use std::sync::Arc;

use component::Intake;
use http::{Request, Response, StatusCode};
use legacy::jaeger;
use legacy::thrift::Protocol;
use transport::server::{RequestBody, ResponseBody, text_response};

use crate::shared::http::{Answers, Refusal, media_type, unless_post};

/// Both mean the binary protocol.
const MEDIA_TYPES: [&str; 2] = ["application/x-thrift", "application/vnd.apache.thrift.binary"];

/// What answers HTTP requests.
pub(super) struct Service {
    pub(super) intake: Intake,
    pub(super) answers: Arc<Answers>,
}

impl Service {
    pub(super) async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        match request.uri().path() {
            "/api/traces" => {}
            "/api/sampling" | "/sampling" => {
                let message = "sampling strategies are not served here: let clients ask Jaeger for them";
                return text_response(StatusCode::NOT_FOUND, message);
            }
            _ => return text_response(StatusCode::NOT_FOUND, "unknown path; known is /api/traces"),
        }
        if let Some(response) = unless_post(request.method()) {
            return response;
        }
        match self.take(request).await {
            Ok(()) => {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(refusal) => refusal.into_text(),
        }
    }

    async fn take(&self, request: Request<RequestBody>) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let media_type = media_type(&head.headers);
        if !MEDIA_TYPES.contains(&media_type.as_str()) {
            let message = format!("expected the content type `{}` or `{}`", MEDIA_TYPES[0], MEDIA_TYPES[1]);
            return Err(Refusal::wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let payload = self.answers.payload(&head.headers, body).await?;
        let batch = jaeger::from_thrift(&payload.bytes, Protocol::Binary)
            .map_err(|malformed| Refusal::wrong(StatusCode::BAD_REQUEST, malformed.to_string()))?;
        if batch.items() > 0 {
            self.intake.accept(batch).await?;
        }
        Ok(())
    }
}
