//! Servers and clients of this crate, over real sockets of this machine.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod clients;
mod datagrams;
mod grpc;
mod hostile;
mod http;
mod lifecycle;
mod samples;
mod streaming;
mod streams;
mod support;
mod tls;
