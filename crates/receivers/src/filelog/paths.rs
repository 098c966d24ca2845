//! Which files there are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use glob::{MatchOptions, Pattern};

use super::source::{FileId, Stamp};

/// More files than this are not followed; the others of a directory full of them have their turn when these are gone.
const FILES_MAX: usize = 65_536;
/// What `{a,b}` may stand for in one pattern.
const ALTERNATIVES_MAX: usize = 256;

/// As a shell has it: `*` stays within a directory, and a leading dot is nothing special, as in the Collector.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// `include` and `exclude`.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    include: Vec<String>,
    exclude: Vec<Pattern>,
    exclude_older_than: Option<Duration>,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) stamp: Stamp,
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPattern {
    #[error(transparent)]
    Glob(#[from] glob::PatternError),
    #[error("it stands for more than {ALTERNATIVES_MAX} patterns")]
    TooMany,
}

impl Paths {
    pub(super) fn new(exclude_older_than: Option<Duration>) -> Paths {
        Paths { exclude_older_than, ..Paths::default() }
    }

    pub(super) fn include(&mut self, pattern: &str) -> Result<(), BadPattern> {
        for pattern in alternatives(pattern)? {
            Pattern::new(&pattern)?;
            self.include.push(pattern);
        }
        Ok(())
    }

    pub(super) fn exclude(&mut self, pattern: &str) -> Result<(), BadPattern> {
        for pattern in alternatives(pattern)? {
            self.exclude.push(Pattern::new(&pattern)?);
        }
        Ok(())
    }

    /// The files that are there now, each once, in the order of the patterns and of their names. Links are followed.
    pub(super) fn find(&self, now_unix_ns: u64) -> Vec<Found> {
        let oldest = self
            .exclude_older_than
            .map(|age| now_unix_ns.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for pattern in &self.include {
            let Ok(paths) = glob::glob_with(pattern, OPTIONS) else { continue };
            for path in paths.flatten().filter(|path| !self.is_excluded(path)) {
                let Ok(metadata) = std::fs::metadata(&path) else { continue };
                let (id, stamp) = (FileId::of(&metadata), Stamp::of(&metadata));
                let is_old = oldest.is_some_and(|oldest| stamp.modified_unix_ns < oldest);
                if !metadata.is_file() || is_old || !seen.insert(id) {
                    continue;
                }
                found.push(Found { path, id, stamp });
                if found.len() == FILES_MAX {
                    return found;
                }
            }
        }
        found
    }

    fn is_excluded(&self, path: &Path) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches_path_with(path, OPTIONS))
    }
}

/// The patterns that one with `{a,b}` stands for; `[^a]` is `[!a]`.
fn alternatives(pattern: &str) -> Result<Vec<String>, BadPattern> {
    let mut open = vec![pattern.replace("[^", "[!")];
    let mut done = Vec::new();
    while let Some(pattern) = open.pop() {
        if open.len() + done.len() >= ALTERNATIVES_MAX {
            return Err(BadPattern::TooMany);
        }
        // The innermost braces first.
        let braces = pattern.find('}').and_then(|end| Some((pattern[..end].rfind('{')?, end)));
        match braces {
            Some((start, end)) => {
                let choices: Vec<&str> = pattern[start + 1..end].split(',').collect();
                let expand = |choice: &&str| format!("{}{choice}{}", &pattern[..start], &pattern[end + 1..]);
                open.extend(choices.iter().rev().map(expand));
            }
            None => done.push(pattern),
        }
    }
    done.dedup();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_each_of_their_choices() {
        assert_eq!(alternatives("/a/{b,c{d,e}}.log").unwrap(), ["/a/b.log", "/a/cd.log", "/a/b.log", "/a/ce.log"]);
        assert_eq!(alternatives("/a/[^b].log").unwrap(), ["/a/[!b].log"]);
        assert!(alternatives(&"{a,b}".repeat(20)).is_err());
    }

    #[test]
    fn files_are_found_once_and_not_where_they_are_excluded() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["a.log", "b.log", "b.txt", "deep/er/c.log", "deep/d.log"] {
            std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            std::fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink(path("a.log"), path("link.log")).unwrap();
        let found = |include: &[&str], exclude: &[&str]| {
            let mut paths = Paths::new(None);
            include.iter().for_each(|pattern| paths.include(path(pattern).to_str().unwrap()).unwrap());
            exclude.iter().for_each(|pattern| paths.exclude(path(pattern).to_str().unwrap()).unwrap());
            let relative = |found: Found| found.path.strip_prefix(directory.path()).unwrap().display().to_string();
            paths.find(u64::MAX).into_iter().map(relative).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found(&["*.log"], &[]), "a.log b.log");
        assert_eq!(found(&["*.log", "**/*.log"], &["b*", "**/er/*"]), "a.log deep/d.log");
        assert_eq!(found(&["{b,a}.*"], &["*.txt"]), "b.log a.log");
        assert_eq!(found(&["link.log"], &[]), "link.log");
        let mut paths = Paths::new(Some(Duration::from_secs(3600)));
        paths.include(path("*.log").to_str().unwrap()).unwrap();
        assert_eq!(paths.find(u64::MAX).len(), 0);
    }
}
