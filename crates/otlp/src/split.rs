//! Splitting a batch that is too large for the next hop.

use crate::tree::Level;
use crate::wire::{FieldValue, Fields, OpenField, length_field_size, write_bytes_field};
use crate::{Batch, Signal};

/// How large the parts of a batch may be. 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitLimits {
    /// The most items in a part.
    pub items_max: u32,
    /// The largest part, in bytes.
    pub bytes_max: u32,
}

/// What repeated headers may add up to even in a small batch, in bytes.
const REPEATED_BYTES_MIN: usize = 64 << 10;

impl Batch {
    /// Splits the batch into parts within the limits, in order. A batch that fits comes back as a clone, frames
    /// included.
    ///
    /// Whatever fits into one part stays together: resource blocks first, then scopes, metrics, and records. Only what
    /// is larger than a part is taken apart, down to the record and, inside a metric, the data point; what stands
    /// around it (resource, scope, name and unit of the metric, unknown fields) is repeated in each part. Unknown
    /// fields of the request itself are kept, once.
    ///
    /// A part is larger than the limits in two cases:
    /// - it holds a single record, or a resource or a metric without any, that is larger alone;
    /// - repeating what stands around the records would multiply the batch. Repetitions may add up to the size of the
    ///   batch, or 64 KiB if that is more. After that, a part is full only when its records outweigh what would have
    ///   to be repeated, so that all parts together never take more than three times the size of the batch plus
    ///   64 KiB.
    pub fn split(&self, limits: SplitLimits) -> Vec<Batch> {
        let limits = Effective::new(limits);
        if self.items() <= limits.items_max && self.size_bytes() <= limits.bytes_max {
            return vec![self.clone()];
        }
        let mut packer = Packer::new(self, limits);
        packer.place_children(Level::Request, self.bytes());
        packer.finish()
    }
}

/// The limits with the largest number for none.
#[derive(Clone, Copy)]
struct Effective {
    items_max: u32,
    bytes_max: usize,
}

impl Effective {
    fn new(limits: SplitLimits) -> Self {
        let bytes_max = if limits.bytes_max == 0 { usize::MAX } else { limits.bytes_max as usize };
        Effective { items_max: if limits.items_max == 0 { u32::MAX } else { limits.items_max }, bytes_max }
    }
}

/// A message that is being taken apart: its header has to stand in every part that gets one of its children.
struct Frame {
    number: u32,
    /// All fields but the children of the tree.
    header: Vec<u8>,
    /// The size of the original message, in bytes.
    size_guess: usize,
    /// Where the message is open in the current part, and how large it is so far, in bytes.
    open: Option<(OpenField, usize)>,
    was_opened: bool,
}

impl Frame {
    /// What it costs to open the message, framing included, in bytes. The length is taken at its longest.
    fn header_cost(&self) -> usize {
        self.header.len() + length_field_size(self.number, self.size_guess) - self.size_guess
    }
}

struct Packer {
    signal: Signal,
    limits: Effective,
    parts: Vec<Batch>,
    /// The messages around the current position, outermost first.
    frames: Vec<Frame>,
    /// The current part. Open frames have no length yet.
    out: Vec<u8>,
    items: u32,
    /// The size of what is closed in the current part, in bytes.
    closed: usize,
    /// What children, not headers, take of the current part, in bytes.
    payload: usize,
    /// What headers took that stand in an earlier part already, in bytes.
    repeated: usize,
    repeated_max: usize,
}

impl Packer {
    fn new(batch: &Batch, limits: Effective) -> Self {
        Packer {
            signal: batch.signal(),
            limits,
            parts: Vec::new(),
            frames: Vec::new(),
            out: Vec::new(),
            items: 0,
            closed: 0,
            payload: 0,
            repeated: 0,
            repeated_max: batch.size_bytes().max(REPEATED_BYTES_MIN),
        }
    }

    /// Places the children of a message whose frame is already pushed (the request has none).
    fn place_children(&mut self, level: Level, message: &[u8]) {
        for field in Fields::new(message) {
            match (level.child(self.signal, field.number), field.value) {
                (Some(child), FieldValue::Length(body)) => self.place(child, field.number, body),
                // The headers of frames are written when they open; the request has no frame.
                _ if level == Level::Request => self.append_raw(field.raw(message)),
                _ => {}
            }
        }
    }

    fn place(&mut self, level: Level, number: u32, body: &[u8]) {
        let items = level.items(self.signal, body);
        let size = length_field_size(number, body.len());
        if self.fits(items, size) {
            return self.append(number, body, items);
        }
        let may_close = !self.is_fresh() && self.may_close();
        if may_close && self.fits_fresh(items, size) {
            self.close_part();
            return self.append(number, body, items);
        }
        let has_children =
            level != Level::Item && Fields::new(body).any(|field| level.child(self.signal, field.number).is_some());
        if has_children {
            self.take_apart(level, number, body);
        } else {
            if may_close {
                self.close_part();
            }
            self.append(number, body, items);
        }
    }

    fn take_apart(&mut self, level: Level, number: u32, body: &[u8]) {
        let mut header = Vec::new();
        for field in Fields::new(body) {
            if level.child(self.signal, field.number).is_none() {
                header.extend_from_slice(field.raw(body));
            }
        }
        self.frames.push(Frame { number, header, size_guess: body.len(), open: None, was_opened: false });
        self.place_children(level, body);
        self.close_frame();
        self.frames.pop();
    }

    /// Whether a child of this many items and bytes fits into the current part.
    fn fits(&self, items: u32, size: usize) -> bool {
        let size = self.frames.iter().rev().fold(size, |size, frame| {
            let before = frame.open.as_ref().map_or(frame.header.len(), |(_, before)| *before);
            length_field_size(frame.number, before + size)
        });
        self.items.saturating_add(items) <= self.limits.items_max && self.closed + size <= self.limits.bytes_max
    }

    /// Whether it would fit into a new part.
    fn fits_fresh(&self, items: u32, size: usize) -> bool {
        let size = self
            .frames
            .iter()
            .rev()
            .fold(size, |size, frame| length_field_size(frame.number, frame.header.len() + size));
        items <= self.limits.items_max && size <= self.limits.bytes_max
    }

    /// Whether the current part holds nothing yet.
    fn is_fresh(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether a new part may be begun, given what would have to be repeated in it.
    fn may_close(&self) -> bool {
        let open = self.frames.iter().filter(|frame| frame.open.is_some());
        let repeat: usize = open.map(Frame::header_cost).sum();
        self.repeated + repeat <= self.repeated_max || self.payload >= repeat
    }

    /// Appends a whole child, opening the messages around it.
    fn append(&mut self, number: u32, body: &[u8], items: u32) {
        for frame in self.frames.iter_mut().filter(|frame| frame.open.is_none()) {
            if frame.was_opened {
                self.repeated += frame.header_cost();
            }
            let open = OpenField::begin(&mut self.out, frame.number, frame.size_guess.min(self.limits.bytes_max));
            self.out.extend_from_slice(&frame.header);
            frame.open = Some((open, frame.header.len()));
            frame.was_opened = true;
        }
        write_bytes_field(&mut self.out, number, body);
        self.grow(length_field_size(number, body.len()));
        self.items += items;
    }

    /// Appends a field of the request that is not part of the tree.
    fn append_raw(&mut self, field: &[u8]) {
        if !self.is_fresh() && !self.fits(0, field.len()) {
            self.close_part();
        }
        self.out.extend_from_slice(field);
        self.grow(field.len());
    }

    fn grow(&mut self, size: usize) {
        self.payload += size;
        match self.frames.last_mut().and_then(|frame| frame.open.as_mut()) {
            Some((_, so_far)) => *so_far += size,
            None => self.closed += size,
        }
    }

    /// Ends the innermost message in the current part, if it is open there.
    fn close_frame(&mut self) {
        let Some((last, around)) = self.frames.split_last_mut() else { return };
        let Some((open, size)) = last.open.take() else { return };
        open.end(&mut self.out);
        let size = length_field_size(last.number, size);
        match around.last_mut().and_then(|frame| frame.open.as_mut()) {
            Some((_, so_far)) => *so_far += size,
            None => self.closed += size,
        }
    }

    /// Ends the current part. The messages around the position open again in the next.
    fn close_part(&mut self) {
        for frame in self.frames.iter_mut().rev() {
            if let Some((open, _)) = frame.open.take() {
                open.end(&mut self.out);
            }
        }
        let bytes = std::mem::take(&mut self.out);
        self.parts.push(Batch::from_trusted(self.signal, bytes.into(), self.items));
        self.items = 0;
        self.closed = 0;
        self.payload = 0;
    }

    fn finish(mut self) -> Vec<Batch> {
        if !self.is_fresh() || self.parts.is_empty() {
            self.close_part();
        }
        self.parts
    }
}
