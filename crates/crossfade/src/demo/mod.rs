//! `crossfade demo`: a small shop, two backends of different kinds, and a failure, in one process and under a minute.
//!
//! The shop emits OTLP and exposes `/metrics`. The pipeline that runs is an ordinary configuration, shown first. The
//! legacy backend refuses everything for a while; the new one must not notice. At the end, what the backends counted is
//! compared item by item.

mod screen;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use component::{Metrics, clock};
use config::{Diagnostics, TestEnvironment};
use load::receive::{Backend, Counts, Detail, Fault, ReceiveSettings};
use load::shop::{Shop, ShopSettings};
use load::verdict::{self, Agreement, Outcome, Verdict};
use otlp::Signal;
use pipeline::{Engine, Graph, Line, Rest};
use transport::endpoint::Endpoint;

use crate::components;
use crate::signals::Signals;
use screen::{Scene, Screen};

/// What `demo` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Items a second that the shop emits by OTLP.
    #[arg(long, value_name = "ITEMS", default_value_t = 3000.0)]
    rate: f64,
}

/// The acts of the demo, in seconds from its start.
const FAILS_AT: Duration = Duration::from_secs(7);
const HEALS_AT: Duration = Duration::from_secs(19);
const CLOSES_AT: Duration = Duration::from_secs(32);
/// How long the shop's last items may take.
const DRAIN_MAX: Duration = Duration::from_secs(15);
const FRAME: Duration = Duration::from_millis(500);

pub(crate) fn demo(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(play(arguments))
}

async fn play(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let stage = Stage::build(arguments).await?;
    let mut screen = Screen::open();
    screen.introduce(&stage.yaml)?;
    let ended = tokio::select! {
        ended = stage.play(&mut screen) => ended?,
        _ = signals.next() => return Err(anyhow!("interrupted before the verdict")),
    };
    screen.conclude(&ended)?;
    Ok(if ended.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that takes part.
struct Stage {
    yaml: String,
    new: Backend,
    legacy: Backend,
    engine: Engine,
    shop: Shop,
}

/// What the demo ends with.
struct Ended {
    rest: Rest,
    /// How often the ledger was looked at, and how often it did not balance.
    looks: u32,
    unbalanced_looks: u32,
    verdicts: Vec<Verdict>,
    agreement: Agreement,
}

impl Ended {
    fn is_good(&self) -> bool {
        let settled = self.rest.lines.iter().all(|line| line.balances() && line.delivered == line.accepted);
        let exact = self.verdicts.iter().all(|verdict| verdict.outcome == Outcome::Exact);
        settled && exact && self.unbalanced_looks == 0 && self.agreement.is_equal()
    }
}

fn loopback(port: u16) -> Endpoint {
    Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }
}

/// A port that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Stage {
    async fn build(arguments: &DemoArguments) -> anyhow::Result<Stage> {
        let runtime = tokio::runtime::Handle::current();
        let (otlp, write, intake, shop) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let new = ReceiveSettings { otlp_grpc: Some(loopback(otlp)), ..ReceiveSettings::default() };
        let new = Backend::start(new, &runtime)?;
        let legacy = ReceiveSettings { remote_write: Some(loopback(write)), ..ReceiveSettings::default() };
        let legacy = Backend::start(legacy, &runtime)?;
        let yaml = yaml(intake, shop, otlp, write);
        let engine = Engine::start(graph(&yaml)?, Metrics::default()).await?;
        let settings = ShopSettings {
            otlp_endpoint: format!("http://127.0.0.1:{intake}"),
            metrics_listen: loopback(shop),
            rate_items_per_s: arguments.rate,
            ..ShopSettings::default()
        };
        let shop = Shop::start(settings)?;
        Ok(Stage { yaml, new, legacy, engine, shop })
    }

    async fn play(self, screen: &mut Screen) -> anyhow::Result<Ended> {
        let started = clock::mono();
        let (mut looks, mut unbalanced_looks) = (0, 0);
        let mut frames = tokio::time::interval(FRAME);
        loop {
            frames.tick().await;
            let elapsed = started.elapsed();
            let failing = (FAILS_AT..HEALS_AT).contains(&elapsed);
            let wanted = if failing { Fault::Refuse { retry_after_ms: None } } else { Fault::Healthy };
            if self.legacy.fault() != wanted {
                self.legacy.set_fault(wanted, None);
            }
            let lines = self.engine.ledger().lines();
            looks += 1;
            unbalanced_looks += u32::from(!lines.iter().all(Line::balances));
            let scene = Scene {
                elapsed,
                lines: &lines,
                journal_bytes: self.engine.ledger().retained_bytes(),
                act: act(elapsed),
                now_unix_ns: clock::unix_ns(),
            };
            screen.draw(&scene)?;
            if elapsed >= CLOSES_AT {
                break;
            }
        }
        screen.say("The shop closes; what was accepted is delivered.")?;
        let reports = self.shop.close().await;
        let rest = self.engine.stop(DRAIN_MAX).await;
        let (new, legacy) = (self.new.counts(Detail::Workers), self.legacy.counts(Detail::Workers));
        let verdicts = vec![
            verdict::judge("otlp/new", &Signal::ALL, &reports, &new),
            verdict::judge("prometheusremotewrite/legacy", &[Signal::Metrics], &reports, &legacy),
        ];
        let agreement = agreement(&new, &legacy);
        Ok(Ended { rest, looks, unbalanced_looks, verdicts, agreement })
    }
}

/// Both backends got the metrics: what is scraped, and what is pushed.
fn agreement(new: &Counts, legacy: &Counts) -> Agreement {
    verdict::agreement(Signal::Metrics, new, legacy)
}

fn act(elapsed: Duration) -> String {
    if elapsed < FAILS_AT {
        format!("both backends are well; the legacy one fails in {} s", (FAILS_AT - elapsed).as_secs() + 1)
    } else if elapsed < HEALS_AT {
        format!("the legacy backend refuses everything, for {} s more", (HEALS_AT - elapsed).as_secs() + 1)
    } else {
        format!("both backends are well; the shop closes in {} s", CLOSES_AT.saturating_sub(elapsed).as_secs() + 1)
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
fn yaml(intake: u16, shop: u16, otlp: u16, write: u16) -> String {
    format!(
        "receivers:
  otlp:
    protocols:
      grpc: {{endpoint: 127.0.0.1:{intake}}}
  prometheus:
    config:
      scrape_configs:
        - {{job_name: shop, scrape_interval: 2s, static_configs: [{{targets: ['127.0.0.1:{shop}']}}]}}
processors:
  batch: {{timeout: 200ms, send_batch_size: 2000}}
exporters:
  otlp/new:
    endpoint: 127.0.0.1:{otlp}
    tls: {{insecure: true}}
    retry_on_failure: {{initial_interval: 200ms, max_interval: 1s}}
  prometheusremotewrite/legacy:
    endpoint: http://127.0.0.1:{write}/api/v1/write
    resource_to_telemetry_conversion: {{enabled: true}}
    target_info: {{enabled: false}}
    retry_on_failure: {{initial_interval: 200ms, max_interval: 1s}}
service:
  pipelines:
    metrics: {{receivers: [otlp, prometheus], processors: [batch], exporters: [otlp/new, prometheusremotewrite/legacy]}}
    traces: {{receivers: [otlp], processors: [batch], exporters: [otlp/new]}}
    logs: {{receivers: [otlp], processors: [batch], exporters: [otlp/new]}}
"
    )
}
