//! From a discovered address to a target: labels, relabelling, and the URL that is scraped.

use prom::labels::{LabelBuilder, LabelSet};
use prom::relabel::{Verdict, relabel};
use url::Url;

use super::settings::{Group, Job};

/// Labels that start with this are gone after relabelling.
const META_PREFIX: &str = "__";
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";

/// What is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    /// What every series of the target gets.
    pub(super) labels: LabelSet,
    pub(super) interval: std::time::Duration,
    pub(super) timeout: std::time::Duration,
    /// What Kubernetes' discovery said, for the resource.
    pub(super) attributes: Vec<(String, String)>,
}

/// The targets of a group; what relabelling drops is left out, and what makes no sense is reported.
pub(super) fn targets(job: &Job, group: &Group) -> Vec<Result<Target, String>> {
    group.targets.iter().filter_map(|address| target(job, group, address).transpose()).collect()
}

fn target(job: &Job, group: &Group, address: &str) -> Result<Option<Target>, String> {
    let mut labels = LabelBuilder::default();
    labels.set(ADDRESS, address);
    labels.set("job", &job.name);
    labels.set(SCHEME, &job.scheme);
    labels.set(METRICS_PATH, &job.metrics_path);
    labels.set(SCRAPE_INTERVAL, &config::duration::show(job.interval));
    labels.set(SCRAPE_TIMEOUT, &config::duration::show(job.timeout));
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            labels.set(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    group.labels.iter().for_each(|(name, value)| labels.set(name, value));
    if relabel(&job.relabel, &mut labels) == Verdict::Drop || labels.get(ADDRESS).is_empty() {
        return Ok(None);
    }
    finish(job, labels).map(Some)
}

fn finish(job: &Job, mut labels: LabelBuilder) -> Result<Target, String> {
    let attributes = prom::scrape::Target::discovered_attributes(|name| Some(labels.get(name)));
    let address = labels.get(ADDRESS).to_owned();
    let scheme = labels.get(SCHEME).to_owned();
    if !super::settings::is_address(&address) {
        return Err(format!("`{address}` is no address: expected `host:port`"));
    }
    if scheme != "http" && scheme != "https" {
        return Err(format!("`{scheme}` is no scheme that can be scraped: expected `http` or `https`"));
    }
    let path = labels.get(METRICS_PATH);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!("{scheme}://{address}{slash}{path}");
    let mut url = Url::parse(&text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    set_params(&mut url, job, &labels);
    let duration = |name: &str, usual| match labels.get(name) {
        "" => Ok(usual),
        text => config::duration::parse_prometheus(text).map_err(|error| format!("{name}: {error}")),
    };
    let (interval, timeout) = (duration(SCRAPE_INTERVAL, job.interval)?, duration(SCRAPE_TIMEOUT, job.timeout)?);
    if interval.is_zero() || timeout.is_zero() || timeout > interval {
        return Err(format!("a timeout of {timeout:?} does not fit an interval of {interval:?}"));
    }
    if labels.get("instance").is_empty() {
        labels.set("instance", &address);
    }
    labels.retain(|name| !name.starts_with(META_PREFIX));
    Ok(Target { url, labels: labels.build(), interval, timeout, attributes })
}

/// The parameters of the job; the first value of each may have been changed by relabelling.
fn set_params(url: &mut Url, job: &Job, labels: &LabelBuilder) {
    let relabelled = labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(PARAM_PREFIX)?, value)));
    let mut firsts: Vec<(String, String)> =
        relabelled.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    firsts.sort();
    if firsts.is_empty() {
        return;
    }
    let mut query = url.query_pairs_mut();
    for (name, first) in &firsts {
        query.append_pair(name, first);
        let rest = job.params.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, values)| &values[..]);
        for value in rest.iter().skip(1) {
            query.append_pair(name, value);
        }
    }
}
