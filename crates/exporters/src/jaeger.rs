//! The `jaeger` exporter: spans to Jaeger over gRPC, as `jaeger.api_v2`.
//!
//! Specification: Jaeger's `collector.proto` and `model.proto`; what is mapped to what is `legacy::jaeger`'s. A request
//! carries one process, so a batch becomes at least as many requests as it has resources. Which answers are repeated is
//! the `otlp` exporter's table, with one more: `RESOURCE_EXHAUSTED` is how Jaeger says that it is busy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Order, Outcome, Request, Waiting};
use config::Section;
use config::shapes::{Compression, GrpcClient as Shape};
use http::HeaderMap;
use legacy::jaeger::{PostSpans, to_proto};
use otlp::{Batch, Signal};
use transport::coding::{Coding, Level, compress};
use transport::configured;
use transport::grpc::{Code, Status};
use transport::grpc_client::{GrpcClient, GrpcMessage};

use crate::common::delivery;
use crate::otlp::outcome;

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "jaeger", aliases: &[], signals: &[Signal::Traces], build };

const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// What a server of gRPC takes unless it is told otherwise, before and after decompression.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Requests of one batch that are under way at the same time. Spans need no order.
const LANES: u32 = 4;

struct JaegerExporter {
    client: GrpcClient,
    coding: Coding,
    timeout: Duration,
}

/// A batch as requests in a coding. Exporters that want the same share it.
struct Formed {
    coding: Coding,
    encoded: Encoded,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let shape = Shape::read(section);
    let timeout = shape.timeout.unwrap_or(TIMEOUT_DEFAULT);
    let mut delivery = delivery(section, timeout, Order::Any);
    // Small batches of one process become one request.
    delivery.waiting = Waiting::Together;
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let settings = configured::grpc_client(&shape, credentials, section)?;
    let client = GrpcClient::new(settings).map_err(|error| section.fail(error.to_string())).ok()?;
    let compression = shape.compression.unwrap_or(Compression::None);
    let coding = configured::coding(compression, None).map_or(Coding::Identity, |(coding, _)| coding);
    Some(BuiltExporter { exporter: Arc::new(JaegerExporter { client, coding, timeout }), delivery })
}

fn encode(batch: &Batch, coding: Coding) -> Encoded {
    let request = |(PostSpans { body, items }, lane)| Request {
        signal: Signal::Traces,
        body: match coding {
            Coding::Identity => Bytes::from(body),
            coding => compress(coding, Level::Fast, &body),
        },
        items: u64::from(items),
        lane,
    };
    let requests = to_proto(batch, MESSAGE_BYTES_MAX).into_iter().zip((0..LANES).cycle());
    Encoded { requests: requests.map(request).collect(), rejected: Vec::new() }
}

impl Exporter for JaegerExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let make = || Formed { coding: self.coding, encoded: encode(batch, self.coding) };
        batch.frames().made(|made: &Formed| made.coding == self.coding, make).encoded.clone()
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let message = GrpcMessage { coding: self.coding, payload: request.body.clone() };
            let timeout = Some(self.timeout).filter(|timeout| !timeout.is_zero());
            match self.client.call(POST_SPANS, message, &HeaderMap::new(), timeout).await {
                // `PostSpansResponse` has no fields.
                Ok(_) => Outcome::DELIVERED,
                Err(status) => answered(status),
            }
        })
    }
}

/// Jaeger answers `RESOURCE_EXHAUSTED` when its queue is full, and gRPC does when a message is too large for the server,
/// which it will be the next time as well.
fn answered(status: Status) -> Outcome {
    let busy = status.code == Code::ResourceExhausted && !status.message.contains("larger than max");
    match outcome(status) {
        Outcome::Reject { failure } if busy => Outcome::Retry { after: None, failure },
        outcome => outcome,
    }
}
