//! What the daemon serves of itself over HTTP: its own metrics, and the admin API.
//!
//! - `GET /metrics` on the metrics endpoint: the Prometheus text format 0.0.4.
//! - `/api/v1/ledger` on the admin endpoint: every line of the ledger, as of one moment, as JSON.
//! - `/api/v1/parity` there, and the page `/parity`: the verdicts, where the configuration has a `migration`.
//! - `/api/v1/replays` there: replays, and beginning and ending them.
//!
//! Both answer only to names of this machine or the address they listen on, so that a web page cannot reach them by
//! rebinding a name, and carry headers that keep a browser from making anything of them.

mod api;
mod ledger;
mod parity;
mod server;

pub use api::Admin;
pub use ledger::{DiskReport, LedgerReport, LineReport, PartReport};
pub use parity::{VERDICT_HEADER, document, exit_code};
pub use server::{ServeError, Served, serve_admin, serve_metrics};
