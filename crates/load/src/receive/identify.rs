//! Finds the identities of the items of a request without decoding it.

use otlp::Signal;
use otlp::wire::{FieldValue, Fields};

use crate::identity::{Identity, LOG_ID_KEY, RUN_LABEL, RunId, WORKER_LABEL, WorkerId};

/// Items one after another: of one worker with ascending sequence numbers, or without an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Whose they are; `None` for items that were not generated here.
    pub(super) who: Option<(RunId, WorkerId)>,
    /// The first sequence number.
    pub(super) first: u64,
    pub(super) items: u32,
}

/// What a request holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) stretches: Vec<Stretch>,
    pub(super) items: u32,
    /// Points that say that their series has ended.
    pub(super) staleness_markers: u32,
}

/// Walks over an OTLP request.
pub(super) fn identify(signal: Signal, request: &[u8]) -> Findings {
    let mut findings = Findings::default();
    // Requests of all signals nest alike: blocks of a resource, blocks of a scope, and what they hold.
    for block in messages(request, 1) {
        for scope in messages(block, 2) {
            for record in messages(scope, 2) {
                match signal {
                    Signal::Traces => findings.add(of_span(record)),
                    Signal::Logs => findings.add(of_log_record(record)),
                    Signal::Metrics => identify_points(record, &mut findings),
                }
            }
        }
    }
    findings
}

impl Findings {
    pub(super) fn add(&mut self, identity: Option<Identity>) {
        self.items += 1;
        let who = identity.map(|identity| (identity.run, identity.worker));
        let sequence = identity.map_or(0, |identity| identity.sequence);
        if let Some(last) = self.stretches.last_mut()
            && last.who == who
            && (who.is_none() || last.first + u64::from(last.items) == sequence)
        {
            last.items += 1;
            return;
        }
        self.stretches.push(Stretch { who, first: sequence, items: 1 });
    }

    /// Leaves the last items out, as if they had not come. Returns how many there were to leave out.
    pub(super) fn leave_out_last(&mut self, count: u32) -> u32 {
        let mut left = count.min(self.items);
        let left_out = left;
        self.items -= left;
        while let Some(last) = self.stretches.last_mut() {
            if last.items > left {
                last.items -= left;
                break;
            }
            left -= last.items;
            self.stretches.pop();
        }
        left_out
    }
}

fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter_map(move |field| match field.value {
        FieldValue::Length(bytes) if field.number == number => Some(bytes),
        _ => None,
    })
}

/// `Span`: the ids are its first fields as all known encoders write it, so that the walk ends early.
fn of_span(span: &[u8]) -> Option<Identity> {
    let mut trace_id: &[u8] = &[];
    let mut span_id: &[u8] = &[];
    for field in Fields::new(span) {
        match field.number {
            1 => trace_id = field.value.bytes(),
            2 => span_id = field.value.bytes(),
            _ => continue,
        }
        if !trace_id.is_empty() && !span_id.is_empty() {
            break;
        }
    }
    Identity::of_span(trace_id, span_id)
}

/// `LogRecord`: the attribute, or else a word of the body.
fn of_log_record(record: &[u8]) -> Option<Identity> {
    let mut body: &[u8] = &[];
    for field in Fields::new(record) {
        match field.number {
            5 => body = field.value.bytes(),
            6 => {
                if let Some(identity) = text_of(field.value.bytes(), LOG_ID_KEY).and_then(Identity::of_log_id) {
                    return Some(identity);
                }
            }
            _ => {}
        }
    }
    Identity::of_log_body(body)
}

/// The text of a `KeyValue` with this key.
#[inline]
fn text_of<'a>(key_value: &'a [u8], key: &str) -> Option<&'a [u8]> {
    // As encoders write it: the key, then a value that is text, both short. Most attributes have another key, which the
    // first bytes tell.
    const KEY: u8 = 0x0a;
    const VALUE: u8 = 0x12;
    const TEXT: u8 = 0x0a;
    if let [KEY, key_len, rest @ ..] = key_value
        && usize::from(*key_len) <= rest.len()
        && *key_len < 0x80
    {
        let (found, value) = rest.split_at(usize::from(*key_len));
        if found != key.as_bytes() {
            return None;
        }
        if let [VALUE, value_len, TEXT, text_len, text @ ..] = value
            && usize::from(*value_len) == text.len() + 2
            && usize::from(*text_len) == text.len()
            && *value_len < 0x80
        {
            return Some(text);
        }
    }
    let mut is_key = false;
    let mut text = None;
    for field in Fields::new(key_value) {
        match field.number {
            1 => is_key = field.value.bytes() == key.as_bytes(),
            2 => text = messages(field.value.bytes(), 1).last(),
            _ => {}
        }
    }
    text.filter(|_| is_key)
}

/// Where the fields of the kinds of data points stand.
#[derive(Clone, Copy)]
struct PointFields {
    attributes: u32,
    flags: u32,
    value: ValueFields,
}

#[derive(Clone, Copy)]
enum ValueFields {
    /// `as_double` and `as_int`.
    Number,
    /// The count, at field 4.
    Count,
}

/// Bit 0 of the flags of a point: no recorded value.
const NO_RECORDED_VALUE: u64 = 1;

fn identify_points(metric: &[u8], findings: &mut Findings) {
    for data in Fields::new(metric) {
        let fields = match data.number {
            5 | 7 => PointFields { attributes: 7, flags: 8, value: ValueFields::Number },
            9 => PointFields { attributes: 9, flags: 10, value: ValueFields::Count },
            10 => PointFields { attributes: 1, flags: 10, value: ValueFields::Count },
            11 => PointFields { attributes: 7, flags: 8, value: ValueFields::Count },
            _ => continue,
        };
        for point in messages(data.value.bytes(), 1) {
            identify_point(point, fields, findings);
        }
    }
}

fn identify_point(point: &[u8], fields: PointFields, findings: &mut Findings) {
    let mut run: &[u8] = &[];
    let mut worker: &[u8] = &[];
    let mut value = f64::NAN;
    let mut flags = 0;
    for field in Fields::new(point) {
        if field.number == fields.attributes {
            let attribute = field.value.bytes();
            if let Some(text) = text_of(attribute, RUN_LABEL) {
                run = text;
            } else if let Some(text) = text_of(attribute, WORKER_LABEL) {
                worker = text;
            }
        } else if field.number == fields.flags {
            flags = field.value.varint();
        } else {
            value = match (field.number, fields.value) {
                (4, ValueFields::Number) => field.value.double(),
                (6, ValueFields::Number) => field.value.fixed64() as i64 as f64,
                (4, ValueFields::Count) => field.value.fixed64() as f64,
                _ => value,
            };
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        findings.staleness_markers += 1;
    }
    findings.add(Identity::of_point(run, worker, value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Form, Generator, PayloadSettings};

    const WHO: Option<(RunId, WorkerId)> = Some((RunId(7), WorkerId(2)));

    fn check(signal: Signal) {
        let settings =
            PayloadSettings { items_per_request: 50, resources_per_request: 3, ..PayloadSettings::default() };
        let mut generator = Generator::new(&settings, signal, Form::Protobuf, RunId(7), WorkerId(2));
        for first in [1, 51] {
            let payload = generator.next(1_700_000_000_000_000_000);
            let expected = vec![Stretch { who: WHO, first, items: 50 }];
            assert_eq!(
                identify(signal, &payload.bytes),
                Findings { stretches: expected, items: 50, staleness_markers: 0 }
            );
        }
    }

    #[test]
    fn the_items_of_a_generated_request_are_one_stretch() {
        Signal::ALL.into_iter().for_each(check);
    }

    #[test]
    fn the_count_of_a_histogram_is_its_sequence_number() {
        let mut encoder = otlp::encode::MetricsEncoder::new();
        let identify_with = |attributes: &mut otlp::encode::AttributesWriter<'_>| {
            attributes.string(RUN_LABEL, "00000007").string("le", "x").string(WORKER_LABEL, "0002");
        };
        encoder.resource_metrics(|block| {
            block.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.histogram(|data| {
                        data.point(|point| {
                            identify_with(&mut point.count(5).sum(2.0).attributes());
                        });
                    });
                });
                scope.metric(|metric| {
                    metric.exponential_histogram(|data| {
                        data.point(|point| {
                            identify_with(&mut point.count(6).attributes());
                        });
                    });
                });
                scope.metric(|metric| {
                    metric.summary(|data| {
                        data.point(|point| {
                            identify_with(&mut point.count(7).attributes());
                        });
                        data.point(|point| {
                            point.flags(1);
                        });
                    });
                });
            });
        });
        let findings = identify(Signal::Metrics, encoder.finish().bytes());
        let expected = [Stretch { who: WHO, first: 5, items: 3 }, Stretch { who: None, first: 0, items: 1 }];
        assert_eq!(findings, Findings { stretches: expected.into(), items: 4, staleness_markers: 1 });
    }

    #[test]
    fn an_attribute_is_read_however_it_is_encoded() {
        let plain = b"\x0a\x01k\x12\x04\x0a\x02ab";
        let value_first = b"\x12\x04\x0a\x02ab\x0a\x01k";
        let long_lengths = b"\x0a\x81\x00k\x12\x84\x00\x0a\x02ab";
        let unknown_field_behind = b"\x0a\x01k\x12\x04\x0a\x02ab\x18\x07";
        for key_value in [plain.as_slice(), value_first, long_lengths, unknown_field_behind] {
            assert_eq!(text_of(key_value, "k"), Some(b"ab".as_slice()), "{key_value:?}");
            assert_eq!(text_of(key_value, "other"), None);
        }
        assert_eq!(text_of(b"\x0a\x01k\x12\x02\x18\x07", "k"), None, "no text");
        let long = "x".repeat(300);
        let mut encoded = Vec::new();
        otlp::encode::AttributesWriter::new(&mut encoded, 1).string("k", &long);
        assert_eq!(text_of(messages(&encoded, 1).next().unwrap(), "k"), Some(long.as_bytes()));
    }

    #[test]
    fn the_last_items_can_be_left_out() {
        let stretch = |first, items| Stretch { who: WHO, first, items };
        let findings = Findings { stretches: vec![stretch(1, 10), stretch(21, 5)], items: 15, staleness_markers: 0 };
        for (count, expected, left_out) in [
            (0, vec![stretch(1, 10), stretch(21, 5)], 0),
            (5, vec![stretch(1, 10)], 5),
            (7, vec![stretch(1, 8)], 7),
            (99, vec![], 15),
        ] {
            let mut rest = findings.clone();
            assert_eq!(rest.leave_out_last(count), left_out);
            assert_eq!(rest.stretches, expected, "{count}");
        }
    }

    #[test]
    fn bytes_that_are_no_request_hold_nothing() {
        for signal in Signal::ALL {
            for len in 0..64 {
                identify(signal, &vec![0x12; len]);
                identify(signal, &vec![0x0a; len]);
                identify(signal, &vec![0xff; len]);
            }
        }
    }
}
