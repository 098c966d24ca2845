//! gzip (RFC 1952), zlib (RFC 1950) and raw DEFLATE (RFC 1951).

mod block;
mod fast;
mod huffman;
mod tokens;

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use libdeflater::{Decompressor, adler32, crc32};
use memchr::memmem;

use super::{Coding, CodingError, Decompressed, Level, MEMBERS_MAX, Members, into_bytes};
use fast::FastDeflate;

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const GZIP_TRAILER_BYTES: usize = 8;
/// DEFLATE cannot expand by more than this (a run of 258 bytes per two bits).
const EXPANSION_MAX: usize = 1032;

/// zlib, for the levels that users ask for by number.
struct Leveled {
    level: u32,
    raw: Compress,
    scratch: Vec<u8>,
}

thread_local! {
    // The state of a compressor is 200 to 300 KiB: allocating and clearing it for each payload would cost more than
    // compressing a small one.
    static FAST: RefCell<FastDeflate> = RefCell::new(FastDeflate::new());
    static LEVELED: RefCell<Option<Leveled>> = const { RefCell::new(None) };
    static INFLATE_WHOLE: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static INFLATE_PIECES: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Scratch space that is kept between payloads; a larger one is given back.
const SCRATCH_KEPT_BYTES_MAX: usize = 4 << 20;

pub(super) fn compress_gzip(level: Level, payload: &[u8]) -> Bytes {
    let mut trailer = [0u8; GZIP_TRAILER_BYTES];
    trailer[..4].copy_from_slice(&crc32(payload).to_le_bytes());
    // ISIZE is the size modulo 2^32 by definition.
    trailer[4..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    compress_raw(level, &GZIP_HEADER, payload, &trailer)
}

pub(super) fn compress_zlib(level: Level, payload: &[u8]) -> Bytes {
    compress_raw(level, &[0x78, 0x01], payload, &adler32(payload).to_be_bytes())
}

fn compress_raw(level: Level, head: &[u8], payload: &[u8], tail: &[u8]) -> Bytes {
    match level {
        Level::Fast | Level::Exact(..=1) if payload.len() <= fast::PAYLOAD_BYTES_MAX => {
            FAST.with_borrow_mut(|fast| fast.compress(head, payload, tail))
        }
        Level::Fast => compress_leveled(1, head, payload, tail),
        Level::Exact(level) => compress_leveled(level.clamp(1, 9).unsigned_abs(), head, payload, tail),
    }
}

fn compress_leveled(level: u32, head: &[u8], payload: &[u8], tail: &[u8]) -> Bytes {
    LEVELED.with_borrow_mut(|kept| {
        let Leveled { raw, scratch: out, .. } = match kept {
            Some(leveled) if leveled.level == level => {
                leveled.raw.reset();
                leveled
            }
            other => {
                other.insert(Leveled { level, raw: Compress::new(Compression::new(level), false), scratch: Vec::new() })
            }
        };
        out.clear();
        out.extend_from_slice(head);
        out.reserve(payload.len() / 3 + 256);
        loop {
            let taken = usize::try_from(raw.total_in()).unwrap_or(usize::MAX);
            match raw.compress_vec(&payload[taken..], out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(_) => out.reserve(out.len() / 2 + 4096),
                // The only documented error is a use of the API that this function does not make.
                Err(_) => return stored(head, payload, tail),
            }
        }
        out.extend_from_slice(tail);
        let done = Bytes::copy_from_slice(out);
        if out.capacity() > SCRATCH_KEPT_BYTES_MAX {
            *out = Vec::new();
        }
        done
    })
}

/// The payload as stored blocks: valid DEFLATE without compression.
fn stored(head: &[u8], payload: &[u8], tail: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8192 + 64);
    out.extend_from_slice(head);
    let mut chunks = payload.chunks(usize::from(u16::MAX)).peekable();
    if chunks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.push(u8::from(chunks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out.extend_from_slice(tail);
    Bytes::from(out)
}

pub(super) fn decompress_gzip(packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    match inflate_single_member(packed, limit_bytes) {
        Some(payload) => Ok(Decompressed { payload, members: Members::One }),
        None => inflate_members(packed, limit_bytes),
    }
}

/// The usual case in one call: one member whose size stands at its end, within the limit. None means that it is not
/// that case, or damaged: the decoder that works in pieces finds out.
///
/// The decoder says how much it wrote, but not how much it read. So size and checksum are compared with the last bytes
/// of the buffer, and the beginning of a second member must not occur anywhere.
fn inflate_single_member(packed: &[u8], limit_bytes: usize) -> Option<Bytes> {
    let (body, trailer) = skip_gzip_header(packed).ok()?.split_last_chunk::<GZIP_TRAILER_BYTES>()?;
    let [checksum @ .., s0, s1, s2, s3] = *trailer;
    let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
    let possible = body.len().saturating_mul(EXPANSION_MAX);
    if size > limit_bytes.min(possible) || memmem::find(body, &GZIP_HEADER[..3]).is_some() {
        return None;
    }
    let mut out = vec![0; size];
    let written = INFLATE_WHOLE.with_borrow_mut(|decoder| decoder.deflate_decompress(body, &mut out)).ok()?;
    (written == size && crc32(&out).to_le_bytes() == checksum).then(|| Bytes::from(out))
}

fn inflate_members(packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    let corrupt = |what| CodingError::corrupt(Coding::Gzip, what);
    let mut out = Vec::new();
    let mut rest = packed;
    let mut members = 0_usize;
    while !rest.is_empty() || members == 0 {
        if members == MEMBERS_MAX {
            return Err(corrupt("more than 4096 members"));
        }
        let body = skip_gzip_header(rest).map_err(corrupt)?;
        let start = out.len();
        // The last four bytes are the size, if this is the only member, and only a hint.
        let hint = match rest.last_chunk::<4>() {
            Some(size) if members == 0 => u32::from_le_bytes(*size) as usize,
            _ => 0,
        };
        let taken = inflate(Coding::Gzip, body, &mut out, hint, limit_bytes)?;
        let trailer = body.get(taken..taken + GZIP_TRAILER_BYTES).ok_or_else(|| corrupt("the trailer is missing"))?;
        let member = &out[start..];
        if trailer[..4] != crc32(member).to_le_bytes() {
            return Err(corrupt("the checksum differs"));
        }
        if trailer[4..] != (member.len() as u32).to_le_bytes() {
            return Err(corrupt("the size differs"));
        }
        rest = &body[taken + GZIP_TRAILER_BYTES..];
        members += 1;
    }
    let members = if members == 1 { Members::One } else { Members::Several };
    Ok(Decompressed { payload: into_bytes(out), members })
}

/// The DEFLATE stream behind one member's header (RFC 1952, section 2.3).
fn skip_gzip_header(member: &[u8]) -> Result<&[u8], &'static str> {
    const FHCRC: u8 = 2;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    let (head, mut rest) = member.split_at_checked(GZIP_HEADER.len()).ok_or("the header breaks off")?;
    if head[..2] != GZIP_HEADER[..2] {
        return Err("no gzip header");
    }
    if head[2] != GZIP_HEADER[2] || head[3] & RESERVED != 0 {
        return Err("an unknown method or flag");
    }
    let flags = head[3];
    if flags & FEXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>().ok_or("the header breaks off")?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..).ok_or("the header breaks off")?;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or("the header breaks off")?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FHCRC != 0 {
        rest = rest.get(2..).ok_or("the header breaks off")?;
    }
    Ok(rest)
}

pub(super) fn decompress_zlib(packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    let corrupt = |what| CodingError::corrupt(Coding::Deflate, what);
    let mut out = Vec::new();
    let zlib = matches!(packed, [cmf, flg, ..]
        if cmf & 0x0f == 8 && cmf >> 4 <= 7 && flg & 0x20 == 0 && u16::from_be_bytes([*cmf, *flg]) % 31 == 0);
    if !zlib {
        // Some clients send raw DEFLATE under this name (RFC 9110, section 8.4.1.2, notes it).
        let taken = inflate(Coding::Deflate, packed, &mut out, 0, limit_bytes)?;
        if taken != packed.len() {
            return Err(corrupt("other bytes follow"));
        }
        return Ok(Decompressed { payload: into_bytes(out), members: Members::Several });
    }
    let body = &packed[2..];
    let taken = inflate(Coding::Deflate, body, &mut out, 0, limit_bytes)?;
    let trailer = &body[taken..];
    if trailer.len() > 4 {
        return Err(corrupt("other bytes follow"));
    }
    if trailer != adler32(&out).to_be_bytes() {
        return Err(corrupt("the checksum differs or is missing"));
    }
    Ok(Decompressed { payload: into_bytes(out), members: Members::One })
}

/// Inflates one DEFLATE stream onto `out`, whose total length stays within the limit; returns the input consumed.
fn inflate(
    coding: Coding,
    input: &[u8],
    out: &mut Vec<u8>,
    size_hint: usize,
    limit_bytes: usize,
) -> Result<usize, CodingError> {
    // One byte beyond the limit shows that it is exceeded. Capacity that is never written costs no memory, and the
    // hint is held to what the input can expand to.
    let ceiling = limit_bytes.saturating_add(1);
    let possible = input.len().saturating_mul(EXPANSION_MAX);
    let first = size_hint.max(input.len().saturating_mul(2)).min(possible).saturating_add(16);
    reserve_within(out, first, ceiling);
    INFLATE_PIECES.with_borrow_mut(|raw| {
        raw.reset(false);
        loop {
            let taken = usize::try_from(raw.total_in()).unwrap_or(usize::MAX);
            let (before_in, before_out) = (raw.total_in(), out.len());
            let status = raw
                .decompress_vec(&input[taken..], out, FlushDecompress::None)
                .map_err(|_| CodingError::corrupt(coding, "not a DEFLATE stream"))?;
            if out.len() > limit_bytes {
                return Err(CodingError::TooLarge { limit_bytes });
            }
            if status == Status::StreamEnd {
                return Ok(usize::try_from(raw.total_in()).unwrap_or(usize::MAX));
            }
            if out.len() == out.capacity() {
                reserve_within(out, out.len().max(4096), ceiling);
            } else if raw.total_in() == before_in && out.len() == before_out {
                return Err(CodingError::corrupt(coding, "the stream breaks off"));
            }
        }
    })
}

fn reserve_within(out: &mut Vec<u8>, more: usize, ceiling: usize) {
    out.reserve_exact(more.min(ceiling.saturating_sub(out.len())).max(1));
}
