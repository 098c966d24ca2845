//! The few functions of statistics that the comparators need, with their sources.

/// The natural logarithm of the gamma function for `x > 0`: Lanczos' approximation with g = 7 and nine terms, good to
/// some 15 digits.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // The reflection formula.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let series =
        TERMS.iter().zip(1u8..).fold(0.999_999_999_999_809_9, |sum, (term, at)| sum + term / (x + f64::from(at)));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + series.ln()
}

/// The natural logarithm of the beta function.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The quantile of the standard normal distribution: Acklam's rational approximation, relative error below 1.2e-9.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_24,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let polynomial = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    let p = p.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
    if p < 0.024_25 {
        tail(p)
    } else if p > 1.0 - 0.024_25 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

/// The quantile of Student's distribution: the expansion of Cornish and Fisher around the normal one to the fourth
/// order, good to a few thousandths from five degrees of freedom on, where the comparators begin to use it.
pub(crate) fn student_quantile(p: f64, degrees_of_freedom: f64) -> f64 {
    let z = normal_quantile(p);
    let n = degrees_of_freedom.max(1.0);
    let (z3, z5, z7, z9) = (z.powi(3), z.powi(5), z.powi(7), z.powi(9));
    z + (z3 + z) / (4.0 * n)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * n.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * n.powi(3))
        + (79.0 * z9 + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * z) / (92_160.0 * n.powi(4))
}

/// Mean and variance of the mean of a series whose neighbours may be correlated: the estimator of Newey and West (1987)
/// with Bartlett weights and the bandwidth 4 (n/100)^(2/9). `None` for fewer than two values.
pub(crate) fn mean_and_variance(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len();
    if count < 2 {
        return None;
    }
    let n = count as f64;
    let mean = values.iter().sum::<f64>() / n;
    let autocovariance = |lag: usize| -> f64 {
        let pairs = values[lag..].iter().zip(values);
        pairs.map(|(later, earlier)| (later - mean) * (earlier - mean)).sum::<f64>() / n
    };
    let bandwidth = (4.0 * (n / 100.0).powf(2.0 / 9.0)).floor().min(n - 1.0) as usize;
    let mut variance = autocovariance(0);
    for lag in 1..=bandwidth {
        let weight = 1.0 - lag as f64 / (bandwidth as f64 + 1.0);
        variance += 2.0 * weight * autocovariance(lag);
    }
    // Few values give too small an estimate; n - 1 degrees of freedom make up for that.
    Some((mean, variance.max(0.0) / (n - 1.0)))
}

/// The natural logarithm of the regularised incomplete beta function: the continued fraction of Lentz, on the side of it
/// that converges.
pub(crate) fn ln_incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if x >= 1.0 {
        return 0.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        // The rest, which is small here.
        return (-ln_incomplete_beta(b, a, 1.0 - x).exp()).ln_1p();
    }
    let front = a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b) - a.ln();
    let not_zero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for step in 1..400u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / not_zero(1.0 + term * d);
            c = not_zero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front + fraction.ln()
}

/// The natural logarithm of the chance that Student's distribution exceeds `t`; that of a half where `t` is negative.
pub(crate) fn ln_student_tail(t: f64, degrees_of_freedom: f64) -> f64 {
    let half = 0.5f64.ln();
    if t <= 0.0 || t.is_nan() {
        return half;
    }
    half + ln_incomplete_beta(degrees_of_freedom / 2.0, 0.5, degrees_of_freedom / (degrees_of_freedom + t * t))
}

/// The natural logarithm of the chance that a standard normal variable exceeds `z`; that of a half below 1, which is
/// more than the truth: the continued fraction of Laplace.
pub(crate) fn ln_normal_tail(z: f64) -> f64 {
    if z < 1.0 || z.is_nan() {
        return 0.5f64.ln();
    }
    let fraction = (1..=80u32).rev().fold(z, |below, step| z + f64::from(step) / below);
    -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln() - fraction.ln()
}

/// The median; 0 of nothing. Sorts in place.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }

    #[test]
    fn the_gamma_function_is_that_of_the_tables() {
        close(ln_gamma(1.0), 0.0, 1e-12);
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-12);
        close(ln_gamma(10.0), 362_880f64.ln(), 1e-11);
        close(ln_gamma(1e6), 12_815_504.569_147_77, 1e-5);
        close(ln_beta(2.0, 3.0), (1.0f64 / 12.0).ln(), 1e-12);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        close(normal_quantile(0.975), 1.959_963_985, 1e-7);
        close(normal_quantile(0.5), 0.0, 1e-9);
        close(normal_quantile(0.001), -3.090_232_306, 1e-7);
        close(student_quantile(0.95, 5.0), 2.015_05, 2e-3);
        close(student_quantile(0.975, 10.0), 2.228_14, 1e-3);
        close(student_quantile(0.95, 1e9), normal_quantile(0.95), 1e-6);
    }

    #[test]
    fn tails_are_those_of_the_tables_far_out_too() {
        // Known values: of Student's distribution with 5 and 10 degrees of freedom, and of the normal one.
        close(ln_student_tail(2.015_048, 5.0), 0.05f64.ln(), 1e-5);
        close(ln_student_tail(2.228_139, 10.0), 0.025f64.ln(), 1e-5);
        close(ln_student_tail(1.0, 1.0), 0.25f64.ln(), 1e-9);
        close(ln_student_tail(1.959_964, 1e6), 0.025f64.ln(), 1e-3);
        close(ln_normal_tail(1.959_964), 0.025f64.ln(), 1e-6);
        close(ln_normal_tail(6.0), 9.865_876e-10f64.ln(), 1e-6);
        close(ln_incomplete_beta(2.0, 3.0, 0.4), 0.5248f64.ln(), 1e-9);
        close(ln_incomplete_beta(2.0, 3.0, 0.9), 0.9963f64.ln(), 1e-9);
        assert!(ln_student_tail(1e9, 3.0).is_finite() && ln_student_tail(-1.0, 3.0) < 0.0);
    }

    #[test]
    fn correlated_values_are_known_less_well_than_independent_ones() {
        let independent: Vec<f64> = (0..200).map(|at| f64::from(at * 7919 % 199)).collect();
        let mut correlated = independent.clone();
        correlated.sort_by(f64::total_cmp);
        let (mean, variance) = mean_and_variance(&independent).unwrap();
        let (same_mean, larger) = mean_and_variance(&correlated).unwrap();
        close(mean, same_mean, 1e-9);
        assert!(larger > 3.0 * variance, "{larger} {variance}");
        assert_eq!(mean_and_variance(&[1.0]), None);
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }
}
