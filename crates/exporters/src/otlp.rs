//! The `otlp` exporter: OTLP over gRPC.
//!
//! Specification: OTLP 1.x, section "OTLP/gRPC". Which answers are repeated follows its table of codes;
//! `RESOURCE_EXHAUSTED` is repeated only with `RetryInfo`. A partial success is final.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use component::{BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Failure, Order, Outcome, Request};
use config::Section;
use config::shapes::{Compression, GrpcClient as Shape};
use http::HeaderMap;
use otlp::response::ExportResponse;
use otlp::{Batch, Signal};
use transport::coding::{Coding, Level};
use transport::configured;
use transport::grpc::{Code, Status};
use transport::grpc_client::{GrpcClient, GrpcMessage};

use crate::common::{answered, delivery, payload};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "otlp", aliases: &["otlp_grpc"], signals: &Signal::ALL, build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

struct OtlpExporter {
    client: GrpcClient,
    coding: Coding,
    timeout: Duration,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let shape = Shape::read(section);
    let timeout = shape.timeout.unwrap_or(TIMEOUT_DEFAULT);
    let delivery = delivery(section, timeout, Order::Any);
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let settings = configured::grpc_client(&shape, credentials, section)?;
    let client = GrpcClient::new(settings).map_err(|error| section.fail(error.to_string())).ok()?;
    let compression = shape.compression.unwrap_or(Compression::Gzip);
    let coding = configured::coding(compression, None).map_or(Coding::Identity, |(coding, _)| coding);
    Some(BuiltExporter { exporter: Arc::new(OtlpExporter { client, coding, timeout }), delivery })
}

const fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

impl Exporter for OtlpExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        Encoded::one(batch, payload(batch, self.coding, Level::Fast))
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let message = GrpcMessage { coding: self.coding, payload: request.body.clone() };
            let timeout = Some(self.timeout).filter(|timeout| !timeout.is_zero());
            match self.client.call(path(request.signal), message, &HeaderMap::new(), timeout).await {
                Ok(answer) => answered(request.signal, ExportResponse::decode(request.signal, &answer)),
                Err(status) => outcome(status),
            }
        })
    }
}

/// OTLP/gRPC, "Failures": which codes may be repeated.
pub(crate) fn outcome(status: Status) -> Outcome {
    let again = match status.code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => status.retry_after.is_some(),
        _ => false,
    };
    let cause = format!("grpc_{}", status.code.name().to_ascii_lowercase());
    let failure = Failure { cause: cause.into(), detail: status.message };
    match again {
        true => Outcome::Retry { after: status.retry_after, failure },
        false => Outcome::Reject { failure },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, retry_after: Option<Duration>, expected: &str) {
        let mut status = Status::new(code, "why");
        status.retry_after = retry_after;
        let said = match outcome(status) {
            Outcome::Delivered { .. } => "delivered".to_owned(),
            Outcome::Retry { after, failure } => format!("retry after {after:?}: {}", failure.cause),
            Outcome::Reject { failure } => format!("reject: {}", failure.cause),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn unavailable_is_repeated_when_the_backend_wants_it() {
        check(Code::Unavailable, Some(Duration::from_secs(3)), "retry after Some(3s): grpc_unavailable");
    }

    #[test]
    fn resource_exhausted_is_repeated_only_with_retry_info() {
        check(Code::ResourceExhausted, None, "reject: grpc_resource_exhausted");
        check(Code::ResourceExhausted, Some(Duration::ZERO), "retry after Some(0ns): grpc_resource_exhausted");
    }

    #[test]
    fn an_invalid_argument_is_final() {
        check(Code::InvalidArgument, None, "reject: grpc_invalid_argument");
    }
}
