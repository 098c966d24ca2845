//! The examples of migrations as their users run them: what old clients send reaches the old and the new backend.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod jaeger;
mod opencensus;
mod parity;
mod statsd;
mod zipkin;
