//! The shape that the requests of all signals share: resource blocks, scopes, and records or metrics with their data
//! points. Splitting and splicing go down it without knowing what else messages hold.

use crate::Signal;
use crate::wire::{FieldValue, Fields};

/// A level of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The export request.
    Request,
    /// `ResourceSpans`, `ResourceMetrics`, `ResourceLogs`.
    Block,
    /// `ScopeSpans`, `ScopeMetrics`, `ScopeLogs`.
    Scope,
    /// A metric, without its data points.
    Metric,
    /// `Gauge`, `Sum` and so on: what holds the data points of one metric.
    Data,
    /// A span, a log record or a data point.
    Item,
}

impl Level {
    /// The level of the messages in this field, if they are part of the tree.
    #[inline]
    pub(crate) fn child(self, signal: Signal, number: u32) -> Option<Level> {
        match (self, number) {
            (Level::Request, 1) => Some(Level::Block),
            (Level::Block, 2) => Some(Level::Scope),
            (Level::Scope, 2) if signal == Signal::Metrics => Some(Level::Metric),
            (Level::Scope, 2) => Some(Level::Item),
            (Level::Metric, 5 | 7 | 9 | 10 | 11) => Some(Level::Data),
            (Level::Data, 1) => Some(Level::Item),
            _ => None,
        }
    }

    /// The number of items in a message of this level.
    pub(crate) fn items(self, signal: Signal, message: &[u8]) -> u32 {
        if self == Level::Item {
            return 1;
        }
        let mut items = 0;
        for field in Fields::new(message) {
            if let (Some(level), FieldValue::Length(child)) = (self.child(signal, field.number), field.value) {
                items += level.items(signal, child);
            }
        }
        items
    }
}
