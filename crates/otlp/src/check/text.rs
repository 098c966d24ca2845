//! Whether bytes are text.

/// UTF-8 that is not only ASCII.
#[inline(never)]
pub(super) fn is_utf8_bytes(bytes: &[u8]) -> bool {
    // Below this, setting up the vectors costs more than they save.
    const VECTOR_SIZE_MIN: usize = 64;
    if bytes.len() < VECTOR_SIZE_MIN {
        std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// The offset of the first byte from `start` on that is not ASCII, or the length.
#[inline(never)]
pub(super) fn ascii_end(buf: &[u8], start: usize) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = start;
    // Runs are commonly as long as a few attributes: blocks first, and the word within the last of them then.
    let (blocks, _) = buf[start..].as_chunks::<32>();
    for block in blocks {
        let high = block.as_chunks::<8>().0.iter().fold(0, |sum, word| sum | u64::from_le_bytes(*word));
        if high & HIGH != 0 {
            break;
        }
        at += 32;
    }
    let (words, rest) = buf[at..].as_chunks::<8>();
    for word in words {
        let high = u64::from_le_bytes(*word) & HIGH;
        if high != 0 {
            return at + high.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + rest.iter().position(|byte| *byte >= 0x80).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ascii_scan_stops_at_the_first_other_byte() {
        for size in 0..40 {
            assert_eq!(ascii_end(&vec![b'a'; size], 0), size);
            for bad in 0..size {
                let mut bytes = vec![b'a'; size];
                bytes[bad] = 0x80;
                for start in 0..size {
                    let expected = if start <= bad { bad } else { size };
                    assert_eq!(ascii_end(&bytes, start), expected, "{size} {bad} {start}");
                }
            }
        }
    }
}
