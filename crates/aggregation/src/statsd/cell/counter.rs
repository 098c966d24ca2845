//! Sums that stay whole as long as their parts are.

use otlp::NumberValue;

use crate::statsd::value::Number;

/// Whole doubles up to this are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A sum of whole numbers, and one of all that is not whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counter {
    int: i64,
    float: f64,
    /// Whether anything was ever not whole, which makes the series one of doubles for good.
    pub(crate) fractional: bool,
    /// Whether anything was ever negative.
    pub(crate) negative: bool,
}

impl Counter {
    /// Adds `number * scale / rate`.
    #[inline]
    pub(crate) fn add(&mut self, number: Number, scale: f64, rate: f64) {
        match number {
            Number::Int(int) if scale == 1.0 && rate == 1.0 => self.add_int(int),
            number => self.add_float(number.as_f64() * scale / rate),
        }
    }

    #[inline]
    fn add_int(&mut self, int: i64) {
        self.negative |= int < 0;
        match self.int.checked_add(int) {
            Some(sum) => self.int = sum,
            None => {
                // Beyond what an integer holds, the nearest double is the best there is.
                self.fractional = true;
                self.float += self.int as f64;
                self.int = int;
            }
        }
    }

    fn add_float(&mut self, float: f64) {
        if float.fract() == 0.0 && float.abs() <= EXACT_MAX {
            return self.add_int(float as i64);
        }
        self.negative |= float < 0.0;
        self.fractional = true;
        // Enough of the greatest doubles would make an infinity, which no later value could undo.
        self.float = (self.float + float).clamp(f64::MIN, f64::MAX);
    }

    pub(crate) fn merge(&mut self, other: Counter) {
        self.add_int(other.int);
        self.float = (self.float + other.float).clamp(f64::MIN, f64::MAX);
        self.fractional |= other.fractional;
        self.negative |= other.negative;
    }

    pub(crate) fn as_f64(&self) -> f64 {
        (self.int as f64 + self.float).clamp(f64::MIN, f64::MAX)
    }

    /// The sum: an integer, unless anything in it was not whole.
    pub(crate) fn value(&self) -> NumberValue {
        if self.fractional { NumberValue::Double(self.as_f64()) } else { NumberValue::Int(self.int) }
    }

    /// Nothing added, but what is known about the series kept.
    pub(crate) fn emptied(&self) -> Counter {
        Counter { int: 0, float: 0.0, ..*self }
    }
}
