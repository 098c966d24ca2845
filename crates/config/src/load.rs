//! From named files to one expanded tree.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Errors};
use crate::expand::Expander;
use crate::merge::merge;
use crate::node::Node;
use crate::path::{Path, printable};
use crate::source::Source;
use crate::yaml::{self, Budget, SOURCE_BYTES_MAX};

/// Where variables and files come from, so that a test needs neither.
pub trait Environment {
    /// The value of an environment variable; none when it is not set.
    fn var(&self, name: &str) -> Option<String>;
    /// The text of a file.
    fn read_file(&self, path: &FilePath) -> io::Result<String>;
}

/// The process's own environment and file system. A file larger than [`crate::SOURCE_BYTES_MAX`] is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

/// Variables and files held in memory, for tests.
///
/// ```
/// let env = config::TestEnvironment::new().with_var("PORT", "4317").with_file("token", "abc\n");
/// let loaded = config::parse_str("test.yaml", "port: ${env:PORT}\ntoken: ${file:token}", &env).unwrap();
/// assert_eq!(loaded.root.get("token").unwrap().text(), Some("abc"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestEnvironment {
    vars: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
}

/// A configuration: merged, expanded, ready to be read by sections.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The tree.
    pub root: Node,
    /// What is worth saying although it runs, such as a variable that is not set.
    pub warnings: Vec<Diagnostic>,
    /// The texts it was read from, in the order they were named; files that were expanded follow.
    pub sources: Vec<Arc<Source>>,
}

/// Reads, merges and expands the named files.
///
/// Besides a path, the Collector's other forms are taken: `file:path`, `env:NAME` (the variable holds the YAML) and
/// `yaml:text`. Of several, later ones win: maps merge, everything else is replaced.
///
/// # Errors
/// All that is wrong with any of the texts: a file that cannot be read, text that is no YAML, a key given twice, a
/// reference that cannot be expanded.
pub fn load(paths: &[PathBuf], env: &dyn Environment) -> Result<Loaded, Errors> {
    let mut diagnostics = Diagnostics::new();
    let mut sources = Vec::new();
    if paths.is_empty() {
        diagnostics
            .push(Diagnostic::error(Path::root(), "no configuration file is named").help("name one with `--config`"));
    }
    for path in paths {
        match read(path, env) {
            Ok(source) => sources.push(source),
            Err(error) => diagnostics.push(error),
        }
    }
    build(sources, env, diagnostics)
}

/// Reads and expands one text; `name` is what messages call it.
///
/// # Errors
/// As [`load`].
pub fn parse_str(name: &str, text: &str, env: &dyn Environment) -> Result<Loaded, Errors> {
    build(vec![Source::new(name, text)], env, Diagnostics::new())
}

/// Reads one text as it is, for formats in which `$` has a meaning of its own, such as `$1`; `name` is what messages
/// call it.
///
/// # Errors
/// As [`load`], but for references, of which there are none.
pub fn parse_plain(name: &str, text: &str) -> Result<Loaded, Errors> {
    let mut diagnostics = Diagnostics::new();
    let source = Source::new(name, text);
    let root = yaml::parse(&source, &mut Budget::new(), &mut diagnostics);
    let (root, warnings) = diagnostics.finish_with(root)?;
    Ok(Loaded { root, warnings, sources: vec![source] })
}

/// Reads, merges and expands several texts, each with the name that messages call it.
///
/// # Errors
/// As [`load`].
pub fn parse_all(texts: &[(&str, &str)], env: &dyn Environment) -> Result<Loaded, Errors> {
    let sources = texts.iter().map(|(name, text)| Source::new(*name, *text)).collect();
    build(sources, env, Diagnostics::new())
}

fn build(mut sources: Vec<Arc<Source>>, env: &dyn Environment, mut diagnostics: Diagnostics) -> Result<Loaded, Errors> {
    let mut budget = Budget::new();
    let mut merged: Option<Node> = None;
    for source in &sources {
        if let Some(node) = yaml::parse(source, &mut budget, &mut diagnostics) {
            match &mut merged {
                None => merged = Some(node),
                // An empty file changes nothing.
                Some(_) if node.is_null() => {}
                Some(base) => merge(base, node),
            }
        }
    }
    if let Some(root) = &mut merged {
        Expander::new(env, &mut budget, &mut diagnostics, &mut sources).expand(root);
    }
    let (root, warnings) = diagnostics.finish_with(merged)?;
    Ok(Loaded { root, warnings, sources })
}

fn read(path: &FilePath, env: &dyn Environment) -> Result<Arc<Source>, Diagnostic> {
    let name = path.to_string_lossy();
    let text = match name.split_once(':') {
        Some(("yaml", text)) => Ok(text.to_owned()),
        Some(("env", variable)) => env
            .var(variable)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the environment variable is not set")),
        Some(("file", path)) => env.read_file(FilePath::new(path)),
        _ => env.read_file(path),
    };
    let shown = if name.starts_with("yaml:") { "yaml:…" } else { name.strip_prefix("file:").unwrap_or(&name) };
    match text {
        Ok(text) => Ok(Source::new(shown, text)),
        Err(error) => {
            let message = format!("cannot read the configuration `{}`: {error}", printable(shown, 300));
            Err(Diagnostic::error(Path::root(), message))
        }
    }
}

// === impl SystemEnvironment ===

impl Environment for SystemEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn read_file(&self, path: &FilePath) -> io::Result<String> {
        // One byte more than is allowed, so that an endless file such as /dev/zero ends here.
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(SOURCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > SOURCE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is larger than {SOURCE_BYTES_MAX} bytes"),
            ));
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 at byte {at}"))
        })
    }
}

// === impl TestEnvironment ===

impl TestEnvironment {
    /// No variable is set and no file exists.
    pub fn new() -> TestEnvironment {
        TestEnvironment::default()
    }

    /// Sets a variable.
    #[must_use]
    pub fn with_var(mut self, name: &str, value: &str) -> TestEnvironment {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, text: &str) -> TestEnvironment {
        self.files.insert(path.into(), text.to_owned());
        self
    }
}

impl Environment for TestEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    fn read_file(&self, path: &FilePath) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}
