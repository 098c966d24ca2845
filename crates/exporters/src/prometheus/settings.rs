//! The options of the exporter.

use std::time::Duration;

use component::{BuildContext, Delivery};
use config::Section;
use config::shapes::HttpServer;
use http::HeaderMap;
use prom::labels::METRIC_NAME;
use prom::names::{LabelNamer, MetricNamer, Strategy, Underscores};
use transport::configured;
use transport::endpoint::Endpoint;
use transport::server::ServerSettings;

use super::exposition::Timestamps;
use super::labels::{Labeler, ScopeLabels};
use super::merge::{Accumulator, Exemplars, NameCache, PlaceCache};
use super::negotiate::OpenMetrics;
use super::options::{ResourceSelection, strategy};
use super::store::{Limits, Store};
use crate::common::delivery;

/// What the exporter runs on.
pub(super) struct Settings {
    pub(super) endpoint: Endpoint,
    pub(super) server: ServerSettings,
    /// `response_headers`.
    pub(super) headers: HeaderMap,
    pub(super) open_metrics: OpenMetrics,
    pub(super) timestamps: Timestamps,
    pub(super) accumulator: Accumulator,
    pub(super) delivery: Delivery,
}

const EXPIRATION_DEFAULT: Duration = Duration::from_secs(300);
const SERIES_MAX_DEFAULT: usize = 1_000_000;
const MEMORY_MAX_MIB_DEFAULT: usize = 512;

/// Scrapers keep one connection each; a page that is being sent is held in memory.
const CONNECTIONS_MAX: usize = 1000;

impl Settings {
    /// Reads the options. `None`: the section has said what is wrong.
    pub(super) fn read(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Settings> {
        section.without_effect("max_request_body_size", "a scrape has no body");
        section.without_effect("compression_algorithms", "a scrape has no body");
        section.without_effect("retry_on_failure", "scrapers come by themselves; nothing here is tried again");
        let shape = HttpServer::read(section);
        let endpoint = endpoint(&shape, section);
        if shape.cors.is_some() {
            section.error("cors", "not built yet: cross-origin requests to the exposition");
        }
        let authenticator = context.authenticators.authenticator(shape.auth.as_ref(), section);
        let (mut server, _) = configured::http_server(&shape, authenticator, section);
        server.connections_max = CONNECTIONS_MAX;
        let headers = configured::headers(&shape.response_headers);
        let headers = headers.map_err(|message| section.error("response_headers", message)).ok();
        let open_metrics = match section.get("enable_open_metrics").bool().or(false) {
            true => OpenMetrics::Enabled,
            false => OpenMetrics::Disabled,
        };
        let timestamps = match section.get("send_timestamps").bool().or(false) {
            true => Timestamps::Send,
            false => Timestamps::Omit,
        };
        let accumulator = accumulator(section, open_metrics);
        let delivery = delivery(section, Duration::ZERO, component::Order::Kept);
        let (endpoint, headers, accumulator) = (endpoint?, headers?, accumulator?);
        Some(Settings { endpoint, server, headers, open_metrics, timestamps, accumulator, delivery })
    }
}

fn endpoint(shape: &HttpServer, section: &mut Section<'_>) -> Option<Endpoint> {
    match &shape.endpoint {
        Some(endpoint) => Some(configured::endpoint(&endpoint.value)),
        None => {
            section.error("endpoint", "is required: expected an address such as `localhost:8889`");
            None
        }
    }
}

fn accumulator(section: &mut Section<'_>, open_metrics: OpenMetrics) -> Option<Accumulator> {
    let namespace = section.get("namespace").string().or_default();
    let const_labels = section.get("const_labels").string_map().or_default();
    let strategy = strategy(section);
    let resource = ResourceSelection::read(section);
    let scope = match section.get("without_scope_info").bool().or(false) {
        true => ScopeLabels::Omit,
        false => ScopeLabels::Send,
    };
    let has_target_info = section.child("target_info", |section| section.get("enabled").bool().or(true));
    let limits = limits(section);
    let namer = LabelNamer { escaping: strategy.escaping(), underscores: Underscores::Preserve };
    check_const_labels(section, namer, &const_labels)?;
    let target_info = has_target_info.then(|| target_info_name(namer, &namespace));
    let exemplars = match open_metrics {
        OpenMetrics::Enabled => Exemplars::Keep,
        OpenMetrics::Disabled => Exemplars::Drop,
    };
    Some(Accumulator {
        store: Store::new(limits),
        labeler: Labeler::new(namer, &const_labels, resource, scope),
        names: NameCache::new(metric_namer(strategy, namespace)),
        target_info,
        exemplars,
        places: PlaceCache::default(),
    })
}

fn limits(section: &mut Section<'_>) -> Limits {
    let expiration = section.get("metric_expiration").duration().above_zero().or(EXPIRATION_DEFAULT);
    let series_max = section.get("max_series").integer().range(1..).or(SERIES_MAX_DEFAULT);
    let memory_mib: usize = section.get("max_memory_mib").integer().range(1..).or(MEMORY_MAX_MIB_DEFAULT);
    // Places in a family are kept as 32 bits.
    let series_max = series_max.min(u32::MAX as usize);
    Limits { series_max, size_bytes_max: memory_mib.saturating_mul(1 << 20), expiration }
}

pub(super) fn metric_namer(strategy: Strategy, namespace: String) -> MetricNamer {
    MetricNamer { namespace, escaping: strategy.escaping(), suffixes: strategy.suffixes() }
}

fn target_info_name(namer: LabelNamer, namespace: &str) -> Box<str> {
    match namer.name(namespace) {
        Ok(namespace) => format!("{namespace}_target_info").into(),
        Err(_) => "target_info".into(),
    }
}

fn check_const_labels(section: &mut Section<'_>, namer: LabelNamer, const_labels: &[(String, String)]) -> Option<()> {
    for (name, _) in const_labels {
        match namer.name(name) {
            Ok(translated) if translated == METRIC_NAME => {
                section.error("const_labels", format!("`{name}` is the name of the metric and no label"));
                return None;
            }
            Ok(_) => {}
            Err(error) => {
                section.error("const_labels", format!("`{name}`: {error}"));
                return None;
            }
        }
    }
    Some(())
}
