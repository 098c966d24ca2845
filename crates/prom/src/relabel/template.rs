//! Replacement templates: `$1`, `${1}`, `$name`, `${name}`, `$$`, as Go's `regexp.Expand` reads them.

use regex::{CaptureLocations, Regex};

/// A template, resolved against the groups of its regular expression.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

/// Whether a text has a variable in it. Prometheus looks for the dollar sign alone.
pub(super) fn has_variable(text: &str) -> bool {
    text.contains('$')
}

impl Template {
    pub(super) fn new(text: &str, regex: &Regex) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = variable(rest) else {
                // A dollar sign that starts no variable stands for itself.
                literal.push('$');
                continue;
            };
            rest = after;
            // A group that the expression does not have is empty.
            if let Some(group) = group_of(name, regex) {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
                pieces.push(Piece::Group(group));
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Template { pieces }
    }

    /// The text, with the groups of a match in it.
    pub(super) fn expand(&self, matched: &str, groups: &CaptureLocations) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(group) => {
                    out.push_str(groups.get(*group).and_then(|(start, end)| matched.get(start..end)).unwrap_or(""));
                }
            }
        }
        out
    }
}

/// The name of a variable behind a dollar sign, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let is_name = |character: char| character == '_' || character.is_alphanumeric();
    if let Some(inner) = text.strip_prefix('{') {
        let (name, after) = inner.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_name)).then_some((name, after));
    }
    let end = text.find(|character| !is_name(character)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn group_of(name: &str, regex: &Regex) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_number {
        return name.parse().ok().filter(|group| *group < regex.captures_len());
    }
    regex.capture_names().position(|candidate| candidate == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expanded: &str) {
        let regex = Regex::new("^(a)(?<word>b)(c)?$").expect("valid");
        let mut groups = regex.capture_locations();
        regex.captures_read(&mut groups, "ab").expect("matches");
        assert_eq!(Template::new(template, &regex).expand("ab", &groups), expanded, "{template}");
    }

    #[test]
    fn variables_are_numbers_or_names_with_or_without_braces() {
        check("$1-${2}-$word-${word}", "a-b-b-b");
        check("$0", "ab");
        check("$1x", "");
        check("${1}x", "ax");
        check("$3$4$nope", "");
        check("${01}$1", "a");
    }

    #[test]
    fn a_dollar_that_starts_no_variable_stands_for_itself() {
        check("$$1", "$1");
        check("$", "$");
        check("${", "${");
        check("${}", "${}");
        check("${a b}", "${a b}");
        check("$-", "$-");
    }
}
