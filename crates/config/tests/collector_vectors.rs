//! The Collector's own cases of expansion: inputs and expected values of `confmap/expand_test.go` and of
//! `confmap/internal/e2e/types_test.go` (opentelemetry-collector, Apache-2.0). Its test provider `${test:…}`, which
//! gives back its text, is `${yaml:…}` here; cases without a default scheme are left out, since there always is one.
//!
//! Where Crossfade takes more than the Collector does (weak typing), the case says so.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]

use config::{Diagnostics, Errors, Loaded, Section, TestEnvironment, parse_str};

const PORT_AND_HOST: [(&str, &str); 5] =
    [("HOST", "localhost"), ("PORT", "3044"), ("OS", "ubuntu"), ("PR", "amd"), ("COMPLEX_VALUE", "[localhost:3042]")];

/// Input and what it becomes as text.
const STRINGS: [(&str, &str); 33] = [
    ("${HOST}:${PORT}", "localhost:3044"),
    ("${HOST}:$PORT", "localhost:$PORT"),
    ("${env:HOST}:3043", "localhost:3043"),
    ("${env:HOST}:${env:PORT}", "localhost:3044"),
    ("https://${env:HOST}:3045", "https://localhost:3045"),
    ("${env:HOST}:${PORT}", "localhost:3044"),
    ("test_${yaml:1}", "test_1"),
    ("test_${yaml:3.25}", "test_3.25"),
    ("test_${yaml:true}_test_${yaml:true}", "test_true_test_true"),
    ("test_${yaml:2023-03-20T03:17:55.432328Z}", "test_2023-03-20T03:17:55.432328Z"),
    ("${yaml:localhost:${env:PORT}}", "localhost:3044"),
    ("${yaml:localhost:${PORT}}", "localhost:3044"),
    ("${yaml:${env:HOST}:${env:PORT}}", "localhost:3044"),
    ("${yaml:${HOST}:${PORT}}", "localhost:3044"),
    ("${yaml:localhost:${env:PORT}}?os=${env:OS}", "localhost:3044?os=ubuntu"),
    ("${yaml:1${yaml:2${yaml:3${yaml:4${yaml:5${yaml:6}}}}}}", "123456"),
    ("env:HOST}", "env:HOST}"),
    ("${HOST", "${HOST"),
    ("HO{ST}", "HO{ST}"),
    ("${env:HOST${env:PORT?os=${env:OS", "${env:HOST${env:PORT?os=${env:OS"),
    ("env:HOST}env:PORT}?os=env:OS}", "env:HOST}env:PORT}?os=env:OS}"),
    ("env:HOST}${env:PORT", "env:HOST}${env:PORT"),
    ("env:HOST}${env:PORT}", "env:HOST}3044"),
    ("env:HOST}${PORT}", "env:HOST}3044"),
    ("${env:HOST}env:PORT}", "localhostenv:PORT}"),
    ("${env:HOST${env:PORT}", "${env:HOST3044"),
    ("${env:HOST}${env:PORT", "localhost${env:PORT"),
    ("env:HOST}env:PORT}?os=${env:OS}", "env:HOST}env:PORT}?os=ubuntu"),
    ("${env:HOST${env:PORT?os=${env:OS}", "${env:HOST${env:PORT?os=ubuntu"),
    ("${env:HOST}}}}}}${env:PORT?os=${env:OS}", "localhost}}}}}${env:PORT?os=ubuntu"),
    ("${env:HOST}${${${${${env:PORT}?os=${env:OS}", "localhost${${${${3044?os=ubuntu"),
    ("env:HOST}${env:PORT}?os=env:OS}&pr=${env:PR}", "env:HOST}3044?os=env:OS}&pr=amd"),
    ("${env:HOST${env:PORT}?os=${env:OS&pr=${env:PR}", "${env:HOST3044?os=${env:OS&pr=amd"),
];

/// The value of `ENV`, and what a string field and `inline field with ${env:ENV} expansion` become.
const TEXTS: [&str; 9] = [
    "123",
    "0123",
    "0xdeadbeef",
    "\"0123\"",
    "!!str 0123",
    "1111:1111:1111:1111:1111::",
    "2006-01-02T15:04:05Z07:00",
    "[\"a\",",
    "[filelog,windowseventlog/application]",
];

/// As above, where the text changes.
const CHANGED_TEXTS: [(&str, &str); 9] = [
    ("$$ENV", "$ENV"),
    ("$${ENV}", "${ENV}"),
    ("$${env:ENV}", "${env:ENV}"),
    ("[filelog,${env:ENV_VALUE}]", "[filelog,testreceiver]"),
    ("[filelog,${ENV_VALUE}]", "[filelog,testreceiver]"),
    ("[\"filelog\",\"$${env:ENV_VALUE}\"]", "[\"filelog\",\"${env:ENV_VALUE}\"]"),
    ("[\"filelog\",\"$${ENV_VALUE}\"]", "[\"filelog\",\"${ENV_VALUE}\"]"),
    ("[\"filelog\",\"$$ENV_VALUE\"]", "[\"filelog\",\"$ENV_VALUE\"]"),
    ("[\"filelog\",\"$ENV_VALUE\"]", "[\"filelog\",\"$ENV_VALUE\"]"),
];

fn environment(vars: &[(&str, &str)]) -> TestEnvironment {
    vars.iter().fold(TestEnvironment::new(), |env, (name, value)| env.with_var(name, value))
}

fn load(yaml: &str, vars: &[(&str, &str)]) -> Result<Loaded, Errors> {
    parse_str("c.yaml", yaml, &environment(vars))
}

/// Reads the key `field` of a configuration that must be sound.
fn field<T>(yaml: &str, vars: &[(&str, &str)], read: impl FnOnce(config::Field<'_>) -> Option<T>) -> Option<T> {
    let loaded = load(yaml, vars).unwrap();
    let mut diagnostics = Diagnostics::new();
    let value = read(Section::open(&loaded.root, "", &mut diagnostics).get("field"));
    diagnostics.finish().unwrap();
    value
}

/// `ENV` holds the value; and once more through a second variable.
fn both_ways(value: &str) -> [Vec<(&'static str, &str)>; 2] {
    let common = ("ENV_VALUE", "testreceiver");
    [vec![("ENV", value), common], vec![("ENV", "${env:ENV2}"), ("ENV2", value), common]]
}

#[test]
fn strings_expand_as_in_the_collector() {
    for (input, expected) in STRINGS {
        let quoted = format!("field: '{input}'");
        let text = field(&quoted, &PORT_AND_HOST, |field| field.string().optional());
        assert_eq!((input, text.as_deref()), (input, Some(expected)));
    }
}

#[test]
fn a_string_field_keeps_the_original_text() {
    let unchanged = TEXTS.iter().map(|text| (*text, *text));
    for (value, expected) in unchanged.chain(CHANGED_TEXTS) {
        for vars in both_ways(value) {
            let text = field("field: ${env:ENV}", &vars, |field| field.string().optional());
            assert_eq!((value, text.as_deref()), (value, Some(expected)));
            let text = field("field: \"inline ${env:ENV} here\"", &vars, |field| field.string().optional());
            assert_eq!((value, text), (value, Some(format!("inline {expected} here"))));
        }
    }
}

#[test]
fn other_fields_take_the_value() {
    for (value, expected) in [("123", 123), ("0123", 83), ("0xdeadbeef", 3_735_928_559_u32)] {
        for vars in both_ways(value) {
            assert_eq!(
                field("field: ${env:ENV}", &vars, |field| field.integer().optional()),
                Some(expected),
                "for {value}"
            );
        }
    }
    for vars in both_ways("true # comment with a ${env:hello.world} reference") {
        assert_eq!(field("field: ${env:ENV}", &vars, |field| field.bool().optional()), Some(true));
        // Inside a longer string the comment is text, and its reference is wrong.
        let errors = load("field: x ${env:ENV}", &vars).unwrap_err().to_string();
        assert!(errors.contains("a reference inside `${env:ENV}` is no name of an environment variable"), "{errors}");
    }
    for vars in both_ways("[filelog,windowseventlog/application]") {
        let list = field("field: ${env:ENV}", &vars, |field| field.strings().optional()).unwrap();
        assert_eq!(list, ["filelog", "windowseventlog/application"]);
    }
    // An empty variable leaves a number at its default.
    assert_eq!(field("field: ${env:ENV}", &[("ENV", "")], |field| field.integer::<u8>().optional()), None);
}

#[test]
fn a_value_of_another_type_is_refused() {
    for (value, is_bool) in [("\"0123\"", false), ("23", true)] {
        for vars in both_ways(value) {
            let loaded = load("field: ${env:ENV}", &vars).unwrap();
            let mut diagnostics = Diagnostics::new();
            let mut section = Section::open(&loaded.root, "", &mut diagnostics);
            if is_bool {
                section.get("field").bool().optional();
            } else {
                section.get("field").integer::<u32>().optional();
            }
            assert!(diagnostics.has_errors(), "for {value}");
        }
    }
    // The Collector refuses `t` for a boolean; here it means true, as in Go's own reading of booleans.
    assert_eq!(field("field: ${env:ENV}", &[("ENV", "t")], |field| field.bool().optional()), Some(true));
}

#[test]
fn a_file_with_a_wrong_reference_in_a_comment_loads() {
    let snippet = "# comment with a ${env:hello.world} reference\ndebug:\n  verbosity: detailed\n";
    let env = TestEnvironment::new().with_file("snippet.yaml", snippet);
    let loaded = parse_str("c.yaml", "exporters:\n  ${file:snippet.yaml}", &env).unwrap();
    assert_eq!(
        loaded.root.get("exporters").unwrap().get("debug").unwrap().get("verbosity").unwrap().text(),
        Some("detailed")
    );
}

#[test]
fn variables_wrap_each_other_as_text_and_as_maps() {
    let vars =
        [("ENV", "The value ${env:ENV2} is wrapped"), ("ENV2", "The value ${env:ENV3} is wrapped"), ("ENV3", "123")];
    let text = field("field: ${env:ENV}", &vars, |field| field.string().optional());
    assert_eq!(text.as_deref(), Some("The value The value 123 is wrapped is wrapped"));

    let vars = [
        ("ENV", "{env: \"${env:ENV2}\", inline: \"inline ${env:ENV2}\"}"),
        ("ENV2", "{env2: \"${env:ENV3}\"}"),
        ("ENV3", "{value: 123}"),
    ];
    let loaded = load("field: ${env:ENV}", &vars).unwrap();
    let node = loaded.root.get("field").unwrap();
    assert_eq!(node.get("env").unwrap().get("env2").unwrap().get("value").unwrap().text(), Some("123"));
    assert_eq!(node.get("inline").unwrap().text(), Some("inline {env2: \"{value: 123}\"}"));
    assert_eq!(node.text(), Some("{env: \"{env2: \"{value: 123}\"}\", inline: \"inline {env2: \"{value: 123}\"}\"}"));
}

#[test]
fn a_comment_in_a_variable_is_expanded_in_its_text_only() {
    let vars = [
        ("EXPAND_ME", "an expanded env var"),
        ("ENV", "# this is a comment with ${EXPAND_ME}\ndebug:\n  verbosity: detailed"),
    ];
    let loaded = load("field: ${env:ENV}", &vars).unwrap();
    let node = loaded.root.get("field").unwrap();
    assert_eq!(node.get("debug").unwrap().get("verbosity").unwrap().text(), Some("detailed"));
    assert_eq!(node.text(), Some("# this is a comment with an expanded env var\ndebug:\n  verbosity: detailed"));
}
