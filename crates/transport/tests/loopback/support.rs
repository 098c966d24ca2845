//! What the tests over loopback sockets share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::coding::Coding;
use transport::endpoint::Endpoint;
use transport::grpc::{self, GrpcLimits, Status};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::server::{
    self, BodyLimits, ConnInfo, LocalAddress, PortSharing, RequestBody, ResponseBody, ServerSettings, ServerStats,
    Stopped,
};

pub const ECHO: &str = "/test.Service/Echo";
pub const EMPTY: &str = "/test.Service/Empty";

pub struct Server {
    pub local: LocalAddress,
    pub port: u16,
    pub stats: Arc<ServerStats>,
    pub stop: CancellationToken,
    task: JoinHandle<Stopped>,
}

impl Server {
    pub fn start<H, F>(settings: ServerSettings, handler: H) -> Server
    where
        H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        Server::start_at(&Endpoint::parse("127.0.0.1:0").unwrap(), settings, handler)
    }

    pub fn start_at<H, F>(endpoint: &Endpoint, settings: ServerSettings, handler: H) -> Server
    where
        H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        let listener = server::bind(endpoint, PortSharing::Exclusive).unwrap();
        let (local, port) = (listener.local(), listener.port().unwrap_or(0));
        let stop = CancellationToken::new();
        let stats = Arc::new(ServerStats::default());
        let task = tokio::spawn(server::serve_counted(listener, settings, handler, stop.clone(), Arc::clone(&stats)));
        Server { local, port, stats, stop, task }
    }

    pub fn endpoint(&self) -> Endpoint {
        match &self.local {
            LocalAddress::Tcp(address) => Endpoint::parse(&address.to_string()).unwrap(),
            LocalAddress::Unix(path) => Endpoint::Unix(path.clone()),
        }
    }

    pub fn url(&self, path: &str) -> url::Url {
        format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }

    pub async fn stop(self) -> Stopped {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// Answers payloads with themselves, over HTTP.
pub async fn echo_http(request: Request<RequestBody>, limits: BodyLimits) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    match server::read_payload(&head.headers, body, &limits).await {
        Ok(payload) => Response::new(ResponseBody::full(payload.bytes)),
        Err(error) => server::text_response(error.status(), error.to_string()),
    }
}

/// Answers messages with themselves or with nothing, over gRPC.
pub async fn echo_grpc(request: Request<RequestBody>, limits: GrpcLimits) -> Response<ResponseBody> {
    match request.uri().path() {
        ECHO => grpc::unary(request, &limits, |call| async move { Ok(call.message) }).await,
        EMPTY => grpc::unary(request, &limits, |_| async { Ok(Bytes::new()) }).await,
        other => Status::unknown_method(other).into_response(),
    }
}

pub fn grpc_server(settings: ServerSettings) -> Server {
    Server::start(settings, |request, _| echo_grpc(request, GrpcLimits::default()))
}

pub fn http_server(settings: ServerSettings) -> Server {
    Server::start(settings, |request, _| echo_http(request, BodyLimits::default()))
}

pub fn grpc_client(endpoint: Endpoint) -> GrpcClient {
    GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap()
}

pub async fn call(client: &GrpcClient, path: &'static str, payload: impl Into<Bytes>) -> Result<Bytes, Status> {
    let message = GrpcMessage::plain(payload.into());
    client.call(path, message, &http::HeaderMap::new(), Some(Duration::from_secs(5))).await
}

pub async fn call_packed(client: &GrpcClient, coding: Coding, payload: Bytes) -> Result<Bytes, Status> {
    let message = GrpcMessage { coding, payload };
    client.call(ECHO, message, &http::HeaderMap::new(), Some(Duration::from_secs(5))).await
}
