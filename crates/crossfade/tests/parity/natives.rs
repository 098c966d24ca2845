//! Native histograms: the same values as classic and as native histograms, in backends and in captures.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use parity::Side;
use prom::write::proto::{BucketSpan, Count, Histogram, Label, MetricMetadata, TimeSeries, WriteRequest};
use prom::write::{MetadataV2, RequestV2, TimeSeriesV2};
use prost::Message;
use transport::coding::{Coding, Level, compress};

use super::backends::{Asked, serve_with};
use super::scene::{LENGTH_S, START_S, check_exit};

/// The bounds that clients have where nobody chose others; 0.25, 0.5 and 1 are powers of two.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds that no exponential histogram has.
const ODD_BOUNDS: [f64; 8] = [0.007, 0.03, 0.07, 0.15, 0.3, 0.6, 0.9, 3.0];

/// How a backend keeps the histogram `lag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Classic,
    /// Classic, with bounds that no exponential histogram has.
    Odd,
    /// Native, of a schema.
    Native(i32),
    /// Native, with the bounds of the classic one.
    Listed,
    /// Classic, and native of a schema.
    Both(i32),
    /// Native, and said to be a gauge.
    Gauge,
}

/// Values: how many there were after some seconds, and what they are multiplied by.
#[derive(Clone, Copy)]
struct Values {
    count: f64,
    factor: f64,
}

impl Values {
    const MEAN: f64 = 0.2;

    fn at(seconds: u64, factor: f64) -> Values {
        Values { count: 50.0 * seconds as f64, factor }
    }

    /// How many are at most this; they are exponentially distributed.
    fn up_to(self, bound: f64) -> f64 {
        (self.count * (1.0 - (-bound / (Values::MEAN * self.factor)).exp())).floor()
    }

    fn sum(self) -> f64 {
        self.count * Values::MEAN * self.factor
    }

    /// The buckets of a schema that are not empty: index and count.
    fn buckets(self, schema: i32) -> Vec<(i32, f64)> {
        let per_power = 1 << schema;
        let bound = |index: i32| (f64::from(index) / f64::from(per_power)).exp2();
        let count = |index: i32| self.up_to(bound(index)) - self.up_to(bound(index - 1));
        let last = self.count - self.up_to(bound(4 * per_power));
        let buckets = (-20 * per_power..=4 * per_power).map(|index| (index, count(index)));
        buckets.chain([(4 * per_power + 1, last)]).filter(|(_, count)| *count > 0.0).collect()
    }

    /// A native histogram as it is answered.
    fn native(self, schema: i32) -> String {
        let bound = |index: i32| (f64::from(index) / f64::from(1 << schema)).exp2();
        let bucket =
            |(index, count): (i32, f64)| format!("[0,\"{}\",\"{}\",\"{count}\"]", bound(index - 1), bound(index));
        self.answered(self.buckets(schema).into_iter().map(bucket))
    }

    fn listed(self) -> String {
        let bounds: Vec<f64> = [f64::NEG_INFINITY].into_iter().chain(BOUNDS).chain([f64::INFINITY]).collect();
        let up_to = |bound: f64| match bound {
            f64::NEG_INFINITY => 0.0,
            f64::INFINITY => self.count,
            bound => self.up_to(bound),
        };
        let text = |bound: f64| bound.to_string().replace("inf", "Inf");
        let bucket = |pair: &[f64]| {
            let (count, closed) = (up_to(pair[1]) - up_to(pair[0]), if pair[0].is_finite() { 0 } else { 3 });
            (count > 0.0).then(|| format!("[{closed},\"{}\",\"{}\",\"{count}\"]", text(pair[0]), text(pair[1])))
        };
        self.answered(bounds.windows(2).filter_map(bucket))
    }

    fn answered(self, buckets: impl Iterator<Item = String>) -> String {
        let buckets: Vec<String> = buckets.collect();
        format!("{{\"count\":\"{}\",\"sum\":\"{}\",\"buckets\":[{}]}}", self.count, self.sum(), buckets.join(","))
    }
}

/// When a side scrapes: each its own way.
fn is_scraped(side: Side, at_s: u64) -> bool {
    if side == Side::Legacy { at_s % 15 == 1 } else { at_s % 10 == 4 }
}

/// The series that a backend answers within a range.
fn series(kept: Kept, factor: f64, times: &[u64]) -> Vec<(&'static str, String)> {
    let values = |at_s: u64| Values::at(at_s - START_S, factor);
    let numbers = |labels: &str, value: &dyn Fn(Values) -> f64| {
        let samples: Vec<String> = times.iter().map(|at| format!("[{at},\"{}\"]", value(values(*at)))).collect();
        format!("{{\"metric\":{{{labels}}},\"values\":[{}]}}", samples.join(","))
    };
    let natives = |histogram: &dyn Fn(Values) -> String| {
        let samples: Vec<String> = times.iter().map(|at| format!("[{at},{}]", histogram(values(*at)))).collect();
        format!("{{\"metric\":{{\"__name__\":\"lag\"}},\"histograms\":[{}]}}", samples.join(","))
    };
    let classic = |bounds: &[f64]| {
        let bucket = |bound: &str, value: &dyn Fn(Values) -> f64| {
            ("lag_bucket", numbers(&format!("\"__name__\":\"lag_bucket\",\"le\":\"{bound}\""), value))
        };
        let mut found: Vec<_> =
            bounds.iter().map(|bound| bucket(&bound.to_string(), &|values: Values| values.up_to(*bound))).collect();
        found.push(bucket("+Inf", &|values: Values| values.count));
        found.push(("lag_count", numbers("\"__name__\":\"lag_count\"", &|values: Values| values.count)));
        found.push(("lag_sum", numbers("\"__name__\":\"lag_sum\"", &|values: Values| values.sum())));
        found
    };
    match kept {
        Kept::Classic => classic(&BOUNDS),
        Kept::Odd => classic(&ODD_BOUNDS),
        Kept::Native(schema) => vec![("lag", natives(&|values: Values| values.native(schema)))],
        Kept::Listed => vec![("lag", natives(&Values::listed))],
        Kept::Gauge => vec![("lag", natives(&|values: Values| values.native(0)))],
        Kept::Both(schema) => {
            let mut found = classic(&BOUNDS);
            found.push(("lag", natives(&|values: Values| values.native(schema))));
            found
        }
    }
}

fn serve(side: Side, kept: Kept, factor: f64) -> String {
    let answer = move |asked: &Asked| match asked.path.as_str() {
        "/api/v1/label/__name__/values" => {
            let names: std::collections::BTreeSet<&str> =
                series(kept, factor, &[]).into_iter().map(|(name, _)| name).collect();
            format!("{names:?}").replace('{', "[").replace('}', "]")
        }
        "/api/v1/metadata" => {
            let kind = if kept == Kept::Gauge { "gaugehistogram" } else { "histogram" };
            format!("{{\"lag\":[{{\"type\":\"{kind}\"}}]}}")
        }
        "/api/v1/query" => {
            let (selector, range) = asked.form["query"].split_once('[').unwrap();
            let range_s = range.strip_suffix("ms]").unwrap().parse::<u64>().unwrap() / 1000;
            let names = selector.strip_prefix("{__name__=~\"").unwrap().strip_suffix("\"}").unwrap();
            let names: Vec<&str> = names.split('|').collect();
            let to_s = asked.form["time"].parse::<f64>().unwrap() as u64;
            let times: Vec<u64> = (to_s - range_s..=to_s).filter(|at_s| is_scraped(side, *at_s)).collect();
            let found = series(kept, factor, &times).into_iter().filter(|(name, _)| names.contains(name));
            let found: Vec<String> = found.map(|(_, series)| series).collect();
            format!("{{\"resultType\":\"matrix\",\"result\":[{}]}}", found.join(","))
        }
        "/api/v1/query_range" => {
            let histogram = Values::at(60, 1.0).native(0);
            let series = format!("{{\"metric\":{{}},\"histograms\":[[{}.0,{histogram}]]}}", START_S + 600);
            format!("{{\"resultType\":\"matrix\",\"result\":[{series}]}}")
        }
        other => panic!("{other} was asked for"),
    };
    serve_with(move |asked| (StatusCode::OK, format!("{{\"status\":\"success\",\"data\":{}}}", answer(asked))))
}

/// Compares two backends that kept the same values, or values of which the new ones are a factor larger.
fn check(kept: [Kept; 2], factor: f64, more: &[&str], exit: i32, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("q.promql"), "rate(lag[5m])\n").unwrap();
    let [legacy, new] = [serve(Side::Legacy, kept[0], 1.0), serve(Side::New, kept[1], factor)];
    let to = (START_S + LENGTH_S).to_string();
    let mut arguments = vec!["--legacy", &legacy, "--new", &new, "--to", &to, "--range", "20m"];
    arguments.extend(more);
    let (out, _) = check_exit(directory.path(), &arguments, exit);
    assert!(out.contains(expected), "{kept:?} {factor}: {expected} is not in {out}");
    assert!(!out.contains("lag_bucket") && !out.contains("lag_count"), "{kept:?}: parts of a whole in {out}");
}

const EQUIVALENT: &str = "0 different, 0 inconclusive, 1 equivalent";

#[test]
fn native_histograms_of_two_schemas_are_equal_and_moved_values_are_found() {
    check([Kept::Native(3), Kept::Native(0)], 1.0, &[], 0, EQUIVALENT);
    check([Kept::Native(3), Kept::Native(3)], 1.5, &[], 1, "1 different");
    check([Kept::Native(3), Kept::Native(0)], 0.001, &[], 1, "1 different");
}

#[test]
fn classic_and_native_histograms_of_the_same_values_are_equal_at_powers_of_two() {
    check([Kept::Classic, Kept::Native(3)], 1.0, &[], 0, EQUIVALENT);
    check([Kept::Native(3), Kept::Classic], 1.0, &[], 0, EQUIVALENT);
    check([Kept::Classic, Kept::Native(3)], 1.5, &[], 1, "1 different");
}

#[test]
fn without_a_power_of_two_among_the_bounds_the_quantiles_do_not_differ_and_moved_values_do() {
    check([Kept::Odd, Kept::Native(3)], 1.0, &[], 2, "0 different, 1 inconclusive");
    check([Kept::Native(0), Kept::Odd], 3.0, &[], 1, "1 different");
}

#[test]
fn listed_bounds_are_those_of_a_classic_histogram() {
    check([Kept::Classic, Kept::Listed], 1.0, &[], 0, EQUIVALENT);
    check([Kept::Classic, Kept::Listed], 1.5, &[], 1, "1 different");
}

#[test]
fn where_a_side_has_both_forms_that_of_the_other_side_is_compared() {
    for other in [Kept::Classic, Kept::Native(2), Kept::Both(1)] {
        check([other, Kept::Both(3)], 1.0, &[], 0, EQUIVALENT);
    }
    check([Kept::Both(3), Kept::Native(2)], 1.0, &[], 0, EQUIVALENT);
    check([Kept::Classic, Kept::Both(3)], 2.0, &[], 1, "1 different");
}

#[test]
fn what_is_not_compared_is_told_and_leaves_the_result_open() {
    let told = "samples of the new side are native histograms that are gauges, which are not compared";
    check([Kept::Gauge, Kept::Gauge], 1.0, &[], 2, told);
    let told = "1 samples that the legacy side answered are native histograms, which are not compared";
    check([Kept::Native(0), Kept::Native(0)], 1.0, &["--queries", "q.promql"], 2, told);
}

fn histogram(at_s: u64, schema: i32, factor: f64) -> Histogram {
    let values = Values::at(at_s, factor);
    let buckets = values.buckets(schema);
    let (mut spans, mut deltas): (Vec<BucketSpan>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut next, mut last) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut().filter(|_| index == next) {
            Some(span) => span.length += 1,
            None => spans.push(BucketSpan { offset: index - next, length: 1 }),
        }
        deltas.push(count as i64 - last);
        (next, last) = (index + 1, count as i64);
    }
    Histogram {
        count: Some(Count::Int(values.count as u64)),
        sum: values.sum(),
        schema,
        positive_spans: spans,
        positive_deltas: deltas,
        timestamp: i64::try_from((START_S + at_s) * 1000).unwrap(),
        ..Histogram::default()
    }
}

/// What a side sends in an hour, a minute at a time: the legacy one in version 1, the new one in version 2.
fn captured(side: Side, schema: i32, factor: f64) -> String {
    let mut lines = String::new();
    for minute in 0..LENGTH_S / 60 {
        let times = (minute * 60..minute * 60 + 60).filter(|at_s| is_scraped(side, START_S + at_s));
        let histograms: Vec<Histogram> = times.map(|at_s| histogram(at_s, schema, factor)).collect();
        let body = match side {
            Side::Legacy => {
                let label = Label { name: "__name__".to_owned(), value: "lag".to_owned() };
                let series = TimeSeries { labels: vec![label], histograms, ..TimeSeries::default() };
                let family = "lag".to_owned();
                let metadata = MetricMetadata { r#type: 3, metric_family_name: family, ..MetricMetadata::default() };
                WriteRequest { timeseries: vec![series], metadata: vec![metadata] }.encode_to_vec()
            }
            Side::New => {
                let metadata = Some(MetadataV2 { r#type: 3 });
                let series = TimeSeriesV2 { labels_refs: vec![1, 2], histograms, metadata, ..TimeSeriesV2::default() };
                let symbols = ["", "__name__", "lag"].map(str::to_owned).to_vec();
                RequestV2 { symbols, timeseries: vec![series] }.encode_to_vec()
            }
        };
        let body = STANDARD.encode(compress(Coding::Snappy, Level::default(), &body));
        lines += &format!("{{\"headers\":{{\"content-encoding\":\"snappy\"}},\"body\":\"{body}\"}}\n");
    }
    lines
}

#[test]
fn captures_of_both_versions_have_native_histograms_and_so_do_backends() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, side, schema, factor| {
        fs::write(directory.path().join(name), captured(side, schema, factor)).unwrap();
    };
    write("legacy.capture", Side::Legacy, 3, 1.0);
    write("new.capture", Side::New, 1, 1.0);
    write("moved.capture", Side::New, 3, 1.5);
    let run = |new: &str, exit, expected: &str| {
        let (out, _) = check_exit(directory.path(), &["--legacy", "legacy.capture", "--new", new], exit);
        assert!(out.contains(expected), "{expected} is not in {out}");
    };
    run("new.capture", 0, EQUIVALENT);
    run("moved.capture", 1, "1 different");
    run(&serve(Side::New, Kept::Native(4), 1.0), 0, EQUIVALENT);
    run(&serve(Side::New, Kept::Both(4), 1.0), 0, EQUIVALENT);
}
