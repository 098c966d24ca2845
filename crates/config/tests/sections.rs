//! Typed readers: what they take, what they refuse and in which words.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]
// The methods' paths are not general over the lifetime of a field, which the lint does not see.
#![allow(clippy::redundant_closure_for_method_calls)]

use std::fmt::Debug;
use std::time::Duration;

use config::{Diagnostics, Field, Node, Read, Section, TestEnvironment, parse_str};

fn tree(yaml: &str) -> Node {
    parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap().root
}

/// Reads `key: <yaml>` and checks the value and the messages, without their place.
fn check<T: Debug + PartialEq>(
    yaml: &str,
    read: impl FnOnce(Field<'_>) -> Read<'_, T>,
    expected: Result<Option<T>, &str>,
) {
    let root = tree(&format!("key: {yaml}"));
    let mut diagnostics = Diagnostics::new();
    let value = Section::open(&root, "", &mut diagnostics).read(|section| read(section.get("key")).optional());
    let messages: Vec<&str> = diagnostics.errors().iter().map(|error| error.message.as_str()).collect();
    let actual = if messages.is_empty() { Ok(value) } else { Err(messages.join("; ")) };
    assert_eq!((yaml, actual), (yaml, expected.map_err(str::to_owned)));
}

/// Reads a whole section and checks the messages.
fn check_section(yaml: &str, read: impl FnOnce(&mut Section<'_>), expected: &[&str]) {
    let root = tree(yaml);
    let mut diagnostics = Diagnostics::new();
    Section::open(&root, "s", &mut diagnostics).read(read);
    let messages: Vec<String> = match diagnostics.finish() {
        Ok(warnings) => warnings.iter().map(|warning| format!("warning: {warning}")).collect(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(messages, expected, "for {yaml}");
}

#[test]
fn a_string_takes_numbers_and_booleans_as_they_were_written() {
    for (yaml, text) in
        [("text", "text"), ("0123", "0123"), ("1.50", "1.50"), ("yes", "yes"), ("True", "True"), ("''", "")]
    {
        check(yaml, |field| field.string(), Ok(Some(text.to_owned())));
    }
    check("", |field| field.string(), Ok(None));
    check("~", |field| field.string(), Ok(None));
    check("[a]", |field| field.string(), Err("expected a string, found a list"));
    check("{a: b}", |field| field.string(), Err("expected a string, found a map"));
    check("''", |field| field.string().non_empty(), Ok(None));
}

#[test]
fn a_boolean_takes_the_words_of_older_yaml() {
    for yaml in ["true", "True", "yes", "on", "On", "'true'", "1"] {
        check(yaml, |field| field.bool(), Ok(Some(true)));
    }
    for yaml in ["false", "no", "off", "'FALSE'", "0"] {
        check(yaml, |field| field.bool(), Ok(Some(false)));
    }
    check("maybe", |field| field.bool(), Err("expected `true` or `false`, found `maybe`"));
    check("2", |field| field.bool(), Err("expected `true` or `false`, found `2`"));
}

#[test]
fn an_integer_must_fit_its_type() {
    check("5", |field| field.integer::<u32>(), Ok(Some(5)));
    check("'5'", |field| field.integer::<u32>(), Ok(Some(5)));
    check("1e3", |field| field.integer::<u32>(), Ok(Some(1000)));
    check("-5", |field| field.integer::<i32>(), Ok(Some(-5)));
    check("18446744073709551615", |field| field.integer::<u64>(), Ok(Some(u64::MAX)));
    check("-9223372036854775808", |field| field.integer::<i64>(), Ok(Some(i64::MIN)));
    check("-1", |field| field.integer::<u32>(), Err("expected an integer of at least 0, found `-1`"));
    check(
        "256",
        |field| field.integer::<u8>(),
        Err("expected an integer from 0 to 255, found `256`: the largest possible value is 255"),
    );
    check("1.5", |field| field.integer::<u32>(), Err("expected an integer of at least 0, found `1.5`"));
    check(
        "99999999999999999999999999999999999999999999",
        |field| field.integer::<u64>(),
        Err("expected an integer of at least 0, found `99999999999999999999999999999999999999999999`"),
    );
    check("5s", |field| field.integer::<i64>(), Err("expected an integer, found `5s`"));
}

#[test]
fn a_range_says_what_it_allows() {
    check("5", |field| field.integer::<u32>().range(1..=5), Ok(Some(5)));
    check("6", |field| field.integer::<u32>().range(1..=5), Err("expected a number from 1 to 5, found `6`"));
    check("0", |field| field.integer::<u32>().range(1..), Err("expected a number of at least 1, found `0`"));
    check("6", |field| field.integer::<u32>().range(..=5), Err("expected a number of at most 5, found `6`"));
    check("5", |field| field.integer::<u32>().range(1..5), Err("expected a number from 1 to below 5, found `5`"));
    check("100.5", |field| field.float().range(0.0..=100.0), Err("expected a number from 0 to 100, found `100.5`"));
}

#[test]
fn a_float_is_finite() {
    check("1.5", |field| field.float(), Ok(Some(1.5)));
    check("2", |field| field.float(), Ok(Some(2.0)));
    check("'2.5'", |field| field.float(), Ok(Some(2.5)));
    check(".nan", |field| field.float(), Err("expected a number, found `.nan`"));
    check(".inf", |field| field.float(), Err("expected a number, found `.inf`"));
    check("many", |field| field.float(), Err("expected a number, found `many`"));
}

#[test]
fn a_duration_needs_a_unit() {
    check("1m30s", |field| field.duration(), Ok(Some(Duration::from_secs(90))));
    check("0", |field| field.duration(), Ok(Some(Duration::ZERO)));
    check(
        "5",
        |field| field.duration(),
        Err(
            "expected a duration such as `5s`, `200ms` or `1m30s`, found `5`: a unit is missing: write `5s` for seconds or \
         `5ms` for milliseconds",
        ),
    );
    check(
        "1d",
        |field| field.duration(),
        Err(
            "expected a duration such as `5s`, `200ms` or `1m30s`, found `1d`: `d` is no unit; the units are ns, us, ms, s, m and h",
        ),
    );
    check("0s", |field| field.duration().above_zero(), Err("expected a duration of more than `0s`, found `0s`"));
    check("1d", |field| field.prometheus_duration(), Ok(Some(Duration::from_secs(86_400))));
}

#[test]
fn a_size_may_have_a_unit() {
    check("20MiB", |field| field.bytes(), Ok(Some(20 << 20)));
    check("1048576", |field| field.bytes(), Ok(Some(1 << 20)));
    check("10MB", |field| field.prometheus_bytes(), Ok(Some(10 << 20)));
    check(
        "-1",
        |field| field.bytes(),
        Err("expected a size such as `20MiB` or a number of bytes, found `-1`: it must not be negative"),
    );
}

#[test]
fn one_of_several_words_is_suggested() {
    fn choice(field: Field<'_>) -> Read<'_, u8> {
        field.one_of(&[("udp", 1), ("tcp", 2), ("", 3)])
    }
    check("tcp", choice, Ok(Some(2)));
    check("''", choice, Ok(Some(3)));
    check_section(
        "key: tpc",
        |section| {
            choice(section.get("key")).optional();
        },
        &["s.key: expected one of `udp` and `tcp`, found `tpc` (c.yaml:1:6)\n  help: did you mean `tcp`?"],
    );
}

#[test]
fn a_list_of_strings_takes_a_single_value_and_commas() {
    let strings = |items: &[&str]| Ok(Some(items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>()));
    check("[a, 5, true]", |field| field.strings(), strings(&["a", "5", "true"]));
    check("a", |field| field.strings(), strings(&["a"]));
    check("'a:1, b:2'", |field| field.strings(), strings(&["a:1", "b:2"]));
    check("''", |field| field.strings(), strings(&[]));
    check("[]", |field| field.strings(), strings(&[]));
    check("", |field| field.strings(), Ok(None));
    check("[a, [b]]", |field| field.strings(), Err("expected a string, found a list"));
    check("[a, ~]", |field| field.strings(), Err("expected a string, found nothing"));
    check("{a: b}", |field| field.strings(), Err("expected a list of strings, found a map"));
}

#[test]
fn a_list_of_other_things_is_read_item_by_item() {
    let durations = |field: Field<'_>| field.each(|item| item.duration().optional()).optional();
    let root = tree("key: [1ms, x, 2ms]\none: 5ms");
    let mut diagnostics = Diagnostics::new();
    let mut section = Section::open(&root, "", &mut diagnostics);
    assert_eq!(durations(section.get("key")), Some(vec![Duration::from_millis(1), Duration::from_millis(2)]));
    assert_eq!(durations(section.get("one")), Some(vec![Duration::from_millis(5)]));
    assert_eq!(durations(section.get("none")), None);
    assert_eq!(diagnostics.errors()[0].path.as_str(), "key[1]");
}

#[test]
fn a_map_of_strings_keeps_its_order_and_its_secrets() {
    let pairs = |field: Field<'_>| field.string_map().optional();
    let root = tree("a: {z: 1, b: two, c: }\nh: {authorization: x}\nl: [{name: n, value: v}, {name: m}]");
    let mut diagnostics = Diagnostics::new();
    let mut section = Section::open(&root, "", &mut diagnostics);
    let a = pairs(section.get("a")).unwrap();
    assert_eq!(a, [("z".into(), "1".into()), ("b".into(), "two".into()), ("c".into(), String::new())]);
    let headers = section.get("h").secret_map().or_default();
    assert_eq!(format!("{headers:?}"), "[(\"authorization\", [REDACTED])]");
    assert_eq!(headers[0].1.expose(), "x");
    let list = section.get("l").secret_map().or_default();
    assert_eq!((list[0].0.as_str(), list[0].1.expose(), list[1].1.expose()), ("n", "v", ""));
    section.finish();
    assert!(diagnostics.finish().is_ok());
}

#[test]
fn a_value_that_must_be_there_is_missed_once() {
    let read = |section: &mut Section<'_>| {
        section.get("endpoint").string().non_empty().required();
    };
    check_section(
        "other: 1\nendpoint: a",
        |section| {
            read(section);
            section.get("other").string().optional();
        },
        &[],
    );
    check_section("{}", read, &["s.endpoint: is required: expected a string (c.yaml:1:1)"]);
    check_section("endpoint:", read, &["s.endpoint: expected a string, found nothing (c.yaml:1:1)"]);
    check_section("endpoint: []", read, &["s.endpoint: expected a string, found a list (c.yaml:1:11)"]);
    check_section("5", |section| section.child("child", read), &["s: expected a map, found `5` (c.yaml:1:1)"]);
    // What is missing in a value that is no map at all has been said with that.
    check_section("[]", read, &["s: expected a map, found a list (c.yaml:1:1)"]);
}

#[test]
fn a_required_value_from_an_empty_variable_is_missing() {
    let loaded = parse_str("c.yaml", "endpoint: ${env:EP}", &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let endpoint = Section::open(&loaded.root, "s", &mut diagnostics).get("endpoint").string().required();
    assert_eq!(endpoint, None);
    assert_eq!(diagnostics.errors()[0].message, "expected a string, found nothing: `${env:EP}` is empty or not set");
}

#[test]
fn a_null_section_is_told_from_a_missing_one() {
    let root = tree("grpc:\nhttp: {}");
    let mut diagnostics = Diagnostics::new();
    let mut section = Section::open(&root, "", &mut diagnostics);
    assert_eq!(section.child_if_named("grpc", |_| "read"), Some("read"));
    assert_eq!(section.child_if_named("http", |_| "read"), Some("read"));
    assert_eq!(section.child_if_named("other", |_| "read"), None);
    assert_eq!(section.child_if_present("grpc", |_| "read"), None);
    assert_eq!(section.child_if_present("http", |_| "read"), Some("read"));
    assert_eq!(section.child("other", |child| child.get("x").integer().or(7)), 7);
    assert_eq!(section.children("other", |_| ()), []);
}

#[test]
fn a_key_that_nobody_reads_is_unknown() {
    let read = |section: &mut Section<'_>| {
        section.get("endpoint").string().optional();
        section.get("timeout").duration().optional();
    };
    check_section(
        "endpont: a",
        read,
        &["s.endpont: unknown key `endpont` (c.yaml:1:1)\n  help: did you mean `endpoint`?"],
    );
    check_section(
        "storage: a",
        read,
        &["s.storage: unknown key `storage` (c.yaml:1:1)\n  help: the keys known here are `endpoint` and `timeout`"],
    );
    // A key that is given already is not what another one was meant to be.
    check_section(
        "endpoint: a\nendpoints: b",
        read,
        &[
            "s.endpoints: unknown key `endpoints` (c.yaml:2:1)\n  help: the keys known here are `endpoint` and `timeout`",
        ],
    );
    check_section(
        "a: 1",
        |section| {
            section.entries();
        },
        &[],
    );
    check_section("a: 1", |_| (), &["s.a: unknown key `a` (c.yaml:1:1)\n  help: no keys are known here"]);
}

#[test]
fn a_key_that_is_not_built_yet_is_no_misspelling() {
    let read = |section: &mut Section<'_>| section.unsupported("cookies", "a cookie jar");
    check_section("cookies: {enabled: true}", read, &["s.cookies: not built yet: a cookie jar (c.yaml:1:1)"]);
    check_section("cookies: []\n", read, &[]);
    for nothing in ["", "false", "''", "{}", "{enabled: false}"] {
        check_section(&format!("cookies: {nothing}"), read, &[]);
    }
    check_section(
        "old: 1",
        |section| section.without_effect("old", "it is gone"),
        &["warning: s.old: has no effect: it is gone (c.yaml:1:1)"],
    );
}

#[test]
fn checks_of_a_component_point_at_its_values() {
    check_section(
        "low: 5\nhigh: 3",
        |section| {
            let low = section.get("low").integer::<u32>().spanned().unwrap();
            let high = section.get("high").integer::<u32>().or(0);
            assert_eq!(low.position.to_string(), "c.yaml:1:6");
            if low.value > high {
                section.error("low", "is above `high`");
                section.error("missing", "is needed then");
                section.fail("does not work");
                section.warning("high", "is low");
            }
        },
        &[
            "s.missing: is needed then (c.yaml:1:1)",
            "s: does not work (c.yaml:1:1)",
            "s.low: is above `high` (c.yaml:1:6)",
        ],
    );
}

#[test]
fn sections_in_lists_and_maps_have_their_own_paths() {
    let key = |section: &mut Section<'_>| section.get("key").string().or_default();
    check_section(
        "actions: [{key: a}, {kye: b}, 5]\n",
        |section| {
            assert_eq!(section.children("actions", key), ["a", "", ""]);
        },
        &[
            "s.actions[1].kye: unknown key `kye` (c.yaml:1:22)\n  help: did you mean `key`?",
            "s.actions[2]: expected a map, found `5` (c.yaml:1:31)",
        ],
    );
    check_section("actions: {key: a}\n", |section| assert_eq!(section.children("actions", key), ["a"]), &[]);
    check_section(
        "named: {a: {key: 1}, b: , c: 5}\n",
        |section| {
            let children = section.named_children("named", |_, child| key(child));
            let names: Vec<_> = children.iter().map(|(name, value)| (name.value.as_str(), value.as_str())).collect();
            assert_eq!(names, [("a", "1"), ("b", ""), ("c", "")]);
        },
        &["s.named.c: expected a map, found `5` (c.yaml:1:30)"],
    );
}

#[test]
fn what_a_parser_says_is_part_of_the_message() {
    fn parse(field: Field<'_>) -> Read<'_, u32> {
        field.parse_with("an even number", |text| match text.parse::<u32>() {
            Ok(number) if number % 2 == 0 => Ok(number),
            Ok(_) => Err("it is odd".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
    check("4", parse, Ok(Some(4)));
    check("3", parse, Err("expected an even number, found `3`: it is odd"));
    check("[4]", parse, Err("expected an even number, found a list"));
}

#[test]
fn a_reader_without_a_value_and_without_a_reason_is_an_error_all_the_same() {
    let errors = Diagnostics::new().finish_with(None::<()>).unwrap_err();
    assert!(errors.to_string().contains("without a reason"));
}
