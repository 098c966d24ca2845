//! Zstandard (RFC 8878).

use std::cell::RefCell;

use bytes::Bytes;
use zstd::zstd_safe::{self, CCtx, DCtx, DParameter, InBuffer, OutBuffer};

use super::{Coding, CodingError, Decompressed, Level, MEMBERS_MAX, Members, into_bytes};

/// RFC 8878, section 3.1.1.1.2 asks decoders for 8 MiB, and lets them refuse more.
const WINDOW_LOG_MAX: u32 = 23;
const SCRATCH_KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static COMPRESSOR: RefCell<(CCtx<'static>, Vec<u8>)> = RefCell::new((CCtx::create(), Vec::new()));
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

pub(super) fn compress(level: Level, payload: &[u8]) -> Bytes {
    let level = match level {
        Level::Fast => 1,
        Level::Exact(level) => level.clamp(1, zstd_safe::max_c_level()),
    };
    COMPRESSOR.with_borrow_mut(|(context, out)| {
        out.clear();
        out.reserve(zstd_safe::compress_bound(payload.len()));
        // The one documented failure is an output buffer smaller than the bound.
        let done = match context.compress(out, payload, level) {
            Ok(_) => Bytes::copy_from_slice(out),
            Err(_) => Bytes::from(raw_frame(payload)),
        };
        if out.capacity() > SCRATCH_KEPT_BYTES_MAX {
            *out = Vec::new();
        }
        done
    })
}

/// A frame of raw blocks: valid, without compression (RFC 8878, section 3.1.1.2).
fn raw_frame(payload: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES_MAX: usize = 128 << 10;
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 1024 + 32);
    out.extend_from_slice(&[0x28, 0xb5, 0x2f, 0xfd, 0xe0]);
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let mut blocks = payload.chunks(BLOCK_BYTES_MAX).peekable();
    if blocks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let head = ((block.len() as u32) << 3) | u32::from(blocks.peek().is_none());
        out.extend_from_slice(&head.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
    out
}

pub(super) fn decompress(packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    let mut out = Vec::new();
    let mut rest = packed;
    let mut frames = 0_usize;
    while !rest.is_empty() || frames == 0 {
        if frames == MEMBERS_MAX {
            return Err(corrupt("more than 4096 frames"));
        }
        let length = zstd_safe::find_frame_compressed_size(rest).map_err(|_| corrupt("not a complete frame"))?;
        let (frame, after) = rest.split_at_checked(length).ok_or_else(|| corrupt("the frame breaks off"))?;
        decompress_frame(frame, &mut out, limit_bytes)?;
        rest = after;
        frames += 1;
    }
    let members = if frames == 1 { Members::One } else { Members::Several };
    Ok(Decompressed { payload: into_bytes(out), members })
}

fn decompress_frame(frame: &[u8], out: &mut Vec<u8>, limit_bytes: usize) -> Result<(), CodingError> {
    match zstd_safe::get_frame_content_size(frame) {
        Err(_) => Err(corrupt("not a frame header")),
        Ok(Some(size)) => {
            let room = limit_bytes - out.len();
            let size =
                usize::try_from(size).ok().filter(|size| *size <= room).ok_or(CodingError::TooLarge { limit_bytes })?;
            decompress_known(frame, out, size)
        }
        Ok(None) => decompress_unknown(frame, out, limit_bytes),
    }
}

/// A frame that declares its size is decoded in one call, straight into a buffer of that size.
fn decompress_known(frame: &[u8], out: &mut Vec<u8>, size: usize) -> Result<(), CodingError> {
    let mut plain = Vec::with_capacity(size);
    DECOMPRESSOR
        .with_borrow_mut(|context| context.decompress(&mut plain, frame))
        .map_err(|_| corrupt("the content is damaged"))?;
    if out.is_empty() {
        *out = plain;
    } else {
        out.extend_from_slice(&plain);
    }
    Ok(())
}

/// A frame of unknown size is decoded piece by piece, by a context of its own: its window (up to 8 MiB) is freed
/// afterwards and not kept for every thread.
fn decompress_unknown(frame: &[u8], out: &mut Vec<u8>, limit_bytes: usize) -> Result<(), CodingError> {
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|_| corrupt("no decoder"))?;
    let mut input = InBuffer::around(frame);
    let mut piece = vec![0_u8; 64 << 10];
    loop {
        let before = input.pos();
        let mut output = OutBuffer::around(piece.as_mut_slice());
        let hint = context
            .decompress_stream(&mut output, &mut input)
            .map_err(|_| corrupt("the content is damaged, or its window is larger than 8 MiB"))?;
        let written = output.as_slice();
        if out.len() + written.len() > limit_bytes {
            return Err(CodingError::TooLarge { limit_bytes });
        }
        out.extend_from_slice(written);
        if hint == 0 {
            return Ok(());
        }
        if written.is_empty() && input.pos() == before {
            return Err(corrupt("the frame breaks off"));
        }
    }
}

fn corrupt(what: &'static str) -> CodingError {
    CodingError::corrupt(Coding::Zstd, what)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_frame_of_raw_blocks_is_valid() {
        for size in [0, 1, 128 << 10, (128 << 10) + 1, 300_000] {
            let payload = vec![7_u8; size];
            let frame = super::raw_frame(&payload);
            assert_eq!(super::decompress(&frame, size).unwrap().payload, payload);
        }
    }
}
