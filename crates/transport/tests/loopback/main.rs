//! Servers and clients of this crate, over real sockets of this machine.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod grpc;
mod support;
