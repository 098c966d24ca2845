//! The exposition formats: text 0.0.4 and OpenMetrics 1.0, read and written.
//!
//! [`Parser`] walks one scrape body and lends one [`Entry`] at a time; it allocates only for what is escaped.
//! [`Writer`] is its counterpart. Both follow
//! [the text format](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format) and
//! [OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md), with the
//! quoted UTF-8 names of Prometheus 3 in both. What the grammar leaves open is decided as Prometheus' own parser does,
//! so that a target that Prometheus can read is read here too.

mod error;
mod number;
mod parse;
mod write;

pub use error::{ParseError, ParseErrorKind};
pub use number::{NORMAL_NAN, STALE_NAN, canonical_float, is_stale_nan, parse_float, plain_float, write_float};
pub use parse::{Entry, ExemplarRef, LabelPairs, Limits, Parser, Sample};
pub use write::{ExemplarToWrite, SampleToWrite, Writer};

/// An exposition format that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4 (and 1.0.0, which adds quoted names only).
    Text,
    /// OpenMetrics text, version 1.0.0 (and 0.0.1, which reads the same).
    OpenMetrics,
}

impl Format {
    /// The format that a `Content-Type` header names, if it is one of the two. Parameters other than `version` are
    /// ignored; OpenMetrics 2.0 is another format.
    ///
    /// ```
    /// use prom::text::Format;
    /// assert_eq!(Format::from_content_type("text/plain; version=0.0.4; charset=utf-8"), Some(Format::Text));
    /// assert_eq!(Format::from_content_type("application/openmetrics-text; version=1.0.0"), Some(Format::OpenMetrics));
    /// assert_eq!(Format::from_content_type("text/html"), None);
    /// ```
    pub fn from_content_type(header: &str) -> Option<Self> {
        let mut parts = header.split(';').map(str::trim);
        let media_type = parts.next()?;
        if media_type.eq_ignore_ascii_case("text/plain") {
            return Some(Self::Text);
        }
        if !media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            return None;
        }
        let version = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("version").then(|| value.trim().trim_matches('"'))
        });
        match version {
            Some(version) if version.starts_with("2.") => None,
            _ => Some(Self::OpenMetrics),
        }
    }

    /// The `Content-Type` under which [`Writer`]'s output in this format is served. Names beyond the old character set
    /// are written in quotes, which is what `escaping=allow-utf-8` announces.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=1.0.0; escaping=allow-utf-8; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8; charset=utf-8",
        }
    }
}

/// The type of a metric family, as a `# TYPE` line gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FamilyKind {
    /// A value that only rises, or restarts from zero.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Cumulative buckets with a count and a sum.
    Histogram,
    /// Buckets that may also fall (OpenMetrics).
    GaugeHistogram,
    /// Quantiles with a count and a sum.
    Summary,
    /// Text in labels, with the value 1 (OpenMetrics).
    Info,
    /// One of several named states (OpenMetrics).
    StateSet,
    /// Not given, or `untyped`, or `unknown`.
    #[default]
    Unknown,
}

impl FamilyKind {
    /// The name in OpenMetrics, and in the metadata that Prometheus keeps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// The kind that OpenMetrics calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [FamilyKind; 8] = [
            FamilyKind::Counter,
            FamilyKind::Gauge,
            FamilyKind::Histogram,
            FamilyKind::GaugeHistogram,
            FamilyKind::Summary,
            FamilyKind::Info,
            FamilyKind::StateSet,
            FamilyKind::Unknown,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether a metric name needs no quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(parse::is_metric_name_start) && bytes.all(parse::is_metric_name_byte)
}

/// Whether a label name needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(parse::is_label_name_start) && bytes.all(parse::is_label_name_byte)
}
