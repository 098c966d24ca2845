//! Where a value stands: the text it came from, its line and its column.

use std::fmt;
use std::sync::Arc;

/// A text that configuration was read from: a file, or a value that was expanded into YAML.
pub struct Source {
    name: String,
    text: String,
}

/// The place of a value: source, line and column, both counted from one; the column counts characters.
#[derive(Clone)]
pub struct Position {
    source: Arc<Source>,
    line: u32,
    column: u32,
}

// === impl Source ===

impl Source {
    /// A source with the name that messages show (usually the path as the user gave it) and its whole text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        let mut text = text.into();
        // A byte order mark says nothing in UTF-8, and would only shift the columns of the first line.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Arc::new(Source { name: name.into(), text })
    }

    /// The name that messages show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// One line of the text, counted from one, without its end.
    pub fn line(&self, line: u32) -> Option<&str> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        self.lines().nth(index)
    }

    /// The lines as YAML counts them: a carriage return alone ends one, too.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        let mut rest = Some(self.text.as_str()).filter(|text| !text.is_empty());
        std::iter::from_fn(move || {
            let text = rest?;
            let (line, after) = match text.find(['\n', '\r']) {
                Some(at) if text[at..].starts_with("\r\n") => (&text[..at], &text[at + 2..]),
                Some(at) => (&text[..at], &text[at + 1..]),
                None => (text, ""),
            };
            rest = Some(after).filter(|after| !after.is_empty());
            Some(line)
        })
    }
}

// The text may hold secrets, so it never reaches a log by way of `{:?}`.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("text_bytes", &self.text.len()).finish()
    }
}

// === impl Position ===

impl Position {
    /// A place in `source`; line and column count from one.
    pub fn new(source: Arc<Source>, line: u32, column: u32) -> Position {
        Position { source, line, column }
    }

    /// The text this place is in.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The line, counted from one.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in characters, counted from one.
    pub fn column(&self) -> u32 {
        self.column
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Position) -> bool {
        Arc::ptr_eq(&self.source, &other.source) && self.line == other.line && self.column == other.column
    }
}

impl Eq for Position {}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_yaml_ends_them() {
        let source = Source::new("x", "\u{feff}a\nb\r\nc\rd\n\ne");
        assert_eq!(source.lines().collect::<Vec<_>>(), ["a", "b", "c", "d", "", "e"]);
        assert_eq!((source.line(3), source.line(0), source.line(7)), (Some("c"), None, None));
        assert_eq!(Source::new("x", "").lines().count(), 0);
    }
}
