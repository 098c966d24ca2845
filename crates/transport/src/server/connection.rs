//! One connection: handshake, protocol, time-outs, graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pin_project_lite::pin_project;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::watched::Watched;
use super::{Accepted, ConnInfo, DateHeader, Preflights, Protocols, ServerSettings, ServerStats, secure};
use crate::body::{Receiving, RequestBody, ResponseBody};
use crate::grpc::{self, Status};
use auth::{AuthError, Authenticator, Verdict};

/// What all connections of a server have in common.
pub(super) struct Shared<H> {
    pub(super) settings: ServerSettings,
    /// Ends connections at once.
    pub(super) cut: CancellationToken,
    handler: H,
    stats: Arc<ServerStats>,
    stop: CancellationToken,
    receiving: Arc<Receiving>,
    builder: auto::Builder<TokioExecutor>,
    /// Slow hashes of passwords that are computed at once.
    hashing: Arc<Semaphore>,
}

/// However many cores there are, one of them at most is for passwords.
const HASHING_MAX: usize = 1;
/// Whoever has no turn by then is told to come again.
const HASHING_WAIT_MAX: Duration = Duration::from_secs(5);

impl<H> Shared<H> {
    pub(super) fn new(
        settings: ServerSettings,
        handler: H,
        stats: Arc<ServerStats>,
        stop: CancellationToken,
    ) -> Shared<H> {
        let builder = protocol_builder(&settings);
        let receiving = Arc::new(Receiving::new(settings.receiving_bytes_max));
        let hashing = Arc::new(Semaphore::new(HASHING_MAX));
        Shared { settings, cut: CancellationToken::new(), handler, stats, stop, receiving, builder, hashing }
    }
}

fn protocol_builder(settings: &ServerSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let date = settings.date_header == DateHeader::Sent;
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_read_timeout).auto_date_header(date);
    let http2 = &settings.http2;
    builder
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(false)
        .initial_stream_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes)
        .max_frame_size(http2.frame_bytes_max)
        .max_concurrent_streams(http2.concurrent_streams_max)
        .max_header_list_size(http2.header_list_bytes_max)
        .max_pending_accept_reset_streams(http2.pending_reset_streams_max)
        .max_local_error_reset_streams(http2.local_reset_streams_max)
        .keep_alive_interval(http2.keepalive_interval)
        .keep_alive_timeout(http2.keepalive_timeout)
        .auto_date_header(date);
    match settings.protocols {
        Protocols::Http1AndHttp2 => builder,
        Protocols::Http2Only => builder.http2_only(),
    }
}

/// Serves one connection to its end.
pub(super) async fn run<H, F>(shared: Arc<Shared<H>>, accepted: Accepted)
where
    H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let Accepted { socket, peer, local, open: _open } = accepted;
    let (tls, limit) = (shared.settings.tls.as_deref(), shared.settings.tls_handshake_timeout);
    let handshake = secure(tls, limit, socket, peer, &shared.stats);
    let secured = tokio::select! {
        biased;
        secured = handshake => secured,
        () = shared.stop.cancelled() => return,
    };
    let Some((io, tls)) = secured else { return };
    let activity = Arc::new(Activity::new());
    let info = Arc::new(ConnInfo { peer, local, tls });
    let service = RequestService { shared: Arc::clone(&shared), info, activity: Arc::clone(&activity) };
    let io = Watched::new(io, Arc::clone(&activity));
    let connection = shared.builder.serve_connection(TokioIo::new(io), service);
    if let Err(cause) = drive(&shared, connection, &activity).await {
        tracing::debug!(?peer, %cause, "connection ended with an error");
    }
}

/// What a connection is doing, as seen by its time-outs.
pub(super) struct Activity {
    started: Instant,
    /// The client has introduced itself as one of HTTP/2, and may be silent from now on.
    greeted: AtomicBool,
    requests: AtomicU64,
    in_work: AtomicUsize,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            started: Instant::now(),
            greeted: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            in_work: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn greet(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.greeted.load(Ordering::Relaxed) || self.requests.load(Ordering::Relaxed) > 0
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// What the connection's clock says.
enum Due {
    /// Nothing before then.
    Wait(Instant),
    /// End it gently.
    Drain,
    /// End it.
    Cut,
}

/// Runs the connection beside its clock and the signals to stop.
async fn drive<H, S>(
    shared: &Shared<H>,
    connection: auto::Connection<'_, TokioIo<Watched>, S, TokioExecutor>,
    activity: &Activity,
) -> Result<(), String>
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let mut connection = pin!(connection);
    let mut stop = pin!(shared.stop.cancelled());
    let mut cut = pin!(shared.cut.cancelled());
    let mut clock = ConnectionClock::new(&shared.settings, activity.started);
    let mut timer = pin!(tokio::time::sleep_until(clock.first()));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended.map_err(|error| crate::body::chain(&*error)),
            () = &mut cut => return Ok(()),
            () = &mut stop, if !clock.draining => {
                clock.draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = timer.as_mut() => match clock.due(&shared.settings, activity, Instant::now()) {
                Due::Wait(until) => timer.as_mut().reset(until),
                Due::Cut => return Ok(()),
                Due::Drain => {
                    clock.draining = true;
                    connection.as_mut().graceful_shutdown();
                    timer.as_mut().reset(clock.cut_at.unwrap_or_else(far_future));
                }
            },
        }
    }
}

/// When a connection has to be looked at.
struct ConnectionClock {
    draining: bool,
    age_at: Option<Instant>,
    cut_at: Option<Instant>,
    started: Instant,
}

impl ConnectionClock {
    fn new(settings: &ServerSettings, started: Instant) -> ConnectionClock {
        // Connections that began together must not all end together.
        let age_at = settings.connection_age_max.map(|age| started + age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        ConnectionClock { draining: false, age_at, cut_at: None, started }
    }

    fn first(&self) -> Instant {
        self.started
    }

    fn due(&mut self, settings: &ServerSettings, activity: &Activity, now: Instant) -> Due {
        if self.cut_at.is_some_and(|at| now >= at) {
            return Due::Cut;
        }
        if self.draining {
            return Due::Wait(self.cut_at.unwrap_or_else(far_future));
        }
        if self.age_at.is_some_and(|at| now >= at) {
            self.cut_at = settings.connection_age_grace.map(|grace| now + grace);
            return Due::Drain;
        }
        let mut next = self.age_at.unwrap_or_else(far_future);
        if !activity.has_begun() {
            // Nothing may hold a connection without ever completing a preface or a request's head.
            let at = self.started + settings.header_read_timeout;
            if now >= at {
                return Due::Cut;
            }
            next = next.min(at);
        } else if let Some(idle) = settings.idle_timeout {
            let in_work = activity.in_work.load(Ordering::Relaxed) > 0;
            let at = if in_work { now + idle } else { activity.last() + idle };
            if now >= at {
                // A client that ignores the request to go is cut after as long again.
                self.cut_at = Some(now + idle);
                return Due::Drain;
            }
            next = next.min(at);
        }
        Due::Wait(next)
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}

/// Turns hyper's requests into ours.
struct RequestService<H> {
    shared: Arc<Shared<H>>,
    info: Arc<ConnInfo>,
    activity: Arc<Activity>,
}

impl<H, F> Service<Request<Incoming>> for RequestService<H>
where
    H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answer<F>;

    fn call(&self, request: Request<Incoming>) -> Answer<F> {
        let in_work = InWork::new(Arc::clone(&self.activity));
        let Some(authenticator) = self.authenticator(&request) else { return self.handle(request, in_work) };
        match authenticator.check(request.headers()) {
            Verdict::Decided(Ok(())) => self.handle(request, in_work),
            Verdict::Decided(Err(error)) => {
                let response = refuse(request.headers(), error, authenticator.challenge());
                Answer::Refused { response: Some(response), in_work }
            }
            Verdict::Costly(check) => {
                let (shared, info, challenge) =
                    (Arc::clone(&self.shared), Arc::clone(&self.info), authenticator.challenge());
                let future = Box::pin(async move {
                    match hash(&shared.hashing, check).await {
                        Ok(()) => (shared.handler)(shared.received(request), info).await,
                        Err(error) => refuse(request.headers(), error, challenge),
                    }
                });
                Answer::Checked { future, in_work: Some(in_work) }
            }
        }
    }
}

impl<H, F> RequestService<H>
where
    H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    /// Whom to ask about a request.
    fn authenticator(&self, request: &Request<Incoming>) -> Option<&dyn Authenticator> {
        let authenticator = self.shared.settings.authenticator.as_deref()?;
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ORIGIN)
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let passes = is_preflight && self.shared.settings.preflights == Preflights::Pass;
        (!passes).then_some(authenticator)
    }

    fn handle(&self, request: Request<Incoming>, in_work: InWork) -> Answer<F> {
        let request = self.shared.received(request);
        Answer::Handler { future: (self.shared.handler)(request, Arc::clone(&self.info)), in_work: Some(in_work) }
    }
}

impl<H> Shared<H> {
    /// The request for the handler, with the limits on its body.
    fn received(&self, request: Request<Incoming>) -> Request<RequestBody> {
        let deadline = self.settings.request_read_timeout.map(|limit| Instant::now() + limit);
        let receiving = Arc::clone(&self.receiving);
        request.map(|incoming| RequestBody::new(incoming, deadline, receiving))
    }
}

/// Runs a costly check beside the requests of others, in its turn.
async fn hash(
    hashing: &Arc<Semaphore>,
    check: Box<dyn FnOnce() -> Result<(), AuthError> + Send>,
) -> Result<(), AuthError> {
    let turn = tokio::time::timeout(HASHING_WAIT_MAX, Arc::clone(hashing).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(AuthError::Busy) };
    let checked = tokio::task::spawn_blocking(move || {
        // The turn ends with the work, also where the client has gone meanwhile.
        let _turn = turn;
        check()
    });
    checked.await.unwrap_or(Err(AuthError::Busy))
}

fn refuse(request: &HeaderMap, error: AuthError, challenge: HeaderValue) -> Response<ResponseBody> {
    let (code, status) = match error {
        AuthError::Missing | AuthError::Invalid => (grpc::Code::Unauthenticated, StatusCode::UNAUTHORIZED),
        AuthError::Busy => (grpc::Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
    };
    if grpc::is_grpc(request) {
        return Status::new(code, error.to_string()).into_response();
    }
    let mut response = super::text_response(status, error.to_string());
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Counts a request while it is in work.
struct InWork(Arc<Activity>);

impl InWork {
    fn new(activity: Arc<Activity>) -> InWork {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.in_work.fetch_add(1, Ordering::Relaxed);
        InWork(activity)
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_work.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// The future of a response: the handler's, at once or after a costly check, or one that is known already.
    #[project = AnswerProjection]
    pub(super) enum Answer<F> {
        Handler { #[pin] future: F, in_work: Option<InWork> },
        Checked { future: Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>, in_work: Option<InWork> },
        Refused { response: Option<Response<ResponseBody>>, in_work: InWork },
    }
}

/// A request with a stream for an answer is in work until the stream has ended.
fn in_work_while(
    mut response: Response<ResponseBody>,
    in_work: &mut Option<InWork>,
) -> Result<Response<ResponseBody>, Infallible> {
    if let Some(in_work) = in_work.take() {
        response.body_mut().keep(in_work);
    }
    Ok(response)
}

impl<F: Future<Output = Response<ResponseBody>>> Future for Answer<F> {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProjection::Handler { future, in_work } => {
                future.poll(cx).map(|response| in_work_while(response, in_work))
            }
            AnswerProjection::Checked { future, in_work } => {
                future.as_mut().poll(cx).map(|response| in_work_while(response, in_work))
            }
            AnswerProjection::Refused { response, .. } => {
                Poll::Ready(Ok(response.take().unwrap_or_else(|| Response::new(ResponseBody::empty()))))
            }
        }
    }
}
