//! Which resources are meant: `resource["service.name"] matches "checkout.*" and not resource["env"] == "test"`.
//!
//! A small part of the OpenTelemetry Transformation Language: comparisons of resource attributes with texts, `and`,
//! `or`, `not` and parentheses. `matches` wants the whole value to match.

use std::fmt;

use otlp::view::{AnyValueView, ResourceView};
use otlp::{Batch, retain_resources};
use regex::Regex;

/// A condition on resources.
#[derive(Clone, Debug)]
pub struct Selection {
    text: String,
    condition: Condition,
}

#[derive(Clone, Debug)]
enum Condition {
    Compare { key: String, is: Comparison },
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Clone, Debug)]
enum Comparison {
    Equal(String),
    Unequal(String),
    Matches(Box<Regex>),
}

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}; expected something like `resource[\"service.name\"] matches \"checkout.*\"`")]
pub struct SelectionError {
    /// Counted from 1, in bytes.
    pub column: usize,
    /// What was expected.
    pub message: String,
}

/// Conditions nest no deeper.
const DEPTH_MAX: usize = 32;

/// A regular expression compiles to no more, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Selection {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is no condition, with the place.
    pub fn parse(text: &str) -> Result<Selection, SelectionError> {
        let mut parser = Parser { text, at: 0 };
        let condition = parser.any(0)?;
        parser.space();
        match parser.rest().is_empty() {
            true => Ok(Selection { text: text.to_owned(), condition }),
            false => Err(parser.error("expected `and`, `or` or the end")),
        }
    }

    /// The resources of a batch that are meant, with everything in them.
    pub fn select(&self, batch: &Batch) -> Option<Batch> {
        retain_resources(batch, |resource| self.condition.holds(resource))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    fn holds(&self, resource: ResourceView<'_>) -> bool {
        match self {
            Condition::Compare { key, is } => {
                let value = resource.attributes().get(key).map(AnyValueView::to_text);
                match is {
                    Comparison::Equal(text) => value.is_some_and(|value| value == *text),
                    Comparison::Unequal(text) => value.is_none_or(|value| value != *text),
                    Comparison::Matches(regex) => value.is_some_and(|value| regex.is_match(&value)),
                }
            }
            Condition::Not(condition) => !condition.holds(resource),
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(resource)),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(resource)),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, message: impl Into<String>) -> SelectionError {
        SelectionError { column: self.at + 1, message: message.into() }
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    /// A word, and not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        self.space();
        let ends = self.rest().strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
        if ends {
            self.at += word.len();
        }
        ends
    }

    fn any(&mut self, depth: usize) -> Result<Condition, SelectionError> {
        let mut conditions = vec![self.all(depth)?];
        while self.word("or") {
            conditions.push(self.all(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::Any(conditions) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, SelectionError> {
        let mut conditions = vec![self.one(depth)?];
        while self.word("and") {
            conditions.push(self.one(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::All(conditions) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, SelectionError> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested too deep"));
        }
        if self.word("not") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let condition = self.any(depth + 1)?;
            return if self.take(")") { Ok(condition) } else { Err(self.error("expected `)`")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, SelectionError> {
        if !self.word("resource") || !self.take("[") {
            return Err(self.error("expected `resource[…]`"));
        }
        let key = self.string()?;
        if !self.take("]") {
            return Err(self.error("expected `]`"));
        }
        let is = if self.take("==") {
            Comparison::Equal(self.string()?)
        } else if self.take("!=") {
            Comparison::Unequal(self.string()?)
        } else if self.word("matches") {
            Comparison::Matches(Box::new(self.pattern()?))
        } else {
            return Err(self.error("expected `==`, `!=` or `matches`"));
        };
        Ok(Condition::Compare { key, is })
    }

    fn pattern(&mut self) -> Result<Regex, SelectionError> {
        self.space();
        let at = self.at;
        let text = self.string()?;
        let whole = regex::RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(REGEX_BYTES_MAX).build();
        whole.map_err(|error| SelectionError { column: at + 1, message: error.to_string() })
    }

    fn string(&mut self) -> Result<String, SelectionError> {
        if !self.take("\"") {
            return Err(self.error("expected a text in double quotes"));
        }
        let mut text = String::new();
        let mut characters = self.text[self.at..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                // A quote or a backslash behind a backslash is meant as it stands; patterns keep theirs otherwise.
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(self.error("the text does not end"))
    }
}

#[cfg(test)]
mod tests {
    use otlp::encode::LogsEncoder;

    use super::*;

    fn check(condition: &str, attributes: &[(&str, &str)], holds: bool) {
        let selection = Selection::parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        let mut encoder = LogsEncoder::new();
        encoder.resource_logs(|resource| {
            resource.resource(|resource| {
                for (key, value) in attributes {
                    resource.attributes().string(key, value);
                }
            });
            resource.scope_logs(|scope| {
                scope.log_record(|record| {
                    record.time_unix_nano(1);
                });
            });
        });
        assert_eq!(selection.select(&encoder.finish()).is_some(), holds, "{condition} on {attributes:?}");
    }

    fn check_error(condition: &str, expected: &str) {
        let error = Selection::parse(condition).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        let checkout = r#"resource["service.name"] matches "checkout.*""#;
        check(checkout, &[("service.name", "checkout-eu")], true);
        check(checkout, &[("service.name", "old-checkout")], false);
        check(checkout, &[], false);
        check(r#"resource["v"] matches "a\\.b""#, &[("v", "a.b")], true);
        check(r#"resource["v"] matches "a\.b""#, &[("v", "axb")], false);
    }

    #[test]
    fn comparisons_combine() {
        let both = r#"resource["a"] == "1" and (resource["b"] != "2" or not resource["c"] == "3")"#;
        check(both, &[("a", "1")], true);
        check(both, &[("a", "1"), ("b", "2"), ("c", "3")], false);
        check(both, &[("a", "1"), ("b", "2")], true);
        check(both, &[("b", "1")], false);
    }

    #[test]
    fn what_is_no_condition_is_told_with_its_place() {
        check_error("", "column 1: expected `resource[…]`");
        check_error(r#"resource["a"] = "b""#, "column 15: expected `==`, `!=` or `matches`");
        check_error(r#"resource["a"] == "b" resource"#, "column 22: expected `and`, `or` or the end");
        check_error(r#"resource["a"] == "b"#, "column 19: the text does not end");
        check_error(r#"resource["a"] matches "(""#, "column 23: regex parse error");
        check_error(&"(".repeat(1000), "column 34: nested too deep");
    }
}
