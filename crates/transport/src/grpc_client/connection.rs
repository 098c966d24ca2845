//! The life of one connection: made, checked, driven, reported dead.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::time::Instant;

use super::message::MessageBuf;
use super::pool::{Slot, Target, Vitals};
use super::{GrpcClientSettings, Keepalive, KeepaliveWhen};
use crate::connect::{ConnectError, connect_tcp, connect_tls, connect_unix};
use crate::endpoint::Endpoint;
use crate::io::Io;
use crate::retry::Backoff;
use crate::tls::ClientTlsConfig;

const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// Calls hand over whole messages, so this bounds nothing; h2 asks for a figure.
const SEND_BUFFER_BYTES_MAX: usize = 16 << 20;
/// How long a connection under suspicion has to answer, and how often it may be asked: servers count pings.
const SUSPICION_TIMEOUT: Duration = Duration::from_secs(10);
const SUSPICION_PAUSE: Duration = Duration::from_secs(60);

/// What the making of a connection needs to know.
pub(super) struct ConnectionSettings {
    tls: Option<Arc<ClientTlsConfig>>,
    host: String,
    connect_timeout: Duration,
    reconnect: Backoff,
    keepalive: Option<Keepalive>,
    pub(super) resolve_interval: Option<Duration>,
}

impl ConnectionSettings {
    pub(super) fn new(settings: &GrpcClientSettings) -> ConnectionSettings {
        let (host, is_name) = match &settings.endpoint {
            Endpoint::Tcp { host, .. } => (host.clone(), host.parse::<std::net::IpAddr>().is_err()),
            Endpoint::Unix(_) => ("localhost".to_owned(), false),
        };
        ConnectionSettings {
            tls: settings.tls.clone(),
            host,
            connect_timeout: settings.connect_timeout,
            reconnect: settings.reconnect,
            keepalive: settings.keepalive,
            resolve_interval: is_name.then_some(settings.resolve_interval),
        }
    }
}

type Driver = Connection<Io, MessageBuf>;

/// Starts the task that makes a connection for the slot and drives it to its end. The task does not keep the slot:
/// when the client is dropped, the connection ends after its last call.
pub(super) fn start(slot: &Arc<Slot>, settings: Arc<ConnectionSettings>, failures: u32) {
    let target = slot.target().clone();
    let vitals = slot.vitals();
    let slot = Arc::downgrade(slot);
    tokio::spawn(async move {
        match establish(&target, &settings).await {
            Ok((send, driver, pings)) => {
                let Some(strong) = slot.upgrade() else { return };
                strong.ready(send);
                drop(strong);
                let cause = drive(driver, pings, &vitals, settings.keepalive).await;
                tracing::debug!(host = settings.host, cause, "connection ended");
                if let Some(slot) = slot.upgrade() {
                    slot.ended();
                }
            }
            Err(error) => {
                let Some(slot) = slot.upgrade() else { return };
                let delay = settings.reconnect.delay(failures, &mut fastrand::Rng::new());
                slot.failed(failures.saturating_add(1), Instant::now() + delay, &error.to_string());
            }
        }
    });
}

async fn establish(
    target: &Target,
    settings: &ConnectionSettings,
) -> Result<(SendRequest<MessageBuf>, Driver, PingPong), ConnectError> {
    let deadline = Instant::now() + settings.connect_timeout;
    let address = match target {
        Target::Addresses(addresses) => addresses.first().map(SocketAddr::to_string).unwrap_or_default(),
        Target::Unix(path) => path.display().to_string(),
    };
    let socket = match target {
        Target::Addresses(addresses) => connect_tcp(addresses, settings.connect_timeout).await?,
        Target::Unix(path) => connect_unix(path).await?,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let io = match &settings.tls {
        None => Io::Plain(socket),
        Some(tls) => connect_tls(socket, tls, &settings.host, &address, left).await?,
    };
    let greeting = greet(io);
    match tokio::time::timeout_at(deadline, greeting).await {
        Ok(Ok(ready)) => Ok(ready),
        Ok(Err(error)) => {
            Err(ConnectError::Socket { address, cause: not_http2(settings, &crate::body::chain(&error)) })
        }
        Err(_elapsed) => Err(ConnectError::Socket {
            address,
            cause: not_http2(
                settings,
                &format!("no answer to a ping within {} ms", settings.connect_timeout.as_millis()),
            ),
        }),
    }
}

fn not_http2(settings: &ConnectionSettings, cause: &str) -> String {
    let doubt = match settings.tls {
        None => "does it speak gRPC without TLS on this port?",
        Some(_) => "does it speak gRPC on this port?",
    };
    format!("no HTTP/2 connection: {cause} ({doubt})")
}

/// The HTTP/2 preface, and a ping: a connection counts only once the other side has shown that it speaks HTTP/2.
async fn greet(io: Io) -> Result<(SendRequest<MessageBuf>, Driver, PingPong), h2::Error> {
    let (send, mut driver) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .enable_push(false)
        .handshake::<_, MessageBuf>(io)
        .await?;
    // A connection has exactly one of these, and nobody has taken it.
    let mut pings = driver.ping_pong().ok_or(h2::Reason::INTERNAL_ERROR)?;
    {
        let pong = pings.ping(Ping::opaque());
        let mut pong = pin!(pong);
        tokio::select! {
            biased;
            pong = &mut pong => { pong?; }
            ended = &mut driver => { ended?; return Err(h2::Reason::NO_ERROR.into()); }
        }
    }
    Ok((send, driver, pings))
}

/// Drives a connection to its end and says why it ended. Looks at it by interval and after calls without an answer.
async fn drive(mut driver: Driver, mut pings: PingPong, vitals: &Vitals, keepalive: Option<Keepalive>) -> String {
    let mut watch = Watch::new(keepalive, Instant::now());
    loop {
        tokio::select! {
            biased;
            ended = &mut driver => {
                return ended.map_or_else(|error| crate::body::chain(&error), |()| "closed".to_owned());
            }
            pong = poll_fn(|cx| pings.poll_pong(cx)), if watch.waiting => match pong {
                Ok(_) => watch.answered(Instant::now()),
                Err(error) => return crate::body::chain(&error),
            },
            () = tokio::time::sleep_until(watch.next), if watch.timed() => {
                if watch.waiting {
                    return format!("no answer to a ping within {} ms", watch.timeout.as_millis());
                }
                let in_use = vitals.calls.load(Ordering::Relaxed) > 0;
                if watch.wants_ping(in_use, Instant::now()) && pings.send_ping(Ping::opaque()).is_err() {
                    return "no ping can be sent".to_owned();
                }
            }
            () = vitals.suspect.notified() => watch.suspected(Instant::now()),
        }
    }
}

/// When to ping, and until when to wait for the answer.
struct Watch {
    keepalive: Option<Keepalive>,
    /// A ping is under way.
    waiting: bool,
    /// A call got no answer: a ping is due at `next`, whatever the settings say.
    suspicious: bool,
    timeout: Duration,
    /// When the next ping is due, or when the answer must have come.
    next: Instant,
    /// No ping out of suspicion before then.
    quiet_until: Instant,
}

impl Watch {
    fn new(keepalive: Option<Keepalive>, now: Instant) -> Watch {
        let timeout = keepalive.map_or(SUSPICION_TIMEOUT, |keepalive| keepalive.timeout);
        let next = now + keepalive.map_or(SUSPICION_PAUSE, |keepalive| keepalive.interval);
        Watch { keepalive, waiting: false, suspicious: false, timeout, next, quiet_until: now }
    }

    fn timed(&self) -> bool {
        self.waiting || self.suspicious || self.keepalive.is_some()
    }

    fn answered(&mut self, now: Instant) {
        self.waiting = false;
        self.next = now + self.keepalive.map_or(SUSPICION_PAUSE, |keepalive| keepalive.interval);
    }

    /// The time has come: whether to ping now.
    fn wants_ping(&mut self, in_use: bool, now: Instant) -> bool {
        let regular = self.keepalive.is_some_and(|keepalive| in_use || keepalive.when == KeepaliveWhen::Always);
        if self.suspicious || regular {
            self.suspicious = false;
            self.waiting = true;
            self.quiet_until = now + SUSPICION_PAUSE;
            self.next = now + self.timeout;
            return true;
        }
        self.next = now + self.keepalive.map_or(SUSPICION_PAUSE, |keepalive| keepalive.interval);
        false
    }

    fn suspected(&mut self, now: Instant) {
        if !self.waiting && !self.suspicious {
            self.suspicious = true;
            let soonest = now.max(self.quiet_until);
            self.next = if self.keepalive.is_some() { soonest.min(self.next) } else { soonest };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_settings_only_suspicion_pings_and_not_too_often() {
        let now = Instant::now();
        let mut watch = Watch::new(None, now);
        assert!(!watch.timed());
        watch.suspected(now);
        assert!(watch.timed() && watch.next == now);
        assert!(watch.wants_ping(false, now));
        assert!(watch.waiting && watch.next == now + SUSPICION_TIMEOUT);
        watch.answered(now);
        assert!(!watch.timed());
        watch.suspected(now);
        assert_eq!(watch.next, now + SUSPICION_PAUSE, "servers count pings");
    }

    #[tokio::test]
    async fn an_idle_connection_is_pinged_only_where_that_is_permitted() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let keepalive = |when| Some(Keepalive { interval: second, timeout: second, when });
        assert!(!Watch::new(keepalive(KeepaliveWhen::CallsInFlight), now).wants_ping(false, now));
        assert!(Watch::new(keepalive(KeepaliveWhen::CallsInFlight), now).wants_ping(true, now));
        assert!(Watch::new(keepalive(KeepaliveWhen::Always), now).wants_ping(false, now));
    }
}
