//! Every command of `docs/parity-cli.md` does what the page says.

use std::fs;
use std::path::Path;

use parity::Side;

use super::backends::{SOUND, serve};
use super::scene::{Fault, LENGTH_S, START_S, check_exit, record, replica};

/// The fenced blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_runs() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parity-cli.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    fs::write(directory.path().join("token"), "Bearer sesame\n").unwrap();
    fs::write(directory.path().join("replica.jsonl"), replica(Fault::None)).unwrap();
    for block in blocks(&page, "yaml") {
        let name = block.lines().next().unwrap().strip_prefix("# ").unwrap();
        fs::write(directory.path().join(name), &block).unwrap();
    }
    let [legacy, new] = [serve(Side::Legacy, SOUND), serve(Side::New, SOUND)];
    let to = (START_S + LENGTH_S).to_string();
    let mut count = 0;
    for command in blocks(&page, "sh")
        .iter()
        .flat_map(|block| block.replace("\\\n", "").lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let words: Vec<&str> = command.split_whitespace().collect();
        let mut arguments: Vec<&str> = words.strip_prefix(&["crossfade", "parity"]).unwrap().to_vec();
        let is_of_backends = command.contains("http://");
        for argument in &mut arguments {
            *argument = match argument.split(':').nth(1) {
                Some("//prometheus.internal") => &legacy,
                Some(host) if host.starts_with("//") => &new,
                _ => argument,
            };
        }
        if is_of_backends {
            arguments.extend(["--to", &to]);
        }
        check_exit(directory.path(), &arguments, 0);
        count += 1;
    }
    assert!(count >= 6, "{count} commands found");
    assert!(directory.path().join("parity.html").exists());
}
