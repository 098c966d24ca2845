//! The `recombine` operator: records that belong together become one.
//!
//! What is held back is bounded: in sources, in records and in bytes of each, and in time. Whoever feeds a chain of
//! operators asks it what it holds before promising anybody that a record was taken.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Section;

use super::OperatorError;
use super::entry::{Entry, Field, Value};
use super::expression::Expression;
use super::settings::{expression, field, required_field};

/// When records belong together, and what becomes of them.
#[derive(Clone, Debug)]
pub(crate) struct Recombine {
    tells: Tells,
    combine_field: Field,
    combine_with: String,
    keep: Keep,
    records_max: usize,
    /// Before anything has told where a record begins or ends; 0: no bound of its own.
    unmatched_max: usize,
    force_flush_ns: u64,
    source_identifier: Field,
    sources_max: usize,
    size_bytes_max: usize,
}

#[derive(Clone, Debug)]
enum Tells {
    First(Expression),
    Last(Expression),
}

/// Whose other fields the record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Oldest,
    Newest,
}

/// `max_log_size` where the configuration says nothing, or 0: a bound there must be.
const SIZE_BYTES_MAX: u64 = 1 << 20;
const FLUSH_DEFAULT: Duration = Duration::from_secs(5);
const PATH: &str = "log.file.path";
const STREAM: &str = "log.iostream";

impl Recombine {
    /// Reads the operator's options. `None`: the section has said what is wrong.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Recombine> {
        let first = expression(section, "is_first_entry");
        let last = expression(section, "is_last_entry");
        let tells = match (first, last) {
            (Some(first), None) => Some(Tells::First(first)),
            (None, Some(last)) => Some(Tells::Last(last)),
            _ => {
                section.fail("expected either `is_first_entry` or `is_last_entry`");
                None
            }
        };
        let keeps = [("newest", Keep::Newest), ("oldest", Keep::Oldest)];
        let size_bytes_max = section.get("max_log_size").bytes().or(0);
        let flush = section.get("force_flush_period").duration().above_zero().or(FLUSH_DEFAULT);
        let combine_field = required_field(section, "combine_field");
        Some(Recombine {
            combine_with: section.get("combine_with").string().or("\n".to_owned()),
            keep: section.get("overwrite_with").one_of(&keeps).or(Keep::Newest),
            records_max: section.get("max_batch_size").integer().range(1..).or(1000),
            unmatched_max: section.get("max_unmatched_batch_size").integer().or(100),
            force_flush_ns: u64::try_from(flush.as_nanos()).unwrap_or(u64::MAX),
            source_identifier: field(section, "source_identifier").unwrap_or_else(|| Field::attribute(PATH)),
            sources_max: section.get("max_sources").integer().range(1..).or(1000),
            size_bytes_max: size_or_default(size_bytes_max),
            tells: tells?,
            combine_field: combine_field?,
        })
    }

    /// Puts the parts of lines together that a container's runtime cut: those of its two streams are interleaved.
    pub(super) fn of_parts(size_bytes_max: u64) -> Recombine {
        let is_last = Expression::parse("attributes.logtag == 'F'").unwrap_or(Expression::Literal(Value::Bool(true)));
        Recombine {
            tells: Tells::Last(is_last),
            combine_field: Field::BODY,
            combine_with: String::new(),
            keep: Keep::Newest,
            records_max: 1000,
            unmatched_max: 0,
            force_flush_ns: FLUSH_DEFAULT.as_nanos() as u64,
            source_identifier: Field::attribute(STREAM),
            sources_max: 1000,
            size_bytes_max: size_or_default(size_bytes_max),
        }
    }
}

fn size_or_default(size_bytes_max: u64) -> usize {
    let size = if size_bytes_max == 0 { SIZE_BYTES_MAX } else { size_bytes_max };
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// What is held back, by source.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(BTreeMap<String, Group>);

#[derive(Clone, Debug)]
struct Group {
    entry: Entry,
    text: String,
    records: usize,
    is_matched: bool,
    since_unix_ns: u64,
    /// Of its first record.
    mark: u64,
}

impl Held {
    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The least mark of a record that is held back.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.values().map(|group| group.mark).min()
    }

    /// Takes a record; those that are whole are appended to `out`.
    pub(super) fn take(
        &mut self,
        settings: &Recombine,
        entry: Entry,
        now_unix_ns: u64,
        out: &mut Vec<Entry>,
    ) -> Result<(), Box<(Entry, OperatorError)>> {
        let Some(text) = settings.combine_field.get(&entry).and_then(Value::as_str).map(str::to_owned) else {
            let error = OperatorError::no_field(&settings.combine_field);
            return Err(Box::new((entry, error)));
        };
        let (Tells::First(expression) | Tells::Last(expression)) = &settings.tells;
        let is_match = match expression.holds(&entry) {
            Ok(is_match) => is_match,
            Err(error) => return Err(Box::new((entry, error.into()))),
        };
        let source = settings.source_identifier.get(&entry).and_then(Value::as_str).unwrap_or_default().to_owned();
        if is_match && matches!(settings.tells, Tells::First(_)) {
            self.flush(settings, &source, out);
        }
        if self.0.len() >= settings.sources_max && !self.0.contains_key(&source) {
            self.flush_where(settings, |_| true, out);
        }
        self.add(settings, &source, (entry, text, is_match), now_unix_ns);
        let is_whole = is_match && matches!(settings.tells, Tells::Last(_));
        if is_whole || self.0.get(&source).is_some_and(|group| group.is_full(settings)) {
            self.flush(settings, &source, out);
        }
        Ok(())
    }

    fn add(&mut self, settings: &Recombine, source: &str, (entry, text, is_match): (Entry, String, bool), now: u64) {
        match self.0.get_mut(source) {
            Some(group) => {
                group.text.push_str(&settings.combine_with);
                group.text.push_str(&text);
                group.records += 1;
                group.is_matched |= is_match;
                if settings.keep == Keep::Newest {
                    group.entry = entry;
                }
            }
            None => {
                let mark = entry.mark;
                let group = Group { entry, text, records: 1, is_matched: is_match, since_unix_ns: now, mark };
                self.0.insert(source.to_owned(), group);
            }
        }
    }

    /// Lets go of what waited for too long.
    pub(super) fn flush_due(&mut self, settings: &Recombine, now_unix_ns: u64, out: &mut Vec<Entry>) {
        let is_due = |group: &Group| now_unix_ns.saturating_sub(group.since_unix_ns) >= settings.force_flush_ns;
        self.flush_where(settings, is_due, out);
    }

    fn flush_where(&mut self, settings: &Recombine, is_due: impl Fn(&Group) -> bool, out: &mut Vec<Entry>) {
        let due: Vec<String> =
            self.0.iter().filter(|(_, group)| is_due(group)).map(|(source, _)| source.clone()).collect();
        for source in due {
            self.flush(settings, &source, out);
        }
    }

    fn flush(&mut self, settings: &Recombine, source: &str, out: &mut Vec<Entry>) {
        let Some(mut group) = self.0.remove(source) else { return };
        // A field that held text takes text.
        let _ = settings.combine_field.set(&mut group.entry, Value::String(group.text));
        out.push(group.entry);
    }
}

impl Group {
    fn is_full(&self, settings: &Recombine) -> bool {
        self.records >= settings.records_max
            || self.text.len() > settings.size_bytes_max
            || (!self.is_matched && settings.unmatched_max > 0 && self.records >= settings.unmatched_max)
    }
}
