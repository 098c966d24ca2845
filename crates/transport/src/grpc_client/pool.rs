//! The connections of a client: which exist, which is next, when a lost one is tried again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{self, ConnectionSettings};
use super::message::MessageBuf;
use super::{Balancer, GrpcClientSettings};
use crate::connect::{ConnectError, resolve};
use crate::endpoint::Endpoint;
use crate::grpc::{Code, Status};

/// A place for a connection. Whoever holds it keeps the connection open.
pub(super) struct Slot {
    target: Target,
    state: Mutex<SlotState>,
    vitals: Arc<Vitals>,
    /// Something has changed: waiting calls look again.
    changed: Arc<Notify>,
}

/// What a connection's task sees of its slot without keeping it.
#[derive(Default)]
pub(super) struct Vitals {
    /// Calls in flight on this connection.
    pub(super) calls: AtomicUsize,
    /// A call got no answer in time: the connection should be checked.
    pub(super) suspect: Notify,
}

/// Where a slot's connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The first of these that can be reached.
    Addresses(Vec<SocketAddr>),
    Unix(PathBuf),
}

enum SlotState {
    Idle,
    Connecting,
    Ready(SendRequest<MessageBuf>),
    Failed { failures: u32, retry_at: Instant, cause: Arc<str> },
}

/// All connections of a client.
pub(super) struct Pool {
    connection: Arc<ConnectionSettings>,
    topology: Mutex<Topology>,
    next: AtomicUsize,
    changed: Arc<Notify>,
    resolving: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Topology {
    slots: Arc<[Arc<Slot>]>,
    resolved_at: Option<Instant>,
}

/// A connection chosen for a call.
pub(super) struct Lease {
    slot: Arc<Slot>,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(settings: &GrpcClientSettings) -> Pool {
        Pool {
            connection: Arc::new(ConnectionSettings::new(settings)),
            topology: Mutex::default(),
            next: AtomicUsize::new(0),
            changed: Arc::default(),
            resolving: tokio::sync::Mutex::default(),
        }
    }

    /// A connection that is ready. Waits while one is being made; fails at once where all have just failed.
    pub(super) async fn lease(&self, settings: &GrpcClientSettings) -> Result<Lease, Status> {
        if let Some(slots) = self.current()
            && let Choice::Ready(lease) = self.choose(&slots)
        {
            return Ok(lease);
        }
        loop {
            // Registered before looking, so that no change is missed.
            let changed = self.changed.notified();
            let slots = match self.current() {
                Some(slots) => slots,
                None => self.resolve(settings).await?,
            };
            match self.choose(&slots) {
                Choice::Ready(lease) => return Ok(lease),
                Choice::Wait => changed.await,
                Choice::Failed(cause) => {
                    self.forget_addresses();
                    return Err(Status::new(Code::Unavailable, format!("{}: {cause}", settings.endpoint)));
                }
            }
        }
    }

    /// Asks all connections to prove that they are alive.
    pub(super) fn suspect(&self) {
        for slot in self.topology.lock().slots.iter() {
            slot.vitals.suspect.notify_one();
        }
    }

    /// The slots, unless names have to be looked up (again).
    fn current(&self) -> Option<Arc<[Arc<Slot>]>> {
        let topology = self.topology.lock();
        let resolved_at = topology.resolved_at?;
        if let Some(interval) = self.connection.resolve_interval
            && resolved_at.elapsed() >= interval
        {
            return None;
        }
        Some(Arc::clone(&topology.slots))
    }

    /// A failed connection may mean that the name has moved: the next call looks it up again.
    fn forget_addresses(&self) {
        if self.connection.resolve_interval.is_some() {
            self.topology.lock().resolved_at = None;
        }
    }

    async fn resolve(&self, settings: &GrpcClientSettings) -> Result<Arc<[Arc<Slot>]>, Status> {
        let _one_at_a_time = self.resolving.lock().await;
        if let Some(slots) = self.current() {
            return Ok(slots);
        }
        let found = targets(settings).await;
        let mut topology = self.topology.lock();
        match found {
            Ok(targets) => topology.slots = self.slots_for(settings, &targets, &topology.slots),
            // A resolver that is down is no reason to give up addresses that work.
            Err(error) if topology.slots.is_empty() => {
                return Err(Status::new(Code::Unavailable, format!("{}: {error}", settings.endpoint)));
            }
            Err(error) => tracing::warn!(endpoint = %settings.endpoint, %error, "the previous addresses stay in use"),
        }
        topology.resolved_at = Some(Instant::now());
        Ok(Arc::clone(&topology.slots))
    }

    /// One slot per target and connection; slots whose target stays are kept with their connections.
    fn slots_for(&self, settings: &GrpcClientSettings, targets: &[Target], previous: &[Arc<Slot>]) -> Arc<[Arc<Slot>]> {
        let mut previous: Vec<_> = previous.iter().map(|slot| Some(Arc::clone(slot))).collect();
        let mut slots = Vec::new();
        // Connections of one address are spread apart, so that taking turns alternates between addresses.
        for _ in 0..settings.connections_per_address.max(1) {
            for target in targets {
                let kept = previous.iter_mut().find(|slot| slot.as_ref().is_some_and(|slot| slot.target == *target));
                let slot = kept.and_then(Option::take);
                slots.push(slot.unwrap_or_else(|| Slot::new(target.clone(), Arc::clone(&self.changed))));
            }
        }
        slots.into()
    }

    /// Takes the next slot in turn that is ready; starts connections where there are none.
    fn choose(&self, slots: &[Arc<Slot>]) -> Choice {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = false;
        let mut failed = None;
        for offset in 0..slots.len() {
            let slot = &slots[first.wrapping_add(offset) % slots.len()];
            match slot.look() {
                Look::Ready => return Choice::Ready(Lease::new(slot)),
                Look::Connecting => waiting = true,
                Look::Start { failures } => {
                    connection::start(slot, Arc::clone(&self.connection), failures);
                    waiting = true;
                }
                Look::Failed(cause) => failed = Some(cause),
            }
        }
        match failed {
            // One address that is being tried again does not make the others' failure wait for it.
            Some(cause) if !waiting => Choice::Failed(cause),
            _ => Choice::Wait,
        }
    }
}

enum Choice {
    Ready(Lease),
    Wait,
    Failed(Arc<str>),
}

enum Look {
    Ready,
    Connecting,
    Start { failures: u32 },
    Failed(Arc<str>),
}

async fn targets(settings: &GrpcClientSettings) -> Result<Vec<Target>, ConnectError> {
    match &settings.endpoint {
        Endpoint::Unix(path) => Ok(vec![Target::Unix(path.clone())]),
        Endpoint::Tcp { host, port } => {
            let host = if host.is_empty() { "localhost" } else { host };
            let addresses = match tokio::time::timeout(settings.connect_timeout, resolve(host, *port)).await {
                Ok(found) => found?,
                Err(_elapsed) => {
                    let timeout_ms = settings.connect_timeout.as_millis();
                    return Err(ConnectError::TimedOut { address: host.to_owned(), timeout_ms });
                }
            };
            // Two addresses of the loopback interface are one server.
            let one_server = addresses.iter().all(|address| address.ip().is_loopback());
            Ok(match settings.balancer {
                Balancer::RoundRobin if !one_server => {
                    addresses.into_iter().map(|address| Target::Addresses(vec![address])).collect()
                }
                _ => vec![Target::Addresses(addresses)],
            })
        }
    }
}

// === impl Slot ===

impl Slot {
    fn new(target: Target, changed: Arc<Notify>) -> Arc<Slot> {
        let state = Mutex::new(SlotState::Idle);
        Arc::new(Slot { target, state, vitals: Arc::default(), changed })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn vitals(&self) -> Arc<Vitals> {
        Arc::clone(&self.vitals)
    }

    fn look(&self) -> Look {
        let mut state = self.state.lock();
        let failures = match &mut *state {
            SlotState::Ready(send) => match send.poll_ready(&mut Context::from_waker(Waker::noop())) {
                // Not ready means that the peer's limit of streams is reached: the call waits in line.
                std::task::Poll::Ready(Ok(())) | std::task::Poll::Pending => return Look::Ready,
                std::task::Poll::Ready(Err(_)) => 0,
            },
            SlotState::Connecting => return Look::Connecting,
            SlotState::Failed { retry_at, cause, .. } if Instant::now() < *retry_at => {
                return Look::Failed(Arc::clone(cause));
            }
            SlotState::Failed { failures, .. } => *failures,
            SlotState::Idle => 0,
        };
        *state = SlotState::Connecting;
        Look::Start { failures }
    }

    pub(super) fn ready(&self, send: SendRequest<MessageBuf>) {
        *self.state.lock() = SlotState::Ready(send);
        self.changed.notify_waiters();
    }

    /// The connection has ended: the next call makes a new one.
    pub(super) fn ended(&self) {
        let mut state = self.state.lock();
        // A new attempt may be under way already.
        if matches!(*state, SlotState::Ready(_)) {
            *state = SlotState::Idle;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn failed(&self, failures: u32, retry_at: Instant, cause: &str) {
        *self.state.lock() = SlotState::Failed { failures, retry_at, cause: cause.into() };
        self.changed.notify_waiters();
    }
}

// === impl Lease ===

impl Lease {
    fn new(slot: &Arc<Slot>) -> Lease {
        slot.vitals.calls.fetch_add(1, Ordering::Relaxed);
        Lease { slot: Arc::clone(slot) }
    }

    /// Sends head and message. HTTP/2 keeps what the windows do not let through yet; that is never more than the
    /// message, which is shared and not copied.
    pub(super) fn send(&self, request: Request<()>, message: MessageBuf) -> Result<ResponseFuture, h2::Error> {
        let mut state = self.slot.state.lock();
        let SlotState::Ready(send) = &mut *state else {
            return Err(h2::Reason::REFUSED_STREAM.into());
        };
        let (response, mut stream) = match send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(Ok(())) => send.send_request(request, false)?,
            // Each handle can have one request in line, so this one gets a handle of its own.
            std::task::Poll::Pending => send.clone().send_request(request, false)?,
            std::task::Poll::Ready(Err(error)) => return Err(error),
        };
        drop(state);
        // A stream that is already reset says why in its response.
        let _sent = stream.send_data(message, true);
        Ok(response)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.slot.vitals.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Target {
        Target::Addresses(vec![SocketAddr::from(([192, 0, 2, last], 4317))])
    }

    fn hosts(slots: &[Arc<Slot>]) -> Vec<Target> {
        slots.iter().map(|slot| slot.target.clone()).collect()
    }

    #[test]
    fn turns_alternate_between_addresses() {
        let settings = GrpcClientSettings::new(Endpoint::parse("backend.example:4317").unwrap());
        let pool = Pool::new(&settings);
        let slots = pool.slots_for(&settings, &[address(1), address(2)], &[]);
        assert_eq!(hosts(&slots), [address(1), address(2), address(1), address(2)]);
    }

    #[test]
    fn connections_of_addresses_that_stay_are_kept() {
        let settings = GrpcClientSettings::new(Endpoint::parse("backend.example:4317").unwrap());
        let pool = Pool::new(&settings);
        let before = pool.slots_for(&settings, &[address(1), address(2)], &[]);
        let after = pool.slots_for(&settings, &[address(2), address(3)], &before);
        assert_eq!(hosts(&after), [address(2), address(3), address(2), address(3)]);
        assert!(Arc::ptr_eq(&after[0], &before[1]) && Arc::ptr_eq(&after[2], &before[3]));
    }

    #[tokio::test]
    async fn one_dead_address_does_not_fail_calls_while_another_may_still_connect() {
        let settings = GrpcClientSettings::new(Endpoint::parse("backend.example:4317").unwrap());
        let pool = Pool::new(&settings);
        let slots = pool.slots_for(&settings, &[address(1), address(2)], &[]);
        let retry_at = Instant::now() + std::time::Duration::from_secs(5);
        for slot in slots.iter() {
            slot.failed(1, retry_at, "refused");
        }
        assert!(matches!(pool.choose(&slots), Choice::Failed(cause) if &*cause == "refused"));
        *slots[1].state.lock() = SlotState::Connecting;
        assert!(matches!(pool.choose(&slots), Choice::Wait));
    }
}
