//! `migration.legacy.query` and `migration.new.query`: where each side answers queries, by signal.

use config::Section;
use http::HeaderMap;
use url::Url;

use super::place::{Kind, address_of, header};

/// A backend that answers queries.
#[derive(Clone, Debug)]
pub(super) struct Queried {
    pub(super) kind: Kind,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

/// Reads the section `query` of a side: `{metrics: {prometheus: URL}, traces: {jaeger: URL}, logs: {loki: URL}}`, where
/// an address may also be `{endpoint: URL, headers: {…}}`.
pub(super) fn read_query(query: &mut Section<'_>) -> Vec<Queried> {
    const METRICS: &[(&str, Kind)] = &[("prometheus", Kind::Prometheus)];
    const TRACES: &[(&str, Kind)] = &[("jaeger", Kind::Jaeger)];
    const LOGS: &[(&str, Kind)] = &[("loki", Kind::Loki), ("victorialogs", Kind::VictoriaLogs)];
    let signals = [("metrics", METRICS), ("traces", TRACES), ("logs", LOGS)];
    let read = |(signal, kinds)| query.child_if_present(signal, |section| read_signal(section, kinds)).flatten();
    signals.into_iter().filter_map(read).collect()
}

fn read_signal(section: &mut Section<'_>, kinds: &[(&'static str, Kind)]) -> Option<Queried> {
    let mut found: Vec<Queried> = Vec::new();
    let mut named = 0;
    for (name, kind) in kinds {
        named += usize::from(section.has(name));
        found.extend(read_backend(section, name, *kind));
    }
    let names: Vec<String> = kinds.iter().map(|(name, _)| format!("`{name}`")).collect();
    match named {
        0 => section.fail(format!("expected {} with an address", names.join(" or "))),
        1 => {}
        _ => section.fail(format!("expected only one of {}", names.join(" and "))),
    }
    found.pop()
}

fn read_backend(section: &mut Section<'_>, name: &'static str, kind: Kind) -> Option<Queried> {
    const ADDRESS: &str = "an address such as `http://localhost:9090`";
    let is_map = section.get(name).node()?.as_map().is_some();
    if !is_map {
        let url = section.get(name).parse_with(ADDRESS, address_of).required()?;
        return Some(Queried { kind, url, headers: HeaderMap::new() });
    }
    section.child(name, |backend| {
        let url = backend.get("endpoint").parse_with(ADDRESS, address_of).required();
        let mut headers = HeaderMap::new();
        for (name, value) in backend.get("headers").secret_map().or_default() {
            match header(&name, value.expose()) {
                Ok((name, value)) => drop(headers.insert(name, value)),
                Err(problem) => backend.error("headers", problem),
            }
        }
        Some(Queried { kind, url: url?, headers })
    })
}

#[cfg(test)]
mod tests {
    use config::{Diagnostics, TestEnvironment};

    use super::*;

    fn read(text: &str) -> Result<Vec<Queried>, String> {
        let environment = TestEnvironment::new().with_var("TENANT", "shop");
        let loaded = config::parse_str("c.yaml", text, &environment).map_err(|errors| errors.render())?;
        let mut diagnostics = Diagnostics::new();
        let queried = Section::open(&loaded.root, "query", &mut diagnostics).read(read_query);
        diagnostics.finish_with(Some(queried)).map(|(queried, _)| queried).map_err(|errors| errors.render())
    }

    #[test]
    fn each_signal_has_a_backend_with_its_headers() {
        let text = "metrics: {prometheus: http://p:9090}
traces: {jaeger: http://j:16686}
logs: {loki: {endpoint: http://l:3100, headers: {X-Scope-OrgID: \"${env:TENANT}\"}}}
";
        let queried = read(text).unwrap();
        let kinds: Vec<Kind> = queried.iter().map(|backend| backend.kind).collect();
        assert_eq!(kinds, [Kind::Prometheus, Kind::Jaeger, Kind::Loki]);
        assert_eq!(queried[2].headers["x-scope-orgid"], "shop");
        assert!(!format!("{queried:?}").contains("shop"), "a header is never shown");
        assert!(read("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("metrics: {jaeger: http://j}", "query.metrics"),
            ("logs: {loki: http://l, victorialogs: http://v}", "expected only one of `loki` and `victorialogs`"),
            ("traces: {jaeger: ftp://j}", "an address such as"),
            ("traces: {jaeger: {headers: {a: b}}}", "query.traces.jaeger.endpoint"),
            ("traces: {jaeger: {endpoint: http://j, headers: {\"a b\": c}}}", "no name of a header"),
            ("trace: {jaeger: http://j}", "did you mean `traces`?"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
    }
}
