//! What exporters share: settings of delivery, compressed payloads, answers, and values as JSON.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use component::{Delivery, Failure, Order, Outcome, Rejection, Waiting};
use config::Section;
use config::shapes::{Retry, SendingQueue};
use otlp::response::ExportResponse;
use otlp::view::AnyValueView;
use otlp::{Batch, ContentEncoding, Signal};
use transport::coding::{Coding, Level, compress};
use transport::http_client::HttpReply;

/// Reads `sending_queue` and `retry_on_failure`; the caller has read `timeout`.
pub(crate) fn delivery(section: &mut Section<'_>, timeout: Duration, order: Order) -> Delivery {
    let queue = section.child("sending_queue", SendingQueue::read);
    if queue.wait_for_result {
        section.error("sending_queue", "not built yet: `wait_for_result`; a receiver is answered by the journal");
    }
    let retry = section.child("retry_on_failure", Retry::read);
    Delivery { queue, retry, timeout, order, waiting: Waiting::Apart }
}

/// The payload of a batch in a coding. Exporters that ask for the usual level share what the first of them made, and
/// what a client sent already.
pub(crate) fn payload(batch: &Batch, coding: Coding, level: Level) -> Bytes {
    let shared = match coding {
        Coding::Identity => return batch.bytes().clone(),
        Coding::Gzip => Some(ContentEncoding::Gzip),
        Coding::Zstd => Some(ContentEncoding::Zstd),
        Coding::Deflate => Some(ContentEncoding::Deflate),
        Coding::Lz4 => Some(ContentEncoding::Lz4),
        // Under this name some receivers read blocks and some read frames; what came in may be either.
        Coding::Snappy => None,
    };
    let make = || compress(coding, level, batch.bytes());
    match shared.filter(|_| level == Level::Fast) {
        Some(encoding) => batch.frames().get_or_make(encoding, make).clone(),
        None => make(),
    }
}

/// What an `Export…ServiceResponse` says of the request. One that cannot be read is a success all the same: the
/// backend has said so by its status.
pub(crate) fn answered<E: std::fmt::Display>(signal: Signal, response: Result<ExportResponse, E>) -> Outcome {
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%signal, %error, "the backend took the request and answered what is no OTLP response");
            return Outcome::DELIVERED;
        }
    };
    if response.rejected_items == 0 {
        if !response.error_message.is_empty() {
            // The specification: a message without rejected items is a warning.
            tracing::warn!(%signal, message = response.error_message, "the backend took everything and warns");
        }
        return Outcome::DELIVERED;
    }
    let failure = Failure { cause: "partial_success".into(), detail: response.error_message };
    Outcome::Delivered { rejected: Some(Rejection { items: response.rejected_items, failure }) }
}

/// A body in a coding that nobody else shares.
pub(crate) fn packed(plain: Vec<u8>, coding: Coding, level: Level) -> Bytes {
    match coding {
        Coding::Identity => plain.into(),
        _ => compress(coding, level, &plain),
    }
}

/// What an answer over HTTP that is no success is worth. `passes` says which statuses may be others the next time, and
/// `detail` what the log says.
pub(crate) fn failed(reply: &HttpReply, now: SystemTime, passes: impl FnOnce(u16) -> bool, detail: String) -> Outcome {
    let status = reply.status.as_u16();
    let failure = Failure { cause: format!("http_{status}").into(), detail };
    match passes(status) {
        true => Outcome::Retry { after: reply.retry_after(now), failure },
        false => Outcome::Reject { failure },
    }
}

/// What an answer says where 429 and 5xx pass and every other failure is final. `detail` is for the log.
pub(crate) fn posted(reply: &HttpReply, now: SystemTime, detail: String) -> Outcome {
    match reply.status.is_success() {
        true => Outcome::DELIVERED,
        false => failed(reply, now, |status| status == 429 || status >= 500, detail),
    }
}

/// A value as JSON; what JSON cannot say is text. Recurses as deep as the value, which the check at the door bounds.
pub(crate) fn to_json(value: AnyValueView<'_>) -> serde_json::Value {
    match value {
        AnyValueView::Empty => serde_json::Value::Null,
        AnyValueView::Bool(value) => value.into(),
        AnyValueView::Int(value) => value.into(),
        AnyValueView::Double(value) if value.is_finite() => value.into(),
        AnyValueView::Double(_) | AnyValueView::String(_) | AnyValueView::Bytes(_) => value.to_text().into(),
        AnyValueView::Array(values) => values.map(to_json).collect(),
        AnyValueView::KvList(values) => values.map(|pair| (pair.key().to_owned(), to_json(pair.value()))).collect(),
    }
}
