//! The `statsd` exporter: metrics to a StatsD server, in the dialect that it understands.
//!
//! Specification: [Etsy's StatsD](https://github.com/statsd/statsd/blob/master/docs/metric_types.md),
//! [DogStatsD](https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/), and the tags of
//! [Graphite](https://graphite.readthedocs.io/en/stable/tags.html) and of Telegraf.
//!
//! StatsD counts increments, so running totals become the difference to the point before, which is remembered for each
//! series ([`state`]). The memory moves on when a batch is encoded, which happens once; attempts send what was made
//! then. So a batch that is sent again counts the same, and one that is given up is missing, and the ledger says so.

mod distribution;
mod line;
mod packets;
mod point;
#[cfg(test)]
mod server_tests;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use component::metrics::{Counter, Description};
use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterContext, ExporterFactory, Outcome, Rejection, Request,
    Running, StartError, clock,
};
use config::Section;
use legacy::lines::for_each_point;
use otlp::{Batch, Signal};
use parking_lot::Mutex;
use transport::one_way::{DatagramClient, StreamClient};

use crate::lines::sent;
use packets::Packets;
use point::{Refusals, Writer};
use settings::{Form, Settings, Way};
use state::State;

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "statsd", aliases: &[], signals: &[Signal::Metrics], build };

struct StatsdExporter {
    id: String,
    client: Client,
    form: Form,
    state: Arc<Mutex<State>>,
    first_points: OnceLock<Counter>,
}

enum Client {
    Datagrams(DatagramClient),
    Stream(StreamClient),
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let Settings { way, form, limits, delivery } = Settings::read(section)?;
    let client = match way {
        Way::Datagrams(endpoint) => Client::Datagrams(DatagramClient::new(endpoint)),
        Way::Stream(endpoint, connect_timeout) => Client::Stream(StreamClient::new(endpoint, connect_timeout, 1)),
    };
    let state = Arc::new(Mutex::new(State::new(limits, clock::unix_ns())));
    let exporter = StatsdExporter { id: context.id.to_string(), client, form, state, first_points: OnceLock::new() };
    Some(BuiltExporter { exporter: Arc::new(exporter), delivery })
}

const FIRST_POINTS: Description = Description::counter(
    "crossfade_statsd_first_points",
    "Data points of running totals that were only remembered, since nothing before them was known.",
);
const SERIES: Description =
    Description::gauge("crossfade_statsd_series", "Series whose last total is remembered, to tell increments.");
const STATE_BYTES: Description = Description::gauge("crossfade_statsd_state_bytes", "What remembering them takes.");

impl Exporter for StatsdExporter {
    fn start(&self, context: ExporterContext) -> Result<Option<Running>, StartError> {
        let counter = context.metrics.counter(FIRST_POINTS, &[("exporter", &self.id)]);
        let _once = self.first_points.set(counter);
        let (id, state) = (self.id.clone(), Arc::clone(&self.state));
        context.metrics.observe(move |to| {
            let usage = state.lock().usage();
            to.put(SERIES, &[("exporter", &id)], usage.series as f64);
            to.put(STATE_BYTES, &[("exporter", &id)], usage.size_bytes as f64);
        });
        Ok(None)
    }

    fn encode(&self, batch: &Batch) -> Encoded {
        let mut packets = Packets::new(self.form.packet_bytes_max, self.form.ending);
        let mut refusals = Refusals::default();
        let mut state = self.state.lock();
        state.forget_stale(clock::mono());
        let mut writer = Writer::new(&self.form, &mut state, clock::mono());
        for_each_point(batch, |point| {
            if let Err(refusal) = writer.point(point, &mut packets) {
                refusals.add(refusal);
            }
        });
        if let Some(counter) = self.first_points.get() {
            counter.add(writer.first_points());
        }
        let rejected = refusals.into_rejections().collect::<Vec<Rejection>>();
        let request =
            |(body, items): (Vec<u8>, u64)| Request { signal: Signal::Metrics, body: body.into(), items, lane: 0 };
        Encoded { requests: packets.finish().into_iter().map(request).collect(), rejected }
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            // Data points that changed nothing.
            if request.body.is_empty() {
                return Outcome::DELIVERED;
            }
            sent(match &self.client {
                Client::Datagrams(client) => client.send(&request.body).await,
                Client::Stream(client) => client.send(&request.body).await,
            })
        })
    }
}
