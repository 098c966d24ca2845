//! `oauth2client`: a token of an OAuth 2.0 server for exporters, by the grant of client credentials.
//!
//! Specification: RFC 6749, sections 2.3.1, 4.4 and 5. One task fetches the token before the pipelines start and again
//! before it expires, so however many requests are under way, the server is asked once. What an exporter would send
//! while there is no token waits.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use auth::{Credentials, CredentialsError, Secret, SecretText, Source};
use component::{
    Authentication, BuildContext, Extension, ExtensionContext, ExtensionFactory, Running, StartError, Stop,
};
use config::shapes::{HttpEndpoint, TlsClient};
use config::{Node, Section};
use http::{HeaderName, HeaderValue, header};
use parking_lot::Mutex;
use tokio::time::Instant;
use transport::configured;
use transport::http_client::{HttpClient, HttpClientSettings};
use transport::retry::Backoff;

use self::request::TokenServer;

mod request;

/// Makes `oauth2client` extensions.
pub(crate) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "oauth2client", aliases: &["oauth2_client"], signals: &[], build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const EXPIRY_BUFFER_DEFAULT: Duration = Duration::from_secs(300);
/// A token that says nothing of its end is fetched again after this.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(3600);
/// No token is fetched again sooner, whatever a server says.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// A server that does not answer keeps nothing from starting.
const START_WAIT_MAX: Duration = Duration::from_secs(5);
/// More is no token.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const RETRY: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(30), multiplier: 2.0, jitter: 0.2 };

struct Oauth2Client {
    server: TokenServer,
    expiry_buffer: Duration,
    tokens: Arc<Tokens>,
}

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    read(section).map(|made| Box::new(made) as Box<dyn Extension>)
}

fn read(section: &mut Section<'_>) -> Option<Oauth2Client> {
    refuse_unbuilt(section);
    let url = section.get("token_url").parse_with("a URL such as `https://example.com/token`", HttpEndpoint::parse);
    let url = url.required();
    let client_id = secret(section, "client_id", "client_id_file");
    let client_secret = secret(section, "client_secret", "client_secret_file");
    let scopes = section.get("scopes").strings().or_default();
    let params = section.child("endpoint_params", read_params);
    let timeout = section.get("timeout").duration().optional().filter(|timeout| !timeout.is_zero());
    let expiry_buffer = section.get("expiry_buffer").duration().or(EXPIRY_BUFFER_DEFAULT);
    let tls = section.child("tls", TlsClient::read);
    let url = configured::url(&url?).map_err(|message| section.error("token_url", message)).ok()?;
    let settings = HttpClientSettings {
        tls: configured::client_tls(&tls),
        timeout: Some(timeout.unwrap_or(TIMEOUT_DEFAULT)),
        response_bytes_max: ANSWER_BYTES_MAX,
        ..HttpClientSettings::default()
    };
    let http = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok()?;
    let server = TokenServer::new(http, url, client_id?, client_secret?, &scopes, params);
    Some(Oauth2Client { server, expiry_buffer, tokens: Arc::default() })
}

fn refuse_unbuilt(section: &mut Section<'_>) {
    let grants = [("client_credentials", true), ("", true)];
    section.get("grant_type").one_of(&grants).optional();
    for key in [
        "client_certificate_key",
        "client_certificate_key_file",
        "client_certificate_key_id",
        "signature_algorithm",
        "iss",
        "audience",
        "claims",
    ] {
        section.unsupported(key, "grants other than client credentials");
    }
}

/// A secret that is given, or in a file, which counts before the text beside it.
fn secret(section: &mut Section<'_>, key: &'static str, file_key: &'static str) -> Option<SecretText> {
    let given = section.get(key).secret().optional().filter(|text| !text.is_empty());
    let file = section.get(file_key).string().non_empty().optional();
    let given = given.map(|text| Secret::new(text.expose()));
    let source = match (&file, &given) {
        (Some(path), _) => Source::File(Path::new(path)),
        (None, Some(text)) => Source::Given(text),
        (None, None) => {
            section.fail(format!("expected `{key}` or `{file_key}`"));
            return None;
        }
    };
    SecretText::open(source).map_err(|error| section.error(file_key, error.to_string())).ok()
}

/// Parameters of the request for a token: each has a text, or a list of texts.
fn read_params(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut params = Vec::new();
    for (name, node) in section.entries() {
        let values = node.as_seq().unwrap_or(std::slice::from_ref(node));
        match values.iter().map(Node::text).collect::<Option<Vec<&str>>>() {
            Some(texts) => params.extend(texts.into_iter().map(|text| (name.value.clone(), text.to_owned()))),
            None => section.error(&name.value, format!("expected a text or a list of texts, found {}", node.shown())),
        }
    }
    params
}

// === tokens ===

/// The token of now.
#[derive(Debug)]
struct Token {
    value: HeaderValue,
    /// How long the server says that it is good for.
    lifetime: Duration,
}

/// What exporters send, and why not yet.
#[derive(Debug)]
struct Tokens(Mutex<State>);

#[derive(Debug)]
struct State {
    token: Option<(Token, Instant)>,
    trouble: String,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens(Mutex::new(State { token: None, trouble: "the token server was not asked yet".to_owned() }))
    }
}

impl Credentials for Tokens {
    fn field(&self) -> Result<(HeaderName, HeaderValue), CredentialsError> {
        let state = self.0.lock();
        match &state.token {
            Some((token, fetched)) if fetched.elapsed() < token.lifetime => {
                Ok((header::AUTHORIZATION, token.value.clone()))
            }
            _ => Err(CredentialsError::NotYet(state.trouble.clone())),
        }
    }
}

impl Oauth2Client {
    /// Fetches a token; gives the pause before the next one.
    async fn fetch(&self, failures: &mut u32) -> Duration {
        let asked = Instant::now();
        match self.server.fetch().await {
            Ok(token) => {
                *failures = 0;
                // A token that lives shorter than twice the buffer is fetched again at half of its life.
                let pause = token.lifetime.saturating_sub(self.expiry_buffer).max(token.lifetime / 2);
                self.tokens.0.lock().token = Some((token, asked));
                pause.max(REFRESH_MIN)
            }
            Err(error) => {
                if *failures == 0 {
                    tracing::warn!(%error, "no token could be fetched; trying again");
                }
                self.tokens.0.lock().trouble = error;
                let pause = RETRY.delay(*failures, &mut fastrand::Rng::new());
                *failures = failures.saturating_add(1);
                pause
            }
        }
    }

    async fn run(self, mut pause: Duration, mut failures: u32, stop: Stop) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.requested() => return,
            }
            pause = tokio::select! {
                pause = self.fetch(&mut failures) => pause,
                () = stop.requested() => return,
            };
        }
    }
}

impl Extension for Oauth2Client {
    fn authentication(&self) -> Authentication {
        let client: Arc<dyn Credentials> = Arc::<Tokens>::clone(&self.tokens);
        Authentication { server: None, client: Some(client) }
    }

    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move {
            // Pipelines start after extensions: the first request finds a token, if there is one to have.
            let mut failures = 0;
            let first = tokio::time::timeout(START_WAIT_MAX, self.fetch(&mut failures)).await;
            let pause = first.unwrap_or(Duration::ZERO);
            let running: Running = Box::pin(async move {
                self.run(pause, failures, context.stop).await;
                Ok(())
            });
            Ok(running)
        })
    }
}

#[cfg(test)]
mod tests;
