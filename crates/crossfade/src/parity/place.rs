//! Where a side is: recordings, or backends by their kind.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use otlp::Signal;
use transport::http_client::shown;
use url::Url;

/// What answers queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The Prometheus HTTP API.
    Prometheus,
    /// Jaeger's query API, version 1.
    Jaeger,
    /// Loki's HTTP API.
    Loki,
    /// The queries of VictoriaLogs.
    VictoriaLogs,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Prometheus, Kind::Jaeger, Kind::Loki, Kind::VictoriaLogs];

    /// The word for it in addresses and configurations.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Prometheus => "prometheus",
            Kind::Jaeger => "jaeger",
            Kind::Loki => "loki",
            Kind::VictoriaLogs => "victorialogs",
        }
    }

    /// What it keeps.
    pub(super) const fn signal(self) -> Signal {
        match self {
            Kind::Prometheus => Signal::Metrics,
            Kind::Jaeger => Signal::Traces,
            Kind::Loki | Kind::VictoriaLogs => Signal::Logs,
        }
    }

    pub(super) fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where a part of a side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file, or a directory of captured requests.
    Recording(PathBuf),
    /// A backend.
    Backend(Kind, Url),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains("://") {
            return match text.split_once('=') {
                Some((name, _)) if Kind::named(name).is_some() => {
                    Err(format!("expected an address such as `{name}=http://localhost:9090`"))
                }
                _ => Ok(Place::Recording(text.into())),
            };
        }
        let (kind, address) = match text.split_once('=') {
            Some((name, address)) if !name.contains(['/', ':']) => {
                let kinds = Kind::ALL.map(Kind::name).join("`, `");
                let kind = Kind::named(name).ok_or_else(|| format!("`{name}` is none of `{kinds}`"))?;
                (kind, address)
            }
            _ => (Kind::Prometheus, text),
        };
        Ok(Place::Backend(kind, address_of(address)?))
    }
}

/// Reads the address of a backend.
pub(super) fn address_of(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(format!("`{scheme}` is neither `http` nor `https`, and files are named without a scheme")),
    }
}

/// Without what is secret in an address.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Recording(path) => path.display().fmt(f),
            Place::Backend(_, url) => f.write_str(&shown(url)),
        }
    }
}

/// A header of requests; its value is never shown.
#[derive(Clone)]
pub(super) struct Header {
    /// The only kind of backends that gets it; all do, if absent.
    kind: Option<Kind>,
    name: HeaderName,
    value: HeaderValue,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
        let value = match value.strip_prefix('@') {
            Some(path) => fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
            None => value.to_owned(),
        };
        let (kind, name) = match name.split_once(':') {
            Some((kind, name)) => {
                (Some(Kind::named(kind).ok_or_else(|| format!("`{kind}` is no kind of backend"))?), name)
            }
            None => (None, name),
        };
        let (name, value) = header(name, &value)?;
        Ok(Header { kind, name, value })
    }
}

/// Reads a header.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_str(name).map_err(|_| format!("`{name}` is no name of a header"))?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| "the value holds invalid characters")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The headers that a backend of a kind gets: those for its kind go before those for all.
pub(super) fn headers_of(kind: Kind, headers: &[Header]) -> HeaderMap {
    let mut all = HeaderMap::new();
    for meant_for in [None, Some(kind)] {
        for header in headers.iter().filter(|header| header.kind == meant_for) {
            all.insert(header.name.clone(), header.value.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_an_address_with_its_kind() {
        assert_eq!("a/b.jsonl".parse(), Ok(Place::Recording("a/b.jsonl".into())));
        let url: Place = "https://user:secret@host/prometheus".parse().unwrap();
        assert_eq!(url.to_string(), "https://host/prometheus");
        assert!(matches!(url, Place::Backend(Kind::Prometheus, _)));
        let url: Place = "http://host/x?a=b".parse().unwrap();
        assert!(matches!(url, Place::Backend(Kind::Prometheus, _)));
        for kind in Kind::ALL {
            let place: Place = format!("{}=http://host/select/jaeger", kind.name()).parse().unwrap();
            assert!(matches!(place, Place::Backend(found, _) if found == kind), "{place:?}");
        }
        for (wrong, expected) in [
            ("ftp://host", "neither `http` nor `https`"),
            ("zipkin=http://host", "`zipkin` is none of `prometheus`, `jaeger`"),
            ("loki=host:3100", "expected an address such as `loki=http://"),
        ] {
            let said = wrong.parse::<Place>().unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_header_does_not_show_its_value_and_may_be_meant_for_one_kind() {
        let header: Header = "X-Scope-OrgID=tenant".parse().unwrap();
        assert_eq!(format!("{header:?}"), "x-scope-orgid=…");
        let only: Header = "loki:X-Scope-OrgID=logs".parse().unwrap();
        let headers = [only, header];
        assert_eq!(headers_of(Kind::Loki, &headers)["x-scope-orgid"], "logs");
        assert_eq!(headers_of(Kind::Prometheus, &headers)["x-scope-orgid"], "tenant");
        assert!("nothing".parse::<Header>().is_err());
        assert!("graphite:a=b".parse::<Header>().is_err());
        assert!("a=@/does/not/exist".parse::<Header>().is_err());
    }
}
