//! Extensions that are taken and do nothing say so.

#![allow(clippy::unwrap_used)]

use component::{BuildContext, Registry};
use config::{Diagnostics, Section, TestEnvironment};

fn check(kind: &str, yaml: &str) {
    let mut registry = Registry::default();
    extensions::register(&mut registry);
    let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id = kind.parse().unwrap();
    let build = registry.extension(kind).unwrap().build;
    let section = Section::open(&loaded.root, "extensions.test", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext::alone(&id)));
    assert!(built.is_some_and(|built| built.authentication().server.is_none()));
    let warnings = diagnostics.finish().unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().starts_with("extensions.test: has no effect: "), "{}", warnings[0]);
}

#[test]
fn a_profiler_of_go_and_its_pages_are_taken_and_have_no_effect() {
    check("pprof", "");
    check("pprof", "{endpoint: ':1888', save_to_file: x}");
    check("zpages", "endpoint: ':55679'");
}
