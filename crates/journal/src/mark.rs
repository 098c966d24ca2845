//! Places in a stream, and which parts of it a cursor has settled.

use std::collections::BTreeMap;

use crate::cursor::Lag;
use crate::record::Offset;

/// A place in a stream, with what lies before it since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub offset: Offset,
    /// Items before it.
    pub items: u64,
    /// Payload bytes before it.
    pub bytes: u64,
}

/// A run of records: from the first one to the place after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Mark,
    pub(crate) end: Mark,
}

/// Runs that do not touch each other, by their first place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<Offset, Span>);

/// Which records of a stream a cursor has settled: all before `low`, and some runs beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) low: Mark,
    /// Runs that were settled before those in front of them.
    pub(crate) ahead: Spans,
}

// === impl Mark ===

impl Mark {
    /// The place after a record that starts here.
    pub(crate) fn after(self, items: u64, bytes: u64) -> Mark {
        Mark {
            offset: self.offset.next(),
            items: self.items.saturating_add(items),
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    pub(crate) fn later(self, other: Mark) -> Mark {
        if other.offset > self.offset { other } else { self }
    }

    /// What lies between an earlier place and this one.
    pub(crate) fn since(self, earlier: Mark) -> Lag {
        Lag {
            records: self.offset.0.saturating_sub(earlier.offset.0),
            items: self.items.saturating_sub(earlier.items),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            oldest_unix_ns: None,
        }
    }
}

// === impl Span ===

impl Span {
    pub(crate) fn lag(&self) -> Lag {
        self.end.since(self.start)
    }
}

// === impl Spans ===

impl Spans {
    /// Adds a run that covers no other; it becomes one with its neighbours.
    pub(crate) fn add(&mut self, mut span: Span) {
        if let Some(next) = self.0.remove(&span.end.offset) {
            span.end = next.end;
        }
        if let Some((_, previous)) = self.0.range_mut(..span.start.offset).next_back()
            && previous.end.offset == span.start.offset
        {
            previous.end = span.end;
            return;
        }
        self.0.insert(span.start.offset, span);
    }

    pub(crate) fn remove(&mut self, start: Offset) -> Option<Span> {
        self.0.remove(&start)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Span> {
        self.0.values()
    }

    /// All of them together.
    pub(crate) fn lag(&self) -> Lag {
        self.0.values().fold(Lag::default(), |sum, span| sum.plus(span.lag()))
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn at(low: Mark) -> Place {
        Place { low, ahead: Spans::default() }
    }

    /// Settles a run of which nothing was settled before.
    pub(crate) fn settle(&mut self, span: Span) {
        if span.start.offset != self.low.offset {
            self.ahead.add(span);
            return;
        }
        self.low = span.end;
        while let Some(next) = self.ahead.remove(self.low.offset) {
            self.low = next.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(offset: u64) -> Mark {
        Mark { offset: Offset(offset), items: offset * 2, bytes: offset * 10 }
    }

    /// Settles runs, and shows what is settled.
    fn check(runs: &[(u64, u64)], expected: &str) {
        let mut place = Place::default();
        for (start, end) in runs {
            place.settle(Span { start: mark(*start), end: mark(*end) });
        }
        let ahead: Vec<String> =
            place.ahead.iter().map(|span| format!("{}..{}", span.start.offset, span.end.offset)).collect();
        assert_eq!(format!("low {} ahead {}", place.low.offset, ahead.join(" ")), expected);
        assert_eq!(place.low, mark(place.low.offset.0));
    }

    #[test]
    fn what_is_settled_in_order_moves_the_low_mark() {
        check(&[(0, 2), (2, 3)], "low 3 ahead ");
    }

    #[test]
    fn what_is_settled_early_waits_for_those_in_front() {
        check(&[(2, 3), (5, 6)], "low 0 ahead 2..3 5..6");
        check(&[(2, 3), (5, 6), (0, 2)], "low 3 ahead 5..6");
    }

    #[test]
    fn neighbours_become_one_run() {
        check(&[(2, 3), (4, 5), (3, 4)], "low 0 ahead 2..5");
        check(&[(1, 2), (2, 3), (0, 1)], "low 3 ahead ");
    }
}
