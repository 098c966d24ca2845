//! What the configuration says of sockets; what it says of lines is read by `aggregation`.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use aggregation::statsd::{self as lines, Mappings};
use config::{SOURCE_BYTES_MAX, Section, shapes};
use transport::configured;
use transport::datagram::DatagramSettings;
use transport::endpoint::Endpoint;
use transport::stream::StreamSettings;

use crate::shared::local;

const PORT: u16 = 8125;
const READERS_MAX: usize = 256;
const RECEIVE_BUFFER_BYTES: u64 = 4 << 20;
const PACKET_BYTES_MAX: u64 = 65_535;
/// What a stream may say at once, or a unix datagram.
const PACKET_BYTES_LIMIT: u64 = 16 << 20;

/// What the receiver runs on.
pub(super) struct StatsdSettings {
    pub(super) socket: Socket,
    /// As the label of counters.
    pub(super) transport: &'static str,
    pub(super) aggregation: Arc<lines::Settings>,
}

/// Where lines come from.
pub(super) enum Socket {
    Datagrams {
        endpoint: Endpoint,
        family: Family,
        settings: DatagramSettings,
        permissions: Option<u32>,
    },
    Streams {
        endpoint: Endpoint,
        family: Family,
        settings: StreamSettings,
        framing: StreamFraming,
        frame_bytes_max: usize,
        permissions: Option<u32>,
    },
}

/// Which addresses of a name count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

/// How a stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamFraming {
    /// As the first bytes of each connection show.
    Auto,
    Newline,
    LengthPrefixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp(Family),
    Tcp(Family),
    Unixgram,
    Unix,
}

pub(super) fn read(section: &mut Section<'_>) -> Option<StatsdSettings> {
    let transports = [
        ("udp", Transport::Udp(Family::Any)),
        ("udp4", Transport::Udp(Family::V4)),
        ("udp6", Transport::Udp(Family::V6)),
        ("tcp", Transport::Tcp(Family::Any)),
        ("tcp4", Transport::Tcp(Family::V4)),
        ("tcp6", Transport::Tcp(Family::V6)),
        ("unixgram", Transport::Unixgram),
        ("unix", Transport::Unix),
    ];
    let transport = section.get("transport").one_of(&transports).or(Transport::Udp(Family::Any));
    let endpoint = read_endpoint(section, transport);
    let permissions = read_permissions(section, transport);
    let packet_bytes =
        section.get("max_packet_size").bytes().range(1..=PACKET_BYTES_LIMIT).or(PACKET_BYTES_MAX) as usize;
    section.without_effect("dialer", "this side does not dial");
    let datagrams = read_datagrams(section, transport, packet_bytes);
    let (streams, framing) = read_streams(section, transport);
    let aggregation = lines::Settings::read(section);
    let aggregation = Arc::new(read_mappings(section, aggregation)?);
    let endpoint = endpoint?;
    let (socket, transport) = match transport {
        Transport::Udp(family) => {
            (Socket::Datagrams { endpoint, family, settings: datagrams, permissions: None }, "udp")
        }
        Transport::Unixgram => {
            let family = Family::Any;
            (Socket::Datagrams { endpoint, family, settings: datagrams, permissions: Some(permissions) }, "unixgram")
        }
        Transport::Tcp(family) => {
            let (settings, frame_bytes_max) = (streams, packet_bytes);
            (Socket::Streams { endpoint, family, settings, framing, frame_bytes_max, permissions: None }, "tcp")
        }
        Transport::Unix => {
            let (family, settings, frame_bytes_max) = (Family::Any, streams, packet_bytes);
            let permissions = Some(permissions);
            (Socket::Streams { endpoint, family, settings, framing, frame_bytes_max, permissions }, "unix")
        }
    };
    Some(StatsdSettings { socket, transport, aggregation })
}

fn read_endpoint(section: &mut Section<'_>, transport: Transport) -> Option<Endpoint> {
    let field = section.get("endpoint");
    match transport {
        Transport::Udp(_) | Transport::Tcp(_) => {
            let named = field.parse_with("an address such as `localhost:8125`", |text| {
                match shapes::Endpoint::parse_listen(text).map_err(|error| error.to_string())? {
                    shapes::Endpoint::Unix(_) => Err("for a path, `transport` is `unixgram` or `unix`".to_owned()),
                    tcp => Ok(configured::endpoint(&tcp)),
                }
            });
            Some(named.or(local(PORT)))
        }
        Transport::Unixgram | Transport::Unix => {
            let parse = |text: &str| shapes::Endpoint::parse_unix(text).map(|endpoint| configured::endpoint(&endpoint));
            field.parse_with("the path of a Unix socket", parse).required()
        }
    }
}

/// As everywhere, permissions are octal. A number without a leading zero would be decimal to the Collector, and nobody
/// means that.
fn read_permissions(section: &mut Section<'_>, transport: Transport) -> u32 {
    const PERMISSIONS: u32 = 0o622;
    only_for(section, transport, "socket_permissions", &[Transport::Unixgram, Transport::Unix]);
    let octal = |text: &str| {
        let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0')).ok_or(())?;
        u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777).ok_or(())
    };
    let read = section
        .get("socket_permissions")
        .parse_with("octal permissions such as `0622`", |text| octal(text.trim()).map_err(|()| ""));
    read.or(PERMISSIONS)
}

fn read_datagrams(section: &mut Section<'_>, transport: Transport, datagram_bytes_max: usize) -> DatagramSettings {
    let udp = [Transport::Udp(Family::Any)];
    only_for(section, transport, "readers", &udp);
    only_for(section, transport, "receive_buffer", &[udp[0], Transport::Unixgram]);
    let readers = section.get("readers").integer().range(1..=READERS_MAX).or(1);
    let receive_buffer = section.get("receive_buffer").bytes().range(1..=1 << 30).or(RECEIVE_BUFFER_BYTES);
    DatagramSettings { readers, receive_buffer_bytes: Some(receive_buffer as usize), datagram_bytes_max }
}

fn read_streams(section: &mut Section<'_>, transport: Transport) -> (StreamSettings, StreamFraming) {
    let framings = [
        ("auto", StreamFraming::Auto),
        ("newline", StreamFraming::Newline),
        ("length_prefixed", StreamFraming::LengthPrefixed),
    ];
    let tcp = Transport::Tcp(Family::Any);
    for key in ["framing", "max_connections", "idle_timeout"] {
        only_for(section, transport, key, &[tcp, Transport::Unix]);
    }
    only_for(section, transport, "tls", &[tcp]);
    let framing = section.get("framing").one_of(&framings).or(StreamFraming::Auto);
    let mut settings = StreamSettings::default();
    settings.connections_max = section.get("max_connections").integer().range(1..).or(settings.connections_max);
    settings.idle_timeout =
        section.get("idle_timeout").duration().optional().filter(|timeout| *timeout > Duration::ZERO);
    if let Some(tls) = section.child_if_present("tls", shapes::TlsServer::read) {
        settings.tls = configured::server_tls(&tls).map_err(|message| section.error("tls", message)).ok();
    }
    (settings, framing)
}

/// An option that a transport has no use for is an error: whoever writes it expects something of it.
fn only_for(section: &mut Section<'_>, transport: Transport, key: &'static str, has_it: &[Transport]) {
    let kind = |transport: Transport| match transport {
        Transport::Udp(_) => "udp",
        Transport::Tcp(_) => "tcp",
        Transport::Unixgram => "unixgram",
        Transport::Unix => "unix",
    };
    if section.has(key) && !has_it.iter().any(|one| kind(*one) == kind(transport)) {
        let those: Vec<_> = has_it.iter().map(|one| kind(*one)).collect();
        section.error(key, format!("is for `transport: {}` alone", those.join(" or ")));
    }
}

/// Reads the file that `mapping_config` names, with the places of what is wrong in it.
fn read_mappings(section: &mut Section<'_>, settings: lines::Settings) -> Option<lines::Settings> {
    let Some(path) = &settings.mapping_config else { return Some(settings) };
    let text = match read_bounded(&path.value) {
        Ok(text) => text,
        Err(error) => {
            section.error("mapping_config", format!("cannot read `{}`: {error}", path.value));
            return None;
        }
    };
    match Mappings::parse(&path.value, &text) {
        Ok(mappings) => Some(settings.with_mappings(mappings)),
        Err(errors) => {
            errors.into_iter().for_each(|error| section.diagnostics().push(error));
            None
        }
    }
}

fn read_bounded(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SOURCE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > SOURCE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {SOURCE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

impl Socket {
    /// Where it shall be, with a name resolved if only some of its addresses count.
    pub(super) fn place(&self) -> io::Result<Endpoint> {
        let (Socket::Datagrams { endpoint, family, .. } | Socket::Streams { endpoint, family, .. }) = self;
        let Endpoint::Tcp { host, port } = endpoint else { return Ok(endpoint.clone()) };
        let any = match family {
            Family::Any => return Ok(endpoint.clone()),
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let resolved = |addresses: &mut dyn Iterator<Item = SocketAddr>| {
            addresses.map(|address| address.ip()).find(|address| address.is_ipv4() == any.is_ipv4())
        };
        let found = match host.as_str() {
            "" => Some(any),
            // By its definition it is both (RFC 6761, section 6.3), whatever the machine's list of hosts says.
            "localhost" if any.is_ipv6() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            host => resolved(&mut (host, *port).to_socket_addrs()?),
        };
        let found = found.ok_or_else(|| {
            let family = if any.is_ipv4() { "IPv4" } else { "IPv6" };
            io::Error::new(io::ErrorKind::AddrNotAvailable, format!("`{host}` has no {family} address"))
        })?;
        Ok(Endpoint::Tcp { host: found.to_string(), port: *port })
    }
}
