//! Traces: span by span where both sides have the same ids; where they have not, by the shapes of whole traces and by what
//! spans of the same operation have.
//!
//! Both sides are sampled by the same hash of the trace id. Protocols lose things on their way (Jaeger keeps
//! microseconds and has no tag for an internal span, Zipkin's tags are texts): spans are brought into a form that
//! survives all of them before they are compared, so that only what nobody had to lose counts as a difference.

mod contents;
mod join;
mod names;
mod paths;
mod population;
mod shape;
mod span;
mod tree;

use otlp::view::TracesView;

use crate::evidence::EValue;
use crate::verdict::{Demand, Side, Verdict};
use join::Join;
use names::{Keys, Tables};
use shape::Shapes;
use span::{Source, Span};

/// How traces are compared.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// What is asked of a verdict.
    pub demand: Demand,
    /// A span that the other side has not brought by then is missing there.
    pub settle_ns: u64,
    /// Of a thousand traces so many are compared: the same ones on both sides.
    pub share_permille: u32,
    /// So many spans wait for their counterparts; the oldest give way.
    pub spans_max: usize,
    /// Attributes that are left out on both sides.
    pub ignored_attributes: Vec<String>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        TraceSettings {
            demand: Demand::default(),
            settle_ns: 120_000_000_000,
            share_permille: 1000,
            spans_max: 200_000,
            ignored_attributes: Vec::new(),
        }
    }
}

/// Attributes that the mappings of Jaeger and Zipkin add or take away.
const MAPPED_ATTRIBUTES: [&str; 27] = [
    "span.kind",
    "error",
    "otel.status_code",
    "otel.status_description",
    "otel.scope.name",
    "otel.scope.version",
    "otel.library.name",
    "otel.library.version",
    "otel.dropped_attributes_count",
    "otel.dropped_events_count",
    "otel.dropped_links_count",
    "w3c.tracestate",
    "internal.span.format",
    "sampler.type",
    "sampler.param",
    "@jaeger@warnings",
    "jaeger.version",
    "opencensus.exporterversion",
    "otlp.service.name.source",
    "otel.zipkin.absentField.startTime",
    "zipkin.shared",
    "zipkin.debug",
    // Zipkin's endpoints are made of other attributes where these are not there.
    "peer.service",
    "net.peer.ip",
    "net.peer.port",
    "net.host.ip",
    "net.host.port",
];

/// One population of traces and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct PopulationVerdict {
    /// The service whose spans they are, or the operation that the traces begin with.
    pub population: String,
    /// What the comparison came to.
    pub verdict: Verdict,
    /// How strong a difference is.
    pub strength: EValue,
    /// Spans or traces of the legacy side that were judged.
    pub legacy: u64,
    /// Those of the new side.
    pub new: u64,
}

/// Whether the two sides share ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// They do: spans are compared one by one.
    Shared,
    /// They do not: shapes are compared.
    Separate,
}

/// Compares the traces of two sides.
#[derive(Debug)]
pub struct Traces {
    settings: TraceSettings,
    tables: Tables,
    join: Join,
    shapes: Shapes,
    newest_unix_ns: [u64; 2],
}

impl Traces {
    /// Compares by settings.
    pub fn new(settings: TraceSettings) -> Traces {
        let join = Join::new(settings.spans_max);
        let ignored = settings.ignored_attributes.iter().map(String::as_str);
        let keys = Keys::without(MAPPED_ATTRIBUTES.into_iter().chain(ignored));
        let tables = Tables { keys, ..Tables::default() };
        Traces { settings, tables, join, shapes: Shapes::default(), newest_unix_ns: [0; 2] }
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, traces: TracesView<'_>) {
        for resource in traces.resource_spans() {
            let source = Source::read(resource.resource(), &mut self.tables);
            for span in resource.scope_spans().flat_map(|scope| scope.spans()) {
                let Some(trace_id) = span.trace_id() else { continue };
                let hash = xxhash_rust::xxh3::xxh3_64(trace_id.as_bytes());
                if hash % 1000 >= u64::from(self.settings.share_permille) {
                    continue;
                }
                let Some(span) = Span::read(&span, &source, &mut self.tables) else { continue };
                self.newest_unix_ns[side as usize] = self.newest_unix_ns[side as usize].max(span.end_unix_ns);
                self.shapes.observe(side, &span, self.ids(), &self.tables);
                self.join.observe(side, span, &self.tables);
            }
        }
    }

    /// Whether any span of one side was found on the other.
    pub fn ids(&self) -> Ids {
        if self.join.has_matches() { Ids::Shared } else { Ids::Separate }
    }

    /// The newest time up to which nothing more is expected of either side.
    pub fn watermark(&self) -> u64 {
        let [legacy, new] = self.newest_unix_ns;
        legacy.min(new).saturating_sub(self.settings.settle_ns)
    }

    /// Judges everything that ended before the watermark.
    pub fn close(&mut self, watermark_unix_ns: u64) -> Vec<PopulationVerdict> {
        self.join.seal(watermark_unix_ns);
        let (demand, tables) = (&self.settings.demand, &self.tables);
        self.shapes.seal(watermark_unix_ns, demand, tables);
        match self.ids() {
            // Traces that fall apart share only some of their ids.
            Ids::Shared if self.shapes.fragmented(demand).is_some() => self.shapes.verdicts(demand, tables),
            Ids::Shared => self.join.verdicts(demand, tables),
            Ids::Separate => self.shapes.verdicts(demand, tables),
        }
    }
}

#[cfg(test)]
mod tests;
