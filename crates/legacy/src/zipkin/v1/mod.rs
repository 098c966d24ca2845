//! Version 1: annotations tell what version 2 has fields for. What a span is, is told as in Zipkin's own converter
//! (`V1SpanConverter`); what has no name is named as in the Collector.

pub(super) mod json;
pub(super) mod thrift;

use otlp::{SpanId, TraceId};

use super::model::{Annotation, Endpoint, Kind, Span, Value};

/// A span of version 1.
struct SpanV1 {
    trace_id: TraceId,
    id: SpanId,
    parent_id: Option<SpanId>,
    name: String,
    timestamp_us: u64,
    duration_us: u64,
    debug: bool,
    annotations: Vec<AnnotationV1>,
    binary_annotations: Vec<BinaryAnnotation>,
}

/// Something that happened at a time on a host.
struct AnnotationV1 {
    timestamp_us: u64,
    value: String,
    host: Endpoint,
}

/// A tag of a host, or the address of one.
struct BinaryAnnotation {
    key: String,
    value: Value,
    host: Endpoint,
}

/// The annotations that say what a span is: where it begins and ends, and on which side.
const CORE: [(&str, Kind, Edge); 6] = [
    ("cs", Kind::Client, Edge::Start),
    ("cr", Kind::Client, Edge::End),
    ("sr", Kind::Server, Edge::Start),
    ("ss", Kind::Server, Edge::End),
    ("ms", Kind::Producer, Edge::Start),
    ("mr", Kind::Consumer, Edge::Start),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Start,
    End,
}

/// The address of the client, the server and the broker, on the other side.
const ADDRESSES: [&str; 3] = ["ca", "sa", "ma"];
/// The name of what runs inside a process, without a request.
const LOCAL_COMPONENT: &str = "lc";

/// One side of a span, as far as annotations tell.
struct Side {
    span: Span,
    start_us: Option<u64>,
    end_us: Option<u64>,
}

impl SpanV1 {
    /// The span, or two where client and server share it.
    fn into_spans(self) -> impl Iterator<Item = Span> {
        let mut sides = self.sides();
        let own_times = [self.timestamp_us, self.duration_us];
        let everything = self.annotations.iter().map(|one| one.timestamp_us);
        let outermost = (everything.clone().min(), everything.max());
        // Which host a side is on has to be known before what hosts say is given to sides.
        let (core_ones, others): (Vec<_>, Vec<_>) =
            self.annotations.into_iter().partition(|one| core(&one.value).is_some());
        core_ones.into_iter().chain(others).for_each(|annotation| sides.add(annotation));
        for binary in self.binary_annotations {
            sides.add_binary(binary);
        }
        sides.finish(own_times, outermost)
    }

    /// A side for each kind that a core annotation names, at most one of client and server each.
    fn sides(&self) -> Sides {
        let mut blank = Span::new(self.trace_id, self.id);
        blank.parent_id = self.parent_id;
        blank.name.clone_from(&self.name);
        blank.debug = self.debug;
        let mut kinds: Vec<Kind> = Vec::new();
        for annotation in &self.annotations {
            match core(&annotation.value) {
                Some((kind, _)) if !kinds.contains(&kind) => kinds.push(kind),
                _ => {}
            }
        }
        // The side that began the request comes first, and has the span's own times.
        let kinds = match kinds.as_slice() {
            [] => self.kind_by_address(),
            kinds if kinds.contains(&Kind::Client) && kinds.contains(&Kind::Server) => vec![Kind::Client, Kind::Server],
            [first, ..] => vec![*first],
        };
        let side = |kind| Side { span: Span { kind, ..blank.clone() }, start_us: None, end_us: None };
        Sides(kinds.into_iter().map(side).collect())
    }

    /// Who has the address of a server is its client, and the other way round.
    fn kind_by_address(&self) -> Vec<Kind> {
        let has = |key: &str| self.binary_annotations.iter().any(|one| one.key == key && is_address(one));
        vec![match (has("sa"), has("ca")) {
            (true, false) => Kind::Client,
            (false, true) => Kind::Server,
            _ => Kind::Unspecified,
        }]
    }
}

fn core(value: &str) -> Option<(Kind, Edge)> {
    CORE.into_iter().find(|(name, ..)| *name == value).map(|(_, kind, edge)| (kind, edge))
}

/// An address has no value but "yes".
fn is_address(binary: &BinaryAnnotation) -> bool {
    ADDRESSES.contains(&binary.key.as_str()) && binary.value.text() == "true" && !binary.host.is_empty()
}

/// One side, or client and server in this order.
struct Sides(Vec<Side>);

impl Sides {
    /// The side of a kind or a host; the first where none is.
    fn of(&mut self, matches: impl Fn(&Span) -> bool) -> Option<&mut Side> {
        let at = self.0.iter().position(|side| matches(&side.span)).unwrap_or(0);
        self.0.get_mut(at)
    }

    fn of_host(&mut self, host: &Endpoint) -> Option<&mut Side> {
        let side = self.of(|span| !host.service.is_empty() && span.local.service == host.service)?;
        // What no core annotation has told of a side, the others do.
        if side.span.local.is_empty() {
            side.span.local = host.clone();
        }
        Some(side)
    }

    fn add(&mut self, annotation: AnnotationV1) {
        let AnnotationV1 { timestamp_us, value, host } = annotation;
        let Some((kind, edge)) = core(&value) else {
            if let Some(side) = self.of_host(&host).filter(|_| !value.is_empty()) {
                side.span.annotations.push(Annotation { timestamp_us, value });
            }
            return;
        };
        let Some(side) = self.of(|span| span.kind == kind) else { return };
        let edge = match edge {
            Edge::Start => &mut side.start_us,
            Edge::End => &mut side.end_us,
        };
        // The first of several counts.
        edge.get_or_insert(timestamp_us);
        if side.span.local.service.is_empty() && !host.is_empty() {
            side.span.local = host;
        }
    }

    fn add_binary(&mut self, binary: BinaryAnnotation) {
        if is_address(&binary) {
            let kind = if binary.key == "ca" { Kind::Server } else { Kind::Client };
            if let Some(side) = self.of(|span| span.kind == kind) {
                side.span.remote = binary.host;
            }
            return;
        }
        let Some(side) = self.of_host(&binary.host) else { return };
        if binary.key != LOCAL_COMPONENT {
            side.span.tags.insert(binary.key, binary.value);
            return;
        }
        if side.span.local.service.is_empty() {
            side.span.local.service = binary.value.text().into_owned();
        }
        if !binary.value.text().is_empty() {
            side.span.tags.insert("component".to_owned(), binary.value);
        }
    }

    fn finish(
        self,
        [timestamp_us, duration_us]: [u64; 2],
        outermost: (Option<u64>, Option<u64>),
    ) -> impl Iterator<Item = Span> {
        let is_shared = self.0.len() > 1;
        self.0.into_iter().enumerate().map(move |(index, side)| {
            let mut span = side.span;
            span.shared = is_shared && span.kind == Kind::Server;
            let (start, end) = match (side.start_us, side.end_us, index) {
                (None, None, 0) => outermost,
                (start, end, _) => (start, end),
            };
            span.timestamp_us = start.or(end).unwrap_or(0);
            span.duration_us = end.unwrap_or(0).saturating_sub(span.timestamp_us);
            if index == 0 && timestamp_us > 0 {
                (span.timestamp_us, span.duration_us) = (timestamp_us, duration_us);
            }
            span
        })
    }
}
