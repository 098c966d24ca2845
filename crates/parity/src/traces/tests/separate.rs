//! Traces of other ids.

use otlp::SpanKind;

use super::super::*;
use super::calls::{Call, changed, compare, found, request, trace};
use crate::verdict::Cause;

const OTHER_IDS: u64 = 1_000_000;

fn check(change: impl Fn(u64, &mut Vec<Call>), cause: &Cause, said: &[&str]) {
    let (own, evidence) = found(&changed(OTHER_IDS, change));
    assert_eq!(own, *cause, "{evidence}");
    said.iter().for_each(|said| assert!(evidence.contains(said), "{evidence}"));
}

fn missing(side: Side, key: &str) -> Cause {
    Cause::AttributeMissing { side, key: key.to_owned() }
}

fn differ(fields: &[&str]) -> Cause {
    Cause::FieldsDiffer { fields: fields.iter().map(|field| (*field).to_owned()).collect() }
}

fn is_equal(population: &PopulationVerdict) -> bool {
    matches!(population.verdict, Verdict::Equivalent { .. })
}

#[test]
fn traces_whose_spans_have_the_same_are_equal() {
    let population = changed(OTHER_IDS, |_, _| {});
    assert!(is_equal(&population), "{population:?}");
}

#[test]
fn an_attribute_that_is_gone_is_named_with_the_operation_and_the_shares() {
    let said = [
        "`region` is on 100 % of the 1500 spans `shop GET /cart` on the legacy side, on 0 % of the 1500 on the new one",
    ];
    check(|_, calls| calls[0].drop_attribute("region"), &missing(Side::New, "region"), &said);
    // Of what has it now and then, in most cases.
    let mostly = |number: u64, calls: &mut Vec<Call>| {
        if !number.is_multiple_of(5) {
            calls[0].drop_attribute("user");
        }
    };
    check(mostly, &missing(Side::New, "user"), &["`user` is on 33 % of", "on 6.7 % of"]);
}

#[test]
fn an_attribute_that_is_new_is_missing_on_the_legacy_side() {
    let said = ["`tenant` is on 0 % of the 3000 spans `shop SELECT` on the legacy side"];
    let more = |_, calls: &mut Vec<Call>| [1, 3].iter().for_each(|at| calls[*at].attributes.push(("tenant", "a")));
    check(more, &missing(Side::Legacy, "tenant"), &said);
}

#[test]
fn an_attribute_that_is_there_less_often_is_a_field_that_differs() {
    let sometimes = |number: u64, calls: &mut Vec<Call>| {
        if number.is_multiple_of(4) {
            calls[0].drop_attribute("region");
        }
    };
    check(sometimes, &differ(&["attribute region"]), &["on 75 % of the 1500"]);
}

#[test]
fn an_attribute_that_was_renamed_is_told_with_its_new_name() {
    let renamed = |_, calls: &mut Vec<Call>| calls[0].rename_attribute("http.method", "http.request.method");
    let said = ["; `http.method` seems to be `http.request.method` now"];
    check(renamed, &missing(Side::New, "http.method"), &said);
    // Of two that are gone and two that are new, those that are alike; and what else there is.
    let both = |_, calls: &mut Vec<Call>| {
        calls[0].rename_attribute("region", "cloud.region");
        calls[0].rename_attribute("http.method", "http.request.method");
    };
    let said = [
        "`http.method` seems to be `http.request.method` now; what else differs: attribute region, attribute cloud.region",
    ];
    check(both, &missing(Side::New, "http.method"), &said);
}

#[test]
fn an_event_that_is_gone_is_named() {
    let said = ["event done: 1.00 for each span `shop price` on the legacy side, 0.00 on the new one"];
    check(|_, calls| calls[2].events.retain(|name| *name != "done"), &differ(&["event done"]), &said);
    // One of two in a quarter of the requests.
    let said = ["event retry: 0.50 for each span `shop price` on the legacy side, 0.25 on the new one"];
    check(|_, calls| calls[2].events.dedup(), &differ(&["event retry"]), &said);
}

#[test]
fn links_that_are_gone_are_named() {
    let said = ["links: 0.50 for each span `shop GET /cart` on the legacy side, 0.00 on the new one"];
    check(|_, calls| calls[0].links = 0, &differ(&["links"]), &said);
}

#[test]
fn shapes_that_differ_are_told_by_the_highest_path_that_does() {
    // The second call goes on to two databases; what is below it is not told again.
    let half = |number: u64, calls: &mut Vec<Call>| {
        if number.is_multiple_of(2) {
            calls.truncate(2);
        }
    };
    let said =
        ["`shop GET /cart > shop price` 1.00 times a trace on the legacy side, 0.50 on the new one; 1500 traces"];
    check(half, &differ(&["shape"]), &said);
}

#[test]
fn operations_that_one_side_alone_has_are_told() {
    let said = [
        "`shop GET /cart > shop price > shop INSERT` 0.00 times a trace on the legacy side, 1.00 on the new one, \
         `shop GET /cart > shop price > shop SELECT` 1.00 times a trace on the legacy side, 0.00 on the new one",
        "only the new side has `shop INSERT`",
    ];
    check(|_, calls| calls[3].name = "INSERT", &differ(&["shape"]), &said);
}

#[test]
fn kinds_and_errors_are_told_where_names_are_the_same() {
    let kind = |_, calls: &mut Vec<Call>| calls[1].kind = SpanKind::Producer;
    check(
        kind,
        &differ(&["shape"]),
        &["`shop GET /cart > shop SELECT` of kind producer 0.00 times", "of kind client 1.00"],
    );
    let failed = |_, calls: &mut Vec<Call>| calls[1].is_error = true;
    check(
        failed,
        &differ(&["shape"]),
        &["`shop GET /cart > shop SELECT (error)` 0.00 times a trace on the legacy side"],
    );
}

#[test]
fn calls_that_go_together_otherwise_are_told_as_such() {
    // Both calls in one trace and none in the next one, instead of one in each.
    let of = |number: u64, ids: u64, calls: usize| {
        let call = Call::new("SELECT", SpanKind::Client);
        let calls: Vec<Call> = [Call::new("GET /", SpanKind::Server)].into_iter().chain(vec![call; calls]).collect();
        vec![trace(number, ids, &[], &calls)]
    };
    let verdicts = compare(1500, |number| of(number, 0, 1), |number| of(number, OTHER_IDS, (number % 2) as usize * 2));
    let (cause, evidence) = found(&verdicts[0]);
    assert_eq!(cause, differ(&["shape"]));
    assert!(evidence.starts_with("no path by itself occurs more often"), "{evidence}");
}

#[test]
fn shares_within_the_margin_are_no_difference() {
    let rarely = |number: u64, calls: &mut Vec<Call>| {
        if number.is_multiple_of(200) {
            calls[0].drop_attribute("region");
            calls[2].events.clear();
        }
    };
    let population = changed(OTHER_IDS, rarely);
    assert!(!matches!(population.verdict, Verdict::Different(_)), "{population:?}");
}

/// Of each two requests, each side traces one, as it happens: what they have differs by chance alone.
#[test]
fn random_samples_of_the_same_requests_do_not_alarm() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut traces = Traces::new(TraceSettings::default());
        let often = [0.02, 0.3, 0.5, 0.9][seed as usize % 4];
        for number in 0..400 {
            let two: Vec<Vec<Call>> = (0..2).map(|_| at_random(number, often, &mut random)).collect();
            for (side, ids) in [(Side::Legacy, 0), (Side::New, OTHER_IDS)] {
                let batch = trace(number, ids, &[], &two[random.usize(..2)]);
                traces.observe(side, batch.traces().unwrap());
            }
            if number % 40 == 39 {
                let verdicts = traces.close(u64::MAX);
                let is_silent = |one: &PopulationVerdict| !matches!(one.verdict, Verdict::Different(_));
                assert!(verdicts.iter().all(is_silent), "seed {seed}: {verdicts:?}");
            }
        }
    }
}

/// A request whose calls all have an attribute or have not, and events and links as often as it happens.
fn at_random(number: u64, often: f64, random: &mut fastrand::Rng) -> Vec<Call> {
    let mut calls = request(number);
    let calls_more = random.usize(..4);
    calls.extend(std::iter::repeat_n(calls[1].clone(), calls_more));
    let is_known = random.f64() < often;
    for call in &mut calls {
        call.drop_attribute("user");
        if is_known {
            call.attributes.push(("user", "known"));
        }
        call.events = (0..6).filter(|_| random.f64() < often).map(|_| "retry").collect();
        call.links = random.u64(..3);
    }
    calls
}
