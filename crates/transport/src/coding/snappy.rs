//! Snappy: the framing format (`framing_format.txt`) and single blocks (`format_description.txt`).

use std::cell::RefCell;
use std::io::{Read, Write};

use bytes::Bytes;

use super::{Coding, CodingError, Decompressed, Members, into_bytes};

const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// A block cannot expand by more than this: a copy of 64 bytes takes three.
const EXPANSION_MAX: usize = 22;

thread_local! {
    static ENCODER: RefCell<(snap::raw::Encoder, Vec<u8>)> = RefCell::new((snap::raw::Encoder::new(), Vec::new()));
}

pub(super) fn compress_framed(payload: &[u8]) -> Bytes {
    let mut encoder = snap::write::FrameEncoder::new(Vec::with_capacity(payload.len() / 2 + 64));
    if payload.is_empty() {
        // The encoder writes the identifier only with the first byte, and nothing at all is not a stream.
        return Bytes::from_static(STREAM_IDENTIFIER);
    }
    let written =
        encoder.write_all(payload).and_then(|()| encoder.into_inner().map_err(|_| std::io::ErrorKind::Other.into()));
    // Writing to memory does not fail.
    into_bytes(written.unwrap_or_default())
}

/// Both forms are found under this name, so the first bytes decide.
pub(super) fn decompress(packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    if !packed.starts_with(STREAM_IDENTIFIER) {
        let payload = decompress_block(packed, limit_bytes)?;
        // A block is not what the name promises: whoever is next may read frames only.
        return Ok(Decompressed { payload, members: Members::Several });
    }
    let mut reader = snap::read::FrameDecoder::new(packed);
    let mut out = Vec::with_capacity(packed.len().saturating_mul(2).min(limit_bytes));
    let mut piece = vec![0_u8; 64 << 10];
    loop {
        let read = reader.read(&mut piece).map_err(|_| corrupt("the content is damaged or breaks off"))?;
        if read == 0 {
            break;
        }
        if out.len() + read > limit_bytes {
            return Err(CodingError::TooLarge { limit_bytes });
        }
        out.extend_from_slice(&piece[..read]);
    }
    Ok(Decompressed { payload: into_bytes(out), members: Members::One })
}

/// Compresses into one block without framing, as Prometheus remote write does.
#[must_use]
pub fn compress_block(payload: &[u8]) -> Bytes {
    ENCODER.with_borrow_mut(|(encoder, scratch)| {
        let bound = snap::raw::max_compress_len(payload.len());
        if scratch.len() < bound {
            scratch.resize(bound, 0);
        }
        // The one failure is a payload beyond 4 GiB, which no limit of ours lets through.
        let written = encoder.compress(payload, scratch).unwrap_or(0);
        let done = Bytes::copy_from_slice(&scratch[..written]);
        if scratch.len() > 8 << 20 {
            *scratch = Vec::new();
        }
        done
    })
}

/// Decompresses one block. The length that it declares is checked before anything is allocated.
///
/// # Errors
/// [`CodingError::TooLarge`] if the declared length exceeds the limit, [`CodingError::Corrupt`] if the block cannot
/// hold that much or is damaged.
pub fn decompress_block(packed: &[u8], limit_bytes: usize) -> Result<Bytes, CodingError> {
    let declared = snap::raw::decompress_len(packed).map_err(|_| corrupt("the length is damaged"))?;
    if packed.is_empty() {
        return Err(corrupt("the block is empty"));
    }
    if declared > limit_bytes {
        return Err(CodingError::TooLarge { limit_bytes });
    }
    if declared > packed.len().saturating_mul(EXPANSION_MAX) {
        return Err(corrupt("the declared length is impossible"));
    }
    let mut out = vec![0_u8; declared];
    let written =
        snap::raw::Decoder::new().decompress(packed, &mut out).map_err(|_| corrupt("the content is damaged"))?;
    out.truncate(written);
    Ok(Bytes::from(out))
}

fn corrupt(what: &'static str) -> CodingError {
    CodingError::corrupt(Coding::Snappy, what)
}
