//! Lines: measurement, tags, fields, timestamp.

use std::borrow::Cow;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No measurement before the tags.
    #[error("the measurement is missing")]
    NoMeasurement,
    /// A tag without a name.
    #[error("a tag without a name")]
    NoTagName,
    /// A tag without a value.
    #[error("a tag without a value")]
    NoTagValue,
    /// The same tag twice.
    #[error("the same tag twice")]
    RepeatedTag,
    /// Nothing after the measurement and the tags.
    #[error("the fields are missing")]
    NoFields,
    /// A field without a name.
    #[error("a field without a name")]
    NoFieldName,
    /// A field without a value.
    #[error("a field without a value")]
    NoFieldValue,
    /// A field whose value is of no type.
    #[error("a field's value that is no number, boolean or quoted string")]
    FieldValue,
    /// A string without its end.
    #[error("a string without its closing quote")]
    OpenString,
    /// A timestamp that is no integer.
    #[error("a timestamp that is no integer")]
    Timestamp,
    /// A timestamp before 1970 or after 2262.
    #[error("a timestamp before 1970 or after 2262")]
    TimestampRange,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8")]
    NotText,
    /// The lines before it make a batch that is as large as one may be.
    #[error("the batch grows beyond {size_bytes_max} bytes, since each field is a data point with all tags")]
    TooLarge {
        /// How large that is.
        size_bytes_max: usize,
    },
}

impl Fault {
    /// The word for metrics and ledgers.
    pub const fn cause(&self) -> &'static str {
        match self {
            Fault::NoMeasurement => "no_measurement",
            Fault::NoTagName | Fault::NoTagValue | Fault::RepeatedTag => "wrong_tag",
            Fault::NoFields => "no_fields",
            Fault::NoFieldName | Fault::NoFieldValue | Fault::FieldValue | Fault::OpenString => "wrong_field",
            Fault::Timestamp | Fault::TimestampRange => "wrong_timestamp",
            Fault::NotText => "invalid_utf8",
            Fault::TooLarge { .. } => "too_large",
        }
    }
}

/// A line that cannot be taken, and where it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct LineError {
    /// The line, from 1 on.
    pub line: usize,
    /// The byte in the line, from 1 on.
    pub column: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// `1.5`, always finite.
    Float(f64),
    /// `1i`.
    Int(i64),
    /// `1u`.
    UInt(u64),
    /// `t`, `true`, `f`, `false`, in the case variants that InfluxDB takes.
    Bool(bool),
    /// `"text"`.
    String(Cow<'a, str>),
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Point<'a> {
    /// The measurement.
    pub measurement: Cow<'a, str>,
    /// The tags, in their order; none has an empty name or value, and none comes twice.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The fields, in their order; at least one.
    pub fields: Vec<(Cow<'a, str>, FieldValue<'a>)>,
    /// The timestamp, in whatever unit.
    pub timestamp: Option<i64>,
}

/// The lines of a text, without empty ones and comments. What is wrong with one does not concern the next.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    /// The line that `at` is in, from 1 on, and where it starts.
    line: usize,
    line_start: usize,
}

impl<'a> Lines<'a> {
    /// The lines of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Lines { text, at: 0, line: 1, line_start: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes over blanks; a carriage return before the end of a line is one.
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn is_at_end_of_line(&self) -> bool {
        matches!(self.peek(), None | Some(b'\n'))
    }

    /// Goes on behind the next line break from here.
    fn next_line(&mut self) {
        let length = memchr::memchr(b'\n', &self.text[self.at..]).map_or(self.text.len() - self.at, |at| at + 1);
        self.at += length;
        self.line += 1;
        self.line_start = self.at;
    }

    fn error(&self, at: usize, fault: Fault) -> LineError {
        LineError { line: self.line, column: at - self.line_start + 1, fault }
    }
}

impl<'a> Iterator for Lines<'a> {
    /// The number of the line, from 1 on, and what it says.
    type Item = Result<(usize, Point<'a>), LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.skip_blanks();
            match self.peek()? {
                b'\n' | b'#' => self.next_line(),
                _ => break,
            }
        }
        let line = self.line;
        let read = self.point();
        // Line breaks in strings were passed over.
        let passed = memchr::memchr_iter(b'\n', &self.text[self.line_start..self.at]).count();
        let result = read.map(|point| (line, point)).map_err(|(at, fault)| self.error(at, fault));
        self.line += passed;
        self.next_line();
        Some(result)
    }
}

/// What is wrong, and at which byte of the text.
type Wrong = (usize, Fault);

/// Where a name stands, and so which characters end it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Measurement,
    Key,
    TagValue,
}

impl<'a> Lines<'a> {
    fn point(&mut self) -> Result<Point<'a>, Wrong> {
        let start = self.at;
        let measurement = self.name(Place::Measurement)?;
        if measurement.is_empty() {
            return Err((start, Fault::NoMeasurement));
        }
        let mut tags = Vec::new();
        while self.peek() == Some(b',') {
            self.at += 1;
            tags.push(self.tag()?);
        }
        if has_repeated(&tags) {
            return Err((start, Fault::RepeatedTag));
        }
        self.skip_blanks();
        if self.is_at_end_of_line() {
            return Err((self.at, Fault::NoFields));
        }
        let mut fields = vec![self.field()?];
        while self.peek() == Some(b',') {
            self.at += 1;
            fields.push(self.field()?);
        }
        self.skip_blanks();
        let timestamp = self.timestamp()?;
        Ok(Point { measurement, tags, fields, timestamp })
    }

    fn tag(&mut self) -> Result<(Cow<'a, str>, Cow<'a, str>), Wrong> {
        let start = self.at;
        let name = self.name(Place::Key)?;
        if name.is_empty() {
            return Err((start, Fault::NoTagName));
        }
        if self.peek() != Some(b'=') {
            return Err((self.at, Fault::NoTagValue));
        }
        self.at += 1;
        let value = self.name(Place::TagValue)?;
        if value.is_empty() || self.peek() == Some(b'=') {
            return Err((self.at, Fault::NoTagValue));
        }
        Ok((name, value))
    }

    fn field(&mut self) -> Result<(Cow<'a, str>, FieldValue<'a>), Wrong> {
        let start = self.at;
        let name = self.name(Place::Key)?;
        if name.is_empty() {
            return Err((start, Fault::NoFieldName));
        }
        if self.peek() != Some(b'=') {
            return Err((self.at, Fault::NoFieldValue));
        }
        self.at += 1;
        let value = if self.peek() == Some(b'"') { self.string()? } else { self.scalar()? };
        Ok((name, value))
    }

    /// Up to a character that ends it and is not escaped. A backslash before any other character is itself.
    fn name(&mut self, place: Place) -> Result<Cow<'a, str>, Wrong> {
        let ends = |byte: u8| match byte {
            b',' | b' ' => true,
            b'=' => place != Place::Measurement,
            _ => false,
        };
        let start = self.at;
        let mut is_escaped = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => break,
                b'\\' if self.text.get(self.at + 1).is_some_and(|next| ends(*next)) => {
                    is_escaped = true;
                    self.at += 1;
                }
                _ if ends(byte) => break,
                _ => {}
            }
            self.at += 1;
        }
        let raw = self.text_of(start, self.at)?;
        Ok(if is_escaped { Cow::Owned(unescaped(raw, ends)) } else { Cow::Borrowed(raw) })
    }

    fn text_of(&self, start: usize, end: usize) -> Result<&'a str, Wrong> {
        std::str::from_utf8(&self.text[start..end]).map_err(|error| (start + error.valid_up_to(), Fault::NotText))
    }

    /// A quoted string, which may hold line breaks. Only quotes and backslashes are escaped in it.
    fn string(&mut self) -> Result<FieldValue<'a>, Wrong> {
        let quote = self.at;
        let start = quote + 1;
        let mut end = start;
        loop {
            match memchr::memchr2(b'"', b'\\', &self.text[end..]) {
                // Whatever follows is not part of it: the next line is read as one.
                None => return Err((quote, Fault::OpenString)),
                Some(length) if self.text[end + length] == b'"' => {
                    end += length;
                    break;
                }
                Some(length) => end = (end + length + 2).min(self.text.len()),
            }
        }
        let raw = self.text_of(start, end)?;
        self.at = end + 1;
        if !matches!(self.peek(), None | Some(b',' | b' ' | b'\n' | b'\r' | b'\t')) {
            return Err((self.at, Fault::FieldValue));
        }
        let is_escaped = raw.contains('\\');
        let text =
            if is_escaped { Cow::Owned(unescaped(raw, |next| matches!(next, b'"' | b'\\'))) } else { raw.into() };
        Ok(FieldValue::String(text))
    }

    /// A number or a boolean.
    fn scalar(&mut self) -> Result<FieldValue<'a>, Wrong> {
        let start = self.at;
        while !matches!(self.peek(), None | Some(b',' | b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        match self.text_of(start, self.at)? {
            "" => Err((start, Fault::NoFieldValue)),
            text => scalar(text).ok_or((start, Fault::FieldValue)),
        }
    }

    fn timestamp(&mut self) -> Result<Option<i64>, Wrong> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'-')) {
            self.at += 1;
        }
        let text = self.text_of(start, self.at)?;
        self.skip_blanks();
        if !self.is_at_end_of_line() {
            return Err((self.at, Fault::Timestamp));
        }
        match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| (start, Fault::Timestamp)),
        }
    }
}

/// Whether a tag comes twice; lines from outside may have any number of them.
fn has_repeated(tags: &[(Cow<'_, str>, Cow<'_, str>)]) -> bool {
    let mut names: Vec<&str> = tags.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Text without the backslashes before characters that `is_escaped` names.
fn unescaped(raw: &str, is_escaped: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let next = rest.as_bytes().get(at + 1).copied().filter(|next| is_escaped(*next));
        // Characters that are escaped are of one byte.
        text.push(next.map_or('\\', char::from));
        rest = &rest[at + 1 + usize::from(next.is_some())..];
    }
    text.push_str(rest);
    text
}

fn scalar(text: &str) -> Option<FieldValue<'static>> {
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => return Some(FieldValue::Bool(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Some(FieldValue::Bool(false)),
        _ => {}
    }
    if let Some(digits) = text.strip_suffix('i') {
        return digits.parse().ok().map(FieldValue::Int);
    }
    if let Some(digits) = text.strip_suffix('u') {
        return digits.parse().ok().map(FieldValue::UInt);
    }
    // InfluxDB knows neither infinities nor what is not a number; a literal that is too large is one.
    let is_number = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse().ok().filter(|value: &f64| is_number && value.is_finite()).map(FieldValue::Float)
}
