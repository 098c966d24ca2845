use component::{Metrics, Stop};
use config::{Diagnostics, Section, TestEnvironment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

fn read(yaml: &str) -> (Option<Box<dyn Extension>>, Diagnostics) {
    let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id = "health_check".parse().unwrap();
    let built = Section::open(&loaded.root, "extensions.health_check", &mut diagnostics)
        .read(|section| build(section, &BuildContext::alone(&id)));
    (built, diagnostics)
}

/// A running extension on a Unix socket.
struct Probed {
    directory: tempfile::TempDir,
    health: Health,
    stop: Stop,
    running: tokio::task::JoinHandle<Result<(), StartError>>,
}

impl Probed {
    async fn start(options: &str) -> Probed {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("health.sock");
        let yaml = format!("transport: unix\nendpoint: {}\n{options}", socket.display());
        let (built, diagnostics) = read(&yaml);
        assert!(!diagnostics.has_errors(), "{:?}", diagnostics.finish().err());
        let (health, stop) = (Health::default(), Stop::default());
        let context = ExtensionContext { health: health.clone(), stop: stop.clone(), metrics: Metrics::default() };
        let running = built.unwrap().start(context).await.unwrap();
        Probed { directory, health, stop, running: tokio::spawn(running) }
    }

    /// The whole answer to one GET.
    async fn get(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.directory.path().join("health.sock")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn check_answer(answer: &str, status: u16, body_starts_with: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(body.starts_with(body_starts_with), "{answer}");
}

#[tokio::test]
async fn a_probe_learns_whether_the_process_is_ready() {
    let probed = Probed::start("").await;
    check_answer(&probed.get("/").await, 503, r#"{"status":"Server not available","upSince":"0001-01-01T00:00:00Z""#);
    probed.health.set_ready(true);
    let answer = probed.get("/").await;
    check_answer(&answer, 200, r#"{"status":"Server available","upSince":"20"#);
    assert!(answer.contains("content-type: application/json"), "{answer}");
    probed.health.set_trouble(Some("the disk is full".to_owned()));
    let troubled = probed.get("/").await;
    check_answer(&troubled, 200, r#"{"status":"Server available""#);
    assert!(troubled.contains(r#""trouble":"the disk is full""#), "{troubled}");
    probed.health.set_trouble(None);
    assert!(!probed.get("/").await.contains("trouble"));
    probed.health.set_ready(false);
    check_answer(&probed.get("/").await, 503, "");
    probed.stop.request();
    assert_eq!(probed.running.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_path_of_its_own_is_the_only_one() {
    let probed = Probed::start("path: /health/status").await;
    probed.health.set_ready(true);
    check_answer(&probed.get("/health/status?verbose").await, 200, "{");
    check_answer(&probed.get("/health/status/").await, 404, "unknown path");
    check_answer(&probed.get("/").await, 404, "unknown path");
}

#[tokio::test]
async fn a_path_that_ends_with_a_slash_stands_for_all_below() {
    let probed = Probed::start("").await;
    probed.health.set_ready(true);
    check_answer(&probed.get("/livez").await, 200, "{");
}

#[tokio::test]
async fn own_bodies_and_headers_replace_the_usual_ones() {
    let options = "response_body: {healthy: fine, unhealthy: not yet}\nresponse_headers: {x-who: me}\n";
    let probed = Probed::start(options).await;
    check_answer(&probed.get("/").await, 503, "not yet");
    probed.health.set_ready(true);
    let answer = probed.get("/").await;
    check_answer(&answer, 200, "fine");
    assert!(answer.contains("x-who: me"), "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_at_the_start() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (built, _) = read(&format!("endpoint: {}", listener.local_addr().unwrap()));
    let context = ExtensionContext { health: Health::default(), stop: Stop::default(), metrics: Metrics::default() };
    let error = built.unwrap().start(context).await.err().unwrap();
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

fn check_error(yaml: &str, expected: &str) {
    let error = read(yaml).1.finish().err().unwrap_or_else(|| panic!("no error: {yaml}")).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    check_error("path: health", "path: expected a path that starts with `/`, found `health`");
    check_error("endpoint: http://localhost:13133", "the address takes no such scheme");
    check_error("cors: {allowed_origins: ['*']}", "cors: not built yet");
    check_error("auth: {authenticator: basicauth}", "`basicauth` is not among the configuration's extensions");
    check_error("pathh: /", "did you mean `path`");
}

#[test]
fn the_collectors_look_at_pipelines_has_no_effect_and_says_so() {
    let (built, diagnostics) =
        read("check_collector_pipeline: {enabled: true, interval: 5m, exporter_failure_threshold: 5}");
    assert!(built.is_some());
    assert!(diagnostics.warnings()[0].to_string().contains("check_collector_pipeline: has no effect"));
}

#[test]
fn times_and_durations_are_written_as_go_does() {
    assert_eq!(rfc_3339(1_581_452_772_000_000_321), "2020-02-11T20:26:12.000000321Z");
    assert_eq!(rfc_3339(1_581_452_772_500_000_000), "2020-02-11T20:26:12.5Z");
    assert_eq!(rfc_3339(1_581_452_772_000_000_000), "2020-02-11T20:26:12Z");
    for (milliseconds, expected) in
        [(0, "0s"), (1500, "1.5s"), (60_000, "1m0s"), (3_723_004, "1h2m3.004s"), (90_000_000, "25h0m0s")]
    {
        assert_eq!(go_duration(Duration::from_millis(milliseconds)), expected);
    }
}
