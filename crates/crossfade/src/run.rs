//! `crossfade run`: the daemon.

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use admin::{Admin, ServeError, Served, serve_admin, serve_metrics};
use anyhow::Context;
use component::{Metrics, Stop};
use pipeline::{Engine, Graph, Line, LogEncoding, Rest, Serving, TelemetrySettings};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::parity::answers::keep_asking;
use crate::signals::Signals;
use crate::{ConfigArguments, check};

/// What `run` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// When stopping, deliver what was accepted for at most so many seconds; what is left is counted as dropped.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_seconds: u64,
}

pub(crate) fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let checked = match check::load(&arguments.config.paths()) {
        Ok(checked) => checked,
        Err(errors) => {
            check::report_errors(&errors)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    check::report_warnings(&checked.warnings)?;
    start_log(&checked.graph.telemetry);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(serve(checked.graph, Duration::from_secs(arguments.drain_seconds)))
}

/// Connections and the journal's segments are files: as many of them as the system lets this process have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// The log goes to standard error. `CROSSFADE_LOG` sets levels by module, over what the configuration says.
fn start_log(settings: &TelemetrySettings) {
    let level = settings.log_level.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_from_env("CROSSFADE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    match settings.log_encoding {
        LogEncoding::Console => builder.init(),
        LogEncoding::Json => builder.json().init(),
    }
}

async fn serve(graph: Graph, drain_max: Duration) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let (telemetry, admin) = (graph.telemetry.clone(), graph.admin.clone());
    let metrics = Metrics::default();
    let mut engine = Engine::start(graph, metrics.clone()).await?;
    let own = Own::start(&engine, &telemetry, admin.as_ref());
    let own = match own {
        Ok(own) => own,
        Err(error) => {
            engine.stop(Duration::ZERO).await;
            return Err(error.into());
        }
    };
    tracing::info!("crossfade runs");
    let failure = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping: delivering what was accepted");
            None
        }
        error = engine.failed() => {
            tracing::error!(%error, "a component failed; stopping");
            Some(error)
        }
    };
    let rest = tokio::select! {
        rest = stop(engine, drain_max) => Some(rest),
        name = signals.next() => {
            tracing::warn!(signal = name, "asked again: stopping without delivering the rest");
            None
        }
    };
    own.stop().await;
    if let Some(rest) = &rest {
        report(rest);
    }
    Ok(match failure.is_some() || rest.is_none() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn stop(engine: Engine, drain_max: Duration) -> impl Future<Output = Rest> {
    engine.stop(drain_max)
}

/// The last word: what became of everything.
fn report(rest: &Rest) {
    for line in &rest.lines {
        let Line { pipeline, exporter, accepted, delivered, pending, .. } = line;
        let (rejected, dropped) = (line.rejected_items(), line.dropped_items());
        let balanced = line.balances();
        tracing::info!(pipeline, exporter, accepted, delivered, rejected, dropped, pending, balanced, "ledger");
    }
    if rest.gave_up {
        tracing::error!("the time to drain was over before everything was delivered; see `dropped` in the ledger");
    }
}

/// What the process serves of itself.
struct Own {
    stop: Stop,
    tasks: JoinSet<()>,
}

impl Own {
    fn start(engine: &Engine, telemetry: &TelemetrySettings, admin: Option<&Serving>) -> Result<Own, ServeError> {
        let mut own = Own { stop: Stop::default(), tasks: JoinSet::new() };
        if let Some(serving) = &telemetry.metrics {
            let served = serve_metrics(serving, engine.metrics().clone(), telemetry.counter_suffix, &own.stop);
            own.spawn(serving, served)?;
        }
        if let Some(parity) = engine.parity()
            && let Some(asking) = parity.migration().answers
        {
            own.tasks.spawn(keep_asking(parity.clone(), asking, own.stop.child()));
        }
        if let Some(serving) = admin {
            let served = serve_admin(
                serving,
                Admin {
                    ledger: engine.ledger().clone(),
                    replays: engine.replays().cloned(),
                    parity: engine.parity().cloned(),
                },
                &own.stop,
            );
            own.spawn(serving, served)?;
        }
        Ok(own)
    }

    /// A port that nobody asked for may be taken, by a second process on this machine; the work goes on without.
    fn spawn(&mut self, serving: &Serving, served: Result<Served, ServeError>) -> Result<(), ServeError> {
        match served {
            Ok(served) => drop(self.tasks.spawn(served)),
            Err(error) if serving.asked_for => return Err(error),
            Err(error) => tracing::warn!(%error, "not served: the default port is not free"),
        }
        Ok(())
    }

    async fn stop(mut self) {
        self.stop.request();
        while self.tasks.join_next().await.is_some() {}
    }
}
