//! Totals: what a metric adds up to as each receiver takes it, so that two ways of measuring the same can be compared.
//!
//! A total is the sum of all increases since the process started: of a delta each value, of a cumulative series that only
//! rises the difference to what is known of it. Sums count by their values, histograms and summaries by their counts. Integers
//! add up exactly. Points may arrive in any order: of one series and start time the greatest value counts.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use config::Section;
use otlp::view::{KeyValueView, MetricData, MetricView, Repeated};
use otlp::{Batch, NumberValue, Temporality};
use parking_lot::Mutex;

/// So many series of one metric and receiver are followed; the points of further ones are counted as left out.
const SERIES_MAX: usize = 10_000;

/// `ledger.totals`: metrics that measure the same, by their names on either side.
#[derive(Clone, Debug, Default)]
pub(crate) struct TotalsSettings {
    groups: Vec<Vec<String>>,
}

impl TotalsSettings {
    /// Reads the list; a group is one name or several.
    pub(crate) fn read(section: &mut Section<'_>) -> TotalsSettings {
        let names = |names: &Vec<String>| !names.is_empty() && names.iter().all(|name| !name.is_empty());
        let groups = section.children("totals", |group| {
            group.get("metrics").strings().ensure("the names of metrics that measure the same", names).required()
        });
        let groups: Vec<Vec<String>> = groups.into_iter().flatten().collect();
        let mut seen = Vec::new();
        for name in groups.iter().flatten() {
            if seen.contains(&name) {
                section.error("totals", format!("`{name}` stands there twice; a metric belongs to one group"));
            }
            seen.push(name);
        }
        TotalsSettings { groups }
    }
}

/// A sum of integers and of doubles, each without rounding the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    integers: i128,
    doubles: f64,
}

impl Sum {
    fn add(&mut self, value: NumberValue) {
        match value {
            NumberValue::Int(value) => self.integers += i128::from(value),
            NumberValue::Double(value) if value.is_finite() => self.doubles += value,
            NumberValue::Double(_) => {}
        }
    }

    fn value(self) -> f64 {
        self.integers as f64 + self.doubles
    }
}

/// What is known of one cumulative series.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start_unix_ns: u64,
    time_unix_ns: u64,
    value: NumberValue,
}

/// What one metric of one receiver adds up to.
#[derive(Debug, Default)]
struct Account {
    sum: Sum,
    points: u64,
    left_out_points: u64,
    series: HashMap<u64, Epoch>,
}

/// Metrics that measure the same, and what each receiver made of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TotalsGroup {
    /// Their names, as the configuration has them.
    pub metrics: Vec<String>,
    /// One line for each receiver and name that brought something.
    pub totals: Vec<Total>,
}

impl TotalsGroup {
    /// Whether all of them are the same, to the last unit; none while there are not two to compare.
    pub fn agree(&self) -> Option<bool> {
        let (first, rest) = self.totals.split_first()?;
        let same = |total: &Total| total.total.to_bits() == first.total.to_bits() && total.left_out_points == 0;
        (!rest.is_empty()).then(|| first.left_out_points == 0 && rest.iter().all(same))
    }
}

/// One line of the totals.
#[derive(Clone, Debug, PartialEq)]
pub struct Total {
    /// The receiver's id.
    pub receiver: String,
    /// The metric's name.
    pub metric: String,
    /// What its increases add up to since the process started.
    pub total: f64,
    /// Points that were taken into account.
    pub points: u64,
    /// Points of series beyond the bound, which are missing in the total.
    pub left_out_points: u64,
}

/// The totals of every receiver.
#[derive(Debug)]
pub(crate) struct Totals {
    names: Vec<Vec<String>>,
    groups: HashMap<String, usize>,
    started_unix_ns: u64,
    hasher: RandomState,
    accounts: Mutex<BTreeMap<(usize, String, String), Account>>,
}

impl Totals {
    pub(crate) fn new(settings: &TotalsSettings, started_unix_ns: u64) -> Totals {
        let named =
            |(group, names): (usize, &Vec<String>)| names.iter().map(move |name| (name.clone(), group)).collect();
        let groups = settings.groups.iter().enumerate().flat_map::<Vec<_>, _>(named).collect();
        Totals {
            names: settings.groups.clone(),
            groups,
            started_unix_ns,
            hasher: RandomState::new(),
            accounts: Mutex::default(),
        }
    }

    /// Whether any metric is to be added up.
    pub(crate) fn are_wanted(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Adds what a receiver's batch brought, after it was accepted.
    pub(crate) fn add(&self, receiver: &str, batch: &Batch) {
        let Some(metrics) = batch.metrics() else { return };
        for resource in metrics.resource_metrics() {
            for scope in resource.scope_metrics() {
                for metric in scope.metrics() {
                    let Some(group) = self.groups.get(metric.name()) else { continue };
                    let context = self.hash_of(resource.resource().attributes())
                        ^ self.hasher.hash_one(scope.scope().name()).rotate_left(1);
                    let key = (*group, receiver.to_owned(), metric.name().to_owned());
                    let mut accounts = self.accounts.lock();
                    self.add_metric(&metric, context, accounts.entry(key).or_default());
                }
            }
        }
    }

    fn add_metric(&self, metric: &MetricView<'_>, context: u64, account: &mut Account) {
        let series = |attributes| context ^ self.hash_of(attributes).rotate_left(2);
        let count = |count: u64| NumberValue::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let mut add = |temporality, attributes, start, time, value| {
            account.add(
                temporality,
                series(attributes),
                Epoch { start_unix_ns: start, time_unix_ns: time, value },
                self,
            );
        };
        match metric.data() {
            // A delta is an increase by itself, and those of StatsD are not marked as monotonic by default.
            MetricData::Sum { points, temporality, is_monotonic }
                if is_monotonic || temporality == Temporality::Delta =>
            {
                for point in points {
                    let Some(value) = point.value() else { continue };
                    add(temporality, point.attributes(), point.start_time_unix_nano(), point.time_unix_nano(), value);
                }
            }
            MetricData::Histogram { points, temporality } => {
                for point in points.filter(|point| point.flags() & 1 == 0) {
                    let (start, time) = (point.start_time_unix_nano(), point.time_unix_nano());
                    add(temporality, point.attributes(), start, time, count(point.count()));
                }
            }
            MetricData::ExponentialHistogram { points, temporality } => {
                for point in points.filter(|point| point.flags() & 1 == 0) {
                    let (start, time) = (point.start_time_unix_nano(), point.time_unix_nano());
                    add(temporality, point.attributes(), start, time, count(point.count()));
                }
            }
            MetricData::Summary { points } => {
                for point in points.filter(|point| point.flags() & 1 == 0) {
                    let (start, time) = (point.start_time_unix_nano(), point.time_unix_nano());
                    add(Temporality::Cumulative, point.attributes(), start, time, count(point.count()));
                }
            }
            // A running total that may fall has no increases.
            MetricData::Sum { .. } | MetricData::Gauge { .. } | MetricData::Empty => {}
        }
    }

    /// The same for the same attributes in any order.
    fn hash_of(&self, attributes: Repeated<'_, KeyValueView<'_>>) -> u64 {
        attributes.messages().fold(0, |sum: u64, attribute| sum.wrapping_add(self.hasher.hash_one(attribute)))
    }

    /// Every group as it stands now.
    pub(crate) fn groups(&self) -> Vec<TotalsGroup> {
        let empty = |metrics: &Vec<String>| TotalsGroup { metrics: metrics.clone(), totals: Vec::new() };
        let mut groups: Vec<TotalsGroup> = self.names.iter().map(empty).collect();
        for ((group, receiver, metric), account) in self.accounts.lock().iter() {
            groups[*group].totals.push(Total {
                receiver: receiver.clone(),
                metric: metric.clone(),
                total: account.sum.value(),
                points: account.points,
                left_out_points: account.left_out_points,
            });
        }
        groups
    }
}

impl Account {
    fn add(&mut self, temporality: Temporality, series: u64, point: Epoch, totals: &Totals) {
        if temporality != Temporality::Cumulative {
            self.points += 1;
            self.sum.add(point.value);
            return;
        }
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&series) {
            self.left_out_points += 1;
            return;
        }
        self.points += 1;
        let Some(known) = self.series.get_mut(&series) else {
            // What a series counted before this process ran was not seen here by anyone.
            if point.start_unix_ns >= totals.started_unix_ns {
                self.sum.add(point.value);
            }
            self.series.insert(series, point);
            return;
        };
        if let Some(increase) = known.advance(point) {
            self.sum.add(increase);
        }
    }
}

impl Epoch {
    /// Takes a further point of the series in; gives what it adds.
    fn advance(&mut self, point: Epoch) -> Option<NumberValue> {
        let is_late = match (self.start_unix_ns, point.start_unix_ns) {
            (known, start) if known == start && start != 0 => point.value.as_double() <= self.value.as_double(),
            (known, start) => start < known || point.time_unix_ns <= self.time_unix_ns,
        };
        if is_late {
            return None;
        }
        let goes_on = point.start_unix_ns == self.start_unix_ns && point.value.as_double() >= self.value.as_double();
        let before = std::mem::replace(self, point).value;
        // Without a start time a fall is the only sign of a reset.
        let increase = if goes_on { difference(point.value, before) } else { point.value };
        Some(increase)
    }
}

fn difference(value: NumberValue, before: NumberValue) -> NumberValue {
    match (value, before) {
        (NumberValue::Int(value), NumberValue::Int(before)) => NumberValue::Int(value.saturating_sub(before)),
        (value, before) => NumberValue::Double(value.as_double() - before.as_double()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otlp::encode::MetricsEncoder;

    /// `kind start time value`, as in `c 5 6 10` for a cumulative point or `d 5 6 10` for a delta; `cn` and `dn` are those
    /// of sums that are not monotonic.
    fn batch(points: &[&str]) -> Batch {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|resource| {
            resource.scope_metrics(|scope| {
                for text in points {
                    let fields: Vec<&str> = text.split(' ').collect();
                    let number = |at: usize| fields[at].parse::<u64>().unwrap();
                    scope.metric(|metric| {
                        metric.name("orders").sum(|sum| {
                            let cumulative = fields[0].starts_with('c');
                            sum.is_monotonic(!fields[0].ends_with('n')).temporality(if cumulative {
                                Temporality::Cumulative
                            } else {
                                Temporality::Delta
                            });
                            sum.point(|point| {
                                point.start_time_unix_nano(number(1)).time_unix_nano(number(2));
                                point.value(NumberValue::Int(number(3) as i64));
                            });
                        });
                    });
                }
            });
        });
        encoder.finish()
    }

    fn check(points: &[&str], expected: f64) {
        let settings = TotalsSettings { groups: vec![vec!["orders".to_owned()]] };
        let totals = Totals::new(&settings, 100);
        points.iter().for_each(|point| totals.add("otlp", &batch(&[point])));
        assert_eq!(totals.groups()[0].totals[0].total, expected, "{points:?}");
    }

    #[test]
    fn two_receivers_agree_only_where_both_have_counted_the_same() {
        let settings = TotalsSettings { groups: vec![vec!["orders".to_owned()]] };
        let totals = Totals::new(&settings, 100);
        totals.add("otlp", &batch(&["c 100 110 7"]));
        assert_eq!(totals.groups()[0].agree(), None);
        totals.add("statsd", &batch(&["d 100 110 3"]));
        assert_eq!(totals.groups()[0].agree(), Some(false));
        totals.add("statsd", &batch(&["d 110 120 4"]));
        assert_eq!(totals.groups()[0].agree(), Some(true));
    }

    #[test]
    fn deltas_add_up_whether_or_not_they_are_marked_as_monotonic() {
        check(&["dn 100 110 3", "dn 110 120 4"], 7.0);
    }

    #[test]
    fn a_running_total_that_may_fall_adds_up_to_nothing() {
        check(&["cn 100 110 3", "cn 100 120 4"], 0.0);
    }

    #[test]
    fn deltas_add_up() {
        check(&["d 100 110 3", "d 110 120 0", "d 120 130 4"], 7.0);
    }

    #[test]
    fn a_cumulative_series_counts_its_increases() {
        check(&["c 100 110 3", "c 100 120 3", "c 100 130 10"], 10.0);
    }

    #[test]
    fn what_was_counted_before_the_process_ran_is_left_out() {
        check(&["c 50 110 1000", "c 50 120 1003"], 3.0);
    }

    #[test]
    fn a_restart_counts_from_its_own_beginning() {
        check(&["c 100 110 10", "c 115 120 4", "c 115 130 6"], 16.0);
    }

    #[test]
    fn points_may_overtake_each_other() {
        check(&["c 100 130 10", "c 100 110 3", "c 100 120 7"], 10.0);
        check(&["c 115 120 4", "c 100 110 10"], 4.0);
    }

    #[test]
    fn without_a_start_time_the_first_value_is_where_it_begins_and_a_fall_is_a_reset() {
        check(&["c 0 110 10", "c 0 120 12", "c 0 130 5", "c 0 140 6"], 8.0);
    }
}
