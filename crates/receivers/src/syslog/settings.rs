//! The Collector's options of the receiver.

use std::time::Duration;

use config::Section;
use config::shapes::TlsServer;
use legacy::syslog::{Leading, Zone};
use transport::configured;
use transport::datagram::DatagramSettings;
use transport::endpoint::Endpoint;
use transport::stream::{Framing, StreamSettings};

use super::lines::{Meaning, OnError, Origins, Protocol, Trim, Values, Voice};
use crate::operators::{Operators, Value};

/// As in the Collector.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Each may hold a message of full length.
const CONNECTIONS_MAX: u64 = 1000;

pub(super) struct TcpSettings {
    pub(super) endpoint: Endpoint,
    pub(super) stream: StreamSettings,
    pub(super) framing: Framing,
    pub(super) message_bytes_max: usize,
    pub(super) origins: Origins,
    pub(super) trim: Trim,
}

pub(super) struct UdpSettings {
    pub(super) endpoint: Endpoint,
    pub(super) datagrams: DatagramSettings,
    pub(super) origins: Origins,
    pub(super) trim: Trim,
}

/// Where a stream's messages end.
#[derive(Clone, Copy)]
struct Frames {
    framing: Framing,
    /// `max_octets`.
    octets_max: Option<usize>,
}

pub(super) fn read(section: &mut Section<'_>) -> Option<(Option<TcpSettings>, Option<UdpSettings>, Meaning)> {
    let meaning = read_meaning(section);
    let frames = read_framing(section);
    let tcp = section.child_if_present("tcp", |tcp| read_tcp(tcp, frames));
    let udp = section.child_if_present("udp", read_udp);
    section.without_effect("retry_on_failure", "the receiver waits for room as long as it takes, and never drops");
    section.unsupported("storage", "a receiver of syslog has nothing to keep");
    match (&tcp, &udp) {
        (None, None) => section.fail("expected a transport: `tcp:` or `udp:`"),
        (None, Some(_)) if frames.framing != Framing::Lines => {
            section.error("enable_octet_counting", "is for `tcp` only: a datagram is a message");
        }
        _ => {}
    }
    Some((tcp.flatten(), udp.flatten(), meaning?))
}

fn read_meaning(section: &mut Section<'_>) -> Option<Meaning> {
    let zone = section.get("location").parse_with("a time zone such as `UTC` or `America/New_York`", |name| {
        Zone::named(name).ok_or("neither this machine nor Crossfade knows it")
    });
    let zone = zone.or(Zone::UTC);
    let protocols = [
        ("rfc3164", Protocol::Rfc3164(zone.clone())),
        ("RFC3164", Protocol::Rfc3164(zone)),
        ("rfc5424", Protocol::Rfc5424),
        ("RFC5424", Protocol::Rfc5424),
    ];
    let protocol = section.get("protocol").one_of(&protocols).required();
    let leading = match section.get("allow_skip_pri_header").bool().or(false) {
        true => Leading::OptionalPriority,
        false => Leading::Priority,
    };
    let choices = [
        ("send", OnError::Send(Voice::Loud)),
        ("send_quiet", OnError::Send(Voice::Quiet)),
        ("drop", OnError::Drop(Voice::Loud)),
        ("drop_quiet", OnError::Drop(Voice::Quiet)),
    ];
    let on_error = section.get("on_error").one_of(&choices).or(OnError::Send(Voice::Loud));
    let attributes = read_constants(section, "attributes");
    let resource = read_constants(section, "resource");
    let operators = Operators::read(section);
    if operators.can_hold() {
        // Nobody could give again what is held back here.
        section.error("operators", "`recombine` and `container` are not built yet here: a message is a record");
    }
    Some(Meaning { protocol: protocol?, leading, on_error, attributes, resource, operators })
}

/// Attributes that every record gets.
fn read_constants(section: &mut Section<'_>, key: &'static str) -> Values {
    let pairs = section.get(key).string_map().or_default();
    if pairs.iter().any(|(_, value)| value.starts_with("EXPR(")) {
        section.error(key, "expressions are not built yet here; the operator `add` takes them");
    }
    pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

fn read_framing(section: &mut Section<'_>) -> Frames {
    let octets_max = section.get("max_octets").integer::<usize>().range(1..).optional();
    let is_counted = section.get("enable_octet_counting").bool().or(false);
    let trailer = section.get("non_transparent_framing_trailer").one_of(&[("LF", true), ("NUL", false)]).optional();
    if trailer == Some(false) {
        section.error("non_transparent_framing_trailer", "not built yet: messages that end with NUL");
    }
    if is_counted && trailer.is_some() {
        section.error("enable_octet_counting", "and `non_transparent_framing_trailer` exclude each other");
    }
    if is_counted && section.get("allow_skip_pri_header").bool().or(false) {
        section.error("allow_skip_pri_header", "and `enable_octet_counting` exclude each other");
    }
    if octets_max.is_some() && !is_counted {
        section.warning("max_octets", "has no effect without `enable_octet_counting`");
    }
    // Senders are known that count some messages and not others, so both are understood then.
    let framing = if is_counted { Framing::OctetCountedOrLines } else { Framing::Lines };
    Frames { framing, octets_max: octets_max.filter(|_| is_counted) }
}

fn read_tcp(section: &mut Section<'_>, frames: Frames) -> Option<TcpSettings> {
    let endpoint = read_address(section);
    let tls = section.child_if_present("tls", TlsServer::read);
    let tls = tls.and_then(|shape| match configured::server_tls(&shape) {
        Ok(tls) => Some(tls),
        Err(message) => {
            section.error("tls", message);
            None
        }
    });
    let message_bytes_max = section.get("max_log_size").bytes().range(1..=1 << 30).or(MESSAGE_BYTES_MAX);
    let connections = section.get("max_connections").integer::<u64>().or(0);
    let idle_timeout = section.get("connection_idle_timeout").duration().or(Duration::ZERO);
    section.unsupported("max_buffer_size", "it was renamed: `max_log_size`");
    section.unsupported("one_log_per_packet", "a connection of syslog carries many messages");
    let (origins, trim) = read_common(section);
    Some(TcpSettings {
        endpoint: endpoint?,
        stream: StreamSettings {
            tls,
            connections_max: if connections == 0 { CONNECTIONS_MAX } else { connections } as usize,
            idle_timeout: Some(idle_timeout).filter(|timeout| !timeout.is_zero()),
            ..StreamSettings::default()
        },
        framing: frames.framing,
        message_bytes_max: frames.octets_max.unwrap_or(message_bytes_max as usize),
        origins,
        trim,
    })
}

fn read_udp(section: &mut Section<'_>) -> Option<UdpSettings> {
    let endpoint = read_address(section);
    // A datagram always is one message, so both values mean the same.
    let _ = section.get("one_log_per_packet").bool().optional();
    let readers = section.child("async", |section| {
        section.without_effect("processors", "messages are processed where they are read");
        section.without_effect("max_queue_length", "there is no queue but the kernel's");
        section.get("readers").integer::<usize>().range(1..=256).or(1)
    });
    let receive_buffer_bytes = section.get("receive_buffer_size").bytes().range(1..=1 << 30).optional();
    let (origins, trim) = read_common(section);
    let receive_buffer_bytes = receive_buffer_bytes.map(|bytes| bytes as usize);
    let datagrams = DatagramSettings { readers, receive_buffer_bytes, ..DatagramSettings::default() };
    Some(UdpSettings { endpoint: endpoint?, datagrams, origins, trim })
}

fn read_address(section: &mut Section<'_>) -> Option<Endpoint> {
    let address = section.get("listen_address");
    address.parse_with("an address such as `localhost:54526`", Endpoint::parse).required()
}

fn read_common(section: &mut Section<'_>) -> (Origins, Trim) {
    let origins = match section.get("add_attributes").bool().or(false) {
        true => Origins::Told,
        false => Origins::Untold,
    };
    let mut preserves = |key| section.get(key).bool().or(false);
    let trim = Trim {
        leading: !preserves("preserve_leading_whitespaces"),
        trailing: !preserves("preserve_trailing_whitespaces"),
    };
    let _ = section.get("encoding").one_of(&[("utf-8", ()), ("UTF-8", ()), ("utf8", ()), ("", ())]).optional();
    section.unsupported("multiline", "other ends of messages than those of syslog");
    section.unsupported("proxy_protocol", "addresses told by a proxy");
    (origins, trim)
}
