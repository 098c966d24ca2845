//! Whether two pipelines tell the same story, and where they first differ.
//!
//! The comparators take what both sides saw, in any order, and give verdicts about what is sealed: old enough that
//! nothing more of it can come. The same inputs give the same verdicts: this crate does no I/O and reads no clock.

mod band;
mod charts;
mod comparator;
mod control;
mod counter;
mod depth;
mod drift;
mod evidence;
mod factor;
mod failures;
mod family;
mod gauge;
mod halves;
mod histogram;
mod kinds;
mod levels;
mod logs;
mod members;
mod metrics;
mod names;
mod releases;
mod series_sets;
mod stats;
mod suggestion;
mod thinning;
mod traces;
mod verdict;

pub use band::{Band, Interval};
pub use charts::{Chart, ChartBounds, Charts, Drawing};
pub use comparator::{CollisionReport, Comparator, Part, Report, Settings, Subject};
pub use control::{Control, Floor};
pub use counter::{Count, Counter, Of};
pub use depth::{AtDepth, Delivered, Depth, Depths};
pub use evidence::EValue;
pub use failures::{Explanation, Failure};
pub use family::Family;
pub use gauge::{Gauge, Level};
pub use histogram::{Buckets, Distribution, Histogram};
pub use logs::{LogFields, LogKeys, LogSettings, Logs, StreamVerdict};
pub use members::Form;
pub use metrics::{Identity, MetricSettings, MetricVerdict, Metrics, MetricsReport, SeriesVerdict};
pub use names::{Collision, MetricIdentity, NameSettings, Names, NewSide, Rule};
pub use releases::{ReleaseRemark, ReleaseSettings};
pub use series_sets::SetFinding;
pub use suggestion::{Advice, Suggestion};
pub use thinning::loss_interval;
pub use traces::{Ids, PopulationVerdict, TraceSettings, Traces};
pub use verdict::{Cause, Demand, Finding, Needs, Percent, Reason, Side, Verdict};
