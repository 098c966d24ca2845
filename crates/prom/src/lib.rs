//! The Prometheus data model: expositions, labels, relabelling, names, and the way to OTLP and back.
//!
//! | module | does |
//! |---|---|
//! | [`text`] | reads and writes the text format 0.0.4 and OpenMetrics 1.0 |
//! | [`labels`] | label sets with a stable hash, and the limits on them |
//! | [`relabel`] | relabelling rules with all their actions |
//! | [`names`] | names and units between OpenTelemetry and Prometheus |
//! | [`scrape`] | the series of one scrape to one OTLP request |
//! | [`write`] | OTLP to remote write 1.0, as bytes, over lanes; requests of 1.0 and 2.0 read |
//!
//! This crate does no I/O, knows no clock and runs no task: times come as arguments, bodies as slices, requests as
//! vectors. It never panics on what comes from outside, and what it remembers between calls is bounded.
//!
//! ```
//! use prom::text::{Entry, Format, Limits, Parser};
//!
//! let mut parser = Parser::new(Format::Text, b"up{job=\"shop\"} 1\n", Limits::default());
//! let Some(Entry::Sample(sample)) = parser.next_entry()? else { panic!("one sample") };
//! assert_eq!((sample.name, sample.value), ("up", 1.0));
//! assert_eq!(sample.labels.iter().next(), Some(("job", "shop")));
//! # Ok::<(), prom::text::ParseError>(())
//! ```

pub mod labels;
pub mod names;
pub mod relabel;
pub mod scrape;
pub mod text;
pub mod write;
