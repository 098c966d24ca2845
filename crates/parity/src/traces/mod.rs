//! Traces: span by span where both sides have the same ids, by the shapes of whole traces where they have not.
//!
//! Both sides are sampled by the same hash of the trace id. Protocols lose things on their way (Jaeger keeps
//! microseconds and has no tag for an internal span, Zipkin's tags are texts): spans are brought into a form that
//! survives all of them before they are compared, so that only what nobody had to lose counts as a difference.

mod join;
mod shape;
mod span;

use otlp::view::TracesView;

use crate::evidence::EValue;
use crate::verdict::{Demand, Side, Verdict};
use join::Join;
use shape::Shapes;
use span::Span;

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
const MAPPED_ATTRIBUTES: [&str; 12] = [
    "span.kind",
    "error",
    "otel.status_code",
    "otel.status_description",
    "otel.scope.name",
    "otel.scope.version",
    "otel.library.name",
    "otel.library.version",
    "w3c.tracestate",
    "internal.span.format",
    "sampler.type",
    "sampler.param",
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
    join: Join,
    shapes: Shapes,
    newest_unix_ns: [u64; 2],
}

impl Traces {
    /// Compares by settings.
    pub fn new(settings: TraceSettings) -> Traces {
        let join = Join::new(settings.spans_max);
        Traces { settings, join, shapes: Shapes::default(), newest_unix_ns: [0; 2] }
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, traces: TracesView<'_>) {
        for resource in traces.resource_spans() {
            let service = resource.resource().attributes().get("service.name");
            let service = service.map_or_else(Default::default, otlp::view::AnyValueView::to_text);
            for span in resource.scope_spans().flat_map(|scope| scope.spans()) {
                let Some(trace_id) = span.trace_id() else { continue };
                let hash = xxhash_rust::xxh3::xxh3_64(trace_id.as_bytes());
                if hash % 1000 >= u64::from(self.settings.share_permille) {
                    continue;
                }
                let Some(span) = Span::read(&span, &service, &self.settings.ignored_attributes) else { continue };
                self.newest_unix_ns[side as usize] = self.newest_unix_ns[side as usize].max(span.end_unix_ns);
                self.shapes.observe(side, &span);
                self.join.observe(side, span);
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
        self.shapes.seal(watermark_unix_ns, &self.settings.demand);
        match self.ids() {
            // Traces that fall apart share only some of their ids.
            Ids::Shared if self.shapes.fragmented(&self.settings.demand).is_some() => {
                self.shapes.verdicts(&self.settings.demand)
            }
            Ids::Shared => self.join.verdicts(&self.settings.demand),
            Ids::Separate => self.shapes.verdicts(&self.settings.demand),
        }
    }
}

#[cfg(test)]
mod tests;
