//! What the tests of this folder share.

use component::BuildContext;
use component::clock::{self, Mono};
use config::{Diagnostics, Section, TestEnvironment};
use otlp::encode::{AttributesWriter, MetricWriter, MetricsEncoder};
use otlp::{Batch, NumberValue, Temporality};
use parking_lot::Mutex;
use prom::text::Format;

use super::exposition::{Timestamps, write};
use super::merge::Accumulator;
use super::negotiate::{Exposition, NameEscaping};
use super::settings::Settings;

pub(super) const TEXT: Exposition =
    Exposition { format: Format::Text, version: "0.0.4", escaping: NameEscaping::AllowUtf8 };
pub(super) const OPEN_METRICS: Exposition =
    Exposition { format: Format::OpenMetrics, version: "1.0.0", escaping: NameEscaping::AllowUtf8 };

pub(super) fn settings(options: &str) -> Settings {
    let yaml = format!("endpoint: localhost:0\n{options}");
    let loaded = config::parse_str("test.yaml", &yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id = "prometheus".parse().unwrap();
    let section = Section::open(&loaded.root, "exporters.prometheus", &mut diagnostics);
    let settings = section.read(|section| Settings::read(section, &BuildContext::alone(&id)));
    diagnostics.finish_with(settings).unwrap_or_else(|errors| panic!("{errors}")).0
}

/// A store, and a clock that stands still.
pub(super) struct Bench {
    accumulator: Mutex<Accumulator>,
    timestamps: Timestamps,
    pub(super) now: Mono,
}

impl Bench {
    pub(super) fn new(options: &str) -> Bench {
        let Settings { accumulator, timestamps, .. } = settings(options);
        Bench { accumulator: Mutex::new(accumulator), timestamps, now: clock::mono() }
    }

    /// Merges a batch; says what was refused: `delta_overlap 1, no_value 2`. Every data point is accounted for.
    pub(super) fn merge(&self, batch: &Batch) -> String {
        let refused = self.accumulator.lock().merge(&batch.metrics().unwrap(), self.now);
        assert!(refused.total() <= u64::from(batch.items()));
        let words: Vec<String> = refused.iter().map(|(reason, items)| format!("{} {items}", reason.cause())).collect();
        words.join(", ")
    }

    pub(super) fn page(&self, exposition: Exposition) -> String {
        String::from_utf8(write(&self.accumulator, exposition, self.timestamps, self.now)).unwrap()
    }

    /// The samples of the text format, without comments, one to a line.
    pub(super) fn samples(&self) -> String {
        let page = self.page(TEXT);
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        samples.join("\n")
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Accumulator) -> R) -> R {
        look(&mut self.accumulator.lock())
    }
}

/// A request of one resource without attributes and one scope without a name.
pub(super) fn metric(fill: impl FnOnce(&mut MetricWriter<'_>)) -> Batch {
    metric_of(|_| {}, fill)
}

/// A request of one resource and one metric.
pub(super) fn metric_of(
    resource: impl FnOnce(&mut AttributesWriter<'_>),
    fill: impl FnOnce(&mut MetricWriter<'_>),
) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|writer| resource(&mut writer.attributes()));
        block.scope_metrics(|scope| scope.metric(|metric| fill(metric)));
    });
    encoder.finish()
}

/// A gauge of one data point with one attribute.
pub(super) fn gauge(name: &str, attribute: &str, time_unix_nano: u64, value: f64) -> Batch {
    metric(|metric| {
        metric.name(name).gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano(time_unix_nano).value(NumberValue::Double(value));
                point.attributes().string("a", attribute);
            });
        });
    })
}

/// A monotonic sum `m` of one data point.
pub(super) fn sum(temporality: Temporality, start_unix_nano: u64, time_unix_nano: u64, value: i64) -> Batch {
    metric(|metric| {
        metric.name("m").sum(|sum| {
            sum.temporality(temporality).is_monotonic(true);
            sum.point(|point| {
                point.start_time_unix_nano(start_unix_nano).time_unix_nano(time_unix_nano);
                point.value(NumberValue::Int(value));
            });
        });
    })
}

/// A delta histogram `m` of one data point with the bound 1.
pub(super) fn delta_histogram(start_unix_nano: u64, time_unix_nano: u64, bound: f64, counts: [u64; 2]) -> Batch {
    metric(|metric| {
        metric.name("m").histogram(|histogram| {
            histogram.temporality(Temporality::Delta);
            histogram.point(|point| {
                point.start_time_unix_nano(start_unix_nano).time_unix_nano(time_unix_nano);
                point.count(counts.iter().sum()).sum(0.5).explicit_bounds([bound]).bucket_counts(counts);
            });
        });
    })
}

/// A staleness marker of the series that [`gauge`] makes.
pub(super) fn stale_gauge(name: &str, attribute: &str, time_unix_nano: u64) -> Batch {
    metric(|metric| {
        metric.name(name).gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano(time_unix_nano).flags(1);
                point.attributes().string("a", attribute);
            });
        });
    })
}
