//! `include` and `exclude`: which spans, log records and data points a processor is about.
//!
//! Reference: the Collector's
//! [include/exclude filtering](https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/attributesprocessor#includeexclude-filtering).
//! All properties that are given must match. A property that the signal does not have (the name of a span, where there
//! are log records) does not match.

use std::cell::Cell;

use config::Section;
use otlp::SpanKind;
use otlp::edit::RecordContext;
use otlp::view::{AnyValueView, KeyValues, ResourceView, ScopeView};
use regex::Regex;

use crate::actions::Constant;

/// `include` and `exclude` of one processor.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    include: Option<Properties>,
    exclude: Option<Properties>,
}

/// What `include` or `exclude` asks for. What is not given matches everything.
#[derive(Debug)]
struct Properties {
    services: Option<Patterns>,
    resources: Vec<AttributePattern>,
    libraries: Vec<Library>,
    attributes: Vec<AttributePattern>,
    span_names: Option<Patterns>,
    span_kinds: Option<Patterns>,
    metric_names: Option<Patterns>,
    log_bodies: Option<Patterns>,
    log_severity_texts: Option<Patterns>,
    log_severity_number: Option<SeverityNumber>,
}

/// Texts of which one must match.
#[derive(Debug)]
enum Patterns {
    Strict(Vec<String>),
    Regexp(Vec<Regex>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MatchType {
    Strict,
    Regexp,
}

/// An attribute that must be there, and what its value must be.
#[derive(Debug)]
struct AttributePattern {
    key: String,
    value: ValuePattern,
}

#[derive(Debug)]
enum ValuePattern {
    Any,
    Equal(Constant),
    Text(Regex),
}

#[derive(Debug)]
struct Library {
    name: Patterns,
    /// Any version if none is given; the empty one is the version of a scope without.
    version: Option<Patterns>,
}

#[derive(Clone, Copy, Debug)]
struct SeverityNumber {
    min: i32,
    match_undefined: bool,
}

/// What a resource without `service.name` is called, as in the Collector.
const NO_SERVICE_NAME: &str = "<nil-service-name>";

// === impl Matching ===

impl Matching {
    /// Reads `include` and `exclude`.
    pub(crate) fn read(section: &mut Section<'_>) -> Option<Matching> {
        let include = section.child_if_present("include", Properties::read);
        let exclude = section.child_if_present("exclude", Properties::read);
        let is_sound = !matches!(include, Some(None)) && !matches!(exclude, Some(None));
        is_sound.then(|| Matching { include: include.flatten(), exclude: exclude.flatten() })
    }

    /// A matcher for one batch.
    pub(crate) fn matcher(&self) -> Matcher<'_> {
        Matcher { matching: self, resource: Cell::default(), scope: Cell::default() }
    }
}

/// Decides for the records of one batch. The resource and the scope that many records share are looked at once.
pub(crate) struct Matcher<'m> {
    matching: &'m Matching,
    resource: Cell<Option<Seen>>,
    scope: Cell<Option<Seen>>,
}

/// What is known of a message, by where it stands in the batch.
#[derive(Clone, Copy)]
struct Seen {
    address: usize,
    length: usize,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Verdict {
    include: bool,
    exclude: bool,
}

impl Matcher<'_> {
    /// Whether the processor is about this record: it is included, and not excluded.
    pub(crate) fn admits(&self, record: &RecordContext<'_>, attributes: KeyValues<'_>) -> bool {
        let Matching { include, exclude } = self.matching;
        if include.is_none() && exclude.is_none() {
            return true;
        }
        let resource = self.of_shared(&self.resource, record.resource().as_bytes(), |properties| {
            properties.matches_resource(record.resource())
        });
        let scope = self
            .of_shared(&self.scope, record.scope().as_bytes(), |properties| properties.matches_scope(record.scope()));
        let of_record = |properties: &Properties| properties.matches_record(record, attributes);
        let is_included =
            include.as_ref().is_none_or(|include| resource.include && scope.include && of_record(include));
        let is_excluded =
            || exclude.as_ref().is_some_and(|exclude| resource.exclude && scope.exclude && of_record(exclude));
        is_included && !is_excluded()
    }

    fn of_shared(&self, seen: &Cell<Option<Seen>>, bytes: &[u8], matches: impl Fn(&Properties) -> bool) -> Verdict {
        let (address, length) = (bytes.as_ptr().addr(), bytes.len());
        match seen.get() {
            Some(seen) if (seen.address, seen.length) == (address, length) => seen.verdict,
            _ => {
                let Matching { include, exclude } = self.matching;
                let verdict = Verdict {
                    include: include.as_ref().is_some_and(&matches),
                    exclude: exclude.as_ref().is_some_and(&matches),
                };
                seen.set(Some(Seen { address, length, verdict }));
                verdict
            }
        }
    }
}

// === impl Properties ===

impl Properties {
    fn matches_resource(&self, resource: ResourceView<'_>) -> bool {
        let is_service = |services: &Patterns| match resource.attributes().get("service.name") {
            Some(name) => services.matches(&name.to_text()),
            None => services.matches(NO_SERVICE_NAME),
        };
        self.services.as_ref().is_none_or(is_service)
            && self.resources.iter().all(|pattern| pattern.matches(resource.attributes()))
    }

    fn matches_scope(&self, scope: ScopeView<'_>) -> bool {
        self.libraries.is_empty() || self.libraries.iter().any(|library| library.matches(scope))
    }

    fn matches_record(&self, record: &RecordContext<'_>, attributes: KeyValues<'_>) -> bool {
        self.matches_signal(record) && self.attributes.iter().all(|pattern| pattern.matches(attributes))
    }

    fn matches_signal(&self, record: &RecordContext<'_>) -> bool {
        let asks_for_spans = self.span_names.is_some() || self.span_kinds.is_some();
        let asks_for_logs =
            self.log_bodies.is_some() || self.log_severity_texts.is_some() || self.log_severity_number.is_some();
        let fits = |patterns: &Option<Patterns>, text: &str| patterns.as_ref().is_none_or(|all| all.matches(text));
        if asks_for_spans {
            let Some(span) = record.span() else { return false };
            return fits(&self.span_names, span.name()) && fits(&self.span_kinds, span_kind_name(span.kind()));
        }
        if asks_for_logs {
            let Some(log) = record.log_record() else { return false };
            return self.log_bodies.as_ref().is_none_or(|bodies| bodies.matches(&log.body().to_text()))
                && fits(&self.log_severity_texts, log.severity_text())
                && self.log_severity_number.is_none_or(|severity| severity.matches(log.severity_number()));
        }
        if let Some(names) = &self.metric_names {
            return record.metric().is_some_and(|metric| names.matches(metric.name()));
        }
        true
    }

    fn read(section: &mut Section<'_>) -> Option<Properties> {
        let types = [("strict", MatchType::Strict), ("regexp", MatchType::Regexp)];
        let match_type = section.get("match_type").one_of(&types).required();
        section.child_if_present("regexp", |regexp| {
            regexp.without_effect("cacheenabled", "matching needs no cache here");
            regexp.without_effect("cachemaxnumentries", "matching needs no cache here");
        });
        // Without a type the rest is read as strict, so that its own errors are found.
        let by = match_type.unwrap_or(MatchType::Strict);
        let services = Patterns::read(section, "services", by);
        let resources = section.children("resources", |child| AttributePattern::read(child, by));
        let libraries = section.children("libraries", |child| Library::read(child, by));
        let attributes = section.children("attributes", |child| AttributePattern::read(child, by));
        let span_names = Patterns::read(section, "span_names", by);
        let span_kinds = Patterns::read(section, "span_kinds", by).map(|kinds| known_kinds(section, kinds));
        let metric_names = Patterns::read(section, "metric_names", by);
        let log_bodies = Patterns::read(section, "log_bodies", by);
        let log_severity_texts = Patterns::read(section, "log_severity_texts", by);
        let log_severity_number = section.child_if_present("log_severity_number", SeverityNumber::read);
        refuse_unmatchable(section);
        match_type?;
        Some(Properties {
            services: services?.given(),
            resources: resources.into_iter().collect::<Option<_>>()?,
            libraries: libraries.into_iter().collect::<Option<_>>()?,
            attributes: attributes.into_iter().collect::<Option<_>>()?,
            span_names: span_names?.given(),
            span_kinds: span_kinds?.given(),
            metric_names: metric_names?.given(),
            log_bodies: log_bodies?.given(),
            log_severity_texts: log_severity_texts?.given(),
            log_severity_number,
        })
    }
}

/// Reports what matches everything or nothing, whatever comes.
fn refuse_unmatchable(section: &mut Section<'_>) {
    const SPANS: [&str; 2] = ["span_names", "span_kinds"];
    const LOGS: [&str; 3] = ["log_bodies", "log_severity_texts", "log_severity_number"];
    const METRICS: [&str; 1] = ["metric_names"];
    const ALL: [&str; 4] = ["services", "resources", "libraries", "attributes"];
    let given = |section: &mut Section<'_>, keys: &[&'static str]| {
        keys.iter().copied().find(|key| section.node(key).is_some_and(|node| !is_empty(node)))
    };
    let signals: Vec<&str> =
        [&SPANS[..], &LOGS[..], &METRICS[..]].into_iter().filter_map(|keys| given(section, keys)).collect();
    if let [first, second, ..] = signals[..] {
        section.error(second, format!("no record has this and `{first}`: they are of different signals"));
    }
    if signals.is_empty() && given(section, &ALL).is_none() {
        let all: Vec<&str> = [&ALL[..], &SPANS, &LOGS, &METRICS].concat();
        section.fail(format!("matches everything: give at least one of {}", all.join(", ")));
    }
}

fn is_empty(node: &config::Node) -> bool {
    node.is_null() || node.as_seq().is_some_and(<[_]>::is_empty)
}

/// Refuses kinds that no span has; patterns may be anything.
fn known_kinds(section: &mut Section<'_>, kinds: Patterns) -> Patterns {
    if let Patterns::Strict(names) = &kinds {
        let known = (1..=5).filter_map(SpanKind::from_number).map(span_kind_name);
        let known: Vec<&str> = known.collect();
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            section.error("span_kinds", format!("`{name}` is no kind of span: expected one of {}", known.join(", ")));
        }
    }
    kinds
}

fn span_kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "",
        SpanKind::Internal => "SPAN_KIND_INTERNAL",
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
        SpanKind::Producer => "SPAN_KIND_PRODUCER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
    }
}

// === impl Patterns ===

impl Patterns {
    /// `None`: something in it is wrong and was reported.
    fn read(section: &mut Section<'_>, key: &'static str, by: MatchType) -> Option<Patterns> {
        match by {
            MatchType::Strict => {
                let items = section.get(key).each(|item| Some(item.string().required()));
                items.or_default().into_iter().collect::<Option<_>>().map(Patterns::Strict)
            }
            MatchType::Regexp => {
                let regex = |item: config::Field<'_>| {
                    Some(item.parse_with("a regular expression", prom::relabel::go_regex).required())
                };
                section.get(key).each(regex).or_default().into_iter().collect::<Option<_>>().map(Patterns::Regexp)
            }
        }
    }

    /// None when nothing is given.
    fn given(self) -> Option<Patterns> {
        let is_empty = match &self {
            Patterns::Strict(texts) => texts.is_empty(),
            Patterns::Regexp(patterns) => patterns.is_empty(),
        };
        (!is_empty).then_some(self)
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Patterns::Strict(texts) => texts.iter().any(|own| own == text),
            Patterns::Regexp(patterns) => patterns.iter().any(|pattern| pattern.is_match(text)),
        }
    }
}

// === impl AttributePattern ===

impl AttributePattern {
    fn read(section: &mut Section<'_>, by: MatchType) -> Option<AttributePattern> {
        let key = section.get("key").string().non_empty().required();
        let is_given = section.node("value").is_some_and(|node| !node.is_null());
        let value = match by {
            _ if !is_given => Some(ValuePattern::Any),
            MatchType::Strict => {
                section.get("value").parse_node("a value", Constant::read).optional().map(ValuePattern::Equal)
            }
            MatchType::Regexp => {
                let is_text = section.node("value").is_some_and(|node| matches!(node.kind(), config::Kind::String(_)));
                if !is_text {
                    section.error("value", "expected a regular expression in quotes, for `match_type` is `regexp`");
                    return None;
                }
                let pattern = section.get("value").parse_with("a regular expression", prom::relabel::go_regex);
                pattern.optional().map(ValuePattern::Text)
            }
        };
        Some(AttributePattern { key: key?, value: value? })
    }

    fn matches(&self, attributes: KeyValues<'_>) -> bool {
        let Some(value) = attributes.get(&self.key) else { return false };
        match &self.value {
            ValuePattern::Any => true,
            ValuePattern::Equal(constant) => is_same(constant.view(), value),
            ValuePattern::Text(pattern) => match value {
                AnyValueView::String(text) => pattern.is_match(text),
                AnyValueView::Bool(_) | AnyValueView::Int(_) => pattern.is_match(&value.to_text()),
                // Without an exponent, unlike elsewhere, as in the Collector.
                AnyValueView::Double(number) => pattern.is_match(&number.to_string()),
                _ => false,
            },
        }
    }
}

/// Whether two values are equal in type and content; the order of a map is of no meaning. Recurses as deep as the
/// constant of the configuration.
fn is_same(constant: AnyValueView<'_>, value: AnyValueView<'_>) -> bool {
    match (constant, value) {
        (AnyValueView::Array(mut a), AnyValueView::Array(mut b)) => loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if is_same(a, b) => {}
                _ => return false,
            }
        },
        (AnyValueView::KvList(a), AnyValueView::KvList(b)) => {
            let mut pairs = a;
            a.count() == b.count()
                && pairs.all(|pair| b.get(pair.key()).is_some_and(|value| is_same(pair.value(), value)))
        }
        (constant, value) => constant == value,
    }
}

// === impl Library ===

impl Library {
    fn read(section: &mut Section<'_>, by: MatchType) -> Option<Library> {
        let name = Patterns::read(section, "name", by);
        if !section.has("name") {
            section.error("name", "is required: expected the name of an instrumentation scope");
        }
        let has_version = section.has("version");
        let version = Patterns::read(section, "version", by);
        Some(Library { name: name?.given()?, version: version?.given().filter(|_| has_version) })
    }

    fn matches(&self, scope: ScopeView<'_>) -> bool {
        let is_version = |version: &Patterns| version.matches(scope.version());
        self.name.matches(scope.name()) && self.version.as_ref().is_none_or(is_version)
    }
}

// === impl SeverityNumber ===

impl SeverityNumber {
    fn read(section: &mut Section<'_>) -> SeverityNumber {
        SeverityNumber {
            min: section.get("min").integer::<i32>().range(0..=24).or(0),
            match_undefined: section.get("match_undefined").bool().or(false),
        }
    }

    fn matches(self, number: i32) -> bool {
        // 0 says that the severity is not known.
        if number == 0 { self.match_undefined } else { number >= self.min }
    }
}

#[cfg(test)]
mod tests {
    use otlp::Batch;
    use otlp::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};

    use crate::attributes;
    use crate::testing::{build_error, processor};

    /// Whether a processor with these properties under `include` is about the only record of the batch; with the same
    /// under `exclude` it is about it exactly when it is not.
    fn check(properties: &str, batch: &Batch, is_match: bool) {
        for (side, is_edited) in [("include", is_match), ("exclude", !is_match)] {
            let yaml = format!("{side}: {properties}\nactions: [{{key: touched, value: true, action: insert}}]");
            let result = processor(&attributes::FACTORY, &yaml).process(batch.clone()).unwrap();
            assert_eq!(result.bytes() != batch.bytes(), is_edited, "{yaml}");
        }
    }

    /// A span `GET /` of kind server, of the service `auth-1`, with attributes of every type.
    fn span() -> Batch {
        let mut encoder = TracesEncoder::new();
        encoder.resource_spans(|block| {
            block.resource(|resource| {
                resource.attributes().string("service.name", "auth-1").string("host.type", "n1-standard-1");
            });
            block.scope_spans(|scope| {
                scope.scope(|scope| {
                    scope.name("mongo-java-driver").version("3.8.0");
                });
                scope.span(|span| {
                    span.name("GET /").kind(otlp::SpanKind::Server);
                    let mut attributes = span.attributes();
                    attributes.string("env", "dev").int("test_request", 123).bool("redact", false).double("ratio", 0.5);
                    attributes.value("list").array(|list| {
                        list.value().int(1);
                        list.value().string("x");
                    });
                    attributes.value("map").kvlist(|map| {
                        map.int("a", 1).int("b", 2);
                    });
                });
            });
        });
        encoder.finish()
    }

    fn log(severity_number: i32, body: &str) -> Batch {
        let mut encoder = LogsEncoder::new();
        encoder.resource_logs(|block| {
            block.scope_logs(|scope| {
                scope.log_record(|log| {
                    log.severity_number(severity_number).severity_text("debug1").body().string(body);
                });
            });
        });
        encoder.finish()
    }

    fn metric() -> Batch {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|block| {
            block.resource(|resource| {
                resource.attributes().string("service.name", "auth-1");
            });
            block.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name("http.requests");
                    metric.gauge(|gauge| {
                        gauge.point(|point| {
                            point.attributes().string("env", "dev");
                        });
                    });
                });
            });
        });
        encoder.finish()
    }

    #[test]
    fn one_of_several_services_matches() {
        check("{match_type: strict, services: [svcA, auth-1]}", &span(), true);
        check("{match_type: strict, services: [auth]}", &span(), false);
        check("{match_type: regexp, services: [svc, 'auth.*']}", &span(), true);
        check("{match_type: regexp, services: ['^1$']}", &span(), false);
    }

    #[test]
    fn a_resource_without_a_service_has_the_collectors_name_for_it() {
        check("{match_type: strict, services: [<nil-service-name>]}", &log(1, ""), true);
        check("{match_type: regexp, services: ['.*']}", &log(1, ""), true);
        check("{match_type: strict, services: ['']}", &log(1, ""), false);
    }

    #[test]
    fn spans_match_by_name_and_kind() {
        check("{match_type: strict, span_names: [GET /]}", &span(), true);
        check("{match_type: strict, span_names: [GET]}", &span(), false);
        check("{match_type: regexp, span_names: ['^GET .$']}", &span(), true);
        check("{match_type: strict, span_kinds: [SPAN_KIND_SERVER]}", &span(), true);
        check("{match_type: regexp, span_kinds: [CLIENT]}", &span(), false);
    }

    #[test]
    fn all_properties_that_are_given_must_match() {
        check("{match_type: strict, services: [auth-1], span_names: [GET /]}", &span(), true);
        check("{match_type: strict, services: [auth-1], span_names: [PUT /]}", &span(), false);
        check("{match_type: strict, services: [other], span_names: [GET /]}", &span(), false);
    }

    #[test]
    fn all_attributes_must_match_in_type_and_value() {
        check("{match_type: strict, attributes: [{key: env, value: dev}, {key: test_request}]}", &span(), true);
        check("{match_type: strict, attributes: [{key: env, value: dev}, {key: missing}]}", &span(), false);
        check("{match_type: strict, attributes: [{key: test_request, value: 123}]}", &span(), true);
        check("{match_type: strict, attributes: [{key: test_request, value: '123'}]}", &span(), false);
        check("{match_type: strict, attributes: [{key: redact, value: false}]}", &span(), true);
        check("{match_type: strict, attributes: [{key: redact, value: 'false'}]}", &span(), false);
        check("{match_type: strict, attributes: [{key: ratio, value: 0.5}]}", &span(), true);
    }

    #[test]
    fn lists_match_in_order_and_maps_in_any() {
        check("{match_type: strict, attributes: [{key: list, value: [1, x]}]}", &span(), true);
        check("{match_type: strict, attributes: [{key: list, value: [x, 1]}]}", &span(), false);
        check("{match_type: strict, attributes: [{key: list, value: [1]}]}", &span(), false);
        check("{match_type: strict, attributes: [{key: map, value: {b: 2, a: 1}}]}", &span(), true);
        check("{match_type: strict, attributes: [{key: map, value: {a: 1}}]}", &span(), false);
    }

    #[test]
    fn patterns_match_the_text_of_scalars() {
        for (key, value, is_match) in [
            ("env", "^d", true),
            ("test_request", "^1\\d3$", true),
            ("redact", "false", true),
            ("ratio", "^0[.]5$", true),
            ("list", ".*", false),
            ("env", "prod", false),
        ] {
            let pattern = format!("{{match_type: regexp, attributes: [{{key: {key}, value: '{value}'}}]}}");
            check(&pattern, &span(), is_match);
        }
    }

    #[test]
    fn all_resource_attributes_must_match() {
        check("{match_type: strict, resources: [{key: host.type, value: n1-standard-1}]}", &span(), true);
        check("{match_type: strict, resources: [{key: host.type}, {key: other}]}", &span(), false);
    }

    #[test]
    fn one_of_several_libraries_matches_and_its_version_if_it_is_given() {
        check("{match_type: strict, libraries: [{name: x}, {name: mongo-java-driver}]}", &span(), true);
        check("{match_type: strict, libraries: [{name: mongo-java-driver, version: 3.8.0}]}", &span(), true);
        check("{match_type: strict, libraries: [{name: mongo-java-driver, version: ''}]}", &span(), false);
        check("{match_type: regexp, libraries: [{name: '^mongo', version: '^3[.]'}]}", &span(), true);
    }

    #[test]
    fn logs_match_by_body_and_severity() {
        check("{match_type: regexp, log_bodies: ['AUTH.*']}", &log(9, "an AUTH failed"), true);
        check("{match_type: strict, log_bodies: [AUTH]}", &log(9, "an AUTH failed"), false);
        check("{match_type: regexp, log_severity_texts: ['debug.*']}", &log(9, ""), true);
        check("{match_type: strict, log_severity_number: {min: 9}}", &log(9, ""), true);
        check("{match_type: strict, log_severity_number: {min: 9}}", &log(8, ""), false);
        check("{match_type: strict, log_severity_number: {min: 9}}", &log(0, ""), false);
        check("{match_type: strict, log_severity_number: {min: 9, match_undefined: true}}", &log(0, ""), true);
    }

    #[test]
    fn data_points_match_by_metric_resource_and_their_attributes() {
        check("{match_type: regexp, metric_names: ['^http']}", &metric(), true);
        check("{match_type: strict, metric_names: [http]}", &metric(), false);
        check("{match_type: strict, services: [auth-1]}", &metric(), true);
        check("{match_type: strict, attributes: [{key: env, value: dev}]}", &metric(), true);
    }

    #[test]
    fn what_a_signal_does_not_have_does_not_match() {
        check("{match_type: regexp, span_names: ['.*']}", &log(9, ""), false);
        check("{match_type: regexp, log_bodies: ['.*']}", &metric(), false);
        check("{match_type: regexp, metric_names: ['.*']}", &span(), false);
    }

    #[test]
    fn included_and_not_excluded_is_edited() {
        let edits = |include: &str, exclude: &str| {
            let yaml = format!(
                "include: {{match_type: strict, services: [{include}]}}\n\
                 exclude: {{match_type: regexp, span_names: ['{exclude}']}}\n\
                 actions: [{{key: touched, value: 1, action: insert}}]"
            );
            processor(&attributes::FACTORY, &yaml).process(span()).unwrap().bytes() != span().bytes()
        };
        assert!(edits("auth-1", "login.*"));
        assert!(!edits("auth-1", "GET"));
        assert!(!edits("other", "login.*"));
    }

    #[test]
    fn resources_and_scopes_are_told_apart_within_a_batch() {
        let mut encoder = TracesEncoder::new();
        for service in ["a", "b", "a", ""] {
            encoder.resource_spans(|block| {
                if !service.is_empty() {
                    block.resource(|resource| {
                        resource.attributes().string("service.name", service);
                    });
                }
                for name in ["x", "y"] {
                    block.scope_spans(|scope| {
                        scope.scope(|scope| {
                            scope.name(name);
                        });
                        (0..2).for_each(|_| scope.span(|_| {}));
                    });
                }
            });
        }
        let yaml = "include: {match_type: strict, services: [a], libraries: [{name: y}]}\n\
                    actions: [{key: touched, value: 1, action: insert}]";
        let batch = processor(&attributes::FACTORY, yaml).process(encoder.finish()).unwrap();
        let blocks = batch.traces().unwrap().resource_spans();
        let scopes = blocks.map(|block| {
            let touched = |scope: otlp::view::ScopeSpansView<'_>| {
                scope.spans().filter(|span| span.attributes().get("touched").is_some()).count()
            };
            block.scope_spans().map(touched).collect::<Vec<_>>()
        });
        assert_eq!(scopes.collect::<Vec<_>>(), [[0, 2], [0, 0], [0, 2], [0, 0]]);
    }

    fn check_error(properties: &str, expected: &str) {
        let yaml = format!("include: {properties}\nactions: [{{key: a, action: delete}}]");
        let error = build_error(&attributes::FACTORY, &yaml);
        assert!(error.contains(expected), "{properties}: {error}");
    }

    #[test]
    fn what_can_match_nothing_or_everything_is_refused() {
        check_error("{match_type: strict}", "matches everything: give at least one of services, resources");
        check_error("{match_type: strict, services: []}", "matches everything");
        check_error("{match_type: strict, span_names: [a], log_bodies: [b]}", "no record has this and `span_names`");
        check_error("{match_type: strict, span_kinds: [server]}", "`server` is no kind of span");
    }

    #[test]
    fn what_is_misspelt_or_missing_is_found() {
        check_error("{services: [a]}", "match_type: is required");
        check_error("{match_type: regex, services: [a]}", "did you mean `regexp`");
        check_error("{match_type: regexp, services: ['(']}", "services[0]: expected a regular expression");
        check_error("{match_type: regexp, attributes: [{key: a, value: 1}]}", "in quotes");
        check_error("{match_type: strict, attributes: [{value: 1}]}", "attributes[0].key: is required");
        check_error("{match_type: strict, libraries: [{version: 1}]}", "libraries[0].name: is required");
        check_error("{match_type: strict, span_name: [a]}", "did you mean `span_names`");
        check_error("{match_type: strict, log_severity_number: {min: 25}}", "a number from 0 to 24");
    }
}
