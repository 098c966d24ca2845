//! Why a line was refused.

/// Why a line, or a value of it, was refused. The causes are few and fixed, so that they can be a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[repr(u8)]
pub enum Malformed {
    /// The name is empty.
    #[error("the name is empty")]
    NameEmpty,
    /// There is no colon.
    #[error("there is no colon behind the name")]
    ValueMissing,
    /// Nothing stands between the colon and the type.
    #[error("the value is empty")]
    ValueEmpty,
    /// The value is no number.
    #[error("the value is no number")]
    Value,
    /// NaN, an infinity, or a number beyond the range of a double.
    #[error("the value is not finite")]
    ValueNotFinite,
    /// No type follows the value.
    #[error("there is no type behind the value")]
    TypeMissing,
    /// A type that StatsD does not have.
    #[error("the type is none of c, g, ms, h, d, s")]
    TypeUnknown,
    /// The sample rate is no number.
    #[error("the sample rate is no number")]
    Rate,
    /// The sample rate is not above 0 and up to 1.
    #[error("the sample rate is not above 0 and up to 1")]
    RateOutOfRange,
    /// A tag without a key.
    #[error("a tag has no key")]
    TagKeyEmpty,
    /// A tag without a value where `enable_simple_tags` is off.
    #[error("a tag has no value, and `enable_simple_tags` is off")]
    TagValueMissing,
    /// More tags than a line may have.
    #[error("there are more tags than {} in a line", super::line::TAGS_MAX)]
    TagsTooMany,
    /// A timestamp that is none, or one of a type that takes none.
    #[error("the timestamp is none, or the type takes none")]
    Timestamp,
    /// An event that is cut or has wrong lengths.
    #[error("the event is incomplete")]
    Event,
    /// A service check without a name or with a status beyond 0 to 3.
    #[error("the service check has no name, or no status of 0 to 3")]
    ServiceCheck,
    /// The line is longer than a line may be.
    #[error("the line is longer than {} bytes", super::LINE_BYTES_MAX)]
    LineTooLong,
    /// There are as many series as there may be, and this would be another.
    #[error("there are as many series as `max_series` allows")]
    SeriesLimit,
    /// So many values are kept until the next flush that no more fit.
    #[error("too many values are kept until the next flush")]
    ValuesLimit,
}

impl Malformed {
    /// Every cause, in order.
    pub const ALL: [Malformed; 18] = [
        Malformed::NameEmpty,
        Malformed::ValueMissing,
        Malformed::ValueEmpty,
        Malformed::Value,
        Malformed::ValueNotFinite,
        Malformed::TypeMissing,
        Malformed::TypeUnknown,
        Malformed::Rate,
        Malformed::RateOutOfRange,
        Malformed::TagKeyEmpty,
        Malformed::TagValueMissing,
        Malformed::TagsTooMany,
        Malformed::Timestamp,
        Malformed::Event,
        Malformed::ServiceCheck,
        Malformed::LineTooLong,
        Malformed::SeriesLimit,
        Malformed::ValuesLimit,
    ];

    /// The name of the cause, for a label.
    pub fn cause(self) -> &'static str {
        match self {
            Malformed::NameEmpty => "name_empty",
            Malformed::ValueMissing => "value_missing",
            Malformed::ValueEmpty => "value_empty",
            Malformed::Value => "value",
            Malformed::ValueNotFinite => "value_not_finite",
            Malformed::TypeMissing => "type_missing",
            Malformed::TypeUnknown => "type_unknown",
            Malformed::Rate => "rate",
            Malformed::RateOutOfRange => "rate_out_of_range",
            Malformed::TagKeyEmpty => "tag_key_empty",
            Malformed::TagValueMissing => "tag_value_missing",
            Malformed::TagsTooMany => "tags_too_many",
            Malformed::Timestamp => "timestamp",
            Malformed::Event => "event",
            Malformed::ServiceCheck => "service_check",
            Malformed::LineTooLong => "line_too_long",
            Malformed::SeriesLimit => "series_limit",
            Malformed::ValuesLimit => "values_limit",
        }
    }
}
