//! A small slice of the fault-injection matrix, so that what `docs/parity.md` says cannot be lost unnoticed.
#![allow(missing_docs, dead_code)]

#[path = "../examples/matrix/lab/mod.rs"]
mod lab;

use lab::rows::{Row, clean_rows, faulty_rows};

#[test]
fn no_row_without_a_difference_alarms() {
    for row in clean_rows() {
        for seed in 0..3 {
            let outcome = (row.run)(seed, 4.0);
            assert!(outcome.found_s.is_none() && outcome.named.is_none(), "{} seed {seed}: {outcome:?}", row.method);
        }
    }
}

/// Flushed, and all at once each minute, seen by samplers whose phases slide past those moments: each of these was taken
/// for a loss by some earlier stage of the test of the trend.
#[test]
fn what_once_alarmed_is_silent() {
    use lab::metrics::{Kind, Scene};
    let trends = [269, 433, 482, 559, 824, 934].map(|seed| (seed, Kind::Counter, 5.0));
    // Samplers in step with what they sample see other quantiles all the time.
    let quantiles = [(235, 3.0), (257, 4.0), (260, 6.0), (288, 1.0)].map(|(seed, hours)| (seed, Kind::Summary, hours));
    // And here a reset that did not show made an offset out of nothing.
    for (seed, kind, hours) in trends.into_iter().chain([(31, Kind::Explicit, 14.0)]).chain(quantiles) {
        let outcome = Scene::any(seed, kind, hours).run();
        assert!(outcome.found_s.is_none() && outcome.named.is_none(), "seed {seed}: {outcome:?}");
    }
}

/// What is found only after hours is left to the example.
fn is_fast(row: &Row) -> bool {
    let is_rare = row.method.starts_with("traces") && row.name.starts_with("1 %");
    !is_rare && !row.name.starts_with("0.1 %")
}

#[test]
fn every_row_with_a_difference_is_found_and_named() {
    for row in faulty_rows().into_iter().filter(is_fast) {
        let outcome = (row.run)(1, 3.0);
        assert!(outcome.found_s.is_some(), "{} {}: {outcome:?}", row.method, row.name);
        assert!(row.causes.contains(&outcome.cause.as_str()), "{} {}: {outcome:?}", row.method, row.name);
        assert!(row.failure.is_none() || outcome.named == row.failure, "{} {}: {outcome:?}", row.method, row.name);
    }
}
