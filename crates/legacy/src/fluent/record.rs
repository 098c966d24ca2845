//! An entry as a log record.
//!
//! | Forward | OTLP |
//! |---|---|
//! | tag | attribute `fluent.tag` |
//! | time | time; an integer counts seconds. None, `nil`, 0 and what lies before 1970 or behind 2554: unknown |
//! | `message` or `log` | body; where a record has both, the last one, and the other one is an attribute |
//! | other keys | attributes, with their types |
//! | a record that is no map | body |
//! | metadata of an entry, where there is any (v1.5) | attribute `fluent.metadata` |

use otlp::encode::{LogRecordWriter, ScopeLogsWriter};
use rmpv::ValueRef;

use super::value::{self, TooDeep};

/// What an entry says beside its record.
pub(super) struct Heading<'h> {
    pub(super) tag: &'h str,
    pub(super) received_unix_ns: u64,
    pub(super) levels_max: usize,
}

/// When, and what is known beside the record.
struct When<'v> {
    unix_ns: u64,
    metadata: Option<&'v ValueRef<'v>>,
}

/// Why an entry becomes no log record.
pub(super) enum NoRecord {
    TooDeep,
    NoTime,
}

pub(super) fn write(
    heading: &Heading<'_>,
    time: &ValueRef<'_>,
    record: &ValueRef<'_>,
    scope: &mut ScopeLogsWriter<'_>,
) -> Result<(), NoRecord> {
    let when = when(time).ok_or(NoRecord::NoTime)?;
    let written = scope.log_record(|log| {
        log.time_unix_nano(when.unix_ns).observed_time_unix_nano(heading.received_unix_ns);
        log.attributes().string("fluent.tag", heading.tag);
        if let Some(metadata) = when.metadata {
            value::write(metadata, heading.levels_max, log.attributes().value("fluent.metadata"))?;
        }
        match record {
            ValueRef::Map(pairs) => write_pairs(heading, pairs, log),
            other => value::write(other, heading.levels_max, log.body()),
        }
    });
    written.map_err(|TooDeep| NoRecord::TooDeep)
}

fn write_pairs(
    heading: &Heading<'_>,
    pairs: &[(ValueRef<'_>, ValueRef<'_>)],
    log: &mut LogRecordWriter<'_>,
) -> Result<(), TooDeep> {
    let pairs: Vec<_> = value::unique(pairs).collect();
    // Fluentd says `message`, Fluent Bit `log`.
    let body = pairs.iter().rposition(|(key, _)| matches!(&**key, "message" | "log"));
    for (index, (key, value)) in pairs.iter().enumerate() {
        match &**key {
            _ if Some(index) == body => value::write(value, heading.levels_max, log.body())?,
            // What the message as a whole says of itself.
            "fluent.tag" | "fluent.metadata" => {}
            key => value::write(value, heading.levels_max, log.attributes().value(key))?,
        }
    }
    Ok(())
}

fn when<'v>(time: &'v ValueRef<'v>) -> Option<When<'v>> {
    const NANOS_PER_SECOND: u64 = 1_000_000_000;
    let unix_ns = match time {
        ValueRef::Nil => 0,
        ValueRef::Integer(seconds) => seconds.as_u64().and_then(|at| at.checked_mul(NANOS_PER_SECOND)).unwrap_or(0),
        // Out of range saturates, and NaN is 0.
        ValueRef::F64(seconds) => (seconds * 1e9) as u64,
        ValueRef::F32(seconds) => (f64::from(*seconds) * 1e9) as u64,
        ValueRef::Ext(0, bytes) => {
            let (seconds, nanos) = bytes.split_first_chunk::<4>()?;
            let nanos: [u8; 4] = nanos.try_into().ok()?;
            u64::from(u32::from_be_bytes(*seconds)) * NANOS_PER_SECOND + u64::from(u32::from_be_bytes(nanos))
        }
        ValueRef::Array(parts) => match parts.as_slice() {
            [ValueRef::Array(_), _] => return None,
            [time, ValueRef::Map(pairs)] => {
                let metadata = parts.last().filter(|_| !pairs.is_empty());
                return Some(When { metadata, ..when(time)? });
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(When { unix_ns, metadata: None })
}
