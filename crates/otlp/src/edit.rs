//! Editing attributes without decoding the rest: everything else is copied as it stands, unknown fields included.
//!
//! An edit sees the attributes of one resource, scope or record and writes all that shall remain. A batch in which no
//! edit changes anything comes back as it is, with its frames.
//!
//! ```
//! use otlp::edit::{Edited, edit_resources};
//! use otlp::encode::{AttributesWriter, TracesEncoder};
//! use otlp::view::KeyValues;
//!
//! let mut encoder = TracesEncoder::new();
//! encoder.resource_spans(|_| {});
//! let batch = encoder.finish();
//!
//! let insert = |attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>| {
//!     if attributes.get("telemetry.pipeline").is_some() {
//!         return Edited::Unchanged;
//!     }
//!     for attribute in attributes {
//!         out.raw_key_value(attribute.as_bytes());
//!     }
//!     out.string("telemetry.pipeline", "crossfade");
//!     Edited::Changed
//! };
//! let batch = edit_resources(&batch, &insert);
//! let resource = batch.traces().unwrap().resource_spans().next().unwrap().resource();
//! assert_eq!(resource.attributes().get("telemetry.pipeline").unwrap().as_str(), Some("crossfade"));
//! ```

use crate::encode::AttributesWriter;
use crate::splice::Splicer;
use crate::tree::Level;
use crate::view::{KeyValues, LogRecordView, MetricView, Repeated, ResourceView, ScopeView, SpanView};
use crate::wire::{Field, FieldValue, Fields, write_bytes_field};
use crate::{Batch, Signal};

/// Whether an edit changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// Nothing: what was written is dropped.
    Unchanged,
    /// What was written replaces the attributes.
    Changed,
}

/// Edits the attributes of a resource or a scope. Closures are edits, too.
pub trait AttributeEdit {
    /// Writes the attributes that shall stand in place of these.
    fn edit(&self, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited;
}

impl<F: Fn(KeyValues<'_>, &mut AttributesWriter<'_>) -> Edited> AttributeEdit for F {
    fn edit(&self, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited {
        self(attributes, out)
    }
}

/// Edits the attributes of a span, a log record or a data point. Closures are edits, too.
pub trait RecordEdit {
    /// Writes the attributes that shall stand in place of these.
    fn edit(&self, record: &RecordContext<'_>, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited;
}

impl<F: Fn(&RecordContext<'_>, KeyValues<'_>, &mut AttributesWriter<'_>) -> Edited> RecordEdit for F {
    fn edit(&self, record: &RecordContext<'_>, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited {
        self(record, attributes, out)
    }
}

/// What a record is and where it stands. Views are made when they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    signal: Signal,
    resource: &'a [u8],
    scope: &'a [u8],
    metric: &'a [u8],
    item: &'a [u8],
}

impl<'a> RecordContext<'a> {
    /// The kind of telemetry.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The resource.
    pub fn resource(&self) -> ResourceView<'a> {
        ResourceView::new(self.resource)
    }

    /// The instrumentation scope.
    pub fn scope(&self) -> ScopeView<'a> {
        ScopeView::new(self.scope)
    }

    /// The span, in a batch of traces.
    pub fn span(&self) -> Option<SpanView<'a>> {
        (self.signal == Signal::Traces).then(|| SpanView::new(self.item))
    }

    /// The log record, in a batch of logs.
    pub fn log_record(&self) -> Option<LogRecordView<'a>> {
        (self.signal == Signal::Logs).then(|| LogRecordView::new(self.item))
    }

    /// The metric of the data point, in a batch of metrics.
    pub fn metric(&self) -> Option<MetricView<'a>> {
        (self.signal == Signal::Metrics).then(|| MetricView::new(self.metric))
    }

    /// The bytes of the span, the log record or the data point, tag and length not included.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.item
    }
}

/// Edits the attributes of every resource. A block without a resource gets one if the edit writes attributes.
pub fn edit_resources(batch: &Batch, edit: &impl AttributeEdit) -> Batch {
    const RESOURCE_ATTRIBUTES: u32 = 1;
    run(batch, &mut |editor, level, block| {
        if level == Level::Block {
            editor.edit_header(block, RESOURCE_ATTRIBUTES, edit);
        }
        // The rest of the block is of no interest.
        level == Level::Request
    })
}

/// Edits the attributes of every instrumentation scope. What has no scope gets one if the edit writes attributes.
pub fn edit_scopes(batch: &Batch, edit: &impl AttributeEdit) -> Batch {
    const SCOPE_ATTRIBUTES: u32 = 3;
    run(batch, &mut |editor, level, scope| {
        if level == Level::Scope {
            editor.edit_header(scope, SCOPE_ATTRIBUTES, edit);
        }
        matches!(level, Level::Request | Level::Block)
    })
}

/// Edits the attributes of every span, log record or data point.
pub fn edit_records(batch: &Batch, edit: &impl RecordEdit) -> Batch {
    let signal = batch.signal();
    let mut context = RecordContext { signal, resource: &[], scope: &[], metric: &[], item: &[] };
    run(batch, &mut |editor, level, message| {
        match level {
            Level::Request | Level::Data => {}
            Level::Block => context.resource = last_message(message, 1),
            Level::Scope => context.scope = last_message(message, 1),
            Level::Metric => context.metric = message,
            Level::Item => {
                context.item = message;
                editor.edit_item(&context, edit);
            }
        }
        level != Level::Item
    })
}

/// Goes down the tree. `visit` edits a message and says whether to go on to its children.
fn run<'a>(batch: &'a Batch, visit: &mut impl FnMut(&mut Editor<'a>, Level, &'a [u8]) -> bool) -> Batch {
    let signal = batch.signal();
    let mut editor = Editor { signal, splicer: Splicer::new(batch.bytes()), data: 0, attributes: Vec::new() };
    descend(&mut editor, Level::Request, batch.bytes(), visit);
    match editor.splicer.finish() {
        Some(bytes) => Batch::from_trusted(signal, bytes.into(), batch.items()),
        None => batch.clone(),
    }
}

/// Recurses as deep as the tree, which is six levels.
fn descend<'a>(
    editor: &mut Editor<'a>,
    level: Level,
    message: &'a [u8],
    visit: &mut impl FnMut(&mut Editor<'a>, Level, &'a [u8]) -> bool,
) {
    if !visit(editor, level, message) {
        return;
    }
    for field in Fields::new(message) {
        if let (Some(child), FieldValue::Length(body)) = (level.child(editor.signal, field.number), field.value) {
            if child == Level::Data {
                editor.data = field.number;
            }
            editor.splicer.enter(&field);
            descend(editor, child, body, visit);
            editor.splicer.leave();
        }
    }
}

struct Editor<'a> {
    signal: Signal,
    splicer: Splicer<'a>,
    /// The field of the metric that holds the current data points, which tells their kind.
    data: u32,
    /// What an edit wrote, reused.
    attributes: Vec<u8>,
}

impl<'a> Editor<'a> {
    /// Edits the resource of a block or the scope of its message: field 1 of the current message.
    fn edit_header(&mut self, message: &'a [u8], number: u32, edit: &impl AttributeEdit) {
        let header = Fields::new(message).filter(is_header).last();
        let body = header.map_or(&[][..], |field| field.value.bytes());
        self.attributes.clear();
        let edited =
            edit.edit(Repeated::new(body, 0, number), &mut AttributesWriter::new(&mut self.attributes, number));
        match (edited, header) {
            (Edited::Unchanged, _) => {}
            (Edited::Changed, Some(field)) => {
                self.splicer.enter(&field);
                self.replace_attributes(body, number);
                self.splicer.leave();
            }
            (Edited::Changed, None) if self.attributes.is_empty() => {}
            (Edited::Changed, None) => {
                self.splicer.replace(0..0, |out| write_bytes_field(out, 1, &self.attributes));
            }
        }
    }

    fn edit_item(&mut self, context: &RecordContext<'a>, edit: &impl RecordEdit) {
        let number = match (self.signal, self.data) {
            (Signal::Traces, _) => 9,
            (Signal::Logs, _) => 6,
            (Signal::Metrics, 9) => 9,
            (Signal::Metrics, 10) => 1,
            // Number data points and summaries.
            (Signal::Metrics, _) => 7,
        };
        self.attributes.clear();
        let attributes = Repeated::new(context.item, 0, number);
        let edited = edit.edit(context, attributes, &mut AttributesWriter::new(&mut self.attributes, number));
        if edited == Edited::Changed {
            self.replace_attributes(context.item, number);
        }
    }

    /// Puts what the edit wrote where the first attribute stood, or at the end, and leaves the others out.
    fn replace_attributes(&mut self, message: &'a [u8], number: u32) {
        let mut written = false;
        for field in Fields::new(message).filter(|field| field.number == number) {
            let attributes = if written { &[][..] } else { &self.attributes };
            self.splicer.replace(field.start..field.end, |out| out.extend_from_slice(attributes));
            written = true;
        }
        if !written {
            self.splicer.replace(message.len()..message.len(), |out| out.extend_from_slice(&self.attributes));
        }
    }
}

/// Whether this is the resource of a block or the scope of its message.
fn is_header(field: &Field<'_>) -> bool {
    field.number == 1 && matches!(field.value, FieldValue::Length(_))
}

/// The message in this field; empty when absent.
fn last_message(message: &[u8], number: u32) -> &[u8] {
    Fields::new(message).filter(|field| field.number == number).last().map_or(&[], |field| field.value.bytes())
}
