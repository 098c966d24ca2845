//! Ratios that name their cause.

use crate::verdict::{Cause, Side};

/// The cause of a ratio new / legacy that is a whole multiple or that of two units, as closely as it is known.
pub(crate) fn exact_factor(ratio: f64, tolerance: f64) -> Option<Cause> {
    // A loss of a percent must not hide a factor, and a factor must not hide behind a vague ratio.
    let near = |factor: f64| tolerance < 0.1 && (ratio / factor - 1.0).abs() <= tolerance + 0.02;
    const UNITS: [f64; 9] = [1e-9, 1e-6, 1e-3, 1.0 / 1024.0, 1.0 / 60.0, 60.0, 1024.0, 1e3, 1e6];
    let times = [2.0, 3.0, 4.0, 5.0];
    let twice = times.into_iter().find(|times| near(*times)).map(|times| (Side::New, times));
    let twice = twice.or_else(|| times.into_iter().find(|times| near(1.0 / times)).map(|times| (Side::Legacy, times)));
    if let Some((side, times)) = twice {
        return Some(Cause::Duplicated { side, times });
    }
    // 1000 and 1024 are closer to each other than a loss may be large: the closest one is meant.
    let off = |factor: &f64| (ratio / factor - 1.0).abs();
    let unit = UNITS.into_iter().min_by(|left, right| off(left).total_cmp(&off(right)));
    unit.filter(|factor| near(*factor)).map(|factor| Cause::UnitChanged { factor })
}
