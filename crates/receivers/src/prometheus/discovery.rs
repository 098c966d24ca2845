//! Static, file and http discovery.
//!
//! Formats: Prometheus documentation, `<static_config>`, `<file_sd_config>`, `<http_sd_config>`. A source that fails keeps
//! the targets that it gave before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::{Diagnostics, Section, TestEnvironment};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use transport::http_client::{HttpClient, HttpRequest};
use url::Url;

use super::settings::{Discovery, Group, Job, is_address};

/// What discovery answers may be as large as.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Files are looked at this often, so that a change is seen soon; they are read when they have changed.
const FILES_LOOK: Duration = Duration::from_secs(5);

/// All sources of a job.
pub(super) struct Watcher {
    job: String,
    sources: Vec<Source>,
    first: bool,
}

struct Source {
    kind: Kind,
    every: Duration,
    due: Instant,
    groups: Vec<Group>,
    failing: bool,
}

enum Kind {
    Static,
    Files { patterns: Vec<PathBuf>, known: BTreeMap<PathBuf, (SystemTime, u64)>, groups: BTreeMap<PathBuf, Vec<Group>> },
    Http { url: Url, client: Result<HttpClient, String>, refresh: Duration },
}

/// Never due again.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

impl Watcher {
    pub(super) fn new(job: &Job) -> Watcher {
        let now = Instant::now();
        let sources = job.discovery.iter().map(|discovery| match discovery {
            Discovery::Static(group) => Source {
                kind: Kind::Static,
                every: NEVER,
                due: now + NEVER,
                groups: vec![group.clone()],
                failing: false,
            },
            Discovery::Files { patterns, refresh } => {
                let (known, groups) = (BTreeMap::new(), BTreeMap::new());
                let kind = Kind::Files { patterns: patterns.clone(), known, groups };
                Source { kind, every: FILES_LOOK.min(*refresh), due: now, groups: Vec::new(), failing: false }
            }
            Discovery::Http { url, refresh, client } => {
                let client = HttpClient::new((**client).clone()).map_err(|error| error.to_string());
                let kind = Kind::Http { url: url.clone(), client, refresh: *refresh };
                Source { kind, every: *refresh, due: now, groups: Vec::new(), failing: false }
            }
        });
        Watcher { job: job.name.clone(), sources: sources.collect(), first: true }
    }

    /// Waits for the next look at some source, and says whether anything has changed.
    pub(super) async fn next(&mut self) -> bool {
        let job = self.job.clone();
        let due = self.sources.iter().map(|source| source.due).min();
        let mut changed = std::mem::take(&mut self.first) && due.is_none_or(|due| due > Instant::now());
        if changed {
            return true;
        }
        tokio::time::sleep_until(due.unwrap_or_else(|| Instant::now() + NEVER)).await;
        for source in self.sources.iter_mut().filter(|source| source.due <= Instant::now()) {
            let before = std::mem::take(&mut source.groups);
            match source.kind.look(&before).await {
                Ok(groups) => {
                    source.failing = false;
                    source.groups = groups;
                }
                Err(error) => {
                    if !source.failing {
                        tracing::warn!(job, error, "discovery failed; the targets that it gave before stay");
                    }
                    source.failing = true;
                    source.groups.clone_from(&before);
                }
            }
            source.due = Instant::now() + source.every;
            changed |= source.groups != before;
        }
        changed
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.sources.iter().flat_map(|source| &source.groups)
    }
}

impl Kind {
    async fn look(&mut self, before: &[Group]) -> Result<Vec<Group>, String> {
        match self {
            Kind::Static => Ok(before.to_vec()),
            Kind::Files { patterns, known, groups } => read_files(patterns, known, groups),
            Kind::Http { url, client, refresh } => fetch(client.as_ref().map_err(Clone::clone)?, url, *refresh).await,
        }
    }
}

// === files ===

/// Reads the files that have changed. One that is wrong keeps what it gave before.
fn read_files(
    patterns: &[PathBuf],
    known: &mut BTreeMap<PathBuf, (SystemTime, u64)>,
    groups: &mut BTreeMap<PathBuf, Vec<Group>>,
) -> Result<Vec<Group>, String> {
    let mut wrong = None;
    let mut present = Vec::new();
    for path in patterns.iter().flat_map(|pattern| expand(pattern)) {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        present.push(path.clone());
        let stamp = (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len());
        if known.get(&path) == Some(&stamp) {
            continue;
        }
        match read_file(&path) {
            Ok(read) => {
                groups.insert(path.clone(), read);
            }
            Err(error) => wrong = Some(format!("{}: {error}", path.display())),
        }
        known.insert(path, stamp);
    }
    known.retain(|path, _| present.contains(path));
    groups.retain(|path, _| present.contains(path));
    if let Some(wrong) = wrong {
        tracing::warn!(wrong, "a file of targets cannot be read; what it gave before stays");
    }
    Ok(groups.values().flatten().cloned().collect())
}

/// The files that a pattern names: `*` in the last part stands for any characters.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let (Some(name), Some(parent)) = (pattern.file_name().and_then(|name| name.to_str()), pattern.parent()) else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let matches =
        |name: &str| name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(matches))
        .collect();
    found.sort();
    found
}

fn read_file(path: &Path) -> Result<Vec<Group>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let filepath = path.to_string_lossy().into_owned();
    let mut groups = parse_groups(&filepath, &text)?;
    for group in &mut groups {
        group.labels.push(("__meta_filepath".to_owned(), filepath.clone()));
    }
    Ok(groups)
}

/// `[{targets: […], labels: {…}}]`, in YAML or JSON.
fn parse_groups(name: &str, text: &str) -> Result<Vec<Group>, String> {
    // Files of targets know no `${…}`.
    let literal = text.replace('$', "$$");
    let wrapped = config::parse_str(name, &literal, &TestEnvironment::new()).map_err(|errors| errors.to_string())?;
    let Some(items) = wrapped.root.as_seq() else {
        return if wrapped.root.is_null() {
            Ok(Vec::new())
        } else {
            Err("expected a list of groups of targets".to_owned())
        };
    };
    let mut diagnostics = Diagnostics::new();
    let groups: Vec<Group> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            Section::open(item, config::Path::root().index(index), &mut diagnostics).read(|group| Group {
                targets: group.get("targets").each(|target| target.string().required()).or_default(),
                labels: group.get("labels").string_map().or_default(),
            })
        })
        .collect();
    diagnostics.finish().map_err(|errors| errors.to_string())?;
    match groups.iter().flat_map(|group| &group.targets).find(|target| !is_address(target)) {
        Some(wrong) => Err(format!("`{wrong}` is no address: expected `host:port`")),
        None => Ok(groups),
    }
}

// === http ===

async fn fetch(client: &HttpClient, url: &Url, refresh: Duration) -> Result<Vec<Group>, String> {
    /// An endpoint that answers slowly must not hold up a job for ever.
    const TIMEOUT: Duration = Duration::from_secs(30);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let seconds = HeaderName::from_static("x-prometheus-refresh-interval-seconds");
    headers.insert(seconds, HeaderValue::from(refresh.as_secs()));
    let mut request = HttpRequest::get(url.clone());
    request.headers = headers;
    request.timeout = Some(TIMEOUT);
    request.response_bytes_max = Some(ANSWER_BYTES_MAX);
    let reply = client.send(request).await.map_err(|error| error.to_string())?;
    let shown = transport::http_client::shown(url);
    if reply.status != http::StatusCode::OK {
        return Err(format!("{shown} answered {}", reply.status));
    }
    let json = reply.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !json || reply.truncated {
        return Err(format!("{shown}: expected `application/json` of at most {ANSWER_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(&reply.body).map_err(|error| format!("{shown}: {error}"))?;
    let mut groups = parse_groups(&shown, text)?;
    for group in &mut groups {
        group.labels.push(("__meta_url".to_owned(), url.to_string()));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_from_json_and_from_yaml() {
        let expected =
            vec![Group { targets: vec!["a:1".into(), "b:2".into()], labels: vec![("team".into(), "sh${x}op".into())] }];
        let json = r#"[{"targets": ["a:1", "b:2"], "labels": {"team": "sh${x}op"}}]"#;
        assert_eq!(parse_groups("x.json", json), Ok(expected.clone()));
        assert_eq!(parse_groups("x.yaml", "- targets: [a:1, b:2]\n  labels: {team: 'sh${x}op'}\n"), Ok(expected));
        assert_eq!(parse_groups("x.yaml", ""), Ok(vec![]));
    }

    #[test]
    fn a_target_that_is_a_url_or_a_file_is_refused() {
        for wrong in ["http://a:1", "file:///etc/passwd", "a:1/metrics", ""] {
            assert!(parse_groups("x.json", &format!(r#"[{{"targets": ["{wrong}"]}}]"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_names_the_files_that_match() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.json", "ab.json", "b.json", "a.yaml"] {
            std::fs::write(directory.path().join(name), "[]").unwrap();
        }
        let found = expand(&directory.path().join("a*.json"));
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.json", "ab.json"]);
    }
}
