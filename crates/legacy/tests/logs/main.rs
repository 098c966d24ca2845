//! Log formats against golden files, their inverses, and mutations of valid inputs from a fixed seed.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod fluent;
mod loki;
mod support;
mod syslog;
