//! The `forward` connector: what one pipeline exports to it, others receive.
//!
//! It reads the first pipeline's journal with a cursor of its own, and hands each batch to the next pipelines as it is.
//! While their journal has no room, only that cursor waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{
    BuildContext, Connector, ConnectorFactory, Encoded, Exporter, Failure, Outcome, Outputs, Refused, Request,
};
use config::Section;
use otlp::{Batch, Signal};

/// The registration of the connector.
pub(crate) const FACTORY: ConnectorFactory =
    ConnectorFactory { kind: "forward", aliases: &[], signals: &Signal::ALL, build };

struct Forward;

fn build(_: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Connector>> {
    Some(Box::new(Forward))
}

impl Connector for Forward {
    fn exporter(&self, outputs: Outputs) -> Arc<dyn Exporter> {
        Arc::new(Forwarding { outputs })
    }
}

struct Forwarding {
    outputs: Outputs,
}

impl Exporter for Forwarding {
    fn encode(&self, batch: &Batch) -> Encoded {
        Encoded::one(batch, batch.bytes().clone())
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let Some(intake) = self.outputs.get(&request.signal) else {
                return Outcome::reject("no_pipeline", format!("no pipeline receives {}", request.signal));
            };
            let items = u32::try_from(request.items).unwrap_or(u32::MAX);
            let batch = Batch::from_trusted(request.signal, request.body.clone(), items);
            match intake.accept(batch).await {
                Ok(()) => Outcome::DELIVERED,
                Err(Refused::Retry { after, cause }) => {
                    let failure = Failure { cause: "next_pipeline_full".into(), detail: cause };
                    Outcome::Retry { after: Some(after.min(std::time::Duration::from_millis(50))), failure }
                }
                Err(Refused::Permanent { cause }) => Outcome::reject("next_pipeline_refused", cause),
            }
        })
    }
}
