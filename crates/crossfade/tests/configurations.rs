//! Every configuration that a reader may copy, from `examples/` and from the pages of `docs/`, passes `crossfade check`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `check` on a file; gives what it says if it is not content.
fn complaint(path: &Path) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_crossfade"))
        .args(["check", "--config"])
        .arg(path)
        .envs([("UPTRACE_DSN", "https://token@example/1"), ("TOKEN", "sesame")])
        .output()
        .unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The fenced blocks of a page in one language, with the lines they start on.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == format!("```{language}") {
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            blocks.push((number + 1, body.join("\n")));
        }
    }
    blocks
}

#[test]
fn every_example_passes_check() {
    let examples = files(&root().join("examples"), "yaml");
    assert!(examples.len() >= 4);
    let complaints: Vec<String> = examples.iter().filter_map(|path| complaint(path)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_whole_configuration_in_the_docs_passes_check() {
    let scratch = tempfile::tempdir().unwrap();
    let mut complaints = Vec::new();
    let mut count = 0;
    for path in files(&root().join("docs"), "md") {
        let page = fs::read_to_string(&path).unwrap();
        // A block with pipelines is a whole configuration; others show a part, or an error.
        for (line, block) in blocks(&page, "yaml").into_iter().filter(|(_, block)| block.contains("pipelines:")) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let file = scratch.path().join(format!("{name}-{line}.yaml"));
            fs::write(&file, block).unwrap();
            complaints.extend(complaint(&file));
            count += 1;
        }
    }
    assert!(count >= 5, "{count} configurations found");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_wrong_configuration_is_told_all_its_errors_at_once_with_their_places() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("wrong.yaml");
    let text = "
receivers:
  otlp:
    protocols: {grcp: }
exporters:
  otlp/new: {endpoint: 'localhost:4317', timeout: soon}
  kafka: {brokers: [localhost]}
  debugg:
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [otlp/neu]}
";
    fs::write(&file, text).unwrap();
    let said = complaint(&file).expect("a complaint");
    for expected in [
        "did you mean `grpc`?",
        "expected a duration such as `5s`",
        "not built yet: the `kafka` exporter",
        "there is no exporter of type `debugg`",
        "did you mean `otlp/new`?",
        "wrong.yaml:4:17",
        "wrong.yaml:11:45",
    ] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
}

/// What `check` says of the `auth` of an exporter and of a receiver beside these extensions, one line for each error.
fn complaints_of_auth(extensions: &str, listed: &str, exporter: &str, receiver: &str) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("c.yaml");
    let text = format!(
        "extensions: {extensions}
receivers: {{otlp: {{protocols: {{http: {{auth: {{authenticator: {receiver}}}}}}}}}}}
exporters: {{otlp: {{endpoint: 'localhost:1', auth: {{authenticator: {exporter}}}}}}}
service: {{extensions: [{listed}], pipelines: {{logs: {{receivers: [otlp], exporters: [otlp]}}}}}}
"
    );
    fs::write(&file, text).unwrap();
    let said = complaint(&file).unwrap_or_default();
    let lines = said.lines().map(str::trim);
    lines.filter(|line| line.starts_with("error: ") || line.starts_with("= help")).map(str::to_owned).collect()
}

#[test]
fn an_authenticator_that_does_not_fit_is_told_why() {
    const BOTH: &str = "{bearertokenauth: {token: t}, basicauth/in: {htpasswd: {inline: 'a:b'}}, basicauth/out: \
                        {client_auth: {username: a, password: b}}, health_check: }";
    let exporter = "error: exporters.otlp.auth.authenticator:";
    let receiver = "error: receivers.otlp.protocols.http.auth.authenticator:";
    let check = |listed: &str, named: [&str; 2], expected: &[String]| {
        assert_eq!(complaints_of_auth(BOTH, listed, named[0], named[1]), expected, "[{listed}] {named:?}");
    };
    let all = "bearertokenauth, basicauth/in, basicauth/out, health_check";
    check(all, ["bearertokenauth", "bearertokenauth"], &[]);
    check(all, ["basicauth/out", "basicauth/in"], &[]);
    check(
        all,
        ["basicauth/in", "basicauth/out"],
        &[
            format!("{receiver} `basicauth/out` does not say who may send"),
            "= help: it is for exporters, as it holds what a client shows".to_owned(),
            format!("{exporter} `basicauth/in` has nothing that a client could show"),
            "= help: it is for receivers, as it says who may send".to_owned(),
        ],
    );
    check(
        all,
        ["health_check", "basicauth/im"],
        &[
            format!("{receiver} `basicauth/im` is not among the configuration's extensions"),
            "= help: did you mean `basicauth/in`?".to_owned(),
            format!("{exporter} `health_check` has nothing that a client could show"),
            "= help: it is no authenticator".to_owned(),
        ],
    );
    check(
        "basicauth/in",
        ["basicauth/out", "basicauth/in"],
        &[
            format!("{exporter} `basicauth/out` is configured and does not run"),
            "= help: name it in `service.extensions`".to_owned(),
        ],
    );
}

#[test]
fn an_authenticator_that_is_wrong_itself_is_complained_of_once() {
    let said = complaints_of_auth("{basicauth: {}}", "basicauth", "basicauth", "basicauth");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("error: extensions.basicauth: expected `htpasswd`"), "{said:?}");
}

#[test]
fn a_secret_never_reaches_the_terminal() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("secret.yaml");
    let text = "
receivers: {otlp: {protocols: {grpc: }}}
exporters:
  otlp: {endpoint: '${TOKEN}', tmeout: '${TOKEN}', headers: {authorization: 'sesame street', bad name: sesame}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}}
";
    fs::write(&file, text).unwrap();
    let said = complaint(&file).expect("a complaint");
    assert!(!said.contains("sesame"), "{said}");
}
