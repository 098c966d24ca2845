//! The id of a component: `otlp`, `otlp/new`.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

use crate::path::printable;

const NAME_CHARS_MAX: usize = 1024;
const TYPE_CHARS_MAX: usize = 63;

/// The rule for names: no white space (`Z`), no control (`C`) and no symbol (`S`) characters.
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[^\pZ\pC\pS]+$").ok());

/// The id of a component: its type, and a name where there are several of one type.
///
/// The type is as it was written; that `otlp_http` and `otlphttp` are the same is the registry's matter.
///
/// ```
/// let id: config::ComponentId = "otlp/new".parse().unwrap();
/// assert_eq!((id.kind.as_str(), id.name.as_deref()), ("otlp", Some("new")));
/// assert_eq!(id.to_string(), "otlp/new");
/// assert!("otlp/".parse::<config::ComponentId>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId {
    /// The type: `^[a-zA-Z][0-9a-zA-Z_]{0,62}$`.
    pub kind: String,
    /// The name after the `/`: up to 1024 characters, no white space, control or symbol characters.
    pub name: Option<String>,
}

/// Why a text is no component id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentIdError {
    /// Nothing before the `/`, or nothing at all.
    #[error("the type is missing: write `type` or `type/name`")]
    TypeMissing,
    /// The type has a character that a type cannot have, or is too long.
    #[error("the type `{0}` must start with a letter and go on with letters, digits and `_`, at most 63 in all")]
    Type(String),
    /// Nothing after the `/`.
    #[error("the name after `{0}/` is missing")]
    NameMissing(String),
    /// The name has a character that a name cannot have, or is too long.
    #[error("the name `{0}` must have no white space, control or symbol characters, and at most 1024 characters")]
    Name(String),
}

impl ComponentId {
    /// An id without a name.
    pub fn of_kind(kind: impl Into<String>) -> ComponentId {
        ComponentId { kind: kind.into(), name: None }
    }
}

impl FromStr for ComponentId {
    type Err = ComponentIdError;

    /// White space around the type and around the name does not count, as in the Collector.
    fn from_str(text: &str) -> Result<ComponentId, ComponentIdError> {
        let (kind, name) = match text.split_once('/') {
            None => (text.trim(), None),
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
        };
        if kind.is_empty() {
            return Err(ComponentIdError::TypeMissing);
        }
        let letters = kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !letters || !kind.starts_with(|c: char| c.is_ascii_alphabetic()) || kind.len() > TYPE_CHARS_MAX {
            return Err(ComponentIdError::Type(printable(kind, 80)));
        }
        if let Some(name) = name {
            if name.is_empty() {
                return Err(ComponentIdError::NameMissing(kind.to_owned()));
            }
            let allowed = NAME.as_ref().is_some_and(|rule| rule.is_match(name));
            if name.chars().count() > NAME_CHARS_MAX || !allowed {
                return Err(ComponentIdError::Name(printable(name, 80)));
            }
        }
        Ok(ComponentId { kind: kind.to_owned(), name: name.map(str::to_owned) })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str(&self.kind),
            Some(name) => write!(f, "{}/{name}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, Option<&str>), ComponentIdError>) {
        let id = text.parse::<ComponentId>();
        let id = id.as_ref().map(|id| (id.kind.as_str(), id.name.as_deref())).map_err(Clone::clone);
        assert_eq!((text, id), (text, expected));
    }

    #[test]
    fn a_type_alone_and_a_type_with_a_name_are_ids() {
        check("otlp", Ok(("otlp", None)));
        check("otlp/new", Ok(("otlp", Some("new"))));
        check(" otlp / new ", Ok(("otlp", Some("new"))));
        check("otlp_http/a/b", Ok(("otlp_http", Some("a/b"))));
        check("kafka/größe-2.0_x", Ok(("kafka", Some("größe-2.0_x"))));
    }

    #[test]
    fn a_bad_type_is_refused() {
        check("", Err(ComponentIdError::TypeMissing));
        check("/new", Err(ComponentIdError::TypeMissing));
        check("1otlp", Err(ComponentIdError::Type("1otlp".into())));
        check("ot-lp", Err(ComponentIdError::Type("ot-lp".into())));
        check("ötlp", Err(ComponentIdError::Type("ötlp".into())));
        let long = "a".repeat(64);
        check(&long, Err(ComponentIdError::Type(long.clone())));
        check(&long[..63], Ok((&long[..63], None)));
    }

    #[test]
    fn a_name_with_white_space_control_or_symbol_characters_is_refused() {
        check("otlp/", Err(ComponentIdError::NameMissing("otlp".into())));
        check("otlp/a b", Err(ComponentIdError::Name("a b".into())));
        check("otlp/a+b", Err(ComponentIdError::Name("a+b".into())));
        check("otlp/a€", Err(ComponentIdError::Name("a€".into())));
        check("otlp/a\u{7}b", Err(ComponentIdError::Name("a\\u{7}b".into())));
        assert!(format!("otlp/{}", "n".repeat(1024)).parse::<ComponentId>().is_ok());
        assert!(format!("otlp/{}", "n".repeat(1025)).parse::<ComponentId>().is_err());
    }
}
