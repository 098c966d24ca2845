//! Views: the contents of a batch without decoding it into structs of its own.
//!
//! A view is a small `Copy` struct over the bytes of one message. Making one reads the message's own fields once, on
//! the stack; nothing is allocated and nested messages are only touched when they are asked for. Views expect bytes
//! that [`Batch::parse`] accepted. On any other bytes they return less or defaults, and never panic.
//!
//! What proto3 says holds: a scalar that occurs twice counts by its last occurrence, a repeated field may be
//! interleaved with others, repeated numbers may come packed or one by one. Only where a message that may come once
//! comes twice, the last one counts, instead of the merger of both; [`Batch::parse`] refuses such requests.
//!
//! ```
//! use otlp::{Batch, Signal};
//!
//! let batch = Batch::empty(Signal::Traces);
//! let traces = batch.traces().expect("a batch of traces");
//! for block in traces.resource_spans() {
//!     let service = block.resource().attributes().get("service.name");
//!     for span in block.scope_spans().flat_map(|scope| scope.spans()) {
//!         println!("{service:?} {} took {} ns", span.name(), span.end_time_unix_nano() - span.start_time_unix_nano());
//!     }
//! }
//! ```

mod common;
mod logs;
mod metrics;
mod text;
mod traces;

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

pub use common::{AnyValueView, AnyValues, KeyValueView, KeyValues, ResourceView, ScopeView};
pub use logs::{LogRecordView, LogsView, ResourceLogsView, ScopeLogsView};
pub use metrics::{
    BucketsView, ExemplarView, ExponentialHistogramPointView, HistogramPointView, MetricData, MetricView, MetricsView,
    NumberPointView, QuantileView, ResourceMetricsView, ScopeMetricsView, SummaryPointView,
};
pub use traces::{EventView, LinkView, ResourceSpansView, ScopeSpansView, SpanView, StatusView, TracesView};

use crate::wire::{FieldValue, Fields, read_varint};
use crate::{Batch, Signal};

impl Batch {
    /// The spans, if this is a batch of traces.
    pub fn traces(&self) -> Option<TracesView<'_>> {
        (self.signal() == Signal::Traces).then(|| TracesView::new(self.bytes()))
    }

    /// The metrics, if this is a batch of metrics.
    pub fn metrics(&self) -> Option<MetricsView<'_>> {
        (self.signal() == Signal::Metrics).then(|| MetricsView::new(self.bytes()))
    }

    /// The log records, if this is a batch of logs.
    pub fn logs(&self) -> Option<LogsView<'_>> {
        (self.signal() == Signal::Logs).then(|| LogsView::new(self.bytes()))
    }
}

/// A view of one message.
pub trait MessageView<'a>: Copy {
    /// The view of the message with these bytes, tag and length not included.
    fn new(message: &'a [u8]) -> Self;
}

/// The messages of one repeated field, in wire order.
pub struct Repeated<'a, V> {
    fields: Fields<'a>,
    number: u32,
    view: PhantomData<fn() -> V>,
}

impl<'a, V> Repeated<'a, V> {
    /// The messages of field `number` from the offset `first` of the message on.
    #[inline]
    pub(crate) fn new(message: &'a [u8], first: usize, number: u32) -> Self {
        // Positions inside one message only; a view that found no such field starts at the end.
        let fields = Fields::new(message).at(first.min(message.len()));
        Repeated { fields, number, view: PhantomData }
    }

    /// No messages.
    pub fn empty() -> Self {
        Repeated { fields: Fields::new(&[]), number: 0, view: PhantomData }
    }

    /// The bytes of each message, tag and length not included.
    pub fn messages(mut self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::from_fn(move || self.next_message())
    }

    #[inline]
    fn next_message(&mut self) -> Option<&'a [u8]> {
        loop {
            let field = self.fields.next()?;
            if let (true, FieldValue::Length(message)) = (field.number == self.number, field.value) {
                return Some(message);
            }
        }
    }
}

impl<'a, V: MessageView<'a>> Iterator for Repeated<'a, V> {
    type Item = V;

    #[inline]
    fn next(&mut self) -> Option<V> {
        self.next_message().map(V::new)
    }
}

impl<'a, V: MessageView<'a>> FusedIterator for Repeated<'a, V> {}

impl<V> Clone for Repeated<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Repeated<'_, V> {}

impl<V> Default for Repeated<'_, V> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a, V: MessageView<'a> + fmt::Debug> fmt::Debug for Repeated<'a, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl<'a, V: MessageView<'a> + PartialEq> PartialEq for Repeated<'a, V> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

/// The integers of one repeated field, packed or one by one.
#[derive(Clone, Copy, Debug)]
pub struct Integers<'a> {
    fields: Fields<'a>,
    number: u32,
    packed: &'a [u8],
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Fixed64,
    Varint,
}

impl<'a> Integers<'a> {
    #[inline]
    pub(crate) fn fixed64(message: &'a [u8], number: u32) -> Self {
        Integers { fields: Fields::new(message), number, packed: &[], layout: Layout::Fixed64 }
    }

    #[inline]
    pub(crate) fn varint(message: &'a [u8], number: u32) -> Self {
        Integers { fields: Fields::new(message), number, packed: &[], layout: Layout::Varint }
    }

    #[inline]
    fn next_packed(&mut self) -> Option<u64> {
        match self.layout {
            Layout::Fixed64 => {
                let (value, rest) = self.packed.split_first_chunk()?;
                self.packed = rest;
                Some(u64::from_le_bytes(*value))
            }
            Layout::Varint => {
                let (value, end) = read_varint(self.packed, 0)?;
                self.packed = &self.packed[end..];
                Some(value)
            }
        }
    }
}

impl Iterator for Integers<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(value) = self.next_packed() {
                return Some(value);
            }
            let field = self.fields.next()?;
            if field.number != self.number {
                continue;
            }
            match (field.value, self.layout) {
                (FieldValue::Length(packed), _) => self.packed = packed,
                (FieldValue::Fixed64(value), Layout::Fixed64) => return Some(value),
                (FieldValue::Varint(value), Layout::Varint) => return Some(value),
                _ => {}
            }
        }
    }
}

impl FusedIterator for Integers<'_> {}

/// The doubles of one repeated field, packed or one by one.
#[derive(Clone, Copy, Debug)]
pub struct Doubles<'a>(Integers<'a>);

impl<'a> Doubles<'a> {
    #[inline]
    fn new(message: &'a [u8], number: u32) -> Self {
        Doubles(Integers::fixed64(message, number))
    }
}

impl Iterator for Doubles<'_> {
    type Item = f64;

    #[inline]
    fn next(&mut self) -> Option<f64> {
        self.0.next().map(f64::from_bits)
    }
}

impl FusedIterator for Doubles<'_> {}

/// Defines a view: a struct that keeps what one pass over the message finds, and a method for each field.
///
/// Each line is the field number, the name and the type: a scalar of the wire format (`string`, `bytes`, `uint32`,
/// `int32`, `sint32`, `fixed32`, `fixed64`, `double`, `optional_double`, `trace_id`, `span_id`), `number` of the
/// fields of a double and of an integer of which the last one counts, `message` of a view that is its default when absent,
/// or `repeated` messages. Repeated numbers are methods written by hand.
macro_rules! view {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $number:literal $(| $other:literal)? $field:ident: $kind:ident $(($view:ident))?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a> {
            raw: &'a [u8],
            $($field: view!(@stored $kind 'a),)*
        }

        impl<'a> $name<'a> {
            /// The view of the message with these bytes, tag and length not included.
            #[inline]
            pub fn new(message: &'a [u8]) -> Self {
                let mut view = $name { raw: message, $($field: view!(@absent $kind message),)* };
                for field in $crate::wire::Fields::new(message) {
                    match field.number {
                        $($number $(| $other)? => view!(@store $kind $($other,)? view.$field, field),)*
                        _ => {}
                    }
                }
                view
            }

            /// The bytes of the message, tag and length not included.
            #[inline]
            pub fn as_bytes(&self) -> &'a [u8] {
                self.raw
            }

            $(view!(@method $(#[$field_doc])* $number $field $kind $($view)?);)*
        }

        impl<'a> $crate::view::MessageView<'a> for $name<'a> {
            #[inline]
            fn new(message: &'a [u8]) -> Self {
                $name::new(message)
            }
        }

        impl PartialEq for $name<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.raw == other.raw
            }
        }

        impl Default for $name<'_> {
            fn default() -> Self {
                $name::new(&[])
            }
        }
    };

    // What is kept of a field.
    (@stored string $a:lifetime) => { &$a [u8] };
    (@stored bytes $a:lifetime) => { &$a [u8] };
    (@stored trace_id $a:lifetime) => { &$a [u8] };
    (@stored span_id $a:lifetime) => { &$a [u8] };
    (@stored message $a:lifetime) => { &$a [u8] };
    (@stored repeated $a:lifetime) => { usize };
    (@stored uint32 $a:lifetime) => { u32 };
    (@stored int32 $a:lifetime) => { i32 };
    (@stored sint32 $a:lifetime) => { i32 };
    (@stored fixed32 $a:lifetime) => { u32 };
    (@stored fixed64 $a:lifetime) => { u64 };
    (@stored double $a:lifetime) => { f64 };
    (@stored optional_double $a:lifetime) => { Option<f64> };
    (@stored number $a:lifetime) => { Option<$crate::NumberValue> };

    (@absent optional_double $message:ident) => { None };
    (@absent number $message:ident) => { None };
    (@absent repeated $message:ident) => { $message.len() };
    (@absent $kind:ident $message:ident) => { Default::default() };

    (@store repeated $slot:expr, $field:ident) => { $slot = $slot.min($field.start) };
    (@store uint32 $slot:expr, $field:ident) => { $slot = $field.value.varint() as u32 };
    (@store int32 $slot:expr, $field:ident) => { $slot = $field.value.varint() as i32 };
    (@store sint32 $slot:expr, $field:ident) => {
        $slot = $crate::wire::zigzag_decode($field.value.varint()) as i32
    };
    (@store fixed32 $slot:expr, $field:ident) => { $slot = $field.value.fixed32() };
    (@store fixed64 $slot:expr, $field:ident) => { $slot = $field.value.fixed64() };
    (@store double $slot:expr, $field:ident) => { $slot = $field.value.double() };
    (@store number $int:literal, $slot:expr, $field:ident) => {
        $slot = Some(match $field.number {
            $int => $crate::NumberValue::Int($field.value.fixed64() as i64),
            _ => $crate::NumberValue::Double($field.value.double()),
        })
    };
    (@store optional_double $slot:expr, $field:ident) => { $slot = Some($field.value.double()) };
    (@store $kind:ident $slot:expr, $field:ident) => { $slot = $field.value.bytes() };

    (@method $(#[$doc:meta])* $number:literal $field:ident string) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> &'a str {
            std::str::from_utf8(self.$field).unwrap_or_default()
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident bytes) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> &'a [u8] {
            self.$field
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident trace_id) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> Option<$crate::TraceId> {
            $crate::TraceId::from_slice(self.$field)
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident span_id) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> Option<$crate::SpanId> {
            $crate::SpanId::from_slice(self.$field)
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident message $view:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> $view<'a> {
            $view::new(self.$field)
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident repeated $view:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> $crate::view::Repeated<'a, $view<'a>> {
            $crate::view::Repeated::new(self.raw, self.$field, $number)
        }
    };
    (@method $(#[$doc:meta])* $number:literal $field:ident $kind:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> view!(@stored $kind 'a) {
            self.$field
        }
    };
}

use view;
