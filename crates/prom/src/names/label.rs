//! Label names.

use std::borrow::Cow;

use super::{Escaping, NameError, is_underscores_only};

/// What happens to several underscores in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underscores {
    /// They stay: what the Collector's exporters and Prometheus' OTLP endpoint do.
    Preserve,
    /// They become one, as the specification says.
    Collapse,
}

/// Makes label names of attribute keys.
///
/// ```
/// use prom::names::{Escaping, LabelNamer, Underscores};
///
/// let namer = LabelNamer { escaping: Escaping::Underscores, underscores: Underscores::Preserve };
/// assert_eq!(namer.name("http.method")?, "http_method");
/// assert_eq!(namer.name("5xx")?, "key_5xx");
/// # Ok::<(), prom::names::NameError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LabelNamer {
    /// What happens to characters outside of `[a-zA-Z0-9_]`.
    pub escaping: Escaping,
    /// What happens to several underscores in a row, where characters are escaped.
    pub underscores: Underscores,
}

impl LabelNamer {
    /// The label name of an attribute key.
    ///
    /// # Errors
    /// A key that is empty, or of which only underscores are left, has no label name.
    pub fn name<'k>(&self, key: &'k str) -> Result<Cow<'k, str>, NameError> {
        if key.is_empty() {
            return Err(NameError::EmptyLabelName);
        }
        let normalized = match self.escaping {
            Escaping::None => Cow::Borrowed(key),
            Escaping::Underscores => self.escaped(key),
        };
        if is_underscores_only(&normalized) {
            let normalized = normalized.into_owned();
            return Err(NameError::InvalidLabelName { name: key.to_owned(), normalized });
        }
        Ok(normalized)
    }

    fn escaped<'k>(&self, key: &'k str) -> Cow<'k, str> {
        let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let starts_with_digit = key.starts_with(|first: char| first.is_ascii_digit());
        if is_plain && !starts_with_digit && (self.underscores == Underscores::Preserve || !key.contains("__")) {
            return Cow::Borrowed(key);
        }
        let escaped = match self.underscores {
            Underscores::Preserve => replace_characters(key, Underscores::Preserve),
            Underscores::Collapse => match reserved_stem(key) {
                Some(stem) => format!("__{}__", replace_characters(stem, Underscores::Collapse)),
                None => replace_characters(key, Underscores::Collapse),
            },
        };
        if starts_with_digit { Cow::Owned(format!("key_{escaped}")) } else { Cow::Owned(escaped) }
    }
}

/// The name between the double underscores of a reserved label such as `__name__`.
fn reserved_stem(key: &str) -> Option<&str> {
    key.strip_prefix("__")?.strip_suffix("__")
}

fn replace_characters(text: &str, underscores: Underscores) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            out.push(character);
        } else if underscores == Underscores::Preserve || !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}
