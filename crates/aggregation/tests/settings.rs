//! Options, and what is wrong with them.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use aggregation::statsd::{CounterNumbers, Dialect, Observer, Settings, Toggle};
use config::{Diagnostics, Section, TestEnvironment};
use otlp::Temporality;
use support::settings;

fn errors(options: &str) -> String {
    let loaded = config::parse_str("c.yaml", options, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    Section::open(&loaded.root, "statsd", &mut diagnostics).read(Settings::read);
    let shown = |diagnostic: &config::Diagnostic| format!("{diagnostic}\n");
    diagnostics.errors().iter().chain(diagnostics.warnings()).map(shown).collect()
}

#[test]
fn nothing_means_what_it_means_to_the_collector() {
    let settings = settings("");
    assert_eq!(settings.aggregation_interval, Duration::from_secs(60));
    assert_eq!((settings.dialect, settings.temporality), (Dialect::Auto, Temporality::Delta));
    assert_eq!(settings.counter_numbers, CounterNumbers::Int);
    for toggle in
        [settings.metric_type_attribute, settings.simple_tags, settings.monotonic_counters, settings.repeat_gauges]
    {
        assert_eq!(toggle, Toggle::Off);
    }
    assert!(settings.timings.is_none() && settings.mapping_config.is_none());
}

#[test]
fn some_defaults_follow_from_other_options() {
    let settings = settings("dialect: dogstatsd\ntemporality: cumulative\nexpiry: 0s");
    assert_eq!(settings.simple_tags, Toggle::On);
    assert_eq!((settings.monotonic_counters, settings.repeat_gauges), (Toggle::On, Toggle::On));
    assert_eq!(settings.expiry, None);
}

#[test]
fn the_collectors_own_example_is_read() {
    let settings = settings(
        "aggregation_interval: 70s\nenable_metric_type: true\nis_monotonic_counter: false\ncounter_type: float\n\
         timer_histogram_mapping:\n\
         - statsd_type: \"histogram\"\n  observer_type: \"gauge\"\n\
         - statsd_type: \"timing\"\n  observer_type: \"histogram\"\n  histogram: \n    max_size: 100\n\
         - statsd_type: \"distribution\"\n  observer_type: \"summary\"\n  summary: \n    percentiles: [0, 10, 50]\n",
    );
    assert_eq!(settings.aggregation_interval, Duration::from_secs(70));
    assert!(matches!(settings.histograms, Some(Observer::Gauge)));
    assert!(matches!(settings.timings, Some(Observer::Histogram { size_max: 100, .. })));
    let Some(Observer::Summary { quantiles }) = settings.distributions else { panic!("a summary") };
    assert_eq!(*quantiles, [0.0, 0.1, 0.5]);
}

#[test]
fn every_error_has_its_place() {
    assert_eq!(
        errors(
            "dialect: statsite\naggregation_interval: 0s\ncounter_type: stochastic_int\nmax_series: 0\n\
             enable_ip_only_aggregation: true\n\
             timer_histogram_mapping:\n\
             - {statsd_type: counter, observer_type: gauge}\n\
             - {statsd_type: timer, observer_type: heatmap}\n\
             - {statsd_type: timer, observer_type: gauge, histogram: {max_size: 1}}\n\
             - {statsd_type: timer, observer_type: histogram, histogram: {explicit_buckets: \
             [{matcher_pattern: '(', buckets: []}]}}\n\
             - {statsd_type: timer, observer_type: summary, summary: {percentiles: [101]}}\n"
        ),
        include_str!("../testdata/settings-errors.txt")
    );
}
