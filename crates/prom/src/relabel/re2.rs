//! Regular expressions as Go spells them.
//!
//! Relabelling rules are written for Go's `regexp` (RE2 syntax). The `regex` crate matches in the same way (leftmost,
//! first alternative) and understands nearly the same syntax; what it reads differently is translated here: `\d`, `\w`,
//! `\s` and `\b` are ASCII, `\Q…\E`, octal escapes, braces and brackets that stand for themselves, and classes without
//! set operations.

use std::iter::Peekable;
use std::str::CharIndices;

/// A pattern that Go refuses too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("invalid escape sequence `\\{0}`")]
    Escape(char),
    #[error("a backslash at the end")]
    TrailingBackslash,
    #[error("missing closing `]`")]
    OpenClass,
    #[error("invalid character class range")]
    Range,
    #[error("invalid or unsupported group syntax `(?{0}`")]
    Group(String),
}

const DIGIT: &str = "[0-9]";
const NOT_DIGIT: &str = "[^0-9]";
const SPACE: &str = "[\\t\\n\\x0C\\r\\x20]";
const NOT_SPACE: &str = "[^\\t\\n\\x0C\\r\\x20]";
const WORD: &str = "[0-9A-Za-z_]";
const NOT_WORD: &str = "[^0-9A-Za-z_]";

/// The pattern in the syntax of the `regex` crate.
pub(super) fn translate(pattern: &str) -> Result<String, SyntaxError> {
    let mut translator = Translator { pattern, rest: pattern.char_indices().peekable(), out: String::new() };
    while let Some((at, character)) = translator.rest.next() {
        translator.outside(at, character)?;
    }
    Ok(translator.out)
}

struct Translator<'p> {
    pattern: &'p str,
    rest: Peekable<CharIndices<'p>>,
    out: String,
}

/// What an escape means.
enum Escape {
    Class(&'static str),
    Literal(char),
    /// A Unicode class such as `\pN` or `\p{Greek}`, as written.
    Unicode(String),
}

impl Translator<'_> {
    fn outside(&mut self, at: usize, character: char) -> Result<(), SyntaxError> {
        match character {
            '\\' => self.escape_outside(),
            '[' => self.class(),
            '{' => {
                match repetition(&self.pattern[at..]) {
                    Some(repetition) => {
                        self.out.push_str(repetition);
                        self.skip(repetition.len() - 1);
                    }
                    None => self.literal('{'),
                }
                Ok(())
            }
            '}' | ']' => {
                self.literal(character);
                Ok(())
            }
            '(' => self.group(at),
            _ => {
                self.out.push(character);
                Ok(())
            }
        }
    }

    fn group(&mut self, at: usize) -> Result<(), SyntaxError> {
        self.out.push('(');
        let Some(inner) = self.pattern[at..].strip_prefix("(?") else { return Ok(()) };
        if inner.starts_with("P<") || inner.starts_with('<') {
            return Ok(());
        }
        let flags = inner.split([':', ')']).next().unwrap_or(inner);
        let known = flags.chars().all(|flag| "imsU-".contains(flag));
        if known { Ok(()) } else { Err(SyntaxError::Group(flags.chars().take(10).collect())) }
    }

    fn escape_outside(&mut self) -> Result<(), SyntaxError> {
        let Some((_, character)) = self.rest.peek().copied() else { return Err(SyntaxError::TrailingBackslash) };
        let verbatim = match character {
            'A' => "\\A",
            'z' => "\\z",
            'b' => "(?-u:\\b)",
            'B' => "(?-u:\\B)",
            'Q' => {
                self.rest.next();
                self.quotation();
                return Ok(());
            }
            _ => "",
        };
        if !verbatim.is_empty() {
            self.rest.next();
            self.out.push_str(verbatim);
            return Ok(());
        }
        match self.escape()? {
            Escape::Class(class) => self.out.push_str(class),
            Escape::Unicode(class) => self.out.push_str(&class),
            Escape::Literal(literal) => self.literal(literal),
        }
        Ok(())
    }

    /// `\Q…\E`: everything between stands for itself.
    fn quotation(&mut self) {
        let start = self.rest.peek().map_or(self.pattern.len(), |(at, _)| *at);
        let quoted = &self.pattern[start..];
        let (text, length) = match quoted.find("\\E") {
            Some(end) => (&quoted[..end], end + 2),
            None => (quoted, quoted.len()),
        };
        for character in text.chars() {
            self.literal(character);
        }
        self.skip(length);
    }

    /// An escape that means the same inside and outside of a class, the cursor behind its backslash.
    fn escape(&mut self) -> Result<Escape, SyntaxError> {
        let Some((at, character)) = self.rest.next() else { return Err(SyntaxError::TrailingBackslash) };
        Ok(match character {
            'd' => Escape::Class(DIGIT),
            'D' => Escape::Class(NOT_DIGIT),
            's' => Escape::Class(SPACE),
            'S' => Escape::Class(NOT_SPACE),
            'w' => Escape::Class(WORD),
            'W' => Escape::Class(NOT_WORD),
            'p' | 'P' => Escape::Unicode(self.unicode_class(at)),
            'a' => Escape::Literal('\x07'),
            'f' => Escape::Literal('\x0c'),
            'n' => Escape::Literal('\n'),
            'r' => Escape::Literal('\r'),
            't' => Escape::Literal('\t'),
            'v' => Escape::Literal('\x0b'),
            'x' => Escape::Literal(self.hexadecimal(at)?),
            '0'..='7' => Escape::Literal(self.octal(at, character)?),
            _ if character.is_ascii() && !character.is_ascii_alphanumeric() => Escape::Literal(character),
            _ => return Err(SyntaxError::Escape(character)),
        })
    }

    fn unicode_class(&mut self, at: usize) -> String {
        let written = &self.pattern[at..];
        let length = match written.as_bytes().get(1) {
            Some(b'{') => written.find('}').map_or(written.len(), |end| end + 1),
            _ => 1 + written[1..].chars().next().map_or(0, char::len_utf8),
        };
        self.skip(length - 1);
        format!("\\{}", &written[..length])
    }

    fn hexadecimal(&mut self, at: usize) -> Result<char, SyntaxError> {
        let written = &self.pattern[at + 1..];
        let (digits, length) = match written.strip_prefix('{') {
            Some(inner) => {
                let end = inner.find('}').ok_or(SyntaxError::Escape('x'))?;
                (&inner[..end], end + 2)
            }
            None => (written.get(..2).ok_or(SyntaxError::Escape('x'))?, 2),
        };
        self.skip(length);
        let all_digits = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| all_digits);
        code.and_then(char::from_u32).ok_or(SyntaxError::Escape('x'))
    }

    /// A zero with up to two more octal digits, or two or three octal digits: one alone would be a reference back.
    fn octal(&mut self, at: usize, first: char) -> Result<char, SyntaxError> {
        let digits: String =
            self.pattern[at..].chars().take(3).take_while(|digit| matches!(digit, '0'..='7')).collect();
        if first != '0' && digits.len() == 1 {
            return Err(SyntaxError::Escape(first));
        }
        self.skip(digits.len() - 1);
        let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
        char::from_u32(code).ok_or(SyntaxError::Escape(first))
    }

    /// A character class, the cursor behind its opening bracket.
    fn class(&mut self) -> Result<(), SyntaxError> {
        self.out.push('[');
        if self.rest.next_if(|(_, next)| *next == '^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            let Some((at, character)) = self.rest.peek().copied() else { return Err(SyntaxError::OpenClass) };
            if character == ']' && !is_first {
                self.rest.next();
                self.out.push(']');
                return Ok(());
            }
            is_first = false;
            if let Some(posix) = posix_class(&self.pattern[at..])? {
                self.out.push_str(posix);
                self.skip(posix.len());
                continue;
            }
            self.class_item()?;
        }
    }

    /// One character, one range, or one class within a class.
    fn class_item(&mut self) -> Result<(), SyntaxError> {
        let from = match self.class_character()? {
            Escape::Class(class) => {
                self.out.push_str(class);
                return Ok(());
            }
            Escape::Unicode(class) => {
                self.out.push_str(&class);
                return Ok(());
            }
            Escape::Literal(literal) => literal,
        };
        self.literal(from);
        let is_range = self.rest.peek().is_some_and(|(at, next)| {
            *next == '-' && !matches!(self.pattern[at + 1..].chars().next(), None | Some(']'))
        });
        if !is_range {
            return Ok(());
        }
        self.rest.next();
        match self.class_character()? {
            Escape::Literal(to) if to >= from => {
                self.out.push('-');
                self.literal(to);
                Ok(())
            }
            _ => Err(SyntaxError::Range),
        }
    }

    fn class_character(&mut self) -> Result<Escape, SyntaxError> {
        match self.rest.next() {
            Some((_, '\\')) => self.escape(),
            Some((_, character)) => Ok(Escape::Literal(character)),
            None => Err(SyntaxError::OpenClass),
        }
    }

    fn skip(&mut self, bytes: usize) {
        let Some((start, _)) = self.rest.peek().copied() else { return };
        while self.rest.next_if(|(at, _)| *at < start + bytes).is_some() {}
    }

    fn literal(&mut self, character: char) {
        if character.is_ascii() && !character.is_ascii_alphanumeric() {
            self.out.push_str(&format!("\\x{:02X}", character as u32));
        } else {
            self.out.push(character);
        }
    }
}

/// `{n}`, `{n,}` or `{n,m}` at the start of a text. Any other brace stands for itself.
fn repetition(text: &str) -> Option<&str> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let (from, to) = inner.split_once(',').unwrap_or((inner, inner));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!from.is_empty() && digits(from) && digits(to)).then(|| &text[..=end])
}

/// `[:alpha:]` and its like at the start of a text.
fn posix_class(text: &str) -> Result<Option<&str>, SyntaxError> {
    const NAMES: &str = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit";
    let Some(inner) = text.strip_prefix("[:") else { return Ok(None) };
    let Some(end) = inner.find(":]") else { return Ok(None) };
    let name = inner[..end].strip_prefix('^').unwrap_or(&inner[..end]);
    let known = NAMES.split(' ').any(|known| known == name);
    if known { Ok(Some(&text[..end + 4])) } else { Err(SyntaxError::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, yes: &[&str], no: &[&str]) {
        let translated = translate(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let regex = regex::Regex::new(&format!("^(?s:{translated})$"))
            .unwrap_or_else(|error| panic!("{pattern} became {translated}: {error}"));
        for text in yes {
            assert!(regex.is_match(text), "{pattern} must match {text:?}");
        }
        for text in no {
            assert!(!regex.is_match(text), "{pattern} must not match {text:?}");
        }
    }

    fn refuses(pattern: &str) {
        assert!(translate(pattern).is_err(), "{pattern} must be refused");
    }

    #[test]
    fn perl_classes_are_ascii() {
        matches("\\d+", &["12"], &["١٢"]);
        matches("\\w+", &["a_1"], &["é"]);
        matches("a\\sb", &["a b", "a\nb", "a\x0cb"], &["a\u{a0}b"]);
        matches("\\W", &["é", "-"], &["a"]);
        matches("[\\d.]+", &["1.2"], &["١"]);
        matches("[^\\W]", &["a"], &["é", "-"]);
        matches(".*\\bé.*", &["aé"], &["é"]);
    }

    #[test]
    fn braces_and_brackets_that_mean_nothing_stand_for_themselves() {
        matches("a{b}", &["a{b}"], &["ab"]);
        matches("a{2}", &["aa"], &["a{2}"]);
        matches("a{,2}", &["a{,2}"], &["aa"]);
        matches("a]b}", &["a]b}"], &[]);
        matches("{{.+}}", &["{{x}}"], &["x"]);
        matches("[[]a[]]", &["[a]"], &[]);
        matches("[]-a]+", &["]^_`a"], &["-"]);
    }

    #[test]
    fn classes_have_no_set_operations() {
        matches("[a&&b]+", &["a&b"], &[]);
        matches("[+--b]+", &["+,-b"], &["."]);
        matches("[a~~b]+", &["~ab"], &[]);
        matches("[a-c-e]+", &["abc-e"], &["d"]);
        matches("[[:alpha:]_[:digit:]]+", &["a_1"], &["-"]);
        matches("[[a]", &["[", "a"], &[]);
    }

    #[test]
    fn quotations_and_numeric_escapes_are_understood() {
        matches("\\Qa.b*\\E.", &["a.b*c"], &["axb*c"]);
        matches("\\Qa.b", &["a.b"], &["axb"]);
        matches("\\101\\x41\\x{42}\\0", &["AAB\0"], &[]);
        matches("\\<\\>\\-\\/\\_", &["<>-/_"], &[]);
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "\\1",
            "\\8",
            "\\y",
            "\\",
            "[a",
            "[b-a]",
            "[a--b]",
            "[a-\\d]",
            "[[:nope:]]",
            "(?x)a",
            "\\xg0",
            "\\C",
            "\\é",
        ] {
            refuses(pattern);
        }
    }
}
