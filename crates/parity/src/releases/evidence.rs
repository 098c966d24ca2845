//! What windows say of one release and one metric.

use std::collections::VecDeque;

use crate::evidence::EValue;
use crate::stats::median;
use crate::verdict::Side;

/// So many windows are remembered to say how much it is.
const RECENT_MAX: usize = 32;
/// After so many windows without a deviation it is a new one.
const MISSES_MAX: u8 = 3;
/// Of less than so many windows nothing is said.
const WINDOWS_MIN: u32 = 6;

/// By how much one is higher than the other, between -2 and 2, so that twice and half are as far from the same.
pub(super) fn apart(one: f64, other: f64) -> Option<f64> {
    let size = (one.abs() + other.abs()) / 2.0;
    (size > 0.0 && size.is_finite()).then(|| ((one - other) / size).clamp(-2.0, 2.0))
}

/// The same as a ratio less one.
pub(super) fn ratio(apart: f64) -> f64 {
    let apart = apart.clamp(-1.99, 1.99);
    (2.0 + apart) / (2.0 - apart) - 1.0
}

/// A release beside those before it, in one window of one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Deviation {
    /// [`apart`].
    pub(super) apart: f64,
    /// One standard deviation.
    pub(super) spread: f64,
    /// Whether traffic is the same, since it is of the same window or hour. What is not is only held against the other side.
    pub(super) is_alike: bool,
}

/// In how many windows it was beyond one standard deviation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    windows: u32,
    up: u32,
    down: u32,
    since_unix_ns: Option<u64>,
    misses: u8,
}

impl Signs {
    fn add(&mut self, apart: f64, spread: f64, window_unix_ns: u64) {
        self.windows += 1;
        self.up += u32::from(apart > spread);
        self.down += u32::from(apart < -spread);
        if apart.abs() > spread {
            self.misses = 0;
            self.since_unix_ns.get_or_insert(window_unix_ns);
        } else {
            self.misses = self.misses.saturating_add(1);
            if self.misses >= MISSES_MAX {
                self.since_unix_ns = None;
            }
        }
    }

    /// That it is beyond one standard deviation in more than half of the windows, on one of two sides.
    fn strength(&self) -> EValue {
        if self.windows < WINDOWS_MIN {
            return EValue::NOTHING;
        }
        EValue::of_loss(self.windows.into(), self.up.max(self.down).into(), 0.5).shared_by(2)
    }
}

/// All that is known of one release and one metric.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    sides: [Signs; 2],
    /// The new side against the legacy one.
    paired: Signs,
    recent: VecDeque<[Option<(f32, f32)>; 2]>,
}

/// What is claimed of it, if it survives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Suspicion {
    /// Where it deviates; none where on both sides.
    pub(super) side: Option<Side>,
    /// Whether the other side knows the release and does not deviate.
    pub(super) is_of_one_side: bool,
    pub(super) ratio: f64,
    pub(super) other_ratio: Option<f64>,
    pub(super) since_unix_ns: Option<u64>,
    pub(super) windows: u32,
    pub(super) beyond: u32,
    pub(super) strength: EValue,
}

impl Evidence {
    pub(super) fn add(&mut self, window_unix_ns: u64, sides: [Option<Deviation>; 2], margin: f64) {
        let spread = |deviation: Deviation| deviation.spread.max(margin);
        for (signs, deviation) in self.sides.iter_mut().zip(sides) {
            if let Some(deviation) = deviation.filter(|deviation| deviation.is_alike) {
                signs.add(deviation.apart, spread(deviation), window_unix_ns);
            }
        }
        if let [Some(legacy), Some(new)] = sides {
            self.paired.add(new.apart - legacy.apart, spread(legacy).max(spread(new)), window_unix_ns);
        }
        let kept = |deviation: Deviation| (deviation.apart as f32, spread(deviation) as f32);
        self.recent.push_back(sides.map(|side| side.map(kept)));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }

    /// The usual deviation of a side, and the usual standard deviation.
    fn usual(&self, side: Side) -> Option<(f64, f64)> {
        let of: Vec<(f32, f32)> = self.recent.iter().filter_map(|window| window[side as usize]).collect();
        let mut aparts: Vec<f64> = of.iter().map(|(apart, _)| f64::from(*apart)).collect();
        let mut spreads: Vec<f64> = of.iter().map(|(_, spread)| f64::from(*spread)).collect();
        (!of.is_empty()).then(|| (median(&mut aparts), median(&mut spreads)))
    }

    /// What is suspected of it.
    pub(super) fn suspicion(&self) -> Option<Suspicion> {
        let usual = [Side::Legacy, Side::New].map(|side| self.usual(side));
        if let [Some((legacy, of_legacy)), Some((new, of_new))] = usual
            && (new - legacy).abs() > of_legacy.max(of_new)
            && self.paired.windows >= WINDOWS_MIN
        {
            let is_new = new.abs() >= legacy.abs();
            let (own, other) = if is_new { (new, legacy) } else { (legacy, new) };
            return Some(Suspicion {
                side: Some(if is_new { Side::New } else { Side::Legacy }),
                is_of_one_side: true,
                ratio: ratio(own),
                other_ratio: Some(ratio(other)),
                ..suspected(&self.paired)
            });
        }
        let deviating = [Side::Legacy, Side::New].into_iter().filter_map(|side| {
            let (apart, spread) = usual[side as usize]?;
            let signs = &self.sides[side as usize];
            (apart.abs() > spread && signs.windows >= WINDOWS_MIN).then_some((side, apart, signs))
        });
        let deviating: Vec<(Side, f64, &Signs)> = deviating.collect();
        let (side, apart, signs) = *deviating.last()?;
        let other_ratio = usual[side.other() as usize].map(|(apart, _)| ratio(apart));
        let side = (deviating.len() == 1 && other_ratio.is_none()).then_some(side);
        Some(Suspicion { side, is_of_one_side: false, ratio: ratio(apart), other_ratio, ..suspected(signs) })
    }
}

fn suspected(signs: &Signs) -> Suspicion {
    Suspicion {
        side: None,
        is_of_one_side: false,
        ratio: 0.0,
        other_ratio: None,
        since_unix_ns: signs.since_unix_ns,
        windows: signs.windows,
        beyond: signs.up.max(signs.down),
        strength: signs.strength(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_and_half_are_as_far_from_the_same() {
        assert_eq!(apart(2.0, 1.0).unwrap(), -apart(1.0, 2.0).unwrap());
        assert!((ratio(apart(1.4, 1.0).unwrap()) - 0.4).abs() < 1e-12);
        assert!((ratio(apart(0.5, 1.0).unwrap()) + 0.5).abs() < 1e-12);
        assert_eq!(apart(0.0, 0.0), None);
        assert_eq!(apart(1.0, -1.0), Some(2.0));
    }

    #[test]
    fn a_deviation_begins_anew_after_a_while_without_one() {
        let mut signs = Signs::default();
        for window in 0..10 {
            signs.add(if window < 3 { 0.5 } else { 0.0 }, 0.1, window);
        }
        assert_eq!(signs.since_unix_ns, None);
        signs.add(0.5, 0.1, 11);
        signs.add(0.0, 0.1, 12);
        assert_eq!((signs.since_unix_ns, signs.up, signs.windows), (Some(11), 4, 12));
    }
}
