//! gRPC over HTTP/2 with raw bytes: framing, status, unary calls and streams on the server's side.
//!
//! Specification: `PROTOCOL-HTTP2.md` of gRPC, `compression.md`, and `google.rpc.Status` for details.

mod frame;
mod status;
mod streaming;
mod unary;

use http::{HeaderMap, header};

pub(crate) use frame::{FRAME_PREFIX_BYTES, FramePrefix};
pub use frame::{Message, Messages};
pub(crate) use status::decode_status;
pub use status::{Code, Origin, Status};
pub use streaming::{StreamCall, streaming};
pub use unary::{GrpcLimits, UnaryCall, unary};

/// The content type of gRPC with protobuf messages.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";

/// Whether a request or response says that it is gRPC: `application/grpc`, alone or with `+` or `;`.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let rest = value.strip_prefix(CONTENT_TYPE.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
