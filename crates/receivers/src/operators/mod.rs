//! Operators: what turns lines of logs into records with times, severities and attributes, for every receiver of logs.
//!
//! They are the operators of the Collector's log library, under the same names. A chain of them ([`Operators`]) takes one
//! record at a time and gives those that are done. It does no I/O and reads no clock. What `recombine` and `container`
//! hold back lives in the chain: a receiver has one chain for each source, and before it tells its sender, or itself,
//! that something was taken, it asks what the chain holds back ([`Operators::is_holding`],
//! [`Operators::oldest_held`]).

mod container;
mod encode;
mod entry;
mod expression;
mod layout;
mod lexer;
mod parser;
mod read;
mod recombine;
mod settings;
mod severity;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

pub(crate) use encode::batch;
pub(crate) use entry::{Entry, Field, Value};

use container::{Container, Parsed};
use entry::{BadField, NotAMap, Values};
use expression::{Expression, NoAnswer};
use parser::Parser;
use recombine::{Held, Recombine};
use severity::{SeverityParser, TraceParser};
use time::{BadTime, TimeParser};

/// A chain of operators with what it holds back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operators {
    steps: Arc<[Step]>,
    /// By step; only some steps hold something.
    held: Vec<Held>,
    counts: Counts,
}

/// What went wrong in a chain since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records that an operator did not understand and sent on.
    pub(crate) sent: u64,
    /// Records that were dropped because an operator did not understand them.
    pub(crate) dropped: u64,
    /// Records that a `filter` dropped, as it is told.
    pub(crate) filtered: u64,
}

impl Counts {
    /// Adds what another chain counted.
    pub(crate) fn add(&mut self, other: Counts) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.filtered += other.filtered;
    }
}

#[derive(Clone, Debug)]
struct Step {
    id: String,
    condition: Option<Expression>,
    on_error: OnError,
    /// The index of the step that goes on with a record; behind the last one it is done.
    next: usize,
    operation: Operation,
}

/// What becomes of a record that an operator does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnError {
    Send(Voice),
    Drop(Voice),
}

/// Whether the log says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Loud,
    Quiet,
}

#[derive(Clone, Debug)]
enum Operation {
    Parse(Box<Parser>),
    Time(TimeParser),
    Severity(SeverityParser),
    Trace(TraceParser),
    ScopeName(Field),
    Container(Box<Container>),
    Recombine(Box<Recombine>),
    Add(Field, Added),
    Remove(Field),
    Move(Field, Field),
    Copy(Field, Field),
    Retain(Vec<Field>),
    Flatten(Field),
    Filter(Expression),
    Router { routes: Vec<(Expression, usize)>, default: Option<usize> },
    Noop,
}

/// What `add` adds.
#[derive(Clone, Debug)]
enum Added {
    Value(Value),
    /// `EXPR(…)`.
    Computed(Expression),
}

/// Why an operator did nothing, or not all it should.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum OperatorError {
    #[error("there is no {field}")]
    NoField { field: String },
    #[error("{field}: expected {expected}, found {found}")]
    Kind { field: String, expected: &'static str, found: &'static str },
    #[error("the regular expression does not match")]
    NoMatch,
    #[error("no JSON object: {error}")]
    Json { error: String },
    #[error("`{pair}` is no pair of a key and a value")]
    Pair { pair: String },
    #[error("more fields than one record may have")]
    TooManyFields,
    #[error("expected {expected} columns, found {found}")]
    Columns { expected: usize, found: usize },
    #[error("a quote is not closed, or stands within a column")]
    Quote,
    #[error("{field} is no time: {error}")]
    Time { field: String, error: BadTime },
    #[error("{field} is no id of a trace, or no flags, in hexadecimal digits")]
    Id { field: String },
    #[error("no line of a container: there is no `{missing}`")]
    Container { missing: &'static str },
    #[error("`{path}` is no path of a pod's log")]
    Path { path: String },
    #[error(transparent)]
    NotAMap(#[from] NotAMap),
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

impl OperatorError {
    fn no_field(field: &Field) -> OperatorError {
        OperatorError::NoField { field: field.to_string() }
    }
}

impl From<BadField> for String {
    fn from(error: BadField) -> String {
        error.to_string()
    }
}

/// What a step makes of a record.
enum Made {
    /// It goes on.
    Next(Entry),
    /// It goes on there.
    To(usize, Entry),
    /// It is held back, or gone.
    Nothing,
}

impl Operators {
    fn new(steps: Vec<Step>) -> Operators {
        let held = vec![Held::default(); steps.len()];
        Operators { steps: steps.into(), held, counts: Counts::default() }
    }

    /// The same operators for another source, holding nothing.
    pub(crate) fn fresh(&self) -> Operators {
        let held = vec![Held::default(); self.steps.len()];
        Operators { steps: Arc::clone(&self.steps), held, counts: Counts::default() }
    }

    /// Takes a record, and appends to `out` what is done.
    pub(crate) fn process(&mut self, entry: Entry, now_unix_ns: u64, out: &mut Vec<Entry>) {
        self.run(0, entry, now_unix_ns, out);
    }

    /// Lets go of what was held back for too long.
    pub(crate) fn flush_due(&mut self, now_unix_ns: u64, out: &mut Vec<Entry>) {
        for at in 0..self.steps.len() {
            if self.held[at].is_empty() {
                continue;
            }
            let steps = Arc::clone(&self.steps);
            let settings = match &steps[at].operation {
                Operation::Recombine(recombine) => recombine.as_ref(),
                Operation::Container(container) => &container.recombine,
                _ => continue,
            };
            let mut due = Vec::new();
            self.held[at].flush_due(settings, now_unix_ns, &mut due);
            for entry in due {
                self.run(steps[at].next, entry, now_unix_ns, out);
            }
        }
    }

    /// Whether some of them may hold records back.
    pub(crate) fn can_hold(&self) -> bool {
        let holds = |step: &Step| matches!(step.operation, Operation::Container(_) | Operation::Recombine(_));
        self.steps.iter().any(holds)
    }

    /// Whether some record is held back, so that its source must be able to give it again.
    pub(crate) fn is_holding(&self) -> bool {
        self.held.iter().any(|held| !held.is_empty())
    }

    /// The least mark of a record that is held back: from there on the source must be able to give its records again.
    pub(crate) fn oldest_held(&self) -> Option<u64> {
        self.held.iter().filter_map(Held::oldest).min()
    }

    /// What went wrong since this was asked last.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Runs a record from a step on. Steps lead forward only, so this ends.
    fn run(&mut self, from: usize, entry: Entry, now_unix_ns: u64, out: &mut Vec<Entry>) {
        let steps = Arc::clone(&self.steps);
        let mut open = vec![(from, entry)];
        let mut whole = Vec::new();
        while let Some((at, entry)) = open.pop() {
            let Some(step) = steps.get(at) else {
                out.push(entry);
                continue;
            };
            match self.step(at, step, entry, now_unix_ns, &mut whole) {
                Made::Next(entry) => open.push((step.next, entry)),
                Made::To(at, entry) => open.push((at, entry)),
                Made::Nothing => {}
            }
            // The last one goes onto the pile first, so that they leave in their order.
            open.extend(whole.drain(..).rev().map(|entry| (step.next, entry)));
        }
    }

    fn step(&mut self, at: usize, step: &Step, mut entry: Entry, now_unix_ns: u64, whole: &mut Vec<Entry>) -> Made {
        match step.condition.as_ref().map_or(Ok(true), |condition| condition.holds(&entry)) {
            Ok(true) => {}
            Ok(false) => return Made::Next(entry),
            Err(error) => return self.failed(step, entry, &error.into()),
        }
        let recombine = match &step.operation {
            Operation::Recombine(recombine) => Some(recombine.as_ref()),
            Operation::Container(container) => match container.apply(&mut entry) {
                Ok(Parsed::Whole) => None,
                Ok(Parsed::Part) => Some(&container.recombine),
                Err(error) => return self.failed(step, entry, &error),
            },
            _ => None,
        };
        if let Some(settings) = recombine {
            return match self.held[at].take(settings, entry, now_unix_ns, whole) {
                Ok(()) => Made::Nothing,
                Err(failed) => {
                    let (entry, error) = *failed;
                    self.failed(step, entry, &error)
                }
            };
        }
        match &step.operation {
            Operation::Filter(expression) => match expression.holds(&entry) {
                Ok(true) => {
                    self.counts.filtered += 1;
                    Made::Nothing
                }
                Ok(false) => Made::Next(entry),
                Err(error) => self.failed(step, entry, &error.into()),
            },
            Operation::Router { routes, default } => match route(routes, *default, &entry) {
                Ok(Some(to)) => Made::To(to, entry),
                Ok(None) => {
                    self.counts.filtered += 1;
                    Made::Nothing
                }
                Err(error) => self.failed(step, entry, &error.into()),
            },
            operation => match operation.apply(&mut entry, now_unix_ns) {
                Ok(()) => Made::Next(entry),
                Err(error) => self.failed(step, entry, &error),
            },
        }
    }

    fn failed(&mut self, step: &Step, entry: Entry, error: &OperatorError) -> Made {
        let (OnError::Send(voice) | OnError::Drop(voice)) = step.on_error;
        let count = match step.on_error {
            OnError::Send(_) => &mut self.counts.sent,
            OnError::Drop(_) => &mut self.counts.dropped,
        };
        *count += 1;
        // The first of many, and then fewer and fewer: a log in another format must not fill this one's.
        if voice == Voice::Loud && count.is_power_of_two() {
            let operator = step.id.as_str();
            tracing::warn!(operator, %error, count = *count, "an operator does not understand a record");
        }
        match step.on_error {
            OnError::Send(_) => Made::Next(entry),
            OnError::Drop(_) => Made::Nothing,
        }
    }
}

/// Where a record goes on: by the first route whose expression holds, or by the default.
fn route(routes: &[(Expression, usize)], default: Option<usize>, entry: &Entry) -> Result<Option<usize>, NoAnswer> {
    for (expression, to) in routes {
        if expression.holds(entry)? {
            return Ok(Some(*to));
        }
    }
    Ok(default)
}

impl Operation {
    /// What changes a record and neither holds it back nor drops it.
    fn apply(&self, entry: &mut Entry, now_unix_ns: u64) -> Result<(), OperatorError> {
        match self {
            Operation::Parse(parser) => parser.apply(entry, now_unix_ns),
            Operation::Time(parser) => parser.apply(entry, now_unix_ns),
            Operation::Severity(parser) => parser.apply(entry),
            Operation::Trace(parser) => parser.apply(entry),
            Operation::ScopeName(field) => parser::scope_name(entry, field),
            Operation::Add(field, added) => {
                let value = match added {
                    Added::Value(value) => value.clone(),
                    Added::Computed(expression) => expression.value(entry)?.into_owned(),
                };
                Ok(field.set(entry, value)?)
            }
            Operation::Remove(field) => match field.remove(entry) {
                Some(_) => Ok(()),
                None => Err(OperatorError::no_field(field)),
            },
            Operation::Move(from, to) => {
                let value = from.remove(entry).ok_or_else(|| OperatorError::no_field(from))?;
                Ok(to.set(entry, value)?)
            }
            Operation::Copy(from, to) => {
                let value = from.get(entry).cloned().ok_or_else(|| OperatorError::no_field(from))?;
                Ok(to.set(entry, value)?)
            }
            Operation::Retain(fields) => retain(fields, entry),
            Operation::Flatten(field) => flatten(field, entry),
            Operation::Container(_)
            | Operation::Recombine(_)
            | Operation::Filter(_)
            | Operation::Router { .. }
            | Operation::Noop => Ok(()),
        }
    }
}

/// Keeps these fields of the roots that they belong to; the other roots stay as they are, as in the Collector.
fn retain(fields: &[Field], entry: &mut Entry) -> Result<(), OperatorError> {
    let mut kept = Entry::new(Value::Null, entry.observed_unix_ns);
    for field in fields {
        if let Some(value) = field.get(entry).cloned() {
            field.set(&mut kept, value)?;
        }
    }
    for root in [entry::Root::Body, entry::Root::Attributes, entry::Root::Resource] {
        if fields.iter().any(|field| field.root == root) {
            let whole = Field { root, keys: Vec::new() };
            whole.remove(entry);
            if let Some(value) = whole.remove(&mut kept) {
                whole.set(entry, value)?;
            }
        }
    }
    Ok(())
}

/// The members of a map take its place.
fn flatten(field: &Field, entry: &mut Entry) -> Result<(), OperatorError> {
    match field.get(entry) {
        Some(Value::Map(_)) => {}
        Some(other) => {
            return Err(OperatorError::Kind { field: field.to_string(), expected: "a map", found: other.kind() });
        }
        None => return Err(OperatorError::no_field(field)),
    }
    let values = field.remove(entry).unwrap_or_default();
    let mut parent = field.clone();
    parent.keys.pop();
    Ok(parent.set(entry, values)?)
}

/// A value of the configuration.
fn configured(node: &config::Node) -> Value {
    match node.kind() {
        config::Kind::Null => Value::Null,
        config::Kind::Bool(value) => Value::Bool(*value),
        config::Kind::Int(value) => Value::Int(*value),
        config::Kind::Float(value) => Value::Double(*value),
        config::Kind::String(text) => Value::String(text.to_string()),
        config::Kind::Seq(items) => Value::Array(items.iter().map(configured).collect()),
        config::Kind::Map(map) => {
            let pair = |entry: &config::Entry| (entry.key.to_string(), configured(&entry.value));
            Value::Map(map.iter().map(pair).collect::<Values>())
        }
    }
}
