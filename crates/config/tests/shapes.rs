//! The shared shapes: their defaults, and that every option of theirs is read.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use config::shapes::{
    Compression, Cors, Endpoint, GrpcClient, GrpcServer, HttpClient, HttpServer, LoadBalancing, QueueBatch, Retry,
    Scheme, SendingQueue, Sizer, TlsClient, TlsMaterial, TlsServer, TlsVersion, Transport,
};
use config::{Diagnostics, Secret, Section, TestEnvironment, parse_str};

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// Reads a section that must be sound.
fn read<T>(yaml: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let root = parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap().root;
    let mut diagnostics = Diagnostics::new();
    let value = Section::open(&root, "s", &mut diagnostics).read(read);
    let warnings = diagnostics.finish().unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    value
}

/// Reads a section and checks the messages.
fn check_messages<T>(yaml: &str, read: impl FnOnce(&mut Section<'_>) -> T, expected: &[&str]) {
    let root = parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap().root;
    let mut diagnostics = Diagnostics::new();
    Section::open(&root, "s", &mut diagnostics).read(read);
    let found: Vec<String> = diagnostics
        .errors()
        .iter()
        .chain(diagnostics.warnings())
        .map(|d| format!("{}: {}", d.path, d.message))
        .collect();
    assert_eq!(found, expected, "for {yaml}");
}

#[test]
fn a_sending_queue_has_the_collectors_defaults() {
    let queue = read("", SendingQueue::read);
    assert_eq!(queue, SendingQueue::default());
    assert!(queue.enabled && !queue.block_on_overflow && !queue.wait_for_result);
    assert_eq!((queue.num_consumers, queue.queue_size, queue.sizer), (10, None, Sizer::Requests));
    assert_eq!((queue.storage, queue.batch), (None, None));
    let batch = read("batch: {}", SendingQueue::read).batch.unwrap();
    let expected =
        QueueBatch { flush_timeout: Duration::from_millis(200), min_size: 8192, max_size: None, sizer: Sizer::Items };
    assert_eq!(batch, expected);
}

#[test]
fn every_option_of_a_sending_queue_is_read() {
    let queue = read(
        "{enabled: false, num_consumers: 3, queue_size: 50000, sizer: bytes, block_on_overflow: true, wait_for_result: true,
          batch: {flush_timeout: 1s, min_size: 10, max_size: 20}}",
        SendingQueue::read,
    );
    assert!(!queue.enabled && queue.block_on_overflow && queue.wait_for_result);
    assert_eq!((queue.num_consumers, queue.queue_size, queue.sizer), (3, Some(50_000), Sizer::Bytes));
    let expected =
        QueueBatch { flush_timeout: Duration::from_secs(1), min_size: 10, max_size: Some(20), sizer: Sizer::Bytes };
    assert_eq!(queue.batch, Some(expected));
    let queue = read("{storage: file_storage/queue, batch: {sizer: bytes, enabled: false}}", SendingQueue::read);
    assert_eq!(queue.storage.unwrap().value.to_string(), "file_storage/queue");
    assert_eq!(queue.batch, None);
}

#[test]
fn a_sending_queue_that_cannot_work_is_refused() {
    let check = |yaml, expected: &[&str]| check_messages(yaml, SendingQueue::read, expected);
    check("{storage: s, wait_for_result: true}", &["s.wait_for_result: cannot be had with `storage`"]);
    check(
        "{sizer: requests, batch: {}}",
        &["s.batch.sizer: expected `items` or `bytes`: a batch cannot count requests"],
    );
    check("{batch: {min_size: 10, max_size: 5}}", &["s.batch.max_size: 5 is below `min_size` (10)"]);
    check("{batch: {flush_timeout: 0}}", &["s.batch.flush_timeout: expected a duration of more than `0s`, found `0`"]);
    check(
        "{batch: {partition: {metadata_keys: [a]}}}",
        &["s.batch.partition: not built yet: batches apart by metadata keys"],
    );
    check(
        "{sizer: items, queue_size: 100, batch: {}}",
        &["s.queue_size: is below `batch.min_size` (8192), which would never be reached"],
    );
}

#[test]
fn retries_have_the_collectors_defaults_and_options() {
    let retry = read("", Retry::read);
    assert_eq!(retry, Retry::default());
    assert_eq!(
        (retry.enabled, retry.initial_interval, retry.max_interval),
        (true, Duration::from_secs(5), Duration::from_secs(30))
    );
    assert_eq!((retry.max_elapsed_time, retry.multiplier, retry.randomization_factor), (None, 1.5, 0.5));
    let text = "{enabled: false, initial_interval: 1s, max_interval: 2s, max_elapsed_time: 0, multiplier: 2, randomization_factor: 0}";
    let expected = Retry {
        enabled: false,
        initial_interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(2),
        max_elapsed_time: Some(Duration::ZERO),
        multiplier: 2.0,
        randomization_factor: 0.0,
    };
    assert_eq!(read(text, Retry::read), expected);
    check_messages(
        "max_elapsed_time: 10s",
        Retry::read,
        &["s.max_elapsed_time: is below the longest wait (30s); `0` means without end"],
    );
}

#[test]
fn every_option_of_a_tls_client_is_read() {
    assert_eq!(read("", TlsClient::read), TlsClient::default());
    let text = "{insecure: true, insecure_skip_verify: true, server_name_override: other, ca_file: ca.pem, cert_pem: C,
                 key_pem: K, min_version: 1.2, max_version: '1.3', reload_interval: 24h, include_system_ca_certs_pool: true}";
    let expected = TlsClient {
        insecure: true,
        insecure_skip_verify: true,
        server_name_override: Some("other".to_owned()),
        ca: Some(TlsMaterial::File(PathBuf::from("ca.pem"))),
        include_system_ca_certs_pool: true,
        cert: Some(TlsMaterial::Pem(Secret::new("C"))),
        key: Some(TlsMaterial::Pem(Secret::new("K"))),
        min_version: Some(TlsVersion::V1_2),
        max_version: Some(TlsVersion::V1_3),
        reload_interval: seconds(86_400),
    };
    assert_eq!(read(text, TlsClient::read), expected);
    check_messages(
        "min_version: '1.0'",
        TlsClient::read,
        &["s.min_version: TLS 1.0 is broken and not offered: 1.2 is the least here"],
    );
    check_messages(
        "max_version: 1.1",
        TlsClient::read,
        &["s.max_version: expected `1.2` or `1.3`, found `1.1`: this version is broken and not offered"],
    );
}

#[test]
fn every_option_of_a_tls_server_is_read() {
    let text =
        "{cert_file: c.pem, key_file: k.pem, client_ca_file: ca.pem, client_ca_file_reload: true, min_version: '1.3',
                 max_version: '1.3', reload_interval: 1h}";
    let expected = TlsServer {
        cert: Some(TlsMaterial::File(PathBuf::from("c.pem"))),
        key: Some(TlsMaterial::File(PathBuf::from("k.pem"))),
        client_ca_file: Some(PathBuf::from("ca.pem")),
        client_ca_file_reload: true,
        min_version: Some(TlsVersion::V1_3),
        max_version: Some(TlsVersion::V1_3),
        reload_interval: seconds(3600),
    };
    assert_eq!(read(text, TlsServer::read), expected);
}

#[test]
fn every_option_of_a_grpc_client_is_read() {
    let client = read("", GrpcClient::read);
    assert_eq!(client, GrpcClient::default());
    let text =
        "{endpoint: 'https://tempo:4317', headers: {a: b}, timeout: 3s, compression: zstd, tls: {insecure: true},
                 keepalive: {time: 20s, timeout: 5s, permit_without_stream: true}, balancer_name: pick_first,
                 wait_for_ready: true, authority: auth.example, user_agent: me, auth: {authenticator: basicauth/x},
                 read_buffer_size: 1, write_buffer_size: 2}";
    let client = read(text, GrpcClient::read);
    let endpoint = client.endpoint.as_ref().unwrap();
    assert_eq!(
        (endpoint.value.address.to_string().as_str(), endpoint.value.scheme),
        ("tempo:4317", Some(Scheme::Https))
    );
    assert_eq!(client.headers, [("a".to_owned(), Secret::new("b"))]);
    assert_eq!((client.timeout, client.compression), (seconds(3), Some(Compression::Zstd)));
    let keepalive = client.keepalive.as_ref().unwrap();
    assert_eq!((keepalive.time.as_secs(), keepalive.timeout.as_secs(), keepalive.permit_without_stream), (20, 5, true));
    assert_eq!((client.balancer_name, client.wait_for_ready), (Some(LoadBalancing::PickFirst), true));
    assert_eq!((client.authority.as_deref(), client.user_agent.as_deref()), (Some("auth.example"), Some("me")));
    assert_eq!(client.auth.as_ref().unwrap().value.to_string(), "basicauth/x");
    assert_eq!((client.read_buffer_size, client.write_buffer_size), (Some(1), Some(2)));
    let keepalive = read("keepalive: {}", GrpcClient::read).keepalive.unwrap();
    assert_eq!(
        (keepalive.time.as_secs(), keepalive.timeout.as_secs(), keepalive.permit_without_stream),
        (10, 10, false)
    );
}

#[test]
fn a_grpc_client_speaks_tls_unless_told_otherwise() {
    let check =
        |yaml: &str, expected: bool| assert_eq!((yaml, read(yaml, GrpcClient::read).uses_tls()), (yaml, expected));
    check("endpoint: a:1", true);
    check("{endpoint: 'a:1', tls: {insecure: true}}", false);
    check("{endpoint: 'a:1', tls: {insecure: true, ca_file: x}}", true);
    check("endpoint: http://a:1", false);
    check("{endpoint: 'http://a:1', tls: {insecure: false}}", false);
    check("{endpoint: 'http://a:1', tls: {ca_file: x}}", true);
    check("{endpoint: 'https://a:1', tls: {insecure: true}}", true);
}

#[test]
fn every_option_of_a_grpc_server_is_read() {
    let server = read("", GrpcServer::read);
    assert_eq!((server.endpoint, server.transport, server.tls), (None, Transport::Tcp, None));
    assert_eq!((server.max_recv_msg_size_mib, server.max_concurrent_streams), (4, None));
    assert_eq!(read("max_recv_msg_size_mib: 0", GrpcServer::read).max_recv_msg_size_mib, 4);
    let text = "{endpoint: /run/c.sock, transport: unix, tls: {cert_file: c, key_file: k}, max_recv_msg_size_mib: 16,
                 max_concurrent_streams: 100, read_buffer_size: 1, write_buffer_size: 2, include_metadata: true,
                 auth: {authenticator: oidc},
                 keepalive: {server_parameters: {max_connection_idle: 1s, max_connection_age: 2s,
                 max_connection_age_grace: 3s, time: 4s, timeout: 5s},
                 enforcement_policy: {min_time: 6s, permit_without_stream: true}}}";
    let server = read(text, GrpcServer::read);
    assert_eq!(server.endpoint.unwrap().value, Endpoint::Unix(PathBuf::from("/run/c.sock")));
    assert_eq!((server.transport, server.tls.is_some()), (Transport::Unix, true));
    assert_eq!((server.max_recv_msg_size_mib, server.max_concurrent_streams), (16, Some(100)));
    assert_eq!((server.read_buffer_size, server.write_buffer_size, server.include_metadata), (Some(1), Some(2), true));
    assert_eq!(server.auth.unwrap().value.to_string(), "oidc");
    let keepalive = server.keepalive;
    assert_eq!((keepalive.max_connection_idle, keepalive.max_connection_age), (seconds(1), seconds(2)));
    assert_eq!(
        (keepalive.max_connection_age_grace, keepalive.time, keepalive.timeout),
        (seconds(3), seconds(4), seconds(5))
    );
    assert_eq!((keepalive.enforcement.min_time, keepalive.enforcement.permit_without_stream), (seconds(6), true));
}

#[test]
fn every_option_of_an_http_client_is_read() {
    let client = read("", HttpClient::read);
    assert_eq!(
        (client.endpoint, client.timeout, client.compression, client.compression_level),
        (None, None, None, None)
    );
    assert_eq!((client.max_idle_conns, client.idle_conn_timeout, client.force_attempt_http2), (100, seconds(90), true));
    assert_eq!((client.http2_read_idle_timeout, client.http2_ping_timeout), (None, Duration::from_secs(15)));
    let text = "{endpoint: 'https://h/api?x=1', headers: [{name: a, value: b}], timeout: 3s, compression: gzip,
                 compression_params: {level: 9}, tls: {ca_file: ca}, auth: {authenticator: x}, proxy_url: 'http://p:3128',
                 read_buffer_size: 1, write_buffer_size: 2, max_idle_conns: 3, max_idle_conns_per_host: 4,
                 max_conns_per_host: 5, idle_conn_timeout: 6s, disable_keep_alives: true, http2_read_idle_timeout: 7s,
                 http2_ping_timeout: 8s, force_attempt_http2: false}";
    let client = read(text, HttpClient::read);
    assert_eq!(client.endpoint.unwrap().value.path_and_query(), "/api?x=1");
    assert_eq!(client.headers, [("a".to_owned(), Secret::new("b"))]);
    assert_eq!(
        (client.timeout, client.compression, client.compression_level),
        (seconds(3), Some(Compression::Gzip), Some(9))
    );
    assert_eq!((client.tls.ca.is_some(), client.auth.is_some()), (true, true));
    assert_eq!(client.proxy_url.unwrap().value.address(), "p:3128");
    assert_eq!((client.read_buffer_size, client.write_buffer_size, client.max_idle_conns), (Some(1), Some(2), 3));
    assert_eq!((client.max_idle_conns_per_host, client.max_conns_per_host), (Some(4), Some(5)));
    assert_eq!((client.idle_conn_timeout, client.disable_keep_alives), (seconds(6), true));
    assert_eq!((client.http2_read_idle_timeout, client.http2_ping_timeout), (seconds(7), Duration::from_secs(8)));
    assert!(!client.force_attempt_http2);
    check_messages(
        "{cookies: {enabled: true}, middlewares: [{id: x}]}",
        HttpClient::read,
        &[
            "s.cookies: not built yet: a cookie jar for the client",
            "s.middlewares: not built yet: middleware extensions",
        ],
    );
}

#[test]
fn a_compression_level_belongs_to_its_compression() {
    check_messages(
        "{compression: snappy, compression_params: {level: 3}}",
        HttpClient::read,
        &["s.compression_params.level: `snappy` has no levels"],
    );
    check_messages(
        "{compression: gzip, compression_params: {level: 12}}",
        HttpClient::read,
        &["s.compression_params.level: expected a level from 1 to 9, or -1 for the default"],
    );
    read("{compression: zstd, compression_params: {level: 12}}", HttpClient::read);
    read("{compression: gzip, compression_params: {level: -1}}", HttpClient::read);
}

#[test]
fn every_option_of_an_http_server_is_read() {
    let server = read("", HttpServer::read);
    assert_eq!((server.max_request_body_size, server.keep_alives_enabled), (20 << 20, true));
    assert_eq!(
        (server.read_timeout, server.read_header_timeout, server.write_timeout, server.idle_timeout),
        (None, None, None, None)
    );
    let text = "{endpoint: ':4318', transport: tcp, tls: {cert_file: c, key_file: k}, max_request_body_size: 1024,
                 cors: {allowed_origins: ['*'], allowed_headers: [a], exposed_headers: b, max_age: 7200},
                 auth: {authenticator: x}, include_metadata: true, response_headers: {server: crossfade},
                 compression_algorithms: ['', gzip, zstd], read_timeout: 1s, read_header_timeout: 2s, write_timeout: 3s,
                 idle_timeout: 0s, keep_alives_enabled: false}";
    let server = read(text, HttpServer::read);
    assert_eq!(server.endpoint.unwrap().value.to_string(), ":4318");
    assert_eq!((server.tls.is_some(), server.max_request_body_size, server.include_metadata), (true, 1024, true));
    let strings = |text: &str| vec![text.to_owned()];
    let cors = Cors {
        allowed_origins: strings("*"),
        allowed_headers: strings("a"),
        exposed_headers: strings("b"),
        max_age_seconds: Some(7200),
    };
    assert_eq!(server.cors, Some(cors));
    assert_eq!(server.auth.unwrap().value.to_string(), "x");
    assert_eq!(server.response_headers, [("server".to_owned(), Secret::new("crossfade"))]);
    assert_eq!(server.compression_algorithms, Some(vec![Compression::None, Compression::Gzip, Compression::Zstd]));
    assert_eq!((server.read_timeout, server.read_header_timeout), (seconds(1), seconds(2)));
    assert_eq!(
        (server.write_timeout, server.idle_timeout, server.keep_alives_enabled),
        (seconds(3), seconds(0), false)
    );
}
