//! The `zipkin` receiver: spans of versions 1 and 2 over HTTP, in JSON, protobuf and Thrift.
//!
//! Specification: Zipkin's `zipkin2-api.yaml` and `zipkin-api.yaml`. What a pipeline took is answered with `202`, what
//! there is no room for with `503` and `Retry-After`, and what is wrong with `400` and the place of the fault.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Intake, Receiver, ReceiverContext, ReceiverFactory, Refused, Running, StartError};
use config::Section;
use http::{HeaderMap, Request, Response, StatusCode};
use legacy::zipkin::{Encoding, StringTags, decode};
use otlp::Signal;
use transport::server::{RequestBody, ResponseBody, text_response};

use crate::shared::http::{Answers, HttpSettings, Refusal, media_type, unless_post};
use crate::shared::listen;

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "zipkin", aliases: &[], signals: &[Signal::Traces], build };

const PORT_DEFAULT: u16 = 9411;

/// The forms of a payload, with their names among the counters, which are the Collector's.
const FORMS: [(Encoding, &str); 4] = [
    (Encoding::JsonV2, "http_v2_json"),
    (Encoding::ProtobufV2, "http_v2_proto"),
    (Encoding::JsonV1, "http_v1_json"),
    (Encoding::ThriftV1, "http_v1_thrift"),
];

struct ZipkinReceiver {
    http: HttpSettings,
    string_tags: StringTags,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    let string_tags = match section.get("parse_string_tags").bool().or(false) {
        true => StringTags::Parsed,
        false => StringTags::Kept,
    };
    // The Collector's options stood among the receiver's own first, and moved to `protocols.http` later.
    let named = section.child("protocols", |protocols| {
        protocols.child_if_named("http", |http| HttpSettings::read(http, context, PORT_DEFAULT))
    });
    let http = match named {
        Some(http) => http,
        None => HttpSettings::read(section, context, PORT_DEFAULT),
    };
    Some(Box::new(ZipkinReceiver { http: http?, string_tags }))
}

impl Receiver for ZipkinReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl ZipkinReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let HttpSettings { endpoint, server, answers } = self.http;
        let listener = listen(&endpoint, "zipkin", "http")?;
        let answers = Arc::new(answers);
        let intakes = FORMS.map(|(encoding, label)| (encoding, context.intake(Signal::Traces, label)));
        let service = Arc::new(Service { intakes, string_tags: self.string_tags, answers: Arc::clone(&answers) });
        let route = move |request, _| {
            let service = Arc::clone(&service);
            async move { service.answer(request).await }
        };
        Ok(Box::pin(crate::shared::http::serve(listener, server, answers, route, context.stop.token())))
    }
}

/// What answers requests.
struct Service {
    intakes: [(Encoding, Option<Intake>); 4],
    string_tags: StringTags,
    answers: Arc<Answers>,
}

impl Service {
    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let version = match request.uri().path() {
            "/api/v2/spans" => Version::V2,
            "/api/v1/spans" => Version::V1,
            _ => {
                let known = "unknown path; known are /api/v2/spans and /api/v1/spans";
                return text_response(StatusCode::NOT_FOUND, known);
            }
        };
        if let Some(response) = unless_post(request.method()) {
            return response;
        }
        let Some(encoding) = encoding(version, request.headers()) else {
            let expected = "Thrift is a form of version 1: expected JSON or protobuf here, or the path /api/v1/spans";
            return text_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected);
        };
        match self.take(encoding, request).await {
            Ok(()) => {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(refusal) => refusal.into_text(),
        }
    }

    async fn take(&self, encoding: Encoding, request: Request<RequestBody>) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let payload = self.answers.payload(&head.headers, body).await?;
        let batch = decode(encoding, &payload.bytes, self.string_tags);
        let batch = batch.map_err(|error| Refusal::wrong(StatusCode::BAD_REQUEST, error.to_string()))?;
        // What was made of it does not need it any more, and may have to wait.
        drop(payload);
        let intake = self.intakes.iter().find(|(of, _)| *of == encoding).and_then(|(_, intake)| intake.as_ref());
        let intake = intake.ok_or_else(|| Refused::Permanent { cause: "no pipeline takes traces here".to_owned() })?;
        intake.accept(batch).await.map_err(Refusal::from)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What is neither protobuf nor Thrift is JSON, whatever its sender calls it, as in the Collector.
fn encoding(version: Version, headers: &HeaderMap) -> Option<Encoding> {
    match (version, media_type(headers).as_str()) {
        (Version::V2, "application/x-protobuf" | "application/protobuf") => Some(Encoding::ProtobufV2),
        (Version::V2, "application/x-thrift") => None,
        (Version::V2, _) => Some(Encoding::JsonV2),
        (Version::V1, "application/x-thrift") => Some(Encoding::ThriftV1),
        (Version::V1, _) => Some(Encoding::JsonV1),
    }
}
