//! Every command of `docs/parity-cli.md` does what the page says.

use std::fs;
use std::path::Path;

use parity::Side;

use super::backends::{SOUND, serve};
use super::captures::capture;
use super::scene::{Fault, LENGTH_S, START_S, check_exit, record, replica};
use super::stores::{Lack, Writing, jaeger, loki, victorialogs};

/// The fenced blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The addresses that the page has, and where something answers for them.
fn hosts() -> Vec<(&'static str, String)> {
    vec![
        ("http://prometheus.internal:9090", serve(Side::Legacy, SOUND)),
        ("http://victoria.internal:8428", serve(Side::New, SOUND)),
        ("http://mimir.internal:9009/prometheus", serve(Side::New, SOUND)),
        ("http://jaeger.internal:16686", jaeger(Lack::Nothing, Writing::Own)),
        ("http://victoria-traces.internal:10428/select/jaeger", jaeger(Lack::Nothing, Writing::Text)),
        ("http://loki.internal:3100", loki(Lack::Nothing)),
        ("http://victoria-logs.internal:9428", victorialogs(Lack::Nothing)),
    ]
}

/// The text with these addresses.
fn with_addresses(text: &str, hosts: &[(&str, String)]) -> String {
    hosts.iter().fold(text.to_owned(), |text, (host, address)| text.replace(host, address))
}

#[test]
fn every_command_runs() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parity-cli.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    capture(directory.path(), Fault::None);
    fs::write(directory.path().join("token"), "Bearer sesame\n").unwrap();
    fs::write(directory.path().join("replica.jsonl"), replica(Fault::None)).unwrap();
    let hosts = hosts();
    for block in blocks(&page, "yaml") {
        let name = block.lines().next().unwrap().strip_prefix("# ").unwrap();
        fs::write(directory.path().join(name), with_addresses(&block, &hosts)).unwrap();
    }
    let to = (START_S + LENGTH_S).to_string();
    let mut count = 0;
    for command in blocks(&page, "sh")
        .iter()
        .flat_map(|block| block.replace("\\\n", "").lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let is_of_backends = command.contains("http://") || command.contains("query.yaml");
        let command = with_addresses(&command, &hosts);
        let words: Vec<&str> = command.split_whitespace().collect();
        let mut arguments: Vec<&str> = words.strip_prefix(&["crossfade", "parity"]).unwrap().to_vec();
        if is_of_backends {
            arguments.extend(["--to", &to]);
        }
        check_exit(directory.path(), &arguments, 0);
        count += 1;
    }
    assert!(count >= 10, "{count} commands found");
    assert!(directory.path().join("parity.html").exists());
}
