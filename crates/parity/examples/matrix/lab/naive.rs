//! What a comparison of rates at the same moments, with a tolerance, says of the same data.

use super::BEGIN_S;

/// What queries would see of one side.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// Cumulative counts.
    Counts(Vec<(f64, f64)>),
    /// What was added since the sample before.
    Deltas(Vec<(f64, f64)>),
    /// Levels.
    Levels(Vec<(f64, f64)>),
}

const WINDOW_S: f64 = 300.0;

impl Shown {
    pub(crate) fn push(&mut self, at_s: f64, value: f64) {
        match self {
            Shown::Counts(samples) | Shown::Deltas(samples) | Shown::Levels(samples) => samples.push((at_s, value)),
        }
    }

    /// `rate(…[5m])`, or the last value where there is no rate.
    fn at(&self, at_s: f64) -> Option<f64> {
        let (Shown::Counts(samples) | Shown::Deltas(samples) | Shown::Levels(samples)) = self;
        let end = samples.partition_point(|sample| sample.0 <= at_s);
        let begin = samples.partition_point(|sample| sample.0 <= at_s - WINDOW_S);
        let window = &samples[begin..end];
        match self {
            Shown::Counts(_) => {
                let (first, last) = (window.first()?, window.last()?);
                let rise = |pair: &[(f64, f64)]| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 };
                let increase: f64 = window.windows(2).map(rise).sum();
                (last.0 > first.0).then(|| increase / (last.0 - first.0))
            }
            Shown::Deltas(_) => Some(window.iter().map(|sample| sample.1).sum::<f64>() / WINDOW_S),
            Shown::Levels(_) => window.last().map(|sample| sample.1),
        }
    }
}

/// How many of the points differ by more than 1 % and by more than 1e-6, and how many there are.
pub(crate) fn compare(sides: &[Shown; 2], end_s: f64) -> [(u64, u64); 2] {
    let mut counted = [(0, 0); 2];
    let mut at_s = BEGIN_S + 600.0;
    while at_s < end_s {
        if let (Some(legacy), Some(new)) = (sides[0].at(at_s), sides[1].at(at_s)) {
            for (counted, tolerance) in counted.iter_mut().zip([0.01, 1e-6]) {
                counted.0 += u64::from((legacy - new).abs() > tolerance * legacy.abs());
                counted.1 += 1;
            }
        }
        at_s += 60.0;
    }
    counted
}
