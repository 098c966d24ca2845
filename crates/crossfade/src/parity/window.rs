//! The time that two recordings have in common: what only one of them can have is no difference.

use otlp::wire::{FieldValue, Fields, OpenField};
use otlp::{Batch, Limits, Signal};

/// A span of time, in nanoseconds since the Unix epoch; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from_unix_ns: u64,
    pub(super) to_unix_ns: u64,
}

impl Window {
    /// No time at all, which anything can be added to.
    pub(super) const EMPTY: Window = Window { from_unix_ns: u64::MAX, to_unix_ns: 0 };

    pub(super) const fn is_empty(self) -> bool {
        self.from_unix_ns > self.to_unix_ns
    }

    pub(super) const fn contains(self, unix_ns: u64) -> bool {
        self.from_unix_ns <= unix_ns && unix_ns <= self.to_unix_ns
    }

    pub(super) fn add(&mut self, unix_ns: u64) {
        self.from_unix_ns = self.from_unix_ns.min(unix_ns);
        self.to_unix_ns = self.to_unix_ns.max(unix_ns);
    }

    /// What both have.
    pub(super) fn meet(self, other: Window) -> Window {
        Window {
            from_unix_ns: self.from_unix_ns.max(other.from_unix_ns),
            to_unix_ns: self.to_unix_ns.min(other.to_unix_ns),
        }
    }

    /// All that either has.
    pub(super) fn join(self, other: Window) -> Window {
        Window {
            from_unix_ns: self.from_unix_ns.min(other.from_unix_ns),
            to_unix_ns: self.to_unix_ns.max(other.to_unix_ns),
        }
    }
}

/// From when to when a batch is.
pub(super) fn extent(batch: &Batch) -> Window {
    let mut window = Window::EMPTY;
    each_time(batch, &mut |time| window.add(time));
    window
}

/// When each item of a batch is.
pub(super) fn each_time(batch: &Batch, take: &mut impl FnMut(u64)) {
    let mut keep = |time| {
        take(time);
        false
    };
    copy(batch.signal(), 0, batch.bytes(), &mut Vec::new(), &mut keep);
}

/// What a scraper and a ruler say of themselves: it differs between two of them by its nature.
pub(super) fn is_of_the_scraper(name: &str) -> bool {
    const OF_SCRAPES: [&str; 10] = [
        "duration_seconds",
        "samples_scraped",
        "samples_post_metric_relabeling",
        "series_added",
        "timeout_seconds",
        "sample_limit",
        "samples_limit",
        "body_size_bytes",
        "response_size_bytes",
        "series_limit",
    ];
    let of_scrapes = name.strip_prefix("scrape_").is_some_and(|rest| OF_SCRAPES.contains(&rest));
    // What exporters say of a single scrape.
    let of_one_scrape = ["_scrape_duration_seconds", "_scrape_collector_duration_seconds"];
    of_scrapes
        || of_one_scrape.iter().any(|end| name.ends_with(end))
        || matches!(name, "up" | "ALERTS" | "ALERTS_FOR_STATE")
}

/// The items of a batch that lie in the window, without those of scrapers.
pub(super) fn cut(batch: Batch, window: Window) -> Batch {
    let metrics = batch.metrics().into_iter().flat_map(|metrics| metrics.resource_metrics());
    let mut metrics = metrics.flat_map(|resource| resource.scope_metrics()).flat_map(|scope| scope.metrics());
    let is_whole = extent(&batch).meet(window) == extent(&batch);
    if is_whole && !metrics.any(|metric| is_of_the_scraper(metric.name())) {
        return batch;
    }
    let mut kept = Vec::with_capacity(batch.size_bytes());
    copy(batch.signal(), 0, batch.bytes(), &mut kept, &mut |time| window.contains(time));
    // Whole fields were left out, and nothing else changed.
    Batch::parse(batch.signal(), kept.into(), &Limits { depth_max: u16::MAX }).unwrap_or(batch)
}

/// Copies a message without the items that are not to be kept: request, resource, scope, and for metrics also metric
/// and data.
fn copy(signal: Signal, depth: usize, message: &[u8], out: &mut Vec<u8>, keep: &mut impl FnMut(u64) -> bool) {
    let is_way = |number: u32| match (signal, depth) {
        (_, 0) | (Signal::Metrics, 4) => number == 1,
        (_, 1 | 2) => number == 2,
        (Signal::Metrics, 3) => matches!(number, 5 | 7 | 9 | 10 | 11),
        _ => false,
    };
    let items_at = if signal == Signal::Metrics { 4 } else { 2 };
    for field in Fields::new(message) {
        match field.value {
            FieldValue::Length(inner)
                if (signal, depth, field.number) == METRIC && is_of_the_scraper(name_of(inner)) => {}
            FieldValue::Length(inner) if is_way(field.number) && depth == items_at => {
                if keep(time_of(signal, inner)) {
                    out.extend_from_slice(field.raw(message));
                }
            }
            FieldValue::Length(inner) if is_way(field.number) => {
                let open = OpenField::begin(out, field.number, inner.len());
                copy(signal, depth + 1, inner, out, keep);
                open.end(out);
            }
            _ => out.extend_from_slice(field.raw(message)),
        }
    }
}

/// Where metrics are in a request.
const METRIC: (Signal, usize, u32) = (Signal::Metrics, 2, 2);

fn name_of(metric: &[u8]) -> &str {
    Fields::new(metric).find(|field| field.number == 1).map_or("", |field| field.value.str())
}

/// When an item is: the end of a span, the time of a point, and of a record the time that it has.
fn time_of(signal: Signal, item: &[u8]) -> u64 {
    let (mut time, mut observed) = (0, 0);
    for field in Fields::new(item) {
        match (signal, field.number) {
            (Signal::Traces, 8) | (Signal::Metrics, 3) | (Signal::Logs, 1) => time = field.value.fixed64(),
            (Signal::Logs, 11) => observed = field.value.fixed64(),
            _ => {}
        }
    }
    if time == 0 { observed } else { time }
}

#[cfg(test)]
mod tests {
    use otlp::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
    use otlp::{NumberValue, SpanId, TraceId};

    use super::*;

    fn points(times: &[u64]) -> Batch {
        points_of("level", times)
    }

    fn points_of(name: &str, times: &[u64]) -> Batch {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|resource| {
            resource.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name(name);
                    metric.gauge(|gauge| {
                        for time in times {
                            gauge.point(|point| {
                                point.time_unix_nano(*time).value(NumberValue::Double(1.0));
                            });
                        }
                    });
                });
            });
        });
        encoder.finish()
    }

    fn check(batch: Batch, expected_extent: (u64, u64), expected_items: u32) {
        let found = extent(&batch);
        assert_eq!((found.from_unix_ns, found.to_unix_ns), expected_extent);
        let cut = cut(batch, Window { from_unix_ns: 20, to_unix_ns: 30 });
        assert_eq!(cut.items(), expected_items);
    }

    #[test]
    fn points_outside_of_the_window_are_left_out() {
        check(points(&[10, 20, 30, 40]), (10, 40), 2);
        check(points(&[20, 25]), (20, 25), 2);
        check(points(&[40]), (40, 40), 0);
        let cut = cut(points(&[10, 20]), Window { from_unix_ns: 20, to_unix_ns: 30 });
        assert_eq!(cut.bytes(), points(&[20]).bytes());
    }

    #[test]
    fn what_a_scraper_says_of_itself_is_left_out() {
        let window = Window { from_unix_ns: 20, to_unix_ns: 30 };
        assert_eq!(cut(points_of("up", &[25]), window).items(), 0);
        assert_eq!(cut(points_of("scrape_duration_seconds", &[25]), window).items(), 0);
        assert_eq!(cut(points_of("scrape_attempts", &[25]), window).items(), 1);
    }

    #[test]
    fn a_span_is_where_it_ends_and_a_record_where_it_was_seen() {
        let mut spans = TracesEncoder::new();
        spans.resource_spans(|resource| {
            resource.scope_spans(|scope| {
                for end in [15, 25] {
                    scope.span(|span| {
                        span.trace_id(TraceId::new([1; 16])).span_id(SpanId::new([1; 8]));
                        span.start_time_unix_nano(10).end_time_unix_nano(end);
                    });
                }
            });
        });
        check(spans.finish(), (15, 25), 1);
        let mut records = LogsEncoder::new();
        records.resource_logs(|resource| {
            resource.scope_logs(|scope| {
                scope.log_record(|record| {
                    record.observed_time_unix_nano(25);
                });
                scope.log_record(|record| {
                    record.time_unix_nano(35).observed_time_unix_nano(25);
                });
            });
        });
        check(records.finish(), (25, 35), 1);
    }
}
