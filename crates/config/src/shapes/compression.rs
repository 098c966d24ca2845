//! Names of compressions.

use std::fmt;

use crate::field::{Field, Read};

/// A compression under the Collector's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `none`, or an empty text.
    None,
    /// `gzip`.
    Gzip,
    /// `zlib`.
    Zlib,
    /// `deflate`; over HTTP that is the zlib format, too.
    Deflate,
    /// `snappy`: over HTTP one block without framing.
    Snappy,
    /// `x-snappy-framed`.
    SnappyFramed,
    /// `zstd`.
    Zstd,
    /// `lz4`: the frame format.
    Lz4,
}

impl Compression {
    const HTTP: [(&'static str, Compression); 9] = [
        ("none", Compression::None),
        ("", Compression::None),
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
        ("zlib", Compression::Zlib),
        ("snappy", Compression::Snappy),
        ("deflate", Compression::Deflate),
        ("lz4", Compression::Lz4),
        ("x-snappy-framed", Compression::SnappyFramed),
    ];

    const GRPC: [(&'static str, Compression); 5] = [
        ("none", Compression::None),
        ("", Compression::None),
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
        ("snappy", Compression::Snappy),
    ];

    /// Reads a compression that an HTTP client or server may have.
    pub fn read_http(field: Field<'_>) -> Read<'_, Compression> {
        field.one_of(&Compression::HTTP)
    }

    /// Reads a compression that a gRPC client may have.
    pub fn read_grpc(field: Field<'_>) -> Read<'_, Compression> {
        field.one_of(&Compression::GRPC)
    }

    /// The Collector's name, which is also the name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zlib => "zlib",
            Compression::Deflate => "deflate",
            Compression::Snappy => "snappy",
            Compression::SnappyFramed => "x-snappy-framed",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
