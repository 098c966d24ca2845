use std::borrow::Cow;

use legacy::loki::{
    Conversion, Entry, LabelSet, Push, PushError, Take, Timestamps, read_json, read_legacy_json, read_protobuf,
    to_batch,
};
use proptest::prelude::*;

use crate::support::{described, fuzz, golden};

const RECEIVED: u64 = 1_800_000_000_000_000_000;

const INCOMING: Conversion =
    Conversion { timestamps: Timestamps::Incoming, received_unix_ns: RECEIVED, size_bytes_max: 1 << 20 };

type Reader = fn(&[u8], &mut Take<'_>) -> Result<(), PushError>;

fn describe(bytes: &[u8], read: Reader) -> String {
    match to_batch(&INCOMING, |take| read(bytes, take)) {
        Ok(batch) => described(&batch),
        Err(error) => format!("{error}\n"),
    }
}

fn collect(bytes: &[u8], read: Reader) -> Result<Push<'static>, PushError> {
    let mut push = Push::default();
    read(bytes, &mut |labels, entry| {
        let own = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let metadata = entry.structured_metadata.iter().map(|(name, value)| (own(name), own(value)));
        push.stream(labels.clone()).push(Entry {
            timestamp_unix_ns: entry.timestamp_unix_ns,
            line: own(&entry.line),
            structured_metadata: metadata.collect(),
        });
        Ok(())
    })?;
    Ok(push)
}

fn sample() -> Push<'static> {
    let mut push = Push::default();
    let stream = push.stream([("app", "shop"), ("env", "prod")].into_iter().collect());
    stream.push(Entry::new(1_676_888_496_000_000_001, "order 7 shipped\tto \"here\""));
    let metadata = vec![("trace_id".into(), "0242ac120002".into()), ("app".into(), "other".into())];
    stream.push(Entry { structured_metadata: metadata, ..Entry::new(1_676_888_496_000_000_002, "é") });
    push.stream([("app", "x\\\"y\n")].into_iter().collect()).push(Entry::new(0, ""));
    push
}

#[test]
fn every_json_push_becomes_the_expected_log_records() {
    golden("loki", "json", |bytes| describe(bytes, read_json));
}

#[test]
fn every_push_of_the_old_path_becomes_the_expected_log_records() {
    golden("loki", "legacy", |bytes| describe(bytes, read_legacy_json));
}

#[test]
fn protobuf_and_json_say_the_same() {
    let push = sample();
    assert_eq!(describe(&push.to_protobuf(), read_protobuf), describe(&push.to_json(), read_json));
}

/// A request as Loki's own encoder writes it: `labels` `{a="b"}`, one entry at 1 s and 2 ns, line `x`, metadata `k: v`.
#[test]
fn protobuf_is_that_of_logproto() {
    let mut push = Push::default();
    let metadata = vec![("k".into(), "v".into())];
    let entry = Entry { structured_metadata: metadata, ..Entry::new(1_000_000_002, "x") };
    push.stream([("a", "b")].into_iter().collect()).push(entry);
    let expected = b"\x0a\x1c\x0a\x07{a=\"b\"}\x12\x11\x0a\x04\x08\x01\x10\x02\x12\x01x\x1a\x06\x0a\x01k\x12\x01v";
    assert_eq!(push.to_protobuf(), expected);
}

#[test]
fn the_time_of_receipt_counts_unless_the_entrys_is_asked_for() {
    let bytes = sample().to_protobuf();
    let conversion = Conversion { timestamps: Timestamps::OfReceipt, ..INCOMING };
    let batch = to_batch(&conversion, |take| read_protobuf(&bytes, take)).unwrap();
    assert_eq!(described(&batch).matches("\"timeUnixNano\":\"1800000000000000000\"").count(), 3);
}

#[test]
fn labels_that_would_be_repeated_without_end_are_refused() {
    let mut push = Push::default();
    let stream = push.stream([("a", "x".repeat(10_000))].into_iter().collect());
    stream.extend(std::iter::repeat_n(Entry::new(1, ""), 1000));
    let bytes = push.to_protobuf();
    assert!(bytes.len() < 20_000);
    assert!(describe(&bytes, read_protobuf).contains("exceeds 1048576 bytes"));
}

#[test]
fn many_labels_and_much_metadata_take_no_longer_than_few() {
    let labels: LabelSet = (0..50_000).rev().map(|number| (format!("l{number}"), "v")).collect();
    let metadata = (0..50_000).map(|number| (format!("m{number}").into(), "v".into())).collect();
    let mut push = Push::default();
    push.stream(labels).push(Entry { structured_metadata: metadata, ..Entry::new(1, "") });
    assert!(describe(&push.to_protobuf(), read_protobuf).contains("exceeds"));
    assert_eq!(collect(&push.to_json(), read_json).unwrap(), push);
}

#[test]
fn damaged_protobuf_is_refused_with_its_place() {
    let check = |bytes: &[u8], expected: &str| assert_eq!(describe(bytes, read_protobuf), format!("{expected}\n"));
    check(b"\x0a\x7f", "malformed PushRequest at byte 0 of PushRequest");
    check(b"\x0a\x02\x12\x05", "malformed PushRequest at byte 0 of Stream");
    check(b"\x0a\x04\x12\x02\x12\xff", "labels of stream 0: expected `{` at byte 0");
    check(b"\x0a\x08\x0a\x02{}\x12\x02\x12\x01", "malformed PushRequest at byte 0 of Entry");
    check(b"\x0a\x09\x0a\x02{}\x12\x03\x12\x01\xff", "Entry.line of stream 0 is not UTF-8");
    let before_1970 = b"\x0a\x13\x0a\x02{}\x12\x0d\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    check(before_1970, "timestamp of entry 0 in stream 0 is no time between 1970 and 2554");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,8}", any::<String>(), Just("a\u{0}\n\r\t\"\\\u{7f}é😀".to_owned())]
}

fn any_push() -> impl Strategy<Value = Push<'static>> {
    let entry = (any::<u64>(), any_text(), prop::collection::vec((any_text(), any_text()), 0..3)).prop_map(
        |(timestamp_unix_ns, line, metadata)| Entry {
            timestamp_unix_ns,
            line: line.into(),
            structured_metadata: metadata.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        },
    );
    let labels = prop::collection::vec((any_text(), any_text()), 0..4);
    prop::collection::vec((labels, prop::collection::vec(entry, 1..4)), 0..4).prop_map(|streams| {
        let mut push = Push::default();
        for (labels, entries) in streams {
            push.stream(labels.into_iter().collect()).extend(entries);
        }
        push
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(push in any_push()) {
        prop_assert_eq!(&collect(&push.to_protobuf(), read_protobuf).unwrap(), &push);
        prop_assert_eq!(&collect(&push.to_json(), read_json).unwrap(), &push);
    }
}

#[test]
fn mutated_pushes_are_read_or_refused() {
    let old =
        br#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"2018-12-18T08:28:06.801064-04:00","line":"x"}]}]}"#;
    let check = |read: Reader| move |bytes: &[u8]| drop(describe(bytes, read));
    fuzz(&[sample().to_protobuf()], &[0, 1, 8, 0x0a, 0x12, 0x1a, 0x7f, 0xff, b'{'], check(read_protobuf));
    fuzz(&[sample().to_json()], b"{}[]\",:\\01 ", check(read_json));
    fuzz(&[old.to_vec()], b"{}[]\",:\\01 T", check(read_legacy_json));
    fuzz(&[br#"{a="\u00e9\x41\101", b='c', "d"=`e`}"#.to_vec()], b"{}\"\\'`=, \n", |bytes| {
        if let Ok(labels) = LabelSet::parse(&String::from_utf8_lossy(bytes)) {
            assert_eq!(LabelSet::parse(&labels.to_string()), Ok(labels));
        }
    });
}
