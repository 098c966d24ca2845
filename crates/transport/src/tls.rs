//! TLS for servers and clients: rustls with the aws-lc-rs provider, files that are read again when they change.
//!
//! A configuration object is asked for its current rustls configuration at each new connection. When its reload
//! interval has passed it compares the files with what it has; a broken replacement is logged and the working
//! configuration stays.

mod verify;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::time::Instant;

use auth::Secret;

/// Where PEM text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file, read again by interval.
    File(PathBuf),
    /// Text from the configuration.
    Inline(Secret),
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => write!(f, "{}", path.display()),
            Pem::Inline(_) => f.write_str("the inline PEM text"),
        }
    }
}

/// A version of the protocol. Older ones are not offered by rustls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Whether a client checks the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerVerification {
    /// Chain and name are checked.
    #[default]
    Full,
    /// Nothing is checked: anybody on the path can read and change the traffic.
    InsecureSkip,
}

/// Which roots a client trusts besides its own CA file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemRoots {
    /// The system's, if no CA is given (the Collector's default).
    #[default]
    UnlessCaIsGiven,
    /// The system's, in addition to the CA.
    Always,
}

/// What a client needs to speak TLS. The default trusts the system's roots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Certificates to trust.
    pub ca: Option<Pem>,
    /// Whether the system's roots are trusted too.
    pub system_roots: SystemRoots,
    /// The client's certificate chain, for mutual TLS; needs `key`.
    pub certificate: Option<Pem>,
    /// The client's private key; needs `certificate`.
    pub key: Option<Pem>,
    /// Whether the server is verified.
    pub verification: ServerVerification,
    /// The name to send and to verify instead of the endpoint's host.
    pub server_name_override: Option<String>,
    /// The lowest version to use.
    pub min_version: Option<TlsVersion>,
    /// The highest version to use.
    pub max_version: Option<TlsVersion>,
    /// How often the files are compared with what is in use; never, if absent.
    pub reload_interval: Option<Duration>,
}

/// What a server needs to speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The server's certificate chain.
    pub certificate: Pem,
    /// The server's private key.
    pub key: Pem,
    /// With it, clients must present a certificate issued by one of these (mutual TLS).
    pub client_ca: Option<Pem>,
    /// The lowest version to accept.
    pub min_version: Option<TlsVersion>,
    /// The highest version to accept.
    pub max_version: Option<TlsVersion>,
    /// How often the files are compared with what is in use; never, if absent.
    pub reload_interval: Option<Duration>,
}

/// Which protocols a client offers by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2 only, for gRPC.
    H2,
    /// HTTP/2, then HTTP/1.1.
    H2OrHttp1,
    /// HTTP/1.1 only.
    Http1,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Alpn::H2 => vec![b"h2".to_vec()],
            Alpn::H2OrHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

/// Why a TLS configuration cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {role} from {path}: {cause}", path = path.display())]
    Read {
        /// What the file is for.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The text is not what it should be.
    #[error("{source_name}: {problem} (expected the {role} in PEM form)")]
    Content {
        /// What the text is for.
        role: &'static str,
        /// The file, or that it was inline.
        source_name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key do not go together, or one of them is missing.
    #[error("{0}")]
    Pair(String),
    /// A name that cannot stand in a certificate.
    #[error("`{0}` is not a valid TLS server name")]
    ServerName(String),
    /// The lowest version is above the highest.
    #[error("no TLS version lies between the configured minimum and maximum")]
    Versions,
    /// No root certificates at all.
    #[error("the system has no trusted root certificates ({0}); name a CA file, or install `ca-certificates`")]
    NoRoots(String),
    /// rustls refused the combination.
    #[error("TLS cannot be configured: {0}")]
    Rustls(String),
}

/// A client's TLS configuration, kept current.
pub struct ClientTlsConfig {
    settings: ClientTls,
    server_name: Option<ServerName<'static>>,
    reloading: Reloading<ClientConfig>,
}

/// A server's TLS configuration, kept current.
pub struct ServerTlsConfig {
    reloading: Reloading<ServerConfig>,
}

// === impl ClientTlsConfig ===

impl ClientTlsConfig {
    /// Reads and checks everything that the settings name.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn new(settings: ClientTls, alpn: Alpn) -> Result<ClientTlsConfig, TlsError> {
        let server_name = settings.server_name_override.as_deref().map(server_name).transpose()?;
        let sources = vec![
            settings.ca.clone().map(|pem| ("CA certificates", pem)),
            settings.certificate.clone().map(|pem| ("client certificate", pem)),
            settings.key.clone().map(|pem| ("client key", pem)),
        ];
        let build_settings = settings.clone();
        let reloading = Reloading::new(
            sources,
            settings.reload_interval,
            Box::new(move |texts| build_client(&build_settings, texts, alpn)),
        )?;
        Ok(ClientTlsConfig { settings, server_name, reloading })
    }

    /// The configuration for the next connection.
    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        self.reloading.current()
    }

    /// The name to verify when connecting to `host`.
    pub(crate) fn server_name_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.server_name.clone().map_or_else(|| server_name(host), Ok)
    }

    /// The settings it was made from.
    #[must_use]
    pub fn settings(&self) -> &ClientTls {
        &self.settings
    }
}

impl fmt::Debug for ClientTlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsConfig").field("settings", &self.settings).finish_non_exhaustive()
    }
}

// === impl ServerTlsConfig ===

impl ServerTlsConfig {
    /// Reads and checks everything that the settings name.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn new(settings: ServerTls) -> Result<ServerTlsConfig, TlsError> {
        let sources = vec![
            Some(("server certificate", settings.certificate.clone())),
            Some(("server key", settings.key.clone())),
            settings.client_ca.clone().map(|pem| ("client CA certificates", pem)),
        ];
        let interval = settings.reload_interval;
        let reloading = Reloading::new(sources, interval, Box::new(move |texts| build_server(&settings, texts)))?;
        Ok(ServerTlsConfig { reloading })
    }

    /// The configuration for the next connection.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.reloading.current()
    }
}

impl fmt::Debug for ServerTlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTlsConfig")
    }
}

// === reloading ===

/// The texts of a configuration's sources, in the order in which they were named.
type Texts = [Option<Vec<u8>>];
type Build<T> = Box<dyn Fn(&Texts) -> Result<T, TlsError> + Send + Sync>;
type Source = Option<(&'static str, Pem)>;

struct Reloading<T> {
    sources: Vec<Source>,
    interval: Option<Duration>,
    build: Build<T>,
    state: Mutex<ReloadState<T>>,
}

struct ReloadState<T> {
    current: Arc<T>,
    texts: Vec<Option<Vec<u8>>>,
    checked: Option<Instant>,
}

impl<T> Reloading<T> {
    fn new(sources: Vec<Source>, interval: Option<Duration>, build: Build<T>) -> Result<Reloading<T>, TlsError> {
        let texts = read_all(&sources)?;
        let current = Arc::new(build(&texts)?);
        let state = Mutex::new(ReloadState { current, texts, checked: None });
        Ok(Reloading { sources, interval, build, state })
    }

    fn current(&self) -> Arc<T> {
        let mut state = self.state.lock();
        if let Some(interval) = self.interval {
            let now = Instant::now();
            // The first call only starts the clock: the files were read when the configuration was made.
            let since = *state.checked.get_or_insert(now);
            if now.duration_since(since) >= interval {
                state.checked = Some(now);
                self.reload(&mut state);
            }
        }
        Arc::clone(&state.current)
    }

    fn reload(&self, state: &mut ReloadState<T>) {
        let rebuilt = read_all(&self.sources).and_then(|texts| {
            if texts == state.texts { Ok(None) } else { (self.build)(&texts).map(|built| Some((texts, built))) }
        });
        match rebuilt {
            Ok(None) => {}
            Ok(Some((texts, built))) => {
                state.texts = texts;
                state.current = Arc::new(built);
                tracing::info!("TLS files have changed and are in use for new connections");
            }
            Err(error) => tracing::warn!(%error, "changed TLS files are not usable; the previous ones stay in use"),
        }
    }
}

fn read_all(sources: &[Source]) -> Result<Vec<Option<Vec<u8>>>, TlsError> {
    sources
        .iter()
        .map(|source| match source {
            None => Ok(None),
            Some((_, Pem::Inline(text))) => Ok(Some(text.expose().as_bytes().to_vec())),
            Some((role, Pem::File(path))) => fs::read(path).map(Some).map_err(|error| TlsError::Read {
                role,
                path: path.clone(),
                cause: error.to_string(),
            }),
        })
        .collect()
}

// === building ===

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

fn build_client(settings: &ClientTls, texts: &Texts, alpn: Alpn) -> Result<ClientConfig, TlsError> {
    let versions = versions(settings.min_version, settings.max_version)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    let builder = match settings.verification {
        ServerVerification::InsecureSkip => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verify::AcceptAnyServerCertificate::new(provider()))),
        ServerVerification::Full => builder.with_root_certificates(client_roots(settings, texts[0].as_deref())?),
    };
    let mut config = match (&settings.certificate, &texts[1], &settings.key, &texts[2]) {
        (None, _, None, _) => builder.with_no_client_auth(),
        (Some(certificate), Some(chain), Some(key), Some(key_text)) => {
            let chain = parse_certificates("client certificate", certificate, chain)?;
            let parsed = parse_key("client key", key, key_text)?;
            builder.with_client_auth_cert(chain, parsed).map_err(|error| pair_error(certificate, key, &error))?
        }
        (Some(certificate), ..) => {
            return Err(TlsError::Pair(format!(
                "the client certificate {certificate} needs its key, and none is given"
            )));
        }
        (None, _, Some(key), _) => {
            return Err(TlsError::Pair(format!("the client key {key} needs its certificate, and none is given")));
        }
    };
    config.alpn_protocols = alpn.protocols();
    Ok(config)
}

fn client_roots(settings: &ClientTls, ca_text: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut roots = match (settings.system_roots, &settings.ca) {
        (SystemRoots::UnlessCaIsGiven, Some(_)) => RootCertStore::empty(),
        _ => system_roots(settings.ca.is_none())?,
    };
    if let (Some(ca), Some(text)) = (&settings.ca, ca_text) {
        add_roots(&mut roots, "CA certificates", ca, text)?;
    }
    Ok(roots)
}

enum RootsRead {
    Some(RootCertStore),
    None(String),
}

fn system_roots(required: bool) -> Result<RootCertStore, TlsError> {
    // Reading and parsing the bundle takes 10 ms and more, and it does not change while the process lives.
    static ROOTS: OnceLock<RootsRead> = OnceLock::new();
    let read = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            RootsRead::None(found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string))
        } else {
            RootsRead::Some(roots)
        }
    });
    match read {
        RootsRead::Some(roots) => Ok(roots.clone()),
        RootsRead::None(_) if !required => Ok(RootCertStore::empty()),
        RootsRead::None(cause) => Err(TlsError::NoRoots(cause.clone())),
    }
}

fn build_server(settings: &ServerTls, texts: &Texts) -> Result<ServerConfig, TlsError> {
    let versions = versions(settings.min_version, settings.max_version)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    let builder = match (&settings.client_ca, &texts[2]) {
        (Some(ca), Some(text)) => {
            let mut roots = RootCertStore::empty();
            add_roots(&mut roots, "client CA certificates", ca, text)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| content("client CA certificates", ca, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let empty = Vec::new();
    let chain_text = texts[0].as_ref().unwrap_or(&empty);
    let key_text = texts[1].as_ref().unwrap_or(&empty);
    let chain = parse_certificates("server certificate", &settings.certificate, chain_text)?;
    let key = parse_key("server key", &settings.key, key_text)?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| pair_error(&settings.certificate, &settings.key, &error))?;
    config.alpn_protocols = Alpn::H2OrHttp1.protocols();
    Ok(config)
}

fn versions(
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let min = min.unwrap_or(TlsVersion::V1_2);
    let max = max.unwrap_or(TlsVersion::V1_3);
    let all = [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)];
    let chosen: Vec<_> =
        all.iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, supported)| *supported).collect();
    if chosen.is_empty() { Err(TlsError::Versions) } else { Ok(chosen) }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

fn add_roots(roots: &mut RootCertStore, role: &'static str, source: &Pem, text: &[u8]) -> Result<(), TlsError> {
    for certificate in parse_certificates(role, source, text)? {
        roots.add(certificate).map_err(|error| content(role, source, error.to_string()))?;
    }
    Ok(())
}

fn parse_certificates(role: &'static str, source: &Pem, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| content(role, source, error.to_string()))?;
    if found.is_empty() {
        return Err(content(role, source, "no `BEGIN CERTIFICATE` block".to_owned()));
    }
    Ok(found)
}

fn parse_key(role: &'static str, source: &Pem, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let problem = match error {
            rustls_pki_types::pem::Error::NoItemsFound => "no unencrypted `BEGIN PRIVATE KEY` block".to_owned(),
            other => other.to_string(),
        };
        content(role, source, problem)
    })
}

fn content(role: &'static str, source: &Pem, problem: String) -> TlsError {
    TlsError::Content { role, source_name: source.to_string(), problem }
}

fn pair_error(certificate: &Pem, key: &Pem, error: &rustls::Error) -> TlsError {
    TlsError::Pair(format!("the certificate {certificate} and the key {key} cannot be used together: {error}"))
}
