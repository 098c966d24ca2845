use config::{Diagnostics, TestEnvironment};
use otlp::Limits;

use super::*;

/// What is shown of `testdata/debug/<signal>.json`, as `testdata/debug/<signal>.<verbosity>.txt` has it. The layout
/// follows the Collector's `exporter/debugexporter`, whose test data is the model of most inputs.
fn check(signal: Signal) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/debug");
    let json = std::fs::read(directory.join(format!("{signal}.json"))).unwrap();
    let batch = otlp::json::decode(signal, &json, &Limits::default()).unwrap();
    for (name, verbosity) in
        [("basic", Verbosity::Basic), ("normal", Verbosity::Normal), ("detailed", Verbosity::Detailed)]
    {
        let expected = std::fs::read_to_string(directory.join(format!("{signal}.{name}.txt"))).unwrap();
        let shown = show("debug/x", &batch, verbosity);
        assert!(shown == expected, "{signal}, {name}: shown\n{shown}");
    }
}

#[test]
fn spans_are_shown() {
    check(Signal::Traces);
}

#[test]
fn data_points_are_shown() {
    check(Signal::Metrics);
}

#[test]
fn log_records_are_shown() {
    check(Signal::Logs);
}

#[test]
fn an_empty_batch_is_a_line() {
    let shown = show("debug", &Batch::empty(Signal::Traces), Verbosity::Detailed);
    assert_eq!(shown, "Traces {\"exporter\": \"debug\", \"resource spans\": 0, \"spans\": 0}\n");
}

#[test]
fn severities_have_the_names_of_the_specification() {
    for (number, name) in [
        (0, "Unspecified"),
        (1, "Trace"),
        (4, "Trace4"),
        (9, "Info"),
        (10, "Info2"),
        (24, "Fatal4"),
        (25, ""),
        (-1, ""),
    ] {
        assert_eq!(detailed::severity(number), name, "{number}");
    }
}

fn sampled(initial: u64, thereafter: u64, batches: usize) -> Vec<bool> {
    let mut sampler = Sampler { initial, thereafter, windows: [None; 3] };
    let now = clock::mono();
    (0..batches).map(|_| sampler.takes(Signal::Logs, now)).collect()
}

#[test]
fn the_first_batches_of_a_second_are_shown_and_then_every_so_many_th() {
    assert_eq!(sampled(2, 1, 6), [true; 6]);
    assert_eq!(sampled(2, 3, 9), [true, true, false, false, true, false, false, true, false]);
    assert_eq!(sampled(2, 0, 4), [true, true, false, false]);
    assert_eq!(sampled(0, 2, 4), [false, true, false, true]);
}

#[test]
fn every_second_and_every_signal_begins_anew() {
    let mut sampler = Sampler { initial: 1, thereafter: 0, windows: [None; 3] };
    let now = clock::mono();
    assert!(sampler.takes(Signal::Logs, now));
    assert!(sampler.takes(Signal::Traces, now));
    assert!(!sampler.takes(Signal::Logs, now + Duration::from_millis(999)));
    assert!(sampler.takes(Signal::Logs, now + Duration::from_secs(1)));
}

fn read(yaml: &str) -> (Option<BuiltExporter>, Diagnostics) {
    read_as("debug", yaml)
}

fn read_as(id: &str, yaml: &str) -> (Option<BuiltExporter>, Diagnostics) {
    let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id = id.parse().unwrap();
    let built = Section::open(&loaded.root, "exporters.debug", &mut diagnostics)
        .read(|section| build(section, &BuildContext::alone(&id)));
    (built, diagnostics)
}

fn check_error(yaml: &str, expected: &str) {
    let error = read(yaml).1.finish().err().unwrap_or_else(|| panic!("no error: {yaml}")).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn every_option_is_taken() {
    let yaml = "{verbosity: detailed, sampling_initial: 5, sampling_thereafter: 200, use_internal_logger: false, \
                output_paths: [stderr], sending_queue: {enabled: false}}";
    for yaml in ["", yaml, "use_internal_logger: false"] {
        let (built, diagnostics) = read(yaml);
        assert!(built.is_some() && !diagnostics.has_errors(), "{yaml}: {:?}", diagnostics.finish().err());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    check_error("verbosity: detailled", "did you mean `detailed`");
    check_error("sampling_initial: -1", "expected an integer of at least 0");
    check_error("{use_internal_logger: false, output_paths: [/tmp/x]}", "into a file writes the `file` exporter");
    check_error("output_paths: [stderr]", "has no meaning with `use_internal_logger: true`");
}

#[test]
fn the_old_logging_exporter_says_how_much_is_shown_by_its_log_level() {
    let shown = |yaml: &str| {
        let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
        let mut diagnostics = Diagnostics::new();
        Section::open(&loaded.root, "exporters.logging", &mut diagnostics).read(read_log_level)
    };
    assert_eq!(shown("loglevel: debug"), Verbosity::Detailed);
    assert_eq!(shown("loglevel: info"), Verbosity::Normal);
    assert_eq!(shown("loglevel: warn"), Verbosity::Basic);
    assert_eq!(shown(""), Verbosity::Normal);
    for yaml in ["", "loglevel: debug", "{verbosity: detailed, sampling_thereafter: 1}"] {
        let (built, diagnostics) = read_as("logging", yaml);
        assert!(built.is_some() && !diagnostics.has_errors(), "{yaml}: {:?}", diagnostics.finish().err());
    }
    let (_, diagnostics) = read_as("logging/x", "{loglevel: debug, verbosity: basic}");
    assert!(diagnostics.warnings()[0].to_string().contains("loglevel: has no effect: `verbosity` is given"));
    check_error("loglevel: debug", "unknown key `loglevel`");
}

/// A console whose text can be read.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<u8>>>);

impl Write for Console {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A console that nobody reads any more.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn export(consoles: Vec<Arc<Mutex<dyn Write + Send>>>, batch: &Batch) -> Outcome {
    let sampler = Mutex::new(Sampler { initial: 1, thereafter: 0, windows: [None; 3] });
    let output = Output::Consoles(consoles);
    let debug = Debug { id: "debug".to_owned(), verbosity: Verbosity::Basic, sampler, output };
    let mut outcome = Outcome::DELIVERED;
    // The second is not shown.
    for _ in 0..2 {
        let encoded = debug.encode(batch);
        assert_eq!(encoded.requests[0].items, u64::from(batch.items()));
        outcome = match debug.send(&encoded.requests[0]).await {
            Outcome::DELIVERED => outcome,
            other => other,
        };
    }
    outcome
}

#[tokio::test]
async fn batches_go_to_every_console_and_those_not_shown_count_as_delivered() {
    let (a, b) = (Console::default(), Console::default());
    let batch = Batch::from_trusted(Signal::Logs, Bytes::new(), 3);
    let outcome = export(vec![Arc::new(Mutex::new(a.clone())), Arc::new(Mutex::new(b.clone()))], &batch).await;
    assert_eq!(outcome, Outcome::DELIVERED);
    let expected = "Logs {\"exporter\": \"debug\", \"resource logs\": 0, \"log records\": 3}\n";
    assert_eq!((&**a.0.lock(), &**b.0.lock()), (expected.as_bytes(), expected.as_bytes()));
}

#[tokio::test]
async fn a_closed_console_gives_up_at_once() {
    let outcome = export(vec![Arc::new(Mutex::new(Closed))], &Batch::empty(Signal::Logs)).await;
    assert!(matches!(outcome, Outcome::Reject { failure } if failure.cause == "console"));
}
