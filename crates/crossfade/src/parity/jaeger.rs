//! Traces from Jaeger's query API, version 1: <https://www.jaegertracing.io/docs/latest/architecture/apis/>. Jaeger,
//! VictoriaTraces and others answer it.
//!
//! The API finds traces by a service and by when their spans began, and answers whole traces. So every service is asked,
//! a while at a time, and less where an answer is too much; a trace that comes again is known by its id. Spans wait for
//! the time at which they ended, since both sides are compared in this order.

use std::collections::HashMap;

use anyhow::Context;
use http::HeaderMap;
use legacy::jaeger::{QueriedTrace, from_json};
use otlp::{Batch, TraceId};
use parity::Side;
use serde::Deserialize;
use transport::http_client::HttpRequest;
use url::Url;

use super::api::{Answered, Api, ApiError};
use super::window::{Window, cut, extent};

/// So many traces are asked for at once; as many in the answer may be all, or not.
const TRACES_MAX: u64 = 1000;

/// No shorter time is asked for at once; then so many traces may be answered.
const PART_US_MIN: u64 = 1000;
const TRACES_OF_A_MOMENT_MAX: u64 = 20_000;

/// No longer time is asked for at once.
const PART_US_MAX: u64 = 1_800_000_000;

/// Backends are asked so much before and after the time that is compared, for those that search by other times of a
/// trace than Jaeger does.
const MARGIN_NS: u64 = 60_000_000_000;

/// Spans that wait for their time have so many bytes at most; what is beyond does not wait.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// More services than this are not asked one by one.
const SERVICES_MAX: usize = 2000;

/// What a tracing backend says of itself: it differs between two of them by its nature.
const OF_THE_BACKEND: [&str; 5] = ["jaeger", "jaeger-all-in-one", "jaeger-collector", "jaeger-query", "tempo-all"];

/// Which spans take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// Those of traces of which all spans lie in the time that is compared.
    Traces,
    /// All that end in it: the other side is a recording, which does not say what of a trace it lacks.
    Spans,
}

/// A backend with what it knows.
#[derive(Debug)]
pub(super) struct Jaeger {
    api: Api,
    side: Side,
    whole: Whole,
    window: Window,
    services: Vec<Service>,
    /// Traces that were read and may be answered again, by when their last span began.
    known: HashMap<TraceId, u64>,
    waiting: Vec<Batch>,
    /// Moments with more traces than were answered.
    cut_moments: u64,
}

#[derive(Debug)]
struct Service {
    name: String,
    /// For how long its traces are asked at once.
    part_us: u64,
}

#[derive(Deserialize)]
struct Services {
    data: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    msg: String,
}

fn said_in(body: &[u8]) -> Option<String> {
    let errors = serde_json::from_slice::<Errors>(body).ok()?.errors;
    Some(errors.into_iter().map(|problem| problem.msg).collect::<Vec<_>>().join("; "))
}

impl Jaeger {
    pub(super) fn new(side: Side, base: &Url, headers: HeaderMap, whole: Whole) -> anyhow::Result<Jaeger> {
        let api = Api::new("the query API of Jaeger", base, headers)?;
        let (services, known, waiting) = Default::default();
        Ok(Jaeger { api, side, whole, window: Window::EMPTY, services, known, waiting, cut_moments: 0 })
    }

    /// Asks which services there are.
    pub(super) async fn learn(&mut self, window: Window) -> anyhow::Result<()> {
        self.window = window;
        let told = || format!("cannot read the traces of the {} side", self.side);
        let answered =
            self.api.ask(HttpRequest::get(self.api.url("api/services")), said_in).await.with_context(told)?;
        let services: Services = serde_json::from_slice(&answered.body)
            .map_err(|error| answered.malformed(&error.to_string()))
            .with_context(told)?;
        let mut names = services.data.unwrap_or_default();
        names.retain(|name| !name.is_empty() && !OF_THE_BACKEND.contains(&name.as_str()));
        names.sort_unstable();
        names.dedup();
        anyhow::ensure!(names.len() <= SERVICES_MAX, "{} services: at most {SERVICES_MAX} are asked", names.len());
        self.services = names.into_iter().map(|name| Service { name, part_us: PART_US_MAX }).collect();
        Ok(())
    }

    /// Reads the spans that ended up to a time, later than those that were read before.
    pub(super) async fn read(&mut self, slice: Window, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        let is_first = slice.from_unix_ns == self.window.from_unix_ns;
        let is_last = slice.to_unix_ns == self.window.to_unix_ns;
        let from_unix_ns = slice.from_unix_ns.saturating_sub(if is_first { MARGIN_NS } else { 0 });
        let to_unix_ns = slice.to_unix_ns.saturating_add(if is_last { MARGIN_NS } else { 0 });
        let give_until_unix_ns = if is_last { u64::MAX } else { slice.to_unix_ns };
        for batch in std::mem::take(&mut self.waiting) {
            self.give(batch, give_until_unix_ns, observe);
        }
        let side = self.side;
        let told = || format!("cannot read the traces of the {side} side");
        for at in 0..self.services.len() {
            let mut from_us = from_unix_ns / 1000;
            while from_us < to_unix_ns.div_ceil(1000) {
                let Some(service) = self.services.get(at) else { break };
                let to_us = from_us.saturating_add(service.part_us).min(to_unix_ns.div_ceil(1000));
                let asked = self.traces(service, from_us, to_us).await;
                let part_us = to_us - from_us;
                let (traces, is_cut) = match asked {
                    Err(error) if error.is_too_much() && part_us > PART_US_MIN => (Vec::new(), true),
                    asked => asked.with_context(told)?,
                };
                let Some(service) = self.services.get_mut(at) else { break };
                if is_cut && part_us > PART_US_MIN {
                    service.part_us = (part_us / 2).max(PART_US_MIN);
                    continue;
                }
                self.cut_moments += u64::from(is_cut);
                if (traces.len() as u64) < TRACES_MAX / 4 {
                    service.part_us = service.part_us.saturating_mul(2).min(PART_US_MAX);
                }
                for trace in traces {
                    self.take(trace, give_until_unix_ns, observe);
                }
                from_us = to_us;
            }
        }
        self.known.retain(|_, started_unix_ns| started_unix_ns.saturating_add(MARGIN_NS) >= to_unix_ns);
        Ok(())
    }

    /// The traces of a service that have a span which began in a time, and whether there may be more of them.
    async fn traces(&self, service: &Service, from_us: u64, to_us: u64) -> Result<(Vec<QueriedTrace>, bool), ApiError> {
        let limit = if to_us - from_us > PART_US_MIN { TRACES_MAX } else { TRACES_OF_A_MOMENT_MAX };
        let mut url = self.api.url("api/traces");
        url.query_pairs_mut()
            .append_pair("service", &service.name)
            .append_pair("start", &from_us.to_string())
            .append_pair("end", &to_us.to_string())
            .append_pair("limit", &limit.to_string());
        let answered = self.api.ask(HttpRequest::get(url), said_in).await?;
        let traces = understood(&answered)?;
        let is_cut = traces.len() as u64 >= limit;
        Ok((traces, is_cut))
    }

    fn take(&mut self, trace: QueriedTrace, give_until_unix_ns: u64, observe: &mut impl FnMut(Batch)) {
        let spans = Spans::of(&trace.batch);
        if self.known.insert(trace.trace_id, spans.last_start_unix_ns).is_some() {
            return;
        }
        let is_inside = spans.all.meet(self.window) == spans.all;
        if self.whole == Whole::Spans || is_inside {
            self.give(trace.batch, give_until_unix_ns, observe);
        }
    }

    /// Gives the spans that ended by a time; the others wait.
    fn give(&mut self, batch: Batch, until_unix_ns: u64, observe: &mut impl FnMut(Batch)) {
        let ends = extent(&batch);
        let waiting_bytes: usize = self.waiting.iter().map(Batch::size_bytes).sum();
        if ends.is_empty() || ends.to_unix_ns <= until_unix_ns || waiting_bytes > WAITING_BYTES_MAX {
            return observe(batch);
        }
        let [before, after] = [
            Window { from_unix_ns: 0, to_unix_ns: until_unix_ns },
            Window { from_unix_ns: until_unix_ns.saturating_add(1), to_unix_ns: u64::MAX },
        ];
        if ends.from_unix_ns <= until_unix_ns {
            observe(cut(batch.clone(), before));
        }
        self.waiting.push(cut(batch, after));
    }

    /// What kept something from being compared.
    pub(super) fn notes(&self) -> Option<String> {
        (self.cut_moments > 0).then(|| {
            format!(
                "the {} side has more than {TRACES_OF_A_MOMENT_MAX} traces of a service within a millisecond, {} times: \
                 some were not answered",
                self.side, self.cut_moments
            )
        })
    }
}

fn understood(answered: &Answered) -> Result<Vec<QueriedTrace>, ApiError> {
    let answer = from_json(&answered.body).map_err(|error| answered.malformed(&error.to_string()))?;
    match answer.errors.is_empty() {
        true => Ok(answer.traces),
        false => Err(answered.refused(&answer.errors.join("; "))),
    }
}

/// When the spans of a trace are.
struct Spans {
    /// From the first start to the last end.
    all: Window,
    last_start_unix_ns: u64,
}

impl Spans {
    fn of(batch: &Batch) -> Spans {
        let mut spans = Spans { all: Window::EMPTY, last_start_unix_ns: 0 };
        let resources = batch.traces().into_iter().flat_map(|traces| traces.resource_spans());
        for span in resources.flat_map(|resource| resource.scope_spans()).flat_map(|scope| scope.spans()) {
            spans.all.add(span.start_time_unix_nano());
            spans.all.add(span.end_time_unix_nano());
            spans.last_start_unix_ns = spans.last_start_unix_ns.max(span.start_time_unix_nano());
        }
        spans
    }
}
