//! The failures of migrations that have a name: what happened, an example, and what to do about it.

use serde::Serialize;

use crate::verdict::{Cause, Reason, Verdict};

/// A failure that migrations are known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// What a counter counted before its first sample is lost to every query.
    FirstIncrementLost,
    /// A counter begins anew, or states another start, on one side only.
    InjectedResets,
    /// Seconds recorded into buckets that are made for milliseconds.
    SecondsInMillisecondBuckets,
    /// A unit changed, and thresholds did not.
    UnitChanged,
    /// An attribute was lost, added, rewritten, or moved to the resource.
    AttributeChanged,
    /// Percentiles of several instances were put together.
    PercentilesOfPercentiles,
    /// Deltas were dropped by what cannot carry them, or lost in a crash.
    DeltasDropped,
    /// Two writers share a series, or two names became one.
    DuplicateWriters,
    /// Services propagate their context in different formats, so that traces fall apart.
    MixedPropagators,
    /// Data is missing and nobody said so.
    SilentLoss,
}

/// What is known of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its title.
    pub title: &'static str,
    /// What happens.
    pub explanation: &'static str,
    /// How it looks.
    pub example: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Failure {
    /// All of them.
    pub const ALL: [Failure; 10] = [
        Failure::FirstIncrementLost,
        Failure::InjectedResets,
        Failure::SecondsInMillisecondBuckets,
        Failure::UnitChanged,
        Failure::AttributeChanged,
        Failure::PercentilesOfPercentiles,
        Failure::DeltasDropped,
        Failure::DuplicateWriters,
        Failure::MixedPropagators,
        Failure::SilentLoss,
    ];

    /// The failure that a verdict is an instance of, if it has a name.
    pub fn of(verdict: &Verdict) -> Option<Failure> {
        match verdict {
            Verdict::Different(finding) => Failure::of_cause(&finding.cause),
            Verdict::Equivalent { remark: Some(finding), .. } => Failure::of_cause(&finding.cause),
            Verdict::NotComparable { reason: Reason::PercentileOfPercentiles } => {
                Some(Failure::PercentilesOfPercentiles)
            }
            Verdict::Equivalent { .. } | Verdict::Inconclusive { .. } | Verdict::NotComparable { .. } => None,
        }
    }

    /// The failure that makes a difference of this cause.
    pub const fn of_cause(cause: &Cause) -> Option<Failure> {
        match cause {
            Cause::FirstIncrementLost { .. } => Some(Failure::FirstIncrementLost),
            Cause::InjectedResets { .. } => Some(Failure::InjectedResets),
            Cause::SecondsInMillisecondBuckets => Some(Failure::SecondsInMillisecondBuckets),
            Cause::UnitChanged { .. } => Some(Failure::UnitChanged),
            Cause::AttributeMissing { .. } | Cause::MovedToTarget { .. } | Cause::ValueRewritten { .. } => {
                Some(Failure::AttributeChanged)
            }
            Cause::DeltasLost { .. } => Some(Failure::DeltasDropped),
            Cause::Duplicated { .. } | Cause::DuplicateWriters { .. } | Cause::NamesCollide { .. } => {
                Some(Failure::DuplicateWriters)
            }
            Cause::TracesFragmented { .. } => Some(Failure::MixedPropagators),
            Cause::Loss { .. } | Cause::Stopped { .. } | Cause::Gap { .. } | Cause::SeriesMissing { .. } => {
                Some(Failure::SilentLoss)
            }
            // The ledger names what a backend refused: nothing of it is silent.
            Cause::NotDelivered { .. }
            | Cause::AllThere { .. }
            | Cause::Diverged
            | Cause::Level { .. }
            | Cause::BucketsShifted { .. }
            | Cause::Split { .. }
            | Cause::ReleaseDeviates { .. }
            | Cause::FieldsDiffer { .. } => None,
        }
    }

    /// The name in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Failure::FirstIncrementLost => "first_increment_lost",
            Failure::InjectedResets => "injected_resets",
            Failure::SecondsInMillisecondBuckets => "seconds_in_millisecond_buckets",
            Failure::UnitChanged => "unit_changed",
            Failure::AttributeChanged => "attribute_changed",
            Failure::PercentilesOfPercentiles => "percentiles_of_percentiles",
            Failure::DeltasDropped => "deltas_dropped",
            Failure::DuplicateWriters => "duplicate_writers",
            Failure::MixedPropagators => "mixed_propagators",
            Failure::SilentLoss => "silent_loss",
        }
    }

    /// What happens, an example, and what to do.
    pub const fn explain(self) -> Explanation {
        match self {
            Failure::FirstIncrementLost => Explanation {
                title: "The first increment of a counter is lost",
                explanation: "A counter that first shows up with a value has, to PromQL, not risen: rate() and increase() \
                              see only what comes after the first sample. Counters that rise rarely lose most of what \
                              they count.",
                example: "errors_total appears with 3 and stays there: increase(errors_total[1h]) is 0 on the new side and \
                          3 on the legacy one.",
                remedy: "Send the start time (OTLP does, and remote write 2.0), write a zero before the first value, or \
                         initialise the counter with 0 when the process starts.",
            },
            Failure::InjectedResets => Explanation {
                title: "Resets that only one side has",
                explanation: "Something between the application and one backend starts the counter anew: an aggregator that \
                              restarts without its state, or a start time that is stated afresh with each push.",
                example: "The legacy counter rises from 10,000 to 10,600; the new one shows 0, 300, 0, 280, and its rate has \
                          spikes.",
                remedy: "Keep the state of aggregators over restarts, one owner for each series, and start times that only \
                         change when the process does.",
            },
            Failure::SecondsInMillisecondBuckets => Explanation {
                title: "Seconds in buckets for milliseconds",
                explanation: "The instrument now records seconds, as the semantic conventions ask, and the buckets are \
                              still those for milliseconds: nearly all values fall into the first one.",
                example: "The 95th percentile is flat at 4.75, which is 95 % of the first bucket's bound 5.",
                remedy: "Give the instrument bounds in seconds (0.005, 0.01, 0.025, … 10) with a view, or use exponential \
                         histograms, which need no bounds.",
            },
            Failure::UnitChanged => Explanation {
                title: "Another unit",
                explanation: "The two sides measure the same in different units, and whatever compares the value with a \
                              number still has the old one.",
                example: "request_duration_ms > 500 became http.server.request.duration > 500, which never fires: it is \
                          0.5 now.",
                remedy: "Name the pair in migration.names with its scale, and rescale thresholds in alerts and dashboards \
                         along with the name.",
            },
            Failure::AttributeChanged => Explanation {
                title: "An attribute is gone, new, or written otherwise",
                explanation: "Series are told apart by other labels than before, so that queries which group or select by \
                              them find nothing, or find everything in one.",
                example: "sum by (method) (rate(…)) returns one line without a label: method is now http.request.method, or \
                          stands in target_info.",
                remedy: "Map the label in migration.names, promote the resource attribute to a label, or join with \
                         target_info.",
            },
            Failure::PercentilesOfPercentiles => Explanation {
                title: "Percentiles of percentiles",
                explanation: "Each instance sends its own percentiles, and someone averages them. No function of percentiles \
                              is the percentile of all values.",
                example: "Two instances with a p99 of 100 ms and 2 s: their mean says 1.05 s, the truth lies between 100 ms \
                          and 2 s.",
                remedy: "Send histograms, which can be added up, and compute the percentile in the query; compare \
                         percentiles only for one instance.",
            },
            Failure::DeltasDropped => Explanation {
                title: "Deltas are lost on the way",
                explanation: "A delta that does not arrive is gone for good, while a cumulative value is made up for by the \
                              next. Backends that know only cumulative values refuse deltas, often without a word.",
                example: "The OTLP side counts all requests; Prometheus, fed with deltas by remote write, has no such \
                          series.",
                remedy: "Convert to cumulative with kept state before such a backend, and deliver deltas with \
                         acknowledgements.",
            },
            Failure::DuplicateWriters => Explanation {
                title: "Several writers, or several names, in one series",
                explanation: "Two processes write the same series, or two names become the same after their characters are \
                              replaced. The values take turns, and every query is wrong.",
                example: "a.b and a_b are both a_b in Prometheus; or an agent and a gateway both scrape the same target.",
                remedy: "Give each writer an attribute of its own (service.instance.id), stop one of them, or rename one of \
                         the two metrics.",
            },
            Failure::MixedPropagators => Explanation {
                title: "Traces fall apart",
                explanation: "Some services pass their context on as B3 or uber-trace-id and some as W3C traceparent; where \
                              they meet, the callee begins a trace of its own.",
                example: "One trace of 12 spans on the legacy side is three on the new one, two of them without a root.",
                remedy: "Let every service extract and inject both formats while both are in use: \
                         OTEL_PROPAGATORS=tracecontext,baggage,b3,jaeger.",
            },
            Failure::SilentLoss => Explanation {
                title: "Silent loss",
                explanation: "One side has less than the other and nothing reported an error: datagrams that a full buffer \
                              dropped, a queue that was full, a pipeline that was not yet or no longer there.",
                example: "The StatsD side counts 1 % less than the OTLP side, all the time or only at peaks.",
                remedy: "Look into the ledger for what was rejected or dropped, and at crossfade_receiver_lost for \
                         datagrams; raise buffers, or send over a transport that acknowledges. What is missing whole \
                         may have another name: say so in migration.names.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_explained_with_an_example_and_a_remedy() {
        for failure in Failure::ALL {
            let explanation = failure.explain();
            let texts = [explanation.title, explanation.explanation, explanation.example, explanation.remedy];
            assert!(texts.iter().all(|text| text.len() > 10), "{failure:?}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<&str> = Failure::ALL.iter().map(|failure| failure.name()).collect();
        assert_eq!(names.len(), Failure::ALL.len());
    }
}
