//! `attributes`: actions on the attributes of spans, log records and data points, of all or of some.

use component::{BuiltProcessor, Processor, ProcessorFactory, Refused};
use config::Section;
use otlp::edit::{Edited, RecordContext, RecordEdit, edit_records};
use otlp::encode::AttributesWriter;
use otlp::view::KeyValues;
use otlp::{Batch, Signal};

use crate::actions::{Actions, Scratch};
use crate::matching::{Matcher, Matching};

/// Makes `attributes` processors.
pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "attributes", aliases: &[], signals: &Signal::ALL, build: |section, _| build(section) };

fn build(section: &mut Section<'_>) -> Option<BuiltProcessor> {
    let matching = Matching::read(section);
    let actions = Actions::read(section, "actions");
    Some(BuiltProcessor::Each(Box::new(Attributes { matching: matching?, actions: actions? })))
}

struct Attributes {
    matching: Matching,
    actions: Actions,
}

impl Processor for Attributes {
    fn process(&self, batch: Batch) -> Result<Batch, Refused> {
        let edit = Edit { matcher: self.matching.matcher(), actions: &self.actions, scratch: Scratch::default() };
        Ok(edit_records(&batch, &edit))
    }
}

/// The edit of one batch.
struct Edit<'p> {
    matcher: Matcher<'p>,
    actions: &'p Actions,
    scratch: Scratch,
}

impl RecordEdit for Edit<'_> {
    fn edit(&self, record: &RecordContext<'_>, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited {
        if self.matcher.admits(record, attributes) {
            self.actions.edit(attributes, out, &self.scratch)
        } else {
            Edited::Unchanged
        }
    }
}
