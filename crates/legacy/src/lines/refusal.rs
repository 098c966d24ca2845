//! Why data points cannot be lines, and how many there are.

/// Why a data point has no form in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It has no value.
    NoValue,
    /// It does not say when it was measured.
    NoTimestamp,
    /// Its value is not a number, or infinite where the format knows no infinity.
    NotFinite,
    /// It counts from the last report; the format's readers expect running totals.
    NotCumulative,
    /// The format has no exponential histograms.
    ExponentialHistogram,
    /// Its metric has no name.
    NoName,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 6] = [
        Self::NoValue,
        Self::NoTimestamp,
        Self::NotFinite,
        Self::NotCumulative,
        Self::ExponentialHistogram,
        Self::NoName,
    ];

    /// The word for metrics and ledgers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::NoTimestamp => "no_timestamp",
            Self::NotFinite => "not_finite",
            Self::NotCumulative => "not_cumulative",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::NoName => "no_name",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoValue => "a data point without a value",
            Self::NoTimestamp => "a data point without a time: sent twice, it would be two points",
            Self::NotFinite => "a value that is not a number, or infinite, which the backend does not take",
            Self::NotCumulative => {
                "delta or unspecified temporality: set the SDK's temporality preference to cumulative"
            }
            Self::ExponentialHistogram => "an exponential histogram, which the schema has no form for",
            Self::NoName => "a metric without a name",
        })
    }
}

/// How many data points were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    items: [u32; Refusal::ALL.len()],
}

impl Refused {
    /// One more.
    pub fn add(&mut self, reason: Refusal) {
        self.items[reason as usize] += 1;
    }

    /// How many were refused.
    pub fn total(&self) -> u32 {
        self.items.iter().sum()
    }

    /// The reasons for which any were refused, with their number.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u32)> {
        Refusal::ALL.into_iter().map(|reason| (reason, self.items[reason as usize])).filter(|(_, items)| *items > 0)
    }
}
