//! Encoders: requests written field by field, for receivers of other protocols.
//!
//! Nothing is collected in between: every call appends protobuf to one buffer, in the order of the calls. Nested
//! messages are closures, so that a message cannot be left open; what a closure returns is handed on, so that it may
//! fail. Fields with their default values are left out, as canonical protobuf does. A field that may come once is to
//! be written once.
//!
//! ```
//! use otlp::encode::TracesEncoder;
//! use otlp::{SpanKind, StatusCode, TraceId};
//!
//! let mut encoder = TracesEncoder::new();
//! encoder.resource_spans(|block| {
//!     block.resource(|resource| {
//!         resource.attributes().string("service.name", "checkout");
//!     });
//!     block.scope_spans(|scope| {
//!         scope.span(|span| {
//!             span.trace_id(TraceId::new([7; 16])).name("POST /orders").kind(SpanKind::Server);
//!             span.attributes().int("http.response.status_code", 500);
//!             span.status(|status| {
//!                 status.code(StatusCode::Error).message("out of stock");
//!             });
//!         });
//!     });
//! });
//! let batch = encoder.finish();
//! assert_eq!(batch.items(), 1);
//! ```

mod common;
mod logs;
mod metrics;
mod traces;

pub use common::{AttributesWriter, ResourceWriter, ScopeWriter, ValueWriter, ValuesWriter};
pub use logs::{LogRecordWriter, LogsEncoder, ResourceLogsWriter, ScopeLogsWriter};
pub use metrics::{
    BucketsWriter, ExemplarWriter, ExponentialHistogramPointWriter, ExponentialHistogramWriter, GaugeWriter,
    HistogramPointWriter, HistogramWriter, MetricWriter, MetricsEncoder, NumberPointWriter, QuantileWriter,
    ResourceMetricsWriter, ScopeMetricsWriter, SumWriter, SummaryPointWriter, SummaryWriter,
};
pub use traces::{
    EventWriter, LinkWriter, ResourceSpansWriter, ScopeSpansWriter, SpanWriter, StatusWriter, TracesEncoder,
};

use crate::wire::OpenField;
use crate::{Batch, Signal};

/// What all writers of one request append to.
#[derive(Debug, Default)]
struct Sink {
    out: Vec<u8>,
    items: u32,
}

impl Sink {
    /// Appends a message that `fill` writes, of about `size_guess` bytes.
    #[inline]
    fn message<R>(&mut self, number: u32, size_guess: usize, fill: impl FnOnce(&mut Self) -> R) -> R {
        let open = OpenField::begin(&mut self.out, number, size_guess);
        let result = fill(self);
        open.end(&mut self.out);
        result
    }

    fn finish(self, signal: Signal) -> Batch {
        debug_assert_eq!(
            crate::check::check(signal, &self.out, &crate::Limits { depth_max: u16::MAX }),
            Ok(self.items),
            "an encoder writes valid requests"
        );
        Batch::from_trusted(signal, self.out.into(), self.items)
    }
}

/// Defines a writer of one message: a method for each field.
///
/// Each line is the field number, the name and the type: a scalar of the wire format, `attributes`, a `message` of
/// another writer, or an `item`, which is a message that counts. The number behind a writer is the guess of its size,
/// in bytes.
macro_rules! writer {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $number:literal $field:ident: $kind:ident $(($($writer:tt)*))?,)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'a> {
            pub(in crate::encode) sink: &'a mut $crate::encode::Sink,
        }

        impl $name<'_> {
            $(writer!(@method $(#[$field_doc])* $number $field $kind $($($writer)*)?);)*
        }
    };

    (@method $(#[$doc:meta])* $number:literal $field:ident attributes) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self) -> $crate::encode::AttributesWriter<'_> {
            $crate::encode::AttributesWriter::new(&mut self.sink.out, $number)
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident value) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self) -> $crate::encode::ValueWriter<'_> {
            $crate::encode::ValueWriter::new(&mut self.sink.out, $number)
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident message $writer:ident $guess:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $field<R>(&mut self, fill: impl FnOnce(&mut $writer<'_>) -> R) -> R {
            self.sink.message($number, $guess, |sink| fill(&mut $writer { sink }))
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident item $writer:ident $guess:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $field<R>(&mut self, fill: impl FnOnce(&mut $writer<'_>) -> R) -> R {
            self.sink.items += 1;
            self.sink.message($number, $guess, |sink| fill(&mut $writer { sink }))
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident packed_fixed64) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, values: impl IntoIterator<Item = u64>) -> &mut Self {
            writer!(@packed self $number values value => self.sink.out.extend_from_slice(&value.to_le_bytes()))
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident packed_double) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, values: impl IntoIterator<Item = f64>) -> &mut Self {
            writer!(@packed self $number values value => self.sink.out.extend_from_slice(&value.to_le_bytes()))
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident packed_varint) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, values: impl IntoIterator<Item = u64>) -> &mut Self {
            writer!(@packed self $number values value => $crate::wire::write_varint(&mut self.sink.out, value))
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident $kind:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, value: writer!(@type $kind)) -> &mut Self {
            writer!(@write $kind (&mut self.sink.out) $number value);
            self
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident $kind:ident $enum:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, value: $enum) -> &mut Self {
            writer!(@write int32 (&mut self.sink.out) $number value.number());
            self
        }
    };

    (@packed $self:ident $number:literal $values:ident $value:ident => $write:expr) => {{
        let mut values = $values.into_iter().peekable();
        if values.peek().is_some() {
            let open = $crate::wire::OpenField::begin(&mut $self.sink.out, $number, 0);
            for $value in values {
                $write;
            }
            open.end(&mut $self.sink.out);
        }
        $self
    }};

    (@type string) => { &str };
    (@type trace_id) => { $crate::TraceId };
    (@type span_id) => { $crate::SpanId };
    (@type uint32) => { u32 };
    (@type int32) => { i32 };
    (@type sint32) => { i32 };
    (@type bool) => { bool };
    (@type fixed32) => { u32 };
    (@type fixed64) => { u64 };
    (@type double) => { f64 };
    (@type optional_double) => { f64 };

    (@write string $out:tt $number:literal $value:expr) => {
        if !$value.is_empty() {
            $crate::wire::write_bytes_field($out, $number, $value.as_bytes());
        }
    };
    (@write trace_id $out:tt $number:literal $value:expr) => {
        $crate::wire::write_bytes_field($out, $number, $value.as_bytes())
    };
    (@write span_id $out:tt $number:literal $value:expr) => {
        $crate::wire::write_bytes_field($out, $number, $value.as_bytes())
    };
    (@write uint32 $out:tt $number:literal $value:expr) => {
        writer!(@varint $out $number u64::from($value))
    };
    // Negative numbers take ten bytes on the wire, as protobuf has it.
    (@write int32 $out:tt $number:literal $value:expr) => {
        writer!(@varint $out $number i64::from($value) as u64)
    };
    (@write sint32 $out:tt $number:literal $value:expr) => {
        writer!(@varint $out $number $crate::wire::zigzag_encode(i64::from($value)))
    };
    (@write bool $out:tt $number:literal $value:expr) => {
        writer!(@varint $out $number u64::from($value))
    };
    (@varint $out:tt $number:literal $value:expr) => {
        if $value != 0 {
            $crate::wire::write_varint_field($out, $number, $value);
        }
    };
    (@write fixed32 $out:tt $number:literal $value:expr) => {
        if $value != 0 {
            $crate::wire::write_fixed32_field($out, $number, $value);
        }
    };
    (@write fixed64 $out:tt $number:literal $value:expr) => {
        if $value != 0 {
            $crate::wire::write_fixed64_field($out, $number, $value);
        }
    };
    // By its bits, so that a negative zero survives.
    (@write double $out:tt $number:literal $value:expr) => {
        if $value.to_bits() != 0 {
            $crate::wire::write_double_field($out, $number, $value);
        }
    };
    (@write optional_double $out:tt $number:literal $value:expr) => {
        $crate::wire::write_double_field($out, $number, $value)
    };
}

/// Defines the encoder of one signal's requests.
macro_rules! encoder {
    ($(#[$doc:meta])* $name:ident $signal:ident $block:ident $writer:ident) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            sink: $crate::encode::Sink,
        }

        impl $name {
            /// An encoder of an empty request.
            pub fn new() -> Self {
                Self::default()
            }

            /// An encoder with room for this many bytes.
            pub fn with_capacity(size_bytes: usize) -> Self {
                $name { sink: $crate::encode::Sink { out: Vec::with_capacity(size_bytes), items: 0 } }
            }

            /// Appends a block of one resource.
            #[inline]
            pub fn $block<R>(&mut self, fill: impl FnOnce(&mut $writer<'_>) -> R) -> R {
                const BLOCK_SIZE_GUESS: usize = 16 << 10;
                self.sink.message(1, BLOCK_SIZE_GUESS, |sink| fill(&mut $writer { sink }))
            }

            /// The items written so far.
            pub fn items(&self) -> u32 {
                self.sink.items
            }

            /// The size of the request so far, in bytes.
            pub fn size_bytes(&self) -> usize {
                self.sink.out.len()
            }

            /// The request.
            pub fn finish(self) -> $crate::Batch {
                self.sink.finish($crate::Signal::$signal)
            }
        }
    };
}

use {encoder, writer};
