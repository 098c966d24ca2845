//! A migration that runs: the same events by StatsD and by OTLP become equal, and a loss is found and named where it is.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use component::clock;
use serde_json::Value;

use crate::statsd::orders;
use crate::support::{BINARY, Running, admin_port, free_port, post, write};

/// A request without a body; gives the answer with its head.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("localhost", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn verdicts(port: u16) -> Value {
    let answer = get(port, "/api/v1/parity");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

fn subject(report: &Value, name: &str) -> Value {
    let mut subjects = report["subjects"].as_array().into_iter().flatten();
    subjects.find(|subject| subject["name"] == name).cloned().unwrap_or_default()
}

/// Events by two ways.
struct Application {
    statsd: (UdpSocket, u16),
    otlp: u16,
    start_unix_ns: u64,
    counted: i64,
}

impl Application {
    /// Counts on until the verdict is the wanted one; the new way counts so many of a hundred events.
    fn count_until(&mut self, admin: u16, verdict: &str, counted_of_100: i64) -> Value {
        let mut last = Value::Null;
        for round in 0..1500 {
            for _ in 0..10 {
                self.statsd.0.send_to(b"shop.orders:10|c", ("localhost", self.statsd.1)).unwrap();
            }
            self.counted += counted_of_100;
            if round % 5 == 0 {
                let batch = orders(self.start_unix_ns, self.counted);
                let answer = post(self.otlp, "/v1/metrics", "application/x-protobuf", batch.bytes());
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                last = verdicts(admin);
                if subject(&last, "shop_orders_total")["verdict"]["verdict"] == verdict {
                    return last;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not {verdict} in time: {last:#}");
    }
}

fn configuration(directory: &Path, [statsd, http, metrics]: [u16; 3]) -> std::path::PathBuf {
    let yaml = format!(
        "
receivers:
  statsd: {{endpoint: 'localhost:{statsd}', aggregation_interval: 200ms, temporality: cumulative, is_monotonic_counter: true}}
  otlp: {{protocols: {{http: {{endpoint: 'localhost:{http}'}}}}}}
exporters:
  debug/legacy:
  debug/new:
service:
  pipelines:
    metrics/legacy: {{receivers: [statsd], exporters: [debug/legacy]}}
    metrics/new: {{receivers: [otlp], exporters: [debug/new]}}
migration:
  name: shop
  legacy: {{receivers: [statsd], exporters: [debug/legacy]}}
  new: {{receivers: [otlp], exporters: [debug/new]}}
  parity: {{margin: 20%, settle: 300ms, skew: 200ms, every: 200ms}}
"
    );
    let file = write(directory, "migration.yaml", &yaml);
    let reader = format!("{{pull: {{exporter: {{prometheus: {{host: localhost, port: {metrics}}}}}}}}}");
    let text = fs::read_to_string(&file).unwrap().replace("{level: none}", &format!("{{readers: [{reader}]}}"));
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_running_migration_is_proven_equal_and_then_different_at_the_source() {
    let directory = tempfile::tempdir().unwrap();
    let [statsd, http, metrics] = [free_port(), free_port(), free_port()];
    let config = configuration(directory.path(), [statsd, http, metrics]);
    let (process, admin) = (Running::configured(&config), admin_port(&config));
    let socket = UdpSocket::bind("localhost:0").unwrap();
    let mut application =
        Application { statsd: (socket, statsd), otlp: http, start_unix_ns: clock::unix_ns(), counted: 0 };

    let equal = application.count_until(admin, "equivalent", 100);
    assert_eq!(
        (&equal["migration"], &equal["legacy"]["source"]),
        (&"shop".into(), &"receivers statsd; exporters debug/legacy".into())
    );
    let orders = subject(&equal, "shop_orders_total");
    let depths: Vec<&str> =
        orders["depths"].as_array().unwrap().iter().map(|at| at["depth"].as_str().unwrap()).collect();
    assert_eq!(depths, ["source", "delivery"]);
    assert_eq!(subject(&equal, "delivery by debug/new")["verdict"]["verdict"], "equivalent");

    let different = application.count_until(admin, "different", 50);
    let orders = subject(&different, "shop_orders_total");
    assert_eq!((&orders["differs_at"], &orders["failure"]), (&"source".into(), &"silent_loss".into()), "{orders:#}");
    assert!(
        orders["sentence"].as_str().unwrap().starts_with("differs at the source: the new side misses"),
        "{orders:#}"
    );

    check_forms(admin);
    check_metrics(&get(metrics, "/metrics"));
    process.kill();
}

/// The same verdict in every form.
fn check_forms(admin: u16) {
    let page = get(admin, "/parity");
    assert!(page.contains("content-type: text/html") && page.contains("style-src 'unsafe-inline'"), "{page}");
    assert!(page.contains("crossfade-parity-verdict: different") && page.contains("Silent loss"), "{page}");
    let table = get(admin, "/api/v1/parity?format=table");
    assert!(
        table.contains("different   shop_orders_total") && table.contains("at the source: the new side misses"),
        "{table}"
    );
    assert!(get(admin, "/api/v1/parity?format=csv").starts_with("HTTP/1.1 400"));
    let series = get(admin, "/api/v1/parity/series?metric=shop_orders_total");
    let series: Value = serde_json::from_str(series.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(series[0]["of"], "per_second");
    assert!(series[0]["legacy"].as_array().unwrap().len() > 5 && series[0]["new"].as_array().unwrap().len() > 5);
}

/// The verdict stands among the own metrics, and the dashboard asks for nothing that is not there.
fn check_metrics(metrics: &str) {
    let verdict = "crossfade_parity_verdict{differs_at=\"source\",failure=\"silent_loss\",signal=\"metrics\",\
                   subject=\"shop_orders_total\",verdict=\"different\"} 1";
    assert!(metrics.contains(verdict), "{metrics}");
    assert!(
        metrics.contains("crossfade_parity_margin_ratio{signal=\"metrics\",subject=\"delivery by debug/new\"} 0"),
        "{metrics}"
    );
    let dashboard = Command::new(BINARY).arg("dashboard").output().unwrap();
    let dashboard = String::from_utf8(dashboard.stdout).unwrap();
    let mut asked = 0;
    for rest in dashboard.split("crossfade_").skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        assert!(metrics.contains(&format!("crossfade_{name}")), "crossfade_{name} is not there");
        asked += 1;
    }
    assert!(asked > 10, "{dashboard}");
}
