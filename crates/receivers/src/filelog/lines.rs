//! Bytes of a file as records: where one ends, and what text it is. No I/O.

use std::borrow::Cow;
use std::ops::Range;

use encoding_rs::Encoding;
use regex::bytes::Regex;

use crate::operators::Value;

/// How bytes become records.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) boundary: Boundary,
    pub(super) text: Text,
    pub(super) size_bytes_max: usize,
    pub(super) leading: Whitespace,
    pub(super) trailing: Whitespace,
}

/// Where a record ends.
#[derive(Clone, Debug)]
pub(super) enum Boundary {
    /// At a newline.
    Newline,
    /// Before the next match.
    Start(Regex, Pattern),
    /// Behind a match.
    End(Regex, Pattern),
    /// Nowhere: what has been read is a record.
    Nowhere,
}

/// Whether the match is a part of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Kept,
    Omitted,
}

/// Whether white space around a record stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whitespace {
    Kept,
    Trimmed,
}

/// What the bytes of a file stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// What is no UTF-8 becomes U+FFFD.
    Utf8,
    /// What is no UTF-8 stays as it is, as bytes.
    Utf8Raw,
    /// What is no ASCII becomes U+FFFD.
    Ascii,
    /// Bytes, as they are.
    Nop,
    /// Every other encoding.
    Other(&'static Encoding),
}

/// What is known about the bytes behind those at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// There may be more at once.
    More,
    /// There is nothing now, and there may be later.
    NothingNow,
    /// It is not waited for any longer.
    Nothing,
}

/// A record among bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The record.
    pub(super) record: Range<usize>,
    /// How many bytes are done with it.
    pub(super) consumed: usize,
}

impl Text {
    /// The encoding of a name; none if there is no such.
    pub(super) fn named(name: &str) -> Option<Text> {
        match name.to_ascii_lowercase().as_str() {
            "" | "utf-8" | "utf8" => Some(Text::Utf8),
            "utf-8-raw" | "utf8-raw" => Some(Text::Utf8Raw),
            "nop" => Some(Text::Nop),
            "ascii" | "us-ascii" => Some(Text::Ascii),
            name => match Encoding::for_label_no_replacement(name.as_bytes())? {
                encoding if encoding == encoding_rs::UTF_8 => Some(Text::Utf8),
                encoding => Some(Text::Other(encoding)),
            },
        }
    }

    /// The bytes of a unit of two, if the encoding has such.
    fn unit(self) -> Option<Unit> {
        match self {
            Text::Other(encoding) if encoding == encoding_rs::UTF_16LE => Some(Unit::LowFirst),
            Text::Other(encoding) if encoding == encoding_rs::UTF_16BE => Some(Unit::HighFirst),
            _ => None,
        }
    }

    /// Whether a newline is more than one byte.
    pub(super) fn is_wide(self) -> bool {
        self.unit().is_some()
    }

    fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Text::Utf8 | Text::Utf8Raw | Text::Nop => String::from_utf8_lossy(bytes),
            Text::Ascii => {
                let letter = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
                bytes.iter().map(letter).collect::<String>().into()
            }
            Text::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }
}

/// The order of the two bytes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    LowFirst,
    HighFirst,
}

impl Lines {
    /// The first record among `bytes`; none if it is not known yet where it ends.
    pub(super) fn split(&self, bytes: &[u8], behind: Behind) -> Option<Split> {
        if bytes.is_empty() {
            return None;
        }
        let found = match &self.boundary {
            Boundary::Newline => self.newline(bytes),
            Boundary::Start(regex, pattern) => start(regex, *pattern, bytes, behind),
            Boundary::End(regex, pattern) => end(regex, *pattern, bytes, behind),
            Boundary::Nowhere => None,
        };
        if let Some(split) = found.filter(|split| split.record.len() <= self.size_bytes_max) {
            return Some(split);
        }
        let is_whole =
            behind == Behind::Nothing || (behind == Behind::NothingNow && matches!(self.boundary, Boundary::Nowhere));
        if bytes.len() > self.size_bytes_max {
            let cut = self.cut(bytes);
            return Some(Split { record: 0..cut, consumed: cut });
        }
        is_whole.then_some(Split { record: 0..bytes.len(), consumed: bytes.len() })
    }

    fn newline(&self, bytes: &[u8]) -> Option<Split> {
        let Some(unit) = self.text.unit() else {
            let at = memchr::memchr(b'\n', bytes)?;
            let end = if at > 0 && bytes[at - 1] == b'\r' { at - 1 } else { at };
            return Some(Split { record: 0..end, consumed: at + 1 });
        };
        let (newline, carriage) = match unit {
            Unit::LowFirst => ([b'\n', 0], [b'\r', 0]),
            Unit::HighFirst => ([0, b'\n'], [0, b'\r']),
        };
        let units = bytes.as_chunks::<2>().0;
        let at = units.iter().position(|unit| *unit == newline)?;
        let end = if at > 0 && units[at - 1] == carriage { at - 1 } else { at };
        Some(Split { record: 0..end * 2, consumed: (at + 1) * 2 })
    }

    /// Where a record that is too long is cut: not within a character.
    fn cut(&self, bytes: &[u8]) -> usize {
        let mut at = self.size_bytes_max.min(bytes.len()).max(1);
        match self.text {
            Text::Utf8 | Text::Utf8Raw => {
                let is_continued = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
                let back = (0..4).find(|back| *back < at && !is_continued(at - back)).unwrap_or(0);
                at -= back;
            }
            text if text.is_wide() => at = (at & !1).max(2).min(bytes.len()),
            _ => {}
        }
        at
    }

    /// The record's text, or its bytes; none if there is nothing in it.
    pub(super) fn value(&self, record: &[u8], offset: u64) -> Option<Value> {
        if matches!(self.text, Text::Nop) {
            return (!record.is_empty()).then(|| Value::Bytes(record.to_vec()));
        }
        if matches!(self.text, Text::Utf8Raw) && std::str::from_utf8(record).is_err() {
            let trimmed = self.trim_bytes(record);
            return (!trimmed.is_empty()).then(|| Value::Bytes(trimmed.to_vec()));
        }
        let text = self.text.decode(record);
        let text = if offset == 0 { text.strip_prefix('\u{feff}').unwrap_or(&text) } else { &text };
        let text = self.trim(text);
        (!text.is_empty()).then(|| text.into())
    }

    fn trim<'t>(&self, text: &'t str) -> &'t str {
        let text = if self.leading == Whitespace::Trimmed { text.trim_start_matches(SPACES) } else { text };
        if self.trailing == Whitespace::Trimmed { text.trim_end_matches(SPACES) } else { text }
    }

    fn trim_bytes<'b>(&self, mut bytes: &'b [u8]) -> &'b [u8] {
        let is_space = |byte: &u8| SPACES.contains(&char::from(*byte));
        while self.leading == Whitespace::Trimmed && bytes.first().is_some_and(is_space) {
            bytes = &bytes[1..];
        }
        while self.trailing == Whitespace::Trimmed && bytes.last().is_some_and(is_space) {
            bytes = &bytes[..bytes.len() - 1];
        }
        bytes
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// A record begins at each match and ends before the next.
fn start(regex: &Regex, pattern: Pattern, bytes: &[u8], behind: Behind) -> Option<Split> {
    let first = regex.find(bytes)?;
    if first.start() > 0 {
        // What stands before the first match belongs to no record that begins so.
        return Some(Split { record: 0..first.start(), consumed: first.start() });
    }
    if first.end() >= bytes.len() && behind == Behind::More {
        return None;
    }
    // A match of nothing is followed by something.
    let from = first.end().max(1);
    let record_from = if pattern == Pattern::Omitted { first.end() } else { 0 };
    let next = (from <= bytes.len()).then(|| regex.find_at(bytes, from)).flatten();
    let end = match next {
        Some(next) if next.start() > 0 => next.start(),
        _ if behind == Behind::Nothing => bytes.len(),
        _ => return None,
    };
    Some(Split { record: record_from.min(end)..end, consumed: end })
}

/// A record ends behind each match.
fn end(regex: &Regex, pattern: Pattern, bytes: &[u8], behind: Behind) -> Option<Split> {
    let found = regex.find_iter(bytes).find(|found| found.end() > 0)?;
    // A match that reaches the end may become longer.
    if found.end() == bytes.len() && behind == Behind::More {
        return None;
    }
    let end = if pattern == Pattern::Omitted { found.start() } else { found.end() };
    Some(Split { record: 0..end, consumed: found.end() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(boundary: Boundary, text: &str, size_bytes_max: usize) -> Lines {
        let text = Text::named(text).unwrap();
        Lines { boundary, text, size_bytes_max, leading: Whitespace::Trimmed, trailing: Whitespace::Trimmed }
    }

    fn regex(pattern: &str) -> Regex {
        regex::bytes::RegexBuilder::new(pattern).multi_line(true).build().unwrap()
    }

    /// The records of these bytes, and how many bytes are left.
    fn split(lines: &Lines, bytes: &[u8], behind: Behind) -> (Vec<String>, usize) {
        let (mut records, mut at) = (vec![], 0);
        while let Some(Split { record, consumed }) = lines.split(&bytes[at..], behind) {
            assert!(consumed > 0 && record.end <= consumed);
            if let Some(value) = lines.value(&bytes[at..][record], at as u64) {
                records.push(match value {
                    Value::String(text) => text,
                    other => format!("{other:?}"),
                });
            }
            at += consumed;
        }
        (records, bytes.len() - at)
    }

    fn check(lines: &Lines, bytes: &[u8], behind: Behind, expected: &[&str], left: usize) {
        let (records, rest) = split(lines, bytes, behind);
        assert_eq!((records.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), rest), (expected, left));
    }

    #[test]
    fn a_line_ends_at_a_newline_and_an_empty_one_is_none() {
        let lines = lines(Boundary::Newline, "utf-8", 100);
        check(&lines, b"a\r\n\n  b \nc", Behind::More, &["a", "b"], 1);
        check(&lines, b"c", Behind::NothingNow, &[], 1);
        check(&lines, b"c", Behind::Nothing, &["c"], 0);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let lines = lines(Boundary::Newline, "utf-8", 4);
        check(&lines, "aééé\nb\n".as_bytes(), Behind::More, &["aé", "éé", "b"], 0);
        check(&lines, "aaaabbbb\n".as_bytes(), Behind::More, &["aaaa", "bbbb"], 0);
        check(&lines, "abcd".as_bytes(), Behind::More, &[], 4);
        check(&lines, &[0x80; 5], Behind::Nothing, &["\u{fffd}\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}"], 0);
    }

    #[test]
    fn a_record_may_begin_at_a_pattern() {
        let kept = lines(Boundary::Start(regex(r"^\d+ "), Pattern::Kept), "utf-8", 100);
        check(&kept, b"x\n1 a\n  b\n2 c\n", Behind::NothingNow, &["x", "1 a\n  b"], 4);
        check(&kept, b"2 c\n", Behind::Nothing, &["2 c"], 0);
        let omitted = lines(Boundary::Start(regex(r"^\d+ "), Pattern::Omitted), "utf-8", 100);
        check(&omitted, b"1 a\n2 c", Behind::Nothing, &["a", "c"], 0);
    }

    #[test]
    fn a_record_may_end_behind_a_pattern() {
        let kept = lines(Boundary::End(regex(r";\n"), Pattern::Kept), "utf-8", 100);
        check(&kept, b"a\nb;\nc;\nd", Behind::NothingNow, &["a\nb;", "c;"], 1);
        let omitted = lines(Boundary::End(regex(";"), Pattern::Omitted), "utf-8", 100);
        check(&omitted, b"a;b;", Behind::More, &["a"], 2);
        check(&omitted, b"b;", Behind::NothingNow, &["b"], 0);
    }

    #[test]
    fn other_encodings_are_decoded() {
        let wide: Vec<u8> = "\u{feff}añ\r\nb\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&lines(Boundary::Newline, "utf-16le", 100), &wide, Behind::More, &["añ", "b"], 0);
        let wide: Vec<u8> = "aĊb\nc\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(&lines(Boundary::Newline, "utf-16be", 100), &wide, Behind::More, &["aĊb", "c"], 0);
        check(&lines(Boundary::Newline, "shift_jis", 100), b"\x83\x65\n", Behind::More, &["テ"], 0);
        check(&lines(Boundary::Newline, "ascii", 100), b"a\xe9\n", Behind::More, &["a\u{fffd}"], 0);
        check(&lines(Boundary::Newline, "utf-8", 100), b"a\xe9\n", Behind::More, &["a\u{fffd}"], 0);
        check(&lines(Boundary::Newline, "utf-8-raw", 100), b" a\xe9\n", Behind::More, &["Bytes([97, 233])"], 0);
        check(&lines(Boundary::Nowhere, "nop", 100), b" \n", Behind::NothingNow, &["Bytes([32, 10])"], 0);
        assert!(Text::named("klingon").is_none());
    }

    #[test]
    fn no_bytes_are_lost_or_doubled_however_they_are_split() {
        let boundaries = [
            Boundary::Newline,
            Boundary::Start(regex("a*"), Pattern::Kept),
            Boundary::Start(regex("^a|b"), Pattern::Kept),
            Boundary::End(regex("b|$"), Pattern::Kept),
            Boundary::Nowhere,
        ];
        let texts = ["utf-8", "utf-16le", "shift_jis"];
        let all = boundaries.iter().flat_map(|boundary| texts.map(|text| lines(boundary.clone(), text, 1)));
        let mut all: Vec<Lines> = all.collect();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..random.usize(0..40)).map(|_| b"ab\n\r \xc3\xa9\x00"[random.usize(0..8)]).collect();
            for lines in &mut all {
                lines.size_bytes_max = random.usize(1..20);
                let (_, left) = split(lines, &bytes, Behind::Nothing);
                assert_eq!(left, 0, "{lines:?} {bytes:?}");
            }
        }
    }
}
