//! Names against otlptranslator's answers.
#![allow(missing_docs)]

use prom::names::{
    Escaping, LabelNamer, MetricKind, MetricNamer, Strategy, Suffixes, Underscores, trim_suffixes, unit_name,
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    metrics: Vec<MetricCase>,
    labels: Vec<LabelCase>,
}

#[derive(Debug, Deserialize)]
struct MetricCase {
    name: String,
    unit: String,
    kind: String,
    #[serde(default)]
    namespace: String,
    suffixes: bool,
    utf8: bool,
    #[serde(default)]
    want: String,
    want_unit: String,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LabelCase {
    label: String,
    #[serde(default)]
    utf8: bool,
    #[serde(default)]
    preserve: bool,
    #[serde(default)]
    want: String,
    error: Option<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../testdata/names/otlptranslator.json")).expect("valid test data")
}

fn escaping(utf8: bool) -> Escaping {
    if utf8 { Escaping::None } else { Escaping::Underscores }
}

fn kind(name: &str) -> MetricKind {
    match name {
        "gauge" => MetricKind::Gauge,
        "monotonic_sum" => MetricKind::MonotonicSum,
        "non_monotonic_sum" => MetricKind::NonMonotonicSum,
        "histogram" => MetricKind::Histogram,
        "exponential_histogram" => MetricKind::ExponentialHistogram,
        "summary" => MetricKind::Summary,
        _ => MetricKind::Unknown,
    }
}

#[test]
fn metric_and_unit_names_are_those_of_otlptranslator() {
    let cases = vectors().metrics;
    assert!(cases.len() > 400, "the vectors are all there");
    for case in &cases {
        let namer = MetricNamer {
            namespace: case.namespace.clone(),
            escaping: escaping(case.utf8),
            suffixes: if case.suffixes { Suffixes::UnitAndType } else { Suffixes::None },
        };
        let made = namer.name(&case.name, &case.unit, kind(&case.kind));
        match &case.error {
            None => assert_eq!(made.as_ref(), Ok(&case.want), "{case:?}"),
            Some(error) => assert_eq!(&made.expect_err("refused").to_string(), error, "{case:?}"),
        }
        assert_eq!(unit_name(&case.unit, escaping(case.utf8)), case.want_unit, "{case:?}");
    }
}

#[test]
fn label_names_are_those_of_otlptranslator() {
    for case in vectors().labels {
        let underscores = if case.preserve { Underscores::Preserve } else { Underscores::Collapse };
        let made = LabelNamer { escaping: escaping(case.utf8), underscores }.name(&case.label);
        match &case.error {
            None => assert_eq!(made.as_deref(), Ok(case.want.as_str()), "{case:?}"),
            Some(_) => assert!(made.is_err(), "{case:?}"),
        }
    }
}

#[test]
fn each_strategy_has_its_name_and_its_two_halves() {
    for strategy in Strategy::ALL {
        assert_eq!(Strategy::from_name(strategy.name()), Some(strategy));
    }
    let namer = |strategy: Strategy| MetricNamer {
        namespace: String::new(),
        escaping: strategy.escaping(),
        suffixes: strategy.suffixes(),
    };
    let name = |strategy| namer(strategy).name("http.server.duration", "s", MetricKind::Histogram).expect("a name");
    assert_eq!(name(Strategy::UnderscoreEscapingWithSuffixes), "http_server_duration_seconds");
    assert_eq!(name(Strategy::UnderscoreEscapingWithoutSuffixes), "http_server_duration");
    assert_eq!(name(Strategy::NoUtf8EscapingWithSuffixes), "http.server.duration_seconds");
    assert_eq!(name(Strategy::NoTranslation), "http.server.duration");
}

/// Source of the pairs: opentelemetry-collector-contrib, `pkg/translator/prometheus/normalize_name_test.go`.
#[test]
fn scraped_names_lose_what_type_and_unit_added() {
    use MetricKind::{Gauge, MonotonicSum};
    let cases = [
        (
            "active_directory_ds_replication_network_io_bytes_total",
            MonotonicSum,
            "bytes",
            "active_directory_ds_replication_network_io",
        ),
        ("apache_requests_total", MonotonicSum, "1", "apache_requests"),
        ("system_cpu_utilization_ratio", Gauge, "ratio", "system_cpu_utilization"),
        (
            "mongodbatlas_process_network_io_bytes_per_second",
            Gauge,
            "bytes_per_second",
            "mongodbatlas_process_network_io",
        ),
        ("up", Gauge, "", "up"),
        ("nginx_requests", Gauge, "requests", "nginx"),
        ("nginx_connections_accepted", Gauge, "connections", "nginx_connections_accepted"),
        ("system_cpu_load_average_15m_ratio", Gauge, "1", "system_cpu_load_average_15m_ratio"),
        ("system_disk_operation_time_seconds_total", MonotonicSum, "s", "system_disk_operation_time_seconds"),
        ("total", MonotonicSum, "", "total"),
        ("_total", MonotonicSum, "", "_total"),
    ];
    for (name, kind, unit, trimmed) in cases {
        assert_eq!(trim_suffixes(name, unit, kind), trimmed, "{name} {unit}");
    }
}

proptest! {
    #[test]
    fn escaped_names_are_in_the_old_character_set(name in "\\PC{1,20}", unit in "[\\PC/{}]{0,8}", namespace in "\\PC{0,4}") {
        for suffixes in [Suffixes::UnitAndType, Suffixes::None] {
            let namer = MetricNamer { namespace: namespace.clone(), escaping: Escaping::Underscores, suffixes };
            if let Ok(made) = namer.name(&name, &unit, MetricKind::MonotonicSum) {
                prop_assert!(prom::text::is_legacy_metric_name(&made), "{name:?} became {made:?}");
            }
        }
        for underscores in [Underscores::Preserve, Underscores::Collapse] {
            if let Ok(made) = (LabelNamer { escaping: Escaping::Underscores, underscores }).name(&name) {
                prop_assert!(prom::text::is_legacy_label_name(&made), "{name:?} became {made:?}");
            }
        }
    }
}
