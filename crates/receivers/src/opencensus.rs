//! The `opencensus` receiver: the agent's protocol of OpenCensus over gRPC, for traces and metrics.
//!
//! Specification: `opencensus.proto.agent.{trace,metrics}.v1`. Clients keep one stream open for as long as they live and
//! name their node and resource in its first message. Each message is answered when the journal of every pipeline has
//! it, so that a client that waits for its answers loses nothing; a message for which there is no room ends the stream
//! with `UNAVAILABLE`, and its client opens another.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use component::metrics::{Counter, Description};
use component::{BuildContext, Intake, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use http::{Request, Response};
use legacy::opencensus::{Decoded, Malformed, Stream};
use otlp::Signal;
use tokio_util::sync::CancellationToken;
use transport::grpc::{self, Code, GrpcLimits, Status, StreamCall, UnaryCall};
use transport::server::{RequestBody, ResponseBody};

use crate::shared::grpc::{GrpcSettings, serve};
use crate::shared::{Intakes, grpc_status, intakes, listen};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "opencensus", aliases: &[], signals: &[Signal::Traces, Signal::Metrics], build };

const PORT_DEFAULT: u16 = 55678;

const WITHOUT_KIND: Description = Description::counter(
    "crossfade_receiver_points_without_kind",
    "Data points that OTLP has no kind for, or that were of another kind than their metric said.",
);

struct OpenCensusReceiver(GrpcSettings);

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    section.unsupported("cors_allowed_origins", "the gateway from HTTP and JSON, which it is for");
    Some(Box::new(OpenCensusReceiver(GrpcSettings::read(section, context, PORT_DEFAULT))))
}

impl Receiver for OpenCensusReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl OpenCensusReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let OpenCensusReceiver(settings) = self;
        let listener = listen(&settings.endpoint, "opencensus", "grpc")?;
        let stop = context.stop.token();
        let service = Arc::new(Service {
            intakes: intakes(context, "grpc"),
            limits: settings.limits,
            without_kind: context.metrics.counter(WITHOUT_KIND, &[("receiver", &context.id)]),
            stop: stop.clone(),
        });
        Ok(Box::pin(serve(listener, settings.server, service, answer, stop)))
    }
}

/// What answers calls.
struct Service {
    intakes: Intakes,
    limits: GrpcLimits,
    without_kind: Counter,
    stop: CancellationToken,
}

/// The methods of the agent.
enum Method {
    /// Messages with telemetry, as a stream.
    Export(Signal),
    /// One message with spans.
    ExportOne,
    /// What libraries are configured with. An agent could send them something else.
    Config,
}

impl Method {
    fn of(path: &str) -> Option<Method> {
        match path {
            "/opencensus.proto.agent.trace.v1.TraceService/Export" => Some(Method::Export(Signal::Traces)),
            "/opencensus.proto.agent.metrics.v1.MetricsService/Export" => Some(Method::Export(Signal::Metrics)),
            "/opencensus.proto.agent.trace.v1.TraceService/ExportOne" => Some(Method::ExportOne),
            "/opencensus.proto.agent.trace.v1.TraceService/Config" => Some(Method::Config),
            _ => None,
        }
    }
}

async fn answer(service: Arc<Service>, request: Request<RequestBody>) -> Response<ResponseBody> {
    let path = request.uri().path();
    let Some(method) = Method::of(path) else { return Status::unknown_method(path).into_response() };
    let limits = service.limits;
    match method {
        Method::Export(signal) => {
            let Some(intake) = service.intakes.get(&signal).cloned() else { return not_wanted(signal) };
            grpc::streaming(request, &limits, |call| export(service, signal, intake, call))
        }
        Method::ExportOne => {
            let Some(intake) = service.intakes.get(&Signal::Traces) else { return not_wanted(Signal::Traces) };
            grpc::unary(request, &limits, async |call: UnaryCall| {
                service.take(&mut Stream::default(), Signal::Traces, intake, &call.message).await?;
                Ok(Bytes::new())
            })
            .await
        }
        Method::Config => grpc::streaming(request, &limits, |call| config(service, call)),
    }
}

fn not_wanted(signal: Signal) -> Response<ResponseBody> {
    let message = format!("no pipeline here takes {signal} from this receiver");
    Status::new(Code::Unimplemented, message).into_response()
}

/// Takes messages until the client ends the stream, one of them is refused, or the receiver stops.
async fn export(service: Arc<Service>, signal: Signal, intake: Intake, mut call: StreamCall) -> Result<(), Status> {
    let mut stream = Stream::default();
    while let Some(message) = service.next(&mut call).await? {
        service.take(&mut stream, signal, &intake, &message).await?;
        drop(message);
        // `Export…ServiceResponse` has no fields.
        call.answer(&Bytes::new()).await?;
    }
    Ok(())
}

/// Hears what a library is configured with and leaves it at that: the stream stays open, as libraries expect it.
async fn config(service: Arc<Service>, mut call: StreamCall) -> Result<(), Status> {
    while service.next(&mut call).await?.is_some() {}
    Ok(())
}

impl Service {
    /// The next message. A stream would outlive the receiver, so it is ended when the receiver stops: what was answered
    /// is kept, and the client sends the rest to whoever comes next.
    async fn next(&self, call: &mut StreamCall) -> Result<Option<Bytes>, Status> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Status::new(Code::Unavailable, "the receiver stops")),
            message = call.next() => Ok(message?.map(|message| message.payload)),
        }
    }

    async fn take(&self, stream: &mut Stream, signal: Signal, intake: &Intake, message: &[u8]) -> Result<(), Status> {
        let decoded = match signal {
            Signal::Metrics => stream.metrics(message),
            Signal::Traces | Signal::Logs => stream.traces(message),
        };
        let Decoded { batch, without_kind } = decoded.map_err(|malformed| {
            let code = match malformed {
                Malformed::TooLarge | Malformed::TooLong { .. } => Code::ResourceExhausted,
                Malformed::Protobuf { .. } | Malformed::Broken { .. } => Code::InvalidArgument,
            };
            Status::new(code, malformed.to_string())
        })?;
        if batch.items() > 0 {
            intake.accept(batch).await.map_err(grpc_status)?;
        }
        self.without_kind.add(without_kind);
        Ok(())
    }
}
