//! The scrape configuration: the `config` block, as Prometheus documents it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use auth::{Authorization, Credentials, CredentialsError, ReloadedAuthorization, Source};
use config::shapes::{HttpEndpoint, TlsMaterial, TlsVersion};
use config::{Field, Section};
use prom::labels::LabelLimits;
use prom::relabel::{Action, NameScheme, Rule, RuleConfig};
use transport::configured;
use transport::http_client::{HttpClientSettings, HttpVersion, Proxy, Redirects};
use transport::tls::{ClientTls, Pem, ServerVerification};
use url::Url;

/// One entry of `scrape_configs`.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) scheme: String,
    pub(super) metrics_path: String,
    pub(super) params: Vec<(String, Vec<String>)>,
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: bool,
    pub(super) track_timestamps_staleness: bool,
    pub(super) accept: String,
    pub(super) compression: bool,
    /// Whether the limits are reported as series, too.
    pub(super) extra_metrics: bool,
    pub(super) limits: ScrapeLimits,
    pub(super) relabel: Arc<[Rule]>,
    pub(super) metric_relabel: Arc<[Rule]>,
    pub(super) discovery: Vec<Discovery>,
    pub(super) client: HttpClientSettings,
    pub(super) external_labels: Arc<[(String, String)]>,
}

/// Limits on one scrape. None: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScrapeLimits {
    pub(super) samples_max: Option<u64>,
    pub(super) targets_max: Option<usize>,
    pub(super) body_bytes_max: usize,
    pub(super) labels: LabelLimits,
}

/// A body without a configured limit is read up to this: an exporter that never ends must not take the memory.
const BODY_BYTES_DEFAULT: usize = 256 << 20;

/// How targets are found.
#[derive(Clone)]
pub(super) enum Discovery {
    Static(Group),
    Files { patterns: Vec<PathBuf>, refresh: Duration },
    Http { url: Url, refresh: Duration, client: Box<HttpClientSettings> },
}

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) targets: Vec<String>,
    pub(super) labels: Vec<(String, String)>,
}

/// `global`, as far as scraping is concerned.
struct Global {
    interval: Duration,
    timeout: Option<Duration>,
    external_labels: Arc<[(String, String)]>,
    protocols: Option<Vec<Protocol>>,
    limits: ScrapeLimits,
    names: NameScheme,
    extra_metrics: bool,
}

/// Formats that can be asked for, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    OpenMetrics100,
    OpenMetrics001,
    Text004,
    Text100,
    Protobuf,
}

/// Reads the `config` block.
pub(super) fn read(section: &mut Section<'_>, addresses: Addresses) -> Vec<Job> {
    let global = section.child("global", Global::read);
    for key in ["remote_write", "remote_read", "rule_files", "alerting"] {
        if section.node(key).is_some_and(|node| !node.is_null()) {
            section.error(key, "is not taken by a receiver that scrapes; remove it from this block");
        }
    }
    for key in ["storage", "tracing", "otlp", "runtime"] {
        section.without_effect(key, "it concerns a Prometheus server and not scraping");
    }
    section.unsupported("scrape_config_files", "scrape configurations in files of their own");
    let jobs = section.children("scrape_configs", |job| Job::read(job, &global, addresses));
    let jobs: Vec<Job> = jobs.into_iter().flatten().collect();
    for (index, job) in jobs.iter().enumerate() {
        if jobs[..index].iter().any(|before| before.name == job.name) {
            section.error("scrape_configs", format!("the job name `{}` is used twice", job.name));
        }
    }
    jobs
}

/// Which addresses may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// None that is link-local: cloud metadata services listen there and hand out credentials.
    ButLinkLocal,
    All,
}

impl Global {
    fn read(section: &mut Section<'_>) -> Global {
        let minute = Duration::from_secs(60);
        let interval = section.get("scrape_interval").prometheus_duration().above_zero().or(minute);
        let timeout = section.get("scrape_timeout").prometheus_duration().above_zero().optional();
        section.without_effect("evaluation_interval", "there are no rules here");
        section.without_effect("rule_query_offset", "there are no rules here");
        section.without_effect("query_log_file", "there are no queries here");
        section.without_effect("keep_dropped_targets", "dropped targets are not kept");
        section.without_effect("scrape_failure_log_file", "failures go to the log");
        section.without_effect("convert_classic_histograms_to_nhcb", "histograms stay as they are exposed");
        section.without_effect("metric_name_escaping_scheme", "names are taken as they are exposed");
        let names = names(section, NameScheme::Utf8);
        Global {
            interval,
            timeout,
            external_labels: section.get("external_labels").string_map().or_default().into(),
            protocols: protocols(section),
            limits: limits(section, ScrapeLimits { body_bytes_max: BODY_BYTES_DEFAULT, ..ScrapeLimits::default() }),
            names,
            extra_metrics: section.get("extra_scrape_metrics").bool().or(false),
        }
    }
}

impl Job {
    fn read(section: &mut Section<'_>, global: &Global, addresses: Addresses) -> Option<Job> {
        let name = section.get("job_name").string().non_empty().required();
        let interval = section.get("scrape_interval").prometheus_duration().above_zero().or(global.interval);
        let timeout = section.get("scrape_timeout").prometheus_duration().above_zero().optional();
        if timeout.is_some_and(|timeout| timeout > interval) {
            section.error("scrape_timeout", "is longer than the scrape interval");
        }
        // Prometheus: 10 s unless the interval is shorter.
        let usual = global.timeout.unwrap_or(Duration::from_secs(10));
        let timeout = timeout.unwrap_or(usual).min(interval);
        let names = names(section, global.names);
        let client = read_client(section, addresses);
        let job = Job {
            name: name.unwrap_or_default(),
            interval,
            timeout,
            scheme: section.get("scheme").one_of(&[("http", "http"), ("https", "https")]).or("http").to_owned(),
            metrics_path: section.get("metrics_path").string().non_empty().or("/metrics".to_owned()),
            params: read_params(section),
            honor_labels: section.get("honor_labels").bool().or(false),
            honor_timestamps: section.get("honor_timestamps").bool().or(true),
            track_timestamps_staleness: section.get("track_timestamps_staleness").bool().or(false),
            accept: accept(protocols(section).or(global.protocols.clone())),
            compression: section.get("enable_compression").bool().or(true),
            extra_metrics: section.get("extra_scrape_metrics").bool().or(global.extra_metrics),
            limits: limits(section, global.limits),
            relabel: section.children("relabel_configs", |rule| read_rule(rule, names)).into_iter().flatten().collect(),
            metric_relabel: section
                .children("metric_relabel_configs", |rule| read_rule(rule, names))
                .into_iter()
                .flatten()
                .collect(),
            discovery: read_discovery(section, addresses),
            client: client?,
            external_labels: Arc::clone(&global.external_labels),
        };
        section.get("fallback_scrape_protocol").string().optional();
        for key in ["scrape_classic_histograms", "always_scrape_classic_histograms"] {
            section.without_effect(key, "text formats expose classic histograms only, and they are taken");
        }
        section.without_effect("convert_classic_histograms_to_nhcb", "histograms stay as they are exposed");
        section.without_effect("native_histogram_bucket_limit", "text formats carry no native histograms");
        section.without_effect("native_histogram_min_bucket_factor", "text formats carry no native histograms");
        section.without_effect("scrape_native_histograms", "text formats carry no native histograms");
        section.without_effect("keep_dropped_targets", "dropped targets are not kept");
        section.without_effect("scrape_failure_log_file", "failures go to the log");
        section.without_effect("metric_name_escaping_scheme", "names are taken as they are exposed");
        Some(job)
    }
}

fn names(section: &mut Section<'_>, default: NameScheme) -> NameScheme {
    let schemes = [("utf8", NameScheme::Utf8), ("legacy", NameScheme::Legacy), ("", default)];
    section.get("metric_name_validation_scheme").one_of(&schemes).or(default)
}

fn limits(section: &mut Section<'_>, default: ScrapeLimits) -> ScrapeLimits {
    // Zero is Prometheus' way to say "no limit".
    let mut figure = |key: &'static str| section.get(key).integer::<u32>().optional().filter(|limit| *limit > 0);
    let labels = LabelLimits {
        labels_max: figure("label_limit").or(default.labels.labels_max),
        name_bytes_max: figure("label_name_length_limit").or(default.labels.name_bytes_max),
        value_bytes_max: figure("label_value_length_limit").or(default.labels.value_bytes_max),
    };
    let samples_max = figure("sample_limit").map(u64::from).or(default.samples_max);
    let targets_max = figure("target_limit").map(|limit| limit as usize).or(default.targets_max);
    let body = section.get("body_size_limit").prometheus_bytes().optional().filter(|limit| *limit > 0);
    let body_bytes_max = body.map_or(default.body_bytes_max, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    ScrapeLimits { samples_max, targets_max, body_bytes_max, labels }
}

fn protocols(section: &mut Section<'_>) -> Option<Vec<Protocol>> {
    let known = [
        ("OpenMetricsText1.0.0", Protocol::OpenMetrics100),
        ("OpenMetricsText0.0.1", Protocol::OpenMetrics001),
        ("PrometheusText0.0.4", Protocol::Text004),
        ("PrometheusText1.0.0", Protocol::Text100),
        ("PrometheusProto", Protocol::Protobuf),
    ];
    let asked = section.get("scrape_protocols").each(|item| item.one_of(&known).required()).optional()?;
    let readable: Vec<Protocol> = asked.iter().copied().filter(|protocol| *protocol != Protocol::Protobuf).collect();
    if readable.is_empty() {
        section.error("scrape_protocols", "not built yet: the protobuf exposition alone; name a text format beside it");
    } else if readable.len() < asked.len() {
        section.warning("scrape_protocols", "`PrometheusProto` has no effect: text formats are asked for");
    }
    Some(readable)
}

/// The `Accept` header, with falling weights.
fn accept(protocols: Option<Vec<Protocol>>) -> String {
    let usual = vec![Protocol::OpenMetrics100, Protocol::OpenMetrics001, Protocol::Text100, Protocol::Text004];
    let protocols = protocols.filter(|protocols| !protocols.is_empty()).unwrap_or(usual);
    let mut parts: Vec<String> = protocols
        .iter()
        .enumerate()
        .map(|(index, protocol)| {
            let media = match protocol {
                Protocol::OpenMetrics100 => "application/openmetrics-text;version=1.0.0",
                Protocol::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
                Protocol::Text004 => "text/plain;version=0.0.4",
                Protocol::Text100 | Protocol::Protobuf => "text/plain;version=1.0.0",
            };
            format!("{media};q=0.{}", 9 - index.min(7))
        })
        .collect();
    parts.push("*/*;q=0.1".to_owned());
    parts.join(",")
}

fn read_params(section: &mut Section<'_>) -> Vec<(String, Vec<String>)> {
    section.child("params", |params| {
        let named = params.entries();
        let read = |(name, node): (config::Spanned<String>, &config::Node)| {
            let texts = match node.as_seq() {
                Some(items) => items.iter().filter_map(|item| item.text().map(str::to_owned)).collect(),
                None => node.text().map(str::to_owned).into_iter().collect(),
            };
            (name.value, texts)
        };
        named.into_iter().map(read).collect()
    })
}

fn read_rule(section: &mut Section<'_>, names: NameScheme) -> Option<Rule> {
    let by_name = |text: &str| Action::from_name(text).ok_or("there is no such action");
    let rule = RuleConfig {
        source_labels: section.get("source_labels").each(|item| item.string().required()).or_default(),
        separator: section.get("separator").string().optional(),
        regex: section.get("regex").string().optional(),
        modulus: section.get("modulus").integer().or(0),
        target_label: section.get("target_label").string().optional(),
        replacement: section.get("replacement").string().optional(),
        action: section.get("action").parse_with("a relabelling action such as `replace`", by_name).or_default(),
    };
    Rule::new(&rule, names).map_err(|error| section.error(error.option(), error.to_string())).ok()
}

// === discovery ===

fn read_discovery(section: &mut Section<'_>, addresses: Addresses) -> Vec<Discovery> {
    let mut found: Vec<Discovery> =
        section.children("static_configs", read_group).into_iter().map(Discovery::Static).collect();
    found.extend(section.children("file_sd_configs", read_files).into_iter().flatten());
    found.extend(section.children("http_sd_configs", |http| read_http(http, addresses)).into_iter().flatten());
    section.children("dns_sd_configs", read_dns);
    section.children("kubernetes_sd_configs", read_kubernetes);
    for key in [
        "azure_sd_configs",
        "consul_sd_configs",
        "digitalocean_sd_configs",
        "docker_sd_configs",
        "dockerswarm_sd_configs",
        "ec2_sd_configs",
        "eureka_sd_configs",
        "gce_sd_configs",
        "hetzner_sd_configs",
        "ionos_sd_configs",
        "kuma_sd_configs",
        "lightsail_sd_configs",
        "linode_sd_configs",
        "marathon_sd_configs",
        "nerve_sd_configs",
        "nomad_sd_configs",
        "openstack_sd_configs",
        "ovhcloud_sd_configs",
        "puppetdb_sd_configs",
        "scaleway_sd_configs",
        "serverset_sd_configs",
        "stackit_sd_configs",
        "triton_sd_configs",
        "uyuni_sd_configs",
        "vultr_sd_configs",
    ] {
        section.unsupported(key, "this kind of discovery; static, file and http discovery work");
    }
    found
}

fn read_group(section: &mut Section<'_>) -> Group {
    let target = |field: Field<'_>| {
        field.string().ensure("`host:port`, without a scheme or a path", |text| is_address(text)).required()
    };
    Group {
        targets: section.get("targets").each(target).or_default(),
        labels: section.get("labels").string_map().or_default(),
    }
}

/// Prometheus: a target is an address, not a URL.
pub(super) fn is_address(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', ' ', '\n', '\r', '\0'])
}

fn read_files(section: &mut Section<'_>) -> Option<Discovery> {
    let known = |path: &String| [".json", ".yml", ".yaml"].iter().any(|end| path.ends_with(end));
    let expected = "a path that ends in `.json`, `.yml` or `.yaml`";
    let files = section.get("files").each(|item| item.string().ensure(expected, known).required()).required();
    let refresh = section.get("refresh_interval").prometheus_duration().above_zero().or(Duration::from_secs(300));
    Some(Discovery::Files { patterns: files?.into_iter().map(PathBuf::from).collect(), refresh })
}

fn read_http(section: &mut Section<'_>, addresses: Addresses) -> Option<Discovery> {
    let url = section.get("url").parse_with("a URL such as `http://localhost:8080/targets`", HttpEndpoint::parse);
    let url = url.required();
    let refresh = section.get("refresh_interval").prometheus_duration().above_zero().or(Duration::from_secs(60));
    let client = Box::new(read_client(section, addresses)?);
    let url = configured::url(&url?).map_err(|message| section.error("url", message)).ok()?;
    Some(Discovery::Http { url, refresh, client })
}

/// Checked now, so that an error shows early; found at work later.
fn read_dns(section: &mut Section<'_>) {
    section.get("names").strings().required();
    let kind = section.get("type").one_of(&[("SRV", "SRV"), ("A", "A"), ("AAAA", "AAAA"), ("MX", "MX"), ("NS", "NS")]);
    let needs_port = kind.or("SRV") != "SRV";
    let port = section.get("port").integer::<u16>();
    if needs_port {
        port.required();
    } else {
        port.optional();
    }
    section.get("refresh_interval").prometheus_duration().above_zero().optional();
    section.fail("not built yet: discovery by DNS; static, file and http discovery work");
}

fn read_kubernetes(section: &mut Section<'_>) {
    let roles = ["node", "pod", "service", "endpoints", "endpointslice", "ingress"];
    section.get("role").one_of(&roles.map(|role| (role, ()))).required();
    for key in ["api_server", "kubeconfig_file"] {
        section.get(key).string().optional();
    }
    section.child("namespaces", |namespaces| {
        namespaces.get("own_namespace").bool().optional();
        namespaces.get("names").strings().optional();
    });
    section.children("selectors", |selector| {
        selector.get("role").one_of(&roles.map(|role| (role, ()))).required();
        selector.get("label").string().optional();
        selector.get("field").string().optional();
    });
    section.child("attach_metadata", |attach| {
        for key in ["node", "namespace"] {
            attach.get(key).bool().optional();
        }
    });
    read_client(section, Addresses::ButLinkLocal);
    section.fail("not built yet: discovery in Kubernetes; static, file and http discovery work");
}

// === HTTP ===

fn read_client(section: &mut Section<'_>, addresses: Addresses) -> Option<HttpClientSettings> {
    let mut client = HttpClientSettings { timeout: None, ..HttpClientSettings::default() };
    client.credentials = read_authorization(section);
    client.tls = section.child("tls_config", read_tls);
    let follow = section.get("follow_redirects").bool().or(true);
    client.redirects = if follow { Redirects::AnyHostWithoutCredentials } else { Redirects::Refused };
    if !section.get("enable_http2").bool().or(true) {
        client.version = HttpVersion::Http1;
    }
    if addresses == Addresses::ButLinkLocal {
        client.address_is_allowed = |address| !is_link_local(address);
    }
    if let Some(proxy) = section.get("proxy_url").parse_with("a URL", HttpEndpoint::parse).optional() {
        let proxy = configured::url(&proxy).and_then(|url| Proxy::new(&url).map_err(|error| error.to_string()));
        client.proxy = proxy.map_err(|message| section.error("proxy_url", message)).ok();
    }
    let headers = section.named_children("http_headers", |_, header| {
        let mut values = header.get("values").strings().or_default();
        values.extend(header.get("secrets").strings().or_default());
        header.unsupported("files", "header values from files");
        values
    });
    let pairs = headers.into_iter().flat_map(|(name, values)| {
        values.into_iter().map(move |value| (name.value.clone(), config::Secret::new(value)))
    });
    client.headers =
        configured::headers(&pairs.collect()).map_err(|message| section.error("http_headers", message)).ok()?;
    for key in ["no_proxy", "proxy_from_environment", "proxy_connect_header"] {
        section.unsupported(key, "this option of a proxy");
    }
    section.unsupported("oauth2", "OAuth 2.0");
    Some(client)
}

fn is_link_local(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(address) => address.is_link_local(),
        std::net::IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_link_local())
        }
    }
}

fn read_authorization(section: &mut Section<'_>) -> Option<Arc<dyn Credentials>> {
    let basic = section.child_if_present("basic_auth", read_basic);
    let header = section.child_if_present("authorization", |header| {
        let scheme = header.get("type").string().or("Bearer".to_owned());
        let credentials = header.get("credentials").secret().optional();
        let file = header.get("credentials_file").string().optional();
        let made = token(&scheme, credentials, file)?;
        made.map_err(|error| header.fail(error.to_string())).ok()
    });
    let given = section.get("bearer_token").secret().optional();
    let file = section.get("bearer_token_file").string().optional();
    let old = token("Bearer", given, file)
        .and_then(|made| made.map_err(|error| section.error("bearer_token", error.to_string())).ok());
    let mut all = [basic.flatten(), header.flatten(), old].into_iter().flatten();
    let first = all.next();
    if all.next().is_some() {
        section.fail(
            "expected one of `basic_auth`, `authorization`, `bearer_token` and `bearer_token_file`, found several",
        );
    }
    first
}

type Made = Result<Arc<dyn Credentials>, CredentialsError>;

fn token(scheme: &str, given: Option<config::Secret>, file: Option<String>) -> Option<Made> {
    match (given, file) {
        (Some(token), _) => Some(
            Authorization::bearer(scheme, &Secret::new(token.expose()))
                .map(|made| Arc::new(made) as Arc<dyn Credentials>),
        ),
        (None, Some(path)) => Some(
            ReloadedAuthorization::bearer(scheme, path.as_ref()).map(|made| Arc::new(made) as Arc<dyn Credentials>),
        ),
        (None, None) => None,
    }
}

fn read_basic(basic: &mut Section<'_>) -> Option<Arc<dyn Credentials>> {
    let user = Secret::new(basic.get("username").string().or_default());
    let user_file = basic.get("username_file").string().non_empty().optional();
    let password = basic.get("password").secret().optional();
    let password = Secret::new(password.map(|secret| secret.expose().to_owned()).unwrap_or_default());
    let password_file = basic.get("password_file").string().non_empty().optional();
    let made =
        ReloadedAuthorization::basic(source(&user, user_file.as_ref()), source(&password, password_file.as_ref()));
    made.map(|made| Arc::new(made) as Arc<dyn Credentials>).map_err(|error| basic.fail(error.to_string())).ok()
}

fn source<'a>(given: &'a Secret, file: Option<&'a String>) -> Source<'a> {
    match file {
        Some(path) => Source::File(std::path::Path::new(path)),
        None => Source::Given(given),
    }
}

fn read_tls(section: &mut Section<'_>) -> ClientTls {
    let mut pem = |file: &'static str, text: &'static str| {
        let inline = section.get(text).secret().optional().map(TlsMaterial::Pem);
        let path = section.get(file).string().non_empty().optional().map(|path| TlsMaterial::File(path.into()));
        inline.or(path).map(|material| match material {
            TlsMaterial::File(path) => Pem::File(path),
            TlsMaterial::Pem(text) => Pem::Inline(Secret::new(text.expose())),
        })
    };
    let (ca, certificate, key) = (pem("ca_file", "ca"), pem("cert_file", "cert"), pem("key_file", "key"));
    let versions = [("TLS12", TlsVersion::V1_2), ("TLS13", TlsVersion::V1_3)];
    let mut version = |key: &'static str| {
        section.get(key).one_of(&versions).optional().map(|version| match version {
            TlsVersion::V1_2 => transport::tls::TlsVersion::V1_2,
            TlsVersion::V1_3 => transport::tls::TlsVersion::V1_3,
        })
    };
    let (min_version, max_version) = (version("min_version"), version("max_version"));
    let skip = section.get("insecure_skip_verify").bool().or(false);
    ClientTls {
        ca,
        certificate,
        key,
        verification: if skip { ServerVerification::InsecureSkip } else { ServerVerification::Full },
        server_name_override: section.get("server_name").string().non_empty().optional(),
        min_version,
        max_version,
        // Prometheus reads certificates again when they change.
        reload_interval: Some(Duration::from_secs(60)),
        ..ClientTls::default()
    }
}
