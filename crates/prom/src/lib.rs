//! The Prometheus data model: exposition formats, relabelling, names, remote write messages.
#![cfg_attr(test, allow(clippy::float_cmp))]

pub mod labels;
pub mod names;
pub mod relabel;
pub mod scrape;
pub mod text;
