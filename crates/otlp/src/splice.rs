//! Replacing ranges deep inside a request while everything else is copied as it stands.

use std::ops::Range;

use crate::wire::{Field, OpenField};

/// Copies a request, but for the ranges that are replaced on the way down and along it. Nothing is written, not even
/// allocated, before the first replacement; the bytes between two replacements are one copy.
pub(crate) struct Splicer<'a> {
    out: Vec<u8>,
    /// The messages around the current position, outermost first; the first is the request.
    frames: Vec<Frame<'a>>,
}

struct Frame<'a> {
    message: &'a [u8],
    /// How far the message is copied.
    copied: usize,
    /// The field in the message around it.
    number: u32,
    field: Range<usize>,
    open: Option<OpenField>,
}

/// Room for what replacements add, so that a usual one does not grow the buffer.
const SLACK_BYTES: usize = 1 << 10;

impl<'a> Splicer<'a> {
    pub(crate) fn new(request: &'a [u8]) -> Self {
        let root = Frame { message: request, copied: 0, number: 0, field: 0..0, open: None };
        Splicer { out: Vec::new(), frames: vec![root] }
    }

    /// Goes down into a message, which is a field of the current one.
    pub(crate) fn enter(&mut self, field: &Field<'a>) {
        self.frames.push(Frame {
            message: field.value.bytes(),
            copied: 0,
            number: field.number,
            field: field.start..field.end,
            open: None,
        });
    }

    /// Goes up again.
    pub(crate) fn leave(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let (Some(open), Some(around)) = (frame.open, self.frames.last_mut()) else { return };
        self.out.extend_from_slice(&frame.message[frame.copied..]);
        open.end(&mut self.out);
        around.copied = frame.field.end;
    }

    /// Replaces a range of the current message, which lies behind all that were replaced in it before.
    pub(crate) fn replace(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        self.open_all();
        let Some(frame) = self.frames.last_mut() else { return };
        self.out.extend_from_slice(&frame.message[frame.copied..range.start]);
        frame.copied = range.end;
        write(&mut self.out);
    }

    /// Opens the messages around the position that are not open yet.
    fn open_all(&mut self) {
        if self.out.capacity() == 0 {
            self.out.reserve(self.frames[0].message.len() + SLACK_BYTES);
        }
        for index in 1..self.frames.len() {
            let (around, inner) = self.frames.split_at_mut(index);
            let (around, inner) = (&mut around[index - 1], &mut inner[0]);
            if inner.open.is_none() {
                self.out.extend_from_slice(&around.message[around.copied..inner.field.start]);
                around.copied = inner.field.start;
                inner.open = Some(OpenField::begin(&mut self.out, inner.number, inner.message.len()));
            }
        }
    }

    /// The new request, or `None` if nothing was replaced.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        while self.frames.len() > 1 {
            self.leave();
        }
        if self.out.capacity() == 0 {
            return None;
        }
        let root = &self.frames[0];
        self.out.extend_from_slice(&root.message[root.copied..]);
        Some(self.out)
    }
}
