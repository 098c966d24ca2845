//! The `prometheus` receiver: scrapes targets as a Prometheus server does, and makes OTLP of what they expose.
//!
//! It takes a whole Prometheus scrape configuration. Each target has a task of its own; scrapes are spread over the
//! interval. A scrape is handed over as one batch, with `up` and `scrape_*` beside its series, and a staleness marker
//! for each series that vanished.

mod discovery;
mod scrape;
mod series;
mod settings;
mod target;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use otlp::Signal;
use prom::scrape::MetricNames;
use tokio::task::JoinSet;
use transport::http_client::HttpClient;

use settings::{Addresses, Job};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "prometheus", aliases: &[], signals: &[Signal::Metrics], build };

struct PrometheusReceiver {
    id: String,
    jobs: Vec<Job>,
    names: MetricNames,
    series_max: u64,
}

/// `max_series_per_target`: what is remembered of a target has a bound, whatever it exposes.
const SERIES_MAX_DEFAULT: u64 = 1_000_000;

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    let link_local = section.get("allow_link_local_addresses").bool().or(false);
    let addresses = if link_local { Addresses::All } else { Addresses::ButLinkLocal };
    let names = match section.get("trim_metric_suffixes").bool().or(false) {
        true => MetricNames::Trimmed,
        false => MetricNames::AsExposed,
    };
    let series_max = section.get("max_series_per_target").integer().range(1..).or(SERIES_MAX_DEFAULT);
    section.unsupported("target_allocator", "targets from a target allocator");
    section.unsupported("api_server", "Prometheus' HTTP API");
    section.unsupported("use_start_time_metric", "start times from a metric");
    section.unsupported("start_time_metric_regex", "start times from a metric");
    section.unsupported("ignore_metadata", "series without their metadata");
    section.without_effect("report_extra_scrape_metrics", "use `extra_scrape_metrics` of the scrape configuration");
    let has_config = section.node("config").is_some_and(|node| !node.is_null());
    let jobs = section.child("config", |config| settings::read(config, addresses));
    if !has_config || jobs.is_empty() {
        section.error("config", "expected a Prometheus configuration with `scrape_configs`");
    }
    for job in &jobs {
        if let Err(error) = HttpClient::new(job.client.clone()) {
            section.error("config", format!("the TLS settings of the job `{}`: {error}", job.name));
        }
    }
    Some(Box::new(PrometheusReceiver { id: context.id.to_string(), jobs, names, series_max }))
}

impl Receiver for PrometheusReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.begin(&context) })
    }
}

impl PrometheusReceiver {
    fn begin(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let Some(intake) = context.intake(Signal::Metrics, "http") else {
            return Err(StartError("no pipeline of metrics names this receiver".to_owned()));
        };
        let mut jobs = JoinSet::new();
        for job in self.jobs {
            let client = HttpClient::new(job.client.clone()).map_err(|error| StartError(error.to_string()))?;
            let scraper = scrape::Scraper {
                client,
                intake: intake.clone(),
                names: self.names,
                series_max: self.series_max,
                meters: scrape::Meters::new(&context.metrics, &self.id, &job.name),
                job: Arc::new(job),
            };
            jobs.spawn(watch::run(Arc::new(scraper), context.stop.clone()));
        }
        Ok(Box::pin(async move {
            while jobs.join_next().await.is_some() {}
            Ok(())
        }))
    }
}
