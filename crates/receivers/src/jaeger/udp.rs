//! Thrift over UDP, as Jaeger's agents take it: one message `emitBatch` in each datagram.
//!
//! A thread reads the socket and fills a queue; tasks read what is in it and hand it over, several datagrams at a time.
//! Where the pipelines have no room they wait, the queue fills, and what comes then is counted as lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use component::{Arrivals, Intake, ReceiverContext, Refused, Running, StartError, Stop, Unit};
use config::Section;
use config::shapes;
use legacy::jaeger;
use legacy::thrift::Protocol;
use otlp::{Batch, Signal};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use transport::configured;
use transport::datagram::{self, Datagram, DatagramReader, DatagramSettings, DatagramStats, Extent};
use transport::endpoint::Endpoint;

use crate::shared::local;

/// Datagrams that go into the pipelines together, if they wait together.
const GROUP_DATAGRAMS_MAX: usize = 16;

/// What the queue holds at most, whatever `queue_size` says, in bytes.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The longest pause before a refused batch is offered again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often the kernel's count of drops is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What one UDP protocol runs on.
pub(super) struct UdpSettings {
    protocol: Protocol,
    endpoint: Endpoint,
    sockets: DatagramSettings,
    queue_datagrams_max: usize,
    workers: usize,
}

impl UdpSettings {
    pub(super) fn read(section: &mut Section<'_>, protocol: Protocol) -> UdpSettings {
        let address =
            section.get("endpoint").parse_with("an address such as `localhost:6831`", shapes::Endpoint::parse_listen);
        let port_default = match protocol {
            Protocol::Compact => 6831,
            Protocol::Binary => 6832,
        };
        let endpoint = address.optional().map_or_else(|| local(port_default), |named| configured::endpoint(&named));
        let datagram_bytes_max: usize = section.get("max_packet_size").integer().range(1..).or(65_000);
        let receive_buffer_bytes: usize = section.get("socket_buffer_size").integer().or(0);
        let sockets = DatagramSettings {
            readers: 1,
            receive_buffer_bytes: Some(receive_buffer_bytes).filter(|bytes| *bytes > 0),
            // No datagram is longer than 65,535 bytes.
            datagram_bytes_max: datagram_bytes_max.min(65_535),
        };
        let queue_datagrams_max = section.get("queue_size").integer().range(1..=10_000_000).or(1000);
        let workers = section.get("workers").integer().range(1..=10_000).or(10);
        UdpSettings { protocol, endpoint, sockets, queue_datagrams_max, workers }
    }

    /// The name for metrics: the Collector's.
    pub(super) fn transport(&self) -> &'static str {
        match self.protocol {
            Protocol::Compact => "udp_thrift_compact",
            Protocol::Binary => "udp_thrift_binary",
        }
    }

    pub(super) fn bind(self, intake: Intake, context: &ReceiverContext) -> Result<Running, StartError> {
        let sockets = datagram::bind(&self.endpoint, &self.sockets).map_err(|error| StartError(error.to_string()))?;
        let socket = sockets.into_iter().next().ok_or_else(|| StartError("no socket was bound".to_owned()))?;
        let address = socket.local().to_string();
        tracing::info!(endpoint = address, protocol = self.transport(), "jaeger receiver listens");
        let arrivals = context.arrivals(self.transport(), &address);
        let drops = KernelDrops { stats: socket.stats(), arrivals: arrivals.clone(), counted: 0 };
        let (sender, queue) = mpsc::channel(self.queue_datagrams_max);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let enqueuing = Enqueuing { sender, queued_bytes: Arc::clone(&queued_bytes), arrivals: arrivals.clone() };
        let reader = socket.read(context.stop.token(), move |datagrams| enqueuing.take(datagrams));
        let reader = reader.map_err(|error| StartError(error.to_string()))?;
        let stop = context.stop.clone();
        let worker = Worker { protocol: self.protocol, intake, arrivals, stop, malformed: AtomicU64::new(0) };
        // The queue ends when the reader does.
        let dispatched = dispatch(queue, queued_bytes, Arc::new(worker), self.workers);
        Ok(Box::pin(async move { tokio::join!(watch(reader, drops), dispatched).0 }))
    }
}

/// What the thread of a socket does.
struct Enqueuing {
    sender: mpsc::Sender<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    arrivals: Arrivals,
}

impl Enqueuing {
    fn take(&self, datagrams: &[Datagram<'_>]) {
        let (mut truncated, mut overflown) = (0, 0);
        for datagram in datagrams {
            if datagram.extent != Extent::Whole {
                truncated += 1;
            } else if !self.enqueue(datagram.bytes) {
                overflown += 1;
            }
        }
        self.arrivals.received(Unit::Datagrams, datagrams.len() as u64);
        self.arrivals.lost(Unit::Datagrams, "truncated", truncated);
        self.arrivals.lost(Unit::Datagrams, "queue_full", overflown);
    }

    /// Whether there was room.
    fn enqueue(&self, bytes: &[u8]) -> bool {
        let before = self.queued_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        let room = before + bytes.len() <= QUEUE_BYTES_MAX;
        let taken = room && self.sender.try_send(Bytes::copy_from_slice(bytes)).is_ok();
        if !taken {
            self.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        taken
    }
}

/// Carries the kernel's count over.
struct KernelDrops {
    stats: Arc<DatagramStats>,
    arrivals: Arrivals,
    counted: u64,
}

impl KernelDrops {
    fn look(&mut self) {
        let drops = self.stats.kernel_drops();
        self.arrivals.lost(Unit::Datagrams, "kernel_drop", drops - self.counted);
        self.counted = drops;
    }
}

/// Waits for a reader's end, and looks at what the kernel dropped meanwhile.
async fn watch(reader: DatagramReader, mut drops: KernelDrops) -> Result<(), StartError> {
    let ended = reader.join();
    tokio::pin!(ended);
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let ended = loop {
        tokio::select! {
            ended = &mut ended => break ended,
            _ = looks.tick() => drops.look(),
        }
    };
    drops.look();
    ended.map_err(|panicked| StartError(panicked.to_string()))
}

/// Hands what is queued to tasks, `workers` at a time, until the queue ends and all of it was handed over.
async fn dispatch(
    mut queue: mpsc::Receiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    worker: Arc<Worker>,
    workers: usize,
) {
    let permits = Arc::new(Semaphore::new(workers));
    let tasks = TaskTracker::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let mut group = Vec::new();
        if queue.recv_many(&mut group, GROUP_DATAGRAMS_MAX).await == 0 {
            break;
        }
        queued_bytes.fetch_sub(group.iter().map(Bytes::len).sum(), Ordering::Relaxed);
        let worker = Arc::clone(&worker);
        tasks.spawn(async move {
            worker.take(&group).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// What a task does with datagrams.
struct Worker {
    protocol: Protocol,
    intake: Intake,
    arrivals: Arrivals,
    stop: Stop,
    malformed: AtomicU64,
}

impl Worker {
    async fn take(&self, group: &[Bytes]) {
        let batches: Vec<Batch> = group.iter().filter_map(|datagram| self.read(datagram)).collect();
        if !batches.is_empty() {
            let batch = Batch::concat(Signal::Traces, &batches);
            if !self.hand_over(batch).await {
                self.arrivals.lost(Unit::Datagrams, "refused", batches.len() as u64);
            }
        }
    }

    /// The spans of a datagram, if there are any.
    fn read(&self, datagram: &[u8]) -> Option<Batch> {
        match jaeger::from_datagram(datagram, self.protocol) {
            Ok(batch) => Some(batch).filter(|batch| batch.items() > 0),
            Err(error) => {
                self.arrivals.lost(Unit::Datagrams, "malformed", 1);
                let count = self.malformed.fetch_add(1, Ordering::Relaxed) + 1;
                // Each time that there are twice as many, so that a flood does not fill the log.
                if count.is_power_of_two() {
                    tracing::warn!(%error, protocol = ?self.protocol, count, "a datagram that is nothing of Jaeger's");
                }
                None
            }
        }
    }

    /// Offers a batch until it is taken, refused for good, or the receiver has to stop. Tells whether it was taken.
    async fn hand_over(&self, batch: Batch) -> bool {
        loop {
            let after = match self.intake.accept(batch.clone()).await {
                Ok(()) => return true,
                Err(Refused::Retry { after, .. }) if !self.stop.is_requested() => after.min(PAUSE_MAX),
                Err(refused) => {
                    tracing::warn!(%refused, spans = batch.items(), "spans that came over UDP are lost");
                    return false;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(after) => {}
                () = self.stop.requested() => {}
            }
        }
    }
}
