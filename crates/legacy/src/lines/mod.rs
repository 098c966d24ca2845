//! What formats with one sample on each line share: points of a batch one by one, payloads that are cut between them,
//! and batches that are put together from lines.

pub(crate) mod gather;
mod payload;
mod points;
mod refusal;

pub use payload::{Payload, PayloadLimits, Payloads};
pub use points::{Point, PointData, for_each_point};
pub use refusal::{Refusal, Refused};

use otlp::view::KeyValues;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Attributes as text, by key. Where two have the same key, the ones that are given last count.
pub fn text_attributes<'a>(sources: impl IntoIterator<Item = KeyValues<'a>>, to: &mut BTreeMap<&'a str, Cow<'a, str>>) {
    for attribute in sources.into_iter().flatten() {
        to.insert(attribute.key(), attribute.value().to_text());
    }
}
