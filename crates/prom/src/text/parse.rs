//! The parser. One body, one pass, one entry at a time.
//!
//! Every string that an entry lends is a slice of the body, or of a scratch buffer when it had to be unescaped. The
//! grammars of the two formats are close; what differs (white space, comments, timestamps, exemplars, the end) is in the
//! two halves of this file's last section.

use std::ops::Range;

use super::error::excerpt;
use super::number::{parse_float, parse_seconds_as_ms};
use super::{FamilyKind, Format, ParseError, ParseErrorKind};

/// What one exposition may hold. The default has no limits beyond the body itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Labels of one sample, without its name.
    pub labels_max: Option<u32>,
    /// Bytes of one label name.
    pub label_name_bytes_max: Option<u32>,
    /// Bytes of one label value, unescaped.
    pub label_value_bytes_max: Option<u32>,
    /// Samples of the exposition.
    pub samples_max: Option<u64>,
}

/// One line of an exposition that means something. Comments and empty lines are skipped.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'p> {
    /// `# TYPE family kind`
    Type {
        /// The family's name.
        family: &'p str,
        /// Its type.
        kind: FamilyKind,
    },
    /// `# HELP family text`
    Help {
        /// The family's name.
        family: &'p str,
        /// The text, unescaped.
        text: &'p str,
    },
    /// `# UNIT family unit` (OpenMetrics)
    Unit {
        /// The family's name.
        family: &'p str,
        /// The unit, which may be empty.
        unit: &'p str,
    },
    /// One sample.
    Sample(Sample<'p>),
}

/// One sample of one series.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'p> {
    /// The name and labels as they stand in the body, from the first byte to the last. A target writes a series the same
    /// way in every scrape, so these bytes find it in a cache without looking at its labels.
    pub series: &'p [u8],
    /// The metric name.
    pub name: &'p str,
    /// The labels as written: in their order, without the name, perhaps with duplicates.
    pub labels: LabelPairs<'p>,
    /// The value. Every NaN is [`super::NORMAL_NAN`].
    pub value: f64,
    /// The timestamp in milliseconds since the epoch, if the target gave one.
    pub timestamp_ms: Option<i64>,
    /// The exemplar (OpenMetrics).
    pub exemplar: Option<ExemplarRef<'p>>,
}

/// An exemplar of a sample.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarRef<'p> {
    /// Its labels, as written.
    pub labels: LabelPairs<'p>,
    /// Its value.
    pub value: f64,
    /// Its timestamp in milliseconds since the epoch, if the target gave one.
    pub timestamp_ms: Option<i64>,
}

/// Labels of a sample or an exemplar, lent by the parser.
#[derive(Clone, Copy)]
pub struct LabelPairs<'p> {
    text: &'p str,
    scratch: &'p str,
    pairs: &'p [(Span, Span)],
}

impl<'p> LabelPairs<'p> {
    /// Names and values, in the order in which they were written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'p str, &'p str)> + 'p {
        let LabelPairs { text, scratch, pairs } = *self;
        pairs.iter().map(move |(name, value)| (name.of(text, scratch), value.of(text, scratch)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

impl std::fmt::Debug for LabelPairs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A string of an entry: where it lies, and in which of the two buffers.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
    in_scratch: bool,
}

impl Span {
    fn of<'p>(self, text: &'p str, scratch: &'p str) -> &'p str {
        let buffer = if self.in_scratch { scratch } else { text };
        buffer.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}

/// What a step over one line found; the strings stay in the parser's fields.
enum Step {
    Skip,
    End,
    Type(Span, FamilyKind),
    Help(Span, Span),
    Unit(Span, Span),
    Sample,
}

/// Reads one exposition.
///
/// ```
/// use prom::text::{Entry, Format, Limits, Parser};
///
/// let body = b"# TYPE http_requests counter\nhttp_requests_total{code=\"200\"} 3\n# EOF\n";
/// let mut parser = Parser::new(Format::OpenMetrics, body, Limits::default());
/// let mut values = Vec::new();
/// while let Some(entry) = parser.next_entry()? {
///     if let Entry::Sample(sample) = entry {
///         values.push((sample.name.to_owned(), sample.value));
///     }
/// }
/// assert_eq!(values, [("http_requests_total".to_owned(), 3.0)]);
/// # Ok::<(), prom::text::ParseError>(())
/// ```
pub struct Parser<'a> {
    format: Format,
    limits: Limits,
    body: &'a [u8],
    /// The part of the body that is UTF-8 from its start: nearly always all of it. Strings within it are lent as they
    /// are; strings after it are checked one by one and copied.
    text: &'a str,
    at: usize,
    ended: bool,
    samples: u64,

    // The sample at hand.
    series: Range<usize>,
    name: Option<Span>,
    value: f64,
    timestamp_ms: Option<i64>,
    exemplar: Option<(f64, Option<i64>)>,
    labels: Vec<(Span, Span)>,
    exemplar_labels: Vec<(Span, Span)>,
    scratch: String,
}

impl<'a> Parser<'a> {
    /// A parser at the start of a body.
    pub fn new(format: Format, body: &'a [u8], limits: Limits) -> Self {
        let text = match std::str::from_utf8(body) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or(""),
        };
        Parser {
            format,
            limits,
            body,
            text,
            at: 0,
            ended: false,
            samples: 0,
            series: 0..0,
            name: None,
            value: 0.0,
            timestamp_ms: None,
            exemplar: None,
            labels: Vec::new(),
            exemplar_labels: Vec::new(),
            scratch: String::new(),
        }
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    /// Returns the first thing that is wrong. Prometheus treats an exposition as a whole: what was read before an error is
    /// to be thrown away. After an error or the end, every further call returns `None`.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ParseError> {
        let step = loop {
            if self.ended {
                return Ok(None);
            }
            self.scratch.clear();
            let step = match self.format {
                Format::Text => self.text_line(),
                Format::OpenMetrics => self.open_metrics_line(),
            };
            match step {
                Ok(Step::Skip) => {}
                Ok(Step::End) => self.ended = true,
                Ok(step) => break step,
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            }
        };
        Ok(Some(self.lend(&step)))
    }

    /// How many samples have been read.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    fn lend(&self, step: &Step) -> Entry<'_> {
        let text = |span: Span| span.of(self.text, &self.scratch);
        match *step {
            Step::Type(family, kind) => Entry::Type { family: text(family), kind },
            Step::Help(family, help) => Entry::Help { family: text(family), text: text(help) },
            Step::Unit(family, unit) => Entry::Unit { family: text(family), unit: text(unit) },
            Step::Sample | Step::Skip | Step::End => Entry::Sample(Sample {
                series: &self.body[self.series.clone()],
                name: self.name.map_or("", text),
                labels: self.pairs(&self.labels),
                value: self.value,
                timestamp_ms: self.timestamp_ms,
                exemplar: self.exemplar.map(|(value, timestamp_ms)| ExemplarRef {
                    labels: self.pairs(&self.exemplar_labels),
                    value,
                    timestamp_ms,
                }),
            }),
        }
    }

    fn pairs<'p>(&'p self, pairs: &'p [(Span, Span)]) -> LabelPairs<'p> {
        LabelPairs { text: self.text, scratch: &self.scratch, pairs }
    }
}

// === Errors and bytes ===

impl Parser<'_> {
    fn fail<T>(&self, offset: usize, kind: ParseErrorKind) -> Result<T, ParseError> {
        Err(ParseError::at(self.body, offset, kind))
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, ParseError> {
        self.fail(self.at, ParseErrorKind::Unexpected { expected, found: excerpt(self.body, self.at) })
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &[u8]) -> bool {
        let found = self.body[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        let rest = &self.body[start..];
        self.at += rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        start..self.at
    }

    fn line_end(&self) -> usize {
        memchr::memchr(b'\n', &self.body[self.at..]).map_or(self.body.len(), |length| self.at + length)
    }
}

// === Strings ===

impl Parser<'_> {
    /// A span of the body, checked for UTF-8 where the body as a whole is not.
    fn span(&mut self, range: Range<usize>, what: &'static str) -> Result<Span, ParseError> {
        if range.end <= self.text.len() {
            return Ok(Span { start: range.start as u32, end: range.end as u32, in_scratch: false });
        }
        let body = self.body;
        match std::str::from_utf8(&body[range.clone()]) {
            Ok(text) => {
                let start = self.scratch.len();
                self.scratch.push_str(text);
                Ok(self.scratch_span(start))
            }
            Err(error) => self.fail(range.start + error.valid_up_to(), ParseErrorKind::InvalidUtf8 { what }),
        }
    }

    fn scratch_span(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.scratch.len() as u32, in_scratch: true }
    }

    /// A span without its escapes. A backslash before anything that is no escape stands for itself.
    fn unescaped(&mut self, range: Range<usize>, escapes: Escapes, what: &'static str) -> Result<Span, ParseError> {
        let body = self.body;
        let raw = match std::str::from_utf8(&body[range.clone()]) {
            Ok(raw) => raw,
            Err(error) => return self.fail(range.start + error.valid_up_to(), ParseErrorKind::InvalidUtf8 { what }),
        };
        let start = self.scratch.len();
        let mut rest = raw;
        while let Some(backslash) = rest.find('\\') {
            self.scratch.push_str(&rest[..backslash]);
            let (meant, length) = match rest.as_bytes().get(backslash + 1) {
                Some(b'\\') => ('\\', 2),
                Some(b'n') => ('\n', 2),
                Some(b'"') if escapes == Escapes::WithQuote => ('"', 2),
                _ => ('\\', 1),
            };
            self.scratch.push(meant);
            rest = &rest[backslash + length..];
        }
        self.scratch.push_str(rest);
        Ok(self.scratch_span(start))
    }

    /// A quoted string, the cursor on its opening quote. Only the text format lets a line end inside.
    fn quoted(&mut self, what: &'static str) -> Result<Span, ParseError> {
        let start = self.at + 1;
        let mut at = start;
        let mut has_escape = false;
        loop {
            let rest = &self.body[at.min(self.body.len())..];
            let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n')) else {
                return self.unexpected("a closing quote");
            };
            at += length;
            match (self.body[at], self.format) {
                (b'"', _) => break,
                (b'\n', Format::Text) => at += 1,
                (b'\\', _) if self.body.get(at + 1).is_some_and(|next| *next != b'\n') => {
                    has_escape = true;
                    at += 2;
                }
                _ => return self.unexpected("a closing quote in the same line"),
            }
        }
        self.at = at + 1;
        if has_escape { self.unescaped(start..at, Escapes::WithQuote, what) } else { self.span(start..at, what) }
    }

    fn metric_name(&mut self) -> Range<usize> {
        self.take_while(is_metric_name_byte)
    }

    /// The name of a family in a `# TYPE`, `# HELP` or `# UNIT` line, which may be quoted.
    fn family_name(&mut self) -> Result<Span, ParseError> {
        match self.peek() {
            Some(b'"') => self.quoted("metric name"),
            Some(first) if is_metric_name_start(first) => {
                let range = self.metric_name();
                self.span(range, "metric name")
            }
            _ => self.unexpected("a metric name"),
        }
    }
}

/// What a backslash can stand before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// `\\`, `\n`: help texts of the text format.
    WithoutQuote,
    /// `\\`, `\n`, `\"`: label values, quoted names, help texts of OpenMetrics.
    WithQuote,
}

pub(super) fn is_metric_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':'
}

pub(super) fn is_metric_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

pub(super) fn is_label_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(super) fn is_label_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

// === Labels ===

/// Whose labels are read: only a sample's braces may hold a metric name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LabelsOf {
    Sample,
    Exemplar,
}

impl Parser<'_> {
    fn skip_blanks_in_text(&mut self) {
        if self.format == Format::Text {
            self.skip_blanks();
        }
    }

    /// The labels in braces, the cursor behind the opening one.
    fn labels(&mut self, of: LabelsOf) -> Result<(), ParseError> {
        loop {
            self.skip_blanks_in_text();
            if self.take(b'}') {
                return Ok(());
            }
            if let Some((name, name_at)) = self.label_name(of)? {
                let value = self.label_value()?;
                self.push_label(of, (name, name_at), value)?;
            }
            self.skip_blanks_in_text();
            // The text format's commas are optional, which Prometheus tolerates too.
            if !self.take(b',') && self.format == Format::OpenMetrics && self.peek() != Some(b'}') {
                return self.unexpected("`,` or `}`");
            }
        }
    }

    /// A label's name with its place, or nothing if it was the metric name in quotes.
    fn label_name(&mut self, of: LabelsOf) -> Result<Option<(Span, usize)>, ParseError> {
        let start = self.at;
        let name = match self.peek() {
            Some(b'"') => {
                let quoted = self.quoted("label name")?;
                self.skip_blanks_in_text();
                if of == LabelsOf::Sample && matches!(self.peek(), Some(b',' | b'}')) {
                    return self.set_quoted_metric_name(quoted, start).map(|()| None);
                }
                if quoted.start == quoted.end {
                    self.at = start;
                    return self.unexpected("a label name that is not empty");
                }
                quoted
            }
            Some(first) if is_label_name_start(first) => {
                let range = self.take_while(is_label_name_byte);
                self.span(range, "label name")?
            }
            _ => return self.unexpected("a label name"),
        };
        self.skip_blanks_in_text();
        if !self.take(b'=') {
            return self.unexpected("`=`");
        }
        Ok(Some((name, start)))
    }

    fn set_quoted_metric_name(&mut self, name: Span, start: usize) -> Result<(), ParseError> {
        if self.name.is_some() {
            return self.fail(start, ParseErrorKind::TwoMetricNames);
        }
        if name.start == name.end {
            return self.fail(start, ParseErrorKind::NoMetricName);
        }
        self.name = Some(name);
        Ok(())
    }

    fn label_value(&mut self) -> Result<(Span, usize), ParseError> {
        self.skip_blanks_in_text();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.unexpected("a label value in double quotes");
        }
        Ok((self.quoted("label value")?, start))
    }

    fn push_label(&mut self, of: LabelsOf, name: (Span, usize), value: (Span, usize)) -> Result<(), ParseError> {
        let length = |span: Span| (span.end - span.start) as usize;
        if let Some(bytes_max) = self.limits.label_name_bytes_max.filter(|max| length(name.0) > *max as usize) {
            return self.fail(name.1, ParseErrorKind::LabelNameTooLong { bytes: length(name.0), bytes_max });
        }
        if let Some(bytes_max) = self.limits.label_value_bytes_max.filter(|max| length(value.0) > *max as usize) {
            return self.fail(value.1, ParseErrorKind::LabelValueTooLong { bytes: length(value.0), bytes_max });
        }
        let labels = match of {
            LabelsOf::Sample => &mut self.labels,
            LabelsOf::Exemplar => &mut self.exemplar_labels,
        };
        labels.push((name.0, value.0));
        let count = labels.len();
        match self.limits.labels_max.filter(|max| count > *max as usize) {
            Some(labels_max) => self.fail(name.1, ParseErrorKind::TooManyLabels { labels_max }),
            None => Ok(()),
        }
    }
}

// === Samples ===

impl Parser<'_> {
    /// The name and the labels of a sample, the cursor on its first byte.
    fn sample_series(&mut self) -> Result<(), ParseError> {
        self.samples += 1;
        if let Some(samples_max) = self.limits.samples_max.filter(|max| self.samples > *max) {
            return self.fail(self.at, ParseErrorKind::TooManySamples { samples_max });
        }
        self.labels.clear();
        self.exemplar_labels.clear();
        (self.name, self.timestamp_ms, self.exemplar) = (None, None, None);
        let start = self.at;
        if self.peek() != Some(b'{') {
            let range = self.metric_name();
            self.name = Some(self.span(range, "metric name")?);
        }
        self.series = start..self.at;
        self.skip_blanks_in_text();
        if self.take(b'{') {
            self.labels(LabelsOf::Sample)?;
            self.series.end = self.at;
        }
        if self.name.is_none() {
            return self.fail(start, ParseErrorKind::NoMetricName);
        }
        Ok(())
    }

    fn number(&mut self, range: Range<usize>, expected: &'static str) -> Result<f64, ParseError> {
        if range.is_empty() {
            return self.unexpected(expected);
        }
        match parse_float(&self.body[range.clone()]) {
            Some(value) => Ok(value),
            None => self.fail(range.start, ParseErrorKind::BadNumber { found: excerpt(self.body, range.start) }),
        }
    }
}

// === The text format, 0.0.4 ===

impl Parser<'_> {
    fn text_line(&mut self) -> Result<Step, ParseError> {
        if self.body.len() > i32::MAX as usize {
            return self.fail(0, ParseErrorKind::BodyTooLarge { bytes: self.body.len() });
        }
        self.skip_blanks();
        match self.peek() {
            None => Ok(Step::End),
            Some(b'\n') => {
                self.at += 1;
                Ok(Step::Skip)
            }
            Some(b'#') => self.text_comment(),
            Some(first) if first == b'{' || is_metric_name_start(first) => self.text_sample(),
            Some(_) => self.unexpected("a metric name, `{` or `#`"),
        }
    }

    fn text_comment(&mut self) -> Result<Step, ParseError> {
        self.at += 1;
        let blanks_from = self.at;
        self.skip_blanks();
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let keyword = self.body.get(self.at..self.at + 4).unwrap_or_default();
        let has_keyword = self.at > blanks_from && is_blank(self.body.get(self.at + 4));
        let is_help = has_keyword && keyword == b"HELP";
        let is_type = has_keyword && keyword == b"TYPE";
        if !is_help && !is_type {
            self.at = self.line_end();
            return Ok(Step::Skip);
        }
        self.at += 4;
        self.skip_blanks();
        let family = self.family_name()?;
        let rest = self.at..self.line_end();
        if is_help { self.text_help(family, rest) } else { self.text_type(family, rest) }
    }

    fn text_help(&mut self, family: Span, rest: Range<usize>) -> Result<Step, ParseError> {
        // One blank separates the name from the text; any more of them belong to the text.
        let help = (rest.start + 1).min(rest.end)..rest.end;
        self.at = rest.end;
        Ok(Step::Help(family, self.help_span(help, Escapes::WithoutQuote)?))
    }

    fn help_span(&mut self, range: Range<usize>, escapes: Escapes) -> Result<Span, ParseError> {
        const WHAT: &str = "help text";
        match memchr::memchr(b'\\', &self.body[range.clone()]) {
            Some(_) => self.unescaped(range, escapes, WHAT),
            None => self.span(range, WHAT),
        }
    }

    fn text_type(&mut self, family: Span, rest: Range<usize>) -> Result<Step, ParseError> {
        self.skip_blanks();
        let word = self.take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\n'));
        let kind = match &self.body[word.clone()] {
            b"counter" => FamilyKind::Counter,
            b"gauge" => FamilyKind::Gauge,
            b"histogram" => FamilyKind::Histogram,
            b"summary" => FamilyKind::Summary,
            b"untyped" => FamilyKind::Unknown,
            _ => return self.unknown_type(word.start, "untyped"),
        };
        self.skip_blanks();
        if self.at != rest.end {
            return self.unexpected("the end of the line");
        }
        Ok(Step::Type(family, kind))
    }

    fn unknown_type<T>(&self, offset: usize, others: &'static str) -> Result<T, ParseError> {
        self.fail(offset, ParseErrorKind::UnknownType { found: excerpt(self.body, offset), others })
    }

    fn text_sample(&mut self) -> Result<Step, ParseError> {
        self.sample_series()?;
        self.skip_blanks();
        let value = self.take_while(|byte| !matches!(byte, b'{' | b' ' | b'\t' | b'\n'));
        self.value = self.number(value, "a value")?;
        self.skip_blanks();
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if !digits.is_empty() {
            let ms = std::str::from_utf8(&self.body[digits.clone()]).ok().and_then(|text| text.parse().ok());
            let Some(ms) = ms else {
                let found = excerpt(self.body, digits.start);
                return self.fail(digits.start, ParseErrorKind::BadNumber { found });
            };
            self.timestamp_ms = Some(ms);
            self.skip_blanks();
        }
        match self.peek() {
            None | Some(b'\n') => Ok(Step::Sample),
            Some(_) if digits.is_empty() => self.unexpected("a timestamp in milliseconds or the end of the line"),
            Some(_) => self.unexpected("the end of the line"),
        }
    }
}

// === OpenMetrics 1.0 ===

impl Parser<'_> {
    fn open_metrics_line(&mut self) -> Result<Step, ParseError> {
        if self.body.len() > i32::MAX as usize {
            return self.fail(0, ParseErrorKind::BodyTooLarge { bytes: self.body.len() });
        }
        match self.peek() {
            None => self.fail(self.at, ParseErrorKind::NoEof),
            Some(b'#') => self.open_metrics_descriptor(),
            Some(first) if first == b'{' || is_metric_name_start(first) => self.open_metrics_sample(),
            Some(_) => self.unexpected("a metric name, `{`, or `# ` with TYPE, HELP, UNIT or EOF"),
        }
    }

    fn open_metrics_descriptor(&mut self) -> Result<Step, ParseError> {
        if self.take_word(b"# EOF") {
            self.take(b'\n');
            let is_end = self.at == self.body.len();
            return if is_end { Ok(Step::End) } else { self.fail(self.at, ParseErrorKind::DataAfterEof) };
        }
        if self.take_word(b"# TYPE ") {
            let (family, text) = self.open_metrics_text()?;
            return self.open_metrics_type(family, &text);
        }
        if self.take_word(b"# HELP ") {
            let (family, text) = self.open_metrics_text()?;
            return Ok(Step::Help(family, self.help_span(text, Escapes::WithQuote)?));
        }
        if self.take_word(b"# UNIT ") {
            let (family, text) = self.open_metrics_text()?;
            return self.open_metrics_unit(family, text);
        }
        self.unexpected("`# TYPE `, `# HELP `, `# UNIT ` or `# EOF`")
    }

    /// The family's name and the rest of the line, which must be there, even if empty.
    fn open_metrics_text(&mut self) -> Result<(Span, Range<usize>), ParseError> {
        let family = self.family_name()?;
        if !self.take(b' ') {
            return self.unexpected("a space and text");
        }
        let text = self.at..self.line_end();
        self.at = text.end;
        if !self.take(b'\n') {
            return self.fail(self.at, ParseErrorKind::NoEof);
        }
        Ok((family, text))
    }

    fn open_metrics_type(&mut self, family: Span, text: &Range<usize>) -> Result<Step, ParseError> {
        let kind = std::str::from_utf8(&self.body[text.clone()]).ok().and_then(FamilyKind::from_name);
        match kind {
            Some(kind) => Ok(Step::Type(family, kind)),
            None => self.unknown_type(text.start, "gaugehistogram, info, stateset, unknown"),
        }
    }

    fn open_metrics_unit(&mut self, family: Span, text: Range<usize>) -> Result<Step, ParseError> {
        let start = text.start;
        let unit = self.span(text, "unit")?;
        let metric = family.of(self.text, &self.scratch);
        let word = unit.of(self.text, &self.scratch);
        let ends_name = metric.strip_suffix(word).is_some_and(|before| before.ends_with('_'));
        if !word.is_empty() && !ends_name {
            let kind = ParseErrorKind::UnitNotInName { unit: word.to_owned(), metric: metric.to_owned() };
            return self.fail(start, kind);
        }
        Ok(Step::Unit(family, unit))
    }

    fn open_metrics_sample(&mut self) -> Result<Step, ParseError> {
        self.sample_series()?;
        self.value = self.open_metrics_value()?;
        if self.body[self.at..].starts_with(b" # {") {
            self.open_metrics_exemplar()?;
        } else if self.peek() == Some(b' ') {
            self.timestamp_ms = Some(self.open_metrics_timestamp()?);
            if self.body[self.at..].starts_with(b" # {") {
                self.open_metrics_exemplar()?;
            }
        }
        match self.peek() {
            Some(b'\n') => {
                self.at += 1;
                Ok(Step::Sample)
            }
            None => self.fail(self.at, ParseErrorKind::NoEof),
            Some(_) => self.unexpected("the end of the line"),
        }
    }

    /// A space and a word, as values and timestamps are written.
    fn open_metrics_word(&mut self, expected: &'static str) -> Result<Range<usize>, ParseError> {
        if !self.take(b' ') {
            return self.unexpected(expected);
        }
        let word = self.take_while(|byte| !matches!(byte, b' ' | b'\n'));
        if word.is_empty() { self.unexpected(expected) } else { Ok(word) }
    }

    fn open_metrics_value(&mut self) -> Result<f64, ParseError> {
        const EXPECTED: &str = "a space and a value";
        let word = self.open_metrics_word(EXPECTED)?;
        self.number(word, EXPECTED)
    }

    fn open_metrics_timestamp(&mut self) -> Result<i64, ParseError> {
        let word = self.open_metrics_word("a timestamp in seconds or the end of the line")?;
        match parse_seconds_as_ms(&self.body[word.clone()]) {
            Some(ms) => Ok(ms),
            None => self.fail(word.start, ParseErrorKind::BadNumber { found: excerpt(self.body, word.start) }),
        }
    }

    fn open_metrics_exemplar(&mut self) -> Result<(), ParseError> {
        self.at += b" # {".len();
        self.labels(LabelsOf::Exemplar)?;
        let value = self.open_metrics_value()?;
        let timestamp_ms = match self.peek() {
            Some(b' ') => Some(self.open_metrics_timestamp()?),
            _ => None,
        };
        self.exemplar = Some((value, timestamp_ms));
        Ok(())
    }
}
