//! Which file a message belongs into, where its name comes from telemetry.
//!
//! Whoever sends telemetry chooses a part of the name. What they choose stays below the directory of the template:
//! `..` leads no further up than that, an absolute path is a relative one, control characters are replaced, and no
//! symbolic link is followed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where a message is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// The only file there is.
    Only,
    /// A file below the directory of the template: names of directories and of the file, with `/` between them.
    Below(String),
}

/// A path in which `*` stands for what telemetry chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    directory: PathBuf,
    /// What of the path stands behind the directory and before the `*`.
    before: String,
    after: String,
}

/// Why a path is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("must contain exactly one `*`, for `group_by` is enabled")]
    Stars,
    #[error("must not start with `*`: the directory before it is what files are confined to")]
    NoDirectory,
}

/// Why there is no file of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPath {
    #[error("the attribute leaves no name for a file")]
    Empty,
    #[error("a name in the path has more than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    #[error("the path has more than {PATH_BYTES_MAX} bytes")]
    PathTooLong,
}

/// Names are at most 255 bytes long on all usual file systems; a rotated file has a timestamp in addition.
const NAME_BYTES_MAX: usize = 200;
const PATH_BYTES_MAX: usize = 1024;

// === impl Place ===

impl Place {
    /// The place as it stands before a message: two bytes of length, big endian, and the text.
    pub(super) fn to_prefix(&self) -> Vec<u8> {
        let text = match self {
            Place::Only => "",
            Place::Below(path) => path,
        };
        // Paths are shorter than PATH_BYTES_MAX.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), text.as_bytes()].concat()
    }

    /// Takes the place from the front of a message.
    pub(super) fn split_prefix(message: &[u8]) -> Option<(Place, &[u8])> {
        let (length, rest) = message.split_first_chunk()?;
        let (text, message) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let text = std::str::from_utf8(text).ok()?;
        let place = if text.is_empty() { Place::Only } else { Place::Below(text.to_owned()) };
        Some((place, message))
    }
}

// === impl Template ===

impl Template {
    pub(super) fn parse(path: &str) -> Result<Template, TemplateError> {
        let (before, after) = path.split_once('*').ok_or(TemplateError::Stars)?;
        if after.contains('*') {
            return Err(TemplateError::Stars);
        }
        let (directory, before) = match before.rsplit_once('/') {
            _ if before.is_empty() => return Err(TemplateError::NoDirectory),
            Some(("", before)) => ("/", before),
            Some((directory, before)) => (directory, before),
            None => (".", before),
        };
        Ok(Template { directory: PathBuf::from(directory), before: before.to_owned(), after: after.to_owned() })
    }

    /// The directory that no file leaves.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The place that a text from telemetry chooses.
    pub(super) fn place(&self, segment: &str) -> Result<Place, BadPath> {
        let path = format!("{}{segment}{}", self.before, self.after);
        let mut names: Vec<String> = Vec::new();
        let is_file = !path.ends_with('/') && !path.ends_with("/.") && !path.ends_with("/..");
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name.chars().map(|c| if c.is_control() { '_' } else { c }).collect()),
            }
        }
        if names.is_empty() || !is_file {
            return Err(BadPath::Empty);
        }
        if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(BadPath::NameTooLong);
        }
        let path = names.join("/");
        if path.len() > PATH_BYTES_MAX {
            return Err(BadPath::PathTooLong);
        }
        Ok(Place::Below(path))
    }
}

/// Opens a file below a directory, and makes the directories between. No symbolic link is followed on the way, so that
/// none leads out; what is no regular file is not opened.
///
/// Somebody who may write to the directory could put a link there between the look and the opening. They need no
/// telemetry to do harm.
pub(super) fn open_below(
    directory: &Path,
    path: &str,
    directory_mode: u32,
    open: impl FnOnce(&Path) -> io::Result<File>,
) -> io::Result<File> {
    let mut current = directory.to_owned();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        current.push(name);
        let found = match fs::symlink_metadata(&current) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match (names.peek(), found) {
            (Some(_), None) => DirBuilder::new().mode(directory_mode).create(&current)?,
            (Some(_), Some(found)) if found.is_dir() => {}
            (Some(_), Some(_)) => return Err(refused(&current, "is no directory")),
            (None, Some(found)) if !found.is_file() => return Err(refused(&current, "is no regular file")),
            (None, _) => {}
        }
    }
    open(&current)
}

/// An error about one file and no other.
fn refused(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, format!("{} {what}; links are not followed", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, segment: &str, expected: &str) {
        let place = Template::parse(template).unwrap().place(segment);
        assert_eq!(place, Ok(Place::Below(expected.to_owned())), "{template} {segment:?}");
    }

    #[test]
    fn a_segment_takes_the_place_of_the_star() {
        check("/data/*.json", "checkout", "checkout.json");
        check("/data/shop-*/out.json", "a", "shop-a/out.json");
        check("./x-*", "a b", "x-a b");
        check("x-*", "a", "x-a");
        check("/data/*.json", "team/checkout", "team/checkout.json");
        check("/data/*.json", "", ".json");
    }

    #[test]
    fn no_segment_leaves_the_directory() {
        check("/data/*.json", "../../etc/passwd", "etc/passwd.json");
        check("/data/*.json", "/etc/passwd", "etc/passwd.json");
        check("/data/*.json", "a/../../../b", "b.json");
        check("/data/*.json", "..", "...json");
        check("/data/*", "./a/./b//c", "a/b/c");
        check("/data/x-*/out", "../../../tmp/y", "tmp/y/out");
        check("/data/*/out", "..", "out");
    }

    #[test]
    fn control_characters_are_replaced() {
        check("/data/*.json", "a\0b\r\nc\u{9b}", "a_b__c_.json");
    }

    fn check_bad(template: &str, segment: &str, expected: BadPath) {
        assert_eq!(Template::parse(template).unwrap().place(segment), Err(expected), "{template} {segment:?}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        check_bad("/data/*", "", BadPath::Empty);
        check_bad("/data/*", "a/", BadPath::Empty);
        check_bad("/data/*", "a/..", BadPath::Empty);
        check_bad("/data/*", "..", BadPath::Empty);
        check_bad("/data/*", &"x".repeat(NAME_BYTES_MAX + 1), BadPath::NameTooLong);
        check_bad("/data/*", &"xxxx/".repeat(PATH_BYTES_MAX / 4), BadPath::Empty);
        check_bad("/data/*.json", &"xxxx/".repeat(PATH_BYTES_MAX / 4), BadPath::PathTooLong);
    }

    #[test]
    fn a_template_has_one_star_behind_a_directory() {
        for (path, error) in [
            ("/data/out.json", TemplateError::Stars),
            ("/data/*/*.json", TemplateError::Stars),
            ("*.json", TemplateError::NoDirectory),
        ] {
            assert_eq!(Template::parse(path), Err(error), "{path}");
        }
        for (path, directory) in [("/*", "/"), ("/a/b/*", "/a/b"), ("x*", "."), ("./*", "."), ("a/x*", "a")] {
            assert_eq!(Template::parse(path).unwrap().directory(), Path::new(directory), "{path}");
        }
    }

    #[test]
    fn a_place_stands_before_its_message() {
        for place in [Place::Only, Place::Below("a/b".to_owned())] {
            let message = [place.to_prefix(), b"message".to_vec()].concat();
            assert_eq!(Place::split_prefix(&message), Some((place, &b"message"[..])));
        }
        assert_eq!(Place::split_prefix(&[]), None);
        assert_eq!(Place::split_prefix(&[0, 9, b'a']), None);
    }
}
