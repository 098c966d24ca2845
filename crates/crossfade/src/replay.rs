//! `crossfade replay`: sends again what the journal still has, through a running process or without one.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use component::{Metrics, clock};
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::{Engine, ReplayMode, ReplayRequest, ReplaySource, ReplayState, ReplayStatus};

use crate::api::{Api, Asked, ProcessArguments};
use crate::signals::Signals;
use crate::{Format, check, moment};
use report::columns::number;

/// What `replay` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    process: ProcessArguments,
    /// The exporter whose backend gets it again.
    #[arg(long, value_name = "NAME")]
    exporter: String,
    /// What was accepted then or later: `2026-11-26T09:30:00Z`, `90m` (so long ago), Unix seconds, or `oldest`.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// What was accepted up to then; without it, up to now.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only these resources, such as `resource["service.name"] matches "checkout.*"`.
    #[arg(long = "match", value_name = "CONDITION")]
    matching: Option<String>,
    /// No faster than so many items a second.
    #[arg(long, value_name = "ITEMS")]
    rate: Option<u64>,
    /// What the backend refused for good, instead of all that was accepted.
    #[arg(long)]
    dead_letters: bool,
    /// Count what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Begin it in the running process, and do not wait.
    #[arg(long)]
    detach: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How often progress is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn replay(arguments: &ReplayArguments) -> anyhow::Result<ExitCode> {
    let request = arguments.request()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let status = runtime.block_on(async {
        let api = arguments.process.api()?;
        match api.post::<ReplayStatus>("/api/v1/replays", &request).await? {
            Asked::Answered(status) if arguments.detach => Ok(status),
            Asked::Answered(status) => follow(&api, status).await,
            Asked::NobodyThere => offline(arguments, &api, request).await,
        }
    })?;
    report(&status, arguments.format)
}

impl ReplayArguments {
    fn request(&self) -> anyhow::Result<ReplayRequest> {
        let now = clock::unix_ns();
        let moment = |name: &str, text: &str| moment::parse(text, now).map_err(|error| anyhow!("{name}: {error}"));
        Ok(ReplayRequest {
            exporter: self.exporter.clone(),
            source: if self.dead_letters { ReplaySource::DeadLetters } else { ReplaySource::Accepted },
            from_unix_ns: moment("--from", &self.from)?,
            to_unix_ns: self.to.as_deref().map(|to| moment("--to", to)).transpose()?,
            matching: self.matching.clone(),
            items_per_s_max: self.rate,
            mode: if self.dry_run { ReplayMode::DryRun } else { ReplayMode::Send },
        })
    }
}

/// Shows how a replay in another process goes, until it ends or somebody has seen enough: it goes on then.
async fn follow(api: &Api, mut status: ReplayStatus) -> anyhow::Result<ReplayStatus> {
    let mut signals = Signals::listen()?;
    let bar = Bar::new(&status);
    let path = format!("/api/v1/replays/{}", status.id);
    while status.state == ReplayState::Running {
        tokio::select! {
            _ = signals.next() => {
                bar.leave();
                eprint(&format!("the replay goes on in the process; to end it: curl -X POST -H 'content-type: \
                    application/json' -d '{{}}' {}", api.base().join(&format!("{path}/cancel"))?));
                return Ok(status);
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        status = match api.get(&path).await? {
            Asked::Answered(status) => status,
            Asked::NobodyThere => bail!("the process has ended; the next one goes on with the replay"),
        };
        bar.show(&status);
    }
    bar.leave();
    Ok(status)
}

/// Replays in this process: nobody else uses the journal.
async fn offline(arguments: &ReplayArguments, api: &Api, request: ReplayRequest) -> anyhow::Result<ReplayStatus> {
    let Some(config) = arguments.process.config() else {
        bail!("no process answers at {}; name its --config to replay without one", api.base());
    };
    eprint(&format!("no process answers at {}: replaying without one", api.base()));
    let checked =
        check::load(&config.paths()).map_err(|errors| anyhow!("{}", errors.render().trim_end().to_owned()))?;
    let mut signals = Signals::listen()?;
    let engine = Engine::start_for_replay(checked.graph, Metrics::default()).await?;
    let replays = engine.replays().context("the engine has no replays")?.clone();
    let result = async {
        let id = replays.start(request)?;
        let mut status = replays.status(id).context("the replay is gone")?;
        let bar = Bar::new(&status);
        while status.state == ReplayState::Running {
            tokio::select! {
                _ = signals.next() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            status = replays.status(id).context("the replay is gone")?;
            bar.show(&status);
        }
        bar.leave();
        anyhow::Ok(status)
    };
    let status = result.await;
    engine.stop(Duration::ZERO).await;
    status
}

/// The progress, where somebody looks.
struct Bar(ProgressBar);

impl Bar {
    fn new(status: &ReplayStatus) -> Bar {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(status.found_items),
            false => ProgressBar::hidden(),
        };
        let style = "{bar:40} {human_pos} of {human_len} items  {per_sec}  {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar(bar)
    }

    fn show(&self, status: &ReplayStatus) {
        self.0.set_position(status.read_items + status.lost_items);
        self.0.set_message(format!("{} delivered", number(status.delivered_items)));
    }

    fn leave(&self) {
        self.0.finish_and_clear();
    }
}

fn report(status: &ReplayStatus, format: Format) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(status)?)?,
        Format::Text => {
            let delivered = match status.request.mode {
                ReplayMode::Send => "delivered",
                ReplayMode::DryRun => "would be sent",
            };
            let state = match status.state {
                ReplayState::Running => "goes on",
                ReplayState::Done => "is done",
                ReplayState::Cancelled => "was cancelled",
                ReplayState::Suspended => "waits for the next process",
            };
            let [read, sent, skipped, rejected, dropped, lost] = [
                status.read_items,
                status.delivered_items,
                status.skipped_items,
                status.rejected_items,
                status.dropped_items,
                status.lost_items,
            ]
            .map(number);
            writeln!(
                out,
                "replay {} to {} {state}: {read} items read, {sent} {delivered}, {skipped} not meant, {rejected} \
                 rejected, {dropped} dropped, {lost} gone from the journal",
                status.id, status.request.exporter
            )?;
        }
    }
    let failed = status.rejected_items + status.dropped_items + status.lost_items > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[allow(clippy::print_stderr)]
fn eprint(text: &str) {
    eprintln!("{text}");
}
