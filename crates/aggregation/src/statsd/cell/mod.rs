//! What one series adds up to between two flushes.

mod counter;
mod exponential;
mod gauge;
mod members;
mod timers;

pub(super) use counter::Counter;
pub(super) use gauge::Gauge;
pub(super) use members::{Member, Members};
pub(super) use timers::{Body, Rounding, Timers};

use super::series::Shape;

/// The state of one series, of any shape.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Counter(Counter),
    Gauge(Box<Gauge>),
    Set(Box<Members>),
    Timers(Box<Timers>),
}

impl Cell {
    pub(super) fn new(shape: &Shape) -> Cell {
        match shape {
            Shape::Counter => Cell::Counter(Counter::default()),
            Shape::Gauge => Cell::Gauge(Box::default()),
            Shape::Set => Cell::Set(Box::default()),
            Shape::Points | Shape::Summary { .. } | Shape::Explicit { .. } | Shape::Exponential { .. } => {
                Cell::Timers(Box::new(Timers::new(shape)))
            }
        }
    }

    /// How many values it holds one by one.
    pub(super) fn values_held(&self) -> usize {
        match self {
            Cell::Counter(_) | Cell::Gauge(_) => 0,
            Cell::Set(members) => members.len(),
            Cell::Timers(timers) => timers.values_held(),
        }
    }

    /// Adds what another shard, or a later interval, has of the same series.
    pub(super) fn merge(&mut self, other: Cell) {
        match (self, other) {
            (Cell::Counter(own), Cell::Counter(other)) => own.merge(other),
            (Cell::Gauge(own), Cell::Gauge(other)) => own.merge(*other),
            (Cell::Set(own), Cell::Set(other)) => own.merge(*other),
            (Cell::Timers(own), Cell::Timers(other)) => own.merge(*other),
            // The shape is part of the identity, so that cells of one series are of one kind.
            _ => debug_assert!(false, "cells of one series are of one kind"),
        }
    }
}
