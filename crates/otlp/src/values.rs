//! Ids and enums that views return and encoders take.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $size]);

        impl $name {
            /// The length, in bytes.
            pub const SIZE: usize = $size;

            /// The id of these bytes. All zeros are invalid by the specification, but are carried as they come.
            pub const fn new(bytes: [u8; $size]) -> Self {
                $name(bytes)
            }

            /// The id of these bytes, if they are as many as an id has.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map($name)
            }

            /// The id that this hexadecimal text is, in either case.
            pub fn from_hex(text: &[u8]) -> Option<Self> {
                let mut bytes = [0; $size];
                if text.len() != 2 * $size {
                    return None;
                }
                for (byte, digits) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
                    *byte = hex_digit(digits[0])? << 4 | hex_digit(digits[1])?;
                }
                Some($name(bytes))
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }

            /// The lower-case hexadecimal digits, as ASCII.
            pub fn to_hex(self) -> [u8; 2 * $size] {
                let mut text = [0; 2 * $size];
                for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
                    *digits = [HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]];
                }
                text
            }

            /// Whether it is all zeros, which the specification calls invalid.
            pub fn is_zero(&self) -> bool {
                self.0 == [0; $size]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id! {
    /// The id of a trace: 16 bytes, written as 32 hexadecimal digits.
    TraceId 16
}

id! {
    /// The id of a span: 8 bytes, written as 16 hexadecimal digits.
    SpanId 8
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// The value with this number, if the specification has one.
            pub const fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> i32 {
                self as i32
            }
        }
    };
}

numbered! {
    /// The role of a span: `Span.SpanKind`.
    SpanKind {
        /// Not given.
        #[default]
        Unspecified = 0,
        /// Inside an application.
        Internal = 1,
        /// Handles a request.
        Server = 2,
        /// Makes a request.
        Client = 3,
        /// Sends a message.
        Producer = 4,
        /// Receives a message.
        Consumer = 5,
    }
}

numbered! {
    /// How a span ended: `Status.StatusCode`.
    StatusCode {
        /// Not given.
        #[default]
        Unset = 0,
        /// Declared a success.
        Ok = 1,
        /// An error.
        Error = 2,
    }
}

numbered! {
    /// What the value of a data point counts from: `AggregationTemporality`.
    Temporality {
        /// Not given, which is an error of the sender.
        #[default]
        Unspecified = 0,
        /// From the last report.
        Delta = 1,
        /// From the start time.
        Cumulative = 2,
    }
}

/// The value of a number data point or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NumberValue {
    /// `as_int`.
    Int(i64),
    /// `as_double`.
    Double(f64),
}

impl NumberValue {
    /// The value as a double; integers beyond 2^53 are rounded.
    pub fn as_double(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_in_lower_case_and_read_in_either() {
        let id = TraceId::from_hex(b"5B8EFFF798038103D269b633813fc60c").unwrap();
        assert_eq!(id.to_string(), "5b8efff798038103d269b633813fc60c");
        assert_eq!(TraceId::from_slice(id.as_bytes()), Some(id));
    }

    #[test]
    fn text_of_another_length_or_alphabet_is_no_id() {
        for text in ["", "5b8e", "5b8efff798038103d", "5b8efff79803810g"] {
            assert_eq!(SpanId::from_hex(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_beyond_the_specification_have_no_name() {
        assert_eq!(SpanKind::from_number(5), Some(SpanKind::Consumer));
        assert_eq!(SpanKind::from_number(6), None);
        assert_eq!(SpanKind::from_number(-1), None);
    }
}
