//! At which depth two pipelines first differ.
//!
//! What is compared exists three times: as applications emit it (*source*), as backends take it from us (*delivery*),
//! and as backends answer it (*answer*). Where the first is equal and the second is not, the instrumentation is in the
//! clear, and so on: the first depth that differs says where to look.

use std::collections::BTreeMap;
use std::fmt;

use otlp::Signal;
use serde::Serialize;

use crate::comparator::{Report, Subject};
use crate::metrics::worst;
use crate::suggestion::{Advice, Suggestion};
use crate::verdict::{Cause, Demand, Finding, Needs, Side, Verdict};

/// Where something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// What applications emit the old and the new way, as both arrive.
    Source,
    /// What each backend took of it.
    Delivery,
    /// What both backends answer.
    Answer,
}

impl Depth {
    /// `source`, `delivery` or `answer`.
    pub const fn name(self) -> &'static str {
        match self {
            Depth::Source => "source",
            Depth::Delivery => "delivery",
            Depth::Answer => "answer",
        }
    }

    /// What makes a difference that is first seen here.
    pub const fn blame(self) -> &'static str {
        match self {
            Depth::Source => "look at the instrumentation, and at the way to the receivers",
            Depth::Delivery => "look into the ledger for what the backend did not get",
            Depth::Answer => "look at the backend, and at the query",
        }
    }

    /// What it means that this depth is equal.
    const fn in_the_clear(self) -> &'static str {
        match self {
            Depth::Source => "the same at the source",
            Depth::Delivery => "delivered",
            Depth::Answer => "answered alike",
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What something comes to at one depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtDepth {
    /// Where.
    pub depth: Depth,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in words.
    pub sentence: String,
}

/// What became of the items that one exporter was to deliver, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Whose backend it is.
    pub side: Side,
    /// The kind of telemetry.
    pub signal: Signal,
    /// The exporter.
    pub exporter: String,
    /// Items that were accepted for it.
    pub accepted: u64,
    /// Items that its backend refused for good, by cause.
    pub rejected: BTreeMap<String, u64>,
    /// Items that were given up, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Items that wait.
    pub pending: u64,
}

impl Delivered {
    /// Whether the backend has what it was to get. Nothing is estimated here: what waits may still arrive or not.
    pub fn verdict(&self, demand: &Demand) -> Verdict {
        if self.accepted == 0 {
            return Verdict::Inconclusive { needs: Needs::Data { from: self.side } };
        }
        let lost = self.rejected.values().chain(self.dropped.values()).sum::<u64>();
        let share = |items: u64| items as f64 / self.accepted as f64;
        let (ratio_low, ratio_high) = (share(lost), share(lost + self.pending));
        let cause = Cause::NotDelivered { side: self.side, exporter: self.exporter.clone(), ratio_low, ratio_high };
        let finding = Finding { cause, evidence: self.evidence(lost), since_unix_ns: None };
        if ratio_low > demand.margin_ratio {
            return Verdict::Different(finding);
        }
        if ratio_high > demand.margin_ratio {
            return Verdict::Inconclusive {
                needs: Needs::Delivery { exporter: self.exporter.clone(), items: self.pending },
            };
        }
        Verdict::Equivalent { margin_ratio: ratio_high, confidence: 1.0, remark: (lost > 0).then_some(finding) }
    }

    fn evidence(&self, lost: u64) -> String {
        let named = |kind: &str, by: &BTreeMap<String, u64>| {
            let total = by.values().sum::<u64>();
            let causes: Vec<String> = by.iter().map(|(cause, items)| format!("{cause}: {items}")).collect();
            (total > 0).then(|| format!("{total} {kind} ({})", causes.join(", ")))
        };
        let parts = [named("rejected", &self.rejected), named("dropped", &self.dropped)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match lost {
            0 => format!("all of {} items", self.accepted),
            _ => format!("of {} items, {}", self.accepted, parts.join(" and ")),
        }
    }

    fn subject(&self, demand: &Demand) -> Subject {
        let verdict = self.verdict(demand);
        let mut subject = Subject::alone(self.signal, format!("delivery by {}", self.exporter), verdict);
        subject.depths.push(subject.at(Depth::Delivery));
        subject.differs_at = matches!(subject.verdict, Verdict::Different(_)).then_some(Depth::Delivery);
        subject
    }
}

/// What is known at each depth.
#[derive(Clone, Debug, Default)]
pub struct Depths {
    /// What both sides emit, compared.
    pub source: Option<Report>,
    /// What each exporter delivered.
    pub delivery: Vec<Delivered>,
    /// What both backends answer, compared.
    pub answer: Option<Report>,
}

impl Depths {
    /// Puts the depths together: one subject for each name, which says where it first differs.
    pub fn together(self, demand: &Demand) -> Report {
        let delivery: Vec<Subject> = self.delivery.iter().map(|delivered| delivered.subject(demand)).collect();
        let of_signal = |signal: &str| {
            let verdicts: Vec<Verdict> =
                delivery.iter().filter(|subject| subject.signal == signal).map(|s| s.verdict.clone()).collect();
            (!verdicts.is_empty()).then(|| worst(verdicts.into_iter()))
        };
        let delivered: BTreeMap<&str, Verdict> =
            Signal::ALL.iter().filter_map(|signal| Some((signal.name(), of_signal(signal.name())?))).collect();
        let left_out = [&self.source, &self.answer].into_iter().flatten().map(|report| report.left_out).sum();
        let collisions =
            [&self.source, &self.answer].into_iter().flatten().flat_map(|report| report.collisions.clone());
        let mut collisions: Vec<_> = collisions.collect();
        collisions.dedup();
        let releases = [&self.source, &self.answer].into_iter().flatten().flat_map(|report| report.releases.clone());
        let releases = releases.collect();
        let mut suggestions: Vec<Suggestion> = Vec::new();
        for suggestion in [&self.source, &self.answer].into_iter().flatten().flat_map(|report| &report.suggestions) {
            if !suggestions.iter().any(|known| known.yaml == suggestion.yaml) {
                suggestions.push(suggestion.clone());
            }
        }
        suggestions.sort_by_key(|suggestion| matches!(suggestion.advice, Advice::Renamed { .. }));
        let mut by_name: BTreeMap<(&'static str, String), [Option<Subject>; 2]> = BTreeMap::new();
        for (at, report) in [self.source, self.answer].into_iter().enumerate() {
            for subject in report.into_iter().flat_map(|report| report.subjects) {
                let both = by_name.entry((subject.signal, subject.name.clone())).or_default();
                both[at] = Some(subject);
            }
        }
        let located = by_name
            .into_iter()
            .filter_map(|((signal, _), [source, answer])| located(source, delivered.get(signal), answer));
        let mut report = Report::of(located.chain(delivery.iter().cloned()).collect(), Vec::new(), left_out);
        (report.collisions, report.releases, report.suggestions) = (collisions, releases, suggestions);
        report
    }
}

/// One subject out of what it comes to at each depth.
fn located(source: Option<Subject>, delivery: Option<&Verdict>, answer: Option<Subject>) -> Option<Subject> {
    let delivery = delivery.map(|verdict| AtDepth {
        depth: Depth::Delivery,
        verdict: verdict.clone(),
        sentence: verdict.sentence(),
    });
    let of = |subject: &Option<Subject>, depth| subject.as_ref().map(|subject| subject.at(depth));
    let depths: Vec<AtDepth> =
        [of(&source, Depth::Source), delivery, of(&answer, Depth::Answer)].into_iter().flatten().collect();
    let first = depths.iter().position(|at| matches!(at.verdict, Verdict::Different(_)));
    let differs_at = first.map(|first| depths[first].depth);
    // The parts that are shown are those of the depth that decides.
    let mut subject = match differs_at {
        Some(Depth::Answer) => answer.or(source)?,
        _ => source.or(answer)?,
    };
    match first {
        Some(first) => {
            subject.verdict = depths[first].verdict.clone();
            subject.sentence = in_words(&depths, first);
        }
        None => {
            subject.verdict = worst(depths.iter().map(|at| at.verdict.clone()));
            subject.sentence = subject.verdict.sentence();
            let open: Vec<&str> = depths
                .iter()
                .filter(|at| matches!(at.verdict, Verdict::Inconclusive { .. }))
                .map(|at| at.depth.name())
                .collect();
            if !open.is_empty() && open.len() < depths.len() {
                subject.sentence += &format!(" ({} is open)", open.join(" and "));
            }
        }
    }
    subject.failure = crate::failures::Failure::of(&subject.verdict);
    subject.depths = depths;
    subject.differs_at = differs_at;
    Some(subject)
}

/// The difference at the first depth that has one, after what is in the clear or open before it.
fn in_words(depths: &[AtDepth], first: usize) -> String {
    let at = &depths[first];
    let before = |wanted: fn(&Verdict) -> bool| depths[..first].iter().filter(move |at| wanted(&at.verdict));
    let clear = before(|verdict| matches!(verdict, Verdict::Equivalent { .. })).map(|at| at.depth.in_the_clear());
    let open = before(|verdict| !matches!(verdict, Verdict::Equivalent { .. })).map(|at| at.depth.name());
    let (clear, open) = (clear.collect::<Vec<_>>().join(" and "), open.collect::<Vec<_>>().join(" and "));
    let clear = if clear.is_empty() { clear } else { format!("{clear}, but ") };
    let open = if open.is_empty() { open } else { format!(" ({open} is open)") };
    format!("{clear}differs at the {}{open}: {}; {}", at.depth, at.sentence, at.depth.blame())
}

impl Subject {
    fn at(&self, depth: Depth) -> AtDepth {
        AtDepth { depth, verdict: self.verdict.clone(), sentence: self.sentence.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EQUAL: Verdict = Verdict::Equivalent { margin_ratio: 0.001, confidence: 0.95, remark: None };

    fn lost() -> Verdict {
        Verdict::different(Cause::Loss { side: Side::New, ratio_low: 0.02, ratio_high: 0.03 }, "980 of 1000")
    }

    fn open() -> Verdict {
        Verdict::Inconclusive { needs: Needs::Overlap }
    }

    fn report(verdict: Verdict) -> Option<Report> {
        Some(Report::of(vec![Subject::alone(Signal::Metrics, "orders_total".to_owned(), verdict)], Vec::new(), 0))
    }

    fn delivered(rejected: u64, dropped: u64, pending: u64) -> Delivered {
        let by = |name: &str, items: u64| if items == 0 { BTreeMap::new() } else { [(name.to_owned(), items)].into() };
        Delivered {
            side: Side::New,
            signal: Signal::Metrics,
            exporter: "otlp/new".to_owned(),
            accepted: 1000,
            rejected: by("out_of_order", rejected),
            dropped: by("queue_full", dropped),
            pending,
        }
    }

    fn check_delivery(given: &Delivered, expected: &str, words: &str) {
        let verdict = given.verdict(&Demand::default());
        assert_eq!(verdict.name(), expected, "{given:?}");
        assert!(verdict.sentence().contains(words), "{}", verdict.sentence());
    }

    #[test]
    fn a_backend_has_what_it_was_to_get_or_the_ledger_says_why_not() {
        check_delivery(&delivered(0, 0, 0), "equivalent", "exactly equal");
        check_delivery(&delivered(0, 0, 5), "equivalent", "within 0.50 %");
        check_delivery(&delivered(3, 0, 0), "equivalent", "did not get 0.30 %");
        check_delivery(&delivered(0, 0, 200), "inconclusive", "200 items that `otlp/new` still has to deliver");
        check_delivery(&delivered(20, 11, 0), "different", "20 rejected (out_of_order: 20) and 11 dropped");
        check_delivery(&Delivered { accepted: 0, ..delivered(0, 0, 0) }, "inconclusive", "from the new side");
    }

    fn check(source: Option<Report>, delivery: Delivered, answer: Option<Report>, at: Option<Depth>, words: &str) {
        let depths = Depths { source, delivery: vec![delivery], answer };
        let report = depths.together(&Demand::default());
        let subject = report.subjects.iter().find(|subject| subject.name == "orders_total").unwrap();
        assert_eq!(subject.differs_at, at);
        assert!(subject.sentence.contains(words), "{}", subject.sentence);
    }

    #[test]
    fn the_first_depth_that_differs_is_named() {
        let fine = || delivered(0, 0, 0);
        let bad = || delivered(500, 0, 0);
        check(
            report(lost()),
            fine(),
            report(lost()),
            Some(Depth::Source),
            "differs at the source: the new side misses",
        );
        let words = "the same at the source, but differs at the delivery: `otlp/new` did not get 50 %";
        check(report(EQUAL), bad(), report(lost()), Some(Depth::Delivery), words);
        let words = "the same at the source and delivered, but differs at the answer";
        check(report(EQUAL), fine(), report(lost()), Some(Depth::Answer), words);
        let words = "delivered, but differs at the answer (source is open)";
        check(report(open()), fine(), report(lost()), Some(Depth::Answer), words);
        check(None, fine(), report(lost()), Some(Depth::Answer), "delivered, but differs at the answer");
        check(report(EQUAL), fine(), report(EQUAL), None, "equal within 0.1");
        check(report(EQUAL), fine(), report(open()), None, "(answer is open)");
    }

    #[test]
    fn what_is_open_at_one_depth_is_not_equal() {
        let depths = Depths { source: report(EQUAL), delivery: vec![delivered(0, 0, 0)], answer: report(open()) };
        let report = depths.together(&Demand::default());
        assert!(!report.is_equal());
        assert_eq!(report.counts, [("equivalent", 1), ("inconclusive", 1)].into());
    }

    #[test]
    fn what_would_help_is_said_once_and_what_concerns_everything_first() {
        let renamed = |new: &str| Suggestion::renamed(["old".to_owned(), new.to_owned()], 1.0, BTreeMap::new(), [1, 1]);
        let labels = [("cluster".to_owned(), "a".to_owned())].into();
        let shared = Suggestion::shared_labels(Side::New, labels, [9, 9], false);
        let with = |suggestions| report(EQUAL).map(|report| Report { suggestions, ..report });
        let source = with(vec![renamed("one"), renamed("two")]);
        let answer = with(vec![shared.clone(), renamed("one")]);
        let report = Depths { source, delivery: Vec::new(), answer }.together(&Demand::default());
        assert_eq!(report.suggestions, [shared, renamed("one"), renamed("two")]);
    }
}
