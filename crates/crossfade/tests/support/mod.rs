//! The binary as its user runs it: processes, their configurations, and what their ledgers say.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_crossfade");

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that is killed with the test.
pub struct Running(Child);

impl Running {
    pub fn start(arguments: &[&str]) -> Running {
        let quiet = Command::new(BINARY).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Running(quiet.unwrap())
    }

    /// `crossfade run`, once it answers.
    pub fn configured(config: &Path) -> Running {
        let process = Running::start(&["run", "--config", config.to_str().unwrap()]);
        ledger(config, |_| true);
        process
    }

    /// SIGKILL: no time for a last word.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The ledger of a process, once `until` holds.
pub fn ledger(config: &Path, until: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..800 {
        let output =
            Command::new(BINARY).args(["ledger", "--format", "json", "--config"]).arg(config).output().unwrap();
        if output.status.success() {
            last = serde_json::from_slice(&output.stdout).unwrap();
            if until(&last) {
                return last;
            }
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("not in time: {last:#}");
}

/// Waits until each exporter of a process has delivered so many items.
pub fn check_delivered(config: &Path, expected: &[(&str, u64)]) {
    let delivered = |answer: &Value, exporter: &str| -> u64 {
        let lines = answer["lines"].as_array().unwrap().iter().filter(|line| line["exporter"] == exporter);
        lines.map(|line| line["delivered_items"].as_u64().unwrap()).sum()
    };
    ledger(config, |answer| expected.iter().all(|(exporter, items)| delivered(answer, exporter) == *items));
}

/// Where the admin API of a configuration that [`write`] wrote is.
pub fn admin_port(config: &Path) -> u16 {
    let text = std::fs::read_to_string(config).unwrap();
    let port = text.rsplit_once("admin: {endpoint: 'localhost:").unwrap().1;
    port.split('\'').next().unwrap().parse().unwrap()
}

/// Writes a configuration with an admin endpoint of its own and without own metrics.
pub fn write(directory: &Path, name: &str, yaml: &str) -> PathBuf {
    let file = directory.join(name);
    let more = format!("\nadmin: {{endpoint: 'localhost:{}'}}\n", free_port());
    let yaml = yaml.replace("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n");
    std::fs::write(&file, yaml + &more).unwrap();
    file
}

/// An example with its addresses replaced.
pub fn example(directory: &Path, name: &str, addresses: &[(&str, String)]) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut yaml = std::fs::read_to_string(path).unwrap();
    for (old, new) in addresses {
        assert!(yaml.contains(old), "{name} has no {old}");
        yaml = yaml.replace(old, new);
    }
    write(directory, name, &yaml)
}

/// Backends that take what exporters send: pairs of a receiver's configuration and the signal it is for.
pub fn backends(directory: &Path, receivers: &[(&str, &str, &str)]) -> PathBuf {
    let (mut defined, mut exporters, mut pipelines) = (String::new(), String::new(), String::new());
    for (id, configuration, signal) in receivers {
        defined += &format!("  {id}: {configuration}\n");
        exporters += &format!("  debug/{}:\n", id.replace('/', "_"));
        let name = id.replace('/', "_");
        pipelines += &format!("    {signal}/{name}: {{receivers: [{id}], exporters: [debug/{name}]}}\n");
    }
    let yaml = format!("receivers:\n{defined}exporters:\n{exporters}service:\n  pipelines:\n{pipelines}");
    write(directory, "backends.yaml", &yaml)
}

/// Posts a body; gives the answer with its head.
pub fn post(port: u16, path: &str, content_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("localhost", port)).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
