//! The `otlp` receiver: OTLP over gRPC and HTTP, protobuf and JSON.
//!
//! Specification: OTLP 1.x, sections "OTLP/gRPC" and "OTLP/HTTP". A request is acknowledged when the journal of every
//! pipeline has it. What there is no room for is refused with `UNAVAILABLE` and `RetryInfo`, or with `503` and
//! `Retry-After`; what is wrong is refused for good, with the place of the fault.

mod grpc;
mod http;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use futures_util::future::try_join_all;
use otlp::{Batch, ContentEncoding, Limits, Signal};
use transport::coding::Coding;
use transport::server::CompressedFrame;

use crate::shared::grpc::{GrpcSettings, serve as serve_grpc};
use crate::shared::http::HttpSettings;
use crate::shared::{intakes, listen};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "otlp", aliases: &[], signals: &Signal::ALL, build };

/// What the receiver runs on.
struct OtlpReceiver {
    grpc: Option<GrpcSettings>,
    http: Option<(HttpSettings, [(Signal, String); 3])>,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    let (grpc, http) = section.child("protocols", |protocols| {
        let grpc = protocols.child_if_named("grpc", |grpc| GrpcSettings::read(grpc, context, 4317));
        let http = protocols.child_if_named("http", |http| read_http(http, context));
        if grpc.is_none() && http.is_none() {
            protocols.fail("expected at least one protocol: `grpc:` or `http:`");
        }
        (grpc, http.flatten())
    });
    Some(Box::new(OtlpReceiver { grpc, http }))
}

fn read_http(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<(HttpSettings, [(Signal, String); 3])> {
    let mut path = |key: &'static str, default: &str| {
        let rooted = |path: &String| path.starts_with('/');
        section.get(key).string().ensure("a path that starts with `/`", rooted).or(default.to_owned())
    };
    let paths = [
        (Signal::Traces, path("traces_url_path", "/v1/traces")),
        (Signal::Metrics, path("metrics_url_path", "/v1/metrics")),
        (Signal::Logs, path("logs_url_path", "/v1/logs")),
    ];
    Some((HttpSettings::read(section, context, 4318)?, paths))
}

impl Receiver for OtlpReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl OtlpReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let mut running: Vec<Running> = Vec::new();
        if let Some(settings) = self.grpc {
            let listener = listen(&settings.endpoint, "otlp", "grpc")?;
            let service = Arc::new(grpc::Service { intakes: intakes(context, "grpc"), limits: settings.limits });
            running.push(Box::pin(serve_grpc(listener, settings.server, service, grpc::answer, context.stop.token())));
        }
        if let Some((settings, paths)) = self.http {
            let listener = listen(&settings.endpoint, "otlp", "http")?;
            let answers = Arc::new(settings.answers);
            let paths = paths.into_iter().map(|(signal, path)| (path, signal)).collect();
            let service = http::Service { intakes: intakes(context, "http"), paths, answers: Arc::clone(&answers) };
            let service = Arc::new(service);
            let route = move |request, _| {
                let service = Arc::clone(&service);
                async move { service.answer(request).await }
            };
            let stop = context.stop.token();
            running.push(Box::pin(crate::shared::http::serve(listener, settings.server, answers, route, stop)));
        }
        Ok(Box::pin(async move { try_join_all(running).await.map(drop) }))
    }
}

/// Checks a protobuf payload and keeps the frame it came in, so that it can be forwarded as it is.
fn batch(signal: Signal, payload: bytes::Bytes, frame: Option<CompressedFrame>) -> Result<Batch, otlp::Malformed> {
    let batch = Batch::parse(signal, payload, &Limits::default())?;
    let encoded = frame.and_then(|frame| Some((encoding(frame.coding)?, frame.bytes)));
    Ok(match encoded {
        Some((encoding, bytes)) => batch.with_frame(encoding, bytes),
        None => batch,
    })
}

/// Codings whose frames mean the same to every receiver. Snappy does not: some read blocks under that name.
fn encoding(coding: Coding) -> Option<ContentEncoding> {
    match coding {
        Coding::Gzip => Some(ContentEncoding::Gzip),
        Coding::Zstd => Some(ContentEncoding::Zstd),
        Coding::Deflate => Some(ContentEncoding::Deflate),
        Coding::Lz4 => Some(ContentEncoding::Lz4),
        Coding::Identity | Coding::Snappy => None,
    }
}
