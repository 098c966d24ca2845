//! Where one message ends and the next begins, in a stream of bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Each ends with a line feed, which a carriage return may precede; at the end of the stream the last may do
    /// without.
    Lines,
    /// Each has its length before it, in decimal digits and a space (RFC 5425, section 4.3; RFC 6587, section 3.4.1).
    /// Line feeds between messages, which some senders add, are skipped.
    OctetCounted,
    /// Of syslog, one or the other for each message: counted, if it begins with digits, a space and `<`; otherwise a
    /// line.
    OctetCountedOrLines,
    /// Each has its length before it, as four bytes, the lowest first.
    LengthPrefixed,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// All of it, without what delimits it.
    Whole(&'a [u8]),
    /// It was longer than allowed, and has been skipped.
    TooLong {
        /// Its length, the carriage return of a line included; up to where the stream ended, if it did within.
        bytes: u64,
    },
}

/// Why a stream has no further frames.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Reading failed, or the time for it is over. What had arrived of a message is lost.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The length is no length. Where the next message begins is unknown.
    #[error("a message should begin with its length in digits and a space, but begins with `{}`", .found.escape_ascii())]
    NoLength {
        /// The beginning of what was found.
        found: Vec<u8>,
    },
    /// The length is refused. Nothing of that size is awaited or skipped: most likely it is none.
    #[error("a message is announced with {bytes} bytes, which is more than the {bytes_max} that are allowed")]
    LengthBeyondLimit {
        /// The length announced.
        bytes: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The stream ended within a message.
    #[error("the stream ended within a message, of which {bytes} bytes had arrived")]
    Cut {
        /// What had arrived of it.
        bytes: usize,
    },
}

/// What a buffer has at first. Silent connections hold no more.
const BUFFER_BYTES_FIRST: usize = 4 << 10;
/// What is read at once, where the messages are smaller.
const BUFFER_BYTES_READ: usize = 64 << 10;
/// No length has more digits.
const DIGITS_MAX: usize = 10;

/// Reads a stream as frames, each of at most a given length. The buffer grows up to that, and [`BUFFER_BYTES_READ`].
#[derive(Debug)]
pub struct Frames<R> {
    io: R,
    framing: Framing,
    frame_bytes_max: usize,
    buffer: Vec<u8>,
    /// What is in the buffer and not yet consumed.
    start: usize,
    end: usize,
    /// How far from `start` a line feed has been looked for.
    searched: usize,
    skipping: Skipping,
}

/// Whether a frame that is too long is being skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipping {
    No,
    Line { skipped: u64 },
    Counted { left: u64, bytes: u64 },
}

/// What was found in the buffer.
enum Found {
    /// A frame, from and to these places of the buffer.
    Whole(usize, usize),
    TooLong(u64),
    /// Nothing, before more is read.
    Unfinished,
}

/// The beginning of a counted message.
enum Count {
    /// The digits and what follows them take so many bytes, and announce so many.
    Announced {
        head: usize,
        bytes: u64,
    },
    Unfinished,
    None,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Reads frames from `io`.
    pub fn new(io: R, framing: Framing, frame_bytes_max: usize) -> Frames<R> {
        let buffer = Vec::new();
        Frames { io, framing, frame_bytes_max, buffer, start: 0, end: 0, searched: 0, skipping: Skipping::No }
    }

    /// The next frame; none at the end of the stream. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// [`FrameError`] says why there will be no more.
    pub async fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let found = loop {
            match self.find()? {
                Found::Unfinished => {}
                found => break found,
            }
            if !self.fill().await? {
                return self.last();
            }
        };
        Ok(self.frame(&found))
    }

    /// The next frame that has arrived already; none, if reading is needed for it. So what a read brought can be
    /// handled together.
    ///
    /// # Errors
    /// [`FrameError`] says why there will be no more.
    pub fn next_buffered(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let found = self.find()?;
        Ok(self.frame(&found))
    }

    /// The stream, to write to.
    pub fn io_mut(&mut self) -> &mut R {
        &mut self.io
    }

    fn frame(&self, found: &Found) -> Option<Frame<'_>> {
        match *found {
            Found::Whole(from, to) => Some(Frame::Whole(&self.buffer[from..to])),
            Found::TooLong(bytes) => Some(Frame::TooLong { bytes }),
            Found::Unfinished => None,
        }
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.searched = 0;
    }

    fn find(&mut self) -> Result<Found, FrameError> {
        match self.skipping {
            Skipping::Line { skipped } => return Ok(self.skip_line(skipped)),
            Skipping::Counted { left, bytes } => return Ok(self.skip_counted(left, bytes)),
            Skipping::No => {}
        }
        match self.framing {
            Framing::Lines => Ok(self.find_line()),
            Framing::OctetCounted => {
                self.skip_line_feeds();
                match count(self.pending()) {
                    Count::Announced { head, bytes } => Ok(self.find_counted(head, bytes)),
                    Count::Unfinished => Ok(Found::Unfinished),
                    Count::None => {
                        let pending = self.pending();
                        let found = pending[..pending.len().min(32)].to_vec();
                        Err(FrameError::NoLength { found })
                    }
                }
            }
            Framing::OctetCountedOrLines => {
                self.skip_line_feeds();
                match syslog_count(self.pending()) {
                    Count::Announced { head, bytes } => Ok(self.find_counted(head, bytes)),
                    Count::Unfinished => Ok(Found::Unfinished),
                    Count::None => Ok(self.find_line()),
                }
            }
            Framing::LengthPrefixed => self.find_prefixed(),
        }
    }

    fn skip_line_feeds(&mut self) {
        let feeds = self.pending().iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        if feeds > 0 {
            self.consume(feeds);
        }
    }

    fn find_line(&mut self) -> Found {
        let pending = self.pending();
        let Some(feed) = memchr::memchr(b'\n', &pending[self.searched..]).map(|at| self.searched + at) else {
            self.searched = pending.len();
            // One more for a carriage return, which does not count.
            if self.searched > self.frame_bytes_max + 1 {
                self.skipping = Skipping::Line { skipped: 0 };
                return self.skip_line(0);
            }
            return Found::Unfinished;
        };
        let line = without_return(&pending[..feed]).len();
        let from = self.start;
        self.consume(feed + 1);
        if line > self.frame_bytes_max { Found::TooLong(feed as u64) } else { Found::Whole(from, from + line) }
    }

    fn skip_line(&mut self, skipped: u64) -> Found {
        let pending = self.pending();
        match memchr::memchr(b'\n', pending) {
            Some(feed) => {
                let bytes = skipped + feed as u64;
                self.skipping = Skipping::No;
                self.consume(feed + 1);
                Found::TooLong(bytes)
            }
            None => {
                let length = pending.len();
                self.skipping = Skipping::Line { skipped: skipped + length as u64 };
                self.consume(length);
                Found::Unfinished
            }
        }
    }

    fn find_counted(&mut self, head: usize, bytes: u64) -> Found {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if length > self.frame_bytes_max {
            self.consume(head);
            return self.skip_counted(bytes, bytes);
        }
        if self.pending().len() - head < length {
            return Found::Unfinished;
        }
        let from = self.start + head;
        self.consume(head + length);
        Found::Whole(from, from + length)
    }

    fn skip_counted(&mut self, left: u64, bytes: u64) -> Found {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.pending().len());
        self.consume(here);
        let left = left - here as u64;
        if left == 0 {
            self.skipping = Skipping::No;
            return Found::TooLong(bytes);
        }
        self.skipping = Skipping::Counted { left, bytes };
        Found::Unfinished
    }

    fn find_prefixed(&mut self) -> Result<Found, FrameError> {
        let Some(prefix) = self.pending().first_chunk::<4>() else { return Ok(Found::Unfinished) };
        let (bytes, bytes_max) = (u64::from(u32::from_le_bytes(*prefix)), self.frame_bytes_max);
        if usize::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max) {
            return Ok(self.find_counted(prefix.len(), bytes));
        }
        Err(FrameError::LengthBeyondLimit { bytes, bytes_max })
    }

    /// Reads more; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool, FrameError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // The length before a frame, or the delimiter behind it.
            let bytes_max = self.frame_bytes_max.saturating_add(DIGITS_MAX + 3).max(BUFFER_BYTES_READ);
            let grown = (2 * self.buffer.len()).clamp(BUFFER_BYTES_FIRST, bytes_max);
            self.buffer.resize(grown, 0);
        }
        let read = self.io.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read > 0)
    }

    /// What the end of the stream makes of the rest.
    fn last(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let (rest, bytes) = (self.start, self.end - self.start);
        self.consume(bytes);
        match std::mem::replace(&mut self.skipping, Skipping::No) {
            Skipping::Line { skipped } => return Ok(Some(Frame::TooLong { bytes: skipped })),
            Skipping::Counted { left, bytes } => return Ok(Some(Frame::TooLong { bytes: bytes - left })),
            Skipping::No if bytes == 0 => return Ok(None),
            Skipping::No => {}
        }
        let pending = &self.buffer[rest..rest + bytes];
        let is_line = match self.framing {
            Framing::Lines => true,
            Framing::OctetCountedOrLines => matches!(syslog_count(pending), Count::None),
            Framing::OctetCounted | Framing::LengthPrefixed => false,
        };
        if !is_line {
            return Err(FrameError::Cut { bytes });
        }
        let line = without_return(pending);
        let is_too_long = line.len() > self.frame_bytes_max;
        Ok(Some(if is_too_long { Frame::TooLong { bytes: bytes as u64 } } else { Frame::Whole(line) }))
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Looks for digits and a space at the beginning.
fn count(bytes: &[u8]) -> Count {
    let digits = bytes.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > DIGITS_MAX || bytes.first() == Some(&b'0') {
        return Count::None;
    }
    match bytes.get(digits) {
        None => Count::Unfinished,
        Some(b' ') if digits > 0 => {
            let announced = bytes[..digits].iter().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
            Count::Announced { head: digits + 1, bytes: announced }
        }
        Some(_) => Count::None,
    }
}

/// A count is one only if a message of syslog follows it.
fn syslog_count(bytes: &[u8]) -> Count {
    match count(bytes) {
        Count::Announced { head, .. } if bytes.get(head).is_some_and(|byte| *byte != b'<') => Count::None,
        Count::Announced { head, .. } if bytes.len() == head => Count::Unfinished,
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    const BYTES_MAX: usize = 16;

    /// A stream that comes in pieces.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// What a stream is read as: each frame, and how it ends.
    fn read(framing: Framing, pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let pieces = Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).collect());
            let mut frames = Frames::new(pieces, framing, BYTES_MAX);
            let mut seen = Vec::new();
            loop {
                match frames.next().await {
                    Ok(Some(Frame::Whole(frame))) => seen.push(frame.escape_ascii().to_string()),
                    Ok(Some(Frame::TooLong { bytes })) => seen.push(format!("too long: {bytes}")),
                    Ok(None) => return seen,
                    Err(error) => {
                        seen.push(format!("error: {error}"));
                        return seen;
                    }
                }
            }
        })
    }

    fn check(framing: Framing, stream: &[u8], expected: &[&str]) {
        assert_eq!(read(framing, [stream.to_vec()]), expected, "at once: {}", stream.escape_ascii());
        let bytes = stream.iter().map(|byte| vec![*byte]);
        assert_eq!(read(framing, bytes), expected, "byte by byte: {}", stream.escape_ascii());
    }

    #[test]
    fn lines_end_with_a_line_feed_and_a_carriage_return_before_it_is_dropped() {
        check(Framing::Lines, b"", &[]);
        check(Framing::Lines, b"a\nb\r\n\n", &["a", "b", ""]);
        check(Framing::Lines, b"a\nlast", &["a", "last"]);
        check(Framing::Lines, b"a\rb\n\r", &["a\\rb", ""]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_counts() {
        check(Framing::Lines, b"0123456789abcdef\n0123456789abcdef\r\n", &["0123456789abcdef"; 2]);
        check(Framing::Lines, b"0123456789abcdefg\nnext\n", &["too long: 17", "next"]);
        check(Framing::Lines, &[&[b'x'; 1000][..], b"\nnext"].concat(), &["too long: 1000", "next"]);
        check(Framing::Lines, &[b'x'; 1000], &["too long: 1000"]);
        check(Framing::Lines, b"0123456789abcdefg", &["too long: 17"]);
        let large = [vec![b'x'; 200_000], b"\nnext\n".to_vec()].concat();
        assert_eq!(read(Framing::Lines, [large]), ["too long: 200000", "next"]);
    }

    #[test]
    fn counted_messages_may_hold_line_feeds_and_may_have_them_in_between() {
        check(Framing::OctetCounted, b"3 <1>5 <2>\n\n4 <3>x", &["<1>", "<2>\\n\\n", "<3>x"]);
        check(Framing::OctetCounted, b"3 <1>\r\n3 <2>\n", &["<1>", "<2>"]);
        check(Framing::OctetCounted, b"17 0123456789abcdefg3 abc", &["too long: 17", "abc"]);
    }

    #[test]
    fn what_is_no_count_ends_the_stream_with_a_reason() {
        let message = "error: a message should begin with its length in digits and a space, but begins with";
        let begins = |text: &str| format!("{message} `{text}`");
        for stream in ["<34>1 x", "03 abc", "12345678901 x", "3x"] {
            assert_eq!(read(Framing::OctetCounted, [stream.into()]), [begins(stream)]);
        }
        let cut = "error: the stream ended within a message, of which 4 bytes had arrived";
        check(Framing::OctetCounted, b"3 abc5 ab", &["abc", cut]);
        check(Framing::OctetCounted, b"1234", &[cut]);
        check(Framing::OctetCounted, b"9999999999 abc", &["too long: 3"]);
    }

    #[test]
    fn syslogs_two_framings_are_told_apart_message_by_message() {
        let both = Framing::OctetCountedOrLines;
        check(both, b"<1>a\n4 <2>b<3>c\n\n4 <4>d", &["<1>a", "<2>b", "<3>c", "<4>d"]);
        check(both, b"2026 is a year\n<1>a", &["2026 is a year", "<1>a"]);
        check(both, b"plain\n12 plain", &["plain", "12 plain"]);
        check(both, b"9 <1>", &["error: the stream ended within a message, of which 5 bytes had arrived"]);
        check(both, b"99 <1>", &["too long: 3"]);
        check(both, b"x0123456789abcdefg\n<1>", &["too long: 18", "<1>"]);
    }

    #[test]
    fn prefixed_messages_have_their_length_before_them_and_a_huge_one_is_refused() {
        check(Framing::LengthPrefixed, b"\x03\0\0\0abc\0\0\0\0\x01\0\0\0x", &["abc", "", "x"]);
        check(
            Framing::LengthPrefixed,
            b"\x03\0",
            &["error: the stream ended within a message, of which 2 bytes had arrived"],
        );
        let refused = "error: a message is announced with 4294967295 bytes, which is more than the 16 that are allowed";
        check(Framing::LengthPrefixed, b"\x01\0\0\0x\xff\xff\xff\xff", &["x", refused]);
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_the_pieces_in_which_they_arrive(
            stream in prop::collection::vec(prop::sample::select(b"0123 <>\r\nab\0\xff".to_vec()), 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let pieces: Vec<_> = places.windows(2).map(|cut| stream[cut[0]..cut[1]].to_vec()).collect();
            let framings =
                [Framing::Lines, Framing::OctetCounted, Framing::OctetCountedOrLines, Framing::LengthPrefixed];
            for framing in framings {
                let at_once = read(framing, [stream.clone()]);
                // How much of a stream that is none has arrived, when that is found out, is left to chance.
                let comparable = |frames: Vec<String>| -> Vec<String> {
                    frames.into_iter().map(|frame| frame.split('`').next().unwrap_or_default().to_owned()).collect()
                };
                prop_assert_eq!(comparable(read(framing, pieces.clone())), comparable(at_once), "{:?}", framing);
            }
        }

        #[test]
        fn lines_come_out_as_they_were_put_in(lines in prop::collection::vec("[a-z ]{0,16}", 0..20)) {
            let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(read(Framing::Lines, [stream.into_bytes()]), lines.clone());
            let counted: String = lines.iter().filter(|line| !line.is_empty())
                .map(|line| format!("{} {line}", line.len())).collect();
            let expected: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(read(Framing::OctetCounted, [counted.into_bytes()]), expected);
        }
    }
}
