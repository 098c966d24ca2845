//! DogStatsD's events and service checks, and what it says about who sent a line.
//!
//! `_e{title bytes,text bytes}:title|text|fields` and `_sc|name|status|fields`, as
//! <https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/> has them.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::line::dogstatsd_tags;
use super::malformed::Malformed;
use super::settings::Toggle;
use super::shard::tag_attributes;

/// Attributes that are put together.
pub(super) type Attributes<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) alert_type: AlertType,
    /// When it happened, if it says so.
    pub(super) time_ns: Option<u64>,
    pub(super) observed_ns: u64,
    pub(super) attributes: Vec<(String, String)>,
}

/// What a log record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Event,
    ServiceCheck,
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlertType {
    Info,
    Success,
    Warning,
    Error,
}

/// A service check.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServiceCheck {
    pub(super) name: String,
    pub(super) status: u8,
    pub(super) message: String,
    /// When it was made, if it says so.
    pub(super) time_ns: Option<u64>,
    pub(super) observed_ns: u64,
    pub(super) attributes: Vec<(String, String)>,
}

/// Reads a line that begins with `_e{`.
pub(super) fn parse_event(line: &[u8], simple_tags: Toggle, now_ns: u64) -> Result<Event, Malformed> {
    let (title, text, fields) = split_event(line).ok_or(Malformed::Event)?;
    if title.is_empty() {
        return Err(Malformed::Event);
    }
    let mut event = Event {
        kind: EventKind::Event,
        title: unescape(title),
        text: unescape(text),
        alert_type: AlertType::Info,
        time_ns: None,
        observed_ns: now_ns,
        attributes: Vec::new(),
    };
    let mut attributes = Attributes::new();
    let mut origin = Origin::default();
    for field in fields {
        match field {
            [b'd', b':', time @ ..] => event.time_ns = parse_time(time),
            [b'h', b':', host @ ..] => push(&mut attributes, "host.name", host),
            [b'k', b':', key @ ..] => push(&mut attributes, "dogstatsd.event.aggregation_key", key),
            [b'p', b':', priority @ ..] => push(&mut attributes, "dogstatsd.event.priority", priority),
            [b's', b':', source @ ..] => push(&mut attributes, "dogstatsd.event.source_type_name", source),
            [b't', b':', alert_type @ ..] => event.alert_type = AlertType::parse(alert_type),
            [b'#', tags @ ..] => attributes.extend(tag_attributes(dogstatsd_tags(tags), simple_tags)?),
            field => origin.field(field),
        }
    }
    origin.attributes(&mut attributes);
    event.attributes = unique(attributes);
    Ok(event)
}

/// Title, text, and the fields behind them.
fn split_event(line: &[u8]) -> Option<(&[u8], &[u8], impl Iterator<Item = &[u8]>)> {
    let lengths = line.strip_prefix(b"_e{")?;
    let close = memchr(b'}', lengths)?;
    let body = lengths[close + 1..].strip_prefix(b":")?;
    let comma = memchr(b',', &lengths[..close])?;
    let title_len = parse_length(&lengths[..comma])?;
    let text_len = parse_length(&lengths[comma + 1..close])?;
    let title = body.get(..title_len)?;
    let behind = body.get(title_len..)?.strip_prefix(b"|")?;
    let text = behind.get(..text_len)?;
    let rest = behind.get(text_len..)?;
    if rest.first().is_some_and(|&byte| byte != b'|') {
        return None;
    }
    Some((title, text, rest.split(|&byte| byte == b'|').skip(1)))
}

fn parse_length(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads a line that begins with `_sc|`.
pub(super) fn parse_service_check(line: &[u8], simple_tags: Toggle, now_ns: u64) -> Result<ServiceCheck, Malformed> {
    let body = line.strip_prefix(b"_sc|").ok_or(Malformed::ServiceCheck)?;
    // The message stands last and may have anything in it.
    let (body, message) = match memmem::find(body, b"|m:") {
        Some(at) => (&body[..at], &body[at + 3..]),
        None => (body, &[][..]),
    };
    let mut fields = body.split(|&byte| byte == b'|');
    let name = fields.next().filter(|name| !name.is_empty()).ok_or(Malformed::ServiceCheck)?;
    let status = match fields.next() {
        Some([digit @ b'0'..=b'3']) => digit - b'0',
        _ => return Err(Malformed::ServiceCheck),
    };
    let mut check = ServiceCheck {
        name: String::from_utf8_lossy(name).into_owned(),
        status,
        message: unescape(message).replace("m\\:", "m:"),
        time_ns: None,
        observed_ns: now_ns,
        attributes: Vec::new(),
    };
    let mut attributes = Attributes::new();
    let mut origin = Origin::default();
    for field in fields {
        match field {
            [b'd', b':', time @ ..] => check.time_ns = parse_time(time),
            [b'h', b':', host @ ..] => push(&mut attributes, "host.name", host),
            [b'#', tags @ ..] => attributes.extend(tag_attributes(dogstatsd_tags(tags), simple_tags)?),
            field => origin.field(field),
        }
    }
    origin.attributes(&mut attributes);
    check.attributes = unique(attributes);
    Ok(check)
}

/// The fields that say who sent a line.
#[derive(Default)]
struct Origin<'a> {
    container_id: Option<&'a [u8]>,
    external_data: Option<&'a [u8]>,
    cardinality: Option<&'a [u8]>,
}

impl<'a> Origin<'a> {
    fn field(&mut self, field: &'a [u8]) {
        match field {
            [b'c', b':', id @ ..] => self.container_id = Some(id),
            [b'e', b':', data @ ..] => self.external_data = Some(data),
            [b'c', b'a', b'r', b'd', b':', cardinality @ ..] => self.cardinality = Some(cardinality),
            _ => {}
        }
    }

    fn attributes(&self, attributes: &mut Attributes<'a>) {
        origin_attributes(self.container_id, self.external_data, self.cardinality, attributes);
    }
}

/// Container id, external data and cardinality as attributes, under OpenTelemetry's names where it has some.
pub(super) fn origin_attributes<'a>(
    container_id: Option<&'a [u8]>,
    external_data: Option<&'a [u8]>,
    cardinality: Option<&'a [u8]>,
    attributes: &mut Attributes<'a>,
) {
    match container_id.unwrap_or_default() {
        // Protocol 1.4: the inode of the cgroup, for clients that cannot see their container's id.
        [b'i', b'n', b'-', inode @ ..] => push(attributes, "dogstatsd.cgroup.inode", inode),
        [b'c', b'i', b'-', id @ ..] | id => push(attributes, "container.id", id),
    }
    if let Some(data) = external_data {
        for item in data.split(|&byte| byte == b',') {
            match item {
                [b'c', b'n', b'-', name @ ..] => push(attributes, "k8s.container.name", name),
                [b'p', b'u', b'-', uid @ ..] => push(attributes, "k8s.pod.uid", uid),
                // `it-`: whether it is an init container, for which there is no name.
                _ => {}
            }
        }
    }
    push(attributes, "dogstatsd.cardinality", cardinality.unwrap_or_default());
}

fn push<'a>(attributes: &mut Attributes<'a>, key: &'static str, value: &'a [u8]) {
    if !value.is_empty() {
        attributes.push((Cow::Borrowed(key), String::from_utf8_lossy(value)));
    }
}

fn unique(attributes: Attributes<'_>) -> Vec<(String, String)> {
    let mut attributes = attributes;
    super::series::sort_attributes(&mut attributes);
    attributes.into_iter().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// A line cannot hold a line break, so that clients write `\n`.
fn unescape(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\\n", "\n")
}

/// Seconds since the Unix epoch; what is none is passed over, as the Agent does.
fn parse_time(text: &[u8]) -> Option<u64> {
    let seconds: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    seconds.checked_mul(1_000_000_000).filter(|&time_ns| time_ns > 0)
}

// === impl Event ===

impl Event {
    /// About what it takes in memory, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        size_of::<Event>() + self.title.len() + self.text.len() + attributes
    }
}

// === impl ServiceCheck ===

impl ServiceCheck {
    /// What the check says, as an event, if it says anything.
    pub(super) fn message_event(&self) -> Option<Event> {
        if self.message.is_empty() {
            return None;
        }
        let alert_type = match self.status {
            0 => AlertType::Success,
            1 => AlertType::Warning,
            2 => AlertType::Error,
            _ => AlertType::Info,
        };
        Some(Event {
            kind: EventKind::ServiceCheck,
            title: self.name.clone(),
            text: self.message.clone(),
            alert_type,
            time_ns: self.time_ns,
            observed_ns: self.observed_ns,
            attributes: self.attributes.clone(),
        })
    }
}

// === impl AlertType ===

impl AlertType {
    /// What is not known means `info`, as for the Agent.
    fn parse(text: &[u8]) -> AlertType {
        match text {
            b"error" => AlertType::Error,
            b"warning" => AlertType::Warning,
            b"success" => AlertType::Success,
            _ => AlertType::Info,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            AlertType::Info => "info",
            AlertType::Success => "success",
            AlertType::Warning => "warning",
            AlertType::Error => "error",
        }
    }

    /// The severity number of OpenTelemetry's logs.
    pub(super) fn severity(self) -> i32 {
        match self {
            AlertType::Info | AlertType::Success => 9,
            AlertType::Warning => 13,
            AlertType::Error => 17,
        }
    }
}
