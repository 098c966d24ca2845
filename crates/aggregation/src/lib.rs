//! Streaming aggregation: state that grows with what arrives, and leaves as batches.
//!
//! This crate does no I/O and reads no clock: time is an argument. It knows no receiver and no socket.
