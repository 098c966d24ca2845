//! TLS settings of clients and servers.

use std::path::PathBuf;
use std::time::Duration;

use crate::field::Field;
use crate::node::Node;
use crate::secret::Secret;
use crate::section::Section;

/// A version of TLS. Older ones than 1.2 are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A certificate or a key: a file, or the PEM text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMaterial {
    /// The path of a PEM file.
    File(PathBuf),
    /// The PEM text.
    Pem(Secret),
}

/// The `tls` section of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsClient {
    /// `insecure`: no TLS at all (gRPC; over HTTP the scheme of the URL decides).
    pub insecure: bool,
    /// `insecure_skip_verify`: TLS, but any certificate will do.
    pub insecure_skip_verify: bool,
    /// `server_name_override`: the name the certificate must have.
    pub server_name_override: Option<String>,
    /// `ca_file` or `ca_pem`: whom to trust; the system's roots when there is none.
    pub ca: Option<TlsMaterial>,
    /// `include_system_ca_certs_pool`: trust the system's roots besides `ca`.
    pub include_system_ca_certs_pool: bool,
    /// `cert_file` or `cert_pem`: the client's own certificate. Present exactly when `key` is.
    pub cert: Option<TlsMaterial>,
    /// `key_file` or `key_pem`.
    pub key: Option<TlsMaterial>,
    /// `min_version`; TLS 1.2 when not given.
    pub min_version: Option<TlsVersion>,
    /// `max_version`.
    pub max_version: Option<TlsVersion>,
    /// `reload_interval`: read the files again this often; never when not given or 0.
    pub reload_interval: Option<Duration>,
}

/// The `tls` section of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServer {
    /// `cert_file` or `cert_pem`. None only when the section was refused.
    pub cert: Option<TlsMaterial>,
    /// `key_file` or `key_pem`. None only when the section was refused.
    pub key: Option<TlsMaterial>,
    /// `client_ca_file`: clients must show a certificate that one of these signed.
    pub client_ca_file: Option<PathBuf>,
    /// `client_ca_file_reload`: read that file again when it changes.
    pub client_ca_file_reload: bool,
    /// `min_version`; TLS 1.2 when not given.
    pub min_version: Option<TlsVersion>,
    /// `max_version`.
    pub max_version: Option<TlsVersion>,
    /// `reload_interval`: read the files again this often; never when not given or 0.
    pub reload_interval: Option<Duration>,
}

/// What clients and servers have in common.
struct Common {
    ca: Option<TlsMaterial>,
    cert: Option<TlsMaterial>,
    key: Option<TlsMaterial>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    reload_interval: Option<Duration>,
    include_system_ca_certs_pool: bool,
}

// === impl TlsClient ===

impl TlsClient {
    /// Reads the keys of a client's `tls` section.
    pub fn read(section: &mut Section<'_>) -> TlsClient {
        let common = Common::read(section);
        TlsClient {
            insecure: section.get("insecure").bool().or(false),
            insecure_skip_verify: section.get("insecure_skip_verify").bool().or(false),
            server_name_override: section.get("server_name_override").string().non_empty().optional(),
            ca: common.ca,
            include_system_ca_certs_pool: common.include_system_ca_certs_pool,
            cert: common.cert,
            key: common.key,
            min_version: common.min_version,
            max_version: common.max_version,
            reload_interval: common.reload_interval,
        }
    }

    /// Whether anything is set that only makes sense with TLS.
    pub fn asks_for_tls(&self) -> bool {
        *self != TlsClient { insecure: self.insecure, ..TlsClient::default() }
    }
}

// === impl TlsServer ===

impl TlsServer {
    /// Reads the keys of a server's `tls` section. Certificate and key are required.
    pub fn read(section: &mut Section<'_>) -> TlsServer {
        let common = Common::read(section);
        let given = |section: &Section<'_>, keys: [&str; 2]| keys.iter().any(|key| section.has(key));
        if !given(section, ["cert_file", "cert_pem"]) && !given(section, ["key_file", "key_pem"]) {
            section.fail("a server needs a certificate and a key: give `cert_file` and `key_file`");
        }
        TlsServer {
            cert: common.cert,
            key: common.key,
            client_ca_file: path(section.get("client_ca_file")),
            client_ca_file_reload: section.get("client_ca_file_reload").bool().or(false),
            min_version: common.min_version,
            max_version: common.max_version,
            reload_interval: common.reload_interval,
        }
    }
}

// === impl Common ===

impl Common {
    fn read(section: &mut Section<'_>) -> Common {
        let ca = material(section, "ca_file", "ca_pem");
        let cert = material(section, "cert_file", "cert_pem");
        let key = material(section, "key_file", "key_pem");
        match (&cert, &key) {
            (Some(_), None) => section.fail("a certificate needs its key: give `key_file` or `key_pem`"),
            (None, Some(_)) => section.fail("a key needs its certificate: give `cert_file` or `cert_pem`"),
            _ => {}
        }
        let min_version = least_version(section);
        let max_version = version(section.get("max_version"));
        if let (Some(least), Some(most)) = (min_version, max_version)
            && least > most
        {
            section.error("min_version", "is above `max_version`");
        }
        section.unsupported("cipher_suites", "a choice of cipher suites; the defaults are the safe ones");
        section.unsupported("curve_preferences", "a choice of curves; the defaults are the safe ones");
        section.unsupported("include_insecure_cipher_suites", "insecure cipher suites");
        section.unsupported("tpm", "keys in a trusted platform module");
        Common {
            ca,
            cert,
            key,
            min_version,
            max_version,
            reload_interval: section
                .get("reload_interval")
                .duration()
                .optional()
                .filter(|interval| !interval.is_zero()),
            include_system_ca_certs_pool: section.get("include_system_ca_certs_pool").bool().or(false),
        }
    }
}

fn path(field: Field<'_>) -> Option<PathBuf> {
    field.string().non_empty().optional().map(PathBuf::from)
}

/// A file or a text, but not both.
fn material(section: &mut Section<'_>, file_key: &'static str, pem_key: &'static str) -> Option<TlsMaterial> {
    let file = path(section.get(file_key));
    let pem = section.get(pem_key).secret().optional().filter(|pem| !pem.is_empty());
    if file.is_some() && pem.is_some() {
        section.error(file_key, format!("give either `{file_key}` or `{pem_key}`, not both"));
    }
    file.map(TlsMaterial::File).or(pem.map(TlsMaterial::Pem))
}

/// Older peers are not served, but that an old version is allowed does no harm by itself: newer ones are taken then.
fn least_version(section: &mut Section<'_>) -> Option<TlsVersion> {
    let key = "min_version";
    match section.get(key).node().and_then(Node::text) {
        Some(text @ ("1.0" | "1.1")) => {
            let message = format!("TLS {text} is broken and not offered: 1.2 is the least here");
            section.warning(key, message);
            Some(TlsVersion::V1_2)
        }
        _ => version(section.get(key)),
    }
}

fn version(field: Field<'_>) -> Option<TlsVersion> {
    field
        .parse_with("`1.2` or `1.3`", |text| match text {
            "" => Ok(None),
            "1.2" => Ok(Some(TlsVersion::V1_2)),
            "1.3" => Ok(Some(TlsVersion::V1_3)),
            "1.0" | "1.1" => Err("this version is broken and not offered"),
            _ => Err("there is no such version"),
        })
        .optional()
        .flatten()
}
