//! Content codings: whole buffers in, whole buffers out, with a limit that holds while decompressing.
//!
//! Every decoder stops at the first byte beyond the limit, so that a bomb costs no more memory than an honest payload
//! of the permitted size. Decoders read the input to its end: bytes after the compressed stream are an error, and so
//! is a stream that breaks off.

mod deflate;
mod lz4;
mod snappy;
mod zstandard;

use std::fmt;

use bytes::Bytes;

pub use snappy::{compress_block as snappy_block_compress, decompress_block as snappy_block_decompress};

/// A content coding, as named by `Content-Encoding` (RFC 9110, section 8.4) and `grpc-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The zlib format of RFC 1950, which RFC 9110 calls `deflate`; raw DEFLATE is understood on the way in.
    Deflate,
    /// The snappy framing format; a single snappy block is understood on the way in.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
}

impl Coding {
    /// All codings that this build understands.
    pub const ALL: [Coding; 6] =
        [Coding::Identity, Coding::Gzip, Coding::Zstd, Coding::Deflate, Coding::Snappy, Coding::Lz4];

    /// What a gRPC server offers in `grpc-accept-encoding`.
    pub const ACCEPTED: &'static str = "identity,gzip,zstd,deflate,snappy,lz4";

    /// The name in header fields.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
            Coding::Deflate => "deflate",
            Coding::Snappy => "snappy",
            Coding::Lz4 => "lz4",
        }
    }

    /// Reads a header field's value; the aliases `x-gzip`, `zlib` and `x-snappy-framed` are understood, and an empty
    /// value means identity.
    #[must_use]
    pub fn parse(name: &str) -> Option<Coding> {
        const NAMES: [(&str, Coding); 11] = [
            ("", Coding::Identity),
            ("identity", Coding::Identity),
            ("none", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("deflate", Coding::Deflate),
            ("zlib", Coding::Deflate),
            ("snappy", Coding::Snappy),
            ("x-snappy-framed", Coding::Snappy),
            ("lz4", Coding::Lz4),
        ];
        let name = name.trim();
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, coding)| *coding)
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// The level that costs the least CPU for a useful ratio, which is what a pipeline wants.
    #[default]
    Fast,
    /// A level in the coding's own scale: gzip and deflate 1 to 9, zstd 1 to 22. Values outside are clamped. Snappy
    /// and LZ4 have only one level.
    Exact(i32),
}

/// Why a payload could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// The decompressed size would exceed the limit; decompression stopped there.
    #[error("the decompressed payload is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was given.
        limit_bytes: usize,
    },
    /// The stream is damaged, breaks off, or is followed by other bytes.
    #[error("corrupt {coding} data: {what}")]
    Corrupt {
        /// The coding that the sender named.
        coding: Coding,
        /// What is wrong.
        what: &'static str,
    },
}

impl CodingError {
    pub(crate) fn corrupt(coding: Coding, what: &'static str) -> CodingError {
        CodingError::Corrupt { coding, what }
    }
}

/// Whether a compressed buffer is one member (gzip) or frame (zstd, LZ4, snappy).
///
/// A gRPC message must be exactly one gzip member: receivers are known that read the first one only and drop the rest
/// in silence. So only a single member may be forwarded as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// Exactly one, from the first byte to the last: the buffer may be forwarded verbatim.
    One,
    /// Several in a row, or a deviation that only a lenient decoder understands.
    Several,
}

/// Each member costs a reset of the decoder, so a flood of empty ones is not worked through.
const MEMBERS_MAX: usize = 4096;

/// A decompressed payload and what was learnt about its compressed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decompressed {
    /// The payload.
    pub payload: Bytes,
    /// Whether the compressed buffer may be forwarded in place of the payload.
    pub members: Members,
}

/// Compresses `payload` into one member or frame.
///
/// ```
/// use transport::coding::{compress, decompress, Coding, Level};
/// let payload = vec![b'a'; 10_000];
/// let packed = compress(Coding::Gzip, Level::Fast, &payload);
/// assert!(packed.len() < 200);
/// assert_eq!(decompress(Coding::Gzip, &packed, 20_000).unwrap(), payload);
/// ```
#[must_use]
pub fn compress(coding: Coding, level: Level, payload: &[u8]) -> Bytes {
    match coding {
        Coding::Identity => Bytes::copy_from_slice(payload),
        Coding::Gzip => deflate::compress_gzip(level, payload),
        Coding::Deflate => deflate::compress_zlib(level, payload),
        Coding::Zstd => zstandard::compress(level, payload),
        Coding::Snappy => snappy::compress_framed(payload),
        Coding::Lz4 => lz4::compress(payload),
    }
}

/// Decompresses `packed`, at most `limit_bytes` of it.
///
/// # Errors
/// [`CodingError::TooLarge`] as soon as the limit is exceeded, [`CodingError::Corrupt`] for anything but a complete
/// stream that ends with the buffer.
pub fn decompress(coding: Coding, packed: &[u8], limit_bytes: usize) -> Result<Bytes, CodingError> {
    decompress_members(coding, packed, limit_bytes).map(|done| done.payload)
}

/// Like [`decompress`], and says whether the compressed buffer may be forwarded as it came.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_members(coding: Coding, packed: &[u8], limit_bytes: usize) -> Result<Decompressed, CodingError> {
    match coding {
        Coding::Identity if packed.len() > limit_bytes => Err(CodingError::TooLarge { limit_bytes }),
        Coding::Identity => Ok(Decompressed { payload: Bytes::copy_from_slice(packed), members: Members::One }),
        Coding::Gzip => deflate::decompress_gzip(packed, limit_bytes),
        Coding::Deflate => deflate::decompress_zlib(packed, limit_bytes),
        Coding::Zstd => zstandard::decompress(packed, limit_bytes),
        Coding::Snappy => snappy::decompress(packed, limit_bytes),
        Coding::Lz4 => lz4::decompress(packed, limit_bytes),
    }
}

/// Turns a decoder's output into `Bytes` that hold little more memory than they show.
fn into_bytes(mut out: Vec<u8>) -> Bytes {
    if out.capacity() - out.len() > out.len() / 8 + 64 {
        out.shrink_to_fit();
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
