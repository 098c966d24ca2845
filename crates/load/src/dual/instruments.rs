//! What an instrumentation remembers of the orders: once for each way of emitting it.

use super::DualFault;
use super::till::{Order, OrderState, Outcome, REFUND_REASONS};

/// Upper bounds of the buckets, in milliseconds.
pub(super) const BOUNDS_MS: [u32; 8] = [5, 10, 25, 50, 100, 250, 500, 1000];

/// How long something took, as often as it happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Durations {
    /// The last bucket has no bound.
    pub(super) buckets: [u64; BOUNDS_MS.len() + 1],
    pub(super) count: u64,
    pub(super) sum_ms: u64,
}

impl Durations {
    fn record(&mut self, ms: u32) {
        self.buckets[BOUNDS_MS.partition_point(|bound| *bound < ms)] += 1;
        self.count += 1;
        self.sum_ms += u64::from(ms);
    }

    pub(super) fn sum_s(&self) -> f64 {
        self.sum_ms as f64 / 1000.0
    }
}

/// The instruments of both services.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Instruments {
    /// In the order of [`OrderState::ALL`].
    pub(super) orders: [u64; OrderState::ALL.len()],
    pub(super) checkout: Durations,
    pub(super) carts: f64,
    /// Accepted, declined.
    pub(super) payments: [u64; 2],
    pub(super) payment: Durations,
    pub(super) waiting_payments: f64,
    /// By reason; nothing before the release that counts them.
    pub(super) refunds: Option<[u64; REFUND_REASONS.len()]>,
}

/// The states of payments.
pub(super) const PAYMENT_STATES: [&str; 2] = ["accepted", "declined"];

impl Instruments {
    /// Counts an order as the services' code does.
    pub(super) fn record(&mut self, order: &Order) {
        self.orders[OrderState::Placed as usize] += 1;
        self.orders[order.outcome.state() as usize] += 1;
        self.checkout.record(order.checkout_ms);
        if let Some(ms) = order.payment_ms {
            self.payments[usize::from(order.outcome == Outcome::Failed)] += 1;
            self.payment.record(ms);
        }
        if let (Some(refunds), Some(reason)) = (&mut self.refunds, order.refund) {
            refunds[reason] += 1;
        }
    }

    /// The same with what is wrong with the new instrumentation.
    pub(super) fn record_with(&mut self, order: &Order, fault: DualFault) {
        self.record(order);
        if let DualFault::LoseNewShare(share) = fault
            && order.outcome == Outcome::Paid
            && order.chance < share
        {
            self.orders[OrderState::Paid as usize] -= 1;
        }
    }
}
