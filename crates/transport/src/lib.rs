//! HTTP and gRPC servers and clients with TLS, compression, limits and time-outs, and sockets for protocols that are
//! neither: everything between sockets and payload bytes.
//!
//! The crate moves opaque [`Bytes`](bytes::Bytes). It never looks into a payload, knows no telemetry. Its
//! settings are plain structs; [`configured`] fills them from the shapes of a configuration.
//!
//! - [`server`]: listeners, HTTP/1.1 and HTTP/2 on one port, limits that hold against hostile clients
//! - [`grpc`]: message framing, status, unary calls and streams on top of a server
//! - [`grpc_client`]: unary calls over connections that are owned here
//! - [`http_client`]: requests with capped answers, redirects and proxies under control
//! - [`datagram`]: UDP and unix datagrams, with an account of those that the kernel drops
//! - [`stream`]: connections of protocols that are not HTTP, and their frames
//! - [`one_way`]: clients of protocols that answer nothing
//! - [`coding`]: gzip, zstd, deflate, snappy, LZ4, with the limit held while decompressing
//! - [`tls`], [`endpoint`], [`retry`]: what both sides share; who may pass is [`auth`]'s to say
//!
//! ```
//! use transport::coding::{Coding, Level, compress, decompress};
//! let packed = compress(Coding::Zstd, Level::Fast, b"telemetry telemetry telemetry");
//! assert_eq!(decompress(Coding::Zstd, &packed, 1024).unwrap(), "telemetry telemetry telemetry");
//! assert!(decompress(Coding::Zstd, &packed, 10).is_err());
//! ```

mod body;
pub mod coding;
pub mod configured;
mod connect;
pub mod datagram;
pub mod endpoint;
pub mod grpc;
pub mod grpc_client;
pub mod http_client;
mod io;
pub mod one_way;
pub mod retry;
pub mod server;
pub mod stream;
pub mod tls;

pub use connect::ConnectError;
