//! RFC 5424.

use std::borrow::Cow;

use super::reader::Reader;
use super::{Element, Leading, Message, SyslogError, SyslogErrorKind, time};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a message.
///
/// # Errors
/// At the first thing that is wrong, with its place.
pub fn read(text: &str, leading: Leading) -> Result<Message<'_>, SyslogError> {
    let mut reader = Reader::new(text);
    let priority = reader.priority(leading)?;
    let version_error = reader.error(SyslogErrorKind::Version);
    let version = reader.digits(1, 3).filter(|version| *version > 0).and_then(|version| u16::try_from(version).ok());
    let version = version.filter(|_| reader.skips(b' ')).ok_or(version_error)?;
    let mut message = Message { priority, version: Some(version), ..Message::default() };
    message.timestamp_unix_ns = time::read_new(&mut reader)?;
    message.hostname = given(reader.word("a host")?);
    message.appname = given(reader.word("the name of a program")?);
    message.proc_id = given(reader.word("the id of a process")?);
    message.msg_id = given(reader.word("the id of a message")?);
    message.structured_data = structured_data(&mut reader)?;
    if reader.skips(b' ') {
        let text = reader.rest();
        message.message = Some(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text));
    } else if !reader.rest().is_empty() {
        return Err(reader.error(SyslogErrorKind::StructuredData("a space or the end")));
    }
    Ok(message)
}

/// `-` stands for nothing.
fn given(word: &str) -> Option<&str> {
    Some(word).filter(|word| *word != "-")
}

fn structured_data<'a>(reader: &mut Reader<'a>) -> Result<Vec<Element<'a>>, SyslogError> {
    if reader.skips(b'-') {
        return Ok(Vec::new());
    }
    if reader.peek() != Some(b'[') {
        return Err(reader.error(SyslogErrorKind::StructuredData("`-` or the `[`")));
    }
    let mut elements = Vec::new();
    while reader.skips(b'[') {
        elements.push(element(reader)?);
    }
    Ok(elements)
}

/// An element, from its id to its bracket.
fn element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, SyslogError> {
    let id = name(reader, "an id")?;
    let mut params = Vec::new();
    loop {
        if reader.skips(b']') {
            return Ok(Element { id, params });
        }
        if !reader.skips(b' ') {
            return Err(reader.error(SyslogErrorKind::StructuredData("a space or the `]`")));
        }
        // Some senders leave a space before the bracket.
        if reader.peek() == Some(b']') {
            continue;
        }
        let name = name(reader, "the name of a parameter")?;
        if !reader.skips(b'=') {
            return Err(reader.error(SyslogErrorKind::StructuredData("the `=` behind the name of a parameter")));
        }
        if !reader.skips(b'"') {
            return Err(reader.error(SyslogErrorKind::StructuredData("a quoted value")));
        }
        params.push((name, value(reader)?));
    }
}

fn name<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a str, SyslogError> {
    let error = reader.error(SyslogErrorKind::StructuredData(what));
    Some(reader.until(b" =]\"")).filter(|name| !name.is_empty()).ok_or(error)
}

/// A value, from behind its opening quote to its closing one. Section 6.3.3: `"`, `\` and `]` are escaped by a
/// backslash, and before any other character a backslash stands for itself.
fn value<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, SyslogError> {
    let mut value = Cow::Borrowed("");
    loop {
        let plain = reader.until(b"\"\\]");
        // Most values are one piece.
        if value.is_empty() {
            value = Cow::Borrowed(plain);
        } else {
            value.to_mut().push_str(plain);
        }
        match reader.peek() {
            Some(b'"') => {
                reader.skip(1);
                return Ok(value);
            }
            Some(b'\\') => {
                reader.skip(1);
                let escaped = reader.peek().filter(|byte| matches!(byte, b'"' | b'\\' | b']'));
                value.to_mut().push(escaped.map_or('\\', char::from));
                reader.skip(usize::from(escaped.is_some()));
            }
            Some(_) => {
                return Err(reader.error(SyslogErrorKind::StructuredData("a backslash before the `]` in a value")));
            }
            None => return Err(reader.error(SyslogErrorKind::StructuredData("the closing quote of a value"))),
        }
    }
}
