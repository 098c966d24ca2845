//! Extensions that keep something for receivers.

use std::collections::BTreeMap;

use config::{ComponentId, Diagnostic, Section, Spanned, nearest};

use crate::authentication::Listing;
use crate::extension::StorageHint;

/// What the `storage` of receivers may name: every configured extension, whatever it is, so that an error can say what
/// is wrong with the one that was named.
#[derive(Clone, Debug, Default)]
pub struct Storages {
    known: BTreeMap<ComponentId, (Listing, Option<StorageHint>)>,
}

impl Storages {
    /// Of a configuration without extensions.
    pub const fn none() -> Storages {
        Storages { known: BTreeMap::new() }
    }

    /// Adds an extension; without a hint one that keeps nothing.
    pub fn add(&mut self, id: ComponentId, listing: Listing, hint: Option<StorageHint>) {
        self.known.insert(id, (listing, hint));
    }

    /// Where the extension keeps things that a receiver's `storage` names. None when it names none, and when it names a
    /// wrong one, which is reported.
    pub fn storage(&self, named: Option<&Spanned<ComponentId>>, section: &mut Section<'_>) -> Option<StorageHint> {
        let named = named?;
        let (what, help) = match self.known.get(&named.value) {
            Some((Listing::Listed, Some(hint))) => return Some(hint.clone()),
            Some((Listing::Unlisted, Some(_))) => {
                ("is configured and does not run", "name it in `service.extensions`".to_owned())
            }
            Some((_, None)) => ("is no storage", "`file_storage` is one".to_owned()),
            None => {
                let ids: Vec<String> = self.known.keys().map(ToString::to_string).collect();
                let near = nearest(&named.value.to_string(), ids.iter().map(String::as_str));
                let help = near.map_or_else(
                    || "it must be one of them, and be named in `service.extensions`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                ("is not among the configuration's extensions", help)
            }
        };
        let path = section.path().key("storage");
        let error = Diagnostic::error(path, format!("`{}` {what}", named.value)).at(&named.position).help(help);
        section.diagnostics().push(error);
        None
    }
}
