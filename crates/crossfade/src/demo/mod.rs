//! `crossfade demo`: a small shop in the middle of its migration, in one process and about a minute.
//!
//! The shop counts every order the old way and the new way. The pipeline that runs is an ordinary configuration, shown
//! first, and compares the two while it delivers both. Parity is open at first and then proven, row by row. The legacy
//! backend refuses everything for a while; the new one must not notice. Then the new instrumentation goes wrong, which is
//! to be found and named. At the end, what the backends counted of a second shop, whose items are numbered, is compared
//! item by item.

mod plot;
mod screen;
mod stage;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use component::clock;
use load::dual::DualReport;
use load::receive::{Detail, Fault};
use load::verdict::{self, Agreement, Outcome, Verdict};
use otlp::Signal;
use pipeline::{Line, Parity, Rest};

use crate::signals::Signals;
use plot::{Act, Plot, Provoked, Story};
use screen::{Scene, Screen};
use stage::Stage;

/// What `demo` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Items a second that the shop with numbered items emits.
    #[arg(long, value_name = "ITEMS", default_value_t = 3000.0)]
    rate: f64,
    /// What goes wrong with the new instrumentation.
    #[arg(long, value_enum, value_name = "FAILURE", default_value_t)]
    failure: Provoked,
    /// Where the report goes, as a page; a new file among the temporary ones, if absent.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// How long the shop's last items may take.
const DRAIN_MAX: Duration = Duration::from_secs(15);
const FRAME: Duration = Duration::from_millis(500);

pub(crate) fn demo(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(play(arguments))
}

async fn play(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let stage = Stage::build(arguments.rate).await?;
    let mut screen = Screen::open();
    screen.introduce(&stage.yaml)?;
    let (ended, page) = tokio::select! {
        ended = perform(stage, &mut screen, arguments.failure) => ended?,
        _ = signals.next() => return Err(anyhow!("interrupted before the verdict")),
    };
    let file = write_page(arguments.report.as_deref(), &page)?;
    screen.conclude(&ended, &file)?;
    Ok(if ended.is_exact() && ended.story.is_true() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the demo ends with.
struct Ended {
    rest: Rest,
    /// How often the ledger was looked at, and how often it did not balance.
    looks: u32,
    unbalanced_looks: u32,
    verdicts: Vec<Verdict>,
    agreement: Agreement,
    counted: DualReport,
    story: Story,
}

impl Ended {
    /// Whether everything arrived, to the item.
    fn is_exact(&self) -> bool {
        let settled = self.rest.lines.iter().all(|line| line.balances() && line.delivered == line.accepted);
        let exact = self.verdicts.iter().all(|verdict| verdict.outcome == Outcome::Exact);
        let sent = self.counted.refused_packets + self.counted.failed_exports == 0;
        settled && exact && sent && self.unbalanced_looks == 0 && self.agreement.is_equal()
    }
}

/// Plays all acts; gives what came of them, and the report as a page.
async fn perform(stage: Stage, screen: &mut Screen, provoked: Provoked) -> anyhow::Result<(Ended, String)> {
    let parity = stage.engine.parity().cloned().context("nothing is compared")?;
    let started = clock::mono();
    let (mut looks, mut unbalanced_looks) = (0, 0);
    let mut plot = Plot::new(provoked);
    let mut frames = tokio::time::interval(FRAME);
    loop {
        frames.tick().await;
        let elapsed = started.elapsed();
        let verdicts = parity.verdicts();
        let report = verdicts.as_deref().map(|verdicts| &verdicts.report);
        let before = plot.act;
        plot.look(elapsed, report);
        let lines = stage.engine.ledger().lines();
        looks += 1;
        unbalanced_looks += u32::from(!lines.iter().all(Line::balances));
        if plot.act != before {
            stage.set(&plot);
            screen.turn();
        }
        let journal_bytes = stage.engine.ledger().retained_bytes();
        let (act, now_unix_ns) = (plot.in_words(elapsed), clock::unix_ns());
        screen.draw(&Scene { elapsed, lines: &lines, journal_bytes, act, report, now_unix_ns })?;
        if plot.act == Act::Closing {
            screen.found(&plot, report)?;
            break;
        }
    }
    screen.say("The shop closes; what was accepted is delivered.")?;
    let page = page(&parity)?;
    Ok((stage.close((looks, unbalanced_looks), plot.story).await, page))
}

impl Stage {
    /// Brings about what belongs to an act.
    fn set(&self, plot: &Plot) {
        match plot.act {
            Act::Refusing => self.legacy.set_fault(Fault::Refuse { retry_after_ms: None }, None),
            Act::CatchingUp => self.legacy.set_fault(Fault::Healthy, None),
            Act::Provoking => self.dual.set_fault(plot.provoked.fault()),
            Act::Proving | Act::Found | Act::Closing => {}
        }
    }

    async fn close(self, (looks, unbalanced_looks): (u32, u32), story: Story) -> Ended {
        let (counted, reports) = tokio::join!(self.dual.close(), self.numbered.close());
        let rest = self.engine.stop(DRAIN_MAX).await;
        let (new, legacy) = (self.new.counts(Detail::Workers), self.legacy.counts(Detail::Workers));
        let verdicts = vec![
            verdict::judge("otlp/new", &Signal::ALL, &reports, &new),
            verdict::judge("prometheusremotewrite/legacy", &[Signal::Metrics], &reports, &legacy),
        ];
        // Both backends get the numbered metrics.
        let agreement = verdict::agreement(Signal::Metrics, &new, &legacy);
        Ended { rest, looks, unbalanced_looks, verdicts, agreement, counted, story }
    }
}

/// The report as it stands.
fn page(parity: &Parity) -> anyhow::Result<String> {
    let document = admin::document(parity).context("no verdicts were taken")?;
    Ok(report::html(&document, &parity.charts()))
}

/// Writes where it is asked to; unasked only where nothing is, and where nobody minds.
fn write_page(wanted: Option<&Path>, page: &str) -> anyhow::Result<PathBuf> {
    if let Some(file) = wanted {
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
        return Ok(file.to_owned());
    }
    let file = std::env::temp_dir().join(format!("crossfade-demo-{}.html", clock::unix_ms()));
    let opened = OpenOptions::new().write(true).create_new(true).open(&file);
    let written = opened.and_then(|mut opened| opened.write_all(page.as_bytes()));
    written.with_context(|| format!("cannot write {}; choose another place with --report", file.display()))?;
    Ok(file)
}
