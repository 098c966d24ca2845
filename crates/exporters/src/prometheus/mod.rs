//! The `prometheus` exporter: serves the latest values at `/metrics`, for Prometheus and its kin to scrape.
//!
//! Specification: the [text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/) and
//! [OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md); names and
//! labels as OpenTelemetry, "Prometheus and OpenMetrics Compatibility", says.
//!
//! A batch is taken into the store while it is encoded: that happens once for each batch, so that no delta is added
//! twice, and it is there that every data point can be refused for a reason of its own. What remains to be sent is the
//! word that it was taken.

mod exemplars;
mod exposition;
mod labels;
mod merge;
mod negotiate;
pub(crate) mod options;
mod refusal;
mod serve;
mod settings;
mod store;
#[cfg(test)]
mod testing;
mod value;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use component::metrics::{Description, Metrics};
use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterContext, ExporterFactory, Failure, Outcome, Rejection,
    Request, Running, StartError, clock,
};
use config::Section;
use http::HeaderMap;
use otlp::{Batch, Signal};
use parking_lot::Mutex;
use transport::endpoint::Endpoint;
use transport::server::{PortSharing, ServerSettings, bind};

use exposition::Timestamps;
use merge::Accumulator;
use negotiate::OpenMetrics;
use refusal::Refusal;
use serve::{Service, Stats};
use settings::Settings;

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "prometheus", aliases: &[], signals: &[Signal::Metrics], build };

struct PrometheusExporter {
    name: String,
    endpoint: Endpoint,
    server: ServerSettings,
    headers: HeaderMap,
    open_metrics: OpenMetrics,
    timestamps: Timestamps,
    accumulator: Arc<Mutex<Accumulator>>,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let settings = Settings::read(section, context)?;
    let exporter = PrometheusExporter {
        name: context.id.to_string(),
        endpoint: settings.endpoint,
        server: settings.server,
        headers: settings.headers,
        open_metrics: settings.open_metrics,
        timestamps: settings.timestamps,
        accumulator: Arc::new(Mutex::new(settings.accumulator)),
    };
    Some(BuiltExporter { exporter: Arc::new(exporter), delivery: settings.delivery })
}

impl Exporter for PrometheusExporter {
    fn start(&self, context: ExporterContext) -> Result<Option<Running>, StartError> {
        let listener = bind(&self.endpoint, PortSharing::Exclusive).map_err(|error| StartError(error.to_string()))?;
        tracing::info!(exporter = self.name, address = %listener.local(), "metrics are served at /metrics");
        self.observe(&context.metrics);
        let service = Arc::new(Service {
            accumulator: Arc::clone(&self.accumulator),
            open_metrics: self.open_metrics,
            timestamps: self.timestamps,
            headers: self.headers.clone(),
            pages: serve::pages(),
            stats: Stats::new(&context.metrics, &self.name),
        });
        let (server, stop) = (self.server.clone(), context.stop.token());
        Ok(Some(Box::pin(async move {
            let handler = move |request, _| {
                let service = Arc::clone(&service);
                async move { service.answer(request).await }
            };
            transport::server::serve(listener, server, handler, stop).await;
            Ok(())
        })))
    }

    fn encode(&self, batch: &Batch) -> Encoded {
        let mut rejected = Vec::new();
        let mut items = u64::from(batch.items());
        if let Some(metrics) = batch.metrics() {
            let refused = self.accumulator.lock().merge(&metrics, clock::mono());
            rejected.extend(refused.iter().map(|(reason, items)| rejection(reason, items)));
            items = items.saturating_sub(refused.total());
        }
        let request = Request { signal: batch.signal(), body: Bytes::new(), items, lane: 0 };
        Encoded { requests: vec![request], rejected }
    }

    fn send<'a>(&'a self, _: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(std::future::ready(Outcome::DELIVERED))
    }
}

impl PrometheusExporter {
    /// How much is held, for whoever watches this process.
    fn observe(&self, metrics: &Metrics) {
        const SERIES: Description = Description::gauge(
            "crossfade_prometheus_exporter_series",
            "Data points that a prometheus exporter exposes; `max_series` is the bound.",
        );
        const SIZE: Description = Description::gauge(
            "crossfade_prometheus_exporter_size_bytes",
            "Memory of what a prometheus exporter exposes; `max_memory_mib` is the bound.",
        );
        let (accumulator, name) = (Arc::clone(&self.accumulator), self.name.clone());
        metrics.observe(move |to| {
            let usage = accumulator.lock().store.usage;
            let labels = [("exporter", name.as_str())];
            to.put(SERIES, &labels, usage.series as f64);
            to.put(SIZE, &labels, usage.size_bytes as f64);
        });
    }
}

fn rejection(reason: Refusal, items: u64) -> Rejection {
    let failure = Failure { cause: reason.cause().into(), detail: reason.detail().to_owned() };
    Rejection { items, failure }
}
