//! The writer.

use super::number::write_float;
use super::{FamilyKind, Format, is_legacy_label_name, is_legacy_metric_name};

/// Writes one exposition: families in the order in which they come, each with its samples behind it.
///
/// The caller groups the samples by family and knows the suffixes of a family's samples (`_bucket`, `_sum`, `_count`);
/// the writer knows what the formats spell differently: a counter's family is named without `_total` in OpenMetrics and
/// with it in the text format, types that only OpenMetrics has are written as the nearest of the text format, timestamps
/// are seconds or milliseconds, and exemplars exist in OpenMetrics alone.
///
/// ```
/// use prom::text::{FamilyKind, Format, SampleToWrite, Writer};
///
/// let mut writer = Writer::new(Format::Text);
/// writer.family("requests_total", FamilyKind::Counter, "Requests.", "");
/// writer.sample(&SampleToWrite::new("requests_total", 3.0), [("code", "200")]);
/// let text = writer.finish();
/// assert_eq!(
///     String::from_utf8_lossy(&text),
///     "# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total{code=\"200\"} 3\n"
/// );
/// ```
#[derive(Debug)]
pub struct Writer {
    format: Format,
    out: Vec<u8>,
}

/// One sample to write, without its labels.
#[derive(Clone, Copy, Debug)]
pub struct SampleToWrite<'s> {
    /// The metric name, with its suffix.
    pub name: &'s str,
    /// A label behind the others: `le` or `quantile`.
    pub last_label: Option<(&'s str, &'s str)>,
    /// The value.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// An exemplar, written in OpenMetrics only.
    pub exemplar: Option<ExemplarToWrite<'s>>,
}

impl<'s> SampleToWrite<'s> {
    /// A sample with nothing but a name and a value.
    pub fn new(name: &'s str, value: f64) -> Self {
        SampleToWrite { name, last_label: None, value, timestamp_ms: None, exemplar: None }
    }
}

/// An exemplar to write.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarToWrite<'s> {
    /// Its labels. OpenMetrics allows 128 characters for all names and values together; a longer set is left out.
    pub labels: &'s [(&'s str, &'s str)],
    /// Its value.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
}

impl Writer {
    /// An empty exposition.
    pub fn new(format: Format) -> Self {
        Writer { format, out: Vec::with_capacity(4096) }
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its size so far, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.out.len()
    }

    /// Starts a family. `name` is what its samples are called without `_bucket`, `_sum` and `_count`; a counter's ends in
    /// `_total`, an info's in `_info`. Empty help and units are not written.
    pub fn family(&mut self, name: &str, kind: FamilyKind, help: &str, unit: &str) {
        let (name, kind) = self.spelled(name, kind);
        if !help.is_empty() {
            self.descriptor("HELP", name);
            self.escaped(help, self.format == Format::OpenMetrics);
            self.out.push(b'\n');
        }
        self.descriptor("TYPE", name);
        self.push(kind);
        self.push("\n");
        let unit_ends_name = name.strip_suffix(unit).is_some_and(|before| before.ends_with('_'));
        if self.format == Format::OpenMetrics && !unit.is_empty() && unit_ends_name {
            self.descriptor("UNIT", name);
            self.push(unit);
            self.push("\n");
        }
    }

    /// How the format spells a family's name and type.
    fn spelled<'n>(&self, name: &'n str, kind: FamilyKind) -> (&'n str, &'static str) {
        match (self.format, kind) {
            (Format::OpenMetrics, FamilyKind::Counter) => match name.strip_suffix("_total") {
                Some(stem) if !stem.is_empty() => (stem, "counter"),
                // A counter without the suffix cannot be a counter in OpenMetrics; its values are right as unknown.
                _ => (name, "unknown"),
            },
            (Format::OpenMetrics, FamilyKind::Info) => match name.strip_suffix("_info") {
                Some(stem) if !stem.is_empty() => (stem, "info"),
                _ => (name, "gauge"),
            },
            (Format::OpenMetrics, kind) => (name, kind.name()),
            (Format::Text, FamilyKind::Info | FamilyKind::StateSet) => (name, "gauge"),
            (Format::Text, FamilyKind::GaugeHistogram | FamilyKind::Unknown) => (name, "untyped"),
            (Format::Text, kind) => (name, kind.name()),
        }
    }

    fn descriptor(&mut self, keyword: &str, name: &str) {
        self.push("# ");
        self.push(keyword);
        self.push(" ");
        if is_legacy_metric_name(name) {
            self.push(name);
        } else {
            self.quoted(name);
        }
        self.push(" ");
    }

    /// Writes one sample. Labels with an empty value are the same as none and are left out.
    pub fn sample<'l>(&mut self, sample: &SampleToWrite<'_>, labels: impl IntoIterator<Item = (&'l str, &'l str)>) {
        let mut braces = Braces::Closed;
        if is_legacy_metric_name(sample.name) {
            self.push(sample.name);
        } else {
            self.push("{");
            self.quoted(sample.name);
            braces = Braces::Open;
        }
        for (name, value) in labels.into_iter().filter(|(_, value)| !value.is_empty()) {
            braces = self.label(braces, name, value);
        }
        if let Some((name, value)) = sample.last_label {
            braces = self.label(braces, name, value);
        }
        if braces == Braces::Open {
            self.push("}");
        }
        self.push(" ");
        write_float(&mut self.out, sample.value);
        if let Some(ms) = sample.timestamp_ms {
            self.timestamp(ms);
        }
        if let Some(exemplar) = sample.exemplar.filter(|_| self.format == Format::OpenMetrics) {
            self.exemplar(&exemplar);
        }
        self.push("\n");
    }

    /// The bytes. OpenMetrics gets its `# EOF`.
    pub fn finish(mut self) -> Vec<u8> {
        if self.format == Format::OpenMetrics {
            self.push("# EOF\n");
        }
        self.out
    }

    fn exemplar(&mut self, exemplar: &ExemplarToWrite<'_>) {
        const CHARACTERS_MAX: usize = 128;
        let characters = exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
        if characters.sum::<usize>() > CHARACTERS_MAX {
            return;
        }
        self.push(" # {");
        for (index, (name, value)) in exemplar.labels.iter().enumerate() {
            if index > 0 {
                self.push(",");
            }
            self.pair(name, value);
        }
        self.push("} ");
        write_float(&mut self.out, exemplar.value);
        if let Some(ms) = exemplar.timestamp_ms {
            self.timestamp(ms);
        }
    }

    fn timestamp(&mut self, ms: i64) {
        self.push(" ");
        match self.format {
            Format::Text => self.push(itoa::Buffer::new().format(ms)),
            Format::OpenMetrics => {
                let (seconds, fraction) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
                let sign = if ms < 0 { "-" } else { "" };
                self.push(&format!("{sign}{seconds}.{fraction:03}"));
            }
        }
    }

    fn label(&mut self, braces: Braces, name: &str, value: &str) -> Braces {
        self.push(if braces == Braces::Open { "," } else { "{" });
        self.pair(name, value);
        Braces::Open
    }

    fn pair(&mut self, name: &str, value: &str) {
        if is_legacy_label_name(name) {
            self.push(name);
        } else {
            self.quoted(name);
        }
        self.push("=");
        self.quoted(value);
    }

    fn quoted(&mut self, text: &str) {
        self.push("\"");
        self.escaped(text, true);
        self.push("\"");
    }

    fn escaped(&mut self, text: &str, escape_quotes: bool) {
        let mut rest = text.as_bytes();
        while let Some(special) = memchr::memchr3(b'\\', b'\n', b'"', rest) {
            self.out.extend_from_slice(&rest[..special]);
            match rest[special] {
                b'\\' => self.push("\\\\"),
                b'\n' => self.push("\\n"),
                _ if escape_quotes => self.push("\\\""),
                _ => self.push("\""),
            }
            rest = &rest[special + 1..];
        }
        self.out.extend_from_slice(rest);
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Whether a sample's braces have been opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Braces {
    Open,
    Closed,
}
