//! From a configuration to running pipelines.
//!
//! [`Graph::build`] resolves every name of a configuration and builds its components through a
//! [`component::Registry`]; [`Engine::start`] runs the graph. A pipeline takes batches from its receivers, passes them
//! through its processors, and appends them to its stream of the [`journal`]; each of its exporters reads that stream
//! with a cursor of its own. The [`Ledger`] says, for each pipeline and exporter, what became of every item.
//!
//! This crate names no concrete component, and it opens no socket.
//!
//! ```
//! use component::Registry;
//! use config::{Diagnostics, TestEnvironment};
//! use pipeline::Graph;
//!
//! let text = "service: {pipelines: {traces: {receivers: [otpl], exporters: [debug]}}}";
//! let loaded = config::parse_str("collector.yaml", text, &TestEnvironment::new()).unwrap();
//! let mut diagnostics = Diagnostics::new();
//! assert!(Graph::build(&loaded.root, &Registry::default(), &mut diagnostics).is_none());
//! assert_eq!(diagnostics.errors().len(), 2, "both names are unknown, and both are reported");
//! ```

mod chain;
mod dead_letters;
mod delivery;
mod engine;
mod graph;
mod groups;
mod labels;
mod ledger;
mod migration;
mod replay;
mod selection;
mod service;
mod storage;
mod telemetry;
mod totals;
mod trouble;

pub use component::{Place, Seen, Unit};
pub use engine::{Engine, EngineError, Rest};
pub use graph::Graph;
pub use journal::disk::DiskStats;
pub use ledger::{Ledger, Line, Part};
pub use migration::{
    Asking, Comparison, Migration, Parity, QuerySettings, SideSettings, Taken, Verdicts, nanoseconds, ratio,
};
pub use replay::{ReplayError, ReplayMode, ReplayRequest, ReplaySource, ReplayState, ReplayStatus, Replays};
pub use selection::{Selection, SelectionError};
pub use service::{LogEncoding, Serving, TelemetrySettings};
pub use telemetry::{CounterSuffix, render};
pub use totals::{Total, TotalsGroup};
