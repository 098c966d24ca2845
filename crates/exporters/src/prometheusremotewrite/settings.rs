//! The options of the exporter.

use std::time::Duration;

use component::{BuildContext, Delivery, Order, Waiting};
use config::shapes::{Compression, HttpClient as Shape, SendingQueue};
use config::{Node, Section};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use prom::labels::METRIC_NAME;
use prom::names::{Escaping, LabelNamer, Underscores};
use prom::write::{Metadata, Partition, ResourceLabels, ScopeLabels, TargetInfo};
use transport::configured;
use transport::http_client::HttpClient;
use url::Url;

use super::{Form, VERSION};
use crate::common::delivery;
use crate::prometheus::options::{ResourceSelection, WholeSelection, strategy};

/// What the exporter runs on.
pub(super) struct Settings {
    pub(super) client: HttpClient,
    pub(super) url: Url,
    pub(super) form: Form,
    pub(super) delivery: Delivery,
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Prometheus itself begins with 30 ms and ends with 5 s: samples are small, and a backend that comes back is to have
/// them soon.
const RETRY_INITIAL_DEFAULT: Duration = Duration::from_millis(50);
const RETRY_MAX_DEFAULT: Duration = Duration::from_secs(5);

/// Answers are short; more than this of one is not read.
const RESPONSE_BYTES_MAX: usize = 64 << 10;

impl Settings {
    /// Reads the options. `None`: the section has said what is wrong.
    pub(super) fn read(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Settings> {
        refuse_unbuilt(section);
        let remote = remote(section, context);
        let write = write_settings(section);
        let metadata = match section.get("send_metadata").bool().or(false) {
            true => Metadata::Send,
            false => Metadata::Omit,
        };
        let size_bytes_max = section.get("max_batch_size_bytes").integer().optional();
        let size_bytes_max = size_bytes_max.filter(|size| *size > 0).unwrap_or(Partition::default().size_bytes_max);
        let queue = RemoteWriteQueue::read(section);
        let timeout = remote.as_ref().and_then(|remote| remote.timeout).unwrap_or(TIMEOUT_DEFAULT);
        let delivery = read_delivery(section, timeout, &queue);
        let lanes = lanes(section, &queue, &delivery.queue);
        let (Remote { client, url, .. }, write) = (remote?, write?);
        let partition = Partition { lanes, size_bytes_max, ..Partition::default() };
        Some(Settings { client, url, form: Form { write, partition, metadata }, delivery })
    }
}

fn refuse_unbuilt(section: &mut Section<'_>) {
    section.unsupported("wal", "a log of the exporter's own; the journal keeps what is not sent yet");
    section.unsupported("export_created_metric", "`_created` series");
    section.unsupported("scope_info", "`otel_scope_info`; scopes are labels, see `disable_scope_info`");
    section.unsupported("include_metadata_keys", "headers from the metadata of clients");
    section.unsupported("convert_explicit_histograms_to_nhcb", "native histograms with custom buckets");
    section.unsupported("keep_classic_histograms", "native histograms with custom buckets");
    let messages = [("prometheus.WriteRequest", 1), ("io.prometheus.write.v2.Request", 2), ("", 1)];
    if section.get("protobuf_message").one_of(&messages).or(1) == 2 {
        section.error("protobuf_message", "not built yet: remote write 2.0; `prometheus.WriteRequest` is 1.0");
    }
}

// === Where requests go ===

struct Remote {
    client: HttpClient,
    url: Url,
    timeout: Option<Duration>,
}

/// The keys of the HTTP client, which the newest Collector has in a section of their own.
const CLIENT_KEYS: [&str; 18] = [
    "endpoint",
    "proxy_url",
    "tls",
    "headers",
    "auth",
    "compression",
    "compression_params",
    "read_buffer_size",
    "write_buffer_size",
    "max_idle_conns",
    "max_idle_conns_per_host",
    "max_conns_per_host",
    "idle_conn_timeout",
    "disable_keep_alives",
    "http2_read_idle_timeout",
    "http2_ping_timeout",
    "force_attempt_http2",
    "cookies",
];

fn remote(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Remote> {
    if section.node("http").is_none_or(Node::is_null) {
        return read_client(section, context);
    }
    for key in CLIENT_KEYS {
        section.without_effect(key, "`http` is given, and what is in it counts alone");
    }
    let timeout = section.get("timeout").duration().optional();
    let remote = section.child("http", |http| read_client(http, context))?;
    Some(Remote { timeout: timeout.or(remote.timeout), ..remote })
}

fn read_client(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Remote> {
    let has_empty_compression = section.node("compression").and_then(Node::text) == Some("");
    let shape = Shape::read(section);
    let is_snappy = matches!(shape.compression, None | Some(Compression::Snappy)) || has_empty_compression;
    if !is_snappy {
        section.error("compression", "expected `snappy`: remote write 1.0 knows nothing else");
    }
    for (name, _) in &shape.headers {
        if [CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT, VERSION]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own.as_str()))
        {
            section.warning("headers", format!("`{name}` has no effect: the protocol says what it is"));
        }
    }
    let url = match &shape.endpoint {
        None => {
            section.error("endpoint", "is required: expected a URL such as `http://localhost:9090/api/v1/write`");
            None
        }
        Some(endpoint) => {
            let url = configured::url(&endpoint.value);
            url.map_err(|message| section.error("endpoint", message)).ok()
        }
    };
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let mut settings = configured::http_client(&shape, credentials, section)?;
    // The pipeline's own timeout covers the attempt.
    settings.timeout = None;
    settings.response_bytes_max = RESPONSE_BYTES_MAX;
    let client = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok();
    Some(Remote { client: client?, url: url?, timeout: shape.timeout })
}

// === What requests hold ===

fn write_settings(section: &mut Section<'_>) -> Option<prom::write::Settings> {
    let namespace = section.get("namespace").string().or_default();
    let strategy = strategy(section);
    if strategy.escaping() == Escaping::None {
        let message = "not built yet: remote write 2.0, which such names need; 1.0 knows those of \
                       `UnderscoreEscapingWithSuffixes` and `UnderscoreEscapingWithoutSuffixes` only";
        section.error("translation_strategy", message);
    }
    let external_labels = external_labels(section);
    let resource_labels = resource_labels(section);
    let target_info = match section.child("target_info", |section| section.get("enabled").bool().or(true)) {
        true => TargetInfo::Send,
        false => TargetInfo::Omit,
    };
    let scope_labels = match section.get("disable_scope_info").bool().or(false) {
        true => ScopeLabels::Omit,
        false => ScopeLabels::Send,
    };
    let (external_labels, resource_labels) = (external_labels?, resource_labels?);
    Some(prom::write::Settings { namespace, strategy, external_labels, resource_labels, target_info, scope_labels })
}

fn external_labels(section: &mut Section<'_>) -> Option<Vec<(String, String)>> {
    let labels = section.get("external_labels").string_map().or_default();
    let namer = LabelNamer { escaping: Escaping::Underscores, underscores: Underscores::Preserve };
    for (name, value) in &labels {
        let problem = match namer.name(name) {
            Err(error) => error.to_string(),
            Ok(translated) if translated == METRIC_NAME => "it is the name of the metric and no label".to_owned(),
            Ok(_) if value.is_empty() => "expected a value, found nothing".to_owned(),
            Ok(_) => continue,
        };
        section.error("external_labels", format!("`{name}`: {problem}"));
        return None;
    }
    Some(labels)
}

fn resource_labels(section: &mut Section<'_>) -> Option<ResourceLabels> {
    match ResourceSelection::read(section).as_whole() {
        Some(WholeSelection::None) => Some(ResourceLabels::None),
        Some(WholeSelection::All) => Some(ResourceLabels::All),
        Some(WholeSelection::WithoutService) => Some(ResourceLabels::WithoutService),
        None => {
            let message = "not built yet: a choice of attributes; there are all of them (`included: [\"*\"]`), and all \
                           but `service.name`, `service.namespace` and `service.instance.id` (as `excluded`)";
            section.error("resource_constant_labels", message);
            None
        }
    }
}

// === How requests are sent ===

/// `remote_write_queue`.
struct RemoteWriteQueue {
    enabled: bool,
    queue_size: Option<u64>,
    num_consumers: Option<u32>,
}

/// So many requests under way at once are enough for any backend.
const LANES_MAX: u32 = 1000;

impl RemoteWriteQueue {
    fn read(section: &mut Section<'_>) -> RemoteWriteQueue {
        section.child("remote_write_queue", |section| RemoteWriteQueue {
            enabled: section.get("enabled").bool().or(true),
            queue_size: section.get("queue_size").integer().range(1..).optional(),
            num_consumers: section.get("num_consumers").integer().range(1..=LANES_MAX).optional(),
        })
    }
}

fn read_delivery(section: &mut Section<'_>, timeout: Duration, queue: &RemoteWriteQueue) -> Delivery {
    let mut delivery = delivery(section, timeout, Order::Kept);
    // A request holds samples, not batches: a backend that is slow gets fewer and larger ones.
    delivery.waiting = Waiting::Together;
    if !queue.enabled {
        delivery.queue.enabled = false;
    }
    if queue.queue_size.is_some() && delivery.queue.queue_size.is_some() {
        section.error("remote_write_queue", "`queue_size` is given in `sending_queue`, too");
    }
    delivery.queue.queue_size = queue.queue_size.or(delivery.queue.queue_size);
    let retry = &mut delivery.retry;
    if !is_given(section, "retry_on_failure", "initial_interval") {
        retry.initial_interval = RETRY_INITIAL_DEFAULT.min(retry.max_interval);
    }
    if !is_given(section, "retry_on_failure", "max_interval") {
        retry.max_interval = RETRY_MAX_DEFAULT.max(retry.initial_interval);
    }
    delivery
}

/// How many requests of one batch are under way at once. Each has series of its own, so that none overtakes another.
fn lanes(section: &mut Section<'_>, queue: &RemoteWriteQueue, sending_queue: &SendingQueue) -> u32 {
    let parallelism = section.get("max_batch_request_parallelism").integer().range(1..=LANES_MAX).optional();
    let consumers = is_given(section, "sending_queue", "num_consumers").then_some(sending_queue.num_consumers);
    let consumers = consumers.map(|consumers| u32::try_from(consumers).unwrap_or(LANES_MAX).min(LANES_MAX));
    parallelism.or(queue.num_consumers).or(consumers).unwrap_or(Partition::default().lanes)
}

/// Whether a key of a section below is there.
fn is_given(section: &mut Section<'_>, key: &'static str, inner: &str) -> bool {
    section.node(key).and_then(|node| node.get(inner)).is_some_and(|value| !value.is_null())
}
