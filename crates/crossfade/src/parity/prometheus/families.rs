//! Which series belong together: the buckets, count and sum of a histogram are three names in Prometheus.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::client::{Sample, Series};
use crate::parity::window::is_of_the_scraper;
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue, Temporality};

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parity) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// A metric with the names of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::parity) struct Family {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) members: Vec<String>,
}

/// What a single number is, by what is known of its name, or else by the name itself.
pub(super) fn kind_of_number(name: &str, types: &HashMap<String, String>) -> Kind {
    let type_of = |name: &str| types.get(name).map(String::as_str).filter(|kind| *kind != "unknown");
    // The metadata of OpenMetrics names counters without their suffix.
    match type_of(name).or_else(|| type_of(name.strip_suffix("_total")?)) {
        Some("counter") => Kind::Counter,
        Some(_) => Kind::Gauge,
        None if ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end)) => Kind::Counter,
        None => Kind::Gauge,
    }
}

/// Puts names together.
pub(super) fn families(names: &BTreeSet<String>, types: &HashMap<String, String>) -> Vec<Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for name in names.iter().filter(|name| !is_of_the_scraper(name)) {
        let (base, kind) = belonging(name, names, types);
        let family = found.entry(base.to_owned());
        let family = family.or_insert_with(|| Family { name: base.to_owned(), kind, members: Vec::new() });
        family.members.push(name.clone());
    }
    found.into_values().collect()
}

fn belonging<'a>(name: &'a str, names: &BTreeSet<String>, types: &HashMap<String, String>) -> (&'a str, Kind) {
    let has = |base: &str, suffix: &str| names.contains(&format!("{base}{suffix}"));
    for suffix in ["_bucket", "_sum", "_count"] {
        let Some(base) = name.strip_suffix(suffix).filter(|base| !base.is_empty()) else { continue };
        match types.get(base).map(String::as_str) {
            Some("histogram") if has(base, "_bucket") => return (base, Kind::Histogram),
            Some("summary") if suffix != "_bucket" => return (base, Kind::Summary),
            None if has(base, "_bucket") && has(base, "_count") => return (base, Kind::Histogram),
            // Nothing else has both of these and no buckets.
            None if suffix != "_bucket" && has(base, "_sum") && has(base, "_count") => return (base, Kind::Summary),
            _ => {}
        }
    }
    match types.get(name).map(String::as_str) {
        Some("summary") => (name, Kind::Summary),
        None if has(name, "_sum") && has(name, "_count") && !has(name, "_bucket") => (name, Kind::Summary),
        _ => (name, kind_of_number(name, types)),
    }
}

/// A batch has so many points at most.
const BATCH_POINTS_MAX: usize = 5000;

type Labels = BTreeMap<String, String>;

/// The name of a series, its other labels, and its samples.
type Named = (String, Labels, Vec<Sample>);

/// A histogram or summary of one moment, as far as it is put together.
#[derive(Debug, Default)]
struct Partial {
    count: Option<f64>,
    sum: Option<f64>,
    /// Counts up to bounds, or values at quantiles.
    parts: Vec<(f64, f64)>,
}

/// The samples of an answer as batches, each family's by time: what is one series after the mapping may come from
/// several instances, and their counts add up in the order they are given.
pub(in crate::parity) fn batches(families: &[Family], answer: Vec<Series>) -> Vec<Batch> {
    let of_name: HashMap<&str, usize> = families
        .iter()
        .enumerate()
        .flat_map(|(at, family)| family.members.iter().map(move |name| (name.as_str(), at)))
        .collect();
    let mut by_family: Vec<Vec<Named>> = families.iter().map(|_| Vec::new()).collect();
    for Series { mut metric, values, .. } in answer {
        let Some(name) = metric.remove("__name__") else { continue };
        if let Some(at) = of_name.get(name.as_str()) {
            by_family[*at].push((name, metric, values));
        }
    }
    let of_family = |(family, series): (&Family, Vec<Named>)| match family.kind {
        Kind::Counter | Kind::Gauge => {
            let series: Vec<_> = series.into_iter().map(|(_, labels, values)| (labels, values)).collect();
            numbers(&family.name, family.kind, &series)
        }
        Kind::Histogram | Kind::Summary => compounds(family, series),
    };
    families.iter().zip(by_family).flat_map(of_family).collect()
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

fn encoded(name: &str, fill: impl FnOnce(&mut otlp::encode::MetricWriter<'_>)) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name(name);
                fill(metric);
            });
        });
    });
    encoder.finish()
}

/// Histograms and summaries, put together from the samples of one moment.
fn compounds(family: &Family, series: Vec<Named>) -> Vec<Batch> {
    let part_label = if family.kind == Kind::Histogram { "le" } else { "quantile" };
    let mut partials: BTreeMap<(u64, Labels), Partial> = BTreeMap::new();
    for (name, mut labels, values) in series {
        let suffix = name.strip_prefix(family.name.as_str()).unwrap_or_default();
        let part = labels.remove(part_label).and_then(|text| text.parse::<f64>().ok());
        for sample in values {
            let partial = partials.entry((sample.time_unix_ms, labels.clone())).or_default();
            match (suffix, part) {
                ("_count", _) => partial.count = Some(sample.value),
                ("_sum", _) => partial.sum = Some(sample.value),
                ("" | "_bucket", Some(part)) => partial.parts.push((part, sample.value)),
                _ => {}
            }
        }
    }
    let points: Vec<((u64, Labels), Partial)> = partials.into_iter().collect();
    let encode = |points: &[((u64, Labels), Partial)]| {
        encoded(&family.name, |metric| match family.kind {
            Kind::Histogram => metric.histogram(|histogram| {
                histogram.temporality(Temporality::Cumulative);
                points.iter().for_each(|(at, partial)| write_histogram(histogram, at, partial));
            }),
            _ => metric.summary(|summary| points.iter().for_each(|(at, partial)| write_summary(summary, at, partial))),
        })
    };
    points.chunks(BATCH_POINTS_MAX).map(encode).collect()
}

fn write_histogram(
    histogram: &mut otlp::encode::HistogramWriter<'_>,
    (time, labels): &(u64, Labels),
    partial: &Partial,
) {
    let mut parts: Vec<(f64, f64)> = partial.parts.iter().filter(|(_, count)| count.is_finite()).copied().collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = parts.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| *count);
    let Some(count) = partial.count.or(all) else { return };
    let bounds = parts.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
    let mut below = 0.0;
    let mut counts: Vec<u64> = Vec::new();
    for (_, upto) in parts.iter().filter(|(bound, _)| bound.is_finite()) {
        counts.push((upto - below).max(0.0).round() as u64);
        below = upto.max(below);
    }
    counts.push((count - below).max(0.0).round() as u64);
    histogram.point(|point| {
        point.time_unix_nano(time * 1_000_000).count(count.max(0.0).round() as u64);
        if let Some(sum) = partial.sum {
            point.sum(sum);
        }
        point.bucket_counts(counts).explicit_bounds(bounds);
        labels.iter().for_each(|(key, value)| {
            point.attributes().string(key, value);
        });
    });
}

fn write_summary(summary: &mut otlp::encode::SummaryWriter<'_>, (time, labels): &(u64, Labels), partial: &Partial) {
    summary.point(|point| {
        point.time_unix_nano(time * 1_000_000).count(partial.count.unwrap_or(0.0).max(0.0).round() as u64);
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
mod tests {
    use super::*;

    fn check(names: &[&str], types: &[(&str, &str)], expected: &[(&str, Kind, usize)]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let types = types.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        let found = families(&names, &types);
        let found: Vec<_> =
            found.iter().map(|family| (family.name.as_str(), family.kind, family.members.len())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_one_metric_is_put_together() {
        let latency = ["t_bucket", "t_count", "t_sum"];
        check(&latency, &[], &[("t", Kind::Histogram, 3)]);
        check(&latency, &[("t", "histogram")], &[("t", Kind::Histogram, 3)]);
        check(&["q", "q_count", "q_sum"], &[("q", "summary")], &[("q", Kind::Summary, 3)]);
        check(&["q", "q_count", "q_sum"], &[], &[("q", Kind::Summary, 3)]);
        check(&["q_count", "q_sum"], &[], &[("q", Kind::Summary, 2)]);
        check(&["q_sum"], &[], &[("q_sum", Kind::Gauge, 1)]);
        check(
            &["a_total", "b", "c_count"],
            &[],
            &[("a_total", Kind::Counter, 1), ("b", Kind::Gauge, 1), ("c_count", Kind::Counter, 1)],
        );
        check(
            &["a_total", "b"],
            &[("a", "gauge"), ("b", "counter")],
            &[("a_total", Kind::Gauge, 1), ("b", Kind::Counter, 1)],
        );
        check(&["up", "scrape_duration_seconds", "ALERTS"], &[], &[]);
    }

    fn series(name: &str, labels: &[(&str, &str)], values: &[(u64, f64)]) -> Series {
        let labels = labels.iter().copied().chain([("__name__", name)]);
        let metric = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let values = values.iter().map(|(time_unix_ms, value)| Sample { time_unix_ms: *time_unix_ms, value: *value });
        Series { metric, values: values.collect(), histograms: Vec::new() }
    }

    fn json(family: Family, answer: Vec<Series>) -> serde_json::Value {
        let batches = batches(&[family], answer);
        assert_eq!(batches.len(), 1);
        let mut out = Vec::new();
        otlp::json::encode(&batches[0], &mut out);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0].clone()
    }

    #[test]
    fn buckets_count_and_sum_become_one_point() {
        let members = ["t_bucket", "t_count", "t_sum"].map(str::to_owned).into();
        let family = Family { name: "t".into(), kind: Kind::Histogram, members };
        let bucket = |bound, count| series("t_bucket", &[("le", bound), ("job", "a")], &[(1000, count)]);
        let count = series("t_count", &[("job", "a")], &[(1000, 7.0)]);
        let sum = series("t_sum", &[("job", "a")], &[(1000, 3.5)]);
        let answer = vec![bucket("+Inf", 7.0), bucket("1", 5.0), bucket("0.5", 2.0), count, sum];
        let point = &json(family, answer)["histogram"]["dataPoints"][0];
        assert_eq!(point["bucketCounts"], serde_json::json!(["2", "3", "2"]));
        assert_eq!(point["explicitBounds"], serde_json::json!([0.5, 1.0]));
        assert_eq!((&point["count"], &point["sum"]), (&serde_json::json!("7"), &serde_json::json!(3.5)));
        assert_eq!(point["attributes"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn points_of_several_instances_are_in_the_order_of_their_times() {
        let family = Family { name: "a_total".into(), kind: Kind::Counter, members: vec!["a_total".into()] };
        let answer = vec![
            series("a_total", &[("instance", "1")], &[(1000, 1.0), (3000, 2.0), (5000, f64::NAN)]),
            series("a_total", &[("instance", "2")], &[(2000, 7.0)]),
        ];
        let points = &json(family, answer)["sum"]["dataPoints"];
        let values: Vec<_> =
            points.as_array().unwrap().iter().map(|point| point["asDouble"].as_f64().unwrap()).collect();
        assert_eq!(values, [1.0, 7.0, 2.0]);
    }
}
