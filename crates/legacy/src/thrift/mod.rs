//! Thrift: the binary and the compact protocol, read as a stream and written field by field.
//!
//! Specification: Apache Thrift, "Thrift Binary protocol encoding" and "Thrift Compact protocol encoding". Jaeger's and
//! Zipkin's clients of the first generation speak it.
//!
//! A [`Reader`] hands out one value after another and builds nothing: whoever reads says what becomes of a field, and
//! skips what it does not know. What a sender declares is never believed: a length or a count has to fit into the bytes
//! that are left, so that no loop runs longer and no list grows larger than what was sent. Nesting is bounded.
//!
//! ```
//! use legacy::thrift::{Kind, Malformed, Protocol, Reader, Writer};
//!
//! let mut out = Writer::new(Protocol::Compact);
//! out.fields(|fields| {
//!     fields.string(1, "checkout");
//!     fields.list(2, Kind::I64, [7, 8], |out, id| out.i64(id));
//! });
//!
//! let bytes = out.finish();
//! let mut reader = Reader::new(Protocol::Compact, &bytes);
//! let (mut name, mut ids) = (String::new(), Vec::new());
//! reader.fields(|reader, field| {
//!     match (field.id, field.kind) {
//!         (1, Kind::Binary) => name = reader.text()?.into_owned(),
//!         (2, Kind::List) => reader.list(Kind::I64, |reader| Ok(ids.push(reader.i64()?)))?,
//!         _ => reader.skip(field.kind)?,
//!     }
//!     Ok(())
//! })?;
//! assert_eq!((name.as_str(), ids), ("checkout", vec![7, 8]));
//! # Ok::<(), Malformed>(())
//! ```

mod binary;
mod compact;
mod read;
mod write;

pub use read::{Field, Message, Reader};
pub use write::{FieldsWriter, Writer};

/// How values are put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Numbers of fixed width, in network order.
    Binary,
    /// Varints, and field ids as differences.
    Compact,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A truth value.
    Bool,
    /// 8 bits, signed.
    I8,
    /// 16 bits, signed.
    I16,
    /// 32 bits, signed.
    I32,
    /// 64 bits, signed.
    I64,
    /// A double.
    Double,
    /// Bytes, or text: Thrift does not tell them apart.
    Binary,
    /// Fields by id.
    Struct,
    /// Pairs.
    Map,
    /// Values without an order.
    Set,
    /// Values in order.
    List,
    /// 16 bytes.
    Uuid,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A request that wants a reply.
    Call,
    /// The reply.
    Reply,
    /// The reply that nothing was done.
    Exception,
    /// A request that wants no reply, as in datagrams.
    Oneway,
}

impl MessageKind {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Call),
            2 => Some(Self::Reply),
            3 => Some(Self::Exception),
            4 => Some(Self::Oneway),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Reply => 2,
            Self::Exception => 3,
            Self::Oneway => 4,
        }
    }
}

/// Why bytes are no Thrift, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Malformed {
    /// The offset of the fault, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub kind: MalformedKind,
}

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKind {
    /// A value reaches beyond the end.
    #[error("truncated: {needed} bytes needed and {left} left")]
    Truncated {
        /// What the value takes, in bytes.
        needed: u64,
        /// What is left, in bytes.
        left: usize,
    },
    /// A length or a count below zero.
    #[error("a size of {size}")]
    NegativeSize {
        /// The size.
        size: i32,
    },
    /// More elements than the bytes that are left can hold.
    #[error("{count} elements declared and {left} bytes left")]
    TooManyElements {
        /// The elements that are declared.
        count: u32,
        /// What is left, in bytes.
        left: usize,
    },
    /// A varint that is longer than its type.
    #[error("overlong varint")]
    OverlongVarint,
    /// A type that Thrift does not have.
    #[error("unknown type {number}")]
    UnknownType {
        /// Its number.
        number: u8,
    },
    /// A field id beyond 16 bits.
    #[error("field id out of range")]
    FieldId,
    /// Structs, lists, sets and maps in each other, deeper than [`Reader::DEPTH_MAX`].
    #[error("nested deeper than {} levels", Reader::DEPTH_MAX)]
    TooDeep,
    /// A message in another version of the protocol, or in another protocol.
    #[error("not a message of this protocol: it starts with {start:#06x}")]
    Version {
        /// What it starts with.
        start: u16,
    },
    /// A struct without a field that it has to have.
    #[error("no `{field}`, which is required")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A message that is neither call, reply, exception nor oneway.
    #[error("unknown type {number} of a message")]
    UnknownMessage {
        /// Its number.
        number: u8,
    },
}
