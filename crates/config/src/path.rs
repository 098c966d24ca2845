//! The path of a value in the configuration, as messages print it.

use std::fmt;

const KEY_CHARS_MAX: usize = 80;

/// The keys from the root to a value: `exporters.otlp/new.timeout`, `processors.attributes.actions[2].key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(String);

impl Path {
    /// The root of the configuration: the empty path.
    pub fn root() -> Path {
        Path::default()
    }

    /// The path of `key` in the map at this path. A key that would be ambiguous is written `["a.b"]`.
    #[must_use]
    pub fn key(&self, key: &str) -> Path {
        let mut path = self.0.clone();
        let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':'));
        if plain && key.chars().count() <= KEY_CHARS_MAX {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
        } else {
            path.push_str("[\"");
            path.push_str(&printable(key, KEY_CHARS_MAX));
            path.push_str("\"]");
        }
        Path(path)
    }

    /// The path of the item at `index`, counted from zero, in the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Path {
        Path(format!("{}[{index}]", self.0))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Path {
    /// Takes a written path as it is.
    fn from(path: &str) -> Path {
        Path(path.to_owned())
    }
}

impl From<String> for Path {
    fn from(path: String) -> Path {
        Path(path)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is safe on a terminal: control characters escaped, and cut at `chars_max`.
pub(crate) fn printable(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars_max) + 4);
    for (count, c) in text.chars().enumerate() {
        if count == chars_max {
            out.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Characters that reorder or hide their neighbours on a terminal, so that a message could lie.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
