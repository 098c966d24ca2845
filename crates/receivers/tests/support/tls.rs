//! A certificate for a server of a test, and a client that trusts it.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::new_without_default)]

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub struct Identity {
    directory: tempfile::TempDir,
    connector: TlsConnector,
}

impl Identity {
    pub fn new() -> Identity {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("server.crt"), certified.cert.pem()).unwrap();
        std::fs::write(directory.path().join("server.key"), certified.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Identity { directory, connector: TlsConnector::from(Arc::new(client)) }
    }

    /// The value of a server's `tls`.
    pub fn yaml(&self) -> String {
        let path = self.directory.path().display();
        format!("{{cert_file: {path}/server.crt, key_file: {path}/server.key}}")
    }

    pub async fn connect(&self, port: u16) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        self.connector.connect("localhost".try_into().unwrap(), socket).await.unwrap()
    }
}
