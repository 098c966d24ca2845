//! The reference that batches are held against: arbitrary requests as structs of `opentelemetry-proto`, encoded and
//! decoded by `prost`, and the same structs read back through views.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod arbitrary;
pub mod flat;
pub mod normal;
pub mod read;
pub mod unknown;
pub mod write;

use otlp::{Batch, Limits, Signal};
use prost::Message;

/// The batch of a reference request.
pub fn batch(signal: Signal, request: &impl Message) -> Batch {
    Batch::parse(signal, request.encode_to_vec().into(), &Limits::default()).expect("prost writes valid requests")
}
