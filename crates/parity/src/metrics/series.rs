//! One series: what both sides counted of it, by the comparator of its kind, and the verdict.

use prom::names::MetricKind;

use super::{Known, MetricSettings, worst};
use crate::counter::{Count, Counter};
use crate::evidence::EValue;
use crate::family::{Claim, Family};
use crate::gauge::{Gauge, Level};
use crate::histogram::{Histogram, of_values};
use crate::levels::Levels;
use crate::members::{Form, Members, PAUSE_NS};
use crate::series_sets::Presence;
use crate::verdict::{Cause, Demand, Finding, Needs, Reason, Side, Verdict};

/// So many events of one side make the silence of the other one's deltas a stop.
const STOPPED_EVENTS_MIN: f64 = 10.0;

/// What compares a series.
#[derive(Clone, Debug)]
pub(super) enum Comparing {
    Counter(Box<Counted>),
    Gauge(Box<Levelled>),
    Histogram(Box<Histogram>),
    Summary(Box<Summary>),
}

/// What is kept of a series on one side, which may be looked at beside another one.
pub(super) enum Kept<'a> {
    Counter(&'a Counter),
    Gauge(&'a Gauge),
    /// The count, and the sum if one is told.
    Histogram(&'a Counter, Option<&'a Counter>),
}

/// What is compared of a side at a time, in nanoseconds since the Unix epoch: a value, or of distributions the count.
pub(super) type Shown = (u64, f64);

/// A counter, and who writes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    counter: Counter,
    members: [Members; 2],
}

/// A gauge.
#[derive(Clone, Debug, Default)]
pub(super) struct Levelled {
    gauge: Gauge,
    writers: [Levels; 2],
}

/// A summary: its count and its sum as counters, its quantiles only where one instance writes them.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    count: Counted,
    sum: Counted,
    /// The sides that tell their sum: none is the same as zero on the way.
    sums: [bool; 2],
    quantiles: Vec<(f64, Gauge)>,
}

/// When each side had a series, and what else is known of it beside its values.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) presence: [Presence; 2],
    pub(super) mixed_kinds: bool,
    /// Whether a side sends deltas.
    pub(super) deltas: [bool; 2],
    /// Whether it waits to be judged.
    pub(super) is_pending: bool,
}

/// A verdict in little memory: of many series, most are equal without a word, or need more events.
#[derive(Clone, Debug)]
pub(super) enum Judged {
    Equal {
        margin_ratio: f64,
        confidence: f64,
    },
    NeedsEvents {
        seen: f64,
        more: f64,
        margin_ratio: f64,
    },
    /// A difference that rests on chance, and how strong it is.
    Suspected(Box<(Finding, EValue)>),
    Other(Box<Verdict>),
}

impl Judged {
    pub(super) fn of(verdict: Verdict, strength: EValue) -> Judged {
        match verdict {
            Verdict::Different(finding) if !strength.is_certain() => Judged::Suspected(Box::new((finding, strength))),
            Verdict::Equivalent { margin_ratio, confidence, remark: None } => {
                Judged::Equal { margin_ratio, confidence }
            }
            Verdict::Inconclusive { needs: Needs::Events { seen, more, margin_ratio } } => {
                Judged::NeedsEvents { seen, more, margin_ratio }
            }
            other => Judged::Other(Box::new(other)),
        }
    }

    /// What is to be judged together with others.
    pub(super) fn claim(&self) -> Option<Claim> {
        match self {
            Judged::Equal { .. } | Judged::NeedsEvents { .. } => Some(Claim::Other),
            Judged::Suspected(suspected) => Some(Claim::Different(suspected.1)),
            Judged::Other(verdict) => Claim::of(verdict, EValue::CERTAIN),
        }
    }

    /// What remains of it in a family.
    pub(super) fn verdict(&self, family: &Family) -> Verdict {
        match self {
            Judged::Suspected(suspected) => family.judge(Verdict::Different(suspected.0.clone()), suspected.1),
            Judged::Equal { margin_ratio, confidence } => {
                Verdict::Equivalent { margin_ratio: *margin_ratio, confidence: *confidence, remark: None }
            }
            Judged::NeedsEvents { seen, more, margin_ratio } => {
                let needs = Needs::Events { seen: *seen, more: *more, margin_ratio: *margin_ratio };
                Verdict::Inconclusive { needs }
            }
            Judged::Other(verdict) => (**verdict).clone(),
        }
    }
}

impl Comparing {
    /// Whether it rises with what it counts.
    pub(super) const fn is_count(&self) -> bool {
        !matches!(self, Comparing::Gauge(_))
    }

    /// What is kept; none of summaries, whose quantiles say nothing of each other.
    pub(super) fn kept(&self) -> Option<Kept<'_>> {
        match self {
            Comparing::Counter(counted) => Some(Kept::Counter(&counted.counter)),
            Comparing::Gauge(levelled) => Some(Kept::Gauge(&levelled.gauge)),
            Comparing::Histogram(histogram) => {
                let (count, sum) = histogram.counters();
                Some(Kept::Histogram(count, sum))
            }
            Comparing::Summary(_) => None,
        }
    }

    pub(super) fn suits(&self, kind: MetricKind) -> bool {
        use MetricKind::{ExponentialHistogram, Gauge, Histogram, MonotonicSum, NonMonotonicSum, Summary, Unknown};
        match self {
            Comparing::Counter(_) => matches!(kind, MonotonicSum),
            Comparing::Gauge(_) => matches!(kind, Gauge | NonMonotonicSum | Unknown),
            Comparing::Histogram(_) => matches!(kind, Histogram | ExponentialHistogram),
            Comparing::Summary(_) => matches!(kind, Summary),
        }
    }
}

/// What is asked where a side trails itself by up to an interval of its writers.
fn trailing(settings: &MetricSettings) -> Demand {
    Demand { skew_ns: settings.demand.skew_ns + settings.interval_ns, ..settings.demand }
}

/// Quantiles are estimates over the last minutes, which jump from event to event: no two that look at different moments
/// agree any closer than this.
const QUANTILE_MARGIN_MIN: f64 = 0.05;

fn of_quantile(demand: &Demand) -> Demand {
    Demand { margin_ratio: demand.margin_ratio.max(QUANTILE_MARGIN_MIN), ..*demand }
}

fn of_histogram(histogram: &Histogram, settings: &MetricSettings) -> Demand {
    if histogram.are_several() { trailing(settings) } else { settings.demand }
}

impl Counted {
    /// Takes in what a writer counted, and gives what the side counted with it.
    pub(super) fn observe(&mut self, side: Side, writer: u64, form: Form, count: Count) -> Option<Shown> {
        let members = &mut self.members[side as usize];
        let count = members.add(writer, form, count);
        if let Some(count) = count {
            self.counter.observe(side, count);
        }
        if form == Form::Delta || members.are_several() {
            self.counter.adds_up(side);
        }
        count.map(|count| (count.time_unix_ns, count.value))
    }

    /// Takes note that a side was there before it had this series.
    pub(super) fn is_born_late(&mut self, side: Side) {
        self.counter.is_born_late(side);
    }

    /// Where several writers add up, a side trails itself by up to an interval of theirs.
    fn demand(&self, settings: &MetricSettings) -> Demand {
        if self.are_several() { trailing(settings) } else { settings.demand }
    }

    fn are_several(&self) -> bool {
        self.members.iter().any(Members::are_several)
    }

    /// What shows that two writers of a side share one identity, which those of the other side do not.
    fn shared_identity(&self, side: Side) -> Option<String> {
        self.members[side as usize].share_an_identity(&self.members[side.other() as usize])
    }
}

impl Levelled {
    /// Takes in where a writer stands, and gives where the side stands with it.
    pub(super) fn observe(&mut self, side: Side, writer: u64, level: Level) -> Option<Shown> {
        let levels = &mut self.writers[side as usize];
        if levels.is_joined_by(writer) {
            // One of several is not what all of them are.
            self.gauge.retract(side, level.time_unix_ns.saturating_sub(PAUSE_NS));
        }
        let level = levels.add(writer, level)?;
        self.gauge.observe(side, level);
        Some((level.time_unix_ns, level.value))
    }

    fn are_several(&self) -> bool {
        self.writers.iter().any(Levels::are_several)
    }
}

impl Default for Summary {
    fn default() -> Summary {
        let sum = Counted { counter: Counter::of_amounts(), ..Counted::default() };
        Summary { count: Counted::default(), sum, sums: [false; 2], quantiles: Vec::new() }
    }
}

impl Summary {
    pub(super) fn count(&mut self, side: Side, writer: u64, count: Count) -> Option<Shown> {
        self.count.observe(side, writer, Form::Cumulative, count)
    }

    pub(super) fn sum(&mut self, side: Side, writer: u64, sum: Count) {
        self.sums[side as usize] |= sum.value != 0.0;
        self.sum.observe(side, writer, Form::Cumulative, sum);
    }

    /// The verdict about what adds up, over all instances: the count, and the sum where both sides tell it.
    fn totals(&self, demand: &Demand) -> Verdict {
        let count = self.count.counter.verdict(demand);
        // What is not there is missing in the sum too, and the count says it better.
        match self.sums == [true, true] && !matches!(count, Verdict::Different(_)) {
            true => worst([count, self.of_sum(demand)].into_iter()),
            false => count,
        }
    }

    fn of_sum(&self, demand: &Demand) -> Verdict {
        match self.sum.counter.verdict(demand) {
            Verdict::Different(finding) => Verdict::Different(of_values(finding)),
            verdict => verdict,
        }
    }

    pub(super) fn quantile(&mut self, side: Side, quantile: f64, level: Level) {
        let at = self.quantiles.iter().position(|(known, _)| *known == quantile);
        let at = at.unwrap_or_else(|| {
            self.quantiles.push((quantile, Gauge::default()));
            self.quantiles.len() - 1
        });
        self.quantiles[at].1.observe(side, level);
    }
}

impl Comparing {
    pub(super) fn new(kind: MetricKind) -> Comparing {
        match kind {
            MetricKind::MonotonicSum => Comparing::Counter(Box::default()),
            MetricKind::Histogram | MetricKind::ExponentialHistogram => Comparing::Histogram(Box::default()),
            MetricKind::Summary => Comparing::Summary(Box::default()),
            MetricKind::Gauge | MetricKind::NonMonotonicSum | MetricKind::Unknown => Comparing::Gauge(Box::default()),
        }
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64, settings: &MetricSettings) {
        match self {
            Comparing::Counter(counted) => {
                let demand = counted.demand(settings);
                counted.counter.seal(watermark_unix_ns, &demand);
            }
            Comparing::Gauge(levelled) => levelled.gauge.seal(watermark_unix_ns, &settings.demand),
            Comparing::Histogram(histogram) => {
                let demand = of_histogram(histogram, settings);
                histogram.seal(watermark_unix_ns, &demand);
            }
            Comparing::Summary(summary) => {
                let demand = summary.count.demand(settings);
                summary.count.counter.seal(watermark_unix_ns, &demand);
                summary.sum.counter.seal(watermark_unix_ns, &demand);
                let demand = of_quantile(&demand);
                summary.quantiles.iter_mut().for_each(|(_, gauge)| gauge.seal(watermark_unix_ns, &demand));
            }
        }
    }

    pub(super) fn verdict(&self, identity: Known<'_>, seen: &Seen, settings: &MetricSettings) -> Verdict {
        if seen.mixed_kinds {
            return Verdict::NotComparable { reason: Reason::DifferentKinds };
        }
        if let Some(two) = self.two_writers() {
            return two;
        }
        if let Some(stopped) = self.stopped(seen, settings) {
            return stopped;
        }
        match self {
            Comparing::Counter(counted) => named(seen, counted.counter.verdict(&counted.demand(settings))),
            Comparing::Gauge(levelled) if levelled.are_several() && is_percentile(identity) => {
                Verdict::NotComparable { reason: Reason::PercentileOfPercentiles }
            }
            Comparing::Gauge(levelled) => levelled.gauge.verdict(&settings.demand),
            Comparing::Histogram(histogram) => histogram.verdict(&of_histogram(histogram, settings)),
            // The counts of several instances add up, and their percentiles do not.
            Comparing::Summary(summary) if summary.count.are_several() => {
                match summary.totals(&summary.count.demand(settings)) {
                    totals @ Verdict::Different(_) => totals,
                    totals if summary.quantiles.is_empty() => totals,
                    _ => Verdict::NotComparable { reason: Reason::PercentileOfPercentiles },
                }
            }
            Comparing::Summary(summary) => {
                let demand = summary.count.demand(settings);
                let of_quantile = of_quantile(&demand);
                let quantiles = summary.quantiles.iter().map(|(_, gauge)| gauge.verdict(&of_quantile));
                worst(std::iter::once(summary.totals(&demand)).chain(quantiles))
            }
        }
    }
}

impl Comparing {
    /// How strong a difference is. Only what is lost and how far levels are apart may rest on chance.
    pub(super) fn strength(&self, verdict: &Verdict, settings: &MetricSettings) -> EValue {
        let Verdict::Different(Finding { cause, .. }) = verdict else { return EValue::NOTHING };
        let may_be_chance = matches!(
            cause,
            Cause::Loss { .. }
                | Cause::DeltasLost { .. }
                | Cause::Duplicated { .. }
                | Cause::UnitChanged { .. }
                | Cause::Level { .. }
        );
        match self {
            _ if !may_be_chance => EValue::CERTAIN,
            Comparing::Counter(counted) => counted.counter.strength(),
            Comparing::Gauge(levelled) => levelled.gauge.strength(),
            Comparing::Histogram(histogram) => histogram.strength(),
            Comparing::Summary(summary) => summary.strength(cause, &summary.count.demand(settings)),
        }
    }
}

impl Summary {
    /// That of the part which differs by this cause, as one of several tests.
    fn strength(&self, cause: &Cause, demand: &Demand) -> EValue {
        let is_it = |verdict: Verdict| matches!(verdict, Verdict::Different(finding) if finding.cause == *cause);
        if is_it(self.count.counter.verdict(demand)) {
            return self.count.counter.strength();
        }
        if is_it(self.of_sum(demand)) {
            return self.sum.counter.strength();
        }
        let of_quantile = of_quantile(demand);
        let quantile = self.quantiles.iter().find(|(_, gauge)| is_it(gauge.verdict(&of_quantile)));
        quantile.map_or(EValue::NOTHING, |(_, gauge)| gauge.strength().shared_by(self.quantiles.len()))
    }
}

/// Whether a gauge holds a percentile that someone else made.
fn is_percentile(identity: Known<'_>) -> bool {
    let has_quantile = identity.pairs().any(|(name, _)| name == "quantile" || name == "percentile");
    let ends = |part: &str| {
        let digits = part.strip_prefix('p').or_else(|| part.strip_suffix("percentile")).or(part.strip_prefix("pct"));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    has_quantile || identity.metric().split('_').any(|part| ends(part) || part == "median")
}

impl Comparing {
    /// Several writers of one side share an identity.
    fn two_writers(&self) -> Option<Verdict> {
        let evidence = |side| match self {
            Comparing::Counter(counted) => counted.shared_identity(side),
            Comparing::Summary(summary) => summary.count.shared_identity(side),
            Comparing::Histogram(histogram) => histogram.shared_identity(side),
            Comparing::Gauge(_) => None,
        };
        let found = [Side::Legacy, Side::New].into_iter().find_map(|side| Some((side, evidence(side)?)));
        found.map(|(side, evidence)| Verdict::different(Cause::DuplicateWriters { side }, evidence))
    }

    /// One side had the series for a while, and has it no more while the other goes on.
    fn stopped(&self, seen: &Seen, settings: &MetricSettings) -> Option<Verdict> {
        [Side::Legacy, Side::New].into_iter().find_map(|side| {
            let (own, other) = (&seen.presence[side as usize], &seen.presence[side.other() as usize]);
            // Deltas are silent where nothing happens: the other side has to have counted meanwhile.
            let is_silent = seen.deltas[side as usize] && !self.has_risen_since(side, own.last_unix_ns());
            let is_over = own.is_lasting() && own.last_unix_ns() + settings.stopped_ns < other.last_unix_ns();
            (is_over && !is_silent).then(|| {
                let seconds = (other.last_unix_ns() - own.last_unix_ns()) / 1_000_000_000;
                let evidence = format!("the {} side went on for {seconds} s", side.other());
                let since_unix_ns = Some(own.last_unix_ns());
                Verdict::Different(Finding { cause: Cause::Stopped { side }, evidence, since_unix_ns })
            })
        })
    }

    /// Whether the side that goes on has counted since a moment, as far as that is known.
    fn has_risen_since(&self, silent: Side, time_unix_ns: u64) -> bool {
        let Comparing::Counter(counted) = self else { return true };
        counted.counter.rise_since(silent.other(), time_unix_ns) >= STOPPED_EVENTS_MIN
    }
}

/// A loss on a side that sends deltas is one of deltas.
fn named(seen: &Seen, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Different(Finding { cause: Cause::Loss { side, ratio_low, ratio_high }, evidence, since_unix_ns })
            if seen.deltas[side as usize] =>
        {
            let cause = Cause::DeltasLost { side, ratio_low, ratio_high };
            Verdict::Different(Finding { cause, evidence, since_unix_ns })
        }
        verdict => verdict,
    }
}
