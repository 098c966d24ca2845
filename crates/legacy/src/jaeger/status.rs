//! How a span ended, of tags, as the Collector reads it.

use std::borrow::Cow;

use otlp::{SpanKind, StatusCode};

use super::model::Value;
use super::names::{ERROR, HTTP_STATUS_CODE, HTTP_STATUS_MESSAGE, STATUS_CODE, STATUS_DESCRIPTION};
use super::tags::Tags;

/// A status: its code and its message.
pub(super) type Status<'t> = (StatusCode, &'t str);

/// Takes out of the tags what says how the span ended. A true `error` beats `otel.status_code`, and both beat
/// `http.status_code`, which stays an attribute.
pub(super) fn take_status<'t>(tags: &mut Tags<'t, '_>, kind: SpanKind) -> Status<'t> {
    if matches!(tags.get(ERROR), Some(Value::Bool(true))) {
        tags.take(ERROR);
        // Whatever it says, it says less.
        tags.take(STATUS_CODE);
        let http = tags.text(HTTP_STATUS_MESSAGE);
        return (StatusCode::Error, text(tags.take_text(STATUS_DESCRIPTION).or(http)));
    }
    if let Some(code) = tags.take_text(STATUS_CODE) {
        let code = match code {
            code if code.eq_ignore_ascii_case("OK") => StatusCode::Ok,
            code if code.eq_ignore_ascii_case("ERROR") => StatusCode::Error,
            _ => StatusCode::Unset,
        };
        return (code, text(tags.take_text(STATUS_DESCRIPTION)));
    }
    if let Some(description) = tags.take_text(STATUS_DESCRIPTION) {
        return (StatusCode::Unset, description);
    }
    match tags.get(HTTP_STATUS_CODE).and_then(number) {
        Some(code) if is_error(code, kind) => (StatusCode::Error, text(tags.text(HTTP_STATUS_MESSAGE))),
        _ => (StatusCode::Unset, ""),
    }
}

fn text<'t>(text: Option<&'t Cow<'_, str>>) -> &'t str {
    text.map_or("", |text| text)
}

fn number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Semantic conventions, "HTTP spans", "Status": a client's error is none of the server's.
fn is_error(code: i64, kind: SpanKind) -> bool {
    match code {
        100..400 => false,
        400..500 => kind != SpanKind::Server,
        _ => true,
    }
}
