//! What series looked like on both sides, thinned out to what a chart can show.

use hashbrown::HashMap;
use serde::Serialize;

use crate::metrics::Identity;
use crate::verdict::Side;

/// How much is remembered of how series looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChartBounds {
    /// So many series, those that were there first; what comes beyond has a verdict and no chart.
    pub series_max: usize,
    /// So many points of a series, then every second one goes.
    pub points_max: usize,
}

impl ChartBounds {
    /// Nothing is to be drawn.
    pub const NONE: ChartBounds = ChartBounds { series_max: 0, points_max: 0 };
    /// For one report.
    pub const MANY: ChartBounds = ChartBounds { series_max: 5000, points_max: 480 };
    /// For a process that compares all the time.
    pub const FEW: ChartBounds = ChartBounds { series_max: 500, points_max: 240 };
}

/// The charts of series, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Charts(Vec<(Identity, Chart)>);

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
}

impl Default for Line {
    fn default() -> Self {
        Line { points: Vec::new(), stride: 1, seen: 0 }
    }
}

impl Line {
    fn add(&mut self, point: (u64, f64), points_max: usize) {
        if !point.1.is_finite() {
            return;
        }
        // Instances that show the same moment add up to what the last of them makes of it.
        if let Some(last) = self.points.last_mut().filter(|last| last.0 == point.0) {
            last.1 = point.1;
            return;
        }
        if self.seen.is_multiple_of(self.stride) {
            self.points.push(point);
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

impl Charts {
    /// Charts of series, by their identity.
    pub(crate) fn new(charts: impl Iterator<Item = (Identity, Chart)>) -> Charts {
        Charts(charts.collect())
    }

    /// Charts that are known already.
    pub fn of_series(series: impl IntoIterator<Item = (Identity, [Vec<(u64, f64)>; 2])>) -> Charts {
        let line = |points| Line { points, ..Line::default() };
        let chart =
            |(identity, sides): (Identity, [Vec<_>; 2])| (identity, Chart { sides: sides.map(line), is_count: false });
        Charts(series.into_iter().map(chart).collect())
    }

    /// The chart of a series, by the name that the report gives it.
    pub fn by_name(&self) -> HashMap<String, &Chart> {
        self.0.iter().map(|(identity, chart)| (identity.to_string(), chart)).collect()
    }

    /// The series of a metric, by its common name.
    pub fn drawings(&self, metric: &str) -> Vec<Drawing> {
        let of_metric = self.0.iter().filter(|(identity, _)| identity.metric == metric);
        let drawing = |(identity, chart): &(Identity, Chart)| Drawing {
            name: identity.to_string(),
            of: if chart.is_count { "per_second" } else { "value" },
            legacy: chart.drawn(Side::Legacy),
            new: chart.drawn(Side::New),
        };
        of_metric.map(drawing).collect()
    }
}

/// What was compared of the first series, by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawn {
    bounds: ChartBounds,
    charts: Vec<Chart>,
}

impl Drawn {
    pub(crate) fn new(bounds: ChartBounds) -> Drawn {
        Drawn { bounds, charts: Vec::new() }
    }

    /// Begins the charts of series that have none and for which there is room, in the order of their numbers.
    pub(crate) fn begin(&mut self, are_counts: impl Iterator<Item = bool>) {
        let (begun, series_max) = (self.charts.len(), self.bounds.series_max);
        if begun >= series_max {
            return;
        }
        let without = are_counts.take(series_max).skip(begun);
        self.charts.extend(without.map(|is_count| Chart { is_count, ..Chart::default() }));
    }

    /// Takes in what a side showed of a series at a time, if the series has a chart.
    pub(crate) fn add(&mut self, number: usize, side: Side, point: (u64, f64)) {
        if let Some(chart) = self.charts.get_mut(number) {
            chart.sides[side as usize].add(point, self.bounds.points_max);
        }
    }

    /// Leaves out what stays without a number.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(usize) -> bool) {
        let mut number = 0;
        self.charts.retain(|_| {
            number += 1;
            stays(number - 1)
        });
    }

    /// The charts, by number.
    pub(crate) fn charts(&self) -> impl Iterator<Item = (u32, &Chart)> {
        (0..).zip(&self.charts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_out_evenly() {
        let mut line = Line::default();
        let points_max = ChartBounds::MANY.points_max;
        for at in 0..10_000 {
            line.add((at, at as f64), points_max);
        }
        assert!(line.points.len() <= points_max && line.points.len() > points_max / 4);
        let gaps: Vec<u64> = line.points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
    }

    #[test]
    fn the_first_series_have_charts_and_others_take_the_room_of_those_that_are_over() {
        let mut drawn = Drawn::new(ChartBounds { series_max: 3, points_max: 10 });
        drawn.begin([true, false, false, true].into_iter());
        for number in 0..4 {
            drawn.add(number, Side::New, (5, number as f64));
        }
        drawn.retain(|number| number != 1);
        drawn.begin([true, false, true].into_iter());
        let shown: Vec<(bool, usize)> =
            drawn.charts().map(|(_, chart)| (chart.is_count, chart.sides[1].points.len())).collect();
        assert_eq!(shown, [(true, 1), (false, 1), (true, 0)]);
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
}
