//! Jaeger's formats to OTLP and back: golden files, round trips, and damaged input.
#![allow(missing_docs, clippy::unwrap_used)]

mod golden;
mod hostile;
mod reference;
mod round_trips;
