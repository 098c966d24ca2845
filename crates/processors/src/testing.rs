//! What tests of several processors use.

use component::{BuildContext, BuiltProcessor, Processor, ProcessorFactory};
use config::{Diagnostics, Section, TestEnvironment};

fn read(factory: &ProcessorFactory, yaml: &str) -> (Option<BuiltProcessor>, Diagnostics) {
    let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id = factory.kind.parse().unwrap();
    let built = Section::open(&loaded.root, "processors.it", &mut diagnostics)
        .read(|section| (factory.build)(section, &BuildContext::alone(&id)));
    (built, diagnostics)
}

/// What the factory makes of a configuration without errors.
pub(crate) fn build_with(factory: &ProcessorFactory, yaml: &str) -> Option<BuiltProcessor> {
    let (built, diagnostics) = read(factory, yaml);
    assert!(!diagnostics.has_errors(), "{yaml}: {:?}", diagnostics.finish().err());
    built
}

/// The processor that the factory makes of a configuration without errors.
pub(crate) fn processor(factory: &ProcessorFactory, yaml: &str) -> Box<dyn Processor> {
    match build_with(factory, yaml) {
        Some(BuiltProcessor::Each(processor)) => processor,
        _ => panic!("no processor: {yaml}"),
    }
}

/// The errors that the factory reports.
pub(crate) fn build_error(factory: &ProcessorFactory, yaml: &str) -> String {
    let (_, diagnostics) = read(factory, yaml);
    diagnostics.finish().err().unwrap_or_else(|| panic!("no error: {yaml}")).to_string()
}
