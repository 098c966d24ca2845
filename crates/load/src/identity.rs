//! Who an item is: run, worker, sequence number, and the forms in which items carry that through pipelines.
//!
//! | signal | form |
//! |---|---|
//! | traces | `trace_id` = mark (4 bytes), run (4), number of the trace (8); `span_id` = worker (2), sequence (6); both numbers scattered |
//! | logs | the attribute `load.id` and a word of the body, both the text `load-` run `-` worker `-` sequence in hex |
//! | metrics | the attributes `load_run` and `load_worker` of the data point in hex; its value (of histograms, the count) is the sequence number |
//!
//! All three survive what pipelines do to telemetry on the way to other protocols: ids and attributes are kept, and a
//! value up to 2^48 is exact as a double, so that a sample of remote write is as identifiable as a data point. The times
//! of the points of one series are distinct in milliseconds. Scattered, the ids of spans are as even as random ones for
//! whoever samples, partitions or compresses by them, and can still be read back.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use otlp::{SpanId, TraceId};
use serde::{Deserialize, Serialize};

/// One run of a load generator. Runs that are counted together need different ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u32);

/// One sender within a run. It has one request under way at a time, so that its items arrive in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u16);

/// The greatest sequence number. They begin with 1, for each signal of each worker.
pub const SEQUENCE_MAX: u64 = (1 << 48) - 1;

/// The key of the data point attribute with the run.
pub const RUN_LABEL: &str = "load_run";
/// The key of the data point attribute with the worker.
pub const WORKER_LABEL: &str = "load_worker";
/// The key of the log record attribute with the whole identity.
pub const LOG_ID_KEY: &str = "load.id";
/// The length of the text that identifies a log record.
pub const LOG_ID_LEN: usize = LOG_ID_PREFIX.len() + 8 + 1 + 4 + 1 + 12;

const LOG_ID_PREFIX: &str = "load-";
/// What the trace ids of generated spans begin with; chance gives it to one foreign id in 2^32.
const TRACE_MARK: [u8; 4] = *b"\xc5\x0f\xad\xe1";
const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Who one item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The run.
    pub run: RunId,
    /// The worker.
    pub worker: WorkerId,
    /// The sequence number, 1 to [`SEQUENCE_MAX`].
    pub sequence: u64,
}

impl RunId {
    /// Eight hexadecimal digits, as attributes carry them.
    pub fn to_hex(self) -> [u8; 8] {
        hex(u64::from(self.0))
    }

    /// The run that eight hexadecimal digits name.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        (text.len() == 8).then(|| parse_hex(text))?.and_then(|id| u32::try_from(id).ok()).map(RunId)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for RunId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(RunId)
    }
}

impl WorkerId {
    /// Four hexadecimal digits, as attributes carry them.
    pub fn to_hex(self) -> [u8; 4] {
        hex(u64::from(self.0))
    }

    /// The worker that four hexadecimal digits name.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        (text.len() == 4).then(|| parse_hex(text))?.and_then(|id| u16::try_from(id).ok()).map(WorkerId)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Identity {
    /// The identity of a span. `None` for a span that was not generated here.
    #[inline]
    pub fn of_span(trace_id: &[u8], span_id: &[u8]) -> Option<Identity> {
        let trace_id: &[u8; 16] = trace_id.try_into().ok()?;
        let span_id: &[u8; 8] = span_id.try_into().ok()?;
        if trace_id[..4] != TRACE_MARK {
            return None;
        }
        let run = RunId(u32::from_be_bytes([trace_id[4], trace_id[5], trace_id[6], trace_id[7]]));
        let id = gather(u64::from_be_bytes(*span_id));
        let sequence = id & SEQUENCE_MAX;
        (sequence > 0).then_some(Identity { run, worker: WorkerId((id >> 48) as u16), sequence })
    }

    /// The identity that the text of [`Identity::log_id`] gives.
    #[inline]
    pub fn of_log_id(text: &[u8]) -> Option<Identity> {
        let text: &[u8; LOG_ID_LEN] = text.try_into().ok()?;
        let text = text.strip_prefix(LOG_ID_PREFIX.as_bytes())?;
        if text[8] != b'-' || text[13] != b'-' {
            return None;
        }
        let run = RunId::from_hex(&text[..8])?;
        let worker = WorkerId::from_hex(&text[9..13])?;
        let sequence = parse_hex(&text[14..])?;
        (sequence > 0).then_some(Identity { run, worker, sequence })
    }

    /// The identity that a word of a log record's body gives.
    pub fn of_log_body(body: &[u8]) -> Option<Identity> {
        let start = memchr::memmem::find(body, LOG_ID_PREFIX.as_bytes())?;
        Identity::of_log_id(body.get(start..start + LOG_ID_LEN)?)
    }

    /// The identity of a data point or sample by the texts of its attributes and its value.
    #[inline]
    pub fn of_point(run: &[u8], worker: &[u8], value: f64) -> Option<Identity> {
        let is_sequence = value >= 1.0 && value <= SEQUENCE_MAX as f64 && value.fract() == 0.0;
        if !is_sequence {
            return None;
        }
        Some(Identity { run: RunId::from_hex(run)?, worker: WorkerId::from_hex(worker)?, sequence: value as u64 })
    }

    /// The span id.
    #[inline]
    pub fn span_id(self) -> SpanId {
        SpanId::new(scatter(u64::from(self.worker.0) << 48 | self.sequence & SEQUENCE_MAX).to_be_bytes())
    }

    /// The text that identifies a log record.
    pub fn log_id(self) -> [u8; LOG_ID_LEN] {
        let mut text = [b'-'; LOG_ID_LEN];
        text[..5].copy_from_slice(LOG_ID_PREFIX.as_bytes());
        text[5..13].copy_from_slice(&self.run.to_hex());
        text[14..18].copy_from_slice(&self.worker.to_hex());
        text[19..].copy_from_slice(&hex::<12>(self.sequence));
        text
    }
}

/// The id of a trace of this run.
#[inline]
pub fn trace_id(run: RunId, number: u64) -> TraceId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&TRACE_MARK);
    bytes[4..8].copy_from_slice(&run.0.to_be_bytes());
    bytes[8..].copy_from_slice(&scatter(number).to_be_bytes());
    TraceId::new(bytes)
}

/// Spreads numbers evenly over all 64 bits, each to one of its own and zero to itself: the finalizer of SplitMix64.
#[inline]
fn scatter(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Undoes [`scatter`]: the factors are the inverses of its factors.
#[inline]
fn gather(mut scattered: u64) -> u64 {
    scattered = (scattered ^ scattered >> 31 ^ scattered >> 62).wrapping_mul(0x3196_42b2_d24d_8ec3);
    scattered = (scattered ^ scattered >> 27 ^ scattered >> 54).wrapping_mul(0x96de_1b17_3f11_9089);
    scattered ^ scattered >> 30 ^ scattered >> 60
}

/// The last `N` hexadecimal digits of a number.
#[inline]
pub(crate) fn hex<const N: usize>(value: u64) -> [u8; N] {
    let mut digits = [0; N];
    for (index, digit) in digits.iter_mut().rev().enumerate() {
        *digit = HEX_DIGITS[(value >> (4 * index)) as usize & 15];
    }
    digits
}

#[inline]
fn parse_hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    for digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(nibble);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: Identity = Identity { run: RunId(0xfedc_ba98), worker: WorkerId(7), sequence: 0x1234_5678_9abc };

    #[test]
    fn a_span_carries_its_identity_in_its_ids() {
        let trace = trace_id(SOMEBODY.run, 9);
        assert_eq!(Identity::of_span(trace.as_bytes(), SOMEBODY.span_id().as_bytes()), Some(SOMEBODY));
        assert_eq!(Identity::of_span(&[1; 16], SOMEBODY.span_id().as_bytes()), None);
        assert_eq!(Identity::of_span(trace.as_bytes(), &[0; 8]), None);
        assert_eq!(Identity::of_span(trace.as_bytes(), &[]), None);
    }

    #[test]
    fn ids_are_scattered_evenly_and_gathered_again() {
        let mut bits = [0u32; 64];
        for number in 0..10_000u64 {
            let scattered = scatter(number);
            assert_eq!(gather(scattered), number);
            assert_eq!(gather(scatter(!number << 17)), !number << 17);
            bits.iter_mut().enumerate().for_each(|(bit, count)| *count += (scattered >> bit & 1) as u32);
        }
        assert!(bits.iter().all(|count| (4700..5300).contains(count)), "{bits:?}");
        assert_eq!(scatter(0), 0);
    }

    #[test]
    fn a_log_record_carries_its_identity_as_text() {
        let text = SOMEBODY.log_id();
        assert_eq!(std::str::from_utf8(&text), Ok("load-fedcba98-0007-123456789abc"));
        assert_eq!(Identity::of_log_id(&text), Some(SOMEBODY));
        let body = [b"order ".as_slice(), &text, b" paid"].concat();
        assert_eq!(Identity::of_log_body(&body), Some(SOMEBODY));
    }

    #[test]
    fn text_that_only_resembles_an_identity_is_none() {
        for text in [
            "",
            "load-",
            "load-fedcba98-0007-000000000000",
            "load-fedcba98_0007-123456789abc",
            "load-FEDCBA98-0007-123456789abc",
        ] {
            assert_eq!(Identity::of_log_id(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Identity::of_log_body(b"the load-balancer is down"), None);
    }

    #[test]
    fn a_value_is_a_sequence_number_only_if_it_is_a_natural_number() {
        let (run, worker) = (SOMEBODY.run.to_hex(), SOMEBODY.worker.to_hex());
        assert_eq!(Identity::of_point(&run, &worker, SOMEBODY.sequence as f64), Some(SOMEBODY));
        for value in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(Identity::of_point(&run, &worker, value), None, "{value}");
        }
        assert_eq!(Identity::of_point(b"fedcba9", &worker, 1.0), None);
    }
}
