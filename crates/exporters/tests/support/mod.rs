//! Builds an exporter from YAML, and a backend that records what it gets and answers as it is told.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{Authenticators, BuildContext, BuiltExporter, Outcome, Registry};
use config::{ComponentId, Diagnostics, Section, TestEnvironment};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use otlp::encode::LogsEncoder;
use otlp::{Batch, Signal};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use transport::coding::Coding;
use transport::endpoint::Endpoint;
use transport::grpc::{self, GrpcLimits, Status};
use transport::server::{
    BodyLimits, ConnInfo, PortSharing, RequestBody, ResponseBody, ServerSettings, bind, read_payload, serve,
};

/// What a backend got.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    /// What stands behind `?`; none over gRPC.
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub payload: Bytes,
    /// The compressed form, without gRPC's prefix.
    pub frame: Option<(Coding, Bytes)>,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Grpc(Result<Bytes, Status>),
    Http(StatusCode, HeaderMap, Bytes),
    Never,
}

#[derive(Clone)]
pub struct Backend {
    pub port: u16,
    state: Arc<Mutex<(Vec<Got>, Answer)>>,
    stop: CancellationToken,
}

impl Backend {
    pub async fn start(answer: Answer) -> Backend {
        let listener = bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
        let port = listener.port().unwrap();
        let backend = Backend { port, state: Arc::new(Mutex::new((vec![], answer))), stop: CancellationToken::new() };
        let handler = {
            let backend = backend.clone();
            move |request: Request<RequestBody>, _: Arc<ConnInfo>| {
                let backend = backend.clone();
                async move { backend.answer(request).await }
            }
        };
        tokio::spawn(serve(listener, ServerSettings::default(), handler, backend.stop.clone()));
        backend
    }

    pub fn set(&self, answer: Answer) {
        self.state.lock().1 = answer;
    }

    pub fn got(&self) -> Vec<Got> {
        self.state.lock().0.clone()
    }

    fn record(&self, got: Got) -> Answer {
        let mut state = self.state.lock();
        state.0.push(got);
        state.1.clone()
    }

    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        if grpc::is_grpc(request.headers()) {
            return grpc::unary(request, &GrpcLimits::default(), async |call| {
                let frame = call.frame.as_ref().map(|frame| (frame.coding, frame.bytes.clone()));
                let (path, headers) = (call.path().to_owned(), call.metadata().clone());
                match self.record(Got { path, query: None, headers, payload: call.message, frame }) {
                    Answer::Grpc(answer) => answer,
                    _ => std::future::pending().await,
                }
            })
            .await;
        }
        let (head, body) = request.into_parts();
        let payload = read_payload(&head.headers, body, &BodyLimits::default()).await.unwrap();
        let frame = payload.frame.map(|frame| (frame.coding, frame.bytes));
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
        let got = Got { path, query, headers: head.headers, payload: payload.bytes, frame };
        match self.record(got) {
            Answer::Http(status, headers, body) => {
                let mut response = Response::new(ResponseBody::full(body));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                response
            }
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // The handler holds one clone and the test another.
        if Arc::strong_count(&self.state) <= 2 {
            self.stop.cancel();
        }
    }
}

fn built(id: &str, yaml: &str) -> Result<BuiltExporter, String> {
    built_beside(&Authenticators::none(), id, yaml)
}

/// An exporter that may name authenticators.
pub fn built_beside(authenticators: &Authenticators, id: &str, yaml: &str) -> Result<BuiltExporter, String> {
    let id: ComponentId = id.parse().unwrap();
    let mut registry = Registry::default();
    exporters::register(&mut registry);
    let env = TestEnvironment::new().with_var("TOKEN", "sesame");
    let loaded = config::parse_str("test.yaml", yaml, &env).unwrap_or_else(|error| panic!("{error}"));
    let mut diagnostics = Diagnostics::new();
    let build = registry.exporter(&id.kind).unwrap().build;
    let section = Section::open(&loaded.root, "exporters.test", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext { authenticators, ..BuildContext::alone(&id) }));
    diagnostics.finish_with(built).map(|(built, _)| built).map_err(|errors| errors.to_string())
}

pub fn exporter(id: &str, yaml: &str) -> BuiltExporter {
    built(id, yaml).unwrap_or_else(|errors| panic!("{errors}"))
}

pub fn errors(id: &str, yaml: &str) -> String {
    built(id, yaml).err().unwrap_or_default()
}

/// Encodes a batch and sends its one request.
pub async fn send(built: &BuiltExporter, batch: &Batch) -> Outcome {
    let encoded = built.exporter.encode(batch);
    assert_eq!((encoded.requests.len(), encoded.rejected.len()), (1, 0));
    assert_eq!(encoded.requests[0].items, u64::from(batch.items()));
    let sending = built.exporter.send(&encoded.requests[0]);
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("an outcome in time")
}

/// An outcome in one line.
pub fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { rejected: None } => "delivered".to_owned(),
        Outcome::Delivered { rejected: Some(rejection) } => {
            format!("delivered, {} rejected: {}", rejection.items, rejection.failure.cause)
        }
        Outcome::Retry { after: Some(after), failure } => format!("retry after {after:?}: {}", failure.cause),
        Outcome::Retry { after: None, failure } => format!("retry: {}", failure.cause),
        Outcome::Reject { failure } => format!("reject: {}", failure.cause),
    }
}

pub fn logs(items: u32) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|resource| {
        resource.scope_logs(|scope| {
            for index in 0..items {
                scope.log_record(|record| {
                    record.time_unix_nano(u64::from(index) + 1).severity_text("INFO");
                });
            }
        });
    });
    let batch = encoder.finish();
    assert_eq!(batch.signal(), Signal::Logs);
    batch
}

pub fn header(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
}
