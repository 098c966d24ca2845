//! The request for a token, and its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth::{Authorization, Secret, SecretText};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use transport::http_client::{HttpClient, HttpReply, HttpRequest};
use url::{Url, form_urlencoded};

use super::{LIFETIME_DEFAULT, Token};

/// Where tokens come from, and what this client is there.
pub(super) struct TokenServer {
    http: HttpClient,
    url: Url,
    client_id: SecretText,
    client_secret: SecretText,
    /// Everything of the form but the client.
    form: Vec<(String, String)>,
    /// Whether the server takes the client in the form only, which RFC 6749 tolerates.
    wants_form: AtomicBool,
}

/// Where the client says who it is (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identification {
    Header,
    Form,
}

impl TokenServer {
    pub(super) fn new(
        http: HttpClient,
        url: Url,
        client_id: SecretText,
        client_secret: SecretText,
        scopes: &[String],
        params: Vec<(String, String)>,
    ) -> TokenServer {
        let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        if !scopes.is_empty() {
            form.push(("scope".to_owned(), scopes.join(" ")));
        }
        // What the configuration says of a parameter counts.
        form.retain(|(name, _)| params.iter().all(|(given, _)| given != name));
        form.extend(params);
        TokenServer { http, url, client_id, client_secret, form, wants_form: AtomicBool::new(false) }
    }

    /// Asks for a token. The error carries nothing secret.
    pub(super) async fn fetch(&self) -> Result<Token, String> {
        if self.wants_form.load(Ordering::Relaxed) {
            return read(&self.ask(Identification::Form).await?);
        }
        let reply = self.ask(Identification::Header).await?;
        // 401 is what the specification wants for a client that is not known; many servers say 400.
        if !matches!(reply.status.as_u16(), 400 | 401 | 403) {
            return read(&reply);
        }
        let second = self.ask(Identification::Form).await?;
        if second.status.is_success() {
            self.wants_form.store(true, Ordering::Relaxed);
            return read(&second);
        }
        read(&reply)
    }

    async fn ask(&self, identification: Identification) -> Result<HttpReply, String> {
        let post = self.request(identification)?;
        self.http.send(post).await.map_err(|error| error.to_string())
    }

    fn request(&self, identification: Identification) -> Result<HttpRequest, String> {
        let (id, secret) = (self.client_id.now(), self.client_secret.now());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&self.form);
        match identification {
            Identification::Header => {
                let made = Authorization::basic(&encoded(&id), &Secret::new(encoded(&secret)));
                headers.insert(AUTHORIZATION, made.map_err(|error| error.to_string())?.header_value());
            }
            Identification::Form => {
                form.append_pair("client_id", id.expose()).append_pair("client_secret", secret.expose());
            }
        }
        Ok(HttpRequest::post(self.url.clone(), headers, Bytes::from(form.finish())))
    }
}

/// As in a form, which the specification wants in the header field, too.
fn encoded(text: &Secret) -> String {
    form_urlencoded::byte_serialize(text.expose().as_bytes()).collect()
}

/// RFC 6749, sections 5.1 and 5.2.
fn read(reply: &HttpReply) -> Result<Token, String> {
    let answer: Option<Value> = serde_json::from_slice(&reply.body).ok().filter(|_| !reply.truncated);
    let text = |key: &str| answer.as_ref().and_then(|answer| answer.get(key)?.as_str());
    if !reply.status.is_success() {
        // Codes of the specification are short words; anything else is not repeated into a log.
        let code = text("error").filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_graphic()));
        return Err(match code {
            Some(code) => format!("the token server answered {}: {code}", reply.status),
            None => format!("the token server answered {}", reply.status),
        });
    }
    let token = text("access_token").filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| "the token server answered what has no `access_token`".to_owned())?;
    let scheme = match text("token_type") {
        Some(other) if !other.is_empty() && !other.eq_ignore_ascii_case("bearer") => other,
        _ => "Bearer",
    };
    let value = Authorization::bearer(scheme, &Secret::new(token)).map_err(|error| error.to_string())?.header_value();
    Ok(Token { value, lifetime: lifetime(answer.as_ref()) })
}

/// `expires_in`, which some servers write as a text.
fn lifetime(answer: Option<&Value>) -> Duration {
    let seconds = answer.and_then(|answer| answer.get("expires_in")).and_then(|value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let seconds = seconds.filter(|seconds| *seconds > 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.unwrap_or(LIFETIME_DEFAULT)
}
