//! Extensions, one module each: what runs beside the pipelines. They start before them and stop after them, and never
//! touch telemetry.
//!
//! ```
//! use component::{BuildContext, Registry};
//!
//! let mut registry = Registry::default();
//! extensions::register(&mut registry);
//! let yaml = "{endpoint: 'localhost:13133', path: /health}";
//! let loaded = config::parse_str("c.yaml", yaml, &config::TestEnvironment::new()).unwrap();
//! let mut diagnostics = config::Diagnostics::new();
//! let id = "health_check".parse().unwrap();
//! let build = registry.extension("health_check").unwrap().build;
//! let built = config::Section::open(&loaded.root, "extensions.health_check", &mut diagnostics)
//!     .read(|section| build(section, &BuildContext::alone(&id)));
//! assert!(built.is_some() && !diagnostics.has_errors());
//! ```

mod authenticator;
mod basicauth;
mod bearertokenauth;
mod file_storage;
mod health_check;
mod inert;
mod oauth2client;

/// Registers every extension of this crate.
pub fn register(registry: &mut component::Registry) {
    let authenticators = [basicauth::FACTORY, bearertokenauth::FACTORY, oauth2client::FACTORY];
    registry.extensions.extend([health_check::FACTORY, file_storage::FACTORY]);
    registry.extensions.extend(authenticators);
    registry.extensions.extend([inert::PPROF, inert::ZPAGES]);
}
