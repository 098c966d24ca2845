//! Quantiles of latencies, in constant memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Sub-buckets of each power of two: a quantile is wrong by at most one part in 64.
const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
/// Latencies in microseconds, up to some 19 hours; longer ones count as that.
const BUCKETS: usize = ((36 - SUB_BITS as usize) + 1) * SUB as usize;

/// A histogram of latencies.
#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: Box<[u64]>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

/// Quantiles of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuantiles {
    /// The arithmetic mean.
    pub mean_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// Nine of ten are as fast.
    pub p90_ms: f64,
    /// 99 of 100 are as fast.
    pub p99_ms: f64,
    /// 999 of 1000 are as fast.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { buckets: vec![0; BUCKETS].into(), count: 0, sum_us: 0, max_us: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds all of another histogram.
    pub fn merge(&mut self, other: &Latencies) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The quantiles; zeros, if nothing was counted.
    pub fn quantiles(&self) -> LatencyQuantiles {
        let mean_ms = if self.count == 0 { 0.0 } else { self.sum_us as f64 / self.count as f64 / 1000.0 };
        LatencyQuantiles {
            mean_ms,
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: self.max_us as f64 / 1000.0,
        }
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        let rank = (self.count as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper_us(index).min(self.max_us) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(us: u64) -> usize {
    if us < SUB {
        return us as usize;
    }
    let power = us.ilog2() - SUB_BITS;
    let index = (u64::from(power) + 1) * SUB + ((us >> power) - SUB);
    (index as usize).min(BUCKETS - 1)
}

/// The greatest latency of a bucket.
fn upper_us(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB {
        return index;
    }
    let power = index / SUB - 1;
    ((SUB + index % SUB + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_two_percent() {
        let mut latencies = Latencies::default();
        for us in 1..=100_000u64 {
            latencies.record(Duration::from_micros(us));
        }
        let quantiles = latencies.quantiles();
        for (found, expected) in [
            (quantiles.mean_ms, 50.0),
            (quantiles.p50_ms, 50.0),
            (quantiles.p90_ms, 90.0),
            (quantiles.p99_ms, 99.0),
            (quantiles.p999_ms, 99.9),
            (quantiles.max_ms, 100.0),
        ] {
            assert!((found / expected - 1.0).abs() < 0.02, "{found} instead of {expected}");
        }
    }

    #[test]
    fn every_latency_lies_in_its_bucket() {
        for us in (0..2000).chain([65_535, 65_536, 1 << 30, u64::MAX >> 28]) {
            let index = bucket(us);
            assert!(upper_us(index) >= us, "{us}");
            assert!(index == 0 || upper_us(index - 1) < us, "{us}");
        }
    }

    #[test]
    fn extremes_and_nothing_at_all_are_no_trouble() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantiles(), LatencyQuantiles::default());
        latencies.record(Duration::MAX);
        latencies.merge(&latencies.clone());
        assert!(latencies.quantiles().p50_ms > 0.0);
    }
}
