//! Loss as thinning: of `n` events, each was lost with the same unknown chance.
//!
//! A confidence sequence holds at every moment at once, so it may be looked at as often as one likes and a verdict may be
//! taken at the first look that shows it; an ordinary interval at 95 % would be wrong far more often than one time in
//! twenty. This is the mixture of Robbins: the likelihood of what was seen, averaged over all chances by Beta(1/2, 1/2),
//! against that of one chance is a martingale where that chance is the true one, and by Ville's inequality it rarely
//! grows beyond 1 / (1 - confidence).

use crate::band::Interval;
use crate::stats::ln_beta;

/// The chances of loss that remain possible after `lost` of `events` were lost.
///
/// `slack` is by how much the count of the lost may be wrong, as where two samplers do not see the same moment.
pub fn loss_interval(events: f64, lost: f64, slack: f64, confidence: f64) -> Interval {
    let events = events.max(0.0);
    if events <= 0.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let least = (lost - slack).clamp(0.0, events);
    let most = (lost + slack).clamp(0.0, events);
    let bound = -(1.0 - confidence).max(f64::MIN_POSITIVE).ln();
    Interval { low: edge(events, least, bound, Edge::Low), high: edge(events, most, bound, Edge::High) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Low,
    High,
}

/// The logarithm of the martingale of a chance: what a bet against it has become. It holds as well where each event is
/// lost in part, since the likelihoods are convex in that part.
pub(crate) fn ln_wealth(events: f64, lost: f64) -> impl Fn(f64) -> f64 {
    let kept = events - lost;
    let mixture = ln_beta(lost + 0.5, kept + 0.5) - ln_beta(0.5, 0.5);
    move |chance: f64| {
        let of = |count: f64, chance: f64| if count == 0.0 { 0.0 } else { count * chance.ln() };
        mixture - of(lost, chance) - of(kept, 1.0 - chance)
    }
}

/// Where the martingale of a chance reaches the bound.
fn edge(events: f64, lost: f64, bound: f64, edge: Edge) -> f64 {
    let kept = events - lost;
    let wealth = ln_wealth(events, lost);
    let likeliest = lost / events;
    // Between the likeliest chance, where the wealth is least, and the end of the scale it rises.
    let (mut inside, mut outside) = match edge {
        Edge::Low => (likeliest, 0.0),
        Edge::High => (likeliest, 1.0),
    };
    if (edge == Edge::Low && lost == 0.0) || (edge == Edge::High && kept == 0.0) {
        return outside;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(inside, outside);
        if wealth(middle) < bound { inside = middle } else { outside = middle }
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lost_of_many_leaves_only_small_chances() {
        let interval = loss_interval(1000.0, 0.0, 0.0, 0.95);
        assert_eq!(interval.low, 0.0);
        assert!((0.003..0.008).contains(&interval.high), "{interval:?}");
    }

    #[test]
    fn what_was_seen_lies_inside_and_more_events_tell_more() {
        let few = loss_interval(1_000.0, 10.0, 0.0, 0.95);
        let many = loss_interval(100_000.0, 1000.0, 0.0, 0.95);
        assert!(few.contains(0.01) && many.contains(0.01));
        assert!(many.high - many.low < 0.3 * (few.high - few.low), "{few:?} {many:?}");
        let slack = loss_interval(100_000.0, 1000.0, 200.0, 0.95);
        assert!(slack.low < many.low && slack.high > many.high);
    }

    #[test]
    fn the_truth_stays_inside_at_every_look_of_most_runs() {
        let mut random = fastrand::Rng::with_seed(11);
        let runs = 400;
        let mut left = 0;
        for run in 0..runs {
            let chance = [0.0005, 0.01, 0.2][run % 3];
            let (mut events, mut lost) = (0.0, 0.0);
            let is_left = (0..3000).any(|_| {
                events += 1.0;
                lost += f64::from(u8::from(random.f64() < chance));
                !loss_interval(events, lost, 0.0, 0.95).contains(chance)
            });
            left += i32::from(is_left);
        }
        assert!(f64::from(left) / runs as f64 <= 0.05, "{left} of {runs}");
    }

    #[test]
    fn everything_or_nothing_is_answered() {
        assert_eq!(loss_interval(0.0, 0.0, 0.0, 0.95), Interval { low: 0.0, high: 1.0 });
        assert_eq!(loss_interval(50.0, 50.0, 0.0, 0.95).high, 1.0);
        assert!(loss_interval(50.0, 90.0, 3.0, 0.95).low > 0.8);
    }
}
