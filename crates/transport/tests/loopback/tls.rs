//! TLS and mutual TLS over loopback sockets, and what is said when it does not work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use http::{Response, Version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::endpoint::Endpoint;
use transport::grpc::Code;
use transport::grpc_client::{GrpcClient, GrpcClientSettings};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest, HttpVersion, Proxy};
use transport::server::{ResponseBody, ServerSettings};
use transport::tls::{
    Alpn, ClientTls, ClientTlsConfig, Pem, ServerTls, ServerTlsConfig, ServerVerification, TlsVersion,
};

use crate::support::{ECHO, Server, call, grpc_server};

/// A certificate authority with a certificate for a server and one for a client, in files.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { directory: tempfile::tempdir().unwrap(), issuer };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority.issue("server", &["localhost", "127.0.0.1"]);
        authority.issue("client", &["client"]);
        authority
    }

    fn issue(&self, file: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.directory.path().join(file)
    }

    fn pem(&self, file: &str) -> Pem {
        Pem::File(self.path(file))
    }

    fn server(&self) -> ServerTls {
        ServerTls {
            certificate: self.pem("server.pem"),
            key: self.pem("server.key"),
            client_ca: None,
            min_version: None,
            max_version: None,
            reload_interval: None,
        }
    }

    fn client(&self) -> ClientTls {
        ClientTls { ca: Some(self.pem("ca.pem")), ..ClientTls::default() }
    }

    fn client_with_certificate(&self) -> ClientTls {
        let certificate = Some(self.pem("client.pem"));
        ClientTls { certificate, key: Some(self.pem("client.key")), ..self.client() }
    }
}

fn server_settings(tls: ServerTls) -> ServerSettings {
    ServerSettings { tls: Some(Arc::new(ServerTlsConfig::new(tls).unwrap())), ..ServerSettings::grpc() }
}

fn client(server: &Server, tls: ClientTls) -> GrpcClient {
    let endpoint = Endpoint::parse(&format!("localhost:{}", server.port)).unwrap();
    let tls = Some(Arc::new(ClientTlsConfig::new(tls, Alpn::H2).unwrap()));
    GrpcClient::new(GrpcClientSettings { tls, ..GrpcClientSettings::new(endpoint) }).unwrap()
}

async fn check_works(server: ServerTls, tls: ClientTls) {
    let server = grpc_server(server_settings(server));
    let payload = vec![b'x'; 300_000];
    assert_eq!(call(&client(&server, tls), ECHO, payload.clone()).await.unwrap(), payload);
}

async fn check_fails(server: ServerTls, tls: ClientTls, expected: &str) {
    let server = grpc_server(server_settings(server));
    let status = call(&client(&server, tls), ECHO, "x").await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains(expected), "{status}");
}

#[tokio::test]
async fn a_server_is_verified_by_the_ca_file() {
    let authority = Authority::new();
    check_works(authority.server(), authority.client()).await;
    check_fails(authority.server(), Authority::new().client(), "invalid peer certificate").await;
}

#[tokio::test]
async fn pem_text_works_as_files_do() {
    let authority = Authority::new();
    let inline = |file: &str| Pem::Inline(Secret::new(std::fs::read_to_string(authority.path(file)).unwrap()));
    let server = ServerTls { certificate: inline("server.pem"), key: inline("server.key"), ..authority.server() };
    check_works(server, ClientTls { ca: Some(inline("ca.pem")), ..ClientTls::default() }).await;
}

#[tokio::test]
async fn the_name_is_verified_and_can_be_overridden() {
    let authority = Authority::new();
    authority.issue("other", &["backend.example"]);
    let server =
        ServerTls { certificate: authority.pem("other.pem"), key: authority.pem("other.key"), ..authority.server() };
    check_fails(server.clone(), authority.client(), "not valid for name").await;
    let override_name = Some("backend.example".to_owned());
    check_works(server, ClientTls { server_name_override: override_name, ..authority.client() }).await;
}

#[tokio::test]
async fn verification_can_be_skipped_only_on_purpose() {
    let authority = Authority::new();
    let skip = ClientTls { verification: ServerVerification::InsecureSkip, ..ClientTls::default() };
    check_works(authority.server(), skip).await;
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_asked_for() {
    let authority = Authority::new();
    let server = ServerTls { client_ca: Some(authority.pem("ca.pem")), ..authority.server() };
    check_works(server.clone(), authority.client_with_certificate()).await;
    let foreign = Authority::new();
    let stranger = ClientTls { ca: Some(authority.pem("ca.pem")), ..foreign.client_with_certificate() };
    for tls in [authority.client(), stranger] {
        let server = grpc_server(server_settings(server.clone()));
        assert_eq!(call(&client(&server, tls), ECHO, "x").await.unwrap_err().code, Code::Unavailable);
        assert!(server.stats.tls_failures() > 0);
    }
}

#[tokio::test]
async fn a_handler_sees_the_client_certificate() {
    let authority = Authority::new();
    let tls = ServerTls { client_ca: Some(authority.pem("ca.pem")), ..authority.server() };
    let settings = ServerSettings { tls: server_settings(tls).tls, ..ServerSettings::default() };
    let server = Server::start(settings, |request, connection| async move {
        let certificate = connection.tls.as_ref().and_then(|tls| tls.client_certificate.clone());
        assert_eq!(request.version(), Version::HTTP_2, "both sides offer it");
        Response::new(ResponseBody::full(certificate.unwrap_or_default()))
    });
    let http = HttpClientSettings { tls: authority.client_with_certificate(), ..HttpClientSettings::default() };
    let url = format!("https://localhost:{}/", server.port).parse().unwrap();
    let reply = HttpClient::new(http).unwrap().send(HttpRequest::get(url)).await.unwrap();
    let pem = std::fs::read(authority.path("client.pem")).unwrap();
    let der = <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem).unwrap();
    assert_eq!(reply.body, der.as_ref());
}

#[tokio::test]
async fn https_over_http1_asks_for_a_path_only() {
    let authority = Authority::new();
    let settings = ServerSettings { tls: server_settings(authority.server()).tls, ..ServerSettings::default() };
    let server = Server::start(settings, |request, _| async move {
        Response::new(ResponseBody::full(format!("{:?} {}", request.version(), request.uri())))
    });
    for (version, expected) in [
        (HttpVersion::Http1, "HTTP/1.1 /a?b=1".to_owned()),
        (HttpVersion::Negotiated, format!("HTTP/2.0 https://localhost:{}/a?b=1", server.port)),
    ] {
        let http = HttpClientSettings { tls: authority.client(), version, ..HttpClientSettings::default() };
        let url = format!("https://localhost:{}/a?b=1", server.port).parse().unwrap();
        let reply = HttpClient::new(http).unwrap().send(HttpRequest::get(url)).await.unwrap();
        assert_eq!(reply.body, expected);
    }
}

#[tokio::test]
async fn versions_without_a_common_one_do_not_connect() {
    let authority = Authority::new();
    let old = ServerTls { max_version: Some(TlsVersion::V1_2), ..authority.server() };
    check_works(old.clone(), authority.client()).await;
    let new = ClientTls { min_version: Some(TlsVersion::V1_3), ..authority.client() };
    check_fails(old, new, "TLS").await;
}

#[tokio::test]
async fn https_goes_through_a_tunnel_of_the_proxy() {
    let authority = Authority::new();
    let settings = ServerSettings { tls: server_settings(authority.server()).tls, ..ServerSettings::default() };
    let server = Server::start(settings, |request, _| async move {
        assert!(!request.headers().contains_key("proxy-authorization"));
        Response::new(ResponseBody::full("through the tunnel"))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy: url::Url = format!("http://pat:word@{}", listener.local_addr().unwrap()).parse().unwrap();
    let backend = server.port;
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let read = socket.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        assert!(request.starts_with(&format!("CONNECT localhost:{backend} HTTP/1.1\r\n")), "{request}");
        assert!(request.contains("proxy-authorization: Basic cGF0OndvcmQ="), "{request}");
        let mut target = tokio::net::TcpStream::connect(("127.0.0.1", backend)).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let _both = tokio::io::copy_bidirectional(&mut socket, &mut target).await;
    });
    let proxy = Some(Proxy::new(&proxy).unwrap());
    let http = HttpClientSettings { tls: authority.client(), proxy, ..HttpClientSettings::default() };
    let url = format!("https://localhost:{backend}/").parse().unwrap();
    let reply = HttpClient::new(http).unwrap().send(HttpRequest::get(url)).await.unwrap();
    assert_eq!(reply.body, "through the tunnel");
}

#[tokio::test]
async fn changed_files_are_used_for_new_connections() {
    let authority = Authority::new();
    let tls = ServerTls { reload_interval: Some(Duration::from_millis(1)), ..authority.server() };
    let server = grpc_server(server_settings(tls));
    let reconnecting = || client(&server, authority.client());
    assert!(call(&reconnecting(), ECHO, "x").await.is_ok());
    authority.issue("server", &["elsewhere.example"]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let status = call(&reconnecting(), ECHO, "x").await.unwrap_err();
    assert!(status.message.contains("not valid for name"), "{status}");
    // A broken file changes nothing.
    std::fs::write(authority.path("server.key"), "not a key").unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let status = call(&reconnecting(), ECHO, "x").await.unwrap_err();
    assert!(status.message.contains("not valid for name"), "{status}");
    authority.issue("server", &["localhost"]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(call(&reconnecting(), ECHO, "x").await.is_ok());
}

#[tokio::test]
async fn plain_text_and_tls_that_meet_are_told_apart() {
    let authority = Authority::new();
    let with_tls = grpc_server(server_settings(authority.server()));
    let plain = crate::support::grpc_client(with_tls.endpoint());
    let status = call(&plain, ECHO, "x").await.unwrap_err();
    assert!(status.message.contains("does it speak gRPC without TLS on this port?"), "{status}");
    let without = grpc_server(ServerSettings::grpc());
    let status = call(&client(&without, authority.client()), ECHO, "x").await.unwrap_err();
    assert!(status.message.contains("does the server speak TLS on this port?"), "{status}");
}

fn check_client_error(tls: ClientTls, expected: &[&str]) {
    let error = ClientTlsConfig::new(tls, Alpn::H2).unwrap_err().to_string();
    assert!(expected.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let authority = Authority::new();
    let client = authority.client_with_certificate();
    let missing = Pem::File(Path::new("/nonexistent/ca.pem").to_owned());
    check_client_error(ClientTls { ca: Some(missing), ..client.clone() }, &["CA certificates", "/nonexistent/ca.pem"]);
    std::fs::write(authority.path("empty.pem"), "").unwrap();
    let empty = Some(authority.pem("empty.pem"));
    check_client_error(ClientTls { ca: empty.clone(), ..client.clone() }, &["empty.pem", "no `BEGIN CERTIFICATE`"]);
    check_client_error(ClientTls { key: empty, ..client.clone() }, &["empty.pem", "BEGIN PRIVATE KEY"]);
    let other = Some(authority.pem("server.key"));
    check_client_error(ClientTls { key: other, ..client.clone() }, &["client.pem", "server.key", "together"]);
    check_client_error(ClientTls { key: None, ..client.clone() }, &["client.pem", "needs its key"]);
    check_client_error(ClientTls { certificate: None, ..client.clone() }, &["client.key", "needs its certificate"]);
    let name = Some("not a name".to_owned());
    check_client_error(ClientTls { server_name_override: name, ..client.clone() }, &["`not a name`"]);
    let (min, max) = (Some(TlsVersion::V1_3), Some(TlsVersion::V1_2));
    check_client_error(ClientTls { min_version: min, max_version: max, ..client }, &["between"]);
}
