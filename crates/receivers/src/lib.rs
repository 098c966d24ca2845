//! Receivers, one module for each protocol.
//!
//! A receiver speaks its protocol through `transport`, turns what arrives into [`otlp::Batch`]es, and hands them to a
//! [`component::Intake`]; it acknowledges only what the intake has accepted. It knows no pipeline and no other receiver.
//!
//! ```
//! let mut registry = component::Registry::default();
//! receivers::register(&mut registry);
//! assert!(registry.receiver("otlp").is_some());
//! ```

mod carbon;
mod filelog;
mod fluentforward;
mod influxdb;
mod jaeger;
mod loki;
mod opencensus;
mod operators;
mod otlp;
mod prometheus;
mod shared;
mod statsd;
mod syslog;
mod zipkin;

/// Makes every receiver of this crate known.
pub fn register(registry: &mut component::Registry) {
    registry.receivers.push(carbon::FACTORY);
    registry.receivers.push(filelog::FACTORY);
    registry.receivers.push(fluentforward::FACTORY);
    registry.receivers.push(influxdb::FACTORY);
    registry.receivers.push(jaeger::FACTORY);
    registry.receivers.push(loki::FACTORY);
    registry.receivers.push(opencensus::FACTORY);
    registry.receivers.push(otlp::FACTORY);
    registry.receivers.push(prometheus::FACTORY);
    registry.receivers.push(statsd::FACTORY);
    registry.receivers.push(syslog::FACTORY);
    registry.receivers.push(zipkin::FACTORY);
}
