//! What leaves the disk: what everybody has settled, what is too old, and what must make room.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use crate::account::Image;
use crate::books::Bucket;
use crate::cursor::{Hold, Lag, LagLimit};
use crate::disk::committer::{Committer, Step, is_full, storage_error};
use crate::disk::format::Meta;
use crate::disk::library::{Segment, shares_between};
use crate::disk::writer::{Group, group_bytes};
use crate::log::{AppendError, StreamId, WhenFull};
use crate::mark::Mark;
use crate::state::{Outbox, State};
use crate::stream::{CursorState, Standing};

impl Committer {
    /// Removes the oldest segments until `size` bytes more have room.
    pub(crate) fn make_room(&mut self, step: &mut Step, size: u64, wanted_bytes: u64) -> Result<(), AppendError> {
        let size_bytes_max = self.backing.options.size_bytes_max;
        loop {
            let retained_bytes = self.backing.library.size_bytes();
            if retained_bytes + size <= size_bytes_max {
                return Ok(());
            }
            if self.give_way(step, self.backing.options.when_full)? {
                continue;
            }
            // The segment that is being left is the oldest of all where it is the only one.
            if !self.writer.has_segment() || self.backing.library.segments().len() > 1 {
                return Err(AppendError::Full { retained_bytes, wanted_bytes, size_bytes_max });
            }
            self.writer.leave_segment().map_err(|error| storage_error(&error))?;
        }
    }

    /// Removes the oldest segment, unless somebody needs it that is waited for, and says whether it did.
    pub(crate) fn give_way(&mut self, step: &mut Step, when_full: WhenFull) -> Result<bool, AppendError> {
        let Some((oldest, next)) = self.backing.library.oldest() else { return Ok(false) };
        if when_full == WhenFull::Refuse && self.is_needed(next.as_ref()) {
            return Ok(false);
        }
        self.remove(step, &oldest, next.as_ref(), &Bucket::OVERWRITTEN)?;
        Ok(true)
    }

    /// Removes segments whose newest record is older than the journal keeps, and cursors that nobody came back for.
    pub fn expire(&mut self, now_unix_ns: u64) {
        let options = &self.backing.options;
        let (age_ns_max, grace_ns) = (options.age_ns_max, options.cursor_grace_ns);
        self.shared.state.lock().forget_cursors(now_unix_ns, grace_ns);
        let Some(age_ns_max) = age_ns_max else { return };
        // What is being written is left in time, so that nothing lives much longer because little follows it.
        if self.writer.begun_at_unix_ns().is_some_and(|begun| now_unix_ns.saturating_sub(begun) > age_ns_max / 4)
            && self.writer.leave_segment().is_err()
        {
            self.backing.errors.fetch_add(1, Relaxed);
        }
        let mut step = Step { now_unix_ns, ..Step::default() };
        while let Some((oldest, next)) = self.backing.library.oldest()
            && now_unix_ns.saturating_sub(oldest.last_append_unix_ns) > age_ns_max
        {
            if self.remove(&mut step, &oldest, next.as_ref(), &Bucket::EXPIRED).is_err() {
                return;
            }
        }
    }

    /// Whether a reader that is waited for has not settled something before the next segment.
    fn is_needed(&self, next: Option<&Segment>) -> bool {
        let state = self.shared.state.lock();
        state.streams.iter().enumerate().any(|(index, stream)| {
            let end = next.map_or(stream.end(), |next| next.first(index)).offset;
            let waited_for = |cursor: &&CursorState| cursor.standing == Standing::Open && cursor.hold == Hold::Keep;
            stream.cursors.iter().filter(waited_for).any(|cursor| cursor.account.place.low.offset < end)
        })
    }

    /// Removes the oldest segment. Whoever has not read it loses it, item by item. What was settled and lost is written
    /// down first, so that a crash in between forgets neither.
    fn remove(
        &mut self,
        step: &mut Step,
        oldest: &Segment,
        next: Option<&Segment>,
        cause: &Bucket,
    ) -> Result<(), AppendError> {
        self.lose(oldest, next, cause);
        match self.write_down(step) {
            // A disk without room for a few bytes: after a crash, what was delivered may be counted as dropped.
            Err(error) if !is_full(&error) => return Err(storage_error(&error)),
            Err(_) | Ok(()) => {}
        }
        self.backing.library.remove_oldest(oldest.id).map_err(|error| storage_error(&error))
    }

    /// Writes an image, unless nothing has changed since the last time.
    fn write_down(&mut self, step: &mut Step) -> std::io::Result<()> {
        if step.is_written && self.shared.state.lock().outbox.as_ref().is_none_or(Outbox::is_empty) {
            return Ok(());
        }
        let image = self.renew_image(step);
        let written = self.write_image(&image, step.now_unix_ns);
        step.is_written = written.is_ok();
        if written.is_err() {
            self.shared.state.lock().image_due();
        }
        written
    }

    fn write_image(&mut self, image: &Image, now_unix_ns: u64) -> std::io::Result<()> {
        let bytes = group_bytes(Some(image), &BTreeMap::new(), &[]);
        if self.writer.needs_segment(&[], bytes) {
            let size = self.writer.new_segment_bytes(&[], bytes);
            self.writer.begin_segment(image, size, now_unix_ns)?;
            self.watch_file();
        } else {
            let written = self.writer.write(&Group { image: Some(image), notes: &BTreeMap::new(), appends: &[] });
            self.was_written();
            written?;
        }
        Ok(())
    }

    /// Takes what a segment holds from whoever has not read it.
    fn lose(&self, oldest: &Segment, next: Option<&Segment>, cause: &Bucket) {
        let index = self.backing.library.index(oldest);
        let mut state = self.shared.state.lock();
        for at in 0..state.streams.len() {
            let stream = &mut state.streams[at];
            let first = next.map_or(stream.end(), |next| next.first(at));
            stream.first = stream.first.later(first);
            let id = StreamId(u32::try_from(at).unwrap_or(u32::MAX));
            for cursor in 0..state.streams[at].cursors.len() {
                let behind = &state.streams[at].cursors[cursor];
                if behind.counts() && behind.next.offset < first.offset {
                    let known = shares_between(index.stream(at), behind.next.offset, first.offset);
                    state.lose(id, cursor, first, cause.clone(), &known);
                }
            }
        }
    }

    /// Takes from a cursor what it lags too far.
    pub(crate) fn shorten(&self, stream: StreamId, index: usize, place: Target) {
        let library = &self.backing.library;
        let found = library.find(stream, |meta| place.is_reached(meta)).unwrap_or(place.end);
        let from = self.shared.state.lock().position(stream, index);
        let known = library.shares(stream, from, found.offset);
        self.shared.state.lock().lose(stream, index, found, Bucket::OVERWRITTEN, &known);
    }
}

/// The place that a cursor must reach so that it lags no further than it may.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    end: Mark,
    limit: LagLimit,
}

impl Target {
    fn is_reached(&self, meta: &Meta) -> bool {
        let left = self.end.since(meta.mark);
        match self.limit {
            LagLimit::Records(max) => left.records <= max,
            LagLimit::Items(max) => left.items <= max,
            LagLimit::Bytes(max) => left.bytes <= max,
        }
    }
}

pub(crate) fn too_far_behind(state: &State) -> Vec<(StreamId, usize, Target)> {
    if state.limits.when_full == WhenFull::Refuse {
        return Vec::new();
    }
    let mut behind = Vec::new();
    for (id, stream) in state.streams.iter().enumerate() {
        for (index, cursor) in stream.cursors.iter().enumerate() {
            let Some(limit) = cursor.lag_max.filter(|_| cursor.standing == Standing::Open) else { continue };
            if cursor.exceeds(cursor.unread(stream.end()), Lag::default()) {
                let id = StreamId(u32::try_from(id).unwrap_or(u32::MAX));
                behind.push((id, index, Target { end: stream.end(), limit }));
            }
        }
    }
    behind
}
