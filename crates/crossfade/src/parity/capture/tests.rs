use prom::write::proto::{Label, Sample as Written, TimeSeries, WriteRequest};
use prost::Message;

use super::*;

fn body(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    let series = TimeSeries {
        labels: [("__name__", name), ("job", "a")].map(label).to_vec(),
        samples: samples.iter().map(|(timestamp, value)| Written { value: *value, timestamp: *timestamp }).collect(),
        ..TimeSeries::default()
    };
    let request = WriteRequest { timeseries: vec![series], metadata: Vec::new() };
    transport::coding::compress(Coding::Snappy, transport::coding::Level::default(), &request.encode_to_vec()).to_vec()
}

fn check(path: &Path, expected: Result<u64, &str>) {
    let mut requests = Requests::open(path).unwrap();
    let mut samples = 0;
    let ended = loop {
        match requests.next() {
            Ok(Some(request)) => samples += request.series.iter().map(|one| one.samples.len() as u64).sum::<u64>(),
            Ok(None) => break Ok(samples),
            Err(error) => break Err(format!("{error:#}")),
        }
    };
    match (ended, expected) {
        (Ok(samples), Ok(expected)) => assert_eq!(samples, expected),
        (Err(said), Err(expected)) => assert!(said.contains(expected), "{expected} is not in {said}"),
        (ended, _) => panic!("{ended:?}"),
    }
}

fn line_of(body: &[u8], coding: &str) -> String {
    format!("{{\"headers\":{{\"Content-Encoding\":\"{coding}\"}},\"body\":\"{}\"}}\n", STANDARD.encode(body))
}

#[test]
fn bodies_stand_on_lines_or_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let bodies = directory.path().join("bodies");
    fs::create_dir(&bodies).unwrap();
    fs::write(bodies.join("0001"), body("a", &[(1, 1.0)])).unwrap();
    fs::write(bodies.join("0002"), body("a", &[(2, 1.0), (3, 1.0)])).unwrap();
    assert!(is_capture(&bodies).unwrap());
    check(&bodies, Ok(3));
    let file = directory.path().join("capture.jsonl");
    let text = line_of(&body("a", &[(1, 1.0)]), "snappy") + "\n" + &line_of(&body("a", &[(2, 1.0)]), "SNAPPY");
    fs::write(&file, &text).unwrap();
    assert!(is_capture(&file).unwrap());
    check(&file, Ok(2));
    fs::write(&file, text + "{\"body\":\"?\"}").unwrap();
    check(&file, Err("line 4: expected a captured request"));
    fs::write(&file, line_of(&body("a", &[(1, 1.0)]), "brotli")).unwrap();
    check(&file, Err("the content encoding `brotli` is not known"));
    fs::write(bodies.join("0003"), "no body").unwrap();
    check(&bodies, Err("expected the body of a remote write, compressed with snappy"));
    fs::write(&file, "{\"resourceMetrics\":[]}").unwrap();
    assert!(!is_capture(&file).unwrap());
}

#[test]
fn samples_are_given_by_their_time_whichever_connection_they_came_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("capture.jsonl");
    let bodies = [
        body("a", &[(100_000, 1.0), (-5, 1.0), (i64::MAX, 1.0)]),
        body("b", &[(200_000, 2.0)]),
        body("a", &[(150_000, 3.0), (100_000, 1.0)]),
        body("a", &[(900_000, 4.0)]),
    ];
    let text: String = bodies.iter().map(|body| line_of(body, "snappy")).collect();
    fs::write(&file, text).unwrap();
    let mut captured = Captured::open(Side::New, &file, &Bar::hidden()).unwrap();
    assert_eq!((captured.extent.from_unix_ns, captured.extent.to_unix_ns), (100_000_000_000, 900_000_000_000));
    crate::parity::prometheus::agree([Vec::new(), vec![&mut captured.catalogue]], &[]);
    let mut given = Vec::new();
    for to_unix_ns in [150_000_000_000, 300_000_000_000, u64::MAX] {
        let mut items = 0;
        captured.read(to_unix_ns, &mut |batch| items += batch.items()).unwrap();
        given.push(items);
    }
    assert_eq!(given, [2, 1, 1]);
}

#[test]
fn no_capture_makes_it_panic() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("capture.jsonl");
    let sound = line_of(&body("a_total", &[(100_000, 1.0), (115_000, 2.0)]), "snappy")
        + &line_of(&written(&native(&Exponential::at_random(&mut fastrand::Rng::with_seed(1)))), "snappy");
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..400 {
        let mut bytes = sound.clone().into_bytes();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..bytes.len());
            match random.bool() {
                true => bytes[at] = random.u8(..),
                false => bytes.truncate(at.max(1)),
            }
        }
        fs::write(&file, &bytes).unwrap();
        if let Ok(mut captured) = Captured::open(Side::New, &file, &Bar::hidden()) {
            let _ = captured.read(u64::MAX, &mut drop);
        }
    }
}

/// The points of an exponential histogram.
#[derive(Debug)]
struct Exponential {
    scale: i32,
    zero_count: u64,
    positive: (i32, Vec<u64>),
    negative: (i32, Vec<u64>),
}

impl Exponential {
    fn at_random(random: &mut fastrand::Rng) -> Exponential {
        let scale = random.i32(-4..=8);
        let mut buckets = || {
            // The first and the last one are not empty: what is, is not sent.
            let mut counts: Vec<u64> = (0..random.usize(1..12)).map(|_| random.u64(0..3) * random.u64(..900)).collect();
            counts[0] += 1;
            *counts.last_mut().unwrap() += 1;
            (random.i32(-20..20), counts)
        };
        let (positive, negative) = (buckets(), buckets());
        Exponential { scale, zero_count: random.u64(..3), positive, negative }
    }
}

/// A minute of a native histogram, as this program sends it.
fn native(exponential: &Exponential) -> Batch {
    let count = |(_, counts): &(i32, Vec<u64>)| counts.iter().sum::<u64>();
    let total = count(&exponential.positive) + count(&exponential.negative) + exponential.zero_count;
    let mut encoder = otlp::encode::MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("lag").exponential_histogram(|histogram| {
                    histogram.temporality(otlp::Temporality::Cumulative);
                    for at_s in [100, 115, 130] {
                        histogram.point(|point| {
                            point.time_unix_nano(at_s * 1_000_000_000).count(total).sum(7.5);
                            point.scale(exponential.scale).zero_count(exponential.zero_count).zero_threshold(0.001);
                            let (offset, counts) = &exponential.positive;
                            point.positive(|written| {
                                written.offset(*offset).bucket_counts(counts.iter().copied());
                            });
                            let (offset, counts) = &exponential.negative;
                            point.negative(|written| {
                                written.offset(*offset).bucket_counts(counts.iter().copied());
                            });
                            point.attributes().string("shop", "a");
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}

/// The body of a remote write.
fn written(batch: &Batch) -> Vec<u8> {
    let partition = prom::write::Partition { lanes: 1, lane_items_min: 1, size_bytes_max: usize::MAX };
    let mut converter = prom::write::Converter::new(prom::write::Settings::default(), partition);
    converter.append(batch, prom::write::Metadata::Omit);
    let body = &converter.take()[0].body;
    transport::coding::compress(Coding::Snappy, transport::coding::Level::default(), body).to_vec()
}

fn points(batch: &Batch) -> serde_json::Value {
    let mut out = Vec::new();
    otlp::json::encode(batch, &mut out);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["exponentialHistogram"].clone()
}

#[test]
fn exponential_histograms_come_back_as_they_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("capture.jsonl");
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let sent = native(&Exponential::at_random(&mut random));
        // What was sent again after a failure is there once.
        fs::write(&file, line_of(&written(&sent), "snappy").repeat(2)).unwrap();
        let mut captured = Captured::open(Side::New, &file, &Bar::hidden()).unwrap();
        assert_eq!((captured.extent.from_unix_ns, captured.extent.to_unix_ns), (100_000_000_000, 130_000_000_000));
        crate::parity::prometheus::agree([Vec::new(), vec![&mut captured.catalogue]], &[]);
        let mut given = Vec::new();
        captured.read(u64::MAX, &mut |batch| given.push(points(&batch))).unwrap();
        assert_eq!(given, [points(&sent)]);
        assert_eq!(captured.left_out, LeftOut::default());
    }
}
