//! The options of the receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Section;
use config::shapes::Endpoint as Shape;
use legacy::carbon::{Parser, PathKind, Rule};
use transport::configured;
use transport::endpoint::Endpoint;

use crate::shared::local;

/// What the receiver runs on.
pub(super) struct Settings {
    pub(super) endpoint: Endpoint,
    pub(super) transport: Transport,
    pub(super) parser: Parser,
}

/// `transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp { idle_timeout: Option<Duration> },
    Udp,
}

const PORT_DEFAULT: u16 = 2003;
const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

impl Settings {
    /// Reads the options. `None`: the section has said what is wrong.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Settings> {
        let named = section.get("endpoint").parse_with("an address such as `localhost:2003`", Shape::parse_listen);
        let endpoint = named.optional().map_or_else(|| local(PORT_DEFAULT), |shape| configured::endpoint(&shape));
        let idle_timeout = section.get("tcp_idle_timeout").duration().or(IDLE_TIMEOUT_DEFAULT);
        let tcp = Transport::Tcp { idle_timeout: Some(idle_timeout).filter(|timeout| !timeout.is_zero()) };
        let transport = section.get("transport").one_of(&[("tcp", tcp), ("udp", Transport::Udp)]).or(tcp);
        if let (Transport::Udp, Endpoint::Unix(_)) = (transport, &endpoint) {
            section
                .error("endpoint", "a unix socket is a stream here: expected `transport: tcp`, or a host and a port");
        }
        let parser = section.child("parser", parser)?;
        Some(Settings { endpoint, transport, parser })
    }
}

/// Which parser, by `parser.type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParserKind {
    Plaintext,
    Regex,
}

fn parser(section: &mut Section<'_>) -> Option<Parser> {
    let kinds = [("plaintext", ParserKind::Plaintext), ("regex", ParserKind::Regex)];
    match section.get("type").one_of(&kinds).or(ParserKind::Plaintext) {
        // It has no options: any key in `config` is reported.
        ParserKind::Plaintext => section.child("config", |_| Some(Parser::plaintext())),
        ParserKind::Regex => section.child("config", regex_parser),
    }
}

fn regex_parser(section: &mut Section<'_>) -> Option<Parser> {
    let name_separator = section.get("name_separator").string().or_default();
    let rules = section.children("rules", rule);
    if rules.is_empty() {
        section.error("rules", "is required: expected at least one rule with a `regexp`");
    }
    Some(Parser::regex(rules.into_iter().collect::<Option<_>>()?, name_separator))
}

fn rule(section: &mut Section<'_>) -> Option<Rule> {
    let regexp = section.get("regexp").string().required();
    let name_prefix = section.get("name_prefix").string().or_default();
    let labels: BTreeMap<String, String> = section.get("labels").string_map().or_default().into_iter().collect();
    let kinds = [("gauge", PathKind::Gauge), ("cumulative", PathKind::Cumulative), ("", PathKind::Gauge)];
    let kind = section.get("type").one_of(&kinds).or_default();
    let rule = Rule::new(&regexp?, name_prefix, labels, kind);
    rule.map_err(|error| section.error("regexp", error.to_string())).ok()
}
