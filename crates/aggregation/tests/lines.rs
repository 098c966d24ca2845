//! What lines add up to, each as a sentence.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use support::{check, check_settings, settings};

const SIMPLE: &str = "enable_simple_tags: true";
const HISTOGRAMS: &str = "timer_histogram_mapping: [
    {statsd_type: timer, observer_type: histogram, histogram: {explicit_buckets: [
        {matcher_pattern: '^fast', buckets: [1, 2]}, {matcher_pattern: '.*', buckets: [10, 100]}]}},
    {statsd_type: histogram, observer_type: summary, summary: {percentiles: [0, 50, 100]}},
    {statsd_type: distribution, observer_type: histogram, histogram: {max_size: 4}}]";

#[test]
fn counters_add_up() {
    check("dialect: auto", "orders:3|c\norders:4|c", "orders sum=7");
    check("dialect: auto", "orders:3|c\norders:-4|c", "orders sum=-1");
    check("dialect: dogstatsd", "orders:+3|c\r\norders:4|c\r\n\n", "orders sum=7");
}

#[test]
fn a_counter_is_divided_by_its_rate() {
    check("", "orders:1|c|@0.1\norders:2|c|@0.5", "orders sum=14");
    check("", "orders:1|c|@0.1|#a:b\norders:1|c|#a:b|@0.1", "orders{a=b} sum=20");
    check("", "orders:1|c|@1.0", "orders sum=1");
}

#[test]
fn half_a_count_is_not_lost() {
    check("", "orders:0.5|c", "orders sum=0.5");
    check("", "orders:0.5|c\norders:0.5|c", "orders sum=1.0");
    check("", "orders:1|c|@0.3", "orders sum=3.3333333333333335");
    check("counter_type: float", "orders:2|c", "orders sum=2.0");
}

#[test]
fn a_sum_beyond_an_integer_is_the_nearest_double() {
    check("", "big:9223372036854775807|c\nbig:1|c", "big sum=9.223372036854776e18");
    check("", "big:1e308|c\nbig:1e308|c", "big sum=1.7976931348623157e308");
}

#[test]
fn a_signed_gauge_is_a_delta() {
    check("", "depth:10|g\ndepth:-3|g\ndepth:+1|g", "depth gauge=8.0");
    check("", "depth:-3|g", "depth gauge=-3.0");
    check("", "depth:+1|g\ndepth:5|g", "depth gauge=5.0");
}

#[test]
fn a_signed_gauge_is_set_in_dogstatsd() {
    check("dialect: dogstatsd", "depth:10|g\ndepth:-3|g", "depth gauge=-3.0");
}

#[test]
fn a_meter_is_a_counter_where_the_dialect_is_open() {
    check("", "hits:2|m", "hits sum=2");
    check("dialect: etsy", "hits:2|m", "malformed type_unknown=1");
}

#[test]
fn a_set_counts_different_values() {
    check("", "users:a|s\nusers:b|s\nusers:a|s", "users gauge=2");
    check("", "users:a:b|s\nusers:a|s", "users gauge=2");
}

#[test]
fn tags_are_found_in_every_style() {
    check("", "a:1|c|#k:v,x:y:z", "a{k=v,x=y:z} sum=1");
    check("", "a,k=v,x=y:1|c", "a{k=v,x=y} sum=1");
    check("", "a#k=v,x=y:1|c", "a{k=v,x=y} sum=1");
    check("", "a;k=v;x=y:1|c", "a{k=v,x=y} sum=1");
    check("", "a[k=v,x=y:z].b:1|c", "a.b{k=v,x=y:z} sum=1");
    check("", "a,k=v:1|c|#k:w,l:m", "a{k=w,l=m} sum=1");
}

#[test]
fn styles_and_orders_of_tags_are_one_series() {
    check("", "a:1|c|#k:v,x:y\na:1|c|#x:y,k:v\na,x=y,k=v:1|c\na[k=v,x=y]:1|c", "a{k=v,x=y} sum=4");
}

#[test]
fn a_separator_without_an_equals_sign_is_part_of_the_name() {
    check("", "a,b:1|c\na#b:1|c\na;b:1|c\na[0]:1|c", "a#b sum=1\na,b sum=1\na;b sum=1\na[0] sum=1");
    check("dialect: dogstatsd", "a,k=v:1|c", "a,k=v sum=1");
}

#[test]
fn a_tag_without_a_value_needs_to_be_allowed() {
    check("", "a:1|c|#flag", "malformed tag_value_missing=1");
    check(SIMPLE, "a:1|c|#flag,k:v", "a{flag=,k=v} sum=1");
    check("dialect: dogstatsd", "a:1|c|#flag", "a{flag=} sum=1");
    check("", "a:1|c|#", "a sum=1");
}

#[test]
fn the_last_value_of_a_tag_counts() {
    check("", "a:1|c|#k:1,k:2", "a{k=2} sum=1");
}

#[test]
fn dogstatsd_says_who_sent_a_line() {
    check("", "a:1|c|c:abc", "a{container.id=abc} sum=1");
    check("", "a:1|c|c:ci-abc|#k:v", "a{container.id=abc,k=v} sum=1");
    check("", "a:1|c|c:in-4711", "a{dogstatsd.cgroup.inode=4711} sum=1");
    check("", "a:1|c|e:it-false,cn-web,pu-75a2", "a{k8s.container.name=web,k8s.pod.uid=75a2} sum=1");
    check("", "a:1|c|card:high", "a{dogstatsd.cardinality=high} sum=1");
}

#[test]
fn unknown_fields_are_passed_over_in_any_order() {
    check("", "a:1|c|x:y|@0.5|zzz||#k:v", "a{k=v} sum=2");
}

#[test]
fn packed_values_count_each() {
    check("", "a:1:2:3|c\nb:1:2|g", "a sum=6\nb gauge=2.0");
    check(HISTOGRAMS, "a:1:2:9|h", "a summary count=3 sum=12.0 0.0:1.0 0.5:2.0 1.0:9.0");
    check("", "a:1|c\na:1:x|c\na:1:|c", "a sum=1\nmalformed value_empty=1 value=1");
    check("dialect: etsy", "a:1|c\na:1:2|c", "a sum=1\nmalformed type_missing=1");
}

#[test]
fn etsy_puts_samples_in_a_row() {
    check("", "a:1|c:2|c:5|g", "a gauge=5.0\na sum=3");
    check("", "a:1|c|@0.5:6|g", "a gauge=6.0\na sum=2");
    check("", "a:1|c:x|c:2|c", "a sum=3\nmalformed value=1");
    check("dialect: dogstatsd", "a:1|c:2|c", "malformed type_unknown=1");
}

#[test]
fn timestamps_make_points_of_their_own() {
    check("", "a:1|c|T100\na:2|c|T100\na:4|c|T101\na:8|c", "a sum=3 @100s\na sum=4 @101s\na sum=8");
    check("", "a:1|g|T100\na:-2|g|T100\na:5|g", "a gauge=-2.0 @100s\na gauge=5.0");
    check("temporality: cumulative", "a:1|c|T100\na:2|c", "a cumulative monotonic sum=3");
    check("", "a:1|ms|T100\na:1|c|T0\na:1|c|T1x", "malformed timestamp=3");
}

#[test]
fn a_timer_is_what_the_configuration_says() {
    check("", "a:1|ms\na:2|ms", "a gauge=1.0\na gauge=2.0");
    let disabled = "timer_histogram_mapping: [{statsd_type: timing, observer_type: disabled}]";
    check(disabled, "a:1|ms\na:1|ms\na:1|h", "a gauge=1.0\ndropped 2");
    check(HISTOGRAMS, "fast:1|ms\nfast:3|ms", "fast histogram count=2 sum=4.0 min=1.0 max=3.0 [1.0, 2.0] [1, 0, 1]");
    check(HISTOGRAMS, "slow:10|ms", "slow histogram count=1 sum=10.0 min=10.0 max=10.0 [10.0, 100.0] [1, 0, 0]");
    check(
        HISTOGRAMS,
        "d:1|d\nd:2|d\nd:16|d\nd:-1|d\nd:0|d",
        "d exponential count=5 sum=18.0 scale=-1 zero=1 +-1:[1, 1, 1] --1:[1]",
    );
}

#[test]
fn a_rate_weights_a_timer() {
    check(HISTOGRAMS, "a:10|h|@0.1", "a summary count=10 sum=100.0 0.0:10.0 0.5:10.0 1.0:10.0");
    check(HISTOGRAMS, "a:10|ms|@0.1", "a histogram count=10 sum=100.0 min=10.0 max=10.0 [10.0, 100.0] [10, 0, 0]");
    let etsy = format!("dialect: etsy\n{HISTOGRAMS}");
    check(&etsy, "a:10|h|@0.1", "a summary count=10 sum=10.0 0.0:10.0 0.5:10.0 1.0:10.0");
}

#[test]
fn the_type_can_be_an_attribute() {
    check("enable_metric_type: true", "a:1|c\na:1|ms", "a{metric_type=counter} sum=1\na{metric_type=timing} gauge=1.0");
}

#[test]
fn a_monotonic_sum_that_falls_is_not_called_one() {
    check("is_monotonic_counter: true", "a:1|c\nb:-1|c", "a monotonic sum=1\nb sum=-1");
}

#[test]
fn events_are_log_records() {
    check(
        "",
        "_e{5,8}:title|te\\nxt 1|t:error|p:low|h:web1|k:key|s:src|#k:v|c:abc",
        "log dogstatsd.event error \"te\\nxt 1\"{dogstatsd.event.title=title,container.id=abc,\
         dogstatsd.event.aggregation_key=key,dogstatsd.event.priority=low,dogstatsd.event.source_type_name=src,\
         host.name=web1,k=v}",
    );
    check("", "_e{5,4}:title|text", "log dogstatsd.event info \"text\"{dogstatsd.event.title=title}");
    check("", "_e{9,4}:title|text\n_e{5,4}:title\n_e{0,4}:|text\n_e{5,3}:title|text", "malformed event=4");
    check("dialect: etsy", "_e{5,4}:title|text", "malformed type_unknown=1");
}

#[test]
fn service_checks_are_gauges_and_their_messages_log_records() {
    check("", "_sc|db.up|0|#k:v", "db.up{k=v} gauge=0.0");
    check("", "_sc|db.up|2|d:100|h:web1", "db.up{host.name=web1} gauge=2.0 @100s");
    check(
        "",
        "_sc|db.up|2|m:it's m\\: down|really\\n",
        "db.up gauge=2.0\n\
         log dogstatsd.service_check error \"it's m: down|really\\n\"{dogstatsd.service_check.name=db.up}",
    );
    check("", "_sc|db.up|4\n_sc||0\n_sc|db.up", "malformed service_check=3");
}

#[test]
fn a_malformed_line_takes_no_other_with_it() {
    check(
        "",
        "orders:1|c\n:1|c\nx|c\norders:nan|c\norders:2|c|@0\norders:1|c",
        "orders sum=2\nmalformed name_empty=1 value_missing=1 value_not_finite=1 rate_out_of_range=1",
    );
}

#[test]
fn each_malformation_has_its_cause() {
    for (line, cause) in [
        (":1|c", "name_empty"),
        (",k=v:1|c", "name_empty"),
        ("a", "value_missing"),
        ("a:|c", "value_empty"),
        ("a:1", "type_missing"),
        ("a:1|", "type_missing"),
        ("a:1|x", "type_unknown"),
        ("a:x|c", "value"),
        ("a:1_0|c", "value"),
        ("a:--1|c", "value"),
        ("a:+-1|g", "value"),
        ("a:-|g", "value"),
        ("a: 1|c", "value"),
        ("a:inf|g", "value_not_finite"),
        ("a:-Infinity|g", "value_not_finite"),
        ("a:NaN|ms", "value_not_finite"),
        ("a:1e999|c", "value_not_finite"),
        ("a:1|c|@x", "rate"),
        ("a:1|c|@", "rate"),
        ("a:1|c|@-1", "rate_out_of_range"),
        ("a:1|c|@1.5", "rate_out_of_range"),
        ("a:1|c|@nan", "rate_out_of_range"),
        ("a:1|c|@inf", "rate_out_of_range"),
        ("a:1|c|@1e-320", "rate_out_of_range"),
        ("a:1|c|#:v", "tag_key_empty"),
        ("a:1|c|T99999999999999999999", "timestamp"),
    ] {
        check("", line, &format!("malformed {cause}=1"));
    }
}

#[test]
fn what_is_no_utf8_is_replaced_and_counts() {
    check_settings(settings(""), b"a\xff:1|c|#k\xfe:v\xc3", "a\u{fffd}{k\u{fffd}=v\u{fffd}} sum=1");
}

#[test]
fn a_line_may_be_long_but_not_endless() {
    let name = "n".repeat(60_000);
    check("", &format!("{name}:1|c"), &format!("{name} sum=1"));
    check("", &format!("{}:1|c\na:1|c", "n".repeat(70_000)), "a sum=1\nmalformed line_too_long=1");
    let tags: String = (0..300).map(|i| format!("k{i}:v,")).collect();
    check("", &format!("a:1|c|#{tags}"), "malformed tags_too_many=1");
}

#[test]
fn control_characters_stay_inside_a_tag() {
    check("", "a:1|c|#k:v\rw\r\n", "a{k=v\rw} sum=1");
}

#[test]
fn more_series_than_allowed_are_refused() {
    check("max_series: 1", "a:1|c\nb:1|c\na:1|c", "a sum=2\nmalformed series_limit=1");
}
