//! What a backend refused for good, or what was given up, kept beside the ledger's count of it, to be looked at and fed
//! again. Only a journal on disk has dead letters; they leave it by its size and age.

use component::{Failure, clock};
use journal::{Journal, Record, Share, Shares, StreamId};
use otlp::Batch;

/// How the streams of dead letters begin.
pub(crate) const PREFIX: &str = "dead_letters/";

/// The dead letters of one pipeline's exporter.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetters {
    journal: Journal,
    stream: StreamId,
}

impl DeadLetters {
    /// None in memory: what is dead there would only push out what is not.
    pub(crate) fn of(journal: &Journal, pipeline: &str, exporter: &str) -> Option<DeadLetters> {
        let name = stream_name(pipeline, exporter);
        journal.is_durable().then(|| DeadLetters { journal: journal.clone(), stream: journal.stream(&name) })
    }

    /// Keeps a batch with its cause. A journal that cannot take it loses the copy; the ledger has the items all the same.
    pub(crate) async fn keep(&self, exporter: &str, batch: &Batch, failure: &Failure) {
        let mut record = Record::new(batch.bytes().clone(), batch.items());
        record.appended_at_unix_ns = clock::unix_ns();
        let label = self.journal.label(self.stream, &failure.cause);
        record.shares = Shares::new(&[Share { label, items: batch.items() }]);
        if let Err(error) = self.journal.append(vec![(self.stream, record)]).await {
            tracing::error!(exporter, items = batch.items(), %error, "no room for a dead letter: it is gone");
        }
    }
}

/// The stream of dead letters of one pipeline's exporter.
pub(crate) fn stream_name(pipeline: &str, exporter: &str) -> String {
    format!("{PREFIX}{pipeline}/{exporter}")
}
