//! Extensions that know who may send, or what to show a backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth::{Authenticator, Credentials};
use config::{ComponentId, Diagnostic, Section, Spanned, nearest};

/// What an extension knows of credentials. Most know nothing.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    /// For servers: who may send.
    pub server: Option<Arc<dyn Authenticator>>,
    /// For clients: what to show a backend.
    pub client: Option<Arc<dyn Credentials>>,
}

/// Whether `service.extensions` names an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// It runs.
    Listed,
    /// It does not.
    Unlisted,
}

/// What `auth: {authenticator: …}` of other components may name: every configured extension, whatever it is, so that an
/// error can say what is wrong with the one that was named.
#[derive(Clone, Debug, Default)]
pub struct Authenticators {
    known: BTreeMap<ComponentId, (Listing, Option<Authentication>)>,
}

impl Authenticators {
    /// Of a configuration without extensions.
    pub const fn none() -> Authenticators {
        Authenticators { known: BTreeMap::new() }
    }

    /// Adds an extension; without an authentication one whose own configuration is wrong, which has been said already.
    pub fn add(&mut self, id: ComponentId, listing: Listing, authentication: Option<Authentication>) {
        self.known.insert(id, (listing, authentication));
    }

    /// What to show the backend of a component: that of the extension which its `auth` names. None when it names none,
    /// and when it names a wrong one, which is reported.
    pub fn credentials(
        &self,
        named: Option<&Spanned<ComponentId>>,
        section: &mut Section<'_>,
    ) -> Option<Arc<dyn Credentials>> {
        let named = named?;
        let found = self.find(named, section)?;
        let help = match found.server {
            Some(_) => "it is for receivers, as it says who may send",
            None => "it is no authenticator",
        };
        found.client.or_else(|| report(named, section, "has nothing that a client could show", help))
    }

    /// Who may send to a component: whom the extension lets pass that its `auth` names. None when it names none, and
    /// when it names a wrong one, which is reported.
    pub fn authenticator(
        &self,
        named: Option<&Spanned<ComponentId>>,
        section: &mut Section<'_>,
    ) -> Option<Arc<dyn Authenticator>> {
        let named = named?;
        let found = self.find(named, section)?;
        let help = match found.client {
            Some(_) => "it is for exporters, as it holds what a client shows",
            None => "it is no authenticator",
        };
        found.server.or_else(|| report(named, section, "does not say who may send", help))
    }

    fn find(&self, named: &Spanned<ComponentId>, section: &mut Section<'_>) -> Option<Authentication> {
        let Some((listing, authentication)) = self.known.get(&named.value) else {
            let ids: Vec<String> = self.known.keys().map(ToString::to_string).collect();
            let near = nearest(&named.value.to_string(), ids.iter().map(String::as_str));
            let help = near.map_or_else(
                || "it must be one of them, and be named in `service.extensions`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return report(named, section, "is not among the configuration's extensions", &help);
        };
        let authentication = authentication.clone()?;
        let is_any = authentication.server.is_some() || authentication.client.is_some();
        if is_any && *listing == Listing::Unlisted {
            let help = "name it in `service.extensions`";
            return report(named, section, "is configured and does not run", help);
        }
        Some(authentication)
    }
}

fn report<T>(named: &Spanned<ComponentId>, section: &mut Section<'_>, what: &str, help: &str) -> Option<T> {
    let path = section.path().key("auth").key("authenticator");
    let error = Diagnostic::error(path, format!("`{}` {what}", named.value)).at(&named.position).help(help);
    section.diagnostics().push(error);
    None
}
