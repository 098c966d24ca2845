//! The `loki` receiver: Loki's push API over HTTP and gRPC, for Promtail, Grafana Agent, Fluent Bit and their like.
//!
//! Specification: [Loki HTTP API](https://grafana.com/docs/loki/latest/reference/loki-http-api/), "Ingest logs". A push
//! is answered when the journal of every pipeline has it, and then with `204`; one that there is no room for with
//! `503`, which makes every client of Loki send it again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use component::{BuildContext, Intake, Receiver, ReceiverContext, ReceiverFactory, Running, StartError, clock};
use config::Section;
use futures_util::future::try_join_all;
use http::{HeaderMap, Request, Response, StatusCode};
use legacy::loki::{Conversion, PushError, Take, Timestamps, read_json, read_legacy_json, read_protobuf, to_batch};
use otlp::{Batch, Signal};
use transport::coding::{Coding, snappy_block_decompress};
use transport::grpc::{self, Code, GrpcLimits, Status, UnaryCall};
use transport::server::{RequestBody, ResponseBody, text_response};

use crate::shared::grpc::GrpcSettings;
use crate::shared::http::{Answers, HttpSettings, Refusal, media_type, unless_post};
use crate::shared::{grpc_status, listen};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "loki", aliases: &[], signals: &[Signal::Logs], build };

const HTTP_PORT: u16 = 3500;
const GRPC_PORT: u16 = 3600;

/// A push repeats the labels of a stream in every record that it becomes, so what it may become has a bound of its own.
const RECORDS_BYTES_MAX: usize = 64 << 20;

/// What the receiver runs on.
struct LokiReceiver {
    http: Option<HttpSettings>,
    grpc: Option<GrpcSettings>,
    timestamps: Timestamps,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    let timestamps = match section.get("use_incoming_timestamp").bool().or(false) {
        true => Timestamps::Incoming,
        false => Timestamps::OfReceipt,
    };
    let (http, grpc) = section.child("protocols", |protocols| {
        let http = protocols.child_if_named("http", |http| HttpSettings::read(http, context, HTTP_PORT));
        let grpc = protocols.child_if_named("grpc", |grpc| GrpcSettings::read(grpc, context, GRPC_PORT));
        if http.is_none() && grpc.is_none() {
            protocols.fail("expected at least one protocol: `http:` or `grpc:`");
        }
        (http.flatten(), grpc)
    });
    Some(Box::new(LokiReceiver { http, grpc, timestamps }))
}

impl Receiver for LokiReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl LokiReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let timestamps = self.timestamps;
        let pusher = |transport: &str| Pusher { intake: context.intake(Signal::Logs, transport), timestamps };
        let mut running: Vec<Running> = Vec::new();
        if let Some(settings) = self.http {
            let listener = listen(&settings.endpoint, "loki", "http")?;
            let (answers, pusher) = (Arc::new(settings.answers), Arc::new(pusher("http")));
            let reader = Arc::clone(&answers);
            let route = move |request, _| {
                let (answers, pusher) = (Arc::clone(&reader), Arc::clone(&pusher));
                async move { pusher.answer_http(&answers, request).await }
            };
            let stop = context.stop.token();
            running.push(Box::pin(crate::shared::http::serve(listener, settings.server, answers, route, stop)));
        }
        if let Some(settings) = self.grpc {
            let listener = listen(&settings.endpoint, "loki", "grpc")?;
            let (limits, pusher) = (settings.limits, Arc::new(pusher("grpc")));
            let handler = move |request, _| {
                let pusher = Arc::clone(&pusher);
                async move { pusher.answer_grpc(&limits, request).await }
            };
            let stop = context.stop.token();
            running.push(Box::pin(async move {
                transport::server::serve(listener, settings.server, handler, stop).await;
                Ok(())
            }));
        }
        Ok(Box::pin(async move { try_join_all(running).await.map(drop) }))
    }
}

/// What answers pushes.
struct Pusher {
    /// None where no pipeline takes logs of this receiver.
    intake: Option<Intake>,
    timestamps: Timestamps,
}

type Read = fn(&[u8], &mut Take<'_>) -> Result<(), PushError>;

const NO_PIPELINE: &str = "no pipeline here takes logs from this receiver";

impl Pusher {
    fn batch(&self, read: Read, bytes: &[u8]) -> Result<Batch, PushError> {
        let conversion = Conversion {
            timestamps: self.timestamps,
            received_unix_ns: clock::unix_ns(),
            size_bytes_max: RECORDS_BYTES_MAX,
        };
        to_batch(&conversion, |take| read(bytes, take))
    }

    async fn answer_http(&self, answers: &Answers, request: Request<RequestBody>) -> Response<ResponseBody> {
        let read_json: Read = match request.uri().path() {
            "/loki/api/v1/push" => read_json,
            "/api/prom/push" => read_legacy_json,
            _ => {
                let known = "unknown path; known are /loki/api/v1/push and /api/prom/push";
                return text_response(StatusCode::NOT_FOUND, known);
            }
        };
        if let Some(response) = unless_post(request.method()) {
            return response;
        }
        match self.take(answers, read_json, request).await {
            Ok(()) => {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Err(refusal) => refusal.into_text(),
        }
    }

    async fn take(&self, answers: &Answers, read_json: Read, request: Request<RequestBody>) -> Result<(), Refusal> {
        let intake = self.intake.as_ref().ok_or_else(|| Refusal::wrong(StatusCode::NOT_FOUND, NO_PIPELINE))?;
        let (head, body) = request.into_parts();
        let media_type = media_type(&head.headers);
        let read = match media_type.as_str() {
            "application/json" => read_json,
            // As Loki has it: a body that says nothing of itself is protobuf.
            "application/x-protobuf" | "" => read_protobuf,
            _ => {
                let message = "expected the content type `application/x-protobuf` or `application/json`";
                return Err(Refusal::wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
            }
        };
        let mut bytes = answers.payload(&head.headers, body).await?.bytes;
        if media_type != "application/json" && !is_snappy(&head.headers) {
            bytes = unpack_block(&bytes, answers.bytes_max())?;
        }
        let batch = self.batch(read, &bytes).map_err(|error| Refusal::wrong(status(&error), error.to_string()))?;
        intake.accept(batch).await.map_err(Refusal::from)
    }

    async fn answer_grpc(&self, limits: &GrpcLimits, request: Request<RequestBody>) -> Response<ResponseBody> {
        let path = request.uri().path();
        if path != "/logproto.Pusher/Push" {
            return Status::unknown_method(path).into_response();
        }
        let Some(intake) = &self.intake else {
            return Status::new(Code::Unimplemented, NO_PIPELINE).into_response();
        };
        grpc::unary(request, limits, async |call: UnaryCall| {
            let batch = self.batch(read_protobuf, &call.message).map_err(|error| {
                let code = match error {
                    PushError::TooLarge { .. } => Code::ResourceExhausted,
                    _ => Code::InvalidArgument,
                };
                Status::new(code, error.to_string())
            })?;
            intake.accept(batch).await.map_err(grpc_status)?;
            // `PushResponse` has no fields.
            Ok(Bytes::new())
        })
        .await
    }
}

const fn status(error: &PushError) -> StatusCode {
    match error {
        PushError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Whether the content coding has undone the block of a protobuf body already.
fn is_snappy(headers: &HeaderMap) -> bool {
    let coding = headers.get(http::header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    coding.and_then(Coding::parse) == Some(Coding::Snappy)
}

/// A protobuf body is a snappy block even where no header says so.
fn unpack_block(bytes: &[u8], bytes_max: usize) -> Result<Bytes, Refusal> {
    snappy_block_decompress(bytes, bytes_max).map_err(|error| {
        let too_large = matches!(error, transport::coding::CodingError::TooLarge { .. });
        let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        Refusal::wrong(status, format!("a protobuf push is a snappy block: {error}"))
    })
}
