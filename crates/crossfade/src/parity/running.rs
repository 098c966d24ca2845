//! The verdicts of a running process, asked over its admin API.

use anyhow::{Context, bail};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest, shown};
use url::Url;

use super::ReportFormat;

/// A report is no larger.
const REPORT_BYTES_MAX: usize = 256 << 20;

impl ReportFormat {
    /// As the API calls it.
    const fn name(self) -> &'static str {
        match self {
            ReportFormat::Table => "table",
            ReportFormat::Json => "json",
            ReportFormat::Junit => "junit",
            ReportFormat::Markdown => "markdown",
            ReportFormat::Html => "html",
        }
    }
}

/// The report of the process at an address, and what this process is to end with.
pub(super) async fn ask(endpoint: &Url, format: ReportFormat, columns: Option<usize>) -> anyhow::Result<(String, u8)> {
    let mut address = endpoint.join("/api/v1/parity").context("--endpoint")?;
    address.query_pairs_mut().append_pair("format", format.name());
    if let Some(columns) = columns {
        address.query_pairs_mut().append_pair("columns", &columns.to_string());
    }
    let settings = HttpClientSettings { response_bytes_max: REPORT_BYTES_MAX, ..HttpClientSettings::default() };
    let reply = HttpClient::new(settings)?.send(HttpRequest::get(address)).await;
    let reply = reply.with_context(|| format!("{}: is the process running?", shown(endpoint)))?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if !reply.status.is_success() {
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let said = said["error"].as_str().map_or_else(|| text.trim().to_owned(), str::to_owned);
        bail!("{}: {said}", shown(endpoint));
    }
    let verdict = reply.headers.get(admin::VERDICT_HEADER).and_then(|verdict| verdict.to_str().ok());
    let code = verdict.and_then(admin::exit_code).context("the answer is not what this version expects")?;
    Ok((text, code))
}
