//! A migration that runs: the two sides, what is compared between them, and what came of it.

mod scraped;
mod settings;
mod tap;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::metrics::{Description, Observations};
use otlp::Batch;
use parity::{Charts, Drawing, Report, Subject, Verdict};
use parking_lot::{Mutex, RwLock};

pub use settings::{Asking, Comparison, Migration, QuerySettings, SideSettings, nanoseconds, ratio};
pub(crate) use tap::Tap;
pub(crate) use watch::watch;

/// The comparison of a running process. Clones are the same.
#[derive(Clone)]
pub struct Parity(Arc<Shared>);

struct Shared {
    migration: Migration,
    verdicts: RwLock<Option<Arc<Verdicts>>>,
    charts: Mutex<Charts>,
    answer: Mutex<Answer>,
    busy_ns: AtomicU64,
    missed_items: AtomicU64,
}

/// The newest verdicts.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// When they were taken, in nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// Since when the sources are compared.
    pub since_unix_ns: u64,
    /// One subject for each thing that is compared, over all depths.
    pub report: Report,
    /// What was taken in of both sides, the legacy one first.
    pub taken: [Taken; 2],
    /// What keeps something from being compared.
    pub notes: Vec<String>,
}

/// What the comparison took in of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Items of every signal.
    pub items: u64,
    /// When the first of them arrived, in nanoseconds since the Unix epoch.
    pub from_unix_ns: Option<u64>,
    /// When the last of them arrived.
    pub to_unix_ns: Option<u64>,
}

/// What the backends answered, as it was last asked.
#[derive(Clone, Debug, Default)]
struct Answer {
    report: Option<Report>,
    /// What kept something from being compared.
    notes: Vec<String>,
}

impl Taken {
    fn add(&mut self, batch: &Batch, at_unix_ns: u64) {
        self.items += u64::from(batch.items());
        self.from_unix_ns.get_or_insert(at_unix_ns);
        self.to_unix_ns = Some(at_unix_ns);
    }
}

impl Parity {
    pub(crate) fn new(migration: Migration) -> Parity {
        Parity(Arc::new(Shared {
            migration,
            verdicts: RwLock::default(),
            charts: Mutex::default(),
            answer: Mutex::default(),
            busy_ns: AtomicU64::new(0),
            missed_items: AtomicU64::new(0),
        }))
    }

    /// What the configuration says of the migration.
    pub fn migration(&self) -> &Migration {
        &self.0.migration
    }

    /// The newest verdicts; none before the first were taken.
    pub fn verdicts(&self) -> Option<Arc<Verdicts>> {
        self.0.verdicts.read().clone()
    }

    /// What the series of a metric looked like on both sides, as far as it is remembered.
    pub fn drawings(&self, metric: &str) -> Vec<Drawing> {
        self.0.charts.lock().drawings(metric)
    }

    /// The charts of all series that are remembered.
    pub fn charts(&self) -> Charts {
        self.0.charts.lock().clone()
    }

    /// Takes in what both backends answered; the next verdicts have it.
    pub fn answered(&self, report: Report, notes: Vec<String>) {
        *self.0.answer.lock() = Answer { report: Some(report), notes };
    }

    /// Takes in that backends could not be asked. What they answered before is no proof of now.
    pub fn did_not_answer(&self, cause: String) {
        *self.0.answer.lock() = Answer { report: None, notes: vec![cause] };
    }

    /// Puts the verdicts among the own metrics.
    pub(crate) fn observe(&self, to: &mut Observations) {
        to.put(names::BUSY, &[], Duration::from_nanos(self.0.busy_ns.load(Ordering::Relaxed)).as_secs_f64());
        to.put(names::MISSED, &[], self.0.missed_items.load(Ordering::Relaxed) as f64);
        let Some(verdicts) = self.verdicts() else { return };
        for (side, taken) in ["legacy", "new"].iter().zip(&verdicts.taken) {
            to.put(names::TAKEN, &[("side", side)], taken.items as f64);
        }
        for verdict in ["different", "inconclusive", "equivalent", "not_comparable"] {
            let subjects = verdicts.report.counts.get(verdict).copied().unwrap_or(0);
            to.put(names::SUBJECTS, &[("verdict", verdict)], subjects as f64);
        }
        put_subjects(to, &verdicts.report.subjects);
    }
}

/// So many subjects have series of their own: those that differ first. `crossfade_parity_subjects` counts them all.
const SUBJECTS_MAX: usize = 1000;

fn put_subjects(to: &mut Observations, subjects: &[Subject]) {
    let mut shown: Vec<&Subject> = subjects.iter().collect();
    shown.sort_by_key(|subject| match subject.verdict {
        Verdict::Different(_) => 0,
        Verdict::Inconclusive { .. } => 1,
        _ => 2,
    });
    for subject in shown.into_iter().take(SUBJECTS_MAX) {
        let depth = subject.differs_at.map_or("", parity::Depth::name);
        let failure = subject.failure.map_or("", parity::Failure::name);
        let what = [("signal", subject.signal), ("subject", subject.name.as_str())];
        let labels =
            [what[0], what[1], ("verdict", subject.verdict.name()), ("differs_at", depth), ("failure", failure)];
        to.put(names::VERDICT, &labels, 1.0);
        if let Some(margin_ratio) = subject.verdict.margin_ratio().filter(|ratio| ratio.is_finite()) {
            to.put(names::MARGIN, &what, margin_ratio);
        }
    }
}

impl Shared {
    fn was_busy(&self, time: Duration) {
        self.busy_ns.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    fn has_missed(&self, items: u64) {
        self.missed_items.fetch_add(items, Ordering::Relaxed);
    }
}

impl fmt::Debug for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parity").field("migration", &self.0.migration.name).finish_non_exhaustive()
    }
}

mod names {
    use super::Description;

    pub(super) const VERDICT: Description = Description::gauge(
        "crossfade_parity_verdict",
        "1 for the verdict that a subject has now; `differs_at` is the first depth at which it differs.",
    );
    pub(super) const MARGIN: Description = Description::gauge(
        "crossfade_parity_margin_ratio",
        "The smallest margin within which both sides were proven equal so far, relative to the legacy side.",
    );
    pub(super) const SUBJECTS: Description =
        Description::gauge("crossfade_parity_subjects", "What is compared, by verdict.");
    pub(super) const TAKEN: Description = Description::gauge(
        "crossfade_parity_compared_items",
        "Items that were compared since the comparison began, by side.",
    );
    pub(super) const MISSED: Description = Description::counter(
        "crossfade_parity_missed_items",
        "Items that came faster than they were compared; each time the comparison began anew.",
    );
    pub(super) const BUSY: Description =
        Description::counter("crossfade_parity_busy_seconds", "Time that the comparison has computed for.");
}
