//! Spans put together by process and scope, as OTLP has them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::names::{LIBRARY_NAME, LIBRARY_VERSION, SCOPE_NAME, SCOPE_VERSION};

/// The instrumentation that made spans; both empty where it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) version: Cow<'a, str>,
}

/// The tags that a scope is made of, in the order in which they are believed.
pub(super) const NAMES: [&str; 2] = [SCOPE_NAME, LIBRARY_NAME];
pub(super) const VERSIONS: [&str; 2] = [SCOPE_VERSION, LIBRARY_VERSION];

/// The spans of one process, by scope, all in the order in which they came.
pub(super) struct Group<'a, T> {
    pub(super) scopes: Vec<(Scope<'a>, Vec<T>)>,
    places: HashMap<Scope<'a>, usize>,
}

impl<T> Default for Group<'_, T> {
    fn default() -> Self {
        Group { scopes: Vec::new(), places: HashMap::new() }
    }
}

impl<'a, T> Group<'a, T> {
    pub(super) fn push(&mut self, scope: Scope<'a>, span: T) {
        // Most processes have one scope, or spans of one scope in a row.
        if let Some((last, spans)) = self.scopes.last_mut()
            && *last == scope
        {
            return spans.push(span);
        }
        let place = *self.places.entry(scope.clone()).or_insert(self.scopes.len());
        match self.scopes.get_mut(place) {
            Some((_, spans)) => spans.push(span),
            None => self.scopes.push((scope, vec![span])),
        }
    }
}
