//! Nodes and resources to attributes of a resource.

use std::collections::BTreeMap;

use otlp::encode::ResourceWriter;

use super::proto::{Node, Resource, Timestamp};

/// `LibraryInfo.Language` as `telemetry.sdk.language` has it, from 1 on.
const LANGUAGES: [&str; 10] = ["cpp", "dotnet", "erlang", "go", "java", "nodejs", "php", "python", "ruby", "webjs"];

/// The attributes of a resource, in the order of their keys.
pub(super) struct Described {
    texts: BTreeMap<String, String>,
    pid: Option<u32>,
}

impl Described {
    /// What a node and a resource say. The node's own fields beat attributes and labels of the same name.
    pub(super) fn new(node: Option<&Node>, resource: Option<&Resource>) -> Described {
        let mut described = Described { texts: BTreeMap::new(), pid: None };
        for (key, value) in resource.into_iter().flat_map(|resource| &resource.labels) {
            let key = if key == "cloud.zone" { "cloud.availability_zone" } else { key };
            described.texts.insert(key.to_owned(), value.clone());
        }
        if let Some(node) = node {
            described.add_node(node);
        }
        if let Some(resource) = resource {
            described.add("opencensus.resourcetype", &resource.kind);
        }
        described
    }

    fn add(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.texts.insert(key.to_owned(), value.to_owned());
        }
    }

    fn add_node(&mut self, node: &Node) {
        self.texts.extend(node.attributes.iter().map(|(key, value)| (key.clone(), value.clone())));
        if let Some(service) = &node.service_info {
            self.add("service.name", &service.name);
        }
        if let Some(process) = &node.identifier {
            self.add("host.name", &process.host_name);
            self.add("opencensus.starttime", &process.start_timestamp.map(rfc3339).unwrap_or_default());
            self.pid = Some(process.pid).filter(|pid| *pid > 0);
            if self.pid.is_some() {
                self.texts.remove("process.pid");
            }
        }
        if let Some(library) = &node.library_info {
            let language = usize::try_from(library.language).ok().and_then(|number| number.checked_sub(1));
            self.add("telemetry.sdk.language", language.and_then(|at| LANGUAGES.get(at)).unwrap_or(&""));
            self.add("telemetry.sdk.version", &library.core_library_version);
            self.add("opencensus.exporterversion", &library.exporter_version);
        }
    }

    /// About what it takes in a batch, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.texts.iter().map(|(key, value)| key.len() + value.len() + 16).sum()
    }

    pub(super) fn write(&self, out: &mut ResourceWriter<'_>) {
        for (key, value) in &self.texts {
            out.attributes().string(key, value);
        }
        if let Some(pid) = self.pid {
            out.attributes().int("process.pid", i64::from(pid));
        }
    }
}

/// Nothing for a time that is none.
fn rfc3339(timestamp: Timestamp) -> String {
    jiff::Timestamp::new(timestamp.seconds, timestamp.nanos).map(|time| time.to_string()).unwrap_or_default()
}
