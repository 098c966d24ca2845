//! `health_check`: tells probes over HTTP whether the process does its work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use component::clock::{self, Calendar, Mono};
use component::{BuildContext, Extension, ExtensionContext, ExtensionFactory, Health, Running, StartError};
use config::Section;
use config::shapes::HttpServer;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use transport::configured;
use transport::endpoint::Endpoint;
use transport::server::{PortSharing, RequestBody, ResponseBody, ServerSettings, bind, serve, text_response};

/// Makes `health_check` extensions.
pub(crate) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "health_check", aliases: &[], signals: &[], build };

const PORT: u16 = 13133;

/// Probes are few; whoever opens more connections is turned away.
const CONNECTIONS_MAX: usize = 100;

struct HealthCheck {
    endpoint: Endpoint,
    server: ServerSettings,
    answers: Answers,
}

/// What is answered where.
struct Answers {
    path: String,
    headers: HeaderMap,
    bodies: Option<Bodies>,
}

/// Texts in place of the usual answers.
struct Bodies {
    healthy: String,
    unhealthy: String,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    let path = section.get("path").string().ensure("a path that starts with `/`", |path| path.starts_with('/'));
    let path = path.or("/".to_owned());
    let bodies = section.child_if_present("response_body", |body| Bodies {
        healthy: body.get("healthy").string().or_default(),
        unhealthy: body.get("unhealthy").string().or_default(),
    });
    section.without_effect(
        "check_collector_pipeline",
        "whether exporters fail is told by their metrics; a probe that restarts the process would make it worse",
    );
    let shape = HttpServer::read(section);
    if shape.cors.is_some() {
        section.error("cors", "not built yet: cross-origin requests to `health_check`");
    }
    let authenticator = context.authenticators.authenticator(shape.auth.as_ref(), section);
    let (mut server, _) = configured::http_server(&shape, authenticator, section);
    server.connections_max = CONNECTIONS_MAX;
    let endpoint = shape.endpoint.as_ref().map(|named| configured::endpoint(&named.value));
    let endpoint = endpoint.unwrap_or_else(|| Endpoint::Tcp { host: "localhost".to_owned(), port: PORT });
    match configured::headers(&shape.response_headers) {
        Ok(headers) => Some(Box::new(HealthCheck { endpoint, server, answers: Answers { path, headers, bodies } })),
        Err(message) => {
            section.error("response_headers", message);
            None
        }
    }
}

impl Extension for HealthCheck {
    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move {
            let HealthCheck { endpoint, server, answers } = *self;
            let listener = bind(&endpoint, PortSharing::Exclusive).map_err(|error| StartError(error.to_string()))?;
            tracing::info!(endpoint = %listener.local(), "health_check listens");
            let answers = Arc::new(answers);
            let (health, started) = (context.health, Started { mono: clock::mono(), unix_ns: clock::unix_ns() });
            let handler = move |request: Request<RequestBody>, _| {
                let uptime = started.mono.elapsed();
                let answer = answers.answer(request.uri().path(), &health, started.unix_ns, uptime);
                std::future::ready(answer)
            };
            let running: Running = Box::pin(async move {
                serve(listener, server, handler, context.stop.token()).await;
                Ok(())
            });
            Ok(running)
        })
    }
}

/// When the process began. Extensions start first, moments before it becomes ready.
#[derive(Clone, Copy)]
struct Started {
    mono: Mono,
    unix_ns: u64,
}

impl Answers {
    /// 200 while the process is ready, 503 before and after; 404 beside the path.
    fn answer(&self, path: &str, health: &Health, up_since_unix_ns: u64, uptime: Duration) -> Response<ResponseBody> {
        if !self.is_path(path) {
            return text_response(StatusCode::NOT_FOUND, "unknown path\n");
        }
        let is_ready = health.is_ready();
        let own = self.bodies.as_ref().map(|bodies| if is_ready { &bodies.healthy } else { &bodies.unhealthy });
        let mut response = match own {
            Some(text) => text_response(StatusCode::OK, text.clone()),
            None if is_ready => json(available(up_since_unix_ns, uptime, health.trouble())),
            None => json(UNAVAILABLE.to_owned()),
        };
        if !is_ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    /// A path that ends with `/` stands for all below it.
    fn is_path(&self, path: &str) -> bool {
        path == self.path || (self.path.ends_with('/') && path.starts_with(&self.path))
    }
}

/// The Collector's answers: a Go time of zero while there is none.
const UNAVAILABLE: &str = r#"{"status":"Server not available","upSince":"0001-01-01T00:00:00Z","uptime":""}"#;

/// What keeps new data out, such as a full disk, is told, and the answer is 200 all the same: delivery goes on, and a
/// probe that restarts the process would only end that.
fn available(up_since_unix_ns: u64, uptime: Duration, trouble: Option<String>) -> String {
    let mut answer = serde_json::json!({
        "status": "Server available",
        "upSince": rfc_3339(up_since_unix_ns),
        "uptime": go_duration(uptime),
    });
    if let Some(trouble) = trouble {
        answer["trouble"] = trouble.into();
    }
    answer.to_string()
}

fn json(body: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn rfc_3339(unix_ns: u64) -> String {
    let Calendar { year, month, day, hour, minute, second, nanosecond } = Calendar::from_unix_ns(unix_ns);
    let fraction = fraction(nanosecond);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// A duration as Go prints it: `1h2m3.5s`, with every smaller unit once a larger one is there.
fn go_duration(duration: Duration) -> String {
    let (seconds, fraction) = (duration.as_secs(), fraction(duration.subsec_nanos()));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// Nanoseconds as the digits behind the point, without zeros at the end.
fn fraction(nanoseconds: u32) -> String {
    if nanoseconds == 0 {
        return String::new();
    }
    format!(".{nanoseconds:09}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests;
