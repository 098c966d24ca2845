//! Expositions and the OTLP that they become, as golden files: `testdata/scrape/*.{prom,om}` beside `*.expected`.
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::path::Path;

use otlp::NumberValue;
use otlp::view::{ExemplarView, KeyValues, MetricData, MetricView, Repeated};
use prom::labels::{LabelBuilder, LabelSet};
use prom::scrape::{Families, MetricNames, SampleToEncode, ScrapeEncoder, ScrapeExemplar, Target, Unconvertible};
use prom::text::{Entry, Format, Limits, Parser, STALE_NAN};

const SCRAPED_AT_MS: i64 = 1_000_000;

struct OwnedSample {
    labels: LabelSet,
    timestamp_ms: i64,
    value: f64,
    exemplar: Option<ScrapeExemplar>,
}

/// Reads an exposition as a scrape of the target `shop:80` would. A help text of `stale` makes staleness markers of all
/// values.
fn read(format: Format, body: &str) -> (Families, Vec<OwnedSample>) {
    let is_stale = body.contains("# HELP stale");
    let mut families = Families::default();
    let mut samples = Vec::new();
    let mut parser = Parser::new(format, body.as_bytes(), Limits::default());
    let mut builder = LabelBuilder::default();
    families.start_scrape();
    while let Some(entry) = parser.next_entry().expect("the golden input is valid") {
        match entry {
            Entry::Type { family, kind } => families.set_kind(family, kind),
            Entry::Help { family, text } => families.set_help(family, text),
            Entry::Unit { family, unit } => families.set_unit(family, unit),
            Entry::Sample(sample) => {
                builder.clear();
                builder.set("job", "shop");
                builder.set("instance", "shop:80");
                builder.set("__name__", sample.name);
                sample.labels.iter().for_each(|(name, value)| builder.set(name, value));
                let timestamp_ms = sample.timestamp_ms.unwrap_or(SCRAPED_AT_MS);
                let exemplar = sample.exemplar.map(|exemplar| ScrapeExemplar {
                    labels: LabelSet::from_pairs(exemplar.labels.iter()).expect("no duplicates"),
                    value: exemplar.value,
                    timestamp_ms: exemplar.timestamp_ms.unwrap_or(timestamp_ms),
                });
                let value = if is_stale { STALE_NAN } else { sample.value };
                samples.push(OwnedSample { labels: builder.build(), timestamp_ms, value, exemplar });
            }
        }
    }
    (families, samples)
}

fn convert(format: Format, body: &str, names: MetricNames) -> (otlp::Batch, Unconvertible) {
    let (families, samples) = read(format, body);
    let target = Target {
        job: "shop".to_owned(),
        instance: "shop:80".to_owned(),
        scheme: "http".to_owned(),
        attributes: vec![],
    };
    let mut encoder = ScrapeEncoder::new(&families, &target, names);
    for sample in &samples {
        let OwnedSample { labels, timestamp_ms, value, exemplar } = sample;
        let exemplar = exemplar.as_ref();
        encoder.append(&SampleToEncode { labels, timestamp_ms: *timestamp_ms, value: *value, exemplar });
    }
    encoder.finish()
}

// === A request as text ===

fn describe(batch: &otlp::Batch) -> String {
    let mut out = String::new();
    for block in batch.metrics().expect("metrics").resource_metrics() {
        let _ = writeln!(out, "resource {}", attributes(block.resource().attributes()));
        for scope in block.scope_metrics() {
            let name = scope.scope();
            let _ = writeln!(
                out,
                " scope {:?} {:?} {}{}",
                name.name(),
                name.version(),
                attributes(name.attributes()),
                scope.schema_url()
            );
            scope.metrics().for_each(|metric| describe_metric(&metric, &mut out));
        }
    }
    let _ = writeln!(out, "items {}", batch.items());
    out
}

fn describe_metric(metric: &MetricView<'_>, out: &mut String) {
    let (name, unit, help) = (metric.name(), metric.unit(), metric.description());
    let metadata = attributes(metric.metadata());
    let head = |kind: &str| format!("  {kind} {name} unit={unit:?} help={help:?} {metadata}\n");
    match metric.data() {
        MetricData::Empty => out.push_str(&head("empty")),
        MetricData::Gauge { points } => {
            out.push_str(&head("gauge"));
            points.for_each(|point| describe_number(&point, out));
        }
        MetricData::Sum { points, temporality, is_monotonic } => {
            out.push_str(&head(&format!("sum {temporality:?} monotonic={is_monotonic}")));
            points.for_each(|point| describe_number(&point, out));
        }
        MetricData::Histogram { points, temporality } => {
            out.push_str(&head(&format!("histogram {temporality:?}")));
            for point in points {
                let bounds: Vec<f64> = point.explicit_bounds().collect();
                let counts: Vec<u64> = point.bucket_counts().collect();
                let _ = writeln!(
                    out,
                    "   {} {} count={} sum={:?} {bounds:?} {counts:?}{}",
                    attributes(point.attributes()),
                    times(point.start_time_unix_nano(), point.time_unix_nano(), point.flags()),
                    point.count(),
                    point.sum(),
                    exemplars(point.exemplars()),
                );
            }
        }
        MetricData::Summary { points } => {
            out.push_str(&head("summary"));
            for point in points {
                let quantiles: Vec<_> = point.quantile_values().map(|part| (part.quantile(), part.value())).collect();
                let _ = writeln!(
                    out,
                    "   {} {} count={} sum={:?} {quantiles:?}",
                    attributes(point.attributes()),
                    times(point.start_time_unix_nano(), point.time_unix_nano(), point.flags()),
                    point.count(),
                    point.sum(),
                );
            }
        }
        MetricData::ExponentialHistogram { .. } => panic!("never made from text"),
    }
}

fn describe_number(point: &otlp::view::NumberPointView<'_>, out: &mut String) {
    let value = point.value().map_or("none".to_owned(), |value| match value {
        NumberValue::Double(value) => format!("{value:?}"),
        NumberValue::Int(_) => panic!("Prometheus' values are doubles"),
    });
    let times = times(point.start_time_unix_nano(), point.time_unix_nano(), point.flags());
    let _ = writeln!(out, "   {} {times} {value}{}", attributes(point.attributes()), exemplars(point.exemplars()));
}

fn times(start: u64, time: u64, flags: u32) -> String {
    let start = if start == 0 { String::new() } else { format!("from {start} ") };
    let stale = if flags == 1 { " STALE" } else { "" };
    format!("{start}at {time}{stale}")
}

fn attributes(all: KeyValues<'_>) -> String {
    let pairs: Vec<String> =
        all.map(|pair| format!("{}={:?}", pair.key(), pair.value().as_str().expect("text"))).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn exemplars(all: Repeated<'_, ExemplarView<'_>>) -> String {
    all.map(|exemplar| {
        format!(
            " exemplar({:?} at {} trace={:?} span={:?} {})",
            exemplar.value().map(NumberValue::as_double),
            exemplar.time_unix_nano(),
            exemplar.trace_id(),
            exemplar.span_id(),
            attributes(exemplar.filtered_attributes())
        )
    })
    .collect()
}

// === The golden files ===

#[test]
fn every_exposition_becomes_the_expected_otlp() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scrape");
    let mut found = 0;
    for entry in std::fs::read_dir(&directory).expect("the directory is there") {
        let path = entry.expect("readable").path();
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("prom") => Format::Text,
            Some("om") => Format::OpenMetrics,
            _ => continue,
        };
        found += 1;
        let body = std::fs::read_to_string(&path).expect("readable");
        let (batch, unconvertible) = convert(format, &body, MetricNames::AsExposed);
        let mut described = describe(&batch);
        if unconvertible.total() > 0 {
            let _ = writeln!(described, "{unconvertible:?}");
        }
        let golden = path.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &described).expect("writable");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(described, expected, "{}", path.display());
    }
    assert!(found >= 8, "{found} golden files");
}

#[test]
fn names_can_lose_what_type_and_unit_added() {
    let body = "# TYPE io_bytes counter\n# UNIT io_bytes bytes\nio_bytes_total 1\n# EOF\n";
    let (batch, _) = convert(Format::OpenMetrics, body, MetricNames::Trimmed);
    assert!(describe(&batch).contains("monotonic=true io unit=\"By\""), "{}", describe(&batch));
}

#[test]
fn families_are_forgotten_after_ten_scrapes_without_a_word() {
    let mut families = Families::default();
    families.start_scrape();
    families.set_help("a", "once");
    for _ in 0..10 {
        families.start_scrape();
        assert!(families.get("a").is_some());
    }
    families.start_scrape();
    assert!(families.get("a").is_none());
}

#[test]
fn a_series_of_another_job_is_another_resource() {
    let body = "up{job=\"other\",instance=\"x:1\"} 1\nup 1\n";
    let (families, mut samples) = read(Format::Text, body);
    samples[0].labels =
        LabelSet::from_pairs([("__name__", "up"), ("job", "other"), ("instance", "x:1")]).expect("unique");
    samples[1].labels = LabelSet::from_pairs([("__name__", "up")]).expect("unique");
    let target = Target { job: "shop".to_owned(), instance: "shop:80".to_owned(), ..Target::default() };
    let mut encoder = ScrapeEncoder::new(&families, &target, MetricNames::AsExposed);
    for OwnedSample { labels, timestamp_ms, value, .. } in &samples {
        encoder.append(&SampleToEncode { labels, timestamp_ms: *timestamp_ms, value: *value, exemplar: None });
    }
    let (batch, _) = encoder.finish();
    let resources: Vec<String> = batch
        .metrics()
        .expect("metrics")
        .resource_metrics()
        .map(|block| attributes(block.resource().attributes()))
        .collect();
    assert_eq!(
        resources,
        [
            r#"{service.name="other", server.address="x", service.instance.id="x:1", server.port="1"}"#,
            r#"{service.name="shop", server.address="shop", service.instance.id="shop:80", server.port="80"}"#,
        ]
    );
}
