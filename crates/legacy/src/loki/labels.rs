//! Label sets, and their text: `{app="shop", env="prod"}`.
//!
//! Specification: [Prometheus, "Data model"](https://prometheus.io/docs/concepts/data_model/); quoted text is as in Go.
//! A label without a value is the same as no label.

use std::fmt;

/// Labels, sorted by name, each name once, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSet(Vec<(String, String)>);

/// What is wrong with the text of labels, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct LabelsError {
    /// The offset in the text, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub kind: LabelsErrorKind,
}

/// What is wrong with the text of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsErrorKind {
    /// Another character than this was expected.
    #[error("expected `{0}`")]
    Expected(char),
    /// A name was expected.
    #[error("expected the name of a label")]
    ExpectedName,
    /// A quoted value was expected.
    #[error("expected a quoted value")]
    ExpectedValue,
    /// A quote that nothing closes.
    #[error("unterminated quote")]
    Unterminated,
    /// An escape sequence that Go does not have.
    #[error("invalid escape sequence")]
    InvalidEscape,
    /// Escaped bytes that are no UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// Text behind the closing brace.
    #[error("unexpected text behind the labels")]
    Trailing,
}

impl LabelSet {
    /// Reads `{name="value", …}`.
    ///
    /// A metric name before the brace is read as `__name__`, as Prometheus does; of a name that comes twice, the last
    /// one counts.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub fn parse(text: &str) -> Result<LabelSet, LabelsError> {
        let mut reader = Reader { text, at: 0 };
        let mut labels = Vec::new();
        reader.skip_spaces();
        if let Some(metric) = reader.bare_name() {
            labels.push(("__name__".to_owned(), metric.to_owned()));
        }
        reader.expect('{')?;
        while !reader.skips('}') {
            let name = reader.name()?;
            reader.expect('=')?;
            let value = reader.value()?;
            labels.push((name, value));
            if !reader.skips(',') {
                reader.expect('}')?;
                break;
            }
        }
        reader.skip_spaces();
        if reader.at < text.len() {
            return Err(reader.error(LabelsErrorKind::Trailing));
        }
        Ok(labels.into_iter().collect())
    }

    /// Sets a label; an empty value takes it away.
    pub fn set(&mut self, name: &str, value: &str) {
        match (self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)), value) {
            (Ok(at), "") => drop(self.0.remove(at)),
            (Ok(at), value) => value.clone_into(&mut self.0[at].1),
            (Err(_), "") => {}
            (Err(at), value) => self.0.insert(at, (name.to_owned(), value.to_owned())),
        }
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of a name that comes twice, the last one counts.
impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut labels: Vec<(String, String)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Equal names stay in their order, and the one that is kept takes the later value.
        labels.sort_by(|left, right| left.0.cmp(&right.0));
        labels.dedup_by(|later, kept| {
            let equal = later.0 == kept.0;
            if equal {
                kept.1 = std::mem::take(&mut later.1);
            }
            equal
        });
        labels.retain(|(_, value)| !value.is_empty());
        LabelSet(labels)
    }
}

impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            match is_bare(name) {
                true => f.write_str(name)?,
                false => quote(name, f)?,
            }
            f.write_str("=")?;
            quote(value, f)?;
        }
        f.write_str("}")
    }
}

fn is_bare(name: &str) -> bool {
    name.starts_with(|first: char| !first.is_ascii_digit())
        && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
            _ => write!(f, "{character}")?,
        }
    }
    f.write_str("\"")
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn error(&self, kind: LabelsErrorKind) -> LabelsError {
        LabelsError { offset: self.at, kind }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Steps over a character and the spaces before it, if it is there.
    fn skips(&mut self, character: char) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(character);
        self.at += if found { character.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, character: char) -> Result<(), LabelsError> {
        if self.skips(character) { Ok(()) } else { Err(self.error(LabelsErrorKind::Expected(character))) }
    }

    fn bare_name(&mut self) -> Option<&'t str> {
        let rest = self.rest();
        let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = &rest[..end];
        if !is_bare(name) || name.is_empty() {
            return None;
        }
        self.at += end;
        Some(name)
    }

    fn name(&mut self) -> Result<String, LabelsError> {
        self.skip_spaces();
        if self.rest().starts_with(['"', '\'', '`']) {
            return self.quoted();
        }
        let name = self.bare_name().map(str::to_owned);
        name.ok_or_else(|| self.error(LabelsErrorKind::ExpectedName))
    }

    fn value(&mut self) -> Result<String, LabelsError> {
        self.skip_spaces();
        if !self.rest().starts_with(['"', '\'', '`']) {
            return Err(self.error(LabelsErrorKind::ExpectedValue));
        }
        self.quoted()
    }

    /// Reads quoted text, from its opening quote on.
    fn quoted(&mut self) -> Result<String, LabelsError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mark = bytes[start];
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match bytes.get(self.at) {
                // Between backquotes everything stands for itself.
                None | Some(b'\n') if mark != b'`' || self.at >= bytes.len() => {
                    return Err(LabelsError { offset: start, kind: LabelsErrorKind::Unterminated });
                }
                Some(byte) if *byte == mark => break self.at += 1,
                Some(b'\\') if mark != b'`' => self.escape(&mut out)?,
                Some(byte) => {
                    out.push(*byte);
                    self.at += 1;
                }
                None => {}
            }
        }
        String::from_utf8(out).map_err(|_| LabelsError { offset: start, kind: LabelsErrorKind::InvalidUtf8 })
    }

    /// Reads one escape sequence of Go ("Rune literals"), from its backslash on.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), LabelsError> {
        let invalid = self.error(LabelsErrorKind::InvalidEscape);
        let kind = *self.text.as_bytes().get(self.at + 1).ok_or(invalid)?;
        let single = match kind {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'"' | b'\'' => kind,
            _ => 0,
        };
        if single != 0 {
            out.push(single);
            self.at += 2;
            return Ok(());
        }
        let (skip, digits, radix) = match kind {
            b'x' => (2, 2, 16),
            b'u' => (2, 4, 16),
            b'U' => (2, 8, 16),
            b'0'..=b'7' => (1, 3, 8),
            _ => return Err(invalid),
        };
        let digits = self.text.get(self.at + skip..self.at + skip + digits).ok_or(invalid)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid);
        }
        let value = u32::from_str_radix(digits, radix).map_err(|_| invalid)?;
        match kind {
            b'u' | b'U' => {
                let character = char::from_u32(value).ok_or(invalid)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => out.push(u8::try_from(value).map_err(|_| invalid)?),
        }
        self.at += skip + digits.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match LabelSet::parse(text) {
            Ok(labels) => labels.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn labels_are_sorted_and_unique() {
        check("{}", "{}");
        check(r#"{foo="bar", label1="value1"}"#, r#"{foo="bar", label1="value1"}"#);
        check(r#" { b = "2" ,a="1", } "#, r#"{a="1", b="2"}"#);
        check(r#"{a="1",a="2"}"#, r#"{a="2"}"#);
        check(r#"{a=""}"#, "{}");
        check(r#"up{a="1"}"#, r#"{__name__="up", a="1"}"#);
    }

    #[test]
    fn quotes_are_those_of_go() {
        check(r#"{a="q\"b\\c\n\u00e9\U0001F600\x41\101"}"#, "{a=\"q\\\"b\\\\c\\né😀AA\"}");
        check(r#"{a='it\'s', b=`raw \n`}"#, r#"{a="it's", b="raw \\n"}"#);
        check(r#"{"service.name"="shop"}"#, r#"{"service.name"="shop"}"#);
        check("{a=`two\nlines`}", r#"{a="two\nlines"}"#);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check("", "expected `{` at byte 0");
        check("{a}", "expected `=` at byte 2");
        check("{a=b}", "expected a quoted value at byte 3");
        check(r#"{1a="b"}"#, "expected the name of a label at byte 1");
        check(r#"{a="b" c="d"}"#, "expected `}` at byte 7");
        check(r#"{a="b"} x"#, "unexpected text behind the labels at byte 8");
        check(r#"{a="b"#, "unterminated quote at byte 3");
        check("{a=\"b\n\"}", "unterminated quote at byte 3");
        check(r#"{a="\q"}"#, "invalid escape sequence at byte 4");
        check(r#"{a="\xff"}"#, "invalid UTF-8 at byte 3");
        check(r#"{a="\x+f"}"#, "invalid escape sequence at byte 4");
        check(r#"{a="\ud800"}"#, "invalid escape sequence at byte 4");
    }
}
