//! The `carbon` exporter: metrics to Graphite in its plaintext protocol, over TCP or a unix stream.
//!
//! The protocol has no answers: what the kernel has taken counts as delivered. So a connection that the other side has
//! closed is noticed before it is used, and what failed while it was written is sent again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use component::{BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Order, Outcome, Request};
use config::Section;
use legacy::carbon::{self, ResourceTags};
use legacy::lines::PayloadLimits;
use otlp::{Batch, Signal};
use transport::endpoint::Endpoint;
use transport::one_way::StreamClient;

use crate::common::delivery;
use crate::lines::{encoded, endpoint, sent};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "carbon", aliases: &[], signals: &[Signal::Metrics], build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const IDLE_CONNECTIONS_DEFAULT: usize = 100;
/// What is written at once: a failure in the middle sends this much again.
const PAYLOAD: PayloadLimits = PayloadLimits { lines_max: usize::MAX, size_bytes_max: 64 << 10 };

struct CarbonExporter {
    client: StreamClient,
    resource: ResourceTags,
}

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<BuiltExporter> {
    let endpoint = endpoint(section, "localhost:2003");
    let endpoint = endpoint.unwrap_or_else(|| Endpoint::Tcp { host: "localhost".to_owned(), port: 2003 });
    let timeout = section.get("timeout").duration().or(TIMEOUT_DEFAULT);
    let idle_connections_max = section.get("max_idle_conns").integer().or(IDLE_CONNECTIONS_DEFAULT);
    let resource = section.child("resource_to_telemetry_conversion", |section| {
        section.unsupported("exclude_service_attributes", "all attributes but those of the service");
        match section.get("enabled").bool().or(false) {
            true => ResourceTags::All,
            false => ResourceTags::None,
        }
    });
    // Graphite keeps the last value of an interval, so the order of samples counts.
    let delivery = delivery(section, timeout, Order::Kept);
    let connect_timeout = if timeout.is_zero() { Duration::from_secs(60) } else { timeout };
    let client = StreamClient::new(endpoint, connect_timeout, idle_connections_max);
    Some(BuiltExporter { exporter: Arc::new(CarbonExporter { client, resource }), delivery })
}

impl Exporter for CarbonExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let (payloads, refused) = carbon::write(batch, self.resource, PAYLOAD);
        encoded(payloads, &refused)
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move { sent(self.client.send(&request.body).await) })
    }
}
