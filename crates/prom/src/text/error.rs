//! Why an exposition is refused, and where.

use memchr::memchr_iter;

/// An exposition that cannot be read, with the place at which reading stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// The byte in that line, from 1.
    pub column: u32,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// What is wrong with an exposition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The grammar wants something else here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// The first characters of what stands here.
        found: String,
    },
    /// A value or timestamp that is no number, or one that a 64-bit float cannot hold.
    #[error("{found} is not a number that can be read")]
    BadNumber {
        /// The text.
        found: String,
    },
    /// Text that must be UTF-8 and is not.
    #[error("the {what} is not UTF-8")]
    InvalidUtf8 {
        /// Where it stands: `label value`, `help text`.
        what: &'static str,
    },
    /// A `# TYPE` line with a word that is no type of the format.
    #[error("{found} is not a metric type; expected one of counter, gauge, histogram, summary, {others}")]
    UnknownType {
        /// The word.
        found: String,
        /// The types that only this format has.
        others: &'static str,
    },
    /// A sample without a metric name.
    #[error("the sample has no metric name")]
    NoMetricName,
    /// A sample with a metric name before and in the braces.
    #[error("the sample has two metric names")]
    TwoMetricNames,
    /// OpenMetrics: the unit must be the last word of the metric's name.
    #[error("the unit {unit} is not the end of the metric name {metric}")]
    UnitNotInName {
        /// The unit.
        unit: String,
        /// The name of the family.
        metric: String,
    },
    /// OpenMetrics: the exposition ends without `# EOF`, so part of it may be missing.
    #[error("the exposition does not end with `# EOF`: it was cut off, or is not OpenMetrics")]
    NoEof,
    /// OpenMetrics: something follows `# EOF`.
    #[error("there is data after `# EOF`")]
    DataAfterEof,
    /// More labels than [`super::Limits::labels_max`] in one sample.
    #[error("the sample has more than {labels_max} labels")]
    TooManyLabels {
        /// The limit.
        labels_max: u32,
    },
    /// A label name longer than [`super::Limits::label_name_bytes_max`].
    #[error("the label name has {bytes} bytes, the limit is {bytes_max}")]
    LabelNameTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// A label value longer than [`super::Limits::label_value_bytes_max`].
    #[error("the label value has {bytes} bytes, the limit is {bytes_max}")]
    LabelValueTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// More samples than [`super::Limits::samples_max`].
    #[error("the exposition has more than {samples_max} samples")]
    TooManySamples {
        /// The limit.
        samples_max: u64,
    },
    /// A body of 2 GiB or more.
    #[error("the exposition has {bytes} bytes, more than can be read at once")]
    BodyTooLarge {
        /// Its length.
        bytes: usize,
    },
}

impl ParseError {
    /// Lines and columns are only counted when something is wrong: a scrape that reads well pays nothing for them.
    pub(super) fn at(body: &[u8], offset: usize, kind: ParseErrorKind) -> Self {
        let before = &body[..offset.min(body.len())];
        let line = memchr_iter(b'\n', before).count() + 1;
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        ParseError { line: to_u32(line), column: to_u32(before.len() - line_start + 1), kind }
    }
}

fn to_u32(figure: usize) -> u32 {
    u32::try_from(figure).unwrap_or(u32::MAX)
}

/// The first characters of what stands at an offset, for a message.
pub(super) fn excerpt(body: &[u8], offset: usize) -> String {
    const BYTES_MAX: usize = 24;
    let rest = &body[offset.min(body.len())..];
    if rest.is_empty() {
        return "the end of the data".to_owned();
    }
    if rest[0] == b'\n' {
        return "the end of the line".to_owned();
    }
    let line_end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let shown = &rest[..line_end.min(BYTES_MAX)];
    let more = if line_end > BYTES_MAX { "…" } else { "" };
    format!("`{}{more}`", shown.escape_ascii())
}
