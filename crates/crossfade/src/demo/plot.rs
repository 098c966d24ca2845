//! What happens when: the acts follow each other when what they show has been seen, and after a while in any case.

use std::collections::BTreeMap;
use std::time::Duration;

use load::dual::DualFault;
use parity::{Depth, Failure, Report, Subject, Verdict};

/// What is made wrong with the new instrumentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Provoked {
    /// The new instrumentation forgets one in three paid orders, and nothing reports an error.
    #[default]
    SilentLoss,
    /// A release counts refunds, and the two ways call their attribute by different names.
    RenamedAttribute,
}

impl Provoked {
    pub(super) const fn fault(self) -> DualFault {
        match self {
            Provoked::SilentLoss => DualFault::LoseNewShare(1.0 / 3.0),
            Provoked::RenamedAttribute => DualFault::RenameNewAttribute,
        }
    }

    /// What is to be found different.
    pub(super) const fn subject(self) -> &'static str {
        match self {
            Provoked::SilentLoss => "shop.orders",
            Provoked::RenamedAttribute => "shop_refunds_total",
        }
    }

    /// The name that it is to be given.
    pub(super) const fn failure(self) -> Failure {
        match self {
            Provoked::SilentLoss => Failure::SilentLoss,
            Provoked::RenamedAttribute => Failure::AttributeChanged,
        }
    }

    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Provoked::SilentLoss => "the new instrumentation of checkout forgets one in three paid orders",
            Provoked::RenamedAttribute => {
                "a release counts refunds, by `reason` the old way and `refund.cause` the new"
            }
        }
    }
}

/// The acts, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Everything is well, and being proven.
    Proving,
    /// The legacy backend refuses everything.
    Refusing,
    /// It takes again, what waited first.
    CatchingUp,
    /// The new instrumentation is wrong.
    Provoking,
    /// What was found stays on the screen for a while.
    Found,
    /// The shop closes.
    Closing,
}

impl Act {
    const fn next(self) -> Act {
        match self {
            Act::Proving => Act::Refusing,
            Act::Refusing => Act::CatchingUp,
            Act::CatchingUp => Act::Provoking,
            Act::Provoking => Act::Found,
            Act::Found | Act::Closing => Act::Closing,
        }
    }

    /// How long an act takes at least and at most.
    const fn seconds(self) -> (u64, u64) {
        match self {
            Act::Proving => (3, 90),
            Act::Refusing => (6, 15),
            Act::CatchingUp => (2, 20),
            Act::Provoking => (1, 40),
            Act::Found => (6, 6),
            Act::Closing => (0, 0),
        }
    }

    /// Whether the new instrumentation is wrong.
    const fn is_provoked(self) -> bool {
        matches!(self, Act::Provoking | Act::Found | Act::Closing)
    }
}

/// How far the story is, and what of it has come true.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) provoked: Provoked,
    pub(super) act: Act,
    began: Duration,
    has_waited: bool,
    pub(super) story: Story,
}

/// What has come true.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Story {
    /// When everything was proven equal, since the start.
    pub(super) proven_after: Option<Duration>,
    /// Whether the delivery to the backend that refused was open while it did.
    pub(super) delivery_was_open: bool,
    /// Whether everything was equal again.
    pub(super) has_caught_up: bool,
    /// How long it took to find and name what was provoked.
    pub(super) found_after: Option<Duration>,
    /// Whether it was called by that name to the end.
    pub(super) is_named: bool,
    /// What was called different and is not, with what was said of it.
    pub(super) false_alarms: BTreeMap<String, String>,
}

impl Story {
    /// Whether everything went as told.
    pub(super) fn is_true(&self) -> bool {
        self.proven_after.is_some()
            && self.delivery_was_open
            && self.has_caught_up
            && self.found_after.is_some()
            && self.is_named
            && self.false_alarms.is_empty()
    }

    /// What did not go as told.
    pub(super) fn untrue(&self) -> Vec<String> {
        let parts = [
            (self.proven_after.is_some(), "parity was not proven in time"),
            (self.delivery_was_open, "the delivery was not seen to be open while a backend refused everything"),
            (self.has_caught_up, "not everything was equal again in time"),
            (self.found_after.is_some() && self.is_named, "the provoked failure was not found, or not named"),
        ];
        let untrue = parts.into_iter().filter(|(is_true, _)| !is_true).map(|(_, words)| words.to_owned());
        let alarms = self.false_alarms.iter().map(|(name, said)| format!("a false alarm: {name}: {said}"));
        untrue.chain(alarms).collect()
    }
}

/// So many metrics are compared.
const METRICS: usize = 6;
/// The exporter whose backend refuses for a while.
const REFUSED: &str = "delivery by prometheusremotewrite/legacy";

impl Plot {
    pub(super) fn new(provoked: Provoked) -> Plot {
        let (began, story) = (Duration::ZERO, Story::default());
        Plot { provoked, act: Act::Proving, began, has_waited: false, story }
    }

    /// Looks at the newest verdicts; goes on to the next act where this one has shown what it is to show.
    pub(super) fn look(&mut self, elapsed: Duration, report: Option<&Report>) {
        let in_act = elapsed.saturating_sub(self.began);
        let has_shown = report.is_some_and(|report| self.see(elapsed, in_act, report));
        let (least, most) = self.act.seconds();
        let is_over = in_act >= Duration::from_secs(most);
        if is_over || (has_shown && in_act >= Duration::from_secs(least)) {
            self.act = self.act.next();
            self.began = elapsed;
        }
    }

    fn see(&mut self, elapsed: Duration, in_act: Duration, report: &Report) -> bool {
        for subject in &report.subjects {
            let is_expected = self.act.is_provoked() && subject.name == self.provoked.subject();
            if matches!(subject.verdict, Verdict::Different(_)) && !is_expected {
                self.story.false_alarms.entry(subject.name.clone()).or_insert_with(|| subject.sentence.clone());
            }
        }
        match self.act {
            Act::Proving => {
                let is_proven = is_all_equal(report);
                if is_proven {
                    self.story.proven_after.get_or_insert(elapsed);
                }
                is_proven
            }
            Act::Refusing => {
                let is_open = |subject: &Subject| matches!(subject.verdict, Verdict::Inconclusive { .. });
                self.has_waited |= report.subjects.iter().any(|subject| subject.name == REFUSED && is_open(subject));
                self.story.delivery_was_open = self.has_waited;
                self.has_waited
            }
            Act::CatchingUp => {
                self.story.has_caught_up = is_all_equal(report);
                self.story.has_caught_up
            }
            Act::Provoking => {
                let is_found = self.is_found(report);
                if is_found {
                    self.story.found_after.get_or_insert(in_act);
                }
                is_found
            }
            Act::Found | Act::Closing => {
                self.story.is_named = self.is_found(report);
                false
            }
        }
    }

    fn is_found(&self, report: &Report) -> bool {
        self.culprit(report).is_some_and(|subject| {
            subject.differs_at == Some(Depth::Source) && subject.failure == Some(self.provoked.failure())
        })
    }

    /// What is wrong, as it is judged now.
    pub(super) fn culprit<'a>(&self, report: &'a Report) -> Option<&'a Subject> {
        report.subjects.iter().find(|subject| subject.name == self.provoked.subject())
    }

    /// What happens now, in words.
    pub(super) fn in_words(&self, elapsed: Duration) -> String {
        let in_act = elapsed.saturating_sub(self.began).as_secs();
        match self.act {
            Act::Proving => format!("both backends are well; parity is being proven, since {in_act} s"),
            Act::Refusing => format!("the legacy backend refuses everything, since {in_act} s; the journal holds it"),
            Act::CatchingUp => "the legacy backend is well again and gets what waited".to_owned(),
            Act::Provoking | Act::Found => self.provoked.in_words().to_owned(),
            Act::Closing => "the shop closes".to_owned(),
        }
    }
}

fn is_all_equal(report: &Report) -> bool {
    let metrics = report.subjects.iter().filter(|subject| !subject.name.starts_with("delivery by ")).count();
    metrics >= METRICS && report.is_equal()
}

#[cfg(test)]
mod tests {
    use otlp::Signal;
    use parity::{Cause, Delivered, Demand, Depths, Side};

    use super::*;

    /// A report in which one of the metrics has a loss, and so many items wait for the legacy backend.
    fn report(lost: Option<&str>, pending: u64) -> Report {
        let names = ["shop.orders", "a", "b", "c", "d", "e"];
        let verdict = |name: &str| match lost == Some(name) {
            true => Verdict::Different(parity::Finding {
                cause: Cause::Loss { side: Side::New, ratio_low: 0.05, ratio_high: 0.06 },
                evidence: "figures".to_owned(),
                since_unix_ns: None,
            }),
            false => Verdict::Equivalent { margin_ratio: 0.01, confidence: 1.0, remark: None },
        };
        let subjects = names.map(|name| Subject::alone(Signal::Metrics, name.to_owned(), verdict(name)));
        let delivered = Delivered {
            side: Side::Legacy,
            signal: Signal::Metrics,
            exporter: "prometheusremotewrite/legacy".to_owned(),
            accepted: 1000,
            rejected: BTreeMap::new(),
            dropped: BTreeMap::new(),
            pending,
        };
        let source = Some(Report::of(subjects.into(), Vec::new(), 0));
        Depths { source, delivery: vec![delivered], answer: None }.together(&Demand::default())
    }

    /// Plays with what is seen in each act; gives what has come true.
    fn play(seen: impl Fn(Act) -> Option<Report>) -> Story {
        let mut plot = Plot::new(Provoked::SilentLoss);
        for half_seconds in 0..1000 {
            let report = seen(plot.act);
            plot.look(Duration::from_millis(500 * half_seconds), report.as_ref());
            if plot.act == Act::Closing {
                return plot.story;
            }
        }
        panic!("it does not end: {plot:?}")
    }

    fn as_told(act: Act) -> Option<Report> {
        Some(match act {
            Act::Refusing => report(None, 300),
            Act::Provoking | Act::Found | Act::Closing => report(Some("shop.orders"), 0),
            Act::Proving | Act::CatchingUp => report(None, 0),
        })
    }

    #[test]
    fn a_story_that_goes_as_told_is_true() {
        let story = play(as_told);
        assert!(story.is_true(), "{:?}", story.untrue());
        assert_eq!(story.proven_after, Some(Duration::ZERO));
    }

    #[test]
    fn each_part_that_is_missing_is_told_and_the_story_ends_all_the_same() {
        let check = |seen: &dyn Fn(Act) -> Option<Report>, expected: &str| {
            let untrue = play(seen).untrue();
            assert!(untrue.iter().any(|words| words.contains(expected)), "{expected}: {untrue:?}");
        };
        check(&|_| None, "not proven in time");
        check(&|act| as_told(act).filter(|_| act != Act::Refusing), "not seen to be open");
        check(&|act| as_told(act).filter(|_| act != Act::CatchingUp), "not everything was equal again");
        check(&|act| if act == Act::Provoking { Some(report(None, 0)) } else { as_told(act) }, "not found");
        check(&|act| if act == Act::Found { Some(report(None, 0)) } else { as_told(act) }, "not named");
        check(&|act| if act == Act::CatchingUp { Some(report(Some("c"), 0)) } else { as_told(act) }, "false alarm: c:");
    }
}
