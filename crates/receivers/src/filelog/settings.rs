//! The options of the receiver.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::BuildContext;
use config::{Section, Spanned};
use regex::bytes::{Regex, RegexBuilder};

use super::lines::{Boundary, Lines, Pattern, Text, Whitespace};
use super::paths::Paths;
use super::source::Packing;
use crate::operators::{Entry, Field, Operators, Value};

/// What the receiver runs on.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) paths: Paths,
    pub(super) poll_interval: Duration,
    pub(super) start_at: StartAt,
    pub(super) fingerprint_bytes: usize,
    pub(super) open_files_max: usize,
    /// Files that are read in one round; none: all of them.
    pub(super) round_files_max: Option<usize>,
    pub(super) flush_ns: u64,
    pub(super) lines: Lines,
    pub(super) compression: Compression,
    pub(super) after_reading: AfterReading,
    pub(super) shown: BTreeSet<Shown>,
    /// What every record has.
    pub(super) template: Entry,
    pub(super) operators: Operators,
    pub(super) patience: Patience,
    /// Where checkpoints are kept; none: nowhere.
    pub(super) checkpoints: Option<PathBuf>,
}

/// Where a file begins that is there when the receiver starts for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartAt {
    Beginning,
    End,
}

/// Which files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    /// Those whose names end in `.gz`.
    ByName,
}

/// What becomes of a file that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterReading {
    Keep,
    Delete,
}

/// What a record says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    Name,
    Path,
    NameResolved,
    PathResolved,
    RecordNumber,
    RecordOffset,
}

/// `retry_on_failure`: how long a refused batch is offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) pause_min: Duration,
    pub(super) pause_max: Duration,
    /// None: without end.
    pub(super) elapsed_max: Option<Duration>,
}

impl Settings {
    /// Reads the options. `None`: the section has said what is wrong.
    pub(super) fn read(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Settings> {
        refuse_unbuilt(section);
        let paths = read_paths(section);
        let starts = [("end", StartAt::End), ("beginning", StartAt::Beginning)];
        let start_at = section.get("start_at").one_of(&starts).or(StartAt::End);
        let open_files_max = section.get("max_concurrent_files").integer().range(1..).or(1024_usize);
        let batches: usize = section.get("max_batches").integer().or(0);
        let compressions = [("", Compression::None), ("gzip", Compression::Gzip), ("auto", Compression::ByName)];
        let flush = section.get("force_flush_period").duration().or(Duration::from_millis(500));
        let after_reading = match section.get("delete_after_read").bool().or(false) {
            true => AfterReading::Delete,
            false => AfterReading::Keep,
        };
        if after_reading == AfterReading::Delete && start_at == StartAt::End {
            section.error("delete_after_read", "expected `start_at: beginning` beside it");
        }
        let lines = read_lines(section);
        let settings = Settings {
            paths,
            poll_interval: section.get("poll_interval").duration().above_zero().or(Duration::from_millis(200)),
            start_at,
            fingerprint_bytes: read_fingerprint(section),
            open_files_max,
            round_files_max: (batches > 0).then(|| batches.saturating_mul(open_files_max)),
            flush_ns: u64::try_from(flush.as_nanos()).unwrap_or(u64::MAX),
            lines: lines?,
            compression: section.get("compression").one_of(&compressions).or(Compression::None),
            after_reading,
            shown: read_shown(section),
            template: read_template(section),
            operators: Operators::read(section),
            patience: section.child("retry_on_failure", Patience::read),
            checkpoints: read_storage(section, context),
        };
        Some(settings)
    }

    /// Whether records say this of their file.
    pub(super) fn shows(&self, shown: Shown) -> bool {
        self.shown.contains(&shown)
    }

    /// How a file's bytes lie in it.
    pub(super) fn packing(&self, path: &Path) -> Packing {
        let is_named = path.extension().is_some_and(|extension| extension == "gz");
        match self.compression {
            Compression::Gzip => Packing::Gzip,
            Compression::ByName if is_named => Packing::Gzip,
            Compression::ByName | Compression::None => Packing::Plain,
        }
    }
}

fn refuse_unbuilt(section: &mut Section<'_>) {
    section.unsupported("include_file_owner_name", "the names of owners");
    section.unsupported("include_file_owner_group_name", "the names of owners' groups");
    section.unsupported("include_file_permissions", "the permissions of files");
    section.unsupported("ordering_criteria", "an order of files; all of them are followed");
    section.unsupported("acquire_fs_lock", "locks on files");
    section.unsupported("header", "metadata from the first lines of a file");
    section.unsupported("on_truncate", "another start after a truncation than the beginning");
    let behaviours = [("split", 0), ("", 0), ("truncate", 1)];
    if section.get("max_log_size_behavior").one_of(&behaviours).or(0) == 1 {
        section.error("max_log_size_behavior", "not built yet: `truncate`; what is too long becomes several records");
    }
    section.without_effect("initial_buffer_size", "a buffer is as large as what waits in it");
    section.without_effect("polls_to_archive", "files that are gone are remembered, up to a bound");
    section.without_effect("max_poll_interval", "files are looked at every `poll_interval`");
}

fn read_paths(section: &mut Section<'_>) -> Paths {
    let mut paths = Paths::new(section.get("exclude_older_than").duration().above_zero().optional());
    let include = section.get("include").strings().required().unwrap_or_default();
    for pattern in &include {
        if let Err(error) = paths.include(pattern) {
            section.error("include", format!("`{pattern}` is no pattern: {error}"));
        }
    }
    if include.is_empty() && section.node("include").is_some_and(|node| !node.is_null()) {
        section.error("include", "expected at least one pattern such as `/var/log/*.log`");
    }
    for pattern in section.get("exclude").strings().or_default() {
        if let Err(error) = paths.exclude(&pattern) {
            section.error("exclude", format!("`{pattern}` is no pattern: {error}"));
        }
    }
    paths
}

fn read_fingerprint(section: &mut Section<'_>) -> usize {
    /// As few as the Collector allows, and as many as are worth reading whenever a file has changed.
    const BYTES: std::ops::RangeInclusive<u64> = 16..=1 << 20;
    let size = section.get("fingerprint_size").bytes().ensure("a size from 16B to 1MiB", |size| BYTES.contains(size));
    usize::try_from(size.or(1000)).unwrap_or(1000)
}

fn read_lines(section: &mut Section<'_>) -> Option<Lines> {
    let known = |name: &str| Text::named(name).ok_or("there is no such encoding");
    let text = section.get("encoding").parse_with("an encoding such as `utf-8`", known).or(Text::Utf8);
    let size =
        section.get("max_log_size").bytes().ensure("a size from 1B to 256MiB", |size| (1..=256 << 20).contains(size));
    let size_bytes_max = usize::try_from(size.or(1 << 20)).unwrap_or(1 << 20);
    let mut kept = |key: &'static str| match section.get(key).bool().or(false) {
        true => Whitespace::Kept,
        false => Whitespace::Trimmed,
    };
    let (leading, trailing) = (kept("preserve_leading_whitespaces"), kept("preserve_trailing_whitespaces"));
    let boundary = section.child_if_present("multiline", read_multiline);
    let boundary = match (boundary, text) {
        (None, Text::Nop) => Some(Boundary::Nowhere),
        (None, _) => Some(Boundary::Newline),
        (Some(_), text) if text.is_wide() => {
            section.error("multiline", "not built yet: patterns over UTF-16");
            None
        }
        (Some(_), Text::Nop) => {
            section.error("multiline", "cannot be had with `encoding: nop`, which has no records");
            None
        }
        (Some(boundary), _) => boundary,
    };
    Some(Lines { boundary: boundary?, text, size_bytes_max, leading, trailing })
}

fn read_multiline(section: &mut Section<'_>) -> Option<Boundary> {
    // `^` and `$` stand for the begin and the end of a line, as in the Collector.
    let compile = |text: &str| -> Result<Regex, regex::Error> { RegexBuilder::new(text).multi_line(true).build() };
    let mut pattern = |key: &'static str| {
        let given = section.has(key);
        (given, section.get(key).parse_with("a regular expression", compile).optional())
    };
    let (start, end) = (pattern("line_start_pattern"), pattern("line_end_pattern"));
    let omitted = match section.get("omit_pattern").bool().or(false) {
        true => Pattern::Omitted,
        false => Pattern::Kept,
    };
    match (start, end) {
        ((_, Some(start)), (false, _)) => Some(Boundary::Start(start, omitted)),
        ((false, _), (_, Some(end))) => Some(Boundary::End(end, omitted)),
        ((true, None), (false, _)) | ((false, _), (true, None)) => None,
        _ => {
            section.fail("expected either `line_start_pattern` or `line_end_pattern`");
            None
        }
    }
}

fn read_shown(section: &mut Section<'_>) -> BTreeSet<Shown> {
    let options = [
        ("include_file_name", Shown::Name, true),
        ("include_file_path", Shown::Path, false),
        ("include_file_name_resolved", Shown::NameResolved, false),
        ("include_file_path_resolved", Shown::PathResolved, false),
        ("include_file_record_number", Shown::RecordNumber, false),
        ("include_file_record_offset", Shown::RecordOffset, false),
    ];
    let shown = options.into_iter().filter_map(|(key, shown, default)| {
        let is_shown = section.get(key).bool().or(default);
        is_shown.then_some(shown)
    });
    shown.collect()
}

/// `attributes` and `resource`.
fn read_template(section: &mut Section<'_>) -> Entry {
    let mut entry = Entry::new(Value::Null, 0);
    for (key, root) in [("attributes", Field::ATTRIBUTES), ("resource", Field::RESOURCE)] {
        for (name, value) in section.get(key).string_map().or_default() {
            if value.starts_with("EXPR(") {
                section.error(key, format!("not built yet: `{name}` as an expression; use the operator `add`"));
            }
            let mut field = root.clone();
            field.keys.push(name);
            // There is nothing but maps on the way.
            let _ = field.set(&mut entry, Value::String(value));
        }
    }
    entry
}

impl Patience {
    fn read(section: &mut Section<'_>) -> Patience {
        let enabled = section.get("enabled").bool().optional();
        if enabled == Some(false) {
            section.warning("enabled", "has no effect: a file is read on when the pipelines have what was read of it");
        }
        let elapsed = section.get("max_elapsed_time").duration().optional().filter(|elapsed| !elapsed.is_zero());
        Patience {
            pause_min: section.get("initial_interval").duration().above_zero().or(Duration::from_millis(100)),
            pause_max: section.get("max_interval").duration().above_zero().or(Duration::from_secs(5)),
            elapsed_max: elapsed,
        }
    }
}

/// `storage`: a file in the directory of the storage extension, beside the journal that may lie there.
fn read_storage(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<PathBuf> {
    let named: Option<Spanned<_>> = section.get("storage").component_id().spanned();
    let hint = context.storages.storage(named.as_ref(), section)?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' };
    let id = context.id.to_string();
    let readable: String = id.chars().map(plain).take(80).collect();
    // Two names that look alike in a file's name stay apart by a number made of the whole.
    let name = format!("{readable}-{:016x}.checkpoints", xxhash_rust::xxh3::xxh3_64(id.as_bytes()));
    Some(hint.directory.join("crossfade_receivers").join(name))
}
