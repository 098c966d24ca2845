//! The `container` operator: what docker, containerd and cri-o write around a container's lines.
//!
//! Formats: Docker's json-file driver; the Kubernetes Container Runtime Interface, "kubelet logs": a time, the stream, a
//! tag (`P` for a part of a line, `F` for its end) and the text. Parts are put together again.

use config::Section;

use super::OperatorError;
use super::entry::{Entry, Field, Root, Value};
use super::parser::{Numbers, json};
use super::recombine::Recombine;
use super::settings::field;
use super::time::rfc3339;

/// Reads one line of a container's log.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    format: Format,
    parse_from: Field,
    metadata: Metadata,
    pub(super) recombine: Recombine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Detected,
    Docker,
    /// containerd and cri-o.
    Cri,
}

/// Whether the path of the file says which pod it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metadata {
    FromPath,
    None,
}

/// Whether a record is whole.
pub(super) enum Parsed {
    Whole,
    /// It goes through the recombination of parts.
    Part,
}

const PATH: &str = "log.file.path";

impl Container {
    /// Reads `format`, `parse_from`, `add_metadata_from_filepath` and `max_log_size`.
    pub(super) fn read(section: &mut Section<'_>) -> Container {
        let formats =
            [("", Format::Detected), ("docker", Format::Docker), ("containerd", Format::Cri), ("crio", Format::Cri)];
        let format = section.get("format").one_of(&formats).or(Format::Detected);
        let parse_from = field(section, "parse_from").unwrap_or(Field::BODY);
        let metadata = match section.get("add_metadata_from_filepath").bool().or(true) {
            true => Metadata::FromPath,
            false => Metadata::None,
        };
        let size_bytes_max = section.get("max_log_size").bytes().or(0);
        section.unsupported("parse_to", "another place than the attributes");
        Container { format, parse_from, metadata, recombine: Recombine::of_parts(size_bytes_max) }
    }

    /// Parses a record.
    pub(super) fn apply(&self, entry: &mut Entry) -> Result<Parsed, OperatorError> {
        let value = self.parse_from.get(entry).ok_or_else(|| OperatorError::no_field(&self.parse_from))?;
        let Value::String(text) = value else {
            let field = self.parse_from.to_string();
            return Err(OperatorError::Kind { field, expected: "text", found: value.kind() });
        };
        let is_docker = match self.format {
            Format::Detected => text.starts_with('{'),
            format => format == Format::Docker,
        };
        let parsed = if is_docker { docker(&text.clone(), entry)? } else { cri(&text.clone(), entry)? };
        if self.metadata == Metadata::FromPath {
            metadata(entry)?;
        }
        Ok(parsed)
    }
}

fn docker(text: &str, entry: &mut Entry) -> Result<Parsed, OperatorError> {
    let mut values = json(text, Numbers::Doubles)?;
    let mut take = |key: &'static str| match values.remove(key) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(OperatorError::Container { missing: key }),
    };
    let (log, stream, time) = (take("log")?, take("stream")?, take("time")?);
    let error = |error| OperatorError::Time { field: "time".to_owned(), error };
    entry.time_unix_ns = rfc3339(&time).map_err(error)?;
    entry.body = log.strip_suffix('\n').unwrap_or(&log).into();
    entry.set_attribute("log.iostream", stream.as_str().into());
    for (key, value) in values {
        entry.set_attribute(&key, value);
    }
    Ok(Parsed::Whole)
}

fn cri(text: &str, entry: &mut Entry) -> Result<Parsed, OperatorError> {
    let mut parts = text.splitn(4, ' ');
    let time = parts.next().unwrap_or_default();
    let stream = parts.next().filter(|stream| matches!(*stream, "stdout" | "stderr"));
    let stream = stream.ok_or(OperatorError::Container { missing: "stream" })?.to_owned();
    let tag = parts.next().ok_or(OperatorError::Container { missing: "logtag" })?.to_owned();
    let error = |error| OperatorError::Time { field: "time".to_owned(), error };
    entry.time_unix_ns = rfc3339(time).map_err(error)?;
    entry.body = parts.next().unwrap_or_default().into();
    entry.set_attribute("log.iostream", Value::String(stream));
    entry.set_attribute("logtag", Value::String(tag));
    Ok(Parsed::Part)
}

/// `…/<namespace>_<pod>_<uid>/<container>/<restarts>.log`, as the kubelet names its files.
fn metadata(entry: &mut Entry) -> Result<(), OperatorError> {
    let path = Field::attribute(PATH);
    let path = path.get(entry).and_then(Value::as_str).ok_or_else(|| OperatorError::no_field(&path))?;
    let named = pod(path).ok_or_else(|| OperatorError::Path { path: path.to_owned() })?;
    let named = named.map(|(key, value)| (key, Value::from(value)));
    for (key, value) in named {
        let field = Field { root: Root::Resource, keys: vec![key.to_owned()] };
        field.set(entry, value)?;
    }
    Ok(())
}

fn pod(path: &str) -> Option<[(&'static str, &str); 5]> {
    let mut parts = path.rsplitn(4, ['/', '\\']);
    let (file, container, pod) = (parts.next()?, parts.next()?, parts.next()?);
    // What stands before the pod's directory is of no interest, but there is something.
    parts.next()?;
    let restarts = file.strip_suffix(".log").filter(|text| !text.is_empty())?;
    let mut names = pod.split('_');
    let (namespace, name, uid) = (names.next()?, names.next()?, names.next()?);
    let is_uid = !uid.is_empty() && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    let is_pod = names.next().is_none()
        && is_uid
        && restarts.bytes().all(|byte| byte.is_ascii_digit())
        && [namespace, name, container].iter().all(|text| !text.is_empty());
    is_pod.then_some([
        ("k8s.container.name", container),
        ("k8s.namespace.name", namespace),
        ("k8s.pod.name", name),
        ("k8s.container.restart_count", restarts),
        ("k8s.pod.uid", uid),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_pod() {
        let path = "/var/log/pods/shop_web-1_49cc7c1f-d370-2c40/nginx/3.log";
        let named = pod(path).unwrap().map(|(_, value)| value);
        assert_eq!(named, ["nginx", "shop", "web-1", "3", "49cc7c1f-d370-2c40"]);
        for wrong in
            ["3.log", "/a/b/3.log", "/x/a_b_xyz/c/3.log", "/x/a_b_1/c/x.log", "/x/a_b_1_2/c/3.log", "a_b_1/c/3.log"]
        {
            assert_eq!(pod(wrong), None, "{wrong}");
        }
    }
}
