use std::fmt::Write;

use legacy::syslog::{Leading, Message, SyslogError, Zone, rfc3164, rfc5424};
use proptest::prelude::*;

use crate::support::{fuzz, golden};

/// 2023-11-14T22:13:20Z.
const RECEIVED: u64 = 1_700_000_000_000_000_000;

fn shown(read: &Result<Message<'_>, SyslogError>) -> String {
    let message = match read {
        Ok(message) => message,
        Err(error) => return format!("{error} ({})", error.kind.cause()),
    };
    let mut out = String::new();
    if let Some(priority) = message.priority {
        let (facility, severity) = (priority.facility_text(), priority.severity());
        let _ = write!(out, "{facility}.{} {} ", severity.text(), severity.otlp_number());
    }
    if let Some(version) = message.version {
        let _ = write!(out, "v{version} ");
    }
    let time =
        message.timestamp_unix_ns.map(|at| jiff::Timestamp::from_nanosecond(i128::from(at)).unwrap().to_string());
    let _ = write!(out, "{} ", time.unwrap_or_else(|| "-".to_owned()));
    for field in [message.hostname, message.appname, message.proc_id, message.msg_id] {
        let _ = write!(out, "{} ", field.map_or("-".to_owned(), |field| format!("{field:?}")));
    }
    for element in &message.structured_data {
        let _ = write!(out, "[{}", element.id);
        element.params.iter().for_each(|(name, value)| {
            let _ = write!(out, " {name}={value:?}");
        });
        out += "] ";
    }
    let _ = write!(out, "| {}", message.message.map_or("none".to_owned(), |text| format!("{text:?}")));
    out
}

fn lines(bytes: &[u8], read: impl Fn(&str) -> String) -> String {
    let text = String::from_utf8_lossy(bytes);
    // `#` begins a comment, and the mark of the encoding would not be seen in the file.
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.replace("(BOM)", "\u{feff}"));
    lines.map(|line| format!("{line}\n    {}\n", read(&line))).collect()
}

#[test]
fn every_message_of_rfc_5424_is_read_as_expected() {
    golden("syslog", "rfc5424", |bytes| lines(bytes, |line| shown(&rfc5424::read(line, Leading::Priority))));
}

#[test]
fn every_message_of_rfc_3164_is_read_as_expected() {
    let read = |line: &str| shown(&rfc3164::read(line, Leading::Priority, &Zone::UTC, RECEIVED));
    golden("syslog", "rfc3164", |bytes| lines(bytes, read));
}

#[test]
fn a_priority_may_be_left_out_where_that_is_allowed() {
    let new = "1 2003-10-11T22:14:15Z h a - - - m";
    let old = "Oct 11 22:14:15 h a: m";
    assert_eq!(rfc5424::read(new, Leading::Priority).unwrap_err().offset, 0);
    assert!(rfc3164::read(old, Leading::Priority, &Zone::UTC, RECEIVED).is_err());
    for prefix in ["", "<34>"] {
        let text = format!("{prefix}{new}");
        let message = rfc5424::read(&text, Leading::OptionalPriority).unwrap();
        assert_eq!((message.priority.is_some(), message.message), (!prefix.is_empty(), Some("m")));
        let text = format!("{prefix}{old}");
        let message = rfc3164::read(&text, Leading::OptionalPriority, &Zone::UTC, RECEIVED).unwrap();
        assert_eq!((message.priority.is_some(), message.message), (!prefix.is_empty(), Some("m")));
    }
}

fn year(sent: &str, zone: &str, received: &str, expected: &str) {
    let text = format!("<1>{sent} h a: m");
    let received: jiff::Timestamp = received.parse().unwrap();
    let received = u64::try_from(received.as_nanosecond()).unwrap();
    let zone = Zone::named(zone).unwrap();
    let message = rfc3164::read(&text, Leading::Priority, &zone, received).unwrap();
    let at = i128::from(message.timestamp_unix_ns.unwrap());
    assert_eq!(jiff::Timestamp::from_nanosecond(at).unwrap().to_string(), expected, "{sent} {zone:?}");
}

#[test]
fn the_year_is_the_latest_that_is_not_ahead_by_more_than_a_week() {
    year("Nov 14 22:13:20", "UTC", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z");
    year("Nov 20 00:00:00", "UTC", "2023-11-14T22:13:20Z", "2023-11-20T00:00:00Z");
    year("Nov 30 00:00:00", "UTC", "2023-11-14T22:13:20Z", "2022-11-30T00:00:00Z");
    year("Dec 31 23:59:59", "UTC", "2024-01-01T00:00:01Z", "2023-12-31T23:59:59Z");
    year("Jan  1 00:00:05", "UTC", "2023-12-31T23:59:59Z", "2024-01-01T00:00:05Z");
    year("Feb 29 12:00:00", "UTC", "2026-06-01T00:00:00Z", "2024-02-29T12:00:00Z");
}

#[test]
fn the_time_is_that_of_the_location() {
    year("Nov 14 17:13:20", "America/Detroit", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z");
    year("Jul 14 12:00:00", "Europe/Athens", "2023-11-14T22:13:20Z", "2023-07-14T09:00:00Z");
    // Skipped and repeated by daylight saving.
    year("Mar 26 03:30:00", "Europe/Athens", "2023-11-14T22:13:20Z", "2023-03-26T01:30:00Z");
    year("Oct 29 03:30:00", "Europe/Athens", "2023-11-14T22:13:20Z", "2023-10-29T00:30:00Z");
    year("Jan  1 00:30:00", "Asia/Tokyo", "2023-12-31T15:30:00Z", "2023-12-31T15:30:00Z");
    assert_eq!(Zone::named("Nowhere/Else"), None);
}

fn word() -> impl Strategy<Value = String> {
    "[!-,.-~][!-~]{0,20}"
}

proptest! {
    #[test]
    fn what_rfc_5424_can_say_is_read_as_it_was_said(
        priority in 0..=191_u8,
        version in 1..1000_u16,
        words in prop::collection::vec(prop::option::of(word()), 4),
        seconds in 0..4_102_444_800_u64,
        nanos in 0..1_000_000_000_u64,
        params in prop::collection::vec(("[a-z]{1,8}", any::<String>()), 0..4),
        text in any::<String>(),
    ) {
        let at = jiff::Timestamp::from_nanosecond(i128::from(seconds * 1_000_000_000 + nanos)).unwrap();
        let mut data = "[id@1".to_owned();
        for (name, value) in &params {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            let _ = write!(data, " {name}=\"{escaped}\"");
        }
        data += "]";
        let fields: Vec<&str> = words.iter().map(|word| word.as_deref().unwrap_or("-")).collect();
        let line = format!("<{priority}>{version} {at} {} {data} \u{feff}{text}", fields.join(" "));
        let message = rfc5424::read(&line, Leading::Priority).unwrap();
        prop_assert_eq!(message.priority.unwrap().number(), priority);
        prop_assert_eq!(message.version, Some(version));
        prop_assert_eq!(message.timestamp_unix_ns, Some(seconds * 1_000_000_000 + nanos));
        let read = [message.hostname, message.appname, message.proc_id, message.msg_id];
        prop_assert_eq!(read.to_vec(), words.iter().map(Option::as_deref).collect::<Vec<_>>());
        let read: Vec<_> = message.structured_data[0].params.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into_owned())).collect();
        prop_assert_eq!(read, params);
        prop_assert_eq!(message.message, Some(text.as_str()));
    }
}

#[test]
fn mutated_messages_are_read_or_refused() {
    let inputs = [
        r#"<165>1 2003-10-11T22:14:15.003Z host app 12 ID47 [ex@1 a="b\"]" c=""][x] text"#,
        "<34>Oct 11 22:14:15 host su[12]: failed on /dev/pts/8",
        "<34>Feb 29 2024 22:14:15.5 su: x",
    ];
    let inputs = inputs.map(|input| input.as_bytes().to_vec());
    let zones = [Zone::UTC, Zone::named("Europe/Athens").unwrap()];
    fuzz(&inputs, b"<>[]\"\\= :-+.0129TZ\xff\xc3\n", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for leading in [Leading::Priority, Leading::OptionalPriority] {
            let _ = rfc5424::read(&text, leading);
            for zone in &zones {
                let _ = rfc3164::read(&text, leading, zone, RECEIVED);
                let _ = rfc3164::read(&text, leading, zone, u64::MAX);
            }
        }
    });
    let long = format!("<34>1 {}", "x".repeat(64 << 10));
    assert!(rfc5424::read(&long, Leading::Priority).is_err());
}
