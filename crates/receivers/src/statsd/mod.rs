//! The `statsd` receiver: StatsD and DogStatsD over UDP, TCP and unix sockets, added up and handed on once per interval.
//!
//! Each UDP socket has a reader, a thread of its own, and each reader a shard, to which it adds what arrives. Streams
//! share the shards. Once per `aggregation_interval` the shards are emptied into the store, and what the store makes of
//! the interval goes to the pipelines. As long as they refuse it, it is kept, and the shards go on adding up: nothing is
//! lost, and the next interval is longer. StatsD has no acknowledgement: what is lost before the shards is counted, by
//! socket and cause.

mod account;
mod datagrams;
mod flush;
mod settings;
mod shards;
mod streams;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use futures_util::future::{join_all, select_all};
use otlp::Signal;
use tokio_util::sync::CancellationToken;

use account::Account;
use flush::Flusher;
use settings::{Socket, StatsdSettings};
use shards::Shards;

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "statsd", aliases: &[], signals: &[Signal::Metrics, Signal::Logs], build };

/// The counts of the kernel are looked at this often, where no datagram makes somebody look.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

struct StatsdReceiver {
    settings: StatsdSettings,
}

/// Something that brings lines until it is told to stop.
type Source = Pin<Box<dyn Future<Output = Result<(), StartError>> + Send>>;

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    Some(Box::new(StatsdReceiver { settings: settings::read(section)? }))
}

impl Receiver for StatsdReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.begin(&context) })
    }
}

impl StatsdReceiver {
    fn begin(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let StatsdSettings { socket, transport, aggregation } = self.settings;
        let place = socket.place().map_err(|error| StartError(error.to_string()))?;
        let sources_stop = context.stop.child();
        let (shards, accounts, sources) = match socket {
            Socket::Datagrams { settings, permissions, .. } => {
                let sockets = datagrams::bind(&place, &settings, permissions)?;
                let shards = Arc::new(Shards::new(&aggregation, sockets.len()));
                let (accounts, sources) =
                    datagrams::start(sockets, &shards, context, transport, &sources_stop.token())?;
                (shards, accounts, sources)
            }
            Socket::Streams { settings, framing, frame_bytes_max, permissions, .. } => {
                let listener = streams::bind(&place, permissions)?;
                let shards = Arc::new(Shards::new(&aggregation, streams::SHARDS));
                let serving = streams::Serving { settings, framing, frame_bytes_max };
                let (account, source) =
                    streams::start(listener, serving, &shards, context, transport, sources_stop.token());
                (shards, vec![account], vec![source])
            }
        };
        let flusher = Flusher::new(shards, &aggregation, context, transport, accounts.first().cloned());
        Ok(Box::pin(run(sources, accounts, flusher, sources_stop)))
    }
}

/// Runs the sources until they end, all of them once one does, and the flusher until it has delivered what they brought.
async fn run(
    sources: Vec<Source>,
    accounts: Vec<Arc<Account>>,
    flusher: Flusher,
    stop: component::Stop,
) -> Result<(), StartError> {
    let ended = CancellationToken::new();
    let bringing = async {
        let (first, _, others) = select_all(sources).await;
        stop.request();
        let result = join_all(others).await.into_iter().fold(first, Result::and);
        ended.cancel();
        result
    };
    let syncing = async {
        while !ended.is_cancelled() {
            accounts.iter().for_each(|account| account.sync());
            let _ended = tokio::time::timeout(SYNC_INTERVAL, ended.cancelled()).await;
        }
        accounts.iter().for_each(|account| account.sync());
    };
    let (result, (), ()) = tokio::join!(bringing, syncing, flusher.run(&ended));
    result
}
