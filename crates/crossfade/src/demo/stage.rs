//! Everything that takes part: the pipeline, the shop, the two backends.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::anyhow;
use component::Metrics;
use config::{Diagnostics, TestEnvironment};
use load::dual::{Dual, DualSettings};
use load::receive::{Backend, ReceiveSettings};
use load::shop::{Shop, ShopSettings};
use pipeline::{Engine, Graph};
use transport::endpoint::Endpoint;

use crate::components;

pub(super) struct Stage {
    pub(super) yaml: String,
    pub(super) new: Backend,
    pub(super) legacy: Backend,
    pub(super) engine: Engine,
    /// Counts everything the old way and the new way.
    pub(super) dual: Dual,
    /// Numbers everything that it emits, so that what arrives can be counted item by item.
    pub(super) numbered: Shop,
}

/// Ports that are free now.
#[derive(Clone, Copy, Debug)]
struct Ports {
    statsd: u16,
    otlp: u16,
    numbered: u16,
    metrics: u16,
    new: u16,
    legacy: u16,
}

impl Ports {
    /// All of them are held until all are found, so that none is found twice.
    fn free() -> std::io::Result<Ports> {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let mut held = Vec::new();
        let mut tcp = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok::<u16, std::io::Error>(port)
        };
        let [otlp, numbered, metrics, new, legacy] = [tcp()?, tcp()?, tcp()?, tcp()?, tcp()?];
        Ok(Ports { statsd: udp.local_addr()?.port(), otlp, numbered, metrics, new, legacy })
    }
}

fn loopback(port: u16) -> Endpoint {
    Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }
}

impl Stage {
    pub(super) async fn build(rate_items_per_s: f64) -> anyhow::Result<Stage> {
        let runtime = tokio::runtime::Handle::current();
        let ports = Ports::free()?;
        let new = ReceiveSettings { otlp_grpc: Some(loopback(ports.new)), ..ReceiveSettings::default() };
        let new = Backend::start(new, &runtime)?;
        let legacy = ReceiveSettings { remote_write: Some(loopback(ports.legacy)), ..ReceiveSettings::default() };
        let legacy = Backend::start(legacy, &runtime)?;
        let yaml = yaml(ports);
        let engine = Engine::start(graph(&yaml)?, Metrics::default()).await?;
        let dual = Dual::start(DualSettings {
            statsd: SocketAddr::from(([127, 0, 0, 1], ports.statsd)),
            otlp_endpoint: format!("http://127.0.0.1:{}", ports.otlp),
            metrics_listen: loopback(ports.metrics),
            export_interval: Duration::from_millis(500),
            ..DualSettings::default()
        })?;
        let numbered = Shop::start(ShopSettings {
            otlp_endpoint: format!("http://127.0.0.1:{}", ports.numbered),
            rate_items_per_s,
            ..ShopSettings::default()
        })?;
        Ok(Stage { yaml, new, legacy, engine, dual, numbered })
    }
}

fn graph(yaml: &str) -> anyhow::Result<Graph> {
    let loaded = config::parse_str("demo.yaml", yaml, &TestEnvironment::new()).map_err(|errors| anyhow!("{errors}"))?;
    let mut diagnostics = Diagnostics::new();
    let graph = Graph::build(&loaded.root, &components::registry(), &mut diagnostics);
    let (graph, _) = diagnostics.finish_with(graph).map_err(|errors| anyhow!("{errors}"))?;
    Ok(graph)
}

/// The configuration that runs.
fn yaml(ports: Ports) -> String {
    let Ports { statsd, otlp, numbered, metrics, new, legacy } = ports;
    format!(
        "receivers:
  statsd:
    endpoint: 127.0.0.1:{statsd}
    aggregation_interval: 500ms
    temporality: cumulative
    timer_histogram_mapping:
      - statsd_type: timing
        observer_type: histogram
        histogram:
          explicit_buckets:
            - {{matcher_pattern: '.*', buckets: [5, 10, 25, 50, 100, 250, 500, 1000]}}
  prometheus:
    config:
      scrape_configs:
        - job_name: payment
          scrape_interval: 500ms
          static_configs: [{{targets: ['127.0.0.1:{metrics}']}}]
  otlp:
    protocols: {{grpc: {{endpoint: 127.0.0.1:{otlp}}}}}
  otlp/numbered:   # of neither side: its items are counted one by one at the backends
    protocols: {{grpc: {{endpoint: 127.0.0.1:{numbered}}}}}
processors:
  batch: {{timeout: 200ms, send_batch_size: 2000}}
exporters:
  prometheusremotewrite/legacy:
    endpoint: http://127.0.0.1:{legacy}/api/v1/write
    resource_to_telemetry_conversion: {{enabled: true}}
    target_info: {{enabled: false}}
    retry_on_failure: {{initial_interval: 200ms, max_interval: 1s}}
  otlp/new:
    endpoint: 127.0.0.1:{new}
    tls: {{insecure: true}}
    retry_on_failure: {{initial_interval: 200ms, max_interval: 1s}}
service:
  pipelines:
    metrics/legacy:
      receivers: [statsd, prometheus, otlp/numbered]
      processors: [batch]
      exporters: [prometheusremotewrite/legacy]
    metrics/new:
      receivers: [otlp, otlp/numbered]
      processors: [batch]
      exporters: [otlp/new]
    traces: {{receivers: [otlp/numbered], processors: [batch], exporters: [otlp/new]}}
    logs: {{receivers: [otlp/numbered], processors: [batch], exporters: [otlp/new]}}
migration:
  name: shop
  legacy: {{receivers: [statsd, prometheus], exporters: [prometheusremotewrite/legacy]}}
  new: {{receivers: [otlp], exporters: [otlp/new]}}
  names:
    - {{legacy: shop.orders, new: shop.orders, labels: {{state: shop.order.state}}}}
    - {{legacy: shop.checkout.time, new: shop.checkout.duration, scale: 0.001}}
  # The margin is wide, since there is a minute to prove it and not a day.
  parity: {{margin: 4%, settle: 2s, skew: 100ms, interval: 1s, every: 1s}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_a_configuration_without_errors() {
        let ports = Ports { statsd: 1, otlp: 2, numbered: 3, metrics: 4, new: 5, legacy: 6 };
        graph(&yaml(ports)).unwrap();
    }
}
