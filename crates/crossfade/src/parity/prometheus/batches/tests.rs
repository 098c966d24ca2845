use serde_json::{Value, json};

use super::*;

fn series(name: &str, labels: &[(&str, &str)], values: &[(u64, f64)]) -> Series {
    let labels = labels.iter().copied().chain([("__name__", name)]);
    let metric = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let values = values.iter().map(|(time_unix_ms, value)| Sample { time_unix_ms: *time_unix_ms, value: *value });
    Series { metric, values: values.collect(), histograms: Vec::new() }
}

fn family(name: &str, kind: Kind, members: &[&str], form: Form) -> Family {
    Family { name: name.into(), kind, members: members.iter().map(|name| (*name).to_owned()).collect(), form }
}

/// The metrics that an answer becomes.
fn metrics(family: &Family, answer: Vec<Series>) -> Vec<Value> {
    let of_batch = |batch: &Batch| {
        let mut out = Vec::new();
        otlp::json::encode(batch, &mut out);
        let json: Value = serde_json::from_slice(&out).unwrap();
        json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone()
    };
    batches(std::slice::from_ref(family), answer).iter().flat_map(of_batch).collect()
}

fn json_of(family: &Family, answer: Vec<Series>) -> Value {
    let metrics = metrics(family, answer);
    assert_eq!(metrics.len(), 1);
    metrics[0].clone()
}

#[test]
fn buckets_count_and_sum_become_one_point() {
    let family = family("t", Kind::Histogram, &["t_bucket", "t_count", "t_sum"], Form::Classic);
    let bucket = |bound, count| series("t_bucket", &[("le", bound), ("job", "a")], &[(1000, count)]);
    let count = series("t_count", &[("job", "a")], &[(1000, 7.0)]);
    let sum = series("t_sum", &[("job", "a")], &[(1000, 3.5)]);
    let answer = vec![bucket("+Inf", 7.0), bucket("1", 5.0), bucket("0.5", 2.0), count, sum];
    let point = &json_of(&family, answer)["histogram"]["dataPoints"][0];
    assert_eq!(point["bucketCounts"], json!(["2", "3", "2"]));
    assert_eq!(point["explicitBounds"], json!([0.5, 1.0]));
    assert_eq!((&point["count"], &point["sum"]), (&json!("7"), &json!(3.5)));
    assert_eq!(point["attributes"].as_array().unwrap().len(), 1);
}

#[test]
fn points_of_several_instances_are_in_the_order_of_their_times() {
    let family = family("a_total", Kind::Counter, &["a_total"], Form::Classic);
    let answer = vec![
        series("a_total", &[("instance", "1")], &[(1000, 1.0), (3000, 2.0), (5000, f64::NAN)]),
        series("a_total", &[("instance", "2")], &[(2000, 7.0)]),
    ];
    let points = &json_of(&family, answer)["sum"]["dataPoints"];
    let values: Vec<_> = points.as_array().unwrap().iter().map(|point| point["asDouble"].as_f64().unwrap()).collect();
    assert_eq!(values, [1.0, 7.0, 2.0]);
}

/// The series of an answer as a backend writes it.
fn answered(series: &[(&str, &str)]) -> Vec<Series> {
    let one = |(name, rest): &(&str, &str)| format!("{{\"metric\":{{\"__name__\":\"{name}\",\"job\":\"a\"}},{rest}}}");
    let series: Vec<String> = series.iter().map(one).collect();
    serde_json::from_str(&format!("[{}]", series.join(","))).unwrap()
}

const NATIVE: [&str; 1] = ["t"];

/// What the point of a native histogram becomes, without what every point has.
fn check(histogram: &str, layout: &str, expected: &Value) {
    let family = family("t", Kind::Histogram, &NATIVE, Form::Classic);
    let answer = answered(&[("t", &format!("\"histograms\":[[1.5,{histogram}]]"))]);
    let metric = json_of(&family, answer);
    assert_eq!(metric[layout]["aggregationTemporality"], json!(2), "{metric}");
    let mut point = metric[layout]["dataPoints"][0].clone();
    let common = point.as_object_mut().unwrap();
    assert_eq!(common.remove("timeUnixNano"), Some(json!("1500000000")));
    assert_eq!(common.remove("attributes").unwrap().as_array().unwrap().len(), 1);
    assert_eq!(point, *expected, "{histogram}");
}

#[test]
fn a_native_histogram_becomes_an_exponential_one_with_the_scale_of_its_buckets() {
    check(
        r#"{"count":"42","sum":"3.5","buckets":[[1,"-4","-2","5"],[3,"-0.25","0.25","3"],[0,"0.25","0.5","12"],[0,"0.5","1","16"],[0,"2","4","6"]]}"#,
        "exponentialHistogram",
        &json!({
            "count": "42", "sum": 3.5, "zeroCount": "3", "zeroThreshold": 0.25,
            "positive": {"offset": -2, "bucketCounts": ["12", "16", "0", "6"]},
            "negative": {"offset": 1, "bucketCounts": ["5"]},
        }),
    );
    // One bucket is enough to know the scale, and counts of rates are no whole numbers.
    check(
        r#"{"count":"2.6","sum":"-1","buckets":[[0,"1.0905077326652577","1.189207115002721","2.6"]]}"#,
        "exponentialHistogram",
        &json!({"count": "3", "sum": -1.0, "scale": 3, "positive": {"offset": 1, "bucketCounts": ["3"]}}),
    );
    check(
        r#"{"count":"1","sum":"5","buckets":[[0,"1","65536","1"]]}"#,
        "exponentialHistogram",
        &json!({"count": "1", "sum": 5.0, "scale": -4, "positive": {"bucketCounts": ["1"]}}),
    );
    check(
        r#"{"count":"1","sum":"1.7e308","buckets":[[0,"1.7928322734501126e+308","1.7976931348623157e+308","1"]]}"#,
        "exponentialHistogram",
        &json!({"count": "1", "sum": 1.7e308, "scale": 8, "positive": {"offset": 262_143, "bucketCounts": ["1"]}}),
    );
}

#[test]
fn an_empty_native_histogram_is_an_empty_one() {
    let expected = json!({"sum": 0.0});
    check(r#"{"count":"0","sum":"0"}"#, "exponentialHistogram", &expected);
    // Of a sum that is no number, there is none.
    let expected = json!({"count": "2", "zeroCount": "2"});
    check(r#"{"count":"2","sum":"NaN","buckets":[[3,"0","0","2"]]}"#, "exponentialHistogram", &expected);
}

#[test]
fn listed_bounds_become_those_that_are_known() {
    check(
        r#"{"count":"10","sum":"9","buckets":[[3,"-Inf","0.5","4"],[0,"2.5","5","5"],[0,"10","+Inf","1"]]}"#,
        "histogram",
        &json!({"count": "10", "sum": 9.0, "explicitBounds": [0.5, 2.5, 5.0, 10.0], "bucketCounts": ["4", "0", "5", "0", "1"]}),
    );
    // Ratios that no schema has, and one that has, where no bucket of it begins.
    for (lower, upper) in [("1", "3"), ("5", "10"), ("0", "5"), ("-1", "5")] {
        check(
            &format!(r#"{{"count":"3","sum":"9","buckets":[[0,"{lower}","{upper}","3"]]}}"#),
            "histogram",
            &json!({
                "count": "3", "sum": 9.0, "bucketCounts": ["0", "3", "0"],
                "explicitBounds": [lower.parse::<f64>().unwrap(), upper.parse::<f64>().unwrap()],
            }),
        );
    }
}

#[test]
fn a_series_with_listed_bounds_has_all_that_it_ever_shows() {
    let family = family("t", Kind::Histogram, &NATIVE, Form::Classic);
    let answer = answered(&[(
        "t",
        r#""histograms":[[1,{"count":"0","sum":"0"}],[2,{"count":"2","sum":"9","buckets":[[0,"1","2","2"]]}],
            [3,{"count":"5","sum":"9","buckets":[[0,"1","2","2"],[0,"5","10","3"]]}],
            [4,{"count":"1","sum":"9","buckets":[[0,"1","7","1"]]}]]"#,
    )]);
    let points = &json_of(&family, answer)["histogram"]["dataPoints"];
    let shown: Vec<[&Value; 2]> =
        (0..4).map(|at| ["explicitBounds", "bucketCounts"].map(|key| &points[at][key])).collect();
    assert_eq!(
        json!(shown),
        json!([
            [[1.0, 2.0, 5.0, 7.0, 10.0], ["0", "0", "0", "0", "0", "0"]],
            [[1.0, 2.0, 5.0, 7.0, 10.0], ["0", "2", "0", "0", "0", "0"]],
            // Nothing is known of a bound within a bucket.
            [[1.0, 2.0, 5.0, 10.0], ["0", "2", "0", "3", "0"]],
            [[1.0, 7.0, 10.0], ["0", "1", "0", "0"]],
        ])
    );
}

#[test]
fn values_that_lie_far_apart_have_fewer_buckets() {
    let family = family("t", Kind::Histogram, &NATIVE, Form::Classic);
    let answer = answered(&[(
        "t",
        r#""histograms":[[1,{"count":"2","sum":"9","buckets":[[0,"1","1.0027112750502025","1"],[0,"1.0140e300","1.0168e300","1"]]}]]"#,
    )]);
    // The second bucket is of no schema.
    assert!(json_of(&family, answer)["histogram"].is_object());
    let histogram = NativeHistogram {
        timestamp: 1000,
        count: 2.0,
        sum: 9.0,
        buckets: NativeBuckets::Exponential {
            schema: 8,
            zero_threshold: 0.0,
            zero_count: 0.0,
            negative: Vec::new(),
            positive: vec![(-250_000, 1.0), (260_000, 1.0)],
        },
    };
    let series = Series { histograms: vec![histogram], ..series("t", &[], &[]) };
    let point = json_of(&family, vec![series])["exponentialHistogram"]["dataPoints"][0].clone();
    assert_eq!(point["scale"], json!(-3));
    assert_eq!(point["positive"]["bucketCounts"].as_array().unwrap().len(), 250);
}

/// Both forms of a histogram, at two times of which the second one has the native form only.
fn both_forms() -> Vec<Series> {
    let native = r#"{"count":"7","sum":"3","buckets":[[0,"1","2","7"]]}"#;
    let mut answer = answered(&[("t", &format!("\"histograms\":[[1,{native}],[2,{native}]]"))]);
    answer.extend(["1", "+Inf"].map(|bound| series("t_bucket", &[("job", "a"), ("le", bound)], &[(1000, 7.0)])));
    answer.push(series("t_count", &[("job", "a")], &[(1000, 7.0)]));
    answer
}

#[test]
fn a_histogram_in_both_forms_counts_once() {
    let members = ["t", "t_bucket", "t_count"];
    let classic = metrics(&family("t", Kind::Histogram, &members, Form::Classic), both_forms());
    let layouts = |metrics: &[Value]| {
        let of = |metric: &Value| {
            let layout = ["histogram", "exponentialHistogram"].into_iter().find(|layout| metric[*layout].is_object());
            let layout = layout.unwrap();
            (layout, metric[layout]["dataPoints"].as_array().unwrap().len())
        };
        metrics.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(layouts(&classic), [("histogram", 1), ("exponentialHistogram", 1)]);
    let native = metrics(&family("t", Kind::Histogram, &members, Form::Native), both_forms());
    assert_eq!(layouts(&native), [("exponentialHistogram", 2)]);
}

#[test]
fn what_nobody_tells_the_type_of_is_what_its_samples_are() {
    let native = r#""histograms":[[1,{"count":"7","sum":"3","buckets":[[0,"1","2","7"]]}]]"#;
    let unknown = family("t", Kind::Gauge, &NATIVE, Form::Classic);
    assert!(json_of(&unknown, answered(&[("t", native)]))["exponentialHistogram"].is_object());
    assert!(json_of(&unknown, vec![series("t", &[], &[(1, 5.0)])])["gauge"].is_object());
    // Somebody's number can have the name of a histogram.
    let told = family("t", Kind::Histogram, &NATIVE, Form::Classic);
    assert!(json_of(&told, vec![series("t", &[], &[(1, 5.0)])])["gauge"].is_object());
}

#[test]
fn gauges_that_are_histograms_are_counted_and_nothing_more() {
    let native = r#""histograms":[[1,{"count":"7","sum":"3"}],[2,{"count":"6","sum":"3"}]]"#;
    let gauge = family("t", Kind::GaugeHistogram, &NATIVE, Form::Classic);
    let answer = answered(&[("t", native)]);
    assert_eq!(left_out(std::slice::from_ref(&gauge), &answer), 2);
    assert_eq!(metrics(&gauge, answer), Vec::<Value>::new());
    let histogram = family("t", Kind::Histogram, &NATIVE, Form::Classic);
    assert_eq!(left_out(&[histogram], &answered(&[("t", native)])), 0);
    // The part of a classic histogram is no histogram.
    let classic = family("t", Kind::Histogram, &["t_count"], Form::Classic);
    assert_eq!(left_out(std::slice::from_ref(&classic), &answered(&[("t_count", native)])), 2);
}

#[test]
fn a_series_that_ended_has_no_histogram_then() {
    let family = family("t", Kind::Histogram, &["t_bucket", "t_count"], Form::Classic);
    let bucket = series("t_bucket", &[("le", "+Inf")], &[(1000, 7.0), (2000, f64::NAN)]);
    let count = series("t_count", &[], &[(1000, 7.0), (2000, f64::NAN)]);
    let points = &json_of(&family, vec![bucket, count])["histogram"]["dataPoints"];
    assert_eq!(points.as_array().unwrap().len(), 1);
}
