//! What the exporters of lines share: payloads as requests, and what a send without an answer is worth.

use component::{Encoded, Failure, Outcome, Rejection, Request};
use config::Section;
use config::shapes::Endpoint as Shape;
use legacy::lines::{Payload, Refused};
use otlp::Signal;
use transport::configured;
use transport::endpoint::Endpoint;
use transport::one_way::SendError;

/// Payloads as requests, one after another.
pub(crate) fn encoded(payloads: Vec<Payload>, refused: &Refused) -> Encoded {
    let request = |payload: Payload| Request {
        signal: Signal::Metrics,
        body: payload.body.into(),
        items: u64::from(payload.items),
        lane: 0,
    };
    let rejection = |(reason, items): (legacy::lines::Refusal, u32)| Rejection {
        items: u64::from(items),
        failure: Failure { cause: reason.name().into(), detail: reason.to_string() },
    };
    Encoded { requests: payloads.into_iter().map(request).collect(), rejected: refused.iter().map(rejection).collect() }
}

/// `endpoint`, where it is given.
pub(crate) fn endpoint(section: &mut Section<'_>, example: &str) -> Option<Endpoint> {
    let expected = format!("an address such as `{example}`");
    let parse = |text: &str| Shape::parse_connect(text.strip_prefix("tcp://").unwrap_or(text));
    section.get("endpoint").parse_with(&expected, parse).optional().map(|shape| configured::endpoint(&shape))
}

/// Whatever keeps a send from succeeding may pass, but for a datagram that is too large.
pub(crate) fn sent(result: Result<(), SendError>) -> Outcome {
    match result {
        Ok(()) => Outcome::DELIVERED,
        Err(error @ SendError::TooLarge { .. }) => Outcome::reject("datagram_too_large", error.to_string()),
        Err(error) => Outcome::retry("unreachable", error.to_string()),
    }
}
