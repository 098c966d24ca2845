//! `crossfade load`: traffic, and counting backends, to size a deployment and to prove that nothing is lost.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Subcommand, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue};
use load::RunId;
use load::payload::PayloadSettings;
use load::receive::{Backend, Detail, Fault, FaultPlan, ReceiveSettings};
use load::send::{Amount, Destination, Protocol, Rate, SendSettings, Sending};
use load::statsd::{StatsdSettings, send_statsd};
use load::targets::{TargetSettings, Targets};
use otlp::Signal;
use transport::coding::Coding;
use transport::endpoint::Endpoint;

use crate::Format;
use crate::signals::Signals;

/// What `load` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArguments {
    #[command(subcommand)]
    command: LoadCommand,
}

#[derive(Debug, Subcommand)]
enum LoadCommand {
    /// Send OTLP traffic whose every item has an identity.
    Send(SendArguments),
    /// Receive, count, and find what is missing and what came twice.
    Receive(ReceiveArguments),
    /// Send StatsD packets over UDP, and count them.
    Statsd(StatsdArguments),
    /// Expose scrape targets whose every value has an identity.
    Targets(TargetsArguments),
}

#[derive(Debug, clap::Args)]
struct SendArguments {
    /// What is spoken: otlp-grpc, otlp-http or otlp-http-json.
    #[arg(long, value_name = "PROTOCOL", default_value = "otlp-grpc")]
    to: Protocol,
    /// Where to send.
    #[arg(long, value_name = "URL", default_value = "http://localhost:4317")]
    endpoint: String,
    /// What is sent.
    #[arg(long, value_enum, default_value = "all")]
    signal: SignalChoice,
    /// Items a second, of all signals together; 0: as fast as requests are acknowledged.
    #[arg(long, value_name = "ITEMS", default_value_t = 0.0)]
    rate: f64,
    /// How long to send.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = config::duration::parse_go)]
    duration: Duration,
    /// How many items to send, instead of for how long.
    #[arg(long, value_name = "ITEMS", conflicts_with = "duration")]
    items: Option<u64>,
    /// Connections.
    #[arg(long, default_value_t = 2)]
    connections: u16,
    /// Requests under way on each connection.
    #[arg(long, value_name = "REQUESTS", default_value_t = 4)]
    in_flight: u16,
    /// Spans, data points or log records of a request.
    #[arg(long, default_value_t = 200)]
    items_per_request: u32,
    /// none, gzip, zstd, deflate, snappy or lz4.
    #[arg(long, default_value = "none", value_parser = parse_coding)]
    compression: Coding,
    /// A header of every request, as `name: value`; repeat it for several.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A refused request is tried again for so long.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::duration::parse_go)]
    retry_for: Duration,
    /// The run that all items belong to; backends count by run.
    #[arg(long, default_value_t = 1)]
    run_id: u32,
    /// Chooses the texts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct ReceiveArguments {
    /// Where OTLP over gRPC is received, as `host:port`.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_endpoint)]
    otlp_grpc: Option<Endpoint>,
    /// Where OTLP over HTTP is received.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_endpoint)]
    otlp_http: Option<Endpoint>,
    /// Where remote write 1.0 is received, under any path.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_endpoint)]
    remote_write: Option<Endpoint>,
    /// Where `GET /counts` and `POST /fault` are served; whoever reaches it may make the backend fail.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_endpoint)]
    admin: Option<Endpoint>,
    /// What goes wrong: refuse[:ms], throttle[:ms], hang, reject, slow:ms, partial_success:items, swallow, lose_answer.
    #[arg(long, value_name = "FAULT")]
    fail: Option<Fault>,
    /// When it begins.
    #[arg(long, value_name = "DURATION", default_value = "0s", requires = "fail", value_parser = config::duration::parse_go)]
    fail_after: Duration,
    /// How long it lasts; without it, to the end.
    #[arg(long, value_name = "DURATION", requires = "fail", value_parser = config::duration::parse_go)]
    fail_for: Option<Duration>,
    /// How the counts are written at the end.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct TargetsArguments {
    /// Where all targets are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9100", value_parser = parse_endpoint)]
    listen: Endpoint,
    /// How many targets there are; `/sd` lists them for http discovery.
    #[arg(long, default_value_t = 1)]
    targets: u16,
    /// Samples of each page.
    #[arg(long, value_name = "SAMPLES", default_value_t = 1000)]
    series: u32,
    /// After so many pages a series ends and another one takes its place.
    #[arg(long, value_name = "PAGES")]
    lifetime_pages: Option<NonZeroU32>,
    /// The run that the values belong to.
    #[arg(long, default_value_t = 1)]
    run_id: u32,
    /// Chooses the labels.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct StatsdArguments {
    /// Where to send.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8125")]
    to: SocketAddr,
    /// Packets a second, of all threads together; 0: as fast as they go.
    #[arg(long, value_name = "PACKETS", default_value_t = 1000.0)]
    rate: f64,
    /// How long to send.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = config::duration::parse_go)]
    duration: Duration,
    /// Threads, each with a socket of its own.
    #[arg(long, default_value_t = 1)]
    threads: u16,
    /// Lines of each packet.
    #[arg(long, value_name = "LINES", default_value_t = 30)]
    lines_per_packet: u32,
    /// Different series, each a counter that every line raises by one.
    #[arg(long, default_value_t = 10_000)]
    series: u32,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SignalChoice {
    Traces,
    Metrics,
    Logs,
    All,
}

impl SignalChoice {
    fn signals(self) -> Vec<Signal> {
        match self {
            SignalChoice::Traces => vec![Signal::Traces],
            SignalChoice::Metrics => vec![Signal::Metrics],
            SignalChoice::Logs => vec![Signal::Logs],
            SignalChoice::All => Signal::ALL.to_vec(),
        }
    }
}

fn parse_coding(text: &str) -> Result<Coding, String> {
    Coding::parse(text).ok_or_else(|| "expected none, gzip, zstd, deflate, snappy or lz4".to_owned())
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text).map_err(|error| error.to_string())
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no header name"))?;
    let value = value.trim().parse().map_err(|_| "the value has characters that no header can carry")?;
    Ok((name, value))
}

pub(crate) fn load(arguments: LoadArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        match arguments.command {
            LoadCommand::Send(arguments) => send(arguments).await,
            LoadCommand::Receive(arguments) => receive(arguments).await,
            LoadCommand::Targets(arguments) => targets(arguments).await,
            LoadCommand::Statsd(arguments) => statsd(arguments).await,
        }
    })
}

async fn send(arguments: SendArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let mut destination = Destination::new(arguments.to, arguments.endpoint);
    destination.compression = arguments.compression;
    destination.headers = HeaderMap::from_iter(arguments.headers);
    destination.retry_for = arguments.retry_for;
    let payload = PayloadSettings {
        items_per_request: arguments.items_per_request,
        seed: arguments.seed,
        ..PayloadSettings::default()
    };
    let settings = SendSettings {
        signals: arguments.signal.signals(),
        rate: if arguments.rate > 0.0 { Rate::ItemsPerS(arguments.rate) } else { Rate::Unlimited },
        amount: arguments.items.map_or(Amount::Duration(arguments.duration), Amount::Items),
        connections: arguments.connections,
        in_flight_per_connection: arguments.in_flight,
        payload,
        ..SendSettings::new(destination, RunId(arguments.run_id))
    };
    let sending = Sending::start(settings)?;
    let report = tokio::select! {
        report = sending.wait() => report,
        // Dropping the run stops it.
        _ = signals.next() => return Err(anyhow!("interrupted before the end; there is no report")),
    };
    write(arguments.format, &report)?;
    Ok(ExitCode::SUCCESS)
}

async fn receive(arguments: ReceiveArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    if arguments.otlp_grpc.is_none() && arguments.otlp_http.is_none() && arguments.remote_write.is_none() {
        return Err(anyhow!("nowhere to receive: give --otlp-grpc, --otlp-http or --remote-write an address"));
    }
    let faults = match (arguments.fail, arguments.fail_for) {
        (None, _) => FaultPlan::default(),
        (Some(fault), None) if arguments.fail_after.is_zero() => FaultPlan::always(fault),
        (Some(fault), lasts) => FaultPlan::once(fault, arguments.fail_after, lasts.unwrap_or(Duration::MAX)),
    };
    let settings = ReceiveSettings {
        otlp_grpc: arguments.otlp_grpc,
        otlp_http: arguments.otlp_http,
        remote_write: arguments.remote_write,
        admin: arguments.admin,
        faults,
        ..ReceiveSettings::default()
    };
    let backend = Backend::start(settings, &tokio::runtime::Handle::current())?;
    let at = backend.addresses();
    let places = [
        ("OTLP/gRPC", &at.otlp_grpc),
        ("OTLP/HTTP", &at.otlp_http),
        ("remote write", &at.remote_write),
        ("admin", &at.admin),
    ];
    let mut stderr = std::io::stderr();
    for (what, address) in places {
        if let Some(address) = address {
            writeln!(stderr, "{what} on {address}")?;
        }
    }
    signals.next().await;
    let counts = backend.counts(Detail::Totals);
    backend.stop().await;
    write(arguments.format, &counts)?;
    Ok(ExitCode::SUCCESS)
}

async fn targets(arguments: TargetsArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let settings = TargetSettings {
        listen: arguments.listen,
        targets: arguments.targets,
        samples_per_page: arguments.series,
        lifetime_pages: arguments.lifetime_pages,
        run_id: RunId(arguments.run_id),
        seed: arguments.seed,
        ..TargetSettings::default()
    };
    let targets = Targets::start(&settings, &tokio::runtime::Handle::current())?;
    writeln!(std::io::stderr(), "targets on {}", targets.address())?;
    signals.next().await;
    write(arguments.format, &targets.stop().await)?;
    Ok(ExitCode::SUCCESS)
}

async fn statsd(arguments: StatsdArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let settings = StatsdSettings {
        to: arguments.to,
        threads: arguments.threads,
        packets_per_s: Some(arguments.rate).filter(|rate| *rate > 0.0),
        duration: arguments.duration,
        lines_per_packet: arguments.lines_per_packet,
        series: arguments.series,
    };
    // A thread that nobody waits for, unlike those of the runtime: an interruption ends the process at once.
    let (done, sent) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(send_statsd(&settings)));
    let report = tokio::select! {
        report = sent => report??,
        _ = signals.next() => return Err(anyhow!("interrupted before the end; there is no report")),
    };
    write(arguments.format, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn write<T: serde::Serialize + std::fmt::Display>(format: Format, report: &T) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Text => writeln!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(report)?)?,
    }
    Ok(())
}
