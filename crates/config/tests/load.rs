//! Real files and variables, and the other ways to name a configuration.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use config::{Environment, SOURCE_BYTES_MAX, SystemEnvironment, TestEnvironment, load};

fn check_error(path: &str, expected: &str) {
    let errors = load(&[PathBuf::from(path)], &SystemEnvironment).unwrap_err().to_string();
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn files_are_read_and_merged_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, token) =
        (folder.path().join("a.yaml"), folder.path().join("b.yaml"), folder.path().join("token"));
    fs::write(&token, "secret\n").unwrap();
    fs::write(&first, format!("a: 1\ntoken: ${{file:{}}}\n", token.display())).unwrap();
    fs::write(&second, "a: 2\n").unwrap();
    let loaded = load(&[first, second.clone()], &SystemEnvironment).unwrap();
    assert_eq!(loaded.root.get("a").unwrap().text(), Some("2"));
    assert_eq!(loaded.root.get("a").unwrap().position().to_string(), format!("{}:1:4", second.display()));
    assert_eq!(loaded.root.get("token").unwrap().text(), Some("secret"));
    assert_eq!(loaded.sources.len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    check_error("/nowhere/c.yaml", "cannot read the configuration `/nowhere/c.yaml`: No such file or directory");
    check_error("/", "cannot read the configuration `/`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    fs::write(&path, b"a: \xff\n").unwrap();
    check_error(path.to_str().unwrap(), "it is not UTF-8 at byte 3");
    fs::write(&path, vec![b'#'; SOURCE_BYTES_MAX + 1]).unwrap();
    check_error(path.to_str().unwrap(), "it is larger than");
    check_error("/dev/zero", "it is larger than");
    let errors = load(&[], &SystemEnvironment).unwrap_err().to_string();
    assert_eq!(errors, "no configuration file is named\n  help: name one with `--config`");
}

#[test]
fn the_collectors_other_ways_to_name_a_configuration_work() {
    let env = TestEnvironment::new().with_var("CONFIG", "a: 1\nb: 1").with_file("c.yaml", "b: 2");
    let names = ["env:CONFIG", "file:c.yaml", "yaml:c: 3"];
    let loaded = load(&names.map(PathBuf::from), &env).unwrap();
    assert_eq!(["a", "b", "c"].map(|key| loaded.root.get(key).unwrap().text().unwrap()), ["1", "2", "3"]);
    let sources: Vec<_> = loaded.sources.iter().map(|source| source.name()).collect();
    assert_eq!(sources, ["env:CONFIG", "c.yaml", "yaml:…"]);
    let errors = load(&[PathBuf::from("env:NOPE")], &env).unwrap_err().to_string();
    assert_eq!(errors, "cannot read the configuration `env:NOPE`: the environment variable is not set");
}

#[test]
fn the_process_environment_is_read() {
    assert_eq!(SystemEnvironment.var("CARGO_PKG_NAME").as_deref(), Some("crossfade-config"));
    assert_eq!(SystemEnvironment.var("CROSSFADE_TEST_THAT_IS_NOT_SET"), None);
}

#[test]
fn a_plain_text_is_not_expanded() {
    let loaded = config::parse_plain("mapping.yml", "name: ${1}_$2").unwrap();
    assert_eq!(loaded.root.get("name").unwrap().text(), Some("${1}_$2"));
    assert!(config::parse_plain("mapping.yml", "name: [").is_err());
}
