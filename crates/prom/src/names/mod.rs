//! Names between OpenTelemetry and Prometheus: metrics, labels, units, both ways.
//!
//! Specification: OpenTelemetry, "Prometheus and OpenMetrics Compatibility",
//! [OTLP Metric points to Prometheus](https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus).
//! What the specification leaves open is decided as Prometheus' `otlptranslator` does, which the Collector uses too.
//! The translation loses information: `a.b` and `a_b` become the same name.

mod label;
mod metric;
mod unit;

pub use label::{LabelNamer, Underscores};
pub use metric::{MetricKind, MetricNamer, trim_suffixes};
pub use unit::{ucum_unit, unit_name};

/// How names are translated (`translation_strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Characters outside of the old character set become `_`; metric names get their unit and type as suffixes.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters outside of the old character set become `_`; nothing is added.
    UnderscoreEscapingWithoutSuffixes,
    /// Characters stay; metric names get their unit and type as suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Strategy; 4] = [
        Self::UnderscoreEscapingWithSuffixes,
        Self::UnderscoreEscapingWithoutSuffixes,
        Self::NoUtf8EscapingWithSuffixes,
        Self::NoTranslation,
    ];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            Self::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            Self::NoTranslation => "NoTranslation",
        }
    }

    /// The strategy of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    /// What happens to characters outside of the old character set.
    pub const fn escaping(self) -> Escaping {
        match self {
            Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes => Escaping::Underscores,
            Self::NoUtf8EscapingWithSuffixes | Self::NoTranslation => Escaping::None,
        }
    }

    /// What is added to metric names.
    pub const fn suffixes(self) -> Suffixes {
        match self {
            Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes => Suffixes::UnitAndType,
            Self::UnderscoreEscapingWithoutSuffixes | Self::NoTranslation => Suffixes::None,
        }
    }
}

/// What happens to characters outside of the old character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// They become `_`.
    Underscores,
    /// They stay.
    None,
}

/// What is added to metric names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suffixes {
    /// The unit, and `_total` or `_ratio`.
    UnitAndType,
    /// Nothing.
    None,
}

/// A name that cannot be translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing of a metric's name is left.
    #[error("normalization for metric {name:?} resulted in empty name")]
    EmptyMetricName {
        /// The name in OTLP.
        name: String,
    },
    /// A metric's name became underscores only.
    #[error("normalization for metric {name:?} resulted in invalid name {normalized:?}")]
    InvalidMetricName {
        /// The name in OTLP.
        name: String,
        /// What it became.
        normalized: String,
    },
    /// An attribute with an empty key.
    #[error("label name is empty")]
    EmptyLabelName,
    /// An attribute whose key became underscores only.
    #[error("normalization for label name {name:?} resulted in invalid name {normalized:?}")]
    InvalidLabelName {
        /// The key in OTLP.
        name: String,
        /// What it became.
        normalized: String,
    },
}

fn is_underscores_only(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'_')
}
