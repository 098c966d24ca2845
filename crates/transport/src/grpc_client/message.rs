//! A length-prefixed message as one buffer for HTTP/2, without joining its two parts.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::grpc::FRAME_PREFIX_BYTES;

/// Prefix and payload, consumed from the front.
#[derive(Debug)]
pub(super) struct MessageBuf {
    prefix: [u8; FRAME_PREFIX_BYTES],
    prefix_read: usize,
    payload: Bytes,
}

impl MessageBuf {
    pub(super) fn new(prefix: [u8; FRAME_PREFIX_BYTES], payload: Bytes) -> MessageBuf {
        MessageBuf { prefix, prefix_read: 0, payload }
    }
}

impl Buf for MessageBuf {
    fn remaining(&self) -> usize {
        FRAME_PREFIX_BYTES - self.prefix_read + self.payload.len()
    }

    fn chunk(&self) -> &[u8] {
        let prefix = &self.prefix[self.prefix_read..];
        if prefix.is_empty() { &self.payload } else { prefix }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [&self.prefix[self.prefix_read..], self.payload.as_ref()];
        let mut filled = 0;
        for part in parts {
            if !part.is_empty() && filled < slices.len() {
                slices[filled] = IoSlice::new(part);
                filled += 1;
            }
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        let of_prefix = count.min(FRAME_PREFIX_BYTES - self.prefix_read);
        self.prefix_read += of_prefix;
        self.payload.advance(count - of_prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_come_in_order_however_they_are_taken() {
        for step in 1..9 {
            let mut message = MessageBuf::new([1, 2, 3, 4, 5], Bytes::from_static(&[6, 7, 8]));
            let mut seen = Vec::new();
            while message.has_remaining() {
                let chunk = message.chunk();
                let part = chunk.len().min(step);
                seen.extend_from_slice(&chunk[..part]);
                message.advance(part);
            }
            assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
        }
    }

    #[test]
    fn the_parts_are_offered_together() {
        let mut message = MessageBuf::new([1, 2, 3, 4, 5], Bytes::from_static(&[6, 7, 8]));
        message.advance(3);
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(message.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&[4, 5][..], &[6, 7, 8][..]));
    }
}
