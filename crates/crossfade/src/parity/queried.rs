//! A backend that a configuration names.

use http::HeaderMap;
use pipeline::QuerySettings;
use transport::http_client::shown;
use url::Url;

use super::place::{Kind, address_of, header};

/// A backend that answers queries.
#[derive(Clone, Debug)]
pub(super) struct Queried {
    pub(super) kind: Kind,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

impl Queried {
    pub(super) fn read(settings: &QuerySettings) -> Result<Queried, String> {
        let kind = Kind::named(settings.kind).ok_or_else(|| format!("there is no backend `{}`", settings.kind))?;
        let url = address_of(&settings.endpoint).map_err(|error| format!("the address of {}: {error}", kind.name()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let (name, value) =
                header(name, value.expose()).map_err(|error| format!("the headers for {}: {error}", shown(&url)))?;
            headers.insert(name, value);
        }
        Ok(Queried { kind, url, headers })
    }
}

#[cfg(test)]
mod tests {
    use config::{Diagnostics, Section, TestEnvironment};
    use pipeline::Migration;

    use super::*;

    fn read(legacy: &str) -> Result<Vec<Queried>, String> {
        let environment = TestEnvironment::new().with_var("TENANT", "shop");
        let loaded = config::parse_str("c.yaml", &format!("legacy: {{query: {legacy}}}"), &environment)
            .map_err(|e| e.render())?;
        let mut diagnostics = Diagnostics::new();
        let migration = Section::open(&loaded.root, "migration", &mut diagnostics).read(Migration::read);
        let (migration, _) = diagnostics.finish_with(Some(migration)).map_err(|errors| errors.render())?;
        migration.sides()[0].queries.values().map(Queried::read).collect()
    }

    #[test]
    fn each_signal_has_a_backend_with_its_headers() {
        let text = "{metrics: {prometheus: http://p:9090}, traces: {jaeger: http://j:16686}, \
                    logs: {loki: {endpoint: http://l:3100, headers: {X-Scope-OrgID: \"${env:TENANT}\"}}}}";
        let queried = read(text).unwrap();
        let mut kinds: Vec<&str> = queried.iter().map(|backend| backend.kind.name()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["jaeger", "loki", "prometheus"]);
        let loki = queried.iter().find(|backend| backend.kind == Kind::Loki).unwrap();
        assert_eq!(loki.headers["x-scope-orgid"], "shop");
        assert!(!format!("{queried:?}").contains("shop"), "a header is never shown");
        assert!(read("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("{metrics: {jaeger: http://j}}", "query.metrics"),
            ("{logs: {loki: http://l, victorialogs: http://v}}", "expected one of loki and victorialogs"),
            ("{traces: {jaeger: ftp://j}}", "begins with `http://`"),
            ("{traces: {jaeger: {headers: {a: b}}}}", "query.traces.jaeger.endpoint"),
            ("{traces: {jaeger: {endpoint: http://j, headers: {\"a b\": c}}}}", "no name of a header"),
            ("{trace: {jaeger: http://j}}", "did you mean `traces`?"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
    }
}
