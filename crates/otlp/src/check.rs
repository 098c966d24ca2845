//! The validating walk at the door: once over a request, down to the record.
//!
//! It is driven by the tables of [`crate::schema`]. It does not allocate, and it recurses only as deep as the messages
//! of OTLP nest and [`Limits::depth_max`] allows values to. Errors are built off the hot path.

mod text;

use text::{ascii_end, is_utf8_bytes};

use crate::schema::{Action, Id, Schema, Step};
use crate::wire::{VARINT_SIZE_MAX, WireType, read_varint};
use crate::{Limits, Malformed, MalformedKind, Signal};

/// Protobuf implementations refuse messages beyond this, so such a request could not be forwarded.
pub(crate) const REQUEST_SIZE_MAX: usize = i32::MAX as usize;

/// Walks over a whole request and counts its items.
pub(crate) fn check(signal: Signal, request: &[u8], limits: &Limits) -> Result<u32, Malformed> {
    check_message(Id::request(signal), request, limits)
}

/// Walks over a whole message of any type and counts the items in it.
pub(crate) fn check_message(id: Id, request: &[u8], limits: &Limits) -> Result<u32, Malformed> {
    if request.len() > REQUEST_SIZE_MAX {
        return Err(Malformed { offset: REQUEST_SIZE_MAX, field: id.schema().name, kind: MalformedKind::TooLarge });
    }
    let depth_max = limits.depth_max.min(Limits::DEPTH_MAX_CEILING);
    let mut walk = QuickWalk::new(request, depth_max);
    match walk.message(id, 0, request.len(), 0) {
        Ok(()) => Ok(walk.items),
        Err(Fault) => Err(explain(id, request, depth_max)),
    }
}

/// Walks again over a request with a fault and says which.
#[cold]
fn explain(id: Id, request: &[u8], depth_max: u16) -> Malformed {
    let mut walk = ExplainingWalk::new(request, depth_max);
    let _fault = walk.message(id, 0, request.len(), 0);
    // Every fault is recorded before it is returned.
    walk.malformed.unwrap_or(Malformed { offset: 0, field: id.schema().name, kind: MalformedKind::Truncated })
}

/// That the walk failed. The particulars are in [`Walk::malformed`], if they were asked for.
struct Fault;

/// The walk at the door: over a sound request, which has nothing to carry along for explanations.
type QuickWalk<'a> = Walk<'a, false>;

/// The walk that records the fault it ends with.
type ExplainingWalk<'a> = Walk<'a, true>;

struct Walk<'a, const EXPLAIN: bool> {
    buf: &'a [u8],
    depth_max: u16,
    items: u32,
    /// Where the last run of ASCII ends. Strings are mostly ASCII and stand close together, and short tags and
    /// lengths between them are ASCII bytes too, so that one scan answers for many strings.
    ascii_end: usize,
    malformed: Option<Malformed>,
}

impl<'a, const EXPLAIN: bool> Walk<'a, EXPLAIN> {
    fn new(buf: &'a [u8], depth_max: u16) -> Self {
        Walk { buf, depth_max, items: 0, ascii_end: 0, malformed: None }
    }

    /// Checks the message from `pos` to `end`, which lies within the buffer.
    fn message(&mut self, id: Id, mut pos: usize, end: usize, depth: u16) -> Result<(), Fault> {
        let schema = id.schema();
        let buf = self.buf.get(..end).unwrap_or_default();
        let mut seen = 0u32;
        while let Some(first) = buf.get(pos) {
            let tag_start = pos;
            let mut step = schema.steps[usize::from(*first)];
            pos += 1;
            if step.action == Action::Examine {
                (step, pos) = self.examine(schema, tag_start, end)?;
            }
            if step.action.is_short() {
                pos = self.short_end(step.action, schema, tag_start, pos, buf)?;
                continue;
            }
            let (size, start) = self.length(schema, tag_start, pos, buf)?;
            if size > buf.len() - start {
                return self.fail(MalformedKind::Truncated, schema, tag_start, start);
            }
            let stop = start + size;
            pos = stop;
            match step.action {
                Action::Attribute => pos = self.attributes(*first, start, stop, buf, depth)?,
                Action::Utf8 => {
                    if !self.is_utf8(start, stop) {
                        return self.fail_utf8(schema, tag_start, start, stop);
                    }
                }
                Action::TraceId if size == 16 || size == 0 => {}
                Action::SpanId if size == 8 || size == 0 => {}
                Action::TraceId | Action::SpanId => {
                    return self.fail(MalformedKind::IdLength, schema, tag_start, start);
                }
                Action::Messages => {
                    self.items += u32::from(step.child.schema().is_item);
                    self.message(step.child, start, stop, depth)?;
                }
                Action::Message => {
                    let slot = 1 << (step.slot & 31);
                    let depth = depth + u16::from(step.child.schema().is_nesting);
                    if seen & slot != 0 {
                        return self.fail(MalformedKind::Repeated, schema, tag_start, start);
                    }
                    if depth > self.depth_max {
                        return self.fail(MalformedKind::TooDeep, schema, tag_start, start);
                    }
                    seen |= slot;
                    if step.child != Id::AnyValue || !self.is_plain_string(start, stop) {
                        self.message(step.child, start, stop, depth)?;
                    }
                }
                Action::PackedFixed64 if size.is_multiple_of(8) => {}
                Action::PackedFixed64 => return self.fail(MalformedKind::Truncated, schema, tag_start, stop),
                Action::PackedVarint => self.varints(schema, tag_start, start, stop)?,
                Action::Bytes | Action::Fixed64 | Action::Fixed32 | Action::Varint | Action::Examine => {}
            }
        }
        Ok(())
    }

    /// The offset behind a value without a length, which begins at `at`.
    #[inline]
    fn short_end(
        &mut self,
        action: Action,
        schema: &Schema,
        tag_start: usize,
        at: usize,
        buf: &[u8],
    ) -> Result<usize, Fault> {
        let size = match action {
            Action::Fixed64 => 8,
            Action::Fixed32 => 4,
            _ => return self.varint_end(schema, tag_start, at, buf),
        };
        if size > buf.len() - at {
            return self.fail(MalformedKind::Truncated, schema, tag_start, at);
        }
        Ok(at + size)
    }

    /// Whether this is an `AnyValue` that holds a short ASCII string and nothing else. `false` means only that the
    /// general walk has to look.
    #[inline]
    fn is_plain_string(&mut self, start: usize, end: usize) -> bool {
        const STRING: u8 = 0x0a;
        match self.buf[start..end].first_chunk() {
            Some(&[STRING, size]) => usize::from(size) + 2 == end - start && self.is_ascii(start, end),
            _ => false,
        }
    }

    /// Checks the attribute from `start` to `stop` and those behind it that have the same short tag and a short length:
    /// attributes stand together, and the next one needs no look into the tables. Returns the offset behind them.
    #[inline(never)]
    fn attributes(
        &mut self,
        tag: u8,
        mut start: usize,
        mut stop: usize,
        buf: &[u8],
        depth: u16,
    ) -> Result<usize, Fault> {
        loop {
            if !self.is_plain_attribute(start, stop) {
                self.message(Id::KeyValue, start, stop, depth)?;
            }
            let Some(&[next, size]) = buf.get(stop..).and_then(|rest| rest.first_chunk()) else { return Ok(stop) };
            let after = stop + 2 + usize::from(size);
            if next != tag || (tag | size) >= 0x80 || after > buf.len() {
                return Ok(stop);
            }
            (start, stop) = (stop + 2, after);
        }
    }

    /// Whether this is a `KeyValue` as encoders write it, a short key and then a short scalar value, and valid. It
    /// answers for most attributes in one go; `false` means only that the general walk has to look.
    #[inline(always)]
    fn is_plain_attribute(&mut self, start: usize, end: usize) -> bool {
        const KEY: u8 = 0x0a;
        const VALUE: u8 = 0x12;
        let bytes = &self.buf[start..end];
        let Some(&[KEY, key_size]) = bytes.first_chunk() else {
            return false;
        };
        let value_at = 2 + usize::from(key_size);
        let Some(&[VALUE, value_size, kind, first]) = bytes.get(value_at..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        let value_size = usize::from(value_size);
        if value_at + 2 + value_size != bytes.len() {
            return false;
        }
        // The lengths read above are single bytes only if they are ASCII, which these ranges include.
        let header_end = start + value_at + 3;
        match kind {
            0x0a => usize::from(first) + 2 == value_size && self.is_ascii(start, end),
            0x10 => value_size == 2 && self.is_ascii(start, end),
            0x18 => is_one_varint(&bytes[value_at + 3..]) && self.is_ascii(start, header_end),
            0x21 => value_size == 9 && self.is_ascii(start, header_end),
            _ => false,
        }
    }

    /// Whether the range is ASCII. Ranges are asked for in the order of their starts.
    #[inline]
    fn is_ascii(&mut self, start: usize, end: usize) -> bool {
        if end <= self.ascii_end {
            return true;
        }
        // The byte at `ascii_end` is known not to be ASCII.
        if start < self.ascii_end {
            return false;
        }
        self.ascii_end = ascii_end(self.buf, start);
        end <= self.ascii_end
    }

    #[inline]
    fn is_utf8(&mut self, start: usize, end: usize) -> bool {
        self.is_ascii(start, end) || is_utf8_bytes(&self.buf[start..end])
    }

    /// The offset behind the varint at `at`.
    #[inline]
    fn varint_end(&mut self, schema: &Schema, tag_start: usize, at: usize, buf: &[u8]) -> Result<usize, Fault> {
        match buf.get(at) {
            Some(byte) if *byte < 0x80 => Ok(at + 1),
            _ => match read_varint(buf, at) {
                Some((_, stop)) => Ok(stop),
                None => self.fail_varint(schema, tag_start, at, buf.len()),
            },
        }
    }

    /// Checks the varints from `at` to `end`.
    fn varints(&mut self, schema: &Schema, tag_start: usize, mut at: usize, end: usize) -> Result<(), Fault> {
        let buf = self.buf.get(..end).unwrap_or_default();
        while at < end {
            at = self.varint_end(schema, tag_start, at, buf)?;
        }
        Ok(())
    }

    /// The length at `at` and the offset behind it.
    #[inline]
    fn length(&mut self, schema: &Schema, tag_start: usize, at: usize, buf: &[u8]) -> Result<(usize, usize), Fault> {
        match buf.get(at) {
            Some(byte) if *byte < 0x80 => Ok((usize::from(*byte), at + 1)),
            _ => match read_varint(buf, at) {
                // What does not fit in an usize lies beyond any message; saying so keeps the caller's check the only one.
                Some((size, stop)) => Ok((usize::try_from(size).unwrap_or(usize::MAX), stop)),
                None => self.fail_varint(schema, tag_start, at, buf.len()),
            },
        }
    }

    /// What to do with a field whose tag the table does not answer for, and the offset behind the tag.
    fn examine(&mut self, schema: &Schema, tag_start: usize, end: usize) -> Result<(Step, usize), Fault> {
        let Some((tag, at)) = read_varint(&self.buf[..end], tag_start) else {
            return self.fail_varint(schema, tag_start, tag_start, end);
        };
        let Ok(tag) = u32::try_from(tag) else {
            return self.fail(MalformedKind::InvalidTag, schema, tag_start, tag_start);
        };
        let (number, Some(wire @ (WireType::Varint | WireType::Fixed64 | WireType::Length | WireType::Fixed32))) =
            (tag >> 3, WireType::from_tag(tag))
        else {
            return self.fail(MalformedKind::InvalidTag, schema, tag_start, tag_start);
        };
        if number == 0 {
            return self.fail(MalformedKind::InvalidTag, schema, tag_start, tag_start);
        }
        match schema.field(number) {
            Some(field) if field.accepts(wire) => Ok((field.step(wire), at)),
            Some(_) => self.fail(MalformedKind::WrongWireType, schema, tag_start, tag_start),
            None => {
                let action = match wire {
                    WireType::Varint => Action::Varint,
                    WireType::Fixed64 => Action::Fixed64,
                    WireType::Length => Action::Bytes,
                    WireType::Fixed32 => Action::Fixed32,
                };
                Ok((Step { action, child: Id::AnyValue, slot: 0 }, at))
            }
        }
    }

    #[inline]
    fn fail<T>(&mut self, kind: MalformedKind, schema: &Schema, tag_start: usize, at: usize) -> Result<T, Fault> {
        if EXPLAIN {
            self.record(kind, schema, tag_start, at);
        }
        Err(Fault)
    }

    #[cold]
    fn record(&mut self, kind: MalformedKind, schema: &Schema, tag_start: usize, at: usize) {
        let field = match read_varint(self.buf, tag_start) {
            Some((tag, _)) => u32::try_from(tag >> 3).ok().and_then(|number| schema.field(number)),
            None => None,
        };
        let field = field.map_or(schema.name, |field| field.path);
        self.malformed = Some(Malformed { offset: at, field, kind });
    }

    /// A varint that could not be read: cut off by the end of its message, or too long.
    #[inline]
    fn fail_varint<T>(&mut self, schema: &Schema, tag_start: usize, at: usize, end: usize) -> Result<T, Fault> {
        if !EXPLAIN {
            return Err(Fault);
        }
        let is_cut = end - at < VARINT_SIZE_MAX && self.buf[at..end].iter().all(|byte| *byte >= 0x80);
        let kind = if is_cut { MalformedKind::Truncated } else { MalformedKind::OverlongVarint };
        self.fail(kind, schema, tag_start, at)
    }

    /// Names the first byte that is not UTF-8.
    #[inline]
    fn fail_utf8<T>(&mut self, schema: &Schema, tag_start: usize, start: usize, end: usize) -> Result<T, Fault> {
        if !EXPLAIN {
            return Err(Fault);
        }
        let valid = std::str::from_utf8(&self.buf[start..end]).map_or_else(|error| error.valid_up_to(), str::len);
        self.fail(MalformedKind::InvalidUtf8, schema, tag_start, start + valid)
    }
}

/// Whether the bytes are exactly one varint of at most nine bytes.
#[inline]
fn is_one_varint(bytes: &[u8]) -> bool {
    match bytes {
        [last] => *last < 0x80,
        [rest @ .., last] => bytes.len() < VARINT_SIZE_MAX && *last < 0x80 && rest.iter().all(|byte| *byte >= 0x80),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{write_bytes_field, write_fixed64_field, write_varint_field};

    /// A message of one length-delimited field.
    fn wrap(number: u32, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_bytes_field(&mut out, number, value);
        out
    }

    /// A request with one record: the path of field numbers leads from the request to it.
    fn request(path: &[u32], record: &[u8]) -> Vec<u8> {
        path.iter().rev().fold(record.to_vec(), |inner, number| wrap(*number, &inner))
    }

    const SPAN: &[u32] = &[1, 2, 2];
    const LOG: &[u32] = &[1, 2, 2];

    fn walk(signal: Signal, request: &[u8]) -> Result<u32, Malformed> {
        check(signal, request, &Limits::default())
    }

    fn check_malformed(signal: Signal, request: &[u8], expected: &str) {
        assert_eq!(walk(signal, request).unwrap_err().to_string(), expected);
    }

    fn check_span(span: &[u8], expected: &str) {
        check_malformed(Signal::Traces, &request(SPAN, span), expected);
    }

    #[test]
    fn an_empty_request_has_no_items() {
        for signal in Signal::ALL {
            assert_eq!(walk(signal, &[]), Ok(0));
        }
    }

    #[test]
    fn spans_and_log_records_are_counted() {
        let spans = [request(SPAN, &[]), request(SPAN, &wrap(5, b"GET /"))].concat();
        assert_eq!(walk(Signal::Traces, &spans), Ok(2));
        assert_eq!(walk(Signal::Logs, &request(LOG, &wrap(3, b"INFO"))), Ok(1));
    }

    #[test]
    fn points_of_all_five_kinds_are_counted() {
        for data in [5, 7, 9, 10, 11] {
            let points = [wrap(1, &[]), wrap(1, &[])].concat();
            assert_eq!(walk(Signal::Metrics, &request(&[1, 2, 2, data], &points)), Ok(2), "{data}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_named_to_the_byte() {
        check_span(&wrap(5, b"GET\xff"), "invalid UTF-8 at byte 11 (Span.name)");
        check_span(&wrap(3, b"\xc3"), "invalid UTF-8 at byte 8 (Span.trace_state)");
    }

    #[test]
    fn text_beyond_ascii_is_accepted() {
        for text in ["ключ", "注文", &"é".repeat(100)] {
            assert_eq!(walk(Signal::Traces, &request(SPAN, &wrap(5, text.as_bytes()))), Ok(1));
            let attribute = [wrap(1, text.as_bytes()), wrap(2, &wrap(1, text.as_bytes()))].concat();
            assert_eq!(walk(Signal::Traces, &request(SPAN, &wrap(9, &attribute))), Ok(1));
        }
    }

    #[test]
    fn every_string_of_an_attribute_is_checked() {
        let bad_key = [wrap(1, b"k\xff"), wrap(2, &wrap(1, b"v"))].concat();
        check_span(&wrap(9, &bad_key), "invalid UTF-8 at byte 11 (KeyValue.key)");
        let bad_value = [wrap(1, b"k"), wrap(2, &wrap(1, b"v\xff"))].concat();
        check_span(&wrap(9, &bad_value), "invalid UTF-8 at byte 16 (AnyValue.string_value)");
        let bytes_value = [wrap(1, b"k"), wrap(2, &wrap(7, b"v\xff"))].concat();
        assert_eq!(walk(Signal::Traces, &request(SPAN, &wrap(9, &bytes_value))), Ok(1));
    }

    #[test]
    fn attributes_of_every_scalar_kind_are_accepted() {
        let long = "x".repeat(300);
        let mut values = vec![wrap(1, b""), wrap(1, long.as_bytes()), vec![]];
        for (number, value) in [(2, 1), (3, 200), (3, u64::MAX), (3, 1 << 62), (8, 5)] {
            let mut out = Vec::new();
            write_varint_field(&mut out, number, value);
            values.push(out);
        }
        let mut double = Vec::new();
        write_fixed64_field(&mut double, 4, (-1.5f64).to_bits());
        values.push(double);
        for value in values {
            let attribute = [wrap(1, b"k"), wrap(2, &value)].concat();
            assert_eq!(walk(Signal::Traces, &request(SPAN, &wrap(9, &attribute))), Ok(1), "{value:?}");
        }
    }

    #[test]
    fn an_overlong_varint_in_an_attribute_is_refused() {
        let value = [&[0x18][..], &[0xff; 10]].concat();
        let attribute = [wrap(1, b"k"), wrap(2, &value)].concat();
        check_span(&wrap(9, &attribute), "overlong varint at byte 14 (AnyValue.int_value)");
    }

    #[test]
    fn a_length_beyond_the_parent_is_refused_even_inside_the_request() {
        // The name claims 4 bytes; 3 are left in the span, though more follow in the scope.
        let span = [0x2a, 4, b'a', b'b', b'c'];
        let request = [&[0x0a, 11, 0x12, 9, 0x12, 5][..], &span, &[0x1a, 0]].concat();
        check_malformed(Signal::Traces, &request, "truncated message at byte 8 (Span.name)");
    }

    #[test]
    fn cut_off_values_are_refused() {
        check_span(&[0x39, 1, 2], "truncated message at byte 7 (Span.start_time_unix_nano)");
        check_span(&[0x85, 0x01, 1, 2], "truncated message at byte 8 (Span.flags)");
        check_span(&[0x30], "truncated message at byte 7 (Span.kind)");
        check_span(&[0x30, 0x80], "truncated message at byte 7 (Span.kind)");
        check_span(&[0x2a], "truncated message at byte 7 (Span.name)");
        check_span(&[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], {
            "truncated message at byte 17 (Span.name)"
        });
    }

    #[test]
    fn a_varint_of_eleven_bytes_is_refused() {
        let span = [&[0x30][..], &[0x80; 10], &[0]].concat();
        check_span(&span, "overlong varint at byte 7 (Span.kind)");
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        check_span(&[0x0b, 0x0c], "invalid field tag at byte 6 (Span.trace_id)");
        check_span(&[0xa3, 0x06], "invalid field tag at byte 6 (Span)");
        check_span(&[0x02, 0x00], "invalid field tag at byte 6 (Span)");
        check_span(&[0xfa, 0xff, 0xff, 0xff, 0xff, 0x01, 0], "invalid field tag at byte 6 (Span)");
    }

    #[test]
    fn a_known_field_in_another_wire_type_is_refused() {
        check_span(&[0x28, 1], "wrong wire type at byte 6 (Span.name)");
        check_span(&[0x82, 0x01, 0], "wrong wire type at byte 6 (Span.flags)");
        check_malformed(Signal::Logs, &[0x08, 1], {
            "wrong wire type at byte 0 (ExportLogsServiceRequest.resource_logs)"
        });
    }

    #[test]
    fn ids_have_their_length_or_none() {
        for id in [&[][..], &[7; 16]] {
            assert_eq!(walk(Signal::Traces, &request(SPAN, &wrap(1, id))), Ok(1));
        }
        check_span(&wrap(1, &[7; 15]), "wrong length of an id at byte 8 (Span.trace_id)");
        check_span(&wrap(2, &[7; 16]), "wrong length of an id at byte 8 (Span.span_id)");
        check_span(&wrap(13, &wrap(2, &[7; 9])), "wrong length of an id at byte 10 (Span.Link.span_id)");
    }

    #[test]
    fn unknown_fields_are_skipped_in_every_wire_type() {
        let mut span = wrap(100, b"\xff\xff");
        write_varint_field(&mut span, 101, 7);
        write_fixed64_field(&mut span, 102, 7);
        crate::wire::write_fixed32_field(&mut span, 103, 7);
        assert_eq!(walk(Signal::Traces, &request(SPAN, &span)), Ok(1));
        check_span(&[0xa2, 0x06, 3, 1, 2], "truncated message at byte 9 (Span)");
    }

    #[test]
    fn numbers_come_packed_or_one_by_one() {
        let packed = [wrap(6, &[0; 16]), wrap(7, &[0; 8])].concat();
        let mut single = Vec::new();
        write_fixed64_field(&mut single, 6, 1);
        write_fixed64_field(&mut single, 7, 1);
        for point in [packed, single] {
            assert_eq!(walk(Signal::Metrics, &request(&[1, 2, 2, 9, 1], &point)), Ok(1));
        }
        check_malformed(Signal::Metrics, &request(&[1, 2, 2, 9, 1], &wrap(6, &[0; 15])), {
            "truncated message at byte 27 (HistogramDataPoint.bucket_counts)"
        });
        check_malformed(Signal::Metrics, &request(&[1, 2, 2, 10, 1, 8], &wrap(2, &[1, 0x80])), {
            "truncated message at byte 15 (ExponentialHistogramDataPoint.Buckets.bucket_counts)"
        });
    }

    /// An attribute whose value nests in this many arrays.
    fn nested(levels: usize) -> Vec<u8> {
        (0..levels).fold(wrap(1, b"v"), |value, _| wrap(5, &wrap(1, &value)))
    }

    fn check_depth(levels: usize, depth_max: u16) -> Result<u32, MalformedKind> {
        let log = wrap(5, &nested(levels));
        check(Signal::Logs, &request(LOG, &log), &Limits { depth_max }).map_err(|malformed| malformed.kind)
    }

    #[test]
    fn values_nest_as_deep_as_the_limit_says() {
        assert_eq!(check_depth(0, 0), Ok(1));
        assert_eq!(check_depth(1, 0), Err(MalformedKind::TooDeep));
        assert_eq!(check_depth(64, 64), Ok(1));
        assert_eq!(check_depth(65, 64), Err(MalformedKind::TooDeep));
    }

    #[test]
    fn no_limit_lets_the_walk_run_out_of_stack() {
        assert_eq!(check_depth(256, u16::MAX), Ok(1));
        assert_eq!(check_depth(257, u16::MAX), Err(MalformedKind::TooDeep));
        assert_eq!(check_depth(10_000, u16::MAX), Err(MalformedKind::TooDeep));
    }

    #[test]
    fn lists_of_key_values_nest_too() {
        let levels = |levels| {
            (0..levels).fold(wrap(1, b"v"), |value, _| wrap(6, &wrap(1, &[wrap(1, b"k"), wrap(2, &value)].concat())))
        };
        let walk_levels = |count| walk(Signal::Logs, &request(LOG, &wrap(5, &levels(count)))).map_err(|bad| bad.kind);
        assert_eq!(walk_levels(30), Ok(1));
        assert_eq!(walk_levels(31), Err(MalformedKind::TooDeep));
    }

    #[test]
    fn a_second_resource_or_data_is_refused() {
        let twice = [wrap(1, &[]), wrap(1, &[])].concat();
        check_malformed(Signal::Traces, &wrap(1, &twice), "repeated message at byte 6 (ResourceSpans.resource)");
        let gauge_and_sum = [wrap(5, &[]), wrap(7, &[])].concat();
        check_malformed(Signal::Metrics, &request(&[1, 2, 2], &gauge_and_sum), {
            "repeated message at byte 10 (Metric.sum)"
        });
        // Tags in more bytes than needed are no way around it.
        check_malformed(Signal::Traces, &wrap(1, &[0x0a, 0, 0x8a, 0, 0]), {
            "repeated message at byte 7 (ResourceSpans.resource)"
        });
        let both_buckets = [wrap(8, &[]), wrap(9, &[])].concat();
        assert_eq!(walk(Signal::Metrics, &request(&[1, 2, 2, 10, 1], &both_buckets)), Ok(1));
    }
}
