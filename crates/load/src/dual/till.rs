//! What happens in the shop, and when: the same for the same seed.

use std::time::Duration;

/// What becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Paid,
    Failed,
    Cancelled,
}

impl Outcome {
    pub(super) const fn state(self) -> OrderState {
        match self {
            Outcome::Paid => OrderState::Paid,
            Outcome::Failed => OrderState::Failed,
            Outcome::Cancelled => OrderState::Cancelled,
        }
    }
}

/// The states that orders are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderState {
    Placed,
    Paid,
    Failed,
    Cancelled,
}

impl OrderState {
    pub(super) const ALL: [OrderState; 4] =
        [OrderState::Placed, OrderState::Paid, OrderState::Failed, OrderState::Cancelled];

    pub(super) const fn name(self) -> &'static str {
        match self {
            OrderState::Placed => "placed",
            OrderState::Paid => "paid",
            OrderState::Failed => "failed",
            OrderState::Cancelled => "cancelled",
        }
    }
}

/// Why something is paid back.
pub(super) const REFUND_REASONS: [&str; 2] = ["damaged", "late"];

/// One order, from the cart to the payment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) outcome: Outcome,
    pub(super) checkout_ms: u32,
    /// None where it is cancelled before.
    pub(super) payment_ms: Option<u32>,
    /// Which of the reasons an earlier one is paid back for.
    pub(super) refund: Option<usize>,
    /// Decides whether a forgetful instrument counts it: even from 0 to 1.
    pub(super) chance: f64,
}

/// Orders at random moments, so many a second on average.
#[derive(Debug)]
pub(super) struct Till {
    rng: fastrand::Rng,
    orders_per_s: f64,
    /// When the next one comes, since the shop has opened.
    next_s: f64,
}

impl Till {
    const ORDERS_PER_S: std::ops::RangeInclusive<f64> = 1.0..=2000.0;

    pub(super) fn new(seed: u64, orders_per_s: f64) -> Till {
        let (least, most) = Self::ORDERS_PER_S.into_inner();
        // What is no number counts as too little.
        let orders_per_s = if orders_per_s >= least { orders_per_s.min(most) } else { least };
        let mut till = Till { rng: fastrand::Rng::with_seed(seed), orders_per_s, next_s: 0.0 };
        till.next_s = till.pause_s();
        till
    }

    fn pause_s(&mut self) -> f64 {
        -(1.0 - self.rng.f64()).ln() / self.orders_per_s
    }

    /// The next order that has come by this time.
    pub(super) fn next_before(&mut self, since_opening: Duration) -> Option<Order> {
        if self.next_s > since_opening.as_secs_f64() {
            return None;
        }
        self.next_s += self.pause_s();
        let outcome = match self.rng.u32(0..100) {
            0..80 => Outcome::Paid,
            80..94 => Outcome::Failed,
            _ => Outcome::Cancelled,
        };
        let checkout_ms = self.milliseconds(40.0);
        let payment_ms = (outcome != Outcome::Cancelled).then(|| self.milliseconds(120.0));
        let refund = (self.rng.u32(0..100) < 12).then(|| self.rng.usize(0..REFUND_REASONS.len()));
        Some(Order { outcome, checkout_ms, payment_ms, refund, chance: self.rng.f64() })
    }

    /// Long ones are rare, and none is longer than ten times the usual.
    fn milliseconds(&mut self, usual: f64) -> u32 {
        let long = -(1.0 - self.rng.f64()).ln();
        (usual * (0.2 + long).min(10.0)).round() as u32
    }
}

/// Carts that are open: a slow wave, since people come and go.
pub(super) fn carts(since_opening: Duration) -> f64 {
    (400.0 + 60.0 * (since_opening.as_secs_f64() / 11.0).sin()).round()
}

/// Payments that wait for their bank.
pub(super) fn waiting_payments(since_opening: Duration) -> f64 {
    (250.0 + 40.0 * (since_opening.as_secs_f64() / 17.0).cos()).round()
}
