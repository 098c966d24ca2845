//! What the hot paths cost: reading expositions, making OTLP of a scrape, making remote write of OTLP.
//!
//! `cargo bench -p crossfade-prom`; items are samples or data points.
#![allow(missing_docs)]

use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue, Temporality};
use prom::labels::{LabelBuilder, LabelSet};
use prom::scrape::{Families, MetricNames, SampleToEncode, ScrapeEncoder, Target};
use prom::text::{Entry, Format, Limits, Parser};
use prom::write::{Converter, Metadata, Partition, Settings};

fn main() {
    divan::main();
}

/// A target with counters and a histogram, 3,000 samples, as an instrumented service exposes them.
fn exposition(format: Format) -> String {
    let mut body = String::new();
    let end = if format == Format::OpenMetrics { "" } else { "_total" };
    for family in 0..20 {
        let _ = writeln!(body, "# HELP http_requests_{family}{end} How many requests were served.");
        let _ = writeln!(body, "# TYPE http_requests_{family}{end} counter");
        for series in 0..100 {
            let _ = writeln!(
                body,
                "http_requests_{family}_total{{code=\"200\",handler=\"/api/v1/orders/{series}\",method=\"GET\"}} {}",
                series * 7919
            );
        }
    }
    let _ = writeln!(body, "# TYPE request_duration_seconds histogram");
    for series in 0..72 {
        for bound in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
            let _ = writeln!(
                body,
                "request_duration_seconds_bucket{{handler=\"/api/v1/orders/{series}\",le=\"{bound}\"}} {}",
                series * 31
            );
        }
        let _ = writeln!(body, "request_duration_seconds_sum{{handler=\"/api/v1/orders/{series}\"}} 3.4567e+02");
        let _ = writeln!(body, "request_duration_seconds_count{{handler=\"/api/v1/orders/{series}\"}} {}", series * 31);
    }
    if format == Format::OpenMetrics {
        body.push_str("# EOF\n");
    }
    body
}

#[divan::bench(args = [Format::Text, Format::OpenMetrics])]
fn parse(bencher: Bencher<'_, '_>, format: Format) {
    let body = exposition(format);
    let read = || {
        let mut parser = Parser::new(format, body.as_bytes(), Limits::default());
        let mut sum = 0.0;
        while let Some(entry) = parser.next_entry().expect("valid") {
            if let Entry::Sample(sample) = entry {
                sum += sample.value + sample.labels.len() as f64;
            }
        }
        (sum, parser.samples())
    };
    let samples = read().1;
    bencher.counter(BytesCount::of_str(&body)).counter(ItemsCount::new(samples)).bench(|| black_box(read()));
}

#[divan::bench]
fn scrape_to_otlp(bencher: Bencher<'_, '_>) {
    let body = exposition(Format::Text);
    let mut families = Families::default();
    let mut samples: Vec<(LabelSet, f64)> = Vec::new();
    let mut parser = Parser::new(Format::Text, body.as_bytes(), Limits::default());
    let mut builder = LabelBuilder::default();
    while let Some(entry) = parser.next_entry().expect("valid") {
        match entry {
            Entry::Type { family, kind } => families.set_kind(family, kind),
            Entry::Help { family, text } => families.set_help(family, text),
            Entry::Unit { family, unit } => families.set_unit(family, unit),
            Entry::Sample(sample) => {
                builder.clear();
                builder.set("__name__", sample.name);
                builder.set("job", "shop");
                builder.set("instance", "shop-1:8080");
                sample.labels.iter().for_each(|(name, value)| builder.set(name, value));
                samples.push((builder.build(), sample.value));
            }
        }
    }
    let target = Target { job: "shop".to_owned(), instance: "shop-1:8080".to_owned(), ..Target::default() };
    bencher.counter(ItemsCount::new(samples.len())).bench(|| {
        let mut encoder = ScrapeEncoder::new(&families, &target, MetricNames::AsExposed);
        for (labels, value) in &samples {
            encoder.append(&SampleToEncode { labels, timestamp_ms: 1_700_000_000_000, value: *value, exemplar: None });
        }
        black_box(encoder.finish())
    });
}

/// Data points of about 150 bytes each, `points` for each of `resources`.
fn counters(resources: usize, points: usize) -> Batch {
    let mut encoder = MetricsEncoder::new();
    for resource in 0..resources {
        encoder.resource_metrics(|block| {
            block.resource(|writer| {
                let mut attributes = writer.attributes();
                attributes.string("service.name", "checkout").string("service.namespace", "shop");
                attributes.string("service.instance.id", &format!("checkout-{resource}"));
                attributes.string("host.name", &format!("node-{resource}")).string("cloud.region", "eu-central-1");
            });
            block.scope_metrics(|scope| {
                scope.scope(|scope| {
                    scope.name("io.opentelemetry.http").version("1.2.3");
                });
                scope.metric(|metric| {
                    metric.name("http.server.requests").unit("{request}");
                    metric.sum(|sum| {
                        for index in 0..points {
                            sum.point(|point| {
                                point.start_time_unix_nano(1_690_000_000_000_000_000);
                                point.time_unix_nano(1_700_000_000_000_000_000).value(NumberValue::Int(index as i64));
                                let mut attributes = point.attributes();
                                attributes.string("http.request.method", "GET");
                                attributes.string("http.route", &format!("/api/orders/{index}"));
                                attributes.int("http.response.status_code", 200);
                                attributes.string("server.address", "shop.example.com");
                            });
                        }
                        sum.temporality(Temporality::Cumulative).is_monotonic(true);
                    });
                });
            });
        });
    }
    encoder.finish()
}

fn histograms(points: usize) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|writer| {
            writer.attributes().string("service.name", "checkout").string("service.instance.id", "checkout-1");
        });
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("http.server.request.duration").unit("s");
                metric.histogram(|histogram| {
                    histogram.temporality(Temporality::Cumulative);
                    for index in 0..points {
                        histogram.point(|point| {
                            point.time_unix_nano(1_700_000_000_000_000_000).count(140).sum(12.5);
                            point.explicit_bounds((0..14).map(|bound| 0.005 * f64::from(1 << bound)));
                            point.bucket_counts([10; 15]);
                            let mut attributes = point.attributes();
                            attributes.string("http.request.method", "GET");
                            attributes.string("http.route", &format!("/api/orders/{index}"));
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}

#[allow(clippy::needless_pass_by_value)]
fn convert(bencher: Bencher<'_, '_>, batch: &Batch, compress: bool) {
    let mut converter = Converter::new(Settings::default(), Partition::default());
    let mut encoder = snap::raw::Encoder::new();
    let mut compressed = Vec::new();
    bencher.counter(ItemsCount::new(batch.items())).counter(BytesCount::new(batch.size_bytes())).bench_local(|| {
        converter.append(batch, Metadata::Omit);
        let mut size = 0;
        for request in converter.take() {
            if compress {
                compressed.resize(snap::raw::max_compress_len(request.body.len()), 0);
                size += encoder.compress(&request.body, &mut compressed).expect("room enough");
            }
            size += request.body.len();
        }
        size
    });
}

/// One client's export of 200 data points, and a batch of many clients.
const SHAPES: [(usize, usize); 3] = [(1, 200), (40, 50), (1000, 2)];

#[divan::bench(args = SHAPES)]
fn counters_to_series(bencher: Bencher<'_, '_>, (resources, points): (usize, usize)) {
    convert(bencher, &counters(resources, points), false);
}

#[divan::bench(args = SHAPES)]
fn counters_to_series_and_snappy(bencher: Bencher<'_, '_>, (resources, points): (usize, usize)) {
    convert(bencher, &counters(resources, points), true);
}

#[divan::bench]
fn histograms_to_series(bencher: Bencher<'_, '_>) {
    convert(bencher, &histograms(200), false);
}
