//! `resource`: actions on the attributes of resources.

use component::{BuildContext, BuiltProcessor, Processor, ProcessorFactory, Refused};
use config::Section;
use otlp::edit::edit_resources;
use otlp::encode::AttributesWriter;
use otlp::view::KeyValues;
use otlp::{Batch, Signal};

use crate::actions::{Actions, Scratch};

/// Makes `resource` processors.
pub(crate) const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "resource",
    aliases: &[],
    signals: &Signal::ALL,
    build: |section: &mut Section<'_>, _: &BuildContext<'_>| {
        let actions = Actions::read(section, "attributes")?;
        Some(BuiltProcessor::Each(Box::new(Resource { actions })))
    },
};

struct Resource {
    actions: Actions,
}

impl Processor for Resource {
    fn process(&self, batch: Batch) -> Result<Batch, Refused> {
        let scratch = Scratch::default();
        let edit =
            |attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>| self.actions.edit(attributes, out, &scratch);
        Ok(edit_resources(&batch, &edit))
    }
}
