//! What a comparison comes to.

use std::fmt;

use serde::Serialize;

/// Which of the two pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The one that is to go.
    Legacy,
    /// The one that is to stay.
    New,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Legacy => Side::New,
            Side::New => Side::Legacy,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Legacy => "legacy",
            Side::New => "new",
        })
    }
}

/// What is asked of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Two things are equal if they differ by no more than this, relative to the legacy side: 0.01 is one percent.
    pub margin_ratio: f64,
    /// How sure a verdict is to be: 0.95.
    pub confidence: f64,
    /// The clocks of the two sides differ by no more than this.
    pub skew_ns: u64,
}

impl Default for Demand {
    fn default() -> Self {
        Demand { margin_ratio: 0.01, confidence: 0.95, skew_ns: 1_000_000_000 }
    }
}

/// What a comparison comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Both sides are the same within a margin.
    Equivalent {
        /// The smallest margin that was proven, relative to the legacy side.
        margin_ratio: f64,
        /// How sure that is; 1 where no chance is involved.
        confidence: f64,
        /// A difference that is there and smaller than the margin, or that everything was counted one by one.
        remark: Option<Finding>,
    },
    /// The sides differ.
    Different(Finding),
    /// What was seen does not decide it. It never counts as equal.
    Inconclusive {
        /// What would.
        needs: Needs,
    },
    /// There is nothing that could be the same.
    NotComparable {
        /// Why.
        reason: Reason,
    },
}

impl Verdict {
    /// `equivalent`, `different`, `inconclusive` or `not_comparable`.
    pub const fn name(&self) -> &'static str {
        match self {
            Verdict::Equivalent { .. } => "equivalent",
            Verdict::Different(_) => "different",
            Verdict::Inconclusive { .. } => "inconclusive",
            Verdict::NotComparable { .. } => "not_comparable",
        }
    }

    /// The margin that is proven now, whether or not it is the one that was asked for.
    pub const fn margin_ratio(&self) -> Option<f64> {
        match self {
            Verdict::Equivalent { margin_ratio, .. }
            | Verdict::Inconclusive {
                needs: Needs::Events { margin_ratio, .. } | Needs::Steadiness { margin_ratio },
            } => Some(*margin_ratio),
            _ => None,
        }
    }

    pub(crate) fn different(cause: Cause, evidence: impl Into<String>) -> Verdict {
        Verdict::Different(Finding { cause, evidence: evidence.into(), since_unix_ns: None })
    }
}

/// A difference, and what shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What makes it.
    pub cause: Cause,
    /// The figures, in words.
    pub evidence: String,
    /// When it was first seen, in the time of the telemetry.
    pub since_unix_ns: Option<u64>,
}

impl Finding {
    /// The cause and what shows it, in one sentence.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.cause, self.evidence)
    }

    /// The remark about two things together: a difference comes first, and what only one of them says is no remark about
    /// both.
    pub(crate) fn about_both(one: Option<Finding>, other: Option<Finding>) -> Option<Finding> {
        let counted = |finding: &Option<Finding>| match finding {
            Some(Finding { cause: Cause::AllThere { counted }, .. }) => Some(*counted),
            _ => None,
        };
        match (counted(&one), counted(&other)) {
            (Some(first), Some(second)) => {
                let cause = Cause::AllThere { counted: first + second };
                one.map(|one| Finding { cause, ..one })
            }
            (Some(_), None) => other,
            (None, Some(_)) => one,
            (None, None) => one.or(other),
        }
    }
}

/// What is missing for a verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "needs", rename_all = "snake_case")]
pub enum Needs {
    /// Nothing came from one side yet.
    Data {
        /// From which.
        from: Side,
    },
    /// The sides overlap too little.
    Overlap,
    /// What was counted proves only a larger margin.
    Events {
        /// How many were counted in both.
        seen: f64,
        /// About how many more would prove the margin.
        more: f64,
        /// What is proven so far.
        margin_ratio: f64,
    },
    /// Too few windows of time.
    Windows {
        /// How many there are.
        seen: u32,
        /// How many more would do at least.
        more: u32,
    },
    /// Items that wait for a backend.
    Delivery {
        /// The exporter that has to deliver them.
        exporter: String,
        /// How many.
        items: u64,
    },
    /// It moves so much that the margin is not proven.
    Steadiness {
        /// What is proven so far.
        margin_ratio: f64,
    },
    /// It looks different, and not so clearly that it could not be chance among so many.
    Certainty {
        /// What it looks like.
        suspected: Box<Finding>,
        /// How many are judged together.
        series: u64,
        /// How strongly what was seen speaks against chance.
        e_value: f64,
        /// How strongly it would have to.
        e_value_wanted: f64,
    },
    /// The legacy side differs from a replica of itself as much.
    BeyondNoise {
        /// What it looks like.
        suspected: Box<Finding>,
        /// By how much the legacy side may differ from its replica; none where it differs in kind.
        floor_ratio: Option<f64>,
    },
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Needs::Data { from } => write!(f, "data from the {from} side, from which nothing came yet"),
            Needs::Overlap => f.write_str("both sides, for the same time"),
            Needs::Events { seen, more, margin_ratio } if margin_ratio.is_finite() => {
                let (seen, more) = (Amount(*seen), Amount(*more));
                write!(f, "to count about {more} more; the {seen} so far prove {}", Percent(*margin_ratio))
            }
            Needs::Events { seen, more, .. } => {
                write!(f, "to count about {} more; the {} so far prove nothing", Amount(*more), Amount(*seen))
            }
            Needs::Windows { seen, more } => write!(f, "{more} more windows beside the {seen} there are"),
            Needs::Delivery { exporter, items } => write!(f, "{items} items that `{exporter}` still has to deliver"),
            Needs::Steadiness { margin_ratio } if !margin_ratio.is_finite() => f.write_str("more time"),
            Needs::Steadiness { margin_ratio } => {
                write!(f, "more time; so far it proves {}", Percent(*margin_ratio))
            }
            Needs::BeyondNoise { suspected, floor_ratio } => {
                let noise =
                    floor_ratio.map_or("in the same way".to_owned(), |ratio| format!("by up to {}", Percent(ratio)));
                let cause = &suspected.cause;
                write!(f, "more than the noise: {cause}, and the legacy side differs from its own replica {noise}")
            }
            Needs::Certainty { suspected, series, .. } => {
                write!(f, "more time: {}, not yet enough among {series} series", suspected.cause)
            }
        }
    }
}

/// Why there is nothing to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A quantile of several instances' quantiles is no quantile.
    PercentileOfPercentiles,
    /// The bounds of the buckets have nothing in common, and nothing else is shared.
    NoSharedBounds,
    /// One side measures how much, the other how often, or the like.
    DifferentKinds,
    /// The configuration leaves it out.
    Ignored,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::PercentileOfPercentiles => "percentiles of several instances cannot be put together to percentiles",
            Reason::NoSharedBounds => "the buckets have no bounds in common",
            Reason::DifferentKinds => "the two sides are of different kinds",
            Reason::Ignored => "the configuration leaves it out",
        })
    }
}

/// What makes a difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// One side counts less than the other.
    Loss {
        /// Which.
        side: Side,
        /// The share that is missing, between these.
        ratio_low: f64,
        /// The upper end.
        ratio_high: f64,
    },
    /// A backend did not get all that was accepted for it.
    NotDelivered {
        /// Whose backend.
        side: Side,
        /// The exporter that was to deliver it.
        exporter: String,
        /// The share that was refused or given up.
        ratio_low: f64,
        /// With what still waits.
        ratio_high: f64,
    },
    /// Deltas did not arrive on one side.
    DeltasLost {
        /// On which side.
        side: Side,
        /// The share that is missing, between these.
        ratio_low: f64,
        /// The upper end.
        ratio_high: f64,
    },
    /// One side counts a whole multiple of the other.
    Duplicated {
        /// Which.
        side: Side,
        /// How often each event is there.
        times: f64,
    },
    /// Everything of one side is a factor of the other, as by a unit.
    UnitChanged {
        /// new = factor * legacy.
        factor: f64,
    },
    /// What was counted before the first sample is missing on one side.
    FirstIncrementLost {
        /// Where.
        side: Side,
        /// How much.
        amount: f64,
    },
    /// One side begins anew while the other goes on.
    InjectedResets {
        /// Which.
        side: Side,
        /// How often.
        resets: u32,
    },
    /// No difference: everything that one side counted is on the other, which stands beside an equality that rests on
    /// single events instead of a margin.
    AllThere {
        /// How much was counted.
        counted: f64,
    },
    /// The sides move apart in no simple way.
    Diverged,
    /// One side stopped while the other goes on.
    Stopped {
        /// Which.
        side: Side,
    },
    /// One side has nothing for a while, in which the other goes on, and is there again.
    Gap {
        /// Which.
        side: Side,
        /// For how long.
        seconds: u64,
    },
    /// The levels differ.
    Level {
        /// new / legacy - 1, at least.
        ratio: f64,
    },
    /// Values fall into other buckets.
    BucketsShifted {
        /// At this bound the sides differ first.
        bound: f64,
    },
    /// Seconds were recorded into buckets that are made for milliseconds.
    SecondsInMillisecondBuckets,
    /// A series is on one side only.
    SeriesMissing {
        /// Where it is missing.
        side: Side,
    },
    /// An attribute is on one side only.
    AttributeMissing {
        /// Where it is missing.
        side: Side,
        /// Its key.
        key: String,
    },
    /// An attribute of the series stands in `target_info` on the other side.
    MovedToTarget {
        /// Its key.
        key: String,
    },
    /// The values of a label are written differently.
    ValueRewritten {
        /// The label.
        key: String,
    },
    /// One series of one side is several on the other.
    Split {
        /// The side that has several.
        side: Side,
        /// How many.
        parts: u32,
    },
    /// Several writers share one series.
    DuplicateWriters {
        /// On which side.
        side: Side,
    },
    /// Several names of one side become one on the other.
    NamesCollide {
        /// The names.
        names: Vec<String>,
    },
    /// Traces of one side are several on the other.
    TracesFragmented {
        /// On which side.
        side: Side,
        /// The share of traces.
        ratio: f64,
    },
    /// A release differs from those before it on one side, and does not on the other.
    ReleaseDeviates {
        /// Its build tag.
        release: String,
        /// Where.
        side: Side,
        /// By how much it is higher than the releases before it: 0.4 is 40 %.
        ratio: f64,
    },
    /// Fields of the same thing differ.
    FieldsDiffer {
        /// Which.
        fields: Vec<String>,
    },
}

/// A count or an amount as a person writes it: whole where it is large, and without the digits that rounding leaves.
pub(crate) struct Amount(pub(crate) f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if self.0.fract() == 0.0 || size >= 1e6 {
            return write!(f, "{:.0}", self.0);
        }
        // Four digits, and none that are zero at the end.
        let digits = (3.0 - size.log10().floor()).clamp(0.0, 12.0) as usize;
        let text = format!("{:.digits$}", self.0);
        f.write_str(if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text })
    }
}

/// A ratio as a person writes it.
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        match percent.abs() {
            size if size >= 10.0 => write!(f, "{percent:.0} %"),
            // What is a little more than a round margin is not the margin.
            size if size > 1.0 && size < 1.05 => write!(f, "{:.2} %", percent.signum() * (size * 100.0).ceil() / 100.0),
            size if size >= 1.0 => write!(f, "{percent:.1} %"),
            0.0 => f.write_str("0 %"),
            size if size >= 0.01 => write!(f, "{percent:.2} %"),
            // More digits help nobody, and nothing is not what it is.
            _ => f.write_str("0.01 %"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Loss { side, ratio_low, ratio_high } if *ratio_low <= 0.0 => {
                write!(f, "the {side} side misses up to {}", Percent(*ratio_high))
            }
            Cause::Loss { side, ratio_low, ratio_high } => {
                write!(f, "the {side} side misses {} to {}", Percent(*ratio_low), Percent(*ratio_high))
            }
            Cause::NotDelivered { exporter, ratio_low, ratio_high, .. } if ratio_low == ratio_high => {
                write!(f, "`{exporter}` did not get {} of what it was to", Percent(*ratio_low))
            }
            Cause::NotDelivered { exporter, ratio_low, ratio_high, .. } => {
                let (low, high) = (Percent(*ratio_low), Percent(*ratio_high));
                write!(f, "`{exporter}` did not get {low} of what it was to, {high} with what waits")
            }
            Cause::DeltasLost { side, ratio_low, ratio_high } => {
                write!(f, "deltas are lost on the {side} side: {} to {}", Percent(*ratio_low), Percent(*ratio_high))
            }
            Cause::Duplicated { side, times } => write!(f, "the {side} side counts everything {times} times"),
            Cause::UnitChanged { factor } => write!(f, "the new side is {factor} times the legacy one: another unit"),
            Cause::FirstIncrementLost { side, amount } => {
                let amount = Amount(*amount);
                write!(f, "the first {amount} are lost on the {side} side: it begins only after that was counted")
            }
            Cause::InjectedResets { side, resets } => {
                write!(f, "the {side} side begins anew {resets} times while the other goes on")
            }
            Cause::AllThere { counted } if *counted == 0.0 => f.write_str("nothing was counted on either side"),
            Cause::AllThere { counted } => write!(f, "all {} that were counted are on both sides", Amount(*counted)),
            Cause::Diverged => f.write_str("the sides move apart"),
            Cause::Stopped { side } => write!(f, "the {side} side has stopped while the other goes on"),
            Cause::Gap { side, seconds } => {
                write!(f, "the {side} side has nothing for {seconds} s while the other goes on")
            }
            Cause::Level { ratio } => write!(f, "the new side is {} off", Percent(*ratio)),
            Cause::BucketsShifted { bound } => write!(f, "values fall into other buckets from the bound {bound} on"),
            Cause::SecondsInMillisecondBuckets => f.write_str("seconds are recorded into buckets for milliseconds"),
            Cause::SeriesMissing { side } => write!(f, "the {side} side does not have the series"),
            Cause::AttributeMissing { side, key } => write!(f, "the {side} side lacks the attribute `{key}`"),
            Cause::MovedToTarget { key } => write!(f, "the attribute `{key}` moved to `target_info`"),
            Cause::ValueRewritten { key } => write!(f, "the values of `{key}` are written differently"),
            Cause::Split { side, parts } => write!(f, "one series is {parts} on the {side} side"),
            Cause::DuplicateWriters { side } => write!(f, "several writers share the series on the {side} side"),
            Cause::NamesCollide { names } => write!(f, "{} become one name", names.join(" and ")),
            Cause::TracesFragmented { side, ratio } => {
                write!(f, "{} of the traces are broken into several on the {side} side", Percent(*ratio))
            }
            Cause::ReleaseDeviates { release, side, ratio } => {
                let direction = if *ratio > 0.0 { "higher" } else { "lower" };
                let ratio = Percent(ratio.abs());
                write!(
                    f,
                    "release {release} is {ratio} {direction} than the releases before it on the {side} side alone"
                )
            }
            Cause::FieldsDiffer { fields } => write!(f, "{} differ", fields.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_written_with_the_digits_that_matter() {
        let shown: Vec<String> =
            [0.5, 0.0123, 0.01, 0.01002, 0.0037, 0.0, 1.5e-6].map(|ratio| Percent(ratio).to_string()).into();
        assert_eq!(shown, ["50 %", "1.2 %", "1.0 %", "1.01 %", "0.37 %", "0 %", "0.01 %"]);
    }

    #[test]
    fn amounts_are_written_without_the_digits_that_rounding_leaves() {
        let amounts = [3.0, 0.1 + 0.2, 12_345.678, 0.000_123_456, 17_909.0, 2e9 + 0.5, 0.0];
        let shown: Vec<String> = amounts.map(|amount| Amount(amount).to_string()).into();
        assert_eq!(shown, ["3", "0.3", "12346", "0.0001235", "17909", "2000000000", "0"]);
    }

    #[test]
    fn needs_read_as_what_is_needed() {
        let events = |seen, more, margin_ratio| Needs::Events { seen, more, margin_ratio };
        let needs = [
            Needs::Data { from: Side::New },
            events(37.0, 163.0, 0.0541),
            events(0.0, 200.0, f64::INFINITY),
            events(1.25, 0.3, 0.012),
        ];
        let shown: Vec<String> = needs.map(|needs| Verdict::Inconclusive { needs }.sentence()).into();
        let expected = [
            "needs data from the new side, from which nothing came yet",
            "needs to count about 163 more; the 37 so far prove 5.4 %",
            "needs to count about 200 more; the 0 so far prove nothing",
            "needs to count about 0.3 more; the 1.25 so far prove 1.2 %",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_remark_about_two_things_is_true_of_both() {
        let all = |counted| {
            Some(Finding { cause: Cause::AllThere { counted }, evidence: String::new(), since_unix_ns: None })
        };
        let lost = || Some(Finding { cause: Cause::Diverged, evidence: String::new(), since_unix_ns: None });
        assert_eq!(Finding::about_both(all(2.0), all(3.0)), all(5.0));
        assert_eq!(Finding::about_both(all(2.0), None), None);
        assert_eq!(Finding::about_both(None, all(2.0)), None);
        assert_eq!(Finding::about_both(all(2.0), lost()), lost());
        assert_eq!(Finding::about_both(lost(), all(2.0)), lost());
    }

    #[test]
    fn a_verdict_is_one_object_with_its_kind_in_a_field() {
        let verdict = Verdict::different(Cause::Stopped { side: Side::New }, "nothing since 12:00");
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["verdict"], "different");
        assert_eq!(json["cause"], serde_json::json!({"cause": "stopped", "side": "new"}));
    }
}
