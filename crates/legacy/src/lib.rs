//! Formats that applications emitted before OTLP: their bytes to [`otlp::Batch`]es, and back.
//!
//! One module for each format. A format is read within bounds and never panics: what is wrong is an error with its
//! place. Mappings follow the OpenTelemetry specification, "Compatibility", where it has one, and each module says what
//! its format cannot carry.
//!
//! This crate does no I/O and reads no clock; it knows no receiver and no exporter.

pub mod carbon;
pub mod fluent;
pub mod influx;
pub mod jaeger;
pub mod lines;
pub mod loki;
pub mod opencensus;
pub mod syslog;
pub mod thrift;
pub mod zipkin;
