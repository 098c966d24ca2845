//! The LZ4 frame format (`lz4_Frame_format.md`).

use std::io::{Read, Write};

use bytes::Bytes;
use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Coding, CodingError, Decompressed, MEMBERS_MAX, Members, into_bytes};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

pub(super) fn compress(payload: &[u8]) -> Bytes {
    let info = FrameInfo::new().block_size(BlockSize::Max256KB).content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(payload.len() / 2 + 64));
    let written = encoder.write_all(payload).map_err(|_| ()).and_then(|()| encoder.finish().map_err(|_| ()));
    // Writing to memory does not fail.
    into_bytes(written.unwrap_or_default())
}

pub(super) fn decompress(packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    // The decoder takes a missing end mark for the end, so the structure is walked first.
    let frames = count_frames(packed)?;
    let mut reader = FrameDecoder::new(packed);
    let mut out = Vec::with_capacity(packed.len().saturating_mul(2).min(limit_bytes));
    let mut piece = vec![0_u8; 64 << 10];
    loop {
        let read = reader.read(&mut piece).map_err(|_| corrupt("the content is damaged"))?;
        // Zero is the end of a frame, or an empty block, as long as input remains.
        if read == 0 && reader.get_ref().is_empty() {
            break;
        }
        if out.len() + read > limit_bytes {
            return Err(CodingError::TooLarge { limit_bytes });
        }
        out.extend_from_slice(&piece[..read]);
    }
    let members = if frames == 1 { Members::One } else { Members::Several };
    Ok(Decompressed { payload: into_bytes(out), members })
}

fn count_frames(packed: &[u8]) -> Result<usize, CodingError> {
    let mut rest = packed;
    let mut frames = 0;
    while !rest.is_empty() || frames == 0 {
        if frames == MEMBERS_MAX {
            return Err(corrupt("more than 4096 frames"));
        }
        rest = skip_frame(rest).ok_or_else(|| corrupt("not a complete frame"))?;
        frames += 1;
    }
    Ok(frames)
}

fn skip_frame(data: &[u8]) -> Option<&[u8]> {
    const BLOCK_CHECKSUM: u8 = 0x10;
    const CONTENT_SIZE: u8 = 0x08;
    const CONTENT_CHECKSUM: u8 = 0x04;
    const DICTIONARY: u8 = 0x01;
    let rest = data.strip_prefix(&MAGIC)?;
    let flags = *rest.first()?;
    if flags >> 6 != 1 {
        return None;
    }
    let header = 3 + if flags & CONTENT_SIZE != 0 { 8 } else { 0 } + if flags & DICTIONARY != 0 { 4 } else { 0 };
    let block_tail = if flags & BLOCK_CHECKSUM != 0 { 4 } else { 0 };
    let mut rest = rest.get(header..)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let size = (u32::from_le_bytes(*size) & 0x7fff_ffff) as usize;
        if size == 0 {
            return after.get(if flags & CONTENT_CHECKSUM != 0 { 4 } else { 0 }..);
        }
        rest = after.get(size + block_tail..)?;
    }
}

fn corrupt(what: &'static str) -> CodingError {
    CodingError::corrupt(Coding::Lz4, what)
}
