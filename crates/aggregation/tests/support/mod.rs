//! One check function: options and lines in, what is written out.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::sync::Arc;

use aggregation::statsd::{Flushed, PacketReport, Settings, Shard, Source, Store};
use config::{Diagnostics, Section, TestEnvironment};
use otlp::view::{BucketsView, KeyValueView, MetricView, Repeated};
use otlp::view::{MetricData, NumberPointView};
use otlp::{NumberValue, Temporality};

pub(crate) const START_NS: u64 = 1_000_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// The settings that these options mean.
pub(crate) fn settings(options: &str) -> Settings {
    let loaded = config::parse_str("statsd.yaml", options, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let settings = Section::open(&loaded.root, "receivers.statsd", &mut diagnostics).read(Settings::read);
    assert!(!diagnostics.has_errors(), "{:?}", diagnostics.errors());
    settings
}

/// One packet through one shard and one flush.
pub(crate) fn run(settings: Settings, packet: &[u8]) -> (PacketReport, Flushed) {
    let settings = Arc::new(settings);
    let mut shard = Shard::new(Arc::clone(&settings));
    let mut store = Store::new(settings, START_NS);
    let report = shard.packet(packet, Source::Local, START_NS + SECOND_NS);
    store.merge(shard.take());
    (report, store.flush(START_NS + 10 * SECOND_NS))
}

/// Checks what lines become: a line for each data point, and one for what was refused.
pub(crate) fn check(options: &str, packet: &str, expected: &str) {
    check_settings(settings(options), packet.as_bytes(), expected);
}

pub(crate) fn check_settings(settings: Settings, packet: &[u8], expected: &str) {
    let (report, flushed) = run(settings, packet);
    let mut found = shown(&flushed);
    if report.dropped > 0 {
        let _ = writeln!(found, "dropped {}", report.dropped);
    }
    if report.malformed.total() > 0 {
        let causes: Vec<String> =
            report.malformed.iter().map(|(cause, count)| format!("{}={count}", cause.cause())).collect();
        let _ = writeln!(found, "malformed {}", causes.join(" "));
    }
    assert_eq!(found.trim_end(), expected, "{}", String::from_utf8_lossy(packet));
}

/// The data points of a flush, sorted, and its log records.
pub(crate) fn shown(flushed: &Flushed) -> String {
    let mut lines = Vec::new();
    for batch in &flushed.metrics {
        otlp::Batch::parse(otlp::Signal::Metrics, batch.bytes().clone(), &otlp::Limits::default()).unwrap();
        for metric in batch
            .metrics()
            .unwrap()
            .resource_metrics()
            .into_iter()
            .flat_map(|block| block.scope_metrics())
            .flat_map(|scope| scope.metrics())
        {
            show_metric(&metric, &mut lines);
        }
    }
    lines.sort();
    if let Some(logs) = &flushed.logs {
        show_logs(logs, &mut lines);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn show_metric(metric: &MetricView<'_>, lines: &mut Vec<String>) {
    let mut name = metric.name().to_owned();
    if !metric.unit().is_empty() {
        let _ = write!(name, " [{}]", metric.unit());
    }
    match metric.data() {
        MetricData::Empty => lines.push(format!("{name} empty")),
        MetricData::Gauge { points } => lines.extend(points.into_iter().map(|point| number(&name, "gauge", &point))),
        MetricData::Sum { points, temporality, is_monotonic } => {
            let mut kind = String::new();
            if temporality == Temporality::Cumulative {
                kind.push_str("cumulative ");
            }
            if is_monotonic {
                kind.push_str("monotonic ");
            }
            kind.push_str("sum");
            lines.extend(points.into_iter().map(|point| number(&name, &kind, &point)));
        }
        MetricData::Histogram { points, .. } => lines.extend(points.into_iter().map(|point| {
            let counts: Vec<u64> = point.bucket_counts().into_iter().collect();
            let bounds: Vec<f64> = point.explicit_bounds().into_iter().collect();
            format!(
                "{name}{} histogram count={} sum={:?} min={:?} max={:?} {bounds:?} {counts:?}",
                attributes(point.attributes()),
                point.count(),
                point.sum().unwrap_or_default(),
                point.min().unwrap_or_default(),
                point.max().unwrap_or_default(),
            )
        })),
        MetricData::ExponentialHistogram { points, .. } => lines.extend(points.into_iter().map(|point| {
            let buckets = |view: BucketsView<'_>| {
                format!("{}:{:?}", view.offset(), view.bucket_counts().into_iter().collect::<Vec<u64>>())
            };
            format!(
                "{name}{} exponential count={} sum={:?} scale={} zero={} +{} -{}",
                attributes(point.attributes()),
                point.count(),
                point.sum().unwrap_or_default(),
                point.scale(),
                point.zero_count(),
                buckets(point.positive()),
                buckets(point.negative()),
            )
        })),
        MetricData::Summary { points } => lines.extend(points.into_iter().map(|point| {
            let quantiles: Vec<String> = point
                .quantile_values()
                .into_iter()
                .map(|quantile| format!("{:?}:{:?}", quantile.quantile(), quantile.value()))
                .collect();
            let attributes = attributes(point.attributes());
            let (count, sum) = (point.count(), point.sum());
            format!("{name}{attributes} summary count={count} sum={sum:?} {}", quantiles.join(" "))
        })),
    }
}

fn number(name: &str, kind: &str, point: &NumberPointView<'_>) -> String {
    let value = match point.value() {
        Some(NumberValue::Int(int)) => format!("{int}"),
        Some(NumberValue::Double(double)) => format!("{double:?}"),
        None if point.flags() == 1 => "stale".to_owned(),
        None => "nothing".to_owned(),
    };
    // Times that the lines brought are shown.
    let time_ns = point.time_unix_nano();
    let time = match (START_NS..=START_NS + 1_000 * SECOND_NS).contains(&time_ns) {
        true => String::new(),
        false => format!(" @{}s", time_ns / SECOND_NS),
    };
    format!("{name}{} {kind}={value}{time}", attributes(point.attributes()))
}

fn attributes<'a>(attributes: Repeated<'a, KeyValueView<'a>>) -> String {
    let pairs: Vec<String> = attributes
        .into_iter()
        .map(|pair| format!("{}={}", pair.key(), pair.value().as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn show_logs(logs: &otlp::Batch, lines: &mut Vec<String>) {
    otlp::Batch::parse(otlp::Signal::Logs, logs.bytes().clone(), &otlp::Limits::default()).unwrap();
    for record in logs
        .logs()
        .unwrap()
        .resource_logs()
        .into_iter()
        .flat_map(|block| block.scope_logs())
        .flat_map(|scope| scope.log_records())
    {
        lines.push(format!(
            "log {} {} {:?}{}",
            record.event_name(),
            record.severity_text(),
            record.body().as_str().unwrap_or_default(),
            attributes(record.attributes())
        ));
    }
}
