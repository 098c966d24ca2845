//! Spans of the same ids.

use super::super::*;
use super::calls::{Call, changed, compare, found, request, trace};
use crate::verdict::Cause;

fn fields(change: impl Fn(u64, &mut Vec<Call>)) -> Vec<String> {
    let (Cause::FieldsDiffer { fields }, _) = found(&changed(0, change)) else { panic!() };
    fields
}

#[test]
fn spans_that_are_the_same_in_everything_are_equal() {
    let population = changed(0, |_, _| {});
    assert!(matches!(population.verdict, Verdict::Equivalent { remark: None, .. }), "{population:?}");
    assert_eq!((population.population.as_str(), population.legacy), ("shop", 6000));
}

#[test]
fn an_event_that_is_gone_is_named() {
    assert_eq!(fields(|_, calls| calls[2].events.retain(|name| *name != "retry")), ["event retry"]);
    // One of two that have the same name.
    assert_eq!(fields(|_, calls| calls[2].events.dedup()), ["event retry"]);
}

#[test]
fn an_event_of_another_name_is_named_by_both() {
    let renamed = |_, calls: &mut Vec<Call>| {
        calls[2].events.iter_mut().filter(|name| **name == "done").for_each(|name| *name = "finished");
    };
    assert_eq!(fields(renamed), ["event done", "event finished"]);
}

#[test]
fn links_that_are_gone_are_named() {
    assert_eq!(fields(|_, calls| calls[0].links = 0), ["links"]);
}

#[test]
fn a_resource_attribute_that_is_gone_is_named() {
    let of = |number, resource: &[(&str, &str)]| vec![trace(number, 0, resource, &request(number))];
    let verdicts = compare(
        500,
        |number| of(number, &[("host.name", "a"), ("deployment.environment", "prod")]),
        |number| of(number, &[("host.name", "b")]),
    );
    let (cause, _) = found(&verdicts[0]);
    assert_eq!(cause, Cause::AttributeMissing { side: Side::New, key: "deployment.environment".into() });
}

#[test]
fn an_attribute_may_be_of_the_resource_on_one_side_and_of_the_span_on_the_other() {
    let verdicts = compare(
        500,
        |number| vec![trace(number, 0, &[("host.name", "a")], &request(number))],
        |number| {
            let mut calls = request(number);
            calls[0].drop_attribute("team");
            vec![trace(number, 0, &[("host.name", "a"), ("team", "pay")], &calls)]
        },
    );
    // The other spans of the legacy side have no team at all.
    let (cause, _) = found(&verdicts[0]);
    assert_eq!(cause, Cause::AttributeMissing { side: Side::Legacy, key: "team".into() });
    let all = |number: u64| {
        let mut calls = request(number);
        calls.iter_mut().for_each(|call| call.drop_attribute("team"));
        calls
    };
    let verdicts = compare(
        500,
        |number| {
            let mut calls = all(number);
            calls.iter_mut().for_each(|call| call.attributes.push(("team", "pay")));
            vec![trace(number, 0, &[], &calls)]
        },
        |number| vec![trace(number, 0, &[("team", "pay")], &all(number))],
    );
    assert!(matches!(verdicts[0].verdict, Verdict::Equivalent { .. }), "{verdicts:?}");
}

#[test]
fn a_legacy_side_without_resources_is_no_difference_and_a_new_one_is() {
    let of = |number, resource: &[(&str, &str)]| vec![trace(number, 0, resource, &request(number))];
    let verdicts = compare(500, |number| of(number, &[]), |number| of(number, &[("host.name", "a")]));
    assert!(matches!(verdicts[0].verdict, Verdict::Equivalent { .. }), "{verdicts:?}");
    let verdicts = compare(500, |number| of(number, &[("host.name", "a")]), |number| of(number, &[]));
    let (cause, _) = found(&verdicts[0]);
    assert_eq!(cause, Cause::AttributeMissing { side: Side::New, key: "host.name".into() });
}
