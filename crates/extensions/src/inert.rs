//! Extensions of the Collector that look into a Go process. Guides name them by habit, so they are taken and run nothing.

use component::{Authentication, BuildContext, Extension, ExtensionFactory};
use config::Section;

use crate::authenticator::AuthenticatorExtension;

/// `pprof`: a profiler of the Go runtime.
pub(crate) const PPROF: ExtensionFactory =
    ExtensionFactory { kind: "pprof", aliases: &[], signals: &[], build: build_pprof };

/// `zpages`: pages with traces of the Collector itself.
pub(crate) const ZPAGES: ExtensionFactory =
    ExtensionFactory { kind: "zpages", aliases: &[], signals: &[], build: build_zpages };

fn build_pprof(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    build(section, "it profiles the Go runtime, which is not here; nothing listens")
}

fn build_zpages(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    build(section, "the admin API and the own metrics say what goes on; nothing listens")
}

fn build(section: &mut Section<'_>, why: &str) -> Option<Box<dyn Extension>> {
    // Whatever it is told, it does nothing.
    section.entries();
    let mut warning = config::Diagnostic::warning(section.path().clone(), format!("has no effect: {why}"));
    warning.position = section.position().cloned();
    section.diagnostics().push(warning);
    Some(AuthenticatorExtension::boxed(Authentication::default()))
}
