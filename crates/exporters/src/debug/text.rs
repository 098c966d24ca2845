//! Pieces of text that both layouts have.

use std::borrow::Cow;

use component::clock::Calendar;
use otlp::view::{AnyValueView, KeyValues};
use otlp::{SpanId, TraceId};

/// Appends a formatted line.
macro_rules! line {
    ($out:expr, $($format:tt)*) => {{
        // Writing into a string does not fail.
        let _ = writeln!($out, $($format)*);
    }};
}
pub(super) use line;

/// Text without control characters: they are written as Rust escapes them.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    Cow::Owned(clean)
}

/// A value as text.
pub(super) fn value(value: AnyValueView<'_>) -> String {
    clean(&value.to_text()).into_owned()
}

/// A value with its type: `Str(checkout)`.
pub(super) fn typed(any: AnyValueView<'_>) -> String {
    let name = match any {
        AnyValueView::Empty => "Empty",
        AnyValueView::String(_) => "Str",
        AnyValueView::Bool(_) => "Bool",
        AnyValueView::Int(_) => "Int",
        AnyValueView::Double(_) => "Double",
        AnyValueView::Array(_) => "Slice",
        AnyValueView::KvList(_) => "Map",
        AnyValueView::Bytes(_) => "Bytes",
    };
    format!("{name}({})", value(any))
}

/// A double in the fewest digits.
pub(super) fn double(number: f64) -> String {
    AnyValueView::Double(number).to_text().into_owned()
}

/// Attributes as `key=value`, with something between them.
pub(super) fn pairs(attributes: KeyValues<'_>, between: &str) -> String {
    let pair =
        |attribute: otlp::view::KeyValueView<'_>| format!("{}={}", clean(attribute.key()), value(attribute.value()));
    attributes.map(pair).collect::<Vec<_>>().join(between)
}

/// The text behind a space, if there is any.
pub(super) fn after_space(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" {text}") }
}

pub(super) fn trace_id(id: Option<TraceId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

pub(super) fn span_id(id: Option<SpanId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// A point of time: `2020-02-11 20:26:12.000000321 +0000 UTC`.
pub(super) fn time(unix_ns: u64) -> String {
    let Calendar { year, month, day, hour, minute, second, nanosecond } = Calendar::from_unix_ns(unix_ns);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if nanosecond > 0 {
        let fraction = format!(".{nanosecond:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push_str(" +0000 UTC");
    text
}

/// The bounds of a bucket of an exponential histogram, of positive values: from `index` on, `scale` doublings a factor
/// of two.
pub(super) fn exponential_bounds(scale: i32, index: i64) -> (f64, f64) {
    let factor = std::f64::consts::LN_2 * 2f64.powi(scale.saturating_neg());
    ((index as f64 * factor).exp(), ((index + 1) as f64 * factor).exp())
}
