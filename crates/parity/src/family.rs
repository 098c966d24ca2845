//! Many series at once: how many of the differences that are claimed are none.
//!
//! One test in twenty that errs makes thousands of errors among a hundred thousand series. What is held down instead is
//! the share of errors among what is claimed: the e-BH procedure (Wang and Ramdas, 2022) claims the k strongest where each
//! of them is at least `series / (level * k)`, with the greatest such k. It needs nothing of how series depend on each
//! other, and may be applied at every look. What rests on no chance is claimed as it is and makes no room for others.

use crate::evidence::EValue;
use crate::verdict::{Finding, Needs, Verdict};

/// What is judged together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    series: u64,
    /// The logarithm of the least that is claimed.
    ln_wanted: f64,
}

/// What one of them says by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Claim {
    /// A difference, and how strong it is.
    Different(EValue),
    /// Anything else.
    Other,
}

impl Claim {
    /// Of a verdict; none of what was not tested.
    pub(crate) const fn of(verdict: &Verdict, strength: EValue) -> Option<Claim> {
        match verdict {
            Verdict::NotComparable { .. } | Verdict::Inconclusive { needs: Needs::Data { .. } } => None,
            Verdict::Different(_) => Some(Claim::Different(strength)),
            Verdict::Inconclusive { .. } | Verdict::Equivalent { .. } => Some(Claim::Other),
        }
    }
}

impl Family {
    /// Judges claims together, so that the share of errors among the differences that rest on chance is at most `level`.
    pub(crate) fn of(claims: impl Iterator<Item = Claim>, level: f64) -> Family {
        let mut series = 0u64;
        let mut strengths = Vec::new();
        for claim in claims {
            series += 1;
            if let Claim::Different(strength) = claim
                && !strength.is_certain()
            {
                strengths.push(strength.ln());
            }
        }
        strengths.sort_by(|left, right| right.total_cmp(left));
        // The least that the k strongest must have falls with k, and so does the k-th strongest.
        let wanted = |claimed: usize| (series as f64).ln() - level.max(f64::MIN_POSITIVE).ln() - (claimed as f64).ln();
        let claimed = (1..=strengths.len()).rev().find(|claimed| strengths[claimed - 1] >= wanted(*claimed));
        Family { series, ln_wanted: wanted(claimed.unwrap_or(1)) }
    }

    /// How many are judged together.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// Whether a difference of this strength is claimed.
    pub(crate) fn claims(&self, strength: EValue) -> bool {
        strength.ln() >= self.ln_wanted
    }

    /// What of a verdict remains among the others.
    pub(crate) fn judge(&self, verdict: Verdict, strength: EValue) -> Verdict {
        match verdict {
            Verdict::Different(suspected) if !self.claims(strength) => self.open(suspected, strength),
            verdict => verdict,
        }
    }

    fn open(&self, suspected: Finding, strength: EValue) -> Verdict {
        let (e_value, e_value_wanted) = (strength.value(), EValue::from_ln(self.ln_wanted).value());
        let needs = Needs::Certainty { suspected: Box::new(suspected), series: self.series, e_value, e_value_wanted };
        Verdict::Inconclusive { needs }
    }
}

#[cfg(test)]
mod tests;
