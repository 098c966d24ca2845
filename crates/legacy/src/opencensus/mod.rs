//! OpenCensus: what its agent's protocol carries, to OTLP.
//!
//! Specification: `opencensus.proto.agent.{trace,metrics}.v1`, `opencensus.proto.{trace,metrics,resource}.v1`; what
//! becomes of it is decided as the Collector does. A stream names its node and its resource once, and they hold until
//! others are named: that is what a [`Stream`] remembers.
//!
//! | OpenCensus | OTLP |
//! |---|---|
//! | node: service name, host name, pid | `service.name`, `host.name`, `process.pid` |
//! | node: start time, version of the exporter | `opencensus.starttime`, `opencensus.exporterversion` |
//! | node: language, version of the library | `telemetry.sdk.language`, `telemetry.sdk.version` |
//! | attributes of the node, labels of the resource | attributes of the resource; `cloud.zone` is `cloud.availability_zone` |
//! | type of the resource | `opencensus.resourcetype` |
//! | resource of a span or a metric | takes the place of the stream's |
//! | kind; where there is none, the attribute `span.kind` | kind |
//! | status: code 0, others; the attribute `otel.status_code` beats them | unset, error |
//! | annotation | event |
//! | message event | event `message`: `message.type`, `messaging.message_id`, `messaging.message_payload_size_bytes`, … |
//! | `same_process_as_parent_span` | attribute `opencensus.same_process_as_parent_span` |
//! | gauge; cumulative | gauge; cumulative monotonic sum |
//! | cumulative distribution | cumulative histogram |
//! | summary: percentiles of its snapshot | summary: quantiles |
//!
//! # What is lost
//!
//! - Stack traces, `child_span_count`, the types of links, and how many bytes were cut from a text.
//! - Points of gauge distributions, for which OTLP has no kind, and of metrics without a descriptor or of another type
//!   than it says: they are counted.
//! - The sum of squared deviations, the count and sum of a summary's snapshot, and descriptions of labels.
//! - The buckets of OpenCensus contain their lower bound, those of OTLP their upper. Buckets that do not match their
//!   bounds are left out, and count and sum are kept.
//! - Ids of another length are cut or filled with zeros. Times before 1970 are none.
//!
//! ```
//! use legacy::opencensus::Stream;
//!
//! // A request with one span, of which only the name is known: spans = 2, name = 4, value = 1.
//! let request = [0x12, 6, 0x22, 4, 0x0a, 2, b'o', b'k'];
//! let decoded = Stream::default().traces(&request)?;
//! assert_eq!(decoded.batch.items(), 1);
//! # Ok::<(), legacy::opencensus::Malformed>(())
//! ```

mod metrics;
mod proto;
mod resource;
mod traces;

use otlp::Batch;
use otlp::wire::{FieldValue, Fields};
use prost::Message;

use proto::{Node, Resource};

/// What a stream has named so far.
#[derive(Debug, Default)]
pub struct Stream {
    node: Option<Node>,
    resource: Option<Resource>,
}

/// What a message became.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The spans or the points.
    pub batch: Batch,
    /// Points that OTLP has no kind for.
    pub without_kind: u64,
}

/// Why bytes are no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No protobuf, or protobuf of another shape.
    #[error("{part} {index}: {error}")]
    Protobuf {
        /// Which part of the request: `node`, `resource`, `span` or `metric`.
        part: &'static str,
        /// Its place among those of its kind, from 0 on.
        index: usize,
        /// What is wrong.
        error: prost::DecodeError,
    },
    /// The request itself breaks off or has fields that are none.
    #[error("no protobuf from byte {offset} on")]
    Broken {
        /// Where.
        offset: usize,
    },
    /// A node or a resource that would have to be remembered for as long as the stream lives.
    #[error("the {part} has {size_bytes} bytes; at most {} are remembered", Stream::REMEMBERED_BYTES_MAX)]
    TooLong {
        /// `node` or `resource`.
        part: &'static str,
        /// How large it is.
        size_bytes: usize,
    },
    /// Labels, nodes and resources that stand once in OpenCensus stand with each point and span in OTLP.
    #[error("as OTLP the request has more than {} bytes", Stream::BATCH_BYTES_MAX)]
    TooLarge,
}

/// The fields that requests with spans and requests with metrics have alike.
const NODE: u32 = 1;
const CONTENTS: u32 = 2;
const RESOURCE: u32 = 3;

impl Stream {
    /// A node or a resource is remembered up to this size.
    pub const REMEMBERED_BYTES_MAX: usize = 256 << 10;
    /// A batch does not grow further by what it repeats.
    pub const BATCH_BYTES_MAX: usize = 64 << 20;

    /// The spans of an `ExportTraceServiceRequest`.
    ///
    /// # Errors
    /// [`Malformed`], with the part of the request. What the request named before is remembered all the same.
    pub fn traces(&mut self, request: &[u8]) -> Result<Decoded, Malformed> {
        self.remember(request)?;
        let batch = traces::batch(self, &|| contents(request))?;
        Ok(Decoded { batch, without_kind: 0 })
    }

    /// The points of an `ExportMetricsServiceRequest`.
    ///
    /// # Errors
    /// [`Malformed`], with the part of the request. What the request named before is remembered all the same.
    pub fn metrics(&mut self, request: &[u8]) -> Result<Decoded, Malformed> {
        self.remember(request)?;
        metrics::batch(self, &|| contents(request))
    }

    /// Reads node and resource, and sees that the rest is protobuf.
    fn remember(&mut self, request: &[u8]) -> Result<(), Malformed> {
        let mut read_bytes = 0;
        for field in Fields::new(request) {
            read_bytes += field.raw(request).len();
            match (field.number, field.value) {
                (NODE, FieldValue::Length(bytes)) => self.node = Some(remembered("node", bytes)?),
                (RESOURCE, FieldValue::Length(bytes)) => self.resource = Some(remembered("resource", bytes)?),
                _ => {}
            }
        }
        if read_bytes < request.len() {
            return Err(Malformed::Broken { offset: read_bytes });
        }
        Ok(())
    }
}

fn remembered<M: Message + Default>(part: &'static str, bytes: &[u8]) -> Result<M, Malformed> {
    if bytes.len() > Stream::REMEMBERED_BYTES_MAX {
        return Err(Malformed::TooLong { part, size_bytes: bytes.len() });
    }
    read(part, 0, bytes)
}

fn read<M: Message + Default>(part: &'static str, index: usize, bytes: &[u8]) -> Result<M, Malformed> {
    M::decode(bytes).map_err(|error| Malformed::Protobuf { part, index, error })
}

/// The spans or the metrics of a request. They are decoded one by one: a few bytes may be a large struct.
fn contents(request: &[u8]) -> impl Iterator<Item = &[u8]> {
    Fields::new(request).filter_map(|field| match (field.number, field.value) {
        (CONTENTS, FieldValue::Length(bytes)) => Some(bytes),
        _ => None,
    })
}

/// What a batch may still grow by what it repeats.
struct Budget {
    left_bytes: usize,
}

impl Budget {
    fn new() -> Budget {
        Budget { left_bytes: Stream::BATCH_BYTES_MAX }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(Malformed::TooLarge)?;
        Ok(())
    }
}
