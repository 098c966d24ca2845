//! The two servers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{Metrics, Stop};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use pipeline::{CounterSuffix, Serving, render};
use transport::endpoint::Endpoint;
use transport::server::{
    ConnInfo, Listener, PortSharing, RequestBody, ResponseBody, ServerSettings, bind, text_response,
};

use crate::api::Admin;

/// Why something is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} on {endpoint}: {cause}")]
pub struct ServeError {
    /// What would be served.
    pub what: &'static str,
    /// Where.
    pub endpoint: String,
    /// Why not, and what to do.
    pub cause: String,
}

/// Serves until it is asked to stop.
pub type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves the own metrics until `stop`; binds before it returns.
///
/// # Errors
/// An endpoint that cannot be listened on.
pub fn serve_metrics(
    serving: &Serving,
    metrics: Metrics,
    suffix: CounterSuffix,
    stop: &Stop,
) -> Result<Served, ServeError> {
    let listener = listen("own metrics", serving)?;
    let answer = move |request: Request<RequestBody>| {
        let response = match request.uri().path() {
            _ if !is_reading(request.method()) => only("GET, HEAD"),
            "/metrics" | "/" => {
                let mut response = Response::new(ResponseBody::full(render(&metrics.gather(), suffix)));
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => text_response(StatusCode::NOT_FOUND, "unknown path; the metrics are at /metrics\n"),
        };
        std::future::ready(response)
    };
    // Scrapers come by whatever name the network gives this machine, and metrics hold no secrets.
    Ok(serve(listener, Hosts::Any, answer, stop))
}

/// Serves the admin API until `stop`; binds before it returns.
///
/// # Errors
/// An endpoint that cannot be listened on.
pub fn serve_admin(serving: &Serving, admin: Admin, stop: &Stop) -> Result<Served, ServeError> {
    let listener = listen("the admin API", serving)?;
    let answer = move |request: Request<RequestBody>| {
        let admin = admin.clone();
        async move { admin.answer(request).await }
    };
    let hosts = Hosts::Known(hosts(&serving.endpoint));
    Ok(serve(listener, hosts, answer, stop))
}

fn listen(what: &'static str, serving: &Serving) -> Result<Listener, ServeError> {
    let error = |cause: String| ServeError { what, endpoint: serving.endpoint.clone(), cause };
    let endpoint = Endpoint::parse(&serving.endpoint).map_err(|wrong| error(wrong.to_string()))?;
    bind(&endpoint, PortSharing::Exclusive).map_err(|wrong| error(wrong.to_string()))
}

/// Which `Host` a request may name.
enum Hosts {
    Any,
    Known(Vec<String>),
}

/// The names under which a listener on `endpoint` is asked: this machine's, and the one that was written.
fn hosts(endpoint: &str) -> Vec<String> {
    let written = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    let mut known = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
    known.push(written.to_ascii_lowercase());
    known
}

impl Hosts {
    fn allow(&self, headers: &HeaderMap) -> bool {
        let Hosts::Known(known) = self else { return true };
        let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        let name = if port.ends_with(']') { host } else { name };
        // An address is no name that somebody could rebind.
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
        address || known.contains(&name.to_ascii_lowercase())
    }
}

fn serve<F>(
    listener: Listener,
    hosts: Hosts,
    answer: impl Fn(Request<RequestBody>) -> F + Send + Sync + 'static,
    stop: &Stop,
) -> Served
where
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let shared = Arc::new((hosts, answer));
    let handler = move |request: Request<RequestBody>, _: Arc<ConnInfo>| {
        let shared = Arc::clone(&shared);
        async move {
            let (hosts, answer) = &*shared;
            let mut response = match turn_away(hosts, &request) {
                Some(response) => response,
                None => answer(request).await,
            };
            harden(response.headers_mut());
            response
        }
    };
    let settings = ServerSettings { connections_max: 100, ..ServerSettings::default() };
    let stop = stop.token();
    Box::pin(async move {
        transport::server::serve(listener, settings, handler, stop).await;
    })
}

/// A request that no page of another origin may make somebody's browser send.
fn turn_away(hosts: &Hosts, request: &Request<RequestBody>) -> Option<Response<ResponseBody>> {
    if !hosts.allow(request.headers()) {
        return Some(text_response(StatusCode::MISDIRECTED_REQUEST, "this name is not one of this server's\n"));
    }
    if is_reading(request.method()) {
        return None;
    }
    if request.method() != Method::POST {
        return Some(only("GET, HEAD, POST"));
    }
    if !is_same_origin(request.headers()) {
        return Some(text_response(StatusCode::FORBIDDEN, "not from another origin\n"));
    }
    let is_json = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    (!is_json).then(|| text_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected content-type: application/json\n"))
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, own), (Some((_, origin)), Some(own)) if origin.eq_ignore_ascii_case(own))
}

fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The answer to a method that changes something where nothing can be changed.
pub(crate) fn only(methods: &'static str) -> Response<ResponseBody> {
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods} here\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Nothing here is to be framed, guessed at, kept, or run.
fn harden(headers: &mut HeaderMap) {
    // A page has a policy of its own, which lets it have its styles.
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(nothing);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

pub(crate) fn json(value: &impl serde::Serialize) -> Response<ResponseBody> {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(ResponseBody::full(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text_response(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, host: &str, allowed: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        assert_eq!(Hosts::Known(hosts(endpoint)).allow(&headers), allowed, "{endpoint} asked as {host}");
    }

    #[test]
    fn what_changes_something_comes_from_this_origin_or_from_no_page_at_all() {
        let check = |origin: Option<&str>, allowed: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:8686"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            assert_eq!(is_same_origin(&headers), allowed, "{origin:?}");
        };
        check(None, true);
        check(Some("http://localhost:8686"), true);
        check(Some("http://evil.example"), false);
        check(Some("null"), false);
    }

    #[test]
    fn the_admin_api_answers_to_its_own_names_only() {
        check("localhost:8686", "localhost:8686", true);
        check("localhost:8686", "127.0.0.1:8686", true);
        check("localhost:8686", "[::1]:8686", true);
        check("localhost:8686", "rebound.example:8686", false);
        check("gateway.internal:8686", "gateway.internal", true);
        check("0.0.0.0:8686", "10.0.0.7:8686", true);
        check("0.0.0.0:8686", "evil.example", false);
    }
}
