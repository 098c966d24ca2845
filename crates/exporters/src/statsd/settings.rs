//! The options of the exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use component::{Delivery, Order};
use config::Section;
use config::shapes::Endpoint as Shape;
use transport::configured;
use transport::endpoint::Endpoint;

use super::line::{Dialect, IN_NAME, PlainAttributes, clean};
use super::packets::Ending;
use super::state::{InitialValue, Limits};
use crate::common::delivery;

/// What the exporter runs on.
pub(super) struct Settings {
    pub(super) way: Way,
    pub(super) form: Form,
    pub(super) limits: Limits,
    pub(super) delivery: Delivery,
}

/// How lines get to the server.
pub(super) enum Way {
    Datagrams(Endpoint),
    /// With the time that connecting may take.
    Stream(Endpoint, Duration),
}

/// How data points become lines.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) dialect: Dialect,
    pub(super) plain_attributes: PlainAttributes,
    /// With the dot that ends it, or empty.
    pub(super) prefix: String,
    pub(super) histograms: Histograms,
    pub(super) resource_tags: ResourceTags,
    pub(super) tags: Vec<(String, String)>,
    /// Attributes whose tags are called otherwise.
    pub(super) tag_names: BTreeMap<String, String>,
    pub(super) packet_bytes_max: usize,
    pub(super) ending: Ending,
}

/// What becomes of histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Histograms {
    /// Counters of count, sum and buckets.
    Counters,
    /// Measurements of this type.
    Values(&'static str),
}

/// Which attributes of a resource are tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResourceTags {
    All,
    Of(BTreeSet<String>),
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const STALENESS_DEFAULT: Duration = Duration::from_secs(3600);
const STATE_BYTES_DEFAULT: u64 = 64 << 20;
/// What fits into one frame of Ethernet, with the tunnels that are usual.
const UDP_BYTES_DEFAULT: usize = 1432;
const UNIX_BYTES_DEFAULT: usize = 8192;
const STREAM_BYTES_DEFAULT: usize = 65_536;
const PACKET_BYTES_MIN: usize = 64;
/// No UDP datagram has room for more.
const PACKET_BYTES_MAX: usize = 65_507;

impl Settings {
    /// Reads the options. `None`: the section has said what is wrong.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Settings> {
        let timeout = section.get("timeout").duration().or(TIMEOUT_DEFAULT);
        let way = way(section, timeout);
        let (size_default, ending, size_max) = match &way {
            Way::Datagrams(Endpoint::Tcp { .. }) => (UDP_BYTES_DEFAULT, Ending::None, PACKET_BYTES_MAX),
            Way::Datagrams(Endpoint::Unix(_)) => (UNIX_BYTES_DEFAULT, Ending::None, PACKET_BYTES_MAX),
            Way::Stream(..) => (STREAM_BYTES_DEFAULT, Ending::LineFeed, 16 << 20),
        };
        let size = section.get("max_packet_size").integer().range(PACKET_BYTES_MIN..=size_max);
        let packet_bytes_max = size.or(size_default);
        let form = form(section, packet_bytes_max, ending);
        let limits = Limits {
            initial_value: section
                .get("initial_value")
                .one_of(&[("auto", InitialValue::Auto), ("keep", InitialValue::Keep), ("drop", InitialValue::Drop)])
                .or(InitialValue::Auto),
            staleness_max: section.get("max_staleness").duration().or(STALENESS_DEFAULT),
            size_bytes_max: usize::try_from(section.get("max_state_size").bytes().or(STATE_BYTES_DEFAULT))
                .unwrap_or(usize::MAX),
        };
        // A gauge is what was said last, and totals are told from the one before.
        let delivery = delivery(section, timeout, Order::Kept);
        Some(Settings { way, form, limits, delivery })
    }
}

/// `endpoint`: UDP where no scheme says otherwise.
fn way(section: &mut Section<'_>, timeout: Duration) -> Way {
    let connect_timeout = if timeout.is_zero() { Duration::from_secs(60) } else { timeout };
    let parse = |text: &str| match text.strip_prefix("tcp://") {
        Some(rest) => {
            Shape::parse_connect(rest).map(|shape| Way::Stream(configured::endpoint(&shape), connect_timeout))
        }
        None => {
            let rest = text.strip_prefix("udp://").unwrap_or(text);
            Shape::parse_connect(rest).map(|shape| Way::Datagrams(configured::endpoint(&shape)))
        }
    };
    let expected = "an address such as `localhost:8125`, `unix:///run/statsd.sock` or `tcp://localhost:8125`";
    section
        .get("endpoint")
        .parse_with(expected, parse)
        .or_else(|| Way::Datagrams(Endpoint::Tcp { host: "localhost".to_owned(), port: 8125 }))
}

fn form(section: &mut Section<'_>, packet_bytes_max: usize, ending: Ending) -> Form {
    let dialects = [
        ("dogstatsd", Dialect::Dogstatsd),
        ("etsy", Dialect::Etsy),
        ("graphite", Dialect::Graphite),
        ("influx", Dialect::Influx),
    ];
    let dialect = section.get("dialect").one_of(&dialects).or(Dialect::Dogstatsd);
    let plain = [("append", PlainAttributes::Append), ("drop", PlainAttributes::Drop)];
    let plain_attributes = section.get("plain_attributes").one_of(&plain).or(PlainAttributes::Append);
    if dialect != Dialect::Etsy && section.has("plain_attributes") {
        section.without_effect("plain_attributes", "the dialect has tags");
    }
    let is_clean = |prefix: &String| clean(prefix, IN_NAME) == prefix.as_str();
    let prefix =
        section.get("prefix").string().ensure("a prefix without blanks and without any of `:|@#,;=[]`", is_clean);
    let prefix = prefix.or_default();
    let prefix = if prefix.is_empty() || prefix.ends_with('.') { prefix } else { format!("{prefix}.") };
    let keys: BTreeSet<String> = section.get("resource_attributes").strings().or_default().into_iter().collect();
    let resource_tags = if keys.contains("*") { ResourceTags::All } else { ResourceTags::Of(keys) };
    Form {
        dialect,
        plain_attributes,
        prefix,
        histograms: histograms(section, dialect),
        resource_tags,
        tags: section.get("tags").string_map().or_default(),
        tag_names: section.get("tag_names").string_map().or_default().into_iter().collect(),
        packet_bytes_max,
        ending,
    }
}

fn histograms(section: &mut Section<'_>, dialect: Dialect) -> Histograms {
    let choices = [
        ("counters", Histograms::Counters),
        ("distribution", Histograms::Values("d")),
        ("histogram", Histograms::Values("h")),
        ("timer", Histograms::Values("ms")),
    ];
    let default = if dialect == Dialect::Dogstatsd { Histograms::Values("d") } else { Histograms::Counters };
    let chosen = section.get("histograms").one_of(&choices).or(default);
    if dialect == Dialect::Etsy && matches!(chosen, Histograms::Values("d" | "h")) {
        section.error(
            "histograms",
            "Etsy's StatsD has neither distributions nor histograms: expected `counters` or `timer`",
        );
    }
    chosen
}
