//! What series looked like on both sides, thinned out to what a chart can show.

use std::collections::{BTreeMap, HashMap};

use otlp::view::{KeyValueView, MetricData, MetricView, NumberPointView, Repeated, ResourceMetricsView};
use otlp::{Batch, Temporality};
use prom::names::MetricKind;

use crate::metrics::Identity;
use crate::names::{MetricIdentity, NameSettings, Names};
use crate::verdict::Side;

/// So many series are remembered; what comes beyond has a verdict and no chart.
const SERIES_MAX: usize = 5000;
/// So many points of a series, then every second one goes.
const POINTS_MAX: usize = 480;
/// So many instances of a series are added up.
const WRITERS_MAX: usize = 64;

/// The series of both sides.
#[derive(Debug, Default)]
pub struct Charts {
    names: Option<Names>,
    series: HashMap<Identity, Chart>,
}

/// One series on both sides.
#[derive(Debug, Default)]
pub struct Chart {
    sides: [Line; 2],
    /// Whether it counts, so that how fast it rises tells more than where it stands.
    pub is_count: bool,
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
#[derive(Debug)]
struct Line {
    /// Times in nanoseconds since the Unix epoch, and values.
    points: Vec<(u64, f64)>,
    /// Of so many points one is kept.
    stride: u64,
    seen: u64,
    last_of_writers: BTreeMap<String, f64>,
}

impl Default for Line {
    fn default() -> Self {
        Line { points: Vec::new(), stride: 1, seen: 0, last_of_writers: BTreeMap::new() }
    }
}

impl Line {
    fn add(&mut self, writer: String, time_unix_ns: u64, value: f64, temporality: Temporality) {
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
        if self.points.len() > POINTS_MAX {
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
    is_count: bool,
}

impl Charts {
    /// Charts of what is observed, by the names that the comparison uses.
    pub fn of_names(settings: NameSettings) -> Charts {
        Charts { names: Some(Names::new(settings)), series: HashMap::new() }
    }

    /// Charts that are known already.
    pub fn of_series(series: impl IntoIterator<Item = (Identity, [Vec<(u64, f64)>; 2])>) -> Charts {
        let line = |points| Line { points, ..Line::default() };
        let chart =
            |(identity, sides): (Identity, [Vec<_>; 2])| (identity, Chart { sides: sides.map(line), is_count: false });
        Charts { names: None, series: series.into_iter().map(chart).collect() }
    }

    /// The chart of a series, by the name that the report gives it.
    pub fn by_name(&self) -> HashMap<String, &Chart> {
        self.series.iter().map(|(identity, chart)| (identity.to_string(), chart)).collect()
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
        let kind = match &data {
            MetricData::Sum { is_monotonic: true, .. } => MetricKind::MonotonicSum,
            MetricData::Sum { .. } => MetricKind::NonMonotonicSum,
            MetricData::Gauge { .. } => MetricKind::Gauge,
            MetricData::Histogram { .. } => MetricKind::Histogram,
            MetricData::ExponentialHistogram { .. } => MetricKind::ExponentialHistogram,
            MetricData::Summary { .. } => MetricKind::Summary,
            MetricData::Empty => return,
        };
        let identity = names.metric(side, metric.name(), metric.unit(), kind);
        let is_count = !matches!(kind, MetricKind::Gauge | MetricKind::NonMonotonicSum);
        let place = Place { side, metric: &identity, resource, is_count };
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
        (time_unix_ns, value, temporality): (u64, f64, Temporality),
    ) {
        let of_resource = place.resource.resource().attributes();
        let promoted = of_resource.filter(|attribute| names.is_resource_label(attribute.key()));
        let label = |attribute: KeyValueView<'_>| {
            let name = names.label(place.side, place.metric, attribute.key())?;
            Some((name, attribute.value().to_text().into_owned()))
        };
        let mut labels: Vec<(String, String)> = attributes.chain(promoted).filter_map(label).collect();
        labels.sort_unstable();
        let identity = Identity { metric: place.metric.name.clone(), labels };
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&identity) {
            return;
        }
        let text = |attribute: KeyValueView<'_>| format!("{}={}", attribute.key(), attribute.value().to_text());
        let mut writer: Vec<String> = attributes.chain(of_resource).map(text).collect();
        writer.sort_unstable();
        let chart = self.series.entry(identity).or_default();
        chart.is_count = place.is_count;
        let line = &mut chart.sides[place.side as usize];
        line.add(writer.join(","), time_unix_ns, value, temporality);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_out_evenly() {
        let mut line = Line::default();
        for at in 0..10_000 {
            line.add(String::new(), at, at as f64, Temporality::Cumulative);
        }
        assert!(line.points.len() <= POINTS_MAX && line.points.len() > POINTS_MAX / 4);
        let gaps: Vec<u64> = line.points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
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
        for (writer, value) in [("a", 1.0), ("b", 10.0), ("a", 2.0)] {
            line.add(writer.to_owned(), 1, value, Temporality::Cumulative);
        }
        assert_eq!(line.points.iter().map(|point| point.1).collect::<Vec<_>>(), [1.0, 11.0, 12.0]);
        let mut line = Line::default();
        for value in [1.0, 2.0] {
            line.add(String::new(), 1, value, Temporality::Delta);
        }
        assert_eq!(line.points.last(), Some(&(1, 3.0)));
    }
}
