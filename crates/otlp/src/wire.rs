//! The protobuf wire format: varints, tags, a forward iterator over the fields of a message, and writers.
//!
//! Specification: <https://protobuf.dev/programming-guides/encoding/>. Reading never allocates and never panics; a
//! message that is not well formed ends the iteration. [`Batch::parse`](crate::Batch::parse) is where malformed
//! bytes are named and refused.

/// The longest varint, in bytes.
pub const VARINT_SIZE_MAX: usize = 10;

/// How a field's value is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WireType {
    /// Base-128 integer, 1 to 10 bytes.
    Varint = 0,
    /// Eight bytes, little endian.
    Fixed64 = 1,
    /// A varint length and as many bytes: strings, bytes, messages, packed numbers.
    Length = 2,
    /// Four bytes, little endian.
    Fixed32 = 5,
}

impl WireType {
    /// The wire type in the low three bits of a tag. `None` for the deprecated groups (3, 4) and for 6 and 7.
    #[inline]
    pub const fn from_tag(tag: u32) -> Option<Self> {
        match tag & 7 {
            0 => Some(Self::Varint),
            1 => Some(Self::Fixed64),
            2 => Some(Self::Length),
            5 => Some(Self::Fixed32),
            _ => None,
        }
    }
}

/// The tag of a field: its number and wire type.
#[inline]
pub const fn tag(number: u32, wire: WireType) -> u32 {
    number << 3 | wire as u32
}

/// Reads a varint at `at`. Returns its value and the offset behind it, or `None` if it is cut off or longer than 64
/// bits.
#[inline]
pub fn read_varint(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let byte = *buf.get(at)?;
    if byte < 0x80 {
        return Some((u64::from(byte), at + 1));
    }
    read_long_varint(buf, at)
}

fn read_long_varint(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for index in 0..VARINT_SIZE_MAX {
        let byte = *buf.get(at + index)?;
        // The tenth byte holds the 64th bit and nothing else.
        if index == VARINT_SIZE_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, at + index + 1));
        }
    }
    None
}

/// The size of a varint, in bytes: 1 to 10.
#[inline]
pub const fn varint_size(value: u64) -> usize {
    // Seven bits a byte; the `| 1` gives zero its one byte.
    (63 - (value | 1).leading_zeros() as usize) / 7 + 1
}

/// Undoes the zigzag encoding of `sint32` and `sint64`.
#[inline]
pub const fn zigzag_decode(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The zigzag encoding of `sint32` and `sint64`.
#[inline]
pub const fn zigzag_encode(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The value of one field, still undecoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// An integer, a bool or an enum.
    Varint(u64),
    /// A `fixed64`, `sfixed64` or the bits of a `double`.
    Fixed64(u64),
    /// A string, bytes, a message or packed numbers.
    Length(&'a [u8]),
    /// A `fixed32`, `sfixed32` or the bits of a `float`.
    Fixed32(u32),
}

impl<'a> FieldValue<'a> {
    /// The bytes of a length-delimited value; empty for any other.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Length(bytes) => bytes,
            _ => &[],
        }
    }

    /// The string of a length-delimited value; empty for any other and for one that is not UTF-8.
    #[inline]
    pub fn str(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// A varint; 0 for any other.
    #[inline]
    pub fn varint(self) -> u64 {
        match self {
            Self::Varint(value) => value,
            _ => 0,
        }
    }

    /// Eight bytes; 0 for any other.
    #[inline]
    pub fn fixed64(self) -> u64 {
        match self {
            Self::Fixed64(value) => value,
            _ => 0,
        }
    }

    /// Four bytes; 0 for any other.
    #[inline]
    pub fn fixed32(self) -> u32 {
        match self {
            Self::Fixed32(value) => value,
            _ => 0,
        }
    }

    /// A double; 0 for any other wire type.
    #[inline]
    pub fn double(self) -> f64 {
        f64::from_bits(self.fixed64())
    }

    /// The wire type.
    #[inline]
    pub const fn wire_type(self) -> WireType {
        match self {
            Self::Varint(_) => WireType::Varint,
            Self::Fixed64(_) => WireType::Fixed64,
            Self::Length(_) => WireType::Length,
            Self::Fixed32(_) => WireType::Fixed32,
        }
    }
}

/// One field of a message and where it stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field number, 1 to 2^29 - 1.
    pub number: u32,
    /// The value.
    pub value: FieldValue<'a>,
    /// The offset of the tag from the start of the message, in bytes.
    pub start: usize,
    /// The offset behind the value, in bytes.
    pub end: usize,
}

impl<'a> Field<'a> {
    /// The field as it stands in its message, tag and length included.
    #[inline]
    pub fn raw(&self, message: &'a [u8]) -> &'a [u8] {
        message.get(self.start..self.end).unwrap_or_default()
    }
}

/// The fields of one message, in wire order, unknown ones included. Ends at the end of the message or at the first
/// field that is not well formed; [`Fields::position`] tells which.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    /// The fields of this message.
    #[inline]
    pub const fn new(message: &'a [u8]) -> Self {
        Fields { message, position: 0 }
    }

    /// The fields from the one at this offset on.
    #[inline]
    pub(crate) const fn at(self, position: usize) -> Self {
        Fields { message: self.message, position }
    }

    /// The offset of the next field: the length of the message once everything was read.
    #[inline]
    pub const fn position(&self) -> usize {
        self.position
    }

    #[inline]
    fn read(&mut self) -> Option<Field<'a>> {
        let start = self.position;
        // Most fields have a tag of one byte; of those, most are strings and messages whose length has one or two, and most
        // others have eight bytes.
        let rest = self.message.get(start..)?;
        if let Some(&[tag @ 8..0x80, low, high]) = rest.first_chunk() {
            let number = u32::from(tag >> 3);
            if tag & 7 == WireType::Length as u8 && (low < 0x80 || high < 0x80) {
                let (length, begin) = match low {
                    ..0x80 => (usize::from(low), start + 2),
                    _ => (usize::from(low & 0x7f) | usize::from(high) << 7, start + 3),
                };
                let end = begin + length;
                let value = FieldValue::Length(self.message.get(begin..end)?);
                return Some(Field { number, value, start, end });
            }
            if tag & 7 == WireType::Fixed64 as u8 {
                let bytes = rest[1..].first_chunk::<8>()?;
                let value = FieldValue::Fixed64(u64::from_le_bytes(*bytes));
                return Some(Field { number, value, start, end: start + 9 });
            }
        }
        self.read_any(start)
    }

    fn read_any(&self, start: usize) -> Option<Field<'a>> {
        let (tag, at) = read_varint(self.message, start)?;
        let tag = u32::try_from(tag).ok()?;
        let number = tag >> 3;
        if number == 0 {
            return None;
        }
        let (value, end) = match WireType::from_tag(tag)? {
            WireType::Varint => {
                let (value, end) = read_varint(self.message, at)?;
                (FieldValue::Varint(value), end)
            }
            WireType::Fixed64 => {
                let bytes = self.message.get(at..)?.first_chunk::<8>()?;
                (FieldValue::Fixed64(u64::from_le_bytes(*bytes)), at + 8)
            }
            WireType::Length => {
                let (length, at) = read_varint(self.message, at)?;
                let end = at.checked_add(usize::try_from(length).ok()?)?;
                (FieldValue::Length(self.message.get(at..end)?), end)
            }
            WireType::Fixed32 => {
                let bytes = self.message.get(at..)?.first_chunk::<4>()?;
                (FieldValue::Fixed32(u32::from_le_bytes(*bytes)), at + 4)
            }
        };
        Some(Field { number, value, start, end })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let field = self.read()?;
        self.position = field.end;
        Some(field)
    }
}

impl std::iter::FusedIterator for Fields<'_> {}

/// Appends a varint.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a tag.
#[inline]
pub fn write_tag(out: &mut Vec<u8>, number: u32, wire: WireType) {
    write_varint(out, u64::from(tag(number, wire)));
}

/// Appends a varint field.
#[inline]
pub fn write_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    write_tag(out, number, WireType::Varint);
    write_varint(out, value);
}

/// Appends a `fixed64` field.
#[inline]
pub fn write_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    write_tag(out, number, WireType::Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `fixed32` field.
#[inline]
pub fn write_fixed32_field(out: &mut Vec<u8>, number: u32, value: u32) {
    write_tag(out, number, WireType::Fixed32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double` field.
#[inline]
pub fn write_double_field(out: &mut Vec<u8>, number: u32, value: f64) {
    write_fixed64_field(out, number, value.to_bits());
}

/// Appends the tag and the length of a length-delimited field whose `size` bytes follow.
#[inline]
pub fn write_length_header(out: &mut Vec<u8>, number: u32, size: usize) {
    write_tag(out, number, WireType::Length);
    write_varint(out, size as u64);
}

/// Appends a string, bytes or message field.
#[inline]
pub fn write_bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    write_length_header(out, number, value.len());
    out.extend_from_slice(value);
}

/// The size of a length-delimited field with a value of `size` bytes, tag and length included.
#[inline]
pub const fn length_field_size(number: u32, size: usize) -> usize {
    varint_size(tag(number, WireType::Length) as u64) + varint_size(size as u64) + size
}

/// A length-delimited field whose length is not known yet: [`OpenField::begin`], then append the value, then
/// [`OpenField::end`].
#[derive(Debug)]
#[must_use = "the length is written by `end`"]
pub struct OpenField {
    value_start: usize,
    reserved: usize,
}

impl OpenField {
    /// Appends the tag and room for the length. A good guess of the value's size, in bytes, spares moving the value
    /// when its length turns out to need more room.
    #[inline]
    pub fn begin(out: &mut Vec<u8>, number: u32, size_guess: usize) -> Self {
        write_tag(out, number, WireType::Length);
        let reserved = varint_size(size_guess as u64);
        out.extend_from_slice(&[0; VARINT_SIZE_MAX][..reserved]);
        OpenField { value_start: out.len(), reserved }
    }

    /// Writes the length of what was appended since [`OpenField::begin`]. The length is always canonical, that is,
    /// in as few bytes as possible.
    #[inline]
    pub fn end(self, out: &mut Vec<u8>) {
        let size = out.len() - self.value_start;
        let needed = varint_size(size as u64);
        let header = self.value_start - self.reserved;
        if needed != self.reserved {
            Self::make_room(out, header, self.reserved, needed);
        }
        let mut value = size as u64;
        let last = needed - 1;
        for byte in &mut out[header..header + last] {
            *byte = value as u8 | 0x80;
            value >>= 7;
        }
        out[header + last] = value as u8;
    }

    /// Drops the field and everything appended since [`OpenField::begin`], tag included.
    pub fn cancel(self, out: &mut Vec<u8>, number: u32) {
        let tag_size = varint_size(u64::from(tag(number, WireType::Length)));
        out.truncate(self.value_start - self.reserved - tag_size);
    }

    #[cold]
    fn make_room(out: &mut Vec<u8>, header: usize, reserved: usize, needed: usize) {
        out.splice(header..header + reserved, std::iter::repeat_n(0, needed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_varint(value: u64, bytes: &[u8]) {
        let mut out = Vec::new();
        write_varint(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(varint_size(value), bytes.len());
        assert_eq!(read_varint(bytes, 0), Some((value, bytes.len())));
    }

    #[test]
    fn a_varint_holds_seven_bits_a_byte() {
        check_varint(0, &[0]);
        check_varint(127, &[0x7f]);
        check_varint(128, &[0x80, 1]);
        check_varint(300, &[0xac, 2]);
        check_varint(u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_none() {
        assert_eq!(read_varint(&[0xff; 11], 0), None);
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 0), None);
        assert_eq!(read_varint(&[0x80], 0), None);
        assert_eq!(read_varint(&[], 0), None);
    }

    #[test]
    fn zigzag_maps_small_magnitudes_to_small_varints() {
        for (signed, unsigned) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag_encode(signed), unsigned);
            assert_eq!(zigzag_decode(unsigned), signed);
        }
    }

    #[test]
    fn fields_come_in_wire_order_with_their_offsets() {
        let mut message = Vec::new();
        write_varint_field(&mut message, 1, 300);
        write_bytes_field(&mut message, 16, b"abc");
        write_fixed32_field(&mut message, 3, 7);
        write_double_field(&mut message, 4, 1.5);
        let fields: Vec<_> = Fields::new(&message).collect();
        let seen: Vec<_> = fields.iter().map(|field| (field.number, field.value, field.start..field.end)).collect();
        assert_eq!(
            seen,
            [
                (1, FieldValue::Varint(300), 0..3),
                (16, FieldValue::Length(b"abc"), 3..9),
                (3, FieldValue::Fixed32(7), 9..14),
                (4, FieldValue::Fixed64(1.5f64.to_bits()), 14..23),
            ]
        );
        assert_eq!(fields[1].raw(&message), &message[3..9]);
    }

    fn check_ends(message: &[u8], position: usize) {
        let mut fields = Fields::new(message);
        fields.by_ref().for_each(drop);
        assert_eq!(fields.position(), position, "{message:?}");
    }

    #[test]
    fn iteration_ends_where_a_message_is_malformed() {
        check_ends(&[8, 1, 0, 1], 2); // field number 0
        check_ends(&[8, 1, 0x0b, 1], 2); // a group
        check_ends(&[8, 1, 0x0a, 5, 1], 2); // a length beyond the end
        check_ends(&[8, 1, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 2);
        check_ends(&[8, 1, 0x0d, 1, 2, 3], 2); // a fixed32 of three bytes
        check_ends(&[8, 1], 2);
    }

    fn check_open_field(size: usize, size_guess: usize) {
        let mut out = vec![9];
        let open = OpenField::begin(&mut out, 2, size_guess);
        out.extend(std::iter::repeat_n(7, size));
        open.end(&mut out);
        let mut expected = vec![9];
        write_bytes_field(&mut expected, 2, &vec![7; size]);
        assert_eq!(out, expected);
        assert_eq!(out.len(), 1 + length_field_size(2, size));
    }

    #[test]
    fn an_open_field_gets_its_length_in_as_few_bytes_as_possible() {
        for size in [0, 1, 127, 128, 16_383, 16_384] {
            for guess in [0, 127, 128, 16_384] {
                check_open_field(size, guess);
            }
        }
    }

    #[test]
    fn a_cancelled_field_leaves_nothing() {
        let mut out = vec![9];
        let open = OpenField::begin(&mut out, 16, 300);
        out.push(7);
        open.cancel(&mut out, 16);
        assert_eq!(out, [9]);
    }
}
