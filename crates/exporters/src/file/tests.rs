use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use component::{Metrics, Stop};
use config::{Diagnostics, TestEnvironment};
use otlp::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use otlp::{ContentEncoding, Limits, NumberValue};
use transport::coding::decompress;

use super::*;

fn read(yaml: &str) -> (Option<BuiltExporter>, Diagnostics) {
    let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id = "file".parse().unwrap();
    let built = Section::open(&loaded.root, "exporters.file", &mut diagnostics)
        .read(|section| build(section, &BuildContext::alone(&id)));
    (built, diagnostics)
}

/// A running exporter.
struct Running {
    exporter: Arc<dyn Exporter>,
    stop: Stop,
    running: tokio::task::JoinHandle<Result<(), StartError>>,
}

fn start(yaml: &str) -> Result<Running, StartError> {
    let (built, diagnostics) = read(yaml);
    assert!(!diagnostics.has_errors(), "{yaml}: {:?}", diagnostics.finish().err());
    let (exporter, stop) = (built.unwrap().exporter, Stop::default());
    let context = ExporterContext { stop: stop.clone(), metrics: Metrics::default() };
    let running = tokio::spawn(exporter.start(context)?.unwrap());
    Ok(Running { exporter, stop, running })
}

impl Running {
    async fn export(&self, batch: &Batch) -> (Vec<Outcome>, Vec<Rejection>) {
        let encoded = self.exporter.encode(batch);
        let sent: u64 = encoded.requests.iter().map(|request| request.items).sum();
        let rejected: u64 = encoded.rejected.iter().map(|rejection| rejection.items).sum();
        assert_eq!(sent + rejected, u64::from(batch.items()), "every item has an end");
        let mut outcomes = Vec::new();
        for request in &encoded.requests {
            outcomes.push(self.exporter.send(request).await);
        }
        (outcomes, encoded.rejected)
    }

    async fn deliver(&self, batch: &Batch) {
        let (outcomes, rejected) = self.export(batch).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::DELIVERED), "{outcomes:?}");
        assert_eq!(rejected, []);
    }

    async fn stop(self) {
        self.stop.request();
        assert_eq!(self.running.await.unwrap(), Ok(()));
        let request = Request { signal: Signal::Logs, body: Bytes::new(), items: 0, lane: 0 };
        assert!(matches!(self.exporter.send(&request).await, Outcome::Retry { .. }), "stopped");
    }
}

/// Log records, each with a resource of its own if `segments` say so.
fn logs(segments: &[Option<&str>]) -> Batch {
    let mut encoder = LogsEncoder::new();
    for segment in segments {
        encoder.resource_logs(|block| {
            block.resource(|resource| {
                if let Some(segment) = segment {
                    resource.attributes().string("fileexporter.path_segment", segment);
                }
            });
            block.scope_logs(|scope| {
                scope.log_record(|log| {
                    log.severity_number(9).body().string("a \"line\"\n of two");
                });
            });
        });
    }
    encoder.finish()
}

fn traces() -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.scope_spans(|scope| {
            scope.span(|span| {
                span.name("GET /");
            });
        });
    });
    encoder.finish()
}

fn metrics() -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.gauge(|gauge| {
                    gauge.point(|point| {
                        point.value(NumberValue::Int(1));
                    });
                });
            });
        });
    });
    encoder.finish()
}

fn check_lines(path: &Path, batches: &[Batch]) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    let read: Vec<Batch> = text
        .lines()
        .zip(batches)
        .map(|(line, batch)| otlp::json::decode(batch.signal(), line.as_bytes(), &Limits::default()).unwrap())
        .collect();
    assert_eq!(text.lines().count(), batches.len());
    for (read, batch) in read.iter().zip(batches) {
        assert_eq!(read.bytes(), batch.bytes());
    }
}

/// The messages of a file with lengths.
fn messages(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut messages = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (message, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        messages.push(message.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty());
    messages
}

#[tokio::test]
async fn every_batch_is_a_line_of_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let running = start(&format!("path: {}", path.display())).unwrap();
    let batches = [logs(&[None, None]), traces(), metrics()];
    for batch in &batches {
        running.deliver(batch).await;
    }
    check_lines(&path, &batches);
    running.stop().await;
}

#[tokio::test]
async fn protobuf_and_compressed_messages_have_their_length_before_them() {
    for (options, is_json, is_compressed) in [
        ("format: proto", false, false),
        ("format: proto\ncompression: zstd", false, true),
        ("format: json\ncompression: zstd\ncompression_params: {level: 3}", true, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.bin");
        let running = start(&format!("path: {}\n{options}", path.display())).unwrap();
        let batches = [logs(&[None]), logs(&[None, None])];
        for batch in &batches {
            running.deliver(batch).await;
        }
        let messages = messages(&path);
        assert_eq!(messages.len(), 2);
        for (message, batch) in messages.into_iter().zip(&batches) {
            let payload = match is_compressed {
                true => decompress(Coding::Zstd, &message, 1 << 20).unwrap(),
                false => message.into(),
            };
            let read = match is_json {
                true => otlp::json::decode(Signal::Logs, &payload, &Limits::default()).unwrap(),
                false => Batch::parse(Signal::Logs, payload, &Limits::default()).unwrap(),
            };
            assert_eq!(read.bytes(), batch.bytes(), "{options}");
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn a_compressed_form_that_exists_is_written_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.bin");
    let running = start(&format!("path: {}\nformat: proto\ncompression: zstd", path.display())).unwrap();
    running.deliver(&logs(&[None]).with_frame(ContentEncoding::Zstd, "as it came".into())).await;
    assert_eq!(messages(&path), [b"as it came"]);
    running.stop().await;
}

async fn contents_after(options: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    fs::write(&path, "before\n").unwrap();
    let running = start(&format!("path: {}\n{options}", path.display())).unwrap();
    running.deliver(&Batch::empty(Signal::Logs)).await;
    running.stop().await;
    fs::read_to_string(&path).unwrap()
}

#[tokio::test]
async fn a_file_is_emptied_at_the_start_unless_it_is_appended_to_or_rotated() {
    assert_eq!(contents_after("").await, "{}\n");
    assert_eq!(contents_after("append: true").await, "before\n{}\n");
    assert_eq!(contents_after("rotation:").await, "before\n{}\n");
}

#[tokio::test]
async fn files_and_directories_are_made_for_their_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/out.json");
    let yaml = format!("path: {}\ncreate_directory: true\ndirectory_permissions: '0700'", path.display());
    let running = start(&yaml).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    running.stop().await;
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("missing/out.json")] {
        let error = start(&format!("path: {}", path.display())).err().unwrap();
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_is_tried_again() {
    let running = start("path: /dev/full").unwrap();
    let (outcomes, _) = running.export(&logs(&[None])).await;
    let [Outcome::Retry { failure, .. }] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(failure.cause, "disk_full");
    running.stop().await;
}

#[tokio::test]
async fn files_rotate_by_size() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let running = start(&format!("path: {}\nrotation: {{max_megabytes: 1, max_backups: 2}}", path.display())).unwrap();
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| scope.log_record(|log| log.body().string(&"x".repeat(600_000))));
    });
    let batch = encoder.finish();
    for _ in 0..5 {
        running.deliver(&batch).await;
    }
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("out-20") && names[2] == "out.json", "{names:?}");
    for name in names {
        check_lines(&directory.path().join(name), std::slice::from_ref(&batch));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_message_whose_sender_has_gone_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    // The thread cannot go on while it opens a pipe that nobody reads.
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let running = start(&format!("path: {}", pipe.display())).unwrap();
    let request = running.exporter.encode(&logs(&[None])).requests.remove(0);
    let first = tokio::spawn({
        let (exporter, request) = (Arc::clone(&running.exporter), request.clone());
        async move { exporter.send(&request).await }
    });
    tokio::task::yield_now().await;
    let abandoned = running.exporter.send(&request);
    assert!(tokio::time::timeout(Duration::from_millis(50), abandoned).await.is_err());
    let reader = std::thread::spawn(move || fs::read_to_string(pipe).unwrap());
    assert_eq!(first.await.unwrap(), Outcome::DELIVERED);
    running.stop().await;
    assert_eq!(reader.join().unwrap().lines().count(), 1);
}

// === files apart by an attribute ===

fn grouped(directory: &Path, template: &str, options: &str) -> Running {
    let path = directory.join(template);
    start(&format!("path: {}\ngroup_by: {{enabled: true{options}}}", path.display())).unwrap()
}

#[tokio::test]
async fn every_resource_goes_into_the_file_that_its_attribute_names() {
    let directory = tempfile::tempdir().unwrap();
    let running = grouped(directory.path(), "by-team/*.json", "");
    running.deliver(&logs(&[Some("a"), Some("b/c"), Some("a")])).await;
    running.deliver(&logs(&[Some("a")])).await;
    check_lines(&directory.path().join("by-team/a.json"), &[logs(&[Some("a"), Some("a")]), logs(&[Some("a")])]);
    check_lines(&directory.path().join("by-team/b/c.json"), &[logs(&[Some("b/c")])]);
    running.stop().await;
}

#[tokio::test]
async fn what_names_no_file_is_rejected_and_the_rest_written() {
    let directory = tempfile::tempdir().unwrap();
    let running = grouped(directory.path(), "*.json", "");
    let long = "x".repeat(300);
    let (outcomes, rejected) = running.export(&logs(&[None, Some("a"), None, Some(&long)])).await;
    assert_eq!(outcomes, [Outcome::DELIVERED]);
    let causes: Vec<_> = rejected.iter().map(|rejection| (&*rejection.failure.cause, rejection.items)).collect();
    assert_eq!(causes, [("bad_path", 1), ("no_path_segment", 2)]);
    check_lines(&directory.path().join("a.json"), &[logs(&[Some("a")])]);
    running.stop().await;
}

#[tokio::test]
async fn no_attribute_leads_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (inside, outside) = (directory.path().join("inside"), directory.path().join("outside"));
    fs::create_dir_all(&outside).unwrap();
    let running = grouped(&inside, "*.json", "");
    symlink(&outside, inside.join("link")).unwrap();
    fs::write(outside.join("target.json"), "untouched\n").unwrap();
    symlink(outside.join("target.json"), inside.join("file.json")).unwrap();
    let absolute = outside.join("x").display().to_string();
    running.deliver(&logs(&[Some("../outside/x"), Some(&absolute), Some("a/../../outside/y"), Some("nul\0")])).await;
    for segment in ["link/x", "file", "link/new/x"] {
        let (outcomes, _) = running.export(&logs(&[Some(segment)])).await;
        let [Outcome::Reject { failure }] = &outcomes[..] else { panic!("{segment}: {outcomes:?}") };
        assert_eq!(failure.cause, "bad_path", "{segment}");
    }
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["target.json"]);
    assert_eq!(fs::read_to_string(outside.join("target.json")).unwrap(), "untouched\n");
    for name in ["outside/x.json", "outside/y.json", "nul_.json"] {
        assert!(inside.join(name).is_file(), "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_name_that_is_a_directory_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let running = grouped(directory.path(), "x-*", "");
    running.deliver(&logs(&[Some("a/b")])).await;
    let (outcomes, _) = running.export(&logs(&[Some("a"), Some("c")])).await;
    assert!(matches!(&outcomes[..], [Outcome::Reject { failure }, Outcome::DELIVERED] if failure.cause == "bad_path"));
    running.stop().await;
}

#[tokio::test]
async fn files_that_were_closed_for_others_are_written_on() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.json"), "of an earlier process\n").unwrap();
    let running = grouped(directory.path(), "*.json", ", max_open_files: 1");
    for _ in 0..3 {
        running.deliver(&logs(&[Some("a"), Some("b")])).await;
    }
    for (name, segment) in [("a.json", "a"), ("b.json", "b")] {
        let batch = logs(&[Some(segment)]);
        check_lines(&directory.path().join(name), &[batch.clone(), batch.clone(), batch]);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_values_makes_no_more_files_than_the_bound() {
    let directory = tempfile::tempdir().unwrap();
    let running = grouped(directory.path(), "*.json", ", max_files: 3, max_open_files: 1");
    let mut refused = 0;
    for index in 0..20 {
        let name = format!("user-{index}");
        for outcome in running.export(&logs(&[Some("a"), Some(name.as_str())])).await.0 {
            match outcome {
                Outcome::Reject { failure } if failure.cause == "file_limit" => refused += 1,
                outcome => assert_eq!(outcome, Outcome::DELIVERED),
            }
        }
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    assert_eq!(refused, 18);
    // Those that are there go on.
    let lines = fs::read_to_string(directory.path().join("a.json")).unwrap().lines().count();
    assert_eq!(lines, 20);
    running.stop().await;
}

#[tokio::test]
async fn another_attribute_may_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let running = grouped(directory.path(), "*.json", ", resource_attribute: shard");
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.resource(|resource| {
            resource.attributes().int("shard", 7);
        });
        block.scope_spans(|scope| scope.span(|_| {}));
    });
    running.deliver(&encoder.finish()).await;
    assert!(directory.path().join("7.json").is_file());
    running.stop().await;
}

// === settings ===

#[test]
fn the_collectors_examples_are_taken() {
    for yaml in [
        "path: ./foo",
        "{path: ./foo, rotation: }",
        "{path: ./foo, rotation: {max_megabytes: 10, max_days: 3, max_backups: 3, localtime: true}, format: proto, \
         compression: zstd}",
        "{path: ./foo, flush_interval: 5}",
        "{path: ./foo/*.json, group_by: {enabled: true, resource_attribute: service.name, max_open_files: 10}}",
        "{path: ./foo, create_directory: true, directory_permissions: 0755}",
        "{path: ./foo, sending_queue: {num_consumers: 1}, retry_on_failure: {max_elapsed_time: 0}}",
    ] {
        let (built, diagnostics) = read(yaml);
        assert!(built.is_some() && !diagnostics.has_errors(), "{yaml}: {:?}", diagnostics.finish().err());
    }
}

fn check_error(yaml: &str, expected: &str) {
    let error = read(yaml).1.finish().err().unwrap_or_else(|| panic!("no error: {yaml}")).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    check_error("", "path: is required");
    check_error("{path: x, format: xml}", "expected one of `json` and `proto`");
    check_error("{path: x, compression: gzip}", "expected one of `zstd` and `none`");
    check_error("{path: x, encoding: otlp_encoding}", "encoding: not built yet");
    check_error("{path: x, group_by: {enabled: true}}", "path: must contain exactly one `*`");
    check_error("{path: '*.json', group_by: {enabled: true}}", "path: must not start with `*`");
    check_error("{path: x/*, group_by: {enabled: true, resource_attribute: ''}}", "the name of an attribute");
    check_error("{path: x, directory_permissions: '0755'}", "without `create_directory: true`");
    check_error("{path: x, create_directory: true, directory_permissions: '0999'}", "permissions such as `0755`");
    check_error("{path: x, create_directory: true, directory_permissions: '7777'}", "three octal digits");
    check_error("{path: x, rotation: {max_megabyte: 1}}", "did you mean `max_megabytes`");
}

#[test]
fn what_has_no_effect_says_so() {
    let (_, diagnostics) = read("{path: x, flush_interval: 5s, rotation: {localtime: true}}");
    let warnings: Vec<String> = diagnostics.warnings().iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("flush_interval: has no effect")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("localtime: has no effect")), "{warnings:?}");
}
