use super::*;

/// The bounds of a bucket: above the first, up to the second.
fn bounds(scale: i32, index: i32) -> (f64, f64) {
    let bound = |index: i32| (f64::from(index) * 2_f64.powi(-scale)).exp2();
    (bound(index), bound(index + 1))
}

fn values() -> Vec<f64> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..500).map(|_| (rng.f64() * 40.0 - 20.0).exp2() * if rng.bool() { 1.0 } else { -1.0 }).collect()
}

fn of(values: &[f64], size_max: u32) -> Exponential {
    let mut histogram = Exponential::new(size_max, SCALE_MAX);
    values.iter().for_each(|value| histogram.add(*value, 1.0));
    histogram
}

#[test]
fn a_value_lies_between_the_bounds_of_its_bucket() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..10_000 {
        let value = (rng.f64() * 600.0 - 300.0).exp2();
        let (below, up_to) = bounds(10, finest_index(value) >> 10);
        assert!(below * (1.0 - 1e-12) < value && value <= up_to * (1.0 + 1e-12), "{below} {value} {up_to}");
    }
}

#[test]
fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
    for exponent in -1074..=1023 {
        assert_eq!(finest_index(f64::from(exponent).exp2()), (exponent << SCALE_MAX) - 1, "2^{exponent}");
    }
}

#[test]
fn all_doubles_fit_into_two_buckets() {
    let histogram = of(&[f64::MAX, 4.9e-324, 1.0, f64::MIN_POSITIVE, f64::MIN, 0.0], 2);
    assert!(histogram.positive.counts.len() <= 2 && histogram.negative.counts.len() <= 2);
    assert_eq!(histogram.positive.counts.iter().sum::<f64>(), 4.0);
    assert_eq!((histogram.zero, histogram.negative.counts.iter().sum::<f64>()), (1.0, 1.0));
}

#[test]
fn the_order_and_the_split_of_values_change_nothing() {
    let values = values();
    for size_max in [2, 3, 20, 160] {
        let whole = of(&values, size_max);
        assert!(whole.positive.counts.len() <= size_max as usize);
        let mut reversed: Vec<f64> = values.clone();
        reversed.reverse();
        assert_eq!(of(&reversed, size_max), whole);
        let (first, second) = values.split_at(123);
        let mut merged = of(second, size_max);
        merged.merge(&of(first, size_max));
        assert_eq!(merged, whole);
        assert_eq!(whole.positive.counts.iter().chain(&whole.negative.counts).sum::<f64>(), 500.0);
    }
}
