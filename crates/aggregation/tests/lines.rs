//! What lines add up to, each as a sentence.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use support::check;

#[test]
fn counters_add_up() {
    check("dialect: auto", "orders:3|c\norders:4|c", "orders sum=7");
}

#[test]
fn a_counter_is_divided_by_its_rate() {
    check("", "orders:1|c|@0.1\norders:2|c|@0.5", "orders sum=14");
}

#[test]
fn half_a_count_is_not_lost() {
    check("", "orders:0.5|c", "orders sum=0.5");
    check("", "orders:0.5|c\norders:0.5|c", "orders sum=1.0");
}

#[test]
fn a_signed_gauge_is_a_delta() {
    check("", "depth:10|g\ndepth:-3|g\ndepth:+1|g", "depth gauge=8.0");
}

#[test]
fn a_signed_gauge_is_set_in_dogstatsd() {
    check("dialect: dogstatsd", "depth:10|g\ndepth:-3|g", "depth gauge=-3.0");
}

#[test]
fn a_malformed_line_takes_no_other_with_it() {
    check(
        "",
        "orders:1|c\n:1|c\nx|c\norders:nan|c\norders:2|c|@0\norders:1|c",
        "orders sum=2\nmalformed name_empty=1 value_missing=1 value_not_finite=1 rate_out_of_range=1",
    );
}
