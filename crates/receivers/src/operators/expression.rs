//! Expressions, as `if`, `expr` and `is_first_entry` have them: the common forms of expr-lang.
//!
//! Language: [expr](https://expr-lang.org/docs/language-definition). Built are literals, lists, the fields of a record,
//! `==` `!=` `<` `<=` `>` `>=`, `matches`, `contains`, `startsWith`, `endsWith`, `in`, `not`, `and`, `or` (also `!`,
//! `&&`, `||`), and `len`, `lower`, `upper`. What is not built is refused with its name and place.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;

use super::entry::{Entry, Root, Value};
use super::lexer::{Token, tokens};

/// An expression, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Literal(Value),
    List(Vec<Expression>),
    Root(Root),
    Severity,
    SeverityText,
    Member(Box<Expression>, Value),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    Matches(Box<Expression>, Regex),
    Call(Function, Box<Expression>),
}

/// What stands between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Contains,
    StartsWith,
    EndsWith,
    In,
}

/// What is called with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Len,
    Lower,
    Upper,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadExpression {
    #[error("expected {expected} at character {at}, found `{found}`")]
    Expected { expected: &'static str, at: usize, found: String },
    #[error("not built yet: {what} (at character {at})")]
    Unbuilt { what: String, at: usize },
    #[error("the regular expression at character {at}: {error}")]
    Pattern { at: usize, error: String },
    #[error("an expression nests at most {DEPTH_MAX} levels deep")]
    TooDeep,
}

/// Why an expression has no answer for a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("`{operator}` does not go with {found}")]
    Kind { operator: &'static str, found: &'static str },
    #[error("the expression gives {0}, not a boolean")]
    NotBool(&'static str),
}

const DEPTH_MAX: usize = 64;

// === reading ===

impl Expression {
    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Expression, BadExpression> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
        let expression = parser.or()?;
        match parser.peek() {
            Token::End => Ok(expression),
            Token::Sign("?" | "??") => Err(parser.unbuilt("`?`")),
            Token::Sign(sign @ ("+" | "-" | "*" | "/" | "%" | "|" | "..")) => Err(parser.unbuilt(&format!("`{sign}`"))),
            _ => Err(parser.expected("an operator or the end")),
        }
    }
}

struct Parser<'t> {
    tokens: &'t [(Token<'t>, usize)],
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &'t Token<'t> {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(_, place)| *place)
    }

    fn next(&mut self) -> &'t Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Goes on if the next token is one of these.
    fn takes(&mut self, words: &[&str]) -> bool {
        let found = matches!(self.peek(), Token::Sign(word) | Token::Name(word) if words.contains(word));
        self.at += usize::from(found);
        found
    }

    fn expected(&self, expected: &'static str) -> BadExpression {
        BadExpression::Expected { expected, at: self.place(), found: self.peek().to_string() }
    }

    fn unbuilt(&self, what: &str) -> BadExpression {
        BadExpression::Unbuilt { what: what.to_owned(), at: self.place() }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, BadExpression>) -> Result<T, BadExpression> {
        if self.depth == DEPTH_MAX {
            return Err(BadExpression::TooDeep);
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn or(&mut self) -> Result<Expression, BadExpression> {
        let mut left = self.deeper(Self::and)?;
        let mut count = 0;
        while self.takes(&["||", "or"]) {
            count += 1;
            if count > DEPTH_MAX {
                return Err(BadExpression::TooDeep);
            }
            left = Expression::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, BadExpression> {
        let mut left = self.comparison()?;
        let mut count = 0;
        while self.takes(&["&&", "and"]) {
            count += 1;
            if count > DEPTH_MAX {
                return Err(BadExpression::TooDeep);
            }
            left = Expression::And(left.into(), self.comparison()?.into());
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, BadExpression> {
        let left = self.unary()?;
        let is_negated = matches!(self.peek(), Token::Name("not"));
        self.at += usize::from(is_negated);
        let comparison = match self.peek() {
            Token::Sign("==") => Comparison::Equal,
            Token::Sign("!=") => Comparison::Unequal,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::More,
            Token::Sign(">=") => Comparison::MoreOrEqual,
            Token::Name("contains") => Comparison::Contains,
            Token::Name("startsWith") => Comparison::StartsWith,
            Token::Name("endsWith") => Comparison::EndsWith,
            Token::Name("in") => Comparison::In,
            Token::Name("matches") => {
                self.at += 1;
                return self.pattern(left).map(|found| negated_if(is_negated, found));
            }
            _ if is_negated => return Err(self.expected("`in`, `matches`, `contains`, `startsWith` or `endsWith`")),
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.unary()?;
        Ok(negated_if(is_negated, Expression::Compare(comparison, left.into(), right.into())))
    }

    /// The right side of `matches`, which is compiled once.
    fn pattern(&mut self, left: Expression) -> Result<Expression, BadExpression> {
        let at = self.place();
        let Token::Text(pattern) = self.peek() else {
            return Err(self.unbuilt("`matches` with anything but a text on its right"));
        };
        self.at += 1;
        let regex = Regex::new(pattern).map_err(|error| BadExpression::Pattern { at, error: error.to_string() })?;
        Ok(Expression::Matches(left.into(), regex))
    }

    fn unary(&mut self) -> Result<Expression, BadExpression> {
        if self.takes(&["!", "not"]) {
            return self.deeper(Self::unary).map(|inner| Expression::Not(inner.into()));
        }
        if self.takes(&["-"]) {
            return match self.next() {
                Token::Int(value) => Ok(Expression::Literal(Value::Int(-value))),
                Token::Double(value) => Ok(Expression::Literal(Value::Double(-value))),
                _ => {
                    self.at -= 1;
                    Err(self.unbuilt("`-` before anything but a number"))
                }
            };
        }
        let mut value = self.primary()?;
        let mut count = 0;
        loop {
            let key = if self.takes(&[".", "?."]) {
                match self.next() {
                    Token::Name(name) => Value::from(*name),
                    _ => {
                        self.at -= 1;
                        return Err(self.expected("a name"));
                    }
                }
            } else if self.takes(&["["]) {
                self.index()?
            } else {
                return Ok(value);
            };
            count += 1;
            if count > DEPTH_MAX {
                return Err(BadExpression::TooDeep);
            }
            value = Expression::Member(value.into(), key);
        }
    }

    fn index(&mut self) -> Result<Value, BadExpression> {
        let key = match self.peek() {
            Token::Text(text) => Value::from(text.as_ref()),
            Token::Int(index) => Value::Int(*index),
            _ => return Err(self.unbuilt("an index that is neither a text nor a number")),
        };
        self.at += 1;
        if !self.takes(&["]"]) {
            return Err(self.expected("`]`"));
        }
        Ok(key)
    }

    fn primary(&mut self) -> Result<Expression, BadExpression> {
        let expression = match self.next() {
            Token::Text(text) => Expression::Literal(text.as_ref().into()),
            Token::Int(value) => Expression::Literal(Value::Int(*value)),
            Token::Double(value) => Expression::Literal(Value::Double(*value)),
            Token::Sign("(") => {
                let inner = self.deeper(Self::or)?;
                if !self.takes(&[")"]) {
                    return Err(self.expected("`)`"));
                }
                inner
            }
            Token::Sign("[") => Expression::List(self.list()?),
            Token::Name(name) => return self.named(name),
            _ => {
                self.at -= 1;
                return Err(self.expected("a value"));
            }
        };
        Ok(expression)
    }

    fn named(&mut self, name: &str) -> Result<Expression, BadExpression> {
        if matches!(self.peek(), Token::Sign("(")) {
            return self.call(name);
        }
        Ok(match name {
            "true" => Expression::Literal(Value::Bool(true)),
            "false" => Expression::Literal(Value::Bool(false)),
            "nil" => Expression::Literal(Value::Null),
            "severity" => Expression::Severity,
            "severity_text" => Expression::SeverityText,
            _ => match Root::named(name) {
                Some(root) => Expression::Root(root),
                None => {
                    self.at -= 1;
                    return Err(self.unbuilt(&format!("`{name}`")));
                }
            },
        })
    }

    fn call(&mut self, name: &str) -> Result<Expression, BadExpression> {
        let function = match name {
            "len" => Function::Len,
            "lower" => Function::Lower,
            "upper" => Function::Upper,
            _ => {
                self.at -= 1;
                return Err(self.unbuilt(&format!("the function `{name}`")));
            }
        };
        self.at += 1;
        let argument = self.deeper(Self::or)?;
        if !self.takes(&[")"]) {
            return Err(self.expected("`)`"));
        }
        Ok(Expression::Call(function, argument.into()))
    }

    fn list(&mut self) -> Result<Vec<Expression>, BadExpression> {
        let mut items = Vec::new();
        while !self.takes(&["]"]) {
            items.push(self.deeper(Self::or)?);
            if !self.takes(&[","]) && !matches!(self.peek(), Token::Sign("]")) {
                return Err(self.expected("`,` or `]`"));
            }
        }
        Ok(items)
    }
}

fn negated_if(is_negated: bool, expression: Expression) -> Expression {
    if is_negated { Expression::Not(expression.into()) } else { expression }
}

// === asking ===

impl Expression {
    /// Whether it holds for a record.
    pub(crate) fn holds(&self, entry: &Entry) -> Result<bool, NoAnswer> {
        match self.value(entry)?.as_ref() {
            Value::Bool(value) => Ok(*value),
            other => Err(NoAnswer::NotBool(other.kind())),
        }
    }

    /// What it gives for a record.
    pub(crate) fn value<'a>(&'a self, entry: &'a Entry) -> Result<Cow<'a, Value>, NoAnswer> {
        let truth = |value: bool| Ok(Cow::Owned(Value::Bool(value)));
        match self {
            Expression::Literal(value) => Ok(Cow::Borrowed(value)),
            Expression::List(items) => {
                let values: Result<Vec<_>, _> =
                    items.iter().map(|item| item.value(entry).map(Cow::into_owned)).collect();
                Ok(Cow::Owned(Value::Array(values?)))
            }
            Expression::Root(root) => Ok(Cow::Borrowed(root.of(entry))),
            Expression::Severity => Ok(Cow::Owned(Value::Int(i64::from(entry.severity_number)))),
            Expression::SeverityText => Ok(Cow::Owned(Value::String(entry.severity_text.clone()))),
            Expression::Member(of, key) => member(of.value(entry)?, key),
            Expression::Not(inner) => truth(!inner.holds(entry)?),
            Expression::And(left, right) => truth(left.holds(entry)? && right.holds(entry)?),
            Expression::Or(left, right) => truth(left.holds(entry)? || right.holds(entry)?),
            Expression::Matches(left, regex) => match left.value(entry)?.as_ref() {
                Value::String(text) => truth(regex.is_match(text)),
                other => Err(NoAnswer::Kind { operator: "matches", found: other.kind() }),
            },
            Expression::Compare(comparison, left, right) => {
                truth(compare(*comparison, left.value(entry)?.as_ref(), right.value(entry)?.as_ref())?)
            }
            Expression::Call(function, argument) => call(*function, argument.value(entry)?.as_ref()).map(Cow::Owned),
        }
    }
}

fn member<'a>(of: Cow<'a, Value>, key: &Value) -> Result<Cow<'a, Value>, NoAnswer> {
    let find = |of: &'a Value| match (of, key) {
        (Value::Map(values), Value::String(key)) => Ok(values.get(key)),
        (Value::Array(values), Value::Int(index)) => Ok(usize::try_from(*index).ok().and_then(|at| values.get(at))),
        // `?.` and `.` alike: what is not there has no members.
        (Value::Null, _) => Ok(None),
        (other, _) => Err(NoAnswer::Kind { operator: ".", found: other.kind() }),
    };
    match of {
        Cow::Borrowed(of) => Ok(find(of)?.map_or(Cow::Owned(Value::Null), Cow::Borrowed)),
        Cow::Owned(Value::Null) => Ok(Cow::Owned(Value::Null)),
        // Only what was computed is owned, and that has no members that a configuration would name.
        Cow::Owned(other) => Err(NoAnswer::Kind { operator: ".", found: other.kind() }),
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Result<bool, NoAnswer> {
    let texts = |operator: &'static str| match (left, right) {
        (Value::String(left), Value::String(right)) => Ok((left, right)),
        (Value::String(_), other) | (other, _) => Err(NoAnswer::Kind { operator, found: other.kind() }),
    };
    let order = |operator: &'static str| match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(Some(left.cmp(right))),
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => Ok(left.partial_cmp(&right)),
            (None, _) => Err(NoAnswer::Kind { operator, found: left.kind() }),
            _ => Err(NoAnswer::Kind { operator, found: right.kind() }),
        },
    };
    match comparison {
        Comparison::Equal => Ok(equal(left, right)),
        Comparison::Unequal => Ok(!equal(left, right)),
        Comparison::Less => order("<").map(|order| order == Some(Ordering::Less)),
        Comparison::LessOrEqual => order("<=").map(|order| order.is_some_and(Ordering::is_le)),
        Comparison::More => order(">").map(|order| order == Some(Ordering::Greater)),
        Comparison::MoreOrEqual => order(">=").map(|order| order.is_some_and(Ordering::is_ge)),
        Comparison::Contains => texts("contains").map(|(left, right)| left.contains(right.as_str())),
        Comparison::StartsWith => texts("startsWith").map(|(left, right)| left.starts_with(right.as_str())),
        Comparison::EndsWith => texts("endsWith").map(|(left, right)| left.ends_with(right.as_str())),
        Comparison::In => match (left, right) {
            (_, Value::Array(values)) => Ok(values.iter().any(|value| equal(left, value))),
            (Value::String(key), Value::Map(values)) => Ok(values.contains_key(key)),
            (_, Value::Null) => Ok(false),
            (_, other) => Err(NoAnswer::Kind { operator: "in", found: other.kind() }),
        },
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => number(left) == number(right),
        _ => left == right,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        _ => None,
    }
}

fn call(function: Function, argument: &Value) -> Result<Value, NoAnswer> {
    let wrong = |operator: &'static str| NoAnswer::Kind { operator, found: argument.kind() };
    match (function, argument) {
        (Function::Len, Value::String(text)) => Ok(count(text.chars().count())),
        (Function::Len, Value::Array(values)) => Ok(count(values.len())),
        (Function::Len, Value::Map(values)) => Ok(count(values.len())),
        (Function::Len, _) => Err(wrong("len")),
        (Function::Lower, Value::String(text)) => Ok(Value::String(text.to_lowercase())),
        (Function::Upper, Value::String(text)) => Ok(Value::String(text.to_uppercase())),
        (Function::Lower, _) => Err(wrong("lower")),
        (Function::Upper, _) => Err(wrong("upper")),
    }
}

fn count(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::entry::Field;
    use super::*;

    fn entry() -> Entry {
        let mut entry = Entry::new("ERROR: disk full".into(), 1);
        for (field, value) in [
            ("attributes.code", Value::Int(500)),
            ("attributes[\"http.method\"]", "GET".into()),
            ("attributes.list", Value::Array(vec![Value::Int(1), "two".into()])),
            ("attributes.user.name", "ann".into()),
            ("resource.host", "h1".into()),
        ] {
            Field::parse(field).unwrap().set(&mut entry, value).unwrap();
        }
        entry.severity_number = 17;
        entry
    }

    fn check(text: &str, expected: &str) {
        let found = match Expression::parse(text) {
            Err(error) => error.to_string(),
            Ok(expression) => {
                expression.holds(&entry()).map_or_else(|error| error.to_string(), |holds| holds.to_string())
            }
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_common_forms_hold_or_do_not() {
        for (text, expected) in [
            (r#"body matches "^ERROR""#, "true"),
            (r#"body matches '^INFO'"#, "false"),
            (r#"not (body matches "^INFO")"#, "true"),
            (r#"body not matches "^INFO""#, "true"),
            (r#"body contains "disk" and body startsWith "ERR" and body endsWith "full""#, "true"),
            ("attributes.code == 500", "true"),
            ("attributes.code == 500.0", "true"),
            ("attributes.code >= 400 && attributes.code < 500", "false"),
            ("attributes.code > 499 || false", "true"),
            (r#"attributes["http.method"] in ["GET", "HEAD"]"#, "true"),
            (r#"attributes["http.method"] not in ["GET", "HEAD"]"#, "false"),
            (r#""code" in attributes"#, "true"),
            ("attributes.missing == nil", "true"),
            ("attributes?.missing?.deeper != nil", "false"),
            ("attributes.list[1] == 'two'", "true"),
            ("attributes.list[7] == nil", "true"),
            ("attributes.user.name == \"ann\" && resource.host == `h1`", "true"),
            ("!(attributes.code == -1)", "true"),
            ("severity >= 17 and severity_text == ''", "true"),
            ("len(body) == 16 && lower(body) startsWith 'error'", "true"),
            ("true or body < 3", "true"),
            ("false or false and true or true", "true"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn what_does_not_go_together_has_no_answer() {
        check("body < 3", "`<` does not go with text");
        check("attributes matches 'x'", "`matches` does not go with a map");
        check("attributes.code", "the expression gives a number, not a boolean");
        check("body.x == 1", "`.` does not go with text");
        check("1 in 2", "`in` does not go with a number");
    }

    #[test]
    fn what_is_not_built_is_refused_with_its_place() {
        check("body matches body", "not built yet: `matches` with anything but a text on its right (at character 14)");
        check("env('HOME') == 'x'", "not built yet: the function `env` (at character 1)");
        check("timestamp == nil", "not built yet: `timestamp` (at character 1)");
        check("attributes.a + 1 == 2", "not built yet: `+` (at character 14)");
        check("true ? true : false", "not built yet: `?` (at character 6)");
        check("attributes[body] == 1", "not built yet: an index that is neither a text nor a number (at character 12)");
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        check("", "expected a value at character 1, found `the end`");
        check("body ==", "expected a value at character 8, found `the end`");
        check("(body == 'x'", "expected `)` at character 13, found `the end`");
        check("body == 'x", "expected the end of a text at character 9, found `'x`");
        check("body & 1", "expected a sign that is known at character 6, found `&`");
        assert!(Expression::parse("body matches '('").unwrap_err().to_string().contains("at character 14"));
        assert_eq!(Expression::parse(&"(".repeat(10_000)).unwrap_err(), BadExpression::TooDeep);
        assert_eq!(Expression::parse(&"!".repeat(10_000)).unwrap_err(), BadExpression::TooDeep);
        assert_eq!(Expression::parse(&format!("true{}", "||true".repeat(1000))).unwrap_err(), BadExpression::TooDeep);
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        let words =
            ["body", "attributes", ".", "[", "]", "\"a\"", "'", "matches", "in", "not", "(", ")", "==", "&&", "1", "é"];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let text: Vec<&str> = (0..random.usize(0..12)).map(|_| words[random.usize(0..words.len())]).collect();
            let text = text.join(if random.bool() { " " } else { "" });
            if let Ok(expression) = Expression::parse(&text) {
                let _ = expression.holds(&entry());
            }
        }
    }
}
