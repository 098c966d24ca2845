//! The parser against Prometheus' own answers, against the writer, and against damaged input.
#![allow(missing_docs)]

use std::fmt::Write as _;

use prom::text::{
    Entry, ExemplarToWrite, FamilyKind, Format, LabelPairs, Limits, ParseErrorKind, Parser, SampleToWrite, Writer,
};
use proptest::prelude::*;
use serde_json::Value;

// === Against Prometheus' own answers ===

/// One line for each entry, in a form that both sides can be brought to.
fn describe(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Type { family, kind } => format!("type {family} {}", kind.name()),
        Entry::Help { family, text } => format!("help {family} {text:?}"),
        Entry::Unit { family, unit } => format!("unit {family} {unit:?}"),
        Entry::Sample(sample) => {
            let mut labels = pairs(&sample.labels);
            labels.push(("__name__".to_owned(), sample.name.to_owned()));
            let mut text = describe_sample(labels, sample.value.to_bits(), sample.timestamp_ms);
            if let Some(exemplar) = &sample.exemplar {
                let inner = describe_sample(pairs(&exemplar.labels), exemplar.value.to_bits(), exemplar.timestamp_ms);
                let _ = write!(text, " exemplar {inner}");
            }
            text
        }
    }
}

fn pairs(labels: &LabelPairs<'_>) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Prometheus rewrites `le` and `quantile` while it reads; here that happens later. Both are compared as numbers.
fn describe_sample(mut labels: Vec<(String, String)>, bits: u64, timestamp_ms: Option<i64>) -> String {
    labels.sort();
    for (name, value) in &mut labels {
        if matches!(name.as_str(), "le" | "quantile")
            && let Ok(number) = value.parse::<f64>()
        {
            *value = number.to_string();
        }
    }
    format!("sample {labels:?} {bits:016x} at {timestamp_ms:?}")
}

fn describe_expected(entry: &Value) -> String {
    let text = |key: &str| entry[key].as_str();
    let family = text("family").unwrap_or_default();
    if let Some(kind) = text("type") {
        return format!("type {family} {kind}");
    }
    if let Some(help) = text("help") {
        return format!("help {family} {help:?}");
    }
    if let Some(unit) = text("unit") {
        return format!("unit {family} {unit:?}");
    }
    let mut expected = expected_sample(entry);
    if entry["exemplar"].is_object() {
        let _ = write!(expected, " exemplar {}", expected_sample(&entry["exemplar"]));
    }
    expected
}

fn expected_sample(entry: &Value) -> String {
    let labels = entry["labels"].as_array().into_iter().flatten();
    let label = |pair: &Value, index: usize| pair[index].as_str().expect("a string").to_owned();
    let labels = labels.map(|pair| (label(pair, 0), label(pair, 1))).collect();
    let bits = u64::from_str_radix(entry["value"].as_str().expect("bits"), 16).expect("hexadecimal");
    describe_sample(labels, bits, entry["timestamp_ms"].as_i64())
}

fn parse_all(format: Format, body: &[u8]) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(format, body, Limits::default());
    let mut entries = Vec::new();
    while let Some(entry) = parser.next_entry().map_err(|error| error.to_string())? {
        entries.push(describe(&entry));
    }
    Ok(entries)
}

fn base64_decode(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte).expect("base64") as u32;
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0, |bits, byte| bits << 6 | digit(*byte)) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

#[test]
fn prometheus_own_test_inputs_are_read_as_prometheus_reads_them() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../testdata/text/prometheus_parser.json")).expect("valid test data");
    assert!(cases.len() > 100, "the vectors are all there");
    for case in &cases {
        let format = if case["format"] == "text" { Format::Text } else { Format::OpenMetrics };
        let body = match case["input_base64"].as_str() {
            Some(encoded) => base64_decode(encoded),
            None => case["input"].as_str().unwrap_or_default().as_bytes().to_vec(),
        };
        let shown = String::from_utf8_lossy(&body);
        let read = parse_all(format, &body);
        if case["refused"] == true {
            assert!(read.is_err(), "{format:?} {shown:?} was read as {read:#?}");
            continue;
        }
        let read = read.unwrap_or_else(|error| panic!("{format:?} {shown:?}: {error}"));
        let expected: Vec<String> = case["entries"].as_array().into_iter().flatten().map(describe_expected).collect();
        assert_eq!(read, expected, "{format:?} {shown:?}");
    }
}

// === Errors ===

fn refuses(format: Format, body: impl AsRef<[u8]>, message: &str) {
    let error = parse_all(format, body.as_ref()).expect_err("must be refused");
    assert_eq!(error, message);
}

#[test]
fn an_error_names_its_line_and_column() {
    refuses(
        Format::Text,
        "up 1\nrequests{code=200} 3\n",
        "line 2, column 15: expected a label value in double quotes, found `200} 3`",
    );
    refuses(Format::Text, "a 1\nb true", "line 2, column 3: `true` is not a number that can be read");
    refuses(Format::OpenMetrics, "a 1\n# EOF\n# more", "line 3, column 1: there is data after `# EOF`");
}

#[test]
fn html_instead_of_metrics_is_named_by_what_stands_there() {
    refuses(
        Format::Text,
        "<html><body>502 Bad Gateway</body></html>",
        "line 1, column 1: expected a metric name, `{` or `#`, found `<html><body>502 Bad Gate…`",
    );
}

#[test]
fn an_unknown_type_lists_the_types_there_are() {
    refuses(
        Format::OpenMetrics,
        "# TYPE a untyped\n# EOF\n",
        "line 1, column 10: `untyped` is not a metric type; expected one of counter, gauge, histogram, summary, \
         gaugehistogram, info, stateset, unknown",
    );
}

#[test]
fn a_label_value_that_is_not_utf8_is_named_by_its_byte() {
    refuses(Format::Text, b"a{b=\"x\xff\"} 1\n", "line 1, column 7: the label value is not UTF-8");
}

#[test]
fn bytes_that_are_not_utf8_in_a_comment_hurt_nothing() {
    let read = parse_all(Format::Text, b"# \xff\nup{a=\"\xc3\xa9\"} 1\n").expect("must be read");
    let expected = parse_all(Format::Text, "up{a=\"é\"} 1\n".as_bytes()).expect("must be read");
    assert_eq!(read, expected);
}

fn exceeds(limits: Limits, kind: &ParseErrorKind) {
    let body = "a{label=\"value\",other=\"x\"} 1\nb 2\n";
    let mut parser = Parser::new(Format::Text, body.as_bytes(), limits);
    let error = loop {
        match parser.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{limits:?} is not exceeded"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, *kind);
    assert!(parser.next_entry().expect("the error was told once").is_none(), "after an error there is nothing more");
}

#[test]
fn every_limit_is_checked_while_reading() {
    exceeds(Limits { labels_max: Some(1), ..Limits::default() }, &ParseErrorKind::TooManyLabels { labels_max: 1 });
    exceeds(
        Limits { label_name_bytes_max: Some(4), ..Limits::default() },
        &ParseErrorKind::LabelNameTooLong { bytes: 5, bytes_max: 4 },
    );
    exceeds(
        Limits { label_value_bytes_max: Some(4), ..Limits::default() },
        &ParseErrorKind::LabelValueTooLong { bytes: 5, bytes_max: 4 },
    );
    exceeds(Limits { samples_max: Some(1), ..Limits::default() }, &ParseErrorKind::TooManySamples { samples_max: 1 });
}

// === Against the writer ===

type LabelModel = Vec<(String, String)>;

#[derive(Clone, Debug)]
struct SampleModel {
    name: String,
    labels: LabelModel,
    value: f64,
    timestamp_ms: Option<i64>,
    exemplar: Option<(LabelModel, f64, Option<i64>)>,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-zA-Z_][a-zA-Z0-9_]{0,12}", 1 => "\\PC{1,12}", 1 => "[ \"\\\\\n.{}=,a]{1,6}"]
}

fn label_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/0-9]{1,10}", "\\PC{1,10}", "[\"\\\\\nn]{1,6}"]
}

fn labels(count_max: usize) -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map(name(), label_text(), 0..=count_max).prop_map(|map| map.into_iter().collect())
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_map(|value| if value.is_nan() { prom::text::NORMAL_NAN } else { value }),
        (0..1_000_000_u32).prop_map(f64::from),
        Just(f64::INFINITY),
        Just(prom::text::NORMAL_NAN),
    ]
}

fn sample() -> impl Strategy<Value = SampleModel> {
    let timestamp = || prop::option::of(0..4_000_000_000_000_i64);
    let exemplar = prop::option::of((labels(2), value(), timestamp()));
    (name(), labels(5), value(), timestamp(), exemplar).prop_map(|(name, labels, value, timestamp_ms, exemplar)| {
        SampleModel { name, labels, value, timestamp_ms, exemplar }
    })
}

fn write(format: Format, samples: &[SampleModel]) -> Vec<u8> {
    let mut writer = Writer::new(format);
    for sample in samples {
        let exemplar_labels: Vec<(&str, &str)> = sample.exemplar.iter().flat_map(|it| borrowed(&it.0)).collect();
        let exemplar = sample.exemplar.as_ref().map(|(_, value, timestamp_ms)| ExemplarToWrite {
            labels: &exemplar_labels,
            value: *value,
            timestamp_ms: *timestamp_ms,
        });
        let to_write = SampleToWrite {
            timestamp_ms: sample.timestamp_ms,
            exemplar,
            ..SampleToWrite::new(&sample.name, sample.value)
        };
        writer.family(&sample.name, FamilyKind::Gauge, "Help with \\ and \n and \".", "");
        writer.sample(&to_write, borrowed(&sample.labels));
    }
    writer.finish()
}

fn borrowed(labels: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_the_writer_writes_the_parser_reads(samples in prop::collection::vec(sample(), 0..5)) {
        for format in [Format::Text, Format::OpenMetrics] {
            let body = write(format, &samples);
            let read = parse_all(format, &body)
                .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&body)));
            let mut expected = Vec::new();
            for sample in &samples {
                expected.push(format!("help {} {:?}", sample.name, "Help with \\ and \n and \"."));
                expected.push(format!("type {} gauge", sample.name));
                let mut labels = sample.labels.clone();
                labels.push(("__name__".to_owned(), sample.name.clone()));
                let mut text = describe_sample(labels, sample.value.to_bits(), sample.timestamp_ms);
                if let (Format::OpenMetrics, Some((labels, value, timestamp_ms))) = (format, &sample.exemplar) {
                    let inner = describe_sample(labels.clone(), value.to_bits(), *timestamp_ms);
                    let _ = write!(text, " exemplar {inner}");
                }
                expected.push(text);
            }
            prop_assert_eq!(read, expected);
        }
    }
}

#[test]
fn open_metrics_names_a_counters_family_without_total() {
    let write = |format| {
        let mut writer = Writer::new(format);
        writer.family("hits_total", FamilyKind::Counter, "Hits.", "");
        let exemplar = ExemplarToWrite { labels: &[("trace_id", "ab")], value: 1.0, timestamp_ms: Some(1_500) };
        let sample = SampleToWrite {
            timestamp_ms: Some(2_000),
            exemplar: Some(exemplar),
            ..SampleToWrite::new("hits_total", 4.0)
        };
        writer.sample(&sample, [("a", "b"), ("empty", "")]);
        writer.family("size_bytes", FamilyKind::Histogram, "", "bytes");
        let bucket = SampleToWrite { last_label: Some(("le", "+Inf")), ..SampleToWrite::new("size_bytes_bucket", 2.0) };
        writer.sample(&bucket, []);
        String::from_utf8(writer.finish()).expect("UTF-8")
    };
    assert_eq!(
        write(Format::OpenMetrics),
        "# HELP hits Hits.\n# TYPE hits counter\nhits_total{a=\"b\"} 4 2.000 # {trace_id=\"ab\"} 1 1.500\n\
         # TYPE size_bytes histogram\n# UNIT size_bytes bytes\nsize_bytes_bucket{le=\"+Inf\"} 2\n# EOF\n"
    );
    assert_eq!(
        write(Format::Text),
        "# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total{a=\"b\"} 4 2000\n\
         # TYPE size_bytes histogram\nsize_bytes_bucket{le=\"+Inf\"} 2\n"
    );
}

// === Against damaged input ===

/// Changes a body in one of the ways in which bodies break: flipped bytes, cuts, repetitions, inserted specials.
fn damage(random: &mut fastrand::Rng, body: &mut Vec<u8>) {
    const SPECIALS: &[u8] = b"\"\\{}=,# \n\t\0\xff\xc3aN9.e+-_";
    if body.is_empty() {
        return;
    }
    let at = random.usize(..body.len());
    match random.u8(..5) {
        0 => body[at] = random.u8(..),
        1 => body.insert(at, SPECIALS[random.usize(..SPECIALS.len())]),
        2 => drop(body.remove(at)),
        3 => body.truncate(at),
        _ => {
            let end = (at + random.usize(..40)).min(body.len());
            let copy = body[at..end].to_vec();
            let to = random.usize(..body.len());
            body.splice(to..to, copy);
        }
    }
}

#[test]
fn damaged_input_never_panics_and_never_yields_more_than_it_holds() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../testdata/text/prometheus_parser.json")).expect("valid test data");
    let seeds: Vec<Vec<u8>> =
        cases.iter().filter_map(|case| case["input"].as_str()).map(|input| input.as_bytes().to_vec()).collect();
    let mut random = fastrand::Rng::with_seed(0x7e87);
    for round in 0..20_000 {
        let mut body = seeds[random.usize(..seeds.len())].clone();
        body.truncate(600);
        for _ in 0..=random.usize(..4) {
            damage(&mut random, &mut body);
        }
        for format in [Format::Text, Format::OpenMetrics] {
            let mut parser = Parser::new(format, &body, Limits::default());
            let mut lent = 0;
            while let Ok(Some(entry)) = parser.next_entry() {
                if let Entry::Sample(sample) = entry {
                    assert!(!sample.name.is_empty(), "round {round}: a sample without a name");
                    lent += sample.name.len();
                    lent += sample.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
                }
            }
            assert!(lent <= body.len(), "round {round}: {lent} bytes lent of {}", body.len());
        }
    }
}
