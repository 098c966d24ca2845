//! HTTP over loopback sockets: payloads, refusals, redirects, proxies, capped answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::Authorization;
use auth::Secret;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use transport::coding::{Coding, Level, compress};
use transport::http_client::{HttpClient, HttpClientSettings, HttpError, HttpReply, HttpRequest, Proxy, Redirects};
use transport::server::{BodyLimits, ResponseBody, ServerSettings};
use url::Url;

use crate::samples::telemetry_like;
use crate::support::{Server, echo_http, http_server};

fn client(settings: HttpClientSettings) -> HttpClient {
    HttpClient::new(settings).unwrap()
}

fn coded(coding: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding))])
}

async fn post(client: &HttpClient, url: Url, headers: HeaderMap, body: Bytes) -> HttpReply {
    client.send(HttpRequest::post(url, headers, body)).await.unwrap()
}

#[tokio::test]
async fn every_content_coding_is_understood_on_one_kept_connection() {
    let server = http_server(ServerSettings::default());
    let client = client(HttpClientSettings::default());
    let payload = telemetry_like(100_000);
    for coding in Coding::ALL {
        let packed = compress(coding, Level::Fast, &payload);
        let reply = post(&client, server.url("/"), coded(coding.name()), packed).await;
        assert_eq!((reply.status, reply.truncated), (StatusCode::OK, false));
        assert!(reply.body == payload, "{coding}");
    }
    assert_eq!(server.stats.accepted(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_right_status() {
    let limits = BodyLimits { bytes_max: 10_000, ..BodyLimits::default() };
    let server = Server::start(ServerSettings::default(), move |request, _| echo_http(request, limits));
    let client = client(HttpClientSettings::default());
    let check = async |coding: &'static str, body: Bytes, expected: StatusCode| {
        let reply = post(&client, server.url("/"), coded(coding), body).await;
        assert_eq!(reply.status, expected, "{coding}: {:?}", reply.body);
    };
    check("identity", Bytes::from(vec![0; 10_000]), StatusCode::OK).await;
    check("identity", Bytes::from(vec![0; 10_001]), StatusCode::PAYLOAD_TOO_LARGE).await;
    check("br", Bytes::from_static(b"x"), StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    for coding in ["gzip", "zstd", "deflate", "lz4", "snappy"] {
        let bomb = compress(Coding::parse(coding).unwrap(), Level::Fast, &vec![0; 150_000]);
        assert!(bomb.len() < 10_000);
        check(coding, bomb, StatusCode::PAYLOAD_TOO_LARGE).await;
        check(coding, Bytes::from_static(b"no compressed stream"), StatusCode::BAD_REQUEST).await;
        check(coding, Bytes::new(), StatusCode::BAD_REQUEST).await;
    }
    check("identity", Bytes::from_static(b"alive"), StatusCode::OK).await;
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_capped_as_well() {
    let limits = BodyLimits { bytes_max: 1000, ..BodyLimits::default() };
    let server = Server::start(ServerSettings::default(), move |request, _| echo_http(request, limits));
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    socket.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        // The server may have closed its side already.
        let _sent = socket.write_all(b"64\r\n").await;
        let _sent = socket.write_all(&[b'x'; 100]).await;
        let _sent = socket.write_all(b"\r\n").await;
    }
    let mut answer = vec![0; 1000];
    let read = socket.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 413"), "{:?}", String::from_utf8_lossy(&answer[..read]));
}

#[tokio::test]
async fn an_answer_is_decompressed_where_the_request_accepts_it() {
    let server = Server::start(ServerSettings::default(), |request, _| async move {
        let mut response = Response::new(ResponseBody::full(compress(Coding::Gzip, Level::Fast, &[b'm'; 5000])));
        if request.headers().contains_key(header::ACCEPT_ENCODING) {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    });
    let client = client(HttpClientSettings::default());
    let mut request = HttpRequest::get(server.url("/metrics"));
    assert!(client.send(request.clone()).await.unwrap().body.starts_with(&[0x1f, 0x8b]));
    request.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(client.send(request.clone()).await.unwrap().body, vec![b'm'; 5000]);
    request.response_bytes_max = Some(4999);
    let error = client.send(request).await.unwrap_err();
    assert!(matches!(&error, HttpError::Coding { cause, .. } if cause.contains("4999")), "{error}");
}

/// A server that answers every request on every connection with the same bytes, then with `tail` again and again.
async fn raw_server(head: &'static [u8], tail: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if socket.write_all(head).await.is_err() {
                        return;
                    }
                    while let Some(tail) = tail {
                        if socket.write_all(tail).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_the_limit() {
    let port = raw_server(b"HTTP/1.1 200 OK\r\n\r\n", Some(&[b'x'; 8192])).await;
    let settings = HttpClientSettings { response_bytes_max: 100_000, ..HttpClientSettings::default() };
    let url: Url = format!("http://127.0.0.1:{port}/").parse().unwrap();
    let reply = client(settings).send(HttpRequest::get(url)).await.unwrap();
    assert_eq!((reply.body.len(), reply.truncated), (100_000, true));
}

#[tokio::test]
async fn endless_header_fields_are_an_error() {
    let port = raw_server(b"HTTP/1.1 200 OK\r\n", Some(b"x-flood: 0123456789\r\n")).await;
    let url: Url = format!("http://127.0.0.1:{port}/").parse().unwrap();
    let error = client(HttpClientSettings::default()).send(HttpRequest::get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up_in_time() {
    let port = raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", None).await;
    let url: Url = format!("http://127.0.0.1:{port}/").parse().unwrap();
    let settings = HttpClientSettings { timeout: Some(Duration::from_millis(300)), ..HttpClientSettings::default() };
    let error = client(settings).send(HttpRequest::get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::TimedOut { timeout_ms: 300, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_and_not_a_short_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await.unwrap();
    });
    let error = client(HttpClientSettings::default()).send(HttpRequest::get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_is_a_connect_error_without_secrets() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url: Url = format!("http://user:hunter2@127.0.0.1:{port}/v1?key=hunter2").parse().unwrap();
    let error = client(HttpClientSettings::default()).send(HttpRequest::get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}/v1")) && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let settings = ServerSettings { idle_timeout: Some(Duration::from_millis(100)), ..ServerSettings::default() };
    let server = http_server(settings);
    let client = client(HttpClientSettings::default());
    for _ in 0..3 {
        let reply = post(&client, server.url("/"), HeaderMap::new(), Bytes::from_static(b"x")).await;
        assert_eq!(reply.status, StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(server.stats.accepted(), 3);
}

#[tokio::test]
async fn retry_after_is_read_from_the_answer() {
    let server = Server::start(ServerSettings::default(), |_, _| async {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("17"));
        response
    });
    let reply = client(HttpClientSettings::default()).send(HttpRequest::get(server.url("/"))).await.unwrap();
    assert_eq!(reply.retry_after(SystemTime::now_for_tests()), Some(Duration::from_secs(17)));
}

trait NowForTests {
    fn now_for_tests() -> SystemTime;
}

impl NowForTests for SystemTime {
    fn now_for_tests() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }
}

// === redirects ===

/// A server that shows which credentials it was sent, and one that redirects to it.
struct Redirecting {
    target: Server,
    first: Server,
}

impl Redirecting {
    fn start(status: u16) -> Redirecting {
        let target = Server::start(ServerSettings::default(), |request, _| async move {
            let sent = ["authorization", "x-api-key", "cookie"];
            let seen: Vec<_> = sent.into_iter().filter(|name| request.headers().contains_key(*name)).collect();
            let text = format!("{} {} {}", request.method(), request.uri().path(), seen.join(","));
            Response::new(ResponseBody::full(text))
        });
        let elsewhere = target.url("/target").to_string();
        let first = Server::start(ServerSettings::default(), move |request, _| {
            let elsewhere = elsewhere.clone();
            async move {
                let location = match request.uri().path() {
                    "/other" => elsewhere,
                    "/same" => "/end".to_owned(),
                    "/loop" => "/loop".to_owned(),
                    "/file" => "file:///etc/passwd".to_owned(),
                    _ => return Response::new(ResponseBody::full("end")),
                };
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&location).unwrap());
                response
            }
        });
        Redirecting { target, first }
    }

    async fn ask(&self, redirects: Redirects, method: Method, path: &str) -> Result<HttpReply, HttpError> {
        let mut settings = HttpClientSettings { redirects, ..HttpClientSettings::default() };
        settings.headers.insert("x-api-key", HeaderValue::from_static("secret"));
        settings.credentials = Some(Arc::new(Authorization::bearer("Bearer", &Secret::new("secret")).unwrap()));
        let mut request = HttpRequest::get(self.first.url(path));
        request.method = method;
        request.headers.insert(header::COOKIE, HeaderValue::from_static("secret"));
        client(settings).send(request).await
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_unless_following_was_asked_for() {
    let servers = Redirecting::start(302);
    let reply = servers.ask(Redirects::Refused, Method::GET, "/same").await.unwrap();
    assert_eq!(reply.status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_redirect_to_another_host_never_gets_the_credentials() {
    let servers = Redirecting::start(302);
    let error = servers.ask(Redirects::SameHost, Method::GET, "/other").await.unwrap_err();
    assert!(matches!(&error, HttpError::Redirect { reason, .. } if reason.contains("another host")), "{error}");
    assert_eq!(servers.target.stats.accepted(), 0);
    let reply = servers.ask(Redirects::AnyHostWithoutCredentials, Method::GET, "/other").await.unwrap();
    assert_eq!(reply.body, "GET /target ");
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_not_connected_to() {
    let server = Server::start(ServerSettings::default(), |_, _| async { Response::new(ResponseBody::full("ok")) });
    let settings =
        HttpClientSettings { address_is_allowed: |address| !address.is_loopback(), ..HttpClientSettings::default() };
    let error = client(settings).send(HttpRequest::get(server.url("/"))).await.unwrap_err();
    assert!(error.to_string().contains("not allowed"), "{error}");
    assert_eq!(server.stats.accepted(), 0);
}

#[tokio::test]
async fn redirects_on_the_same_host_are_followed_five_times() {
    let servers = Redirecting::start(307);
    assert_eq!(servers.ask(Redirects::SameHost, Method::GET, "/same").await.unwrap().body, "end");
    assert_eq!(servers.ask(Redirects::SameHost, Method::POST, "/same").await.unwrap().body, "end");
    let error = servers.ask(Redirects::SameHost, Method::GET, "/loop").await.unwrap_err();
    assert!(matches!(&error, HttpError::Redirect { reason, .. } if reason.contains("five")), "{error}");
}

#[tokio::test]
async fn a_redirect_to_a_file_or_one_that_loses_the_body_is_not_followed() {
    let servers = Redirecting::start(302);
    let error = servers.ask(Redirects::AnyHostWithoutCredentials, Method::GET, "/file").await.unwrap_err();
    assert!(matches!(&error, HttpError::Redirect { reason, .. } if reason.contains("http and https")), "{error}");
    let error = servers.ask(Redirects::SameHost, Method::POST, "/same").await.unwrap_err();
    assert!(matches!(&error, HttpError::Redirect { reason, .. } if reason.contains("body")), "{error}");
}

// === proxies ===

#[tokio::test]
async fn a_proxy_is_asked_with_the_whole_address_and_its_own_credentials() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy: Url = format!("http://pat:word@{}", listener.local_addr().unwrap()).parse().unwrap();
    let seen = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = socket.read(&mut request).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        String::from_utf8(request[..read].to_vec()).unwrap()
    });
    let settings = HttpClientSettings { proxy: Some(Proxy::new(&proxy).unwrap()), ..HttpClientSettings::default() };
    let url: Url = "http://backend.invalid:9090/api?x=1".parse().unwrap();
    assert_eq!(client(settings).send(HttpRequest::get(url)).await.unwrap().body, "ok");
    let seen = seen.await.unwrap();
    assert!(seen.starts_with("GET http://backend.invalid:9090/api?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("host: backend.invalid:9090\r\n") && seen.contains("proxy-authorization: Basic cGF0OndvcmQ=")
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_is_named() {
    let port = raw_server(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", None).await;
    let proxy: Url = format!("http://pat:word@127.0.0.1:{port}").parse().unwrap();
    let settings = HttpClientSettings { proxy: Some(Proxy::new(&proxy).unwrap()), ..HttpClientSettings::default() };
    let url: Url = "https://backend.invalid/".parse().unwrap();
    let error = client(settings).send(HttpRequest::get(url)).await.unwrap_err().to_string();
    assert!(error.contains("proxy") && error.contains("403") && !error.contains("word"), "{error}");
}
