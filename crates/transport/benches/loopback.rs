//! What a unary gRPC call costs in CPU time on each side, over a loopback socket, beside bare sockets with the same
//! bytes. Run with `cargo bench -p crossfade-transport --bench loopback`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::grpc::{self, GrpcLimits};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};
use transport::server::{self, BodyLimits, PortSharing, ResponseBody, ServerSettings};

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const RUN: Duration = Duration::from_secs(2);

type Case = fn(usize, usize);

/// Arguments choose cases by name, `grpc` for example.
fn main() {
    let chosen: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let cases: [(&str, Case); 3] = [("bare", bare_sockets), ("grpc", grpc), ("http1", http1)];
    for payload_bytes in [1_000, 70_000, 1_000_000] {
        for calls_at_once in [1, 8] {
            for (name, case) in cases {
                if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
                    case(payload_bytes, calls_at_once);
                }
            }
        }
    }
}

fn runtime(name: &str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().unwrap()
}

/// CPU time of all threads of that name, in nanoseconds, as the scheduler counted it.
fn cpu_ns(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = tasks.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    named
        .filter_map(|task| std::fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Makes calls for a while and prints what they cost.
fn measure<C, F>(what: &str, payload_bytes: usize, calls_at_once: usize, clients: &Runtime, call: C)
where
    C: Fn(usize) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let call = Arc::new(call);
    let run = |duration: Duration| {
        let done = Arc::new(AtomicU64::new(0));
        let before = (cpu_ns("client"), cpu_ns("server"));
        clients.block_on(async {
            let until = Instant::now() + duration;
            let callers: Vec<_> = (0..calls_at_once)
                .map(|index| {
                    let (call, done) = (Arc::clone(&call), Arc::clone(&done));
                    tokio::spawn(async move {
                        while Instant::now() < until {
                            call(index).await;
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
        });
        let calls = done.load(Ordering::Relaxed);
        let per_call = |now: u64, then: u64| (now - then) as f64 / 1000.0 / calls as f64;
        (
            per_call(cpu_ns("client"), before.0),
            per_call(cpu_ns("server"), before.1),
            calls as f64 / duration.as_secs_f64(),
        )
    };
    run(Duration::from_millis(300));
    let (client_us, server_us, rate) = run(RUN);
    println!(
        "{what:>13} {payload_bytes:>8} bytes x {calls_at_once}: client {client_us:7.2} us  server {server_us:7.2} us  both {:7.2} us  {rate:8.0}/s",
        client_us + server_us
    );
}

fn grpc(payload_bytes: usize, calls_at_once: usize) {
    let (servers, clients) = (runtime("server"), runtime("client"));
    let stop = CancellationToken::new();
    let endpoint = servers.block_on(async {
        let listener = server::bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
        let endpoint = Endpoint::parse(&listener.local().to_string()).unwrap();
        let handler = |request, _| async move {
            grpc::unary(request, &GrpcLimits::default(), |call| async move {
                std::hint::black_box(call.message);
                Ok(Bytes::new())
            })
            .await
        };
        tokio::spawn(server::serve(listener, ServerSettings::grpc(), handler, stop.clone()));
        endpoint
    });
    let client = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let payload = Bytes::from(vec![7_u8; payload_bytes]);
    measure("gRPC", payload_bytes, calls_at_once, &clients, move |_| {
        let (client, message) = (client.clone(), GrpcMessage::plain(payload.clone()));
        async move {
            client.call(PATH, message, &HeaderMap::new(), Some(Duration::from_secs(5))).await.unwrap();
        }
    });
    stop.cancel();
}

fn http1(payload_bytes: usize, calls_at_once: usize) {
    let (servers, clients) = (runtime("server"), runtime("client"));
    let stop = CancellationToken::new();
    let url = servers.block_on(async {
        let listener = server::bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
        let url: url::Url = format!("http://{}/v1/traces", listener.local()).parse().unwrap();
        let handler = |request: http::Request<server::RequestBody>, _| async move {
            let (head, body) = request.into_parts();
            std::hint::black_box(server::read_payload(&head.headers, body, &BodyLimits::default()).await.unwrap());
            http::Response::new(ResponseBody::empty())
        };
        tokio::spawn(server::serve(listener, ServerSettings::default(), handler, stop.clone()));
        url
    });
    let client = HttpClient::new(HttpClientSettings::default()).unwrap();
    let payload = Bytes::from(vec![7_u8; payload_bytes]);
    measure("HTTP/1.1", payload_bytes, calls_at_once, &clients, move |_| {
        let (client, url, payload) = (client.clone(), url.clone(), payload.clone());
        async move {
            client.send(HttpRequest::post(url, HeaderMap::new(), payload)).await.unwrap();
        }
    });
    stop.cancel();
}

/// The same bytes over bare sockets, one per caller: what the kernel and the runtime cost.
fn bare_sockets(payload_bytes: usize, calls_at_once: usize) {
    let (servers, clients) = (runtime("server"), runtime("client"));
    let address = servers.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut payload = vec![0; payload_bytes];
                    while socket.read_exact(&mut payload).await.is_ok() && socket.write_all(&[0; 50]).await.is_ok() {}
                });
            }
        });
        address
    });
    let payload = Bytes::from(vec![7_u8; payload_bytes]);
    let sockets: Vec<_> = (0..calls_at_once)
        .map(|_| Arc::new(tokio::sync::Mutex::new(clients.block_on(TcpStream::connect(address)).unwrap())))
        .collect();
    measure("bare sockets", payload_bytes, calls_at_once, &clients, move |index| {
        let (socket, payload) = (Arc::clone(&sockets[index]), payload.clone());
        async move {
            let mut socket = socket.lock().await;
            socket.write_all(&payload).await.unwrap();
            socket.read_exact(&mut [0; 50]).await.unwrap();
        }
    });
}
