//! Series as metrics of OTLP.

use std::collections::{BTreeMap, HashMap, HashSet};

use otlp::encode::{HistogramWriter, MetricWriter, MetricsEncoder, ScopeMetricsWriter, SummaryWriter};
use otlp::{Batch, NumberValue, Temporality};
use prom::write::{NativeBuckets, NativeHistogram};

use super::client::{Sample, Series};
use super::families::{Family, Form, Kind};
use super::points::{whole, write_exponential, write_listed};

/// A batch has so many points at most.
const BATCH_POINTS_MAX: usize = 5000;

type Labels = BTreeMap<String, String>;

/// The series of a family, each with its name.
type Named = (String, Series);

/// A histogram or summary of one moment, as far as it is put together.
#[derive(Debug, Default)]
struct Partial {
    count: Option<f64>,
    sum: Option<f64>,
    /// Counts up to bounds, or values at quantiles.
    parts: Vec<(f64, f64)>,
    native: Option<NativeHistogram>,
}

/// What a point is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Summary,
    Explicit,
    Exponential,
}

/// A histogram or summary with its time and its labels.
type Point = ((u64, Labels), Partial);

/// The samples of an answer as batches, each family's by time: what is one series after the mapping may come from
/// several instances, and their counts add up in the order they are given.
pub(in crate::parity) fn batches(families: &[Family], answer: Vec<Series>) -> Vec<Batch> {
    let of_name: HashMap<&str, usize> = families
        .iter()
        .enumerate()
        .flat_map(|(at, family)| family.members.iter().map(move |name| (name.as_str(), at)))
        .collect();
    let mut by_family: Vec<Vec<Named>> = families.iter().map(|_| Vec::new()).collect();
    for mut series in answer {
        let Some(name) = series.metric.remove("__name__") else { continue };
        if let Some(at) = of_name.get(name.as_str()) {
            by_family[*at].push((name, series));
        }
    }
    families.iter().zip(by_family).flat_map(|(family, series)| of_family(family, series)).collect()
}

/// How many native histograms of an answer are not compared: gauges, and what has the name of a part of a metric.
pub(in crate::parity) fn left_out(families: &[Family], answer: &[Series]) -> u64 {
    let compared = families.iter().filter(|family| family.kind != Kind::GaugeHistogram);
    let compared: HashSet<&str> = compared.map(|family| family.name.as_str()).collect();
    let is_compared =
        |series: &Series| series.metric.get("__name__").is_some_and(|name| compared.contains(name.as_str()));
    let natives = |series: &Series| series.histograms.len() as u64;
    answer.iter().filter(|series| !series.histograms.is_empty() && !is_compared(series)).map(natives).sum()
}

fn of_family(family: &Family, mut series: Vec<Named>) -> Vec<Batch> {
    match family.kind {
        Kind::Summary | Kind::Histogram => {
            // A name can be that of a native histogram and still be a number.
            let is_alone = |(name, series): &Named| {
                let part = if family.kind == Kind::Histogram { "le" } else { "quantile" };
                *name == family.name && !series.metric.contains_key(part)
            };
            let (alone, parts): (Vec<Named>, Vec<Named>) = series.into_iter().partition(is_alone);
            let are_numbers = parts.is_empty() && alone.iter().all(|(_, series)| series.histograms.is_empty());
            match are_numbers && family.kind == Kind::Histogram {
                true => of_numbers(&family.name, Kind::Gauge, alone),
                false => compounds(family, parts.into_iter().chain(alone).collect()),
            }
        }
        Kind::GaugeHistogram => {
            series.iter_mut().for_each(|(_, series)| series.histograms.clear());
            of_numbers(&family.name, Kind::Gauge, series)
        }
        Kind::Counter | Kind::Gauge => {
            // What nobody tells the type of is what its samples are.
            let natives: Vec<Named> = series
                .iter_mut()
                .filter(|(_, series)| !series.histograms.is_empty())
                .map(|(name, series)| {
                    let histograms = std::mem::take(&mut series.histograms);
                    (name.clone(), Series { metric: series.metric.clone(), values: Vec::new(), histograms })
                })
                .collect();
            let family_of_natives = Family { kind: Kind::Histogram, ..family.clone() };
            let mut batches = of_numbers(&family.name, family.kind, series);
            batches.extend(compounds(&family_of_natives, natives));
            batches
        }
    }
}

fn of_numbers(name: &str, kind: Kind, series: Vec<Named>) -> Vec<Batch> {
    let series: Vec<_> = series.into_iter().map(|(_, series)| (series.metric, series.values)).collect();
    numbers(name, kind, &series)
}

/// Numbers as a sum or a gauge.
pub(super) fn numbers(name: &str, kind: Kind, series: &[(Labels, Vec<Sample>)]) -> Vec<Batch> {
    let of_series = |(at, (_, values)): (usize, &(Labels, Vec<Sample>))| {
        values
            .iter()
            .filter(|sample| !sample.value.is_nan())
            .map(|sample| (sample.time_unix_ms, at, sample.value))
            .collect::<Vec<_>>()
    };
    let mut points: Vec<(u64, usize, f64)> = series.iter().enumerate().flat_map(of_series).collect();
    points.sort_unstable_by_key(|(time, at, _)| (*time, *at));
    let encode = |points: &[(u64, usize, f64)]| {
        encoded(name, |metric| {
            let write = |point: &mut otlp::encode::NumberPointWriter<'_>, (time, at, value): &(u64, usize, f64)| {
                point.time_unix_nano(time * 1_000_000).value(NumberValue::Double(*value));
                series[*at].0.iter().for_each(|(key, value)| {
                    point.attributes().string(key, value);
                });
            };
            match kind {
                Kind::Counter => metric.sum(|sum| {
                    sum.temporality(Temporality::Cumulative).is_monotonic(true);
                    points.iter().for_each(|known| sum.point(|point| write(point, known)));
                }),
                _ => metric.gauge(|gauge| points.iter().for_each(|known| gauge.point(|point| write(point, known)))),
            }
        })
    };
    points.chunks(BATCH_POINTS_MAX).map(encode).collect()
}

fn encoded(name: &str, fill: impl FnOnce(&mut MetricWriter<'_>)) -> Batch {
    encoded_scope(|scope| {
        scope.metric(|metric| {
            metric.name(name);
            fill(metric);
        });
    })
}

fn encoded_scope(fill: impl FnOnce(&mut ScopeMetricsWriter<'_>)) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(fill);
    });
    encoder.finish()
}

/// Histograms and summaries, put together from the samples of one moment.
fn compounds(family: &Family, series: Vec<Named>) -> Vec<Batch> {
    let part_label = if family.kind == Kind::Histogram { "le" } else { "quantile" };
    let mut partials: BTreeMap<(u64, Labels), Partial> = BTreeMap::new();
    for (name, Series { metric: mut labels, values, histograms }) in series {
        let suffix = name.strip_prefix(family.name.as_str()).unwrap_or_default();
        if suffix.is_empty() {
            for histogram in histograms {
                let at = (histogram.timestamp.unsigned_abs(), labels.clone());
                partials.entry(at).or_default().native = Some(histogram);
            }
        }
        let part = labels.remove(part_label).and_then(|text| text.parse::<f64>().ok());
        // What is no number ends a series.
        for sample in values.into_iter().filter(|sample| !sample.value.is_nan()) {
            let partial = partials.entry((sample.time_unix_ms, labels.clone())).or_default();
            match (suffix, part) {
                ("_count", _) => partial.count = Some(sample.value),
                ("_sum", _) => partial.sum = Some(sample.value),
                ("" | "_bucket", Some(part)) => partial.parts.push((part, sample.value)),
                _ => {}
            }
        }
    }
    let mut points: Vec<Point> = partials.into_iter().collect();
    points.iter_mut().for_each(|(_, partial)| partial.decide(family.form));
    points.chunks(BATCH_POINTS_MAX).map(|points| encoded_scope(|scope| write_points(family, points, scope))).collect()
}

impl Partial {
    /// Keeps one of two forms of the same histogram.
    fn decide(&mut self, form: Form) {
        let is_classic = !self.parts.is_empty() || self.count.is_some();
        match form {
            Form::Classic if is_classic => self.native = None,
            _ => {}
        }
    }

    fn layout(&self, kind: Kind) -> Layout {
        match self.native.as_ref().map(|native| &native.buckets) {
            Some(NativeBuckets::Exponential { .. }) => Layout::Exponential,
            Some(NativeBuckets::Custom { .. }) => Layout::Explicit,
            None if kind == Kind::Summary => Layout::Summary,
            None => Layout::Explicit,
        }
    }
}

/// Writes points by their time, with a metric for each run of the same layout.
fn write_points(family: &Family, points: &[Point], scope: &mut ScopeMetricsWriter<'_>) {
    let layout = |point: &Point| point.1.layout(family.kind);
    for run in points.chunk_by(|one, other| layout(one) == layout(other)) {
        scope.metric(|metric| {
            metric.name(&family.name);
            match run.first().map(layout) {
                Some(Layout::Exponential) => metric.exponential_histogram(|histogram| {
                    histogram.temporality(Temporality::Cumulative);
                    for ((time, labels), partial) in run {
                        let Some(native) = &partial.native else { continue };
                        histogram.point(|point| {
                            point.time_unix_nano(time * 1_000_000);
                            write_exponential(point, native);
                            labels.iter().for_each(|(key, value)| {
                                point.attributes().string(key, value);
                            });
                        });
                    }
                }),
                Some(Layout::Explicit) => metric.histogram(|histogram| {
                    histogram.temporality(Temporality::Cumulative);
                    run.iter().for_each(|(at, partial)| match &partial.native {
                        Some(native) => write_custom(histogram, at, native),
                        None => write_histogram(histogram, at, partial),
                    });
                }),
                _ => metric.summary(|summary| run.iter().for_each(|(at, partial)| write_summary(summary, at, partial))),
            };
        });
    }
}

fn write_custom(histogram: &mut HistogramWriter<'_>, (time, labels): &(u64, Labels), native: &NativeHistogram) {
    histogram.point(|point| {
        point.time_unix_nano(time * 1_000_000);
        write_listed(point, native);
        labels.iter().for_each(|(key, value)| {
            point.attributes().string(key, value);
        });
    });
}

fn write_histogram(histogram: &mut HistogramWriter<'_>, (time, labels): &(u64, Labels), partial: &Partial) {
    let mut parts: Vec<(f64, f64)> = partial.parts.iter().filter(|(_, count)| count.is_finite()).copied().collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = parts.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| *count);
    let Some(count) = partial.count.or(all) else { return };
    let bounds = parts.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
    let mut below = 0.0;
    let mut counts: Vec<u64> = Vec::new();
    for (_, upto) in parts.iter().filter(|(bound, _)| bound.is_finite()) {
        counts.push(whole(upto - below));
        below = upto.max(below);
    }
    counts.push(whole(count - below));
    histogram.point(|point| {
        point.time_unix_nano(time * 1_000_000).count(whole(count));
        if let Some(sum) = partial.sum {
            point.sum(sum);
        }
        point.bucket_counts(counts).explicit_bounds(bounds);
        labels.iter().for_each(|(key, value)| {
            point.attributes().string(key, value);
        });
    });
}

fn write_summary(summary: &mut SummaryWriter<'_>, (time, labels): &(u64, Labels), partial: &Partial) {
    summary.point(|point| {
        point.time_unix_nano(time * 1_000_000).count(whole(partial.count.unwrap_or(0.0)));
        point.sum(partial.sum.unwrap_or(0.0));
        for (quantile, value) in partial.parts.iter().filter(|(_, value)| value.is_finite()) {
            point.quantile(|written| {
                written.quantile(*quantile).value(*value);
            });
        }
        labels.iter().for_each(|(key, value)| {
            point.attributes().string(key, value);
        });
    });
}

#[cfg(test)]
mod tests;
