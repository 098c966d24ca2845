//! A message from left to right.

use super::{Leading, Priority, SyslogError, SyslogErrorKind};

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0 }
    }

    pub(super) const fn error(&self, kind: SyslogErrorKind) -> SyslogError {
        SyslogError { offset: self.at, kind }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over ASCII bytes, which the caller has seen.
    pub(super) const fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Steps over `byte`, if it is there.
    pub(super) fn skips(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Everything up to one of `ends`, which are ASCII, or to the end of the message.
    pub(super) fn until(&mut self, ends: &[u8]) -> &'a str {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| ends.contains(&byte)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A number of so many digits at least and at most.
    pub(super) fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.rest().bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < least {
            return None;
        }
        // Ten digits at most are ever asked for.
        let number = self.rest()[..digits].parse().ok()?;
        self.at += digits;
        Some(number)
    }

    /// A word and the space behind it.
    pub(super) fn word(&mut self, what: &'static str) -> Result<&'a str, SyslogError> {
        let start = self.at;
        let word = self.until(b" ");
        if word.is_empty() || !self.skips(b' ') {
            return Err(SyslogError { offset: start, kind: SyslogErrorKind::Header(what) });
        }
        Ok(word)
    }

    pub(super) fn priority(&mut self, leading: Leading) -> Result<Option<Priority>, SyslogError> {
        if leading == Leading::OptionalPriority && self.peek() != Some(b'<') {
            return Ok(None);
        }
        let error = self.error(SyslogErrorKind::Priority);
        if !self.skips(b'<') {
            return Err(error);
        }
        let is_padded = self.rest().starts_with('0') && !self.rest().starts_with("0>");
        let number = self.digits(1, 3).filter(|_| !is_padded).and_then(|number| u8::try_from(number).ok());
        let priority = number.and_then(Priority::new).ok_or(error)?;
        if self.skips(b'>') { Ok(Some(priority)) } else { Err(error) }
    }
}
