//! Why a data point is not exposed, and how many were not.

/// Why a data point is not exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A delta of a sum that also falls: what it started from is not known.
    DeltaTemporality,
    /// It does not say from when it counts.
    UnspecifiedTemporality,
    /// It has no value and does not say that there is none.
    NoValue,
    /// Its metric has no name, or one of which nothing is left.
    MetricName,
    /// One of its attributes has no key, or one of which nothing is left.
    LabelName,
    /// It has more labels than [`LABELS_MAX`](super::labels::LABELS_MAX).
    LabelLimit,
    /// Its buckets do not fit its bounds, or the bounds do not rise.
    InvalidBuckets,
    /// Another metric of this name is of another type.
    TypeConflict,
    /// A series of it would be called as one of another metric.
    NameConflict,
    /// It is older than what is exposed.
    OutOfOrder,
    /// It is a delta over a time that another delta has covered in part.
    DeltaOverlap,
    /// `max_series` is reached.
    SeriesLimit,
    /// `max_memory_mib` is reached.
    MemoryLimit,
}

impl Refusal {
    /// Every reason.
    const ALL: [Refusal; 13] = [
        Self::DeltaTemporality,
        Self::UnspecifiedTemporality,
        Self::NoValue,
        Self::MetricName,
        Self::LabelName,
        Self::LabelLimit,
        Self::InvalidBuckets,
        Self::TypeConflict,
        Self::NameConflict,
        Self::OutOfOrder,
        Self::DeltaOverlap,
        Self::SeriesLimit,
        Self::MemoryLimit,
    ];

    /// The word for metrics and ledgers.
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::DeltaTemporality => "delta_temporality",
            Self::UnspecifiedTemporality => "unspecified_temporality",
            Self::NoValue => "no_value",
            Self::MetricName => "metric_name",
            Self::LabelName => "label_name",
            Self::LabelLimit => "label_limit",
            Self::InvalidBuckets => "invalid_buckets",
            Self::TypeConflict => "type_conflict",
            Self::NameConflict => "name_conflict",
            Self::OutOfOrder => "out_of_order",
            Self::DeltaOverlap => "delta_overlap",
            Self::SeriesLimit => "series_limit",
            Self::MemoryLimit => "memory_limit",
        }
    }

    /// What it means, and what to do.
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::DeltaTemporality => {
                "deltas of a sum that also falls: set the temporality preference of its source to cumulative"
            }
            Self::UnspecifiedTemporality => "sums or histograms that do not say whether they are deltas or cumulative",
            Self::NoValue => "data points without a value",
            Self::MetricName => "metrics without a name that Prometheus can have",
            Self::LabelName => "attributes without a key that can be a label's name",
            Self::LabelLimit => "data points with more than 256 attributes, those of resource and scope included",
            Self::InvalidBuckets => "histograms whose buckets do not fit their bounds, or whose bounds do not rise",
            Self::TypeConflict => "metrics that get the name of another metric which is of another type",
            Self::NameConflict => {
                "metrics with a series that gets the name of another metric's, such as `x_count` beside a histogram `x`"
            }
            Self::OutOfOrder => "data points that are older than what is exposed already",
            Self::DeltaOverlap => "deltas over a time that is covered in part already: is there a second source?",
            Self::SeriesLimit => "`max_series` is reached: raise it, or send fewer attributes",
            Self::MemoryLimit => "`max_memory_mib` is reached: raise it, or send fewer attributes",
        }
    }
}

/// How many data points were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    items: [u64; Refusal::ALL.len()],
}

impl Refused {
    pub(super) fn add(&mut self, reason: Refusal, items: u64) {
        self.items[reason as usize] += items;
    }

    /// All of them.
    pub(super) fn total(&self) -> u64 {
        self.items.iter().sum()
    }

    /// The reasons for which any were refused, with their number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().map(|reason| (reason, self.items[reason as usize])).filter(|(_, items)| *items > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_word() {
        for (place, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            assert_eq!(Refusal::ALL.iter().filter(|other| other.cause() == reason.cause()).count(), 1);
        }
    }
}
