//! Configuration files as a tree with positions, and readers that report every error at once.
//!
//! The crate reads the OpenTelemetry Collector's YAML. Every value of the tree knows its file, line and column;
//! `${…}` is expanded; several files are merged. A component reads its part of the tree through a [`Section`], which
//! collects all that is wrong — path, place, what was expected, what was found, a suggestion for a misspelt key —
//! instead of stopping at the first error.
//!
//! It knows no component, runs nothing asynchronous, and does no I/O except reading the named files and variables,
//! which go through [`Environment`]. It never prints a secret: a value that came from `${…}` is shown as its `${…}`,
//! and a [`Secret`] not at all. No input makes it panic, and what it takes is bounded: [`SOURCE_BYTES_MAX`],
//! [`DEPTH_MAX`], [`NODES_MAX`].
//!
//! ```
//! use std::time::Duration;
//! use config::{ComponentId, Diagnostics, Section, TestEnvironment, shapes};
//!
//! struct Settings {
//!     endpoint: String,
//!     timeout: Duration,
//!     retry: shapes::Retry,
//!     tls: Option<shapes::TlsClient>,
//! }
//!
//! fn read(section: &mut Section<'_>) -> Option<Settings> {
//!     // Read everything first, then give up: so that all errors are found.
//!     let endpoint = section.get("endpoint").string().non_empty().required();
//!     let timeout = section.get("timeout").duration().or(Duration::from_secs(5));
//!     let retry = section.child("retry_on_failure", shapes::Retry::read);
//!     let tls = section.child_if_present("tls", shapes::TlsClient::read);
//!     section.unsupported("cookies", "a cookie jar for the client");
//!     Some(Settings { endpoint: endpoint?, timeout, retry, tls })
//! }
//!
//! let env = TestEnvironment::new().with_var("TIMEOUT", "soon");
//! let text = "endpont: localhost:4317\ntimeout: ${env:TIMEOUT}\n";
//! let loaded = config::parse_str("collector.yaml", text, &env).unwrap();
//! let mut diagnostics = Diagnostics::new();
//! let settings = Section::open(&loaded.root, "exporters.otlp", &mut diagnostics).read(read);
//! let errors = diagnostics.finish_with(settings).err().unwrap();
//! assert_eq!(
//!     errors.to_string(),
//!     "exporters.otlp.endpoint: is required: expected a string (collector.yaml:1:1)\n\
//!      exporters.otlp.endpont: unknown key `endpont` (collector.yaml:1:1)\n  \
//!        help: did you mean `endpoint`?\n\
//!      exporters.otlp.timeout: expected a duration such as `5s`, `200ms` or `1m30s`, found `${env:TIMEOUT}` \
//!      (collector.yaml:2:10)",
//! );
//! ```

mod diagnostic;
pub mod duration;
mod expand;
mod field;
mod id;
mod load;
mod merge;
mod node;
mod path;
mod scalar;
mod secret;
mod section;
pub mod shapes;
pub mod size;
mod snippet;
mod source;
mod suggest;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Errors, Related, Severity, json_array};
pub use field::{Field, Integer, Read};
pub use id::{ComponentId, ComponentIdError};
pub use load::{Environment, Loaded, SystemEnvironment, TestEnvironment, load, parse_all, parse_plain, parse_str};
pub use node::{Entry, Kind, Map, Node};
pub use path::Path;
pub use secret::Secret;
pub use section::{Section, Spanned};
pub use source::{Position, Source};
pub use suggest::nearest;
pub use yaml::{DEPTH_MAX, NODES_MAX, SOURCE_BYTES_MAX};

/// The text of headers and the like: names with values that are never printed.
pub type Headers = Vec<(String, Secret)>;
