//! Compressed forms of a batch, made once and shared by everyone who sends it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

/// How a payload is compressed on the wire. `Display`, `name` and `from_name` use the tokens of HTTP's
/// `Content-Encoding` and gRPC's `grpc-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// RFC 1952, one member.
    Gzip,
    /// RFC 8878, one frame.
    Zstd,
    /// RFC 1950, what HTTP calls `deflate`.
    Deflate,
    /// Snappy's framed format, as OTLP receivers of the Collector read it over HTTP.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
}

impl ContentEncoding {
    /// Every encoding.
    pub const ALL: [ContentEncoding; 5] = [Self::Gzip, Self::Zstd, Self::Deflate, Self::Snappy, Self::Lz4];

    /// The token on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }

    /// The encoding that a token names.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for ContentEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The compressed forms of one payload that exist so far: one that arrived so, or one that an exporter made. Exporters
/// that want the same encoding share it, so that a payload is compressed at most once.
///
/// Beside them stands what exporters made of the batch in protocols of their own, for others of their kind.
#[derive(Debug, Default)]
pub struct Frames {
    slots: [OnceLock<Bytes>; ContentEncoding::ALL.len()],
    made: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl Frames {
    /// The frame in this encoding, if somebody made it already.
    pub fn get(&self, encoding: ContentEncoding) -> Option<&Bytes> {
        self.slots[encoding as usize].get()
    }

    /// The frame in this encoding, made by `make` if nobody did yet.
    pub fn get_or_make(&self, encoding: ContentEncoding, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.slots[encoding as usize].get_or_init(make)
    }

    /// What somebody made of the payload that fits, or else what `make` makes of it now. Whoever asks meanwhile waits.
    pub fn made<T: Any + Send + Sync>(&self, fits: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> Arc<T> {
        let mut made = self.made.lock();
        let mut known = made.iter().filter_map(|one| Arc::clone(one).downcast::<T>().ok());
        if let Some(known) = known.find(|one| fits(one)) {
            return known;
        }
        let new = Arc::new(make());
        made.push(Arc::clone(&new) as _);
        new
    }

    /// The memory that the frames hold, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.slots.iter().filter_map(OnceLock::get).map(Bytes::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_found_by_their_tokens_in_either_case() {
        for encoding in ContentEncoding::ALL {
            assert_eq!(ContentEncoding::from_name(&encoding.to_string().to_uppercase()), Some(encoding));
        }
        assert_eq!(ContentEncoding::from_name("identity"), None);
    }

    #[test]
    fn what_fits_is_made_once_and_what_does_not_is_made_beside_it() {
        let frames = Frames::default();
        for (wanted, expected) in [(1, 10), (2, 20), (1, 10)] {
            let made = frames.made(|made: &(u8, u8)| made.0 == wanted, || (wanted, expected));
            assert_eq!(*made, (wanted, expected));
        }
        assert_eq!(*frames.made(|_: &(u8, u8)| true, || (0, 0)), (1, 10));
        assert_eq!(*frames.made(|_: &u8| true, || 7), 7);
    }

    #[test]
    fn a_frame_is_made_once() {
        let frames = Frames::default();
        assert_eq!(frames.get(ContentEncoding::Zstd), None);
        frames.get_or_make(ContentEncoding::Zstd, || Bytes::from_static(b"first"));
        let kept = frames.get_or_make(ContentEncoding::Zstd, || Bytes::from_static(b"second"));
        assert_eq!(kept, "first");
        assert_eq!((frames.get(ContentEncoding::Gzip), frames.size_bytes()), (None, 5));
    }
}
