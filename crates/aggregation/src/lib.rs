//! Streaming aggregation: state that grows with what arrives, and leaves as batches.
//!
//! [`statsd`] turns packets of StatsD lines, in all dialects, into OTLP metrics and logs.
//!
//! This crate does no I/O and reads no clock: time is an argument. It knows no receiver and no socket. No input makes
//! it panic, and all its state has bounds; what is beyond them is refused and counted.
//!
//! ```
//! use std::sync::Arc;
//! use aggregation::statsd::{Mappings, Settings, Shard, Source, Store};
//!
//! let mappings = Mappings::parse("mapping.yml", "mappings: [{match: 'shop.*.orders', name: orders, labels: {shop: $1}}]")?;
//! let settings = Arc::new(Settings::default().with_mappings(mappings));
//! let mut shard = Shard::new(Arc::clone(&settings));
//! let mut store = Store::new(settings, 1_000);
//!
//! let report = shard.packet(b"shop.north.orders:1|c|@0.1\nshop.north.orders:2|c\nshop.north.orders|c", Source::Local, 2_000);
//! assert_eq!((report.kept(), report.malformed.total()), (2, 1));
//! assert_eq!(report.first_malformed.unwrap().cause.cause(), "value_missing");
//!
//! store.merge(shard.take());
//! let flushed = store.flush(3_000);
//! let mut json = Vec::new();
//! otlp::json::encode(&flushed.metrics[0], &mut json);
//! assert!(String::from_utf8(json)?.contains(r#""asInt":"12""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod statsd;
