//! Back-off between attempts, as a pure function of the attempt and a random number.

use std::time::Duration;

/// Exponential back-off with jitter.
///
/// ```
/// use std::time::Duration;
/// use transport::retry::Backoff;
/// let backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(30), multiplier: 1.5, jitter: 0.0 };
/// let mut rng = fastrand::Rng::with_seed(1);
/// assert_eq!(backoff.delay(0, &mut rng), Duration::from_secs(5));
/// assert_eq!(backoff.delay(9, &mut rng), Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub initial: Duration,
    /// The longest delay before jitter.
    pub max: Duration,
    /// The factor from one delay to the next; below 1 counts as 1.
    pub multiplier: f64,
    /// The share of the delay by which it varies either way, from 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    /// The defaults of the Collector's `retry_on_failure`: 5 s to 30 s, factor 1.5, jitter 0.5.
    fn default() -> Self {
        Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(30), multiplier: 1.5, jitter: 0.5 }
    }
}

impl Backoff {
    /// The delay before the next attempt, after `failures` earlier delays.
    #[must_use]
    pub fn delay(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let factor = self.multiplier.max(1.0).powi(i32::try_from(failures).unwrap_or(i32::MAX).min(1000));
        let plain = (self.initial.as_secs_f64() * factor).min(self.max.as_secs_f64());
        let jitter = self.jitter.clamp(0.0, 1.0);
        let spread = 1.0 + jitter * (2.0 * rng.f64() - 1.0);
        Duration::try_from_secs_f64(plain * spread).unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_its_maximum_and_varies_by_the_jitter() {
        let backoff = Backoff::default();
        let mut rng = fastrand::Rng::with_seed(7);
        for failures in [0, 1, 5, 50, u32::MAX] {
            let plain = (5.0 * 1.5_f64.powi(failures.min(100) as i32)).min(30.0);
            for _ in 0..100 {
                let delay = backoff.delay(failures, &mut rng).as_secs_f64();
                assert!((plain * 0.5..=plain * 1.5).contains(&delay), "{failures}: {delay}");
            }
        }
    }

    #[test]
    fn a_multiplier_that_is_no_number_still_gives_a_delay() {
        let backoff = Backoff { multiplier: f64::NAN, ..Backoff::default() };
        assert!(backoff.delay(3, &mut fastrand::Rng::with_seed(1)) <= Duration::from_secs(45));
    }
}
