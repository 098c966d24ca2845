//! Processors, one module each. A processor changes batches between a receiver and the journal, or says how records
//! are put together behind it.
//!
//! None of them holds data back, does I/O or waits: what a sender is told follows what they did. Attributes are edited
//! in the bytes of a batch; what no rule touches is copied as it stands, and a batch that no rule changes keeps its
//! bytes and their compressed forms.
//!
//! ```
//! use component::{BuildContext, BuiltProcessor, Registry};
//! use otlp::encode::LogsEncoder;
//!
//! let mut registry = Registry::default();
//! processors::register(&mut registry);
//! let yaml = "attributes: [{key: telemetry.pipeline, value: crossfade, action: upsert}]";
//! let loaded = config::parse_str("c.yaml", yaml, &config::TestEnvironment::new()).unwrap();
//! let mut diagnostics = config::Diagnostics::new();
//! let id = "resource".parse().unwrap();
//! let build = registry.processor("resource").unwrap().build;
//! let built = config::Section::open(&loaded.root, "processors.resource", &mut diagnostics)
//!     .read(|section| build(section, &BuildContext::alone(&id)));
//! let Some(BuiltProcessor::Each(resource)) = built else { panic!("{diagnostics:?}") };
//!
//! let mut encoder = LogsEncoder::new();
//! encoder.resource_logs(|_| {});
//! let batch = resource.process(encoder.finish()).unwrap();
//! let block = batch.logs().unwrap().resource_logs().next().unwrap();
//! assert_eq!(block.resource().attributes().get("telemetry.pipeline").unwrap().as_str(), Some("crossfade"));
//! ```

mod actions;
mod attributes;
mod batch;
mod matching;
mod memory_limiter;
mod resource;

/// Registers every processor of this crate.
pub fn register(registry: &mut component::Registry) {
    registry.processors.push(attributes::FACTORY);
    registry.processors.push(batch::FACTORY);
    registry.processors.push(memory_limiter::FACTORY);
    registry.processors.push(resource::FACTORY);
}

#[cfg(test)]
mod testing;
