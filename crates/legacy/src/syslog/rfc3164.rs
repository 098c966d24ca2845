//! RFC 3164, "The BSD syslog Protocol": what has been seen in the field.

use super::reader::Reader;
use super::{Leading, Message, SyslogError, SyslogErrorKind, Zone, time};

/// Reads a message.
///
/// Its time has no year: the latest one that is no more than seven days ahead of `received_unix_ns`, the time of
/// receipt. It has no zone either: it is read in `zone`. A message without a host is told from its tag, which ends with
/// a colon.
///
/// # Errors
/// At the first thing that is wrong, with its place.
pub fn read<'a>(
    text: &'a str,
    leading: Leading,
    zone: &Zone,
    received_unix_ns: u64,
) -> Result<Message<'a>, SyslogError> {
    let mut reader = Reader::new(text);
    let priority = reader.priority(leading)?;
    let timestamp_unix_ns = time::read_old(&mut reader, zone, received_unix_ns)?;
    let mut message = Message { priority, timestamp_unix_ns, ..Message::default() };
    let error = reader.error(SyslogErrorKind::Header("a host"));
    if !reader.rest().split(' ').next().is_some_and(|word| word.ends_with(':')) {
        message.hostname = Some(reader.until(b" ")).filter(|host| !host.is_empty());
        if message.hostname.is_none() {
            return Err(error);
        }
        reader.skips(b' ');
    }
    let content = reader.rest();
    let (tag, text) = tagged(content).map_or((None, content), |(tag, text)| (Some(tag), text));
    message.appname = tag.map(|tag| tag.name);
    message.proc_id = tag.and_then(|tag| tag.process);
    message.message = Some(text);
    Ok(message)
}

#[derive(Clone, Copy)]
struct Tag<'a> {
    name: &'a str,
    process: Option<&'a str>,
}

/// `su: text`, `su[12]: text` and `su[12] text`.
fn tagged(content: &str) -> Option<(Tag<'_>, &str)> {
    let end = content.find([' ', ':', '['])?;
    let (name, rest) = content.split_at(end);
    if name.is_empty() {
        return None;
    }
    if let Some(rest) = rest.strip_prefix('[') {
        let (process, rest) = rest.split_once(']').filter(|(process, _)| !process.contains(' '))?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let text = rest.strip_prefix(' ').unwrap_or(rest);
        return Some((Tag { name, process: Some(process).filter(|process| !process.is_empty()) }, text));
    }
    // A colon within a word, as in `http://`, ends no tag.
    let rest = rest.strip_prefix(':').filter(|rest| rest.is_empty() || rest.starts_with(' '))?;
    Some((Tag { name, process: None }, rest.strip_prefix(' ').unwrap_or(rest)))
}
