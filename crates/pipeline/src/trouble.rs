//! What the log says of a backend in trouble: at once when it begins and ends, and a summary in between.

use std::time::Duration;

use component::clock::Mono;
use component::{Failure, Rejection};
use parking_lot::Mutex;

/// How often a trouble that goes on is mentioned.
const REMINDER: Duration = Duration::from_secs(30);

/// One exporter's trouble.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failing_since: Option<Mono>,
    /// When the log last spoke of a failure. A backend that fails now and then is not spoken of each time.
    mentioned_at: Option<Mono>,
    /// Whether the log owes its reader the end of the trouble.
    is_open: bool,
    failures: u64,
    rejection_mentioned_at: Option<Mono>,
    rejected_items: u64,
}

impl Trouble {
    /// An attempt failed and will be repeated.
    pub(crate) fn failed(&self, exporter: &str, failure: &Failure, now: Mono) {
        let mut state = self.0.lock();
        state.failures += 1;
        let since = *state.failing_since.get_or_insert(now);
        if is_due(state.mentioned_at, now) {
            state.mentioned_at = Some(now);
            state.is_open = true;
            let seconds = now.duration_since(since).as_secs();
            tracing::warn!(
                exporter, cause = %failure.cause, detail = failure.detail, failures = state.failures, seconds,
                "the backend does not take data; it is kept and tried again"
            );
        }
    }

    /// An attempt worked.
    pub(crate) fn worked(&self, exporter: &str) {
        let mut state = self.0.lock();
        if state.failing_since.take().is_some() && state.is_open {
            tracing::info!(exporter, failures = state.failures, "the backend takes data again");
            state.failures = 0;
            state.is_open = false;
        }
    }

    /// Items were refused for good.
    pub(crate) fn rejected(&self, exporter: &str, rejection: &Rejection, now: Mono) {
        let mut state = self.0.lock();
        state.rejected_items += rejection.items;
        if is_due(state.rejection_mentioned_at, now) {
            state.rejection_mentioned_at = Some(now);
            let failure = &rejection.failure;
            tracing::error!(
                exporter, cause = %failure.cause, detail = failure.detail, items = state.rejected_items,
                "items rejected for good"
            );
            state.rejected_items = 0;
        }
    }
}

fn is_due(last: Option<Mono>, now: Mono) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= REMINDER)
}
