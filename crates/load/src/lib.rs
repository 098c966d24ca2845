//! Traffic of every signal, and counting backends that track identities.
#![cfg_attr(test, allow(clippy::float_cmp))]

pub mod identity;
mod latency;
pub mod payload;
mod protocol;
pub mod receive;
pub mod send;
pub mod sequences;
mod signal_name;
pub mod verdict;

pub use identity::{RunId, WorkerId};
pub use latency::{Latencies, LatencyQuantiles};
pub use sequences::{Ranges, SequenceSet};
