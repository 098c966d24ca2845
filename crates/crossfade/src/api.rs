//! A running process, asked over its admin API.

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transport::http_client::{HttpClient, HttpClientSettings, HttpError, HttpRequest};
use url::Url;

use crate::{ConfigArguments, MaybeConfigArguments, check};

/// Where the process is.
#[derive(Debug, clap::Args)]
pub(crate) struct ProcessArguments {
    /// The admin API of the process; the configuration says it too.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    #[command(flatten)]
    config: MaybeConfigArguments,
}

/// The admin API of a process.
pub(crate) struct Api {
    client: HttpClient,
    base: Url,
}

/// What came of asking.
pub(crate) enum Asked<T> {
    Answered(T),
    /// Nobody listens there.
    NobodyThere,
}

impl ProcessArguments {
    /// The configuration, if it was named.
    pub(crate) fn config(&self) -> Option<ConfigArguments> {
        self.config.named()
    }

    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        let base = match (&self.endpoint, self.config()) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(config)) => configured(&config)?,
            (None, None) => Url::parse("http://localhost:8686")?,
        };
        let client =
            HttpClient::new(HttpClientSettings { response_bytes_max: 64 << 20, ..HttpClientSettings::default() })?;
        Ok(Api { client, base })
    }
}

/// The endpoint that a configuration serves the API on.
fn configured(config: &ConfigArguments) -> anyhow::Result<Url> {
    let checked =
        check::load(&config.paths()).map_err(|errors| anyhow!("{}", errors.render().trim_end().to_owned()))?;
    let admin = checked.graph.admin.context("the configuration turns the admin API off")?;
    // A listener on every address is reached on this machine's own.
    let endpoint = admin.endpoint.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
    Url::parse(&format!("http://{endpoint}")).with_context(|| format!("admin.endpoint: {endpoint}"))
}

impl Api {
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Asked<T>> {
        self.ask(HttpRequest::get(self.base.join(path)?)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<Asked<T>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Bytes::from(serde_json::to_vec(body)?);
        self.ask(HttpRequest::post(self.base.join(path)?, headers, body)).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: HttpRequest) -> anyhow::Result<Asked<T>> {
        let reply = match self.client.send(request).await {
            Ok(reply) => reply,
            Err(HttpError::Connect { .. }) => return Ok(Asked::NobodyThere),
            Err(error) => return Err(error.into()),
        };
        if !reply.status.is_success() {
            let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let text = String::from_utf8_lossy(&reply.body).trim().to_owned();
            bail!("{}", said["error"].as_str().map_or_else(|| format!("{}: {text}", reply.status), str::to_owned));
        }
        let answer = serde_json::from_slice(&reply.body).context("the answer is not what this version expects")?;
        Ok(Asked::Answered(answer))
    }
}
