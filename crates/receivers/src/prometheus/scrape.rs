//! One scrape: fetch, read, relabel, encode, hand over.

use std::sync::Arc;
use std::time::Duration;

use component::metrics::{Counter, Description};
use component::{Intake, Metrics, Refused, clock};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use otlp::Batch;
use prom::labels::{LabelBuilder, LabelSet};
use prom::relabel::{Verdict, relabel};
use prom::scrape::{Families, MetricNames, SampleToEncode, ScrapeEncoder, ScrapeExemplar};
use prom::text::{Entry, FamilyKind, Format, Limits, Parser, STALE_NAN, Sample};
use tokio::time::Instant;
use transport::http_client::{HttpClient, HttpRequest};

use super::series::{SeriesCache, SeriesId, Tracked};
use super::settings::Job;
use super::target::Target;

/// What all targets of a job share.
pub(super) struct Scraper {
    pub(super) job: Arc<Job>,
    pub(super) client: HttpClient,
    pub(super) intake: Intake,
    pub(super) names: MetricNames,
    /// `max_series_per_target`.
    pub(super) series_max: u64,
    pub(super) meters: Meters,
}

/// The Collector's counters of scrapers.
#[derive(Clone)]
pub(super) struct Meters {
    scraped_points: Counter,
    errored_points: Counter,
    refused_points: Counter,
    metrics: Metrics,
    receiver: String,
    job: String,
}

const SCRAPED: Description =
    Description::counter("otelcol_scraper_scraped_metric_points", "Data points that scrapes gave.");
const ERRORED: Description =
    Description::counter("otelcol_scraper_errored_metric_points", "Samples that could not be turned into data points.");
const REFUSED: Description = Description::counter(
    "crossfade_scrape_refused_metric_points",
    "Data points of scrapes that the pipelines refused until the next scrape was due.",
);

const FAILURES: Description =
    Description::counter("crossfade_scrape_failures", "Scrapes that gave nothing but `up 0`, by cause.");
const DROPPED: Description =
    Description::counter("crossfade_scrape_dropped_samples", "Samples of scrapes that gave nothing, by cause.");

impl Meters {
    pub(super) fn new(metrics: &Metrics, receiver: &str, job: &str) -> Meters {
        let labels = [("receiver", receiver), ("scraper", job)];
        Meters {
            scraped_points: metrics.counter(SCRAPED, &labels),
            errored_points: metrics.counter(ERRORED, &labels),
            refused_points: metrics.counter(REFUSED, &labels),
            metrics: metrics.clone(),
            receiver: receiver.to_owned(),
            job: job.to_owned(),
        }
    }

    /// A scrape that failed, and how much of it had been read.
    fn failed(&self, cause: &'static str, samples: u64) {
        let labels = [("receiver", self.receiver.as_str()), ("scraper", self.job.as_str()), ("cause", cause)];
        self.metrics.counter(FAILURES, &labels).add(1);
        self.metrics.counter(DROPPED, &labels).add(samples);
    }
}

/// Why a scrape gave nothing.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("{0}")]
    Fetch(String),
    #[error("the target answered {0}")]
    Status(http::StatusCode),
    #[error("the exposition is larger than the limit of {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Parse(#[from] prom::text::ParseError),
    #[error("{0}")]
    Labels(#[from] prom::labels::LabelLimitExceeded),
    #[error("sample_limit exceeded: the limit is {0}")]
    Samples(u64),
    #[error("max_series_per_target exceeded: the limit is {0}")]
    Series(u64),
}

impl ScrapeError {
    /// A short, bounded name.
    fn cause(&self) -> &'static str {
        match self {
            ScrapeError::Fetch(_) => "unreachable",
            ScrapeError::Status(_) => "status",
            ScrapeError::TooLarge(_) => "body_size_limit",
            ScrapeError::Parse(_) => "malformed",
            ScrapeError::Labels(_) => "label_limit",
            ScrapeError::Samples(_) => "sample_limit",
            ScrapeError::Series(_) => "series_limit",
        }
    }
}

/// A sample of this scrape, with its labels in the cache.
struct Taken {
    series: SeriesId,
    timestamp_ms: i64,
    value: f64,
    exemplar: Option<ScrapeExemplar>,
}

/// What the report series say.
#[derive(Default)]
struct Report {
    up: bool,
    duration: Duration,
    scraped: u64,
    kept: u64,
    added: u64,
    body_bytes: usize,
}

/// One target and what is remembered of it.
pub(super) struct Loop {
    scraper: Arc<Scraper>,
    target: Target,
    described: prom::scrape::Target,
    cache: SeriesCache,
    families: Families,
    reports: Vec<LabelSet>,
    was_up: Option<bool>,
}

/// Beside each scrape, in this order; the last three only where asked for.
const REPORTS: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
const REPORTS_ALWAYS: usize = 5;

impl Loop {
    pub(super) fn new(scraper: Arc<Scraper>, target: Target) -> Loop {
        let label = |name: &str| target.labels.get(name).unwrap_or_default().to_owned();
        let described = prom::scrape::Target {
            job: label("job"),
            instance: label("instance"),
            scheme: target.url.scheme().to_owned(),
            attributes: target.attributes.clone(),
        };
        let count = if scraper.job.extra_metrics { REPORTS.len() } else { REPORTS_ALWAYS };
        let mut builder = LabelBuilder::default();
        let reports = REPORTS[..count].iter().map(|name| {
            builder.reset_to(&target.labels);
            builder.set("__name__", name);
            add_external(&mut builder, &scraper.job);
            builder.build()
        });
        let reports = reports.collect();
        let (cache, families) = (SeriesCache::default(), Families::default());
        Loop { scraper, target, described, cache, families, reports, was_up: None }
    }

    /// Scrapes once and hands over what came of it. `until` is when the next scrape is due.
    pub(super) async fn scrape(&mut self, until: Instant) {
        let at_ms = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
        let started = Instant::now();
        let fetched = self.fetch().await;
        self.cache.start_scrape();
        let mut report = Report { duration: started.elapsed(), ..Report::default() };
        let result = fetched.and_then(|(format, body)| {
            report.body_bytes = body.len();
            self.take(format, &body, at_ms, &mut report)
        });
        let mut samples = match result {
            Ok(samples) => {
                report.up = true;
                samples
            }
            Err(error) => {
                self.scraper.meters.failed(error.cause(), report.scraped);
                self.say_failed(&error);
                Vec::new()
            }
        };
        let vanished = if report.up { self.cache.vanished() } else { self.cache.all_vanished() };
        samples.extend(vanished.into_iter().map(|series| stale(series, at_ms)));
        self.was_up = Some(report.up);
        let batch = self.encode(&samples, Some(&report), at_ms);
        drop(samples);
        self.cache.forget_old();
        self.hand_over(batch, until).await;
    }

    /// The target is gone: its series end here.
    pub(super) async fn end(&mut self, until: Instant) {
        let at_ms = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
        let samples: Vec<Taken> = self.cache.all_vanished().into_iter().map(|series| stale(series, at_ms)).collect();
        let batch = self.encode(&samples, None, at_ms);
        self.hand_over(batch, until).await;
    }

    async fn fetch(&self) -> Result<(Format, bytes::Bytes), ScrapeError> {
        let job = &self.scraper.job;
        let mut request = HttpRequest::get(self.target.url.clone());
        request.headers = headers(job, self.target.timeout);
        // One byte more than the limit shows that there is more.
        let limit = job.limits.body_bytes_max;
        request.response_bytes_max = Some(limit.saturating_add(1));
        let fetching = tokio::time::timeout(self.target.timeout, self.scraper.client.send(request));
        let reply = match fetching.await {
            Ok(reply) => reply.map_err(|error| ScrapeError::Fetch(error.to_string()))?,
            Err(_) => {
                let limit = self.target.timeout;
                return Err(ScrapeError::Fetch(format!("no complete answer within {limit:?}")));
            }
        };
        if reply.status != http::StatusCode::OK {
            return Err(ScrapeError::Status(reply.status));
        }
        if reply.truncated || reply.body.len() > limit {
            return Err(ScrapeError::TooLarge(limit));
        }
        let kind = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // A target that names no format, or one that nobody knows, is read as text, as old exporters want it.
        Ok((kind.and_then(Format::from_content_type).unwrap_or(Format::Text), reply.body))
    }

    /// Reads an exposition. Nothing of one that is wrong is kept.
    fn take(
        &mut self,
        format: Format,
        body: &[u8],
        at_ms: i64,
        report: &mut Report,
    ) -> Result<Vec<Taken>, ScrapeError> {
        let job = Arc::clone(&self.scraper.job);
        self.families.start_scrape();
        let mut parser = Parser::new(format, body, Limits::default());
        let mut builder = LabelBuilder::default();
        let (mut samples, mut tracked) = (Vec::new(), Vec::new());
        while let Some(entry) = parser.next_entry()? {
            match entry {
                Entry::Type { family, kind } => self.families.set_kind(family, kind),
                Entry::Help { family, text } => self.families.set_help(family, text),
                Entry::Unit { family, unit } => self.families.set_unit(family, unit),
                Entry::Sample(sample) => {
                    report.scraped += 1;
                    if report.scraped > self.scraper.series_max {
                        // Unlike a `sample_limit`, this one is there for the memory: nothing more is looked at.
                        return Err(ScrapeError::Series(self.scraper.series_max));
                    }
                    let series = match self.cache.find(sample.series) {
                        Some(series) => series,
                        None => {
                            let labels = label(&job, &self.target.labels, &sample, &mut builder)?;
                            self.cache.insert(sample.series, labels)
                        }
                    };
                    if self.cache.labels(series).is_none() {
                        continue;
                    }
                    report.kept += 1;
                    if job.limits.samples_max.is_some_and(|limit| report.kept > limit) {
                        // As in Prometheus, the report counts on, so that a person sees what limit would do.
                        continue;
                    }
                    let own = sample.timestamp_ms.filter(|_| job.honor_timestamps);
                    if own.is_none() || job.track_timestamps_staleness {
                        tracked.push(series);
                    }
                    samples.push(taken(series, &sample, own.unwrap_or(at_ms), at_ms));
                }
            }
        }
        if let Some(limit) = job.limits.samples_max.filter(|limit| report.kept > *limit) {
            return Err(ScrapeError::Samples(limit));
        }
        // Only now: a series of an exposition that is thrown away was never there, and does not vanish.
        let mut is_new = |series: &SeriesId| self.cache.track(*series) == Tracked::New;
        report.added = tracked.iter().filter(|series| is_new(series)).count() as u64;
        Ok(samples)
    }

    fn encode(&mut self, samples: &[Taken], report: Option<&Report>, at_ms: i64) -> Batch {
        REPORTS[..self.reports.len()].iter().for_each(|name| self.families.set_kind(name, FamilyKind::Gauge));
        let mut encoder = ScrapeEncoder::new(&self.families, &self.described, self.scraper.names);
        for sample in samples {
            if let Some(labels) = self.cache.labels(sample.series) {
                let Taken { timestamp_ms, value, .. } = *sample;
                encoder.append(&SampleToEncode { labels, timestamp_ms, value, exemplar: sample.exemplar.as_ref() });
            }
        }
        for (labels, value) in self.reports.iter().zip(self.report_values(report)) {
            encoder.append(&SampleToEncode { labels, timestamp_ms: at_ms, value, exemplar: None });
        }
        let (batch, unconvertible) = encoder.finish();
        self.scraper.meters.scraped_points.add(u64::from(batch.items()));
        self.scraper.meters.errored_points.add(unconvertible.total());
        batch
    }

    /// The values of [`REPORTS`]; without a report they end, too.
    fn report_values(&self, report: Option<&Report>) -> [f64; REPORTS.len()] {
        let Some(report) = report else { return [STALE_NAN; REPORTS.len()] };
        [
            f64::from(u8::from(report.up)),
            report.duration.as_secs_f64(),
            report.scraped as f64,
            report.kept as f64,
            report.added as f64,
            self.target.timeout.as_secs_f64(),
            self.scraper.job.limits.samples_max.unwrap_or(0) as f64,
            report.body_bytes as f64,
        ]
    }

    /// Hands a batch over; one that is refused is offered again until the next scrape is due.
    async fn hand_over(&self, batch: Batch, until: Instant) {
        loop {
            let wait = match self.scraper.intake.accept(batch.clone()).await {
                Ok(()) => return,
                Err(Refused::Retry { after, .. }) if Instant::now() + after < until => after,
                Err(refused) => {
                    self.scraper.meters.refused_points.add(u64::from(batch.items()));
                    tracing::warn!(target_url = %self.target.url, %refused, "a scrape was refused and is lost");
                    return;
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn say_failed(&self, error: &ScrapeError) {
        if self.was_up != Some(false) {
            let (job, url) = (&self.scraper.job.name, transport::http_client::shown(&self.target.url));
            tracing::warn!(job, url, %error, "a scrape failed");
        }
    }
}

fn stale(series: SeriesId, timestamp_ms: i64) -> Taken {
    Taken { series, timestamp_ms, value: STALE_NAN, exemplar: None }
}

fn taken(series: SeriesId, sample: &Sample<'_>, timestamp_ms: i64, at_ms: i64) -> Taken {
    let exemplar = sample.exemplar.and_then(|exemplar| {
        let labels = LabelSet::from_pairs(exemplar.labels.iter()).ok()?;
        Some(ScrapeExemplar { labels, value: exemplar.value, timestamp_ms: exemplar.timestamp_ms.unwrap_or(at_ms) })
    });
    Taken { series, timestamp_ms, value: sample.value, exemplar }
}

/// The labels that a series is kept under; none if relabelling drops it.
fn label(
    job: &Job,
    target: &LabelSet,
    sample: &Sample<'_>,
    builder: &mut LabelBuilder,
) -> Result<Option<LabelSet>, ScrapeError> {
    builder.clear();
    builder.set("__name__", sample.name);
    sample.labels.iter().for_each(|(name, value)| builder.set(name, value));
    for (name, value) in target.iter() {
        let exposed = builder.get(name).to_owned();
        if exposed.is_empty() {
            builder.set(name, value);
        } else if !job.honor_labels {
            // A target does not decide who it is: what it claims moves aside.
            let mut aside = format!("exported_{name}");
            while !builder.get(&aside).is_empty() {
                aside.insert_str(0, "exported_");
            }
            builder.set(&aside, &exposed);
            builder.set(name, value);
        }
    }
    if relabel(&job.metric_relabel, builder) == Verdict::Drop || builder.get("__name__").is_empty() {
        return Ok(None);
    }
    job.limits.labels.check(builder)?;
    add_external(builder, job);
    Ok(Some(builder.build()))
}

fn add_external(builder: &mut LabelBuilder, job: &Job) {
    for (name, value) in job.external_labels.iter() {
        if builder.get(name).is_empty() {
            builder.set(name, value);
        }
    }
}

fn headers(job: &Job, timeout: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(accept) = HeaderValue::from_str(&job.accept) {
        headers.insert(ACCEPT, accept);
    }
    if job.compression {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(seconds) = HeaderValue::from_str(&timeout.as_secs_f64().to_string()) {
        headers.insert(HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), seconds);
    }
    headers
}
