//! The words of expressions.

use std::borrow::Cow;
use std::fmt;

use super::expression::BadExpression;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    Name(&'t str),
    Text(Cow<'t, str>),
    Int(i64),
    Double(f64),
    Sign(&'t str),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Name(text) | Token::Sign(text) => f.write_str(text),
            Token::Text(text) => write!(f, "\"{text}\""),
            Token::Int(value) => write!(f, "{value}"),
            Token::Double(value) => write!(f, "{value}"),
            Token::End => f.write_str("the end"),
        }
    }
}

/// Longer signs before those that they begin with.
const SIGNS: [&str; 29] = [
    "==", "!=", "<=", ">=", "&&", "||", "?.", "??", "..", "**", "!", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".",
    "?", ":", "+", "-", "*", "/", "%", "|",
];

/// The words of a text, each with the place of its first character, counted from 1. The last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token<'_>, usize)>, BadExpression> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text[..text.len() - rest.len()].chars().count() + 1;
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, at));
            return Ok(tokens);
        };
        let (token, length) = match first {
            '"' | '\'' | '`' => quoted(rest, first).ok_or_else(|| {
                let found = rest.chars().take(20).collect();
                BadExpression::Expected { expected: "the end of a text", at, found }
            })?,
            '0'..='9' => number(rest).ok_or_else(|| {
                let found = rest.chars().take(20).collect();
                BadExpression::Expected { expected: "a number", at, found }
            })?,
            'a'..='z' | 'A'..='Z' | '_' | '$' => {
                let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$';
                let end = rest.find(is_other).unwrap_or(rest.len());
                (Token::Name(&rest[..end]), end)
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => {
                    let found = first.to_string();
                    return Err(BadExpression::Expected { expected: "a sign that is known", at, found });
                }
            },
        };
        tokens.push((token, at));
        rest = &rest[length..];
    }
}

/// A text in quotes, and how long it is with them. Backslashes escape but in backquotes.
fn quoted(rest: &str, quote: char) -> Option<(Token<'_>, usize)> {
    let inner = &rest[1..];
    if quote == '`' {
        let end = inner.find('`')?;
        return Some((Token::Text(inner[..end].into()), end + 2));
    }
    let mut text = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some((Token::Text(text.into()), at + 2));
        }
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next()?.1 {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            escaped @ ('\\' | '"' | '\'' | '`') => text.push(escaped),
            // Not an escape of the language; the patterns of `matches` are full of `\d` all the same.
            other => text.extend(['\\', other]),
        }
    }
    None
}

fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(rest);
    let fraction = rest[whole..].strip_prefix('.').map_or(0, digits);
    if fraction == 0 {
        return Some((Token::Int(rest[..whole].parse().ok()?), whole));
    }
    let length = whole + 1 + fraction;
    Some((Token::Double(rest[..length].parse().ok()?), length))
}
