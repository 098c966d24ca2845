//! The `jaeger` receiver: spans of Jaeger's clients and agents, over gRPC (`jaeger.api_v2`), over HTTP and UDP (Thrift).
//!
//! What is mapped to what is `legacy::jaeger`'s. Over gRPC and HTTP a batch is acknowledged when the journal of every
//! pipeline has it. Datagrams have no answer: what is lost of them is counted by cause, for each socket.

mod grpc;
mod http;
mod udp;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Intake, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use futures_util::future::try_join_all;
use legacy::thrift::Protocol;
use otlp::Signal;

use crate::shared::grpc::{GrpcSettings, serve as serve_grpc};
use crate::shared::http::HttpSettings;
use crate::shared::listen;
use udp::UdpSettings;

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "jaeger", aliases: &[], signals: &[Signal::Traces], build };

/// What the receiver runs on.
struct JaegerReceiver {
    grpc: Option<GrpcSettings>,
    thrift_http: Option<HttpSettings>,
    udp: Vec<UdpSettings>,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    section.unsupported(
        "remote_sampling",
        "sampling strategies are not served, nor are they by the Collector since v0.61; let clients ask Jaeger for them",
    );
    let receiver = section.child("protocols", |protocols| {
        let grpc = protocols.child_if_named("grpc", |grpc| GrpcSettings::read(grpc, context, 14250));
        let thrift_http = protocols.child_if_named("thrift_http", |http| HttpSettings::read(http, context, 14268));
        let compact = protocols.child_if_named("thrift_compact", |udp| UdpSettings::read(udp, Protocol::Compact));
        let binary = protocols.child_if_named("thrift_binary", |udp| UdpSettings::read(udp, Protocol::Binary));
        let udp: Vec<UdpSettings> = compact.into_iter().chain(binary).collect();
        if grpc.is_none() && thrift_http.is_none() && udp.is_empty() {
            protocols
                .fail("expected at least one protocol: `grpc:`, `thrift_http:`, `thrift_compact:` or `thrift_binary:`");
        }
        JaegerReceiver { grpc, thrift_http: thrift_http.flatten(), udp }
    });
    Some(Box::new(receiver))
}

impl Receiver for JaegerReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl JaegerReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let mut running: Vec<Running> = Vec::new();
        if let Some(settings) = self.grpc {
            let listener = listen(&settings.endpoint, "jaeger", "grpc")?;
            let service = grpc::Service { intake: intake(context, "grpc")?, limits: settings.limits };
            running.push(Box::pin(serve_grpc(
                listener,
                settings.server,
                Arc::new(service),
                grpc::answer,
                context.stop.token(),
            )));
        }
        if let Some(settings) = self.thrift_http {
            let listener = listen(&settings.endpoint, "jaeger", "thrift_http")?;
            let answers = Arc::new(settings.answers);
            let intake = intake(context, "collector_http")?;
            let service = Arc::new(http::Service { intake, answers: Arc::clone(&answers) });
            let route = move |request, _| {
                let service = Arc::clone(&service);
                async move { service.answer(request).await }
            };
            let stop = context.stop.token();
            running.push(Box::pin(crate::shared::http::serve(listener, settings.server, answers, route, stop)));
        }
        for settings in self.udp {
            let intake = intake(context, settings.transport())?;
            running.push(settings.bind(intake, context)?);
        }
        Ok(Box::pin(async move { try_join_all(running).await.map(drop) }))
    }
}

/// The way in of spans. The names of the transports are the Collector's.
fn intake(context: &ReceiverContext, transport: &str) -> Result<Intake, StartError> {
    let intake = context.intake(Signal::Traces, transport);
    intake.ok_or_else(|| StartError("no pipeline takes traces from this receiver".to_owned()))
}
