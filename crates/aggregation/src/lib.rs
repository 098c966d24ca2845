//! Streaming aggregation: state that grows with what arrives, and leaves as batches.
//!
//! [`statsd`] turns packets of StatsD lines, in all dialects, into OTLP metrics and logs.
//!
//! This crate does no I/O and reads no clock: time is an argument. It knows no receiver and no socket.

pub mod statsd;
