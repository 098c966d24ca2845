//! From the series of one scrape to one OTLP request.
//!
//! Specification: OpenTelemetry, "Prometheus and OpenMetrics Compatibility",
//! [Prometheus Metric points to OTLP](https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#prometheus-metric-points-to-otlp).
//! Series that belong together (`_bucket`, `_sum`, `_count`, `_created`, quantiles) become one data point; `job` and
//! `instance` become the resource, `target_info` adds to it, `otel_scope_*` labels become the scope. Names stay as the
//! target exposes them, so that writing the result to a Prometheus gives the series that it would have scraped itself.
//!
//! | exposed | OTLP |
//! |---|---|
//! | counter | cumulative monotonic sum |
//! | gauge, unknown | gauge |
//! | histogram | cumulative histogram |
//! | summary | summary |
//! | info, stateset | cumulative non-monotonic sum |
//! | gaugehistogram | one gauge for each of its series: OTLP has no such type, and nothing is lost this way |
//! | staleness marker | data point with the flag "no recorded value" |

mod encoder;
mod families;
mod point;
mod resource;

pub use encoder::{MetricNames, SampleToEncode, ScrapeEncoder, ScrapeExemplar, Unconvertible};
pub use families::{Families, FamilyMeta};
pub use resource::Target;
