//! What series looked like on both sides, thinned out to what a chart can show.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use otlp::view::{KeyValueView, MetricData, MetricView, NumberPointView, Repeated, ResourceMetricsView};
use otlp::{Batch, Temporality};
use prom::names::MetricKind;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::kinds::{hash_of, kind_of};
use crate::metrics::Identity;
use crate::names::{MetricIdentity, NameSettings, Names};
use crate::verdict::Side;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// So many series; what comes beyond has a verdict and no chart.
    series_max: usize,
    /// So many points of a series, then every second one goes.
    points_max: usize,
}

/// For one report.
const MANY: Bounds = Bounds { series_max: 5000, points_max: 480 };
/// For a process that compares all the time.
const FEW: Bounds = Bounds { series_max: 500, points_max: 240 };

/// So many instances of a series are added up.
const WRITERS_MAX: usize = 64;

/// So many writers are known by a hash, those of series without a chart too, so that they are passed over quickly.
const KNOWN_MAX: usize = 400_000;

/// The series of both sides.
#[derive(Clone, Debug)]
pub struct Charts {
    names: Option<Names>,
    bounds: Bounds,
    charts: Vec<(Identity, Chart)>,
    at: HashMap<Identity, u32>,
    /// Where the points of a writer go, by a hash of all that tells it apart; none where it has no chart.
    known: HashMap<u64, Option<u32>, foldhash::fast::RandomState>,
}

impl Default for Charts {
    fn default() -> Self {
        Charts { names: None, bounds: MANY, charts: Vec::new(), at: HashMap::new(), known: HashMap::default() }
    }
}

/// One series on both sides.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    sides: [Line; 2],
    /// Whether it counts, so that how fast it rises tells more than where it stands.
    pub is_count: bool,
}

/// What is to be drawn of a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drawing {
    /// Which series.
    pub name: String,
    /// `value`, or `per_second` for what counts.
    pub of: &'static str,
    /// Times in nanoseconds since the Unix epoch, and values.
    pub legacy: Vec<(u64, f64)>,
    /// The same for the new side.
    pub new: Vec<(u64, f64)>,
}

impl Chart {
    /// What is to be drawn of a side: values, or of counts the rise by the second.
    pub fn drawn(&self, side: Side) -> Vec<(u64, f64)> {
        let points = &self.sides[side as usize].points;
        if !self.is_count {
            return points.clone();
        }
        let rise = |pair: &[(u64, f64)]| {
            let seconds = pair[1].0.saturating_sub(pair[0].0) as f64 / 1e9;
            // A fall is a reset: it has counted what it stands at.
            let rise = if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 };
            (seconds > 0.0).then_some((pair[1].0, rise / seconds))
        };
        points.windows(2).filter_map(rise).collect()
    }
}

/// A series on one side.
#[derive(Clone, Debug)]
struct Line {
    /// Times in nanoseconds since the Unix epoch, and values.
    points: Vec<(u64, f64)>,
    /// Of so many points one is kept.
    stride: u64,
    seen: u64,
    last_of_writers: BTreeMap<u64, f64>,
}

impl Default for Line {
    fn default() -> Self {
        Line { points: Vec::new(), stride: 1, seen: 0, last_of_writers: BTreeMap::new() }
    }
}

impl Line {
    fn add(&mut self, writer: u64, (time_unix_ns, value, temporality): (u64, f64, Temporality), points_max: usize) {
        if !value.is_finite() {
            return;
        }
        if self.last_of_writers.len() < WRITERS_MAX || self.last_of_writers.contains_key(&writer) {
            let last = self.last_of_writers.entry(writer).or_default();
            *last = if temporality == Temporality::Delta { *last + value } else { value };
        }
        if self.seen.is_multiple_of(self.stride) {
            self.points.push((time_unix_ns, self.last_of_writers.values().sum()));
        }
        self.seen += 1;
        if self.points.len() > points_max {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }
}

/// Where a point belongs.
struct Place<'a> {
    side: Side,
    metric: &'a MetricIdentity,
    resource: &'a ResourceMetricsView<'a>,
    /// A hash of the side, the resource and the metric.
    hash: u64,
    is_count: bool,
}

impl Charts {
    /// Charts of what is observed, by the names that the comparison uses.
    pub fn of_names(settings: NameSettings) -> Charts {
        Charts { names: Some(Names::new(settings)), ..Charts::default() }
    }

    /// Fewer of them, for a process that compares all the time.
    pub fn of_few(settings: NameSettings) -> Charts {
        Charts { bounds: FEW, ..Charts::of_names(settings) }
    }

    /// Charts that are known already.
    pub fn of_series(series: impl IntoIterator<Item = (Identity, [Vec<(u64, f64)>; 2])>) -> Charts {
        let line = |points| Line { points, ..Line::default() };
        let chart =
            |(identity, sides): (Identity, [Vec<_>; 2])| (identity, Chart { sides: sides.map(line), is_count: false });
        Charts { charts: series.into_iter().map(chart).collect(), ..Charts::default() }
    }

    /// The chart of a series, by the name that the report gives it.
    pub fn by_name(&self) -> HashMap<String, &Chart> {
        self.charts.iter().map(|(identity, chart)| (identity.to_string(), chart)).collect()
    }

    /// The series of a metric, by its common name.
    pub fn drawings(&self, metric: &str) -> Vec<Drawing> {
        let of_metric = self.charts.iter().filter(|(identity, _)| identity.metric == metric);
        let drawing = |(identity, chart): &(Identity, Chart)| Drawing {
            name: identity.to_string(),
            of: if chart.is_count { "per_second" } else { "value" },
            legacy: chart.drawn(Side::Legacy),
            new: chart.drawn(Side::New),
        };
        of_metric.map(drawing).collect()
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, batch: &Batch) {
        let Some(mut names) = self.names.take() else { return };
        for resource in batch.metrics().into_iter().flat_map(|metrics| metrics.resource_metrics()) {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                self.metric(&mut names, side, &resource, &metric);
            }
        }
        self.names = Some(names);
    }

    fn metric(&mut self, names: &mut Names, side: Side, resource: &ResourceMetricsView<'_>, metric: &MetricView<'_>) {
        let data = metric.data();
        let kind = kind_of(&data);
        let identity = names.look_up(side, metric.name(), metric.unit(), kind);
        let is_count = !matches!(kind, MetricKind::Gauge | MetricKind::NonMonotonicSum);
        let hash = xxh3_64(metric.name().as_bytes()) ^ hash_of(resource.resource().attributes()).rotate_left(1);
        let place = Place { side, metric: &identity, resource, hash: hash ^ side as u64, is_count };
        let mut number = |point: &NumberPointView<'_>, temporality| {
            if let Some(value) = point.value() {
                let value = value.as_double() * identity.scale;
                self.add(names, &place, point.attributes(), (point.time_unix_nano(), value, temporality));
            }
        };
        match data {
            MetricData::Gauge { points } => points.for_each(|point| number(&point, Temporality::Cumulative)),
            MetricData::Sum { points, temporality, .. } => points.for_each(|point| number(&point, temporality)),
            // Of distributions the count is shown.
            MetricData::Histogram { points, temporality } => points.for_each(|point| {
                let count = (point.time_unix_nano(), point.count() as f64, temporality);
                self.add(names, &place, point.attributes(), count);
            }),
            MetricData::ExponentialHistogram { points, temporality } => points.for_each(|point| {
                let count = (point.time_unix_nano(), point.count() as f64, temporality);
                self.add(names, &place, point.attributes(), count);
            }),
            MetricData::Summary { points } => points.for_each(|point| {
                let count = (point.time_unix_nano(), point.count() as f64, Temporality::Cumulative);
                self.add(names, &place, point.attributes(), count);
            }),
            MetricData::Empty => {}
        }
    }

    fn add(
        &mut self,
        names: &Names,
        place: &Place<'_>,
        attributes: Repeated<'_, KeyValueView<'_>>,
        point: (u64, f64, Temporality),
    ) {
        let writer = place.hash ^ hash_of(attributes).rotate_left(2);
        let at = match self.known.get(&writer) {
            Some(at) => *at,
            None => self.find(names, place, attributes, writer),
        };
        if let Some((_, chart)) = at.and_then(|at| self.charts.get_mut(at as usize)) {
            chart.sides[place.side as usize].add(writer, point, self.bounds.points_max);
        }
    }

    /// The chart of a writer that is not known yet, if there is room for it.
    fn find(
        &mut self,
        names: &Names,
        place: &Place<'_>,
        attributes: Repeated<'_, KeyValueView<'_>>,
        writer: u64,
    ) -> Option<u32> {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let promoted = place.resource.resource().attributes();
        let promoted = promoted.filter(|attribute| names.is_resource_label(attribute.key()));
        let label = |attribute: KeyValueView<'_>| {
            let name = names.label(place.side, place.metric, attribute.key())?;
            Some((name, attribute.value().to_text().into_owned()))
        };
        let mut labels: Vec<(String, String)> = attributes.chain(promoted).filter_map(label).collect();
        labels.sort_unstable();
        let identity = Identity { metric: place.metric.name.clone(), labels };
        let is_full = self.charts.len() >= self.bounds.series_max;
        let at = match self.at.get(&identity) {
            Some(at) => Some(*at),
            None if is_full => None,
            None => {
                let at = u32::try_from(self.charts.len()).ok()?;
                self.at.insert(identity.clone(), at);
                self.charts.push((identity, Chart { is_count: place.is_count, ..Chart::default() }));
                Some(at)
            }
        };
        self.known.insert(writer, at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_out_evenly() {
        let mut line = Line::default();
        for at in 0..10_000 {
            line.add(0, (at, at as f64, Temporality::Cumulative), MANY.points_max);
        }
        assert!(line.points.len() <= MANY.points_max && line.points.len() > MANY.points_max / 4);
        let gaps: Vec<u64> = line.points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
    }

    fn gauge(name: &str, labels: usize) -> Batch {
        let mut encoder = otlp::encode::MetricsEncoder::new();
        encoder.resource_metrics(|resource| {
            resource.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name(name).gauge(|gauge| {
                        for label in 0..labels {
                            gauge.point(|point| {
                                point.attributes().string("label", &label.to_string());
                                point.time_unix_nano(5).value(otlp::NumberValue::Double(1.0));
                            });
                        }
                    });
                });
            });
        });
        encoder.finish()
    }

    #[test]
    fn what_is_remembered_is_bounded_and_found_again() {
        let mut charts = Charts::of_few(NameSettings::default());
        for side in [Side::Legacy, Side::New, Side::Legacy] {
            charts.observe(side, &gauge("few", 2));
            charts.observe(side, &gauge("many", 30_000));
        }
        let few = charts.drawings("few");
        assert_eq!(few.len(), 2);
        assert_eq!((few[0].name.as_str(), few[0].legacy.len(), few[0].new.len()), ("few{label=\"0\"}", 2, 1));
        assert_eq!(charts.drawings("many").len() + few.len(), FEW.series_max);
        assert!(charts.known.len() <= KNOWN_MAX);
    }

    #[test]
    fn of_counts_the_rise_by_the_second_is_drawn() {
        let line = |points| Line { points, ..Line::default() };
        let points = vec![(0, 1.0), (2_000_000_000, 5.0), (2_000_000_000, 6.0), (4_000_000_000, 3.0)];
        let chart = Chart { sides: [line(points.clone()), Line::default()], is_count: true };
        assert_eq!(chart.drawn(Side::Legacy), [(2_000_000_000, 2.0), (4_000_000_000, 1.5)]);
        assert!(chart.drawn(Side::New).is_empty());
        assert_eq!(Chart { is_count: false, ..chart }.drawn(Side::Legacy), points);
    }

    #[test]
    fn instances_and_deltas_add_up() {
        let mut line = Line::default();
        for (writer, value) in [(1, 1.0), (2, 10.0), (1, 2.0)] {
            line.add(writer, (1, value, Temporality::Cumulative), MANY.points_max);
        }
        assert_eq!(line.points.iter().map(|point| point.1).collect::<Vec<_>>(), [1.0, 11.0, 12.0]);
        let mut line = Line::default();
        for value in [1.0, 2.0] {
            line.add(0, (1, value, Temporality::Delta), MANY.points_max);
        }
        assert_eq!(line.points.last(), Some(&(1, 3.0)));
    }
}
