//! Actions by the cases of `testdata/attributes/actions.yaml`, and against the same actions on structs.

use config::{Node, TestEnvironment};
use otlp::encode::{AttributesWriter, LogsEncoder};
use otlp::view::KeyValues;
use otlp::{Batch, ContentEncoding};

use crate::attributes;
use crate::testing::{build_error, processor};

const CASES: &str = include_str!("../../testdata/attributes/actions.yaml");

fn parse(yaml: &str) -> Node {
    config::parse_str("actions.yaml", yaml, &TestEnvironment::new()).unwrap().root
}

/// A map of YAML as attributes.
fn write(map: &Node, out: &mut AttributesWriter<'_>) {
    for entry in map.as_map().expect("a map of attributes") {
        out.value(&entry.key).any(super::Constant::read(&entry.value).unwrap().view());
    }
}

fn log_record(attributes: &Node) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            scope.log_record(|log| {
                log.severity_text("before");
                write(attributes, &mut log.attributes());
                log.event_name("behind");
            });
        });
    });
    encoder.finish()
}

fn attributes_of(batch: &Batch) -> KeyValues<'_> {
    let block = batch.logs().unwrap().resource_logs().next().unwrap();
    block.scope_logs().next().unwrap().log_records().next().unwrap().attributes()
}

/// The configuration that has the `actions` of a case, as text in flow style.
fn configuration(case: &Node) -> String {
    format!("{{actions: {}}}", flow(case.get("actions").expect("actions")))
}

fn flow(node: &Node) -> String {
    use config::Kind;
    match node.kind() {
        Kind::Seq(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Map(map) => {
            let pairs: Vec<String> =
                map.iter().map(|entry| format!("{:?}: {}", entry.key, flow(&entry.value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Kind::String(text) => format!("'{}'", text.replace('\'', "''")),
        Kind::Null => "null".to_owned(),
        _ => node.text().unwrap().to_owned(),
    }
}

#[test]
fn actions_do_what_their_cases_say() {
    let mut checked = 0;
    for group in parse(CASES).as_seq().unwrap().iter().filter(|group| group.get("cases").is_some()) {
        let name = group.get("name").unwrap().text().unwrap();
        let processor = processor(&attributes::FACTORY, &configuration(group));
        for case in group.get("cases").unwrap().as_seq().unwrap() {
            let (input, output) = (case.get("input").unwrap(), case.get("output").unwrap());
            let batch = log_record(input);
            let result = processor.process(batch.clone()).unwrap();
            let expected = log_record(output);
            assert_eq!(
                attributes_of(&result).collect::<Vec<_>>(),
                attributes_of(&expected).collect::<Vec<_>>(),
                "{name}: {}",
                flow(input)
            );
            let parsed = Batch::parse(result.signal(), result.bytes().clone(), &otlp::Limits::default()).unwrap();
            assert_eq!(parsed.items(), 1, "{name}");
            if flow(input) == flow(output) {
                assert_eq!(result.bytes().as_ptr(), batch.bytes().as_ptr(), "{name}: {} is copied", flow(input));
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked} cases");
}

#[test]
fn actions_that_make_no_sense_are_refused() {
    let mut checked = 0;
    for case in parse(CASES).as_seq().unwrap().iter().filter(|case| case.get("error").is_some()) {
        let expected = case.get("error").unwrap().text().unwrap();
        let error = build_error(&attributes::FACTORY, &configuration(case));
        assert!(error.contains(expected), "{}: {error}", case.get("name").unwrap().text().unwrap());
        checked += 1;
    }
    assert!(checked > 15, "{checked} cases");
}

#[test]
fn a_batch_that_no_action_changes_keeps_its_frames() {
    let processor =
        processor(&attributes::FACTORY, "actions: [{key: a, value: 1, action: upsert}, {key: b, action: delete}]");
    let batch = log_record(&parse("{a: 1, c: 2}")).with_frame(ContentEncoding::Gzip, "frame".into());
    let result = processor.process(batch.clone()).unwrap();
    assert_eq!(result.bytes().as_ptr(), batch.bytes().as_ptr());
    assert!(result.frames().get(ContentEncoding::Gzip).is_some());
    let changed = processor.process(log_record(&parse("{a: 2}")).with_frame(ContentEncoding::Gzip, "frame".into()));
    assert!(changed.unwrap().frames().get(ContentEncoding::Gzip).is_none());
}

#[test]
fn every_occurrence_of_a_key_is_redacted() {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            scope.log_record(|log| {
                log.attributes()
                    .string("secret", "a")
                    .int("x", 1)
                    .string("secret", "b")
                    .string("card", "1")
                    .int("card", 2);
            });
        });
    });
    let yaml = "actions: [{key: secret, value: redacted, action: update}, {key: card, action: delete}]";
    let result = processor(&attributes::FACTORY, yaml).process(encoder.finish()).unwrap();
    let texts: Vec<_> = attributes_of(&result).map(|attribute| attribute.value().to_text().into_owned()).collect();
    assert_eq!(texts, ["redacted", "1", "redacted"]);
}

mod against_structs {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use otlp::{Batch, Limits, Signal};
    use proptest::prelude::*;
    use prost::Message;

    use crate::testing::processor;
    use crate::{attributes, resource};

    /// An action, for the configuration and for structs.
    #[derive(Clone, Debug)]
    enum Model {
        Set { action: &'static str, key: &'static str, value: i64 },
        Copy { action: &'static str, key: &'static str, from: &'static str },
        Delete { key: &'static str },
        DeleteMatched { first: char },
        ToText { key: &'static str },
    }

    impl Model {
        fn yaml(&self) -> String {
            match self {
                Model::Set { action, key, value } => format!("{{key: {key}, value: {value}, action: {action}}}"),
                Model::Copy { action, key, from } => {
                    format!("{{key: {key}, from_attribute: {from}, action: {action}}}")
                }
                Model::Delete { key } => format!("{{key: {key}, action: delete}}"),
                Model::DeleteMatched { first } => format!("{{pattern: ^{first}, action: delete}}"),
                Model::ToText { key } => format!("{{key: {key}, action: convert, converted_type: string}}"),
            }
        }

        fn apply(&self, attributes: &mut Vec<KeyValue>) {
            match self {
                Model::Set { action, key, value } => set(attributes, action, key, Some(Value::IntValue(*value))),
                Model::Copy { action, key, from } => {
                    let found = attributes.iter().find(|attribute| attribute.key == *from).cloned();
                    if let Some(found) = found {
                        set(attributes, action, key, found.value.and_then(|value| value.value));
                    }
                }
                Model::Delete { key } => attributes.retain(|attribute| attribute.key != *key),
                Model::DeleteMatched { first } => attributes.retain(|attribute| !attribute.key.starts_with(*first)),
                Model::ToText { key } => {
                    for attribute in attributes.iter_mut().filter(|attribute| attribute.key == *key) {
                        let Some(Value::IntValue(number)) = attribute.value.as_ref().and_then(|v| v.value.clone())
                        else {
                            continue;
                        };
                        attribute.value = Some(AnyValue { value: Some(Value::StringValue(number.to_string())) });
                    }
                }
            }
        }
    }

    fn set(attributes: &mut Vec<KeyValue>, action: &str, key: &str, value: Option<Value>) {
        let value = Some(AnyValue { value });
        let is_there = attributes.iter().any(|attribute| attribute.key == key);
        if is_there && action != "insert" {
            for attribute in attributes.iter_mut().filter(|attribute| attribute.key == key) {
                attribute.value.clone_from(&value);
            }
        } else if !is_there && action != "update" {
            attributes.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
        }
    }

    const KEYS: [&str; 6] = ["a", "ab", "b", "service.name", "ba", "c"];

    fn key() -> impl Strategy<Value = &'static str> {
        prop::sample::select(&KEYS[..])
    }

    fn action() -> impl Strategy<Value = Model> {
        let name = || prop::sample::select(&["insert", "update", "upsert"][..]);
        prop_oneof![
            (name(), key(), 0..3i64).prop_map(|(action, key, value)| Model::Set { action, key, value }),
            (name(), key(), key()).prop_map(|(action, key, from)| Model::Copy { action, key, from }),
            key().prop_map(|key| Model::Delete { key }),
            prop::sample::select(&['a', 'b', 's'][..]).prop_map(|first| Model::DeleteMatched { first }),
            key().prop_map(|key| Model::ToText { key }),
        ]
    }

    fn attribute_list() -> impl Strategy<Value = Vec<KeyValue>> {
        let value = prop_oneof![(0..3i64).prop_map(Value::IntValue), "[xy]{0,2}".prop_map(Value::StringValue)];
        let attribute = (key(), value).prop_map(|(key, value)| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
        prop::collection::vec(attribute, 0..5)
    }

    fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
        let span =
            attribute_list().prop_map(|attributes| Span { name: "span".to_owned(), attributes, ..Span::default() });
        let scope = prop::collection::vec(span, 0..3).prop_map(|spans| ScopeSpans { spans, ..ScopeSpans::default() });
        let block = (prop::option::of(attribute_list()), prop::collection::vec(scope, 0..3));
        let block = block.prop_map(|(attributes, scope_spans)| ResourceSpans {
            resource: attributes.map(|attributes| Resource { attributes, ..Resource::default() }),
            scope_spans,
            ..ResourceSpans::default()
        });
        prop::collection::vec(block, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
    }

    fn batch(request: &ExportTraceServiceRequest) -> Batch {
        Batch::parse(Signal::Traces, request.encode_to_vec().into(), &Limits::default()).unwrap()
    }

    fn list(actions: &[Model]) -> String {
        actions.iter().map(Model::yaml).collect::<Vec<_>>().join(", ")
    }

    proptest! {
        #[test]
        fn spans_are_edited_as_structs_are(request in request(), actions in prop::collection::vec(action(), 1..6)) {
            let processor = processor(&attributes::FACTORY, &format!("actions: [{}]", list(&actions)));
            let batch = batch(&request);
            let result = processor.process(batch.clone()).unwrap();
            let mut expected = request.clone();
            let scopes = expected.resource_spans.iter_mut().flat_map(|block| &mut block.scope_spans);
            for span in scopes.flat_map(|scope| &mut scope.spans) {
                actions.iter().for_each(|action| action.apply(&mut span.attributes));
            }
            prop_assert_eq!(ExportTraceServiceRequest::decode(result.bytes().clone()).unwrap(), expected);
            prop_assert_eq!(result.items(), batch.items());
        }

        #[test]
        fn resources_are_edited_as_structs_are(request in request(), actions in prop::collection::vec(action(), 1..6)) {
            let processor = processor(&resource::FACTORY, &format!("attributes: [{}]", list(&actions)));
            let result = processor.process(batch(&request)).unwrap();
            let mut expected = request.clone();
            for block in &mut expected.resource_spans {
                let mut attributes = block.resource.clone().unwrap_or_default().attributes;
                actions.iter().for_each(|action| action.apply(&mut attributes));
                if block.resource.is_some() || !attributes.is_empty() {
                    block.resource.get_or_insert_default().attributes = attributes;
                }
            }
            prop_assert_eq!(ExportTraceServiceRequest::decode(result.bytes().clone()).unwrap(), expected);
        }
    }
}
