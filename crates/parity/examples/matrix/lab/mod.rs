//! Streams of two sides whose difference is known, and what is said about them.

pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod naive;
pub(crate) mod rows;

use parity::{Comparator, Failure, Report, Settings, Side, Verdict};

pub(crate) const SECOND_NS: f64 = 1e9;
/// When the telemetry begins.
pub(crate) const BEGIN_S: f64 = 1_000_000.0;

/// What one run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// After so many seconds of telemetry the first difference was claimed.
    pub(crate) found_s: Option<f64>,
    /// Its cause, and the failure it is.
    pub(crate) cause: String,
    pub(crate) failure: Option<Failure>,
    /// Whether a failure was named at any time, even as a remark beside an equality.
    pub(crate) named: Option<Failure>,
    /// The last verdict.
    pub(crate) last: &'static str,
    pub(crate) sentence: String,
    /// The series-days that were compared.
    pub(crate) days: f64,
    /// Points that a comparison with a tolerance calls different, and all of them: for 1 % and for 1e-6.
    pub(crate) naive: [(u64, u64); 2],
}

/// Watches the reports of a comparator.
pub(crate) struct Watch {
    pub(crate) comparator: Comparator,
    pub(crate) outcome: Outcome,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        let mut settings = Settings::default();
        settings.metrics.settle_ns = 60_000_000_000;
        Watch { comparator: Comparator::new(settings), outcome: Outcome::default() }
    }

    pub(crate) fn close(&mut self, now_s: f64) {
        let report = self.comparator.close();
        self.look(&report, now_s);
    }

    pub(crate) fn finish(mut self, now_s: f64) -> Outcome {
        let report = self.comparator.close();
        self.look(&report, now_s);
        let worst = ["different", "inconclusive", "equivalent", "not_comparable"];
        let last = worst.into_iter().find(|name| report.counts.contains_key(name)).unwrap_or("nothing");
        self.outcome.last = last;
        let subject = report.subjects.iter().find(|subject| subject.verdict.name() == last);
        self.outcome.sentence = subject.map_or_else(String::new, |subject| subject.sentence.clone());
        if let Some(failure) = subject.and_then(|subject| subject.failure) {
            self.outcome.named = Some(failure);
        }
        if let Some(Verdict::Different(finding)) = subject.map(|subject| &subject.verdict) {
            self.outcome.cause = cause_name(&finding.cause);
            self.outcome.failure = Failure::of_cause(&finding.cause);
        }
        self.outcome
    }

    fn look(&mut self, report: &Report, now_s: f64) {
        for subject in &report.subjects {
            if let Some(failure) = subject.failure {
                self.outcome.named = Some(failure);
            }
            if let Verdict::Different(finding) = &subject.verdict
                && self.outcome.found_s.is_none()
            {
                self.outcome.found_s = Some(now_s - BEGIN_S);
                self.outcome.cause = cause_name(&finding.cause);
                self.outcome.failure = Failure::of_cause(&finding.cause);
                self.outcome.sentence = subject.sentence.clone();
            }
        }
    }
}

fn cause_name(cause: &parity::Cause) -> String {
    let text = format!("{cause:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

pub(crate) fn exponential(random: &mut fastrand::Rng, per_second: f64) -> f64 {
    -(1.0 - random.f64()).ln() / per_second
}

pub(crate) fn normal(random: &mut fastrand::Rng) -> f64 {
    let sum: f64 = (0..12).map(|_| random.f64()).sum();
    sum - 6.0
}

pub(crate) const fn at(side: Side) -> usize {
    side as usize
}
