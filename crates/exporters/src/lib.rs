//! Exporters, one module for each backend protocol.
//!
//! An exporter turns an [`otlp::Batch`] into requests and makes one attempt to send a request; order, repetition,
//! counting and giving up are the pipeline's. It knows no pipeline and no other exporter.
//!
//! ```
//! let mut registry = component::Registry::default();
//! exporters::register(&mut registry);
//! assert!(registry.exporter("otlp_grpc").is_some());
//! ```

mod carbon;
mod common;
mod debug;
mod file;
mod forward;
mod influxdb;
mod jaeger;
mod lines;
mod loki;
mod otlp;
mod otlphttp;
mod prometheus;
mod prometheusremotewrite;
mod statsd;
mod victorialogs;
mod zipkin;

/// Makes every exporter of this crate known.
pub fn register(registry: &mut component::Registry) {
    registry.exporters.push(carbon::FACTORY);
    registry.exporters.push(debug::FACTORY);
    registry.exporters.push(file::FACTORY);
    registry.exporters.push(influxdb::FACTORY);
    registry.exporters.push(jaeger::FACTORY);
    registry.exporters.push(loki::FACTORY);
    registry.exporters.push(otlp::FACTORY);
    registry.exporters.push(otlphttp::FACTORY);
    registry.exporters.push(prometheus::FACTORY);
    registry.exporters.push(prometheusremotewrite::FACTORY);
    registry.exporters.push(statsd::FACTORY);
    registry.exporters.push(victorialogs::FACTORY);
    registry.exporters.push(zipkin::FACTORY);
    registry.connectors.push(forward::FACTORY);
}
