//! What became of the lines of a packet.

use super::malformed::Malformed;

/// So much of a malformed line is kept for the log.
const SAMPLE_BYTES_MAX: usize = 256;

/// How many lines were refused, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MalformedCounts([u32; Malformed::ALL.len()]);

/// A refused line, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedSample {
    /// Why it was refused.
    pub cause: Malformed,
    /// Its first bytes, with what is no UTF-8 replaced and control characters escaped.
    pub line: String,
}

/// What became of the lines of one packet: each was kept, dropped on demand, or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketReport {
    /// All lines that are not empty.
    pub lines: u32,
    /// Lines that the configuration drops: by `action: drop` of a mapping, or an observer that is disabled.
    pub dropped: u32,
    /// Lines that were refused.
    pub malformed: MalformedCounts,
    /// The first line that was refused.
    pub first_malformed: Option<MalformedSample>,
}

impl PacketReport {
    /// Lines that count.
    pub fn kept(&self) -> u32 {
        self.lines - self.dropped - self.malformed.total()
    }

    #[cold]
    pub(super) fn refuse(&mut self, cause: Malformed, line: &[u8]) {
        self.malformed.add(cause);
        if self.first_malformed.is_none() {
            let start = &line[..line.len().min(SAMPLE_BYTES_MAX)];
            let line = String::from_utf8_lossy(start).escape_debug().collect();
            self.first_malformed = Some(MalformedSample { cause, line });
        }
    }
}

impl MalformedCounts {
    fn add(&mut self, cause: Malformed) {
        self.0[cause as usize] += 1;
    }

    /// How many lines were refused for this cause.
    pub fn get(&self, cause: Malformed) -> u32 {
        self.0[cause as usize]
    }

    /// How many lines were refused.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The causes that happened, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Malformed, u32)> + '_ {
        Malformed::ALL.into_iter().map(|cause| (cause, self.get(cause))).filter(|(_, count)| *count > 0)
    }
}
