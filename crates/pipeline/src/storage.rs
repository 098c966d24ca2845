//! `journal` in the configuration, the storage extensions that exporters name, and opening what they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::StorageHint;
use config::{ComponentId, Diagnostics, Path, Position, Section, Spanned, nearest};
use journal::disk::io::Directory;
use journal::disk::{DiskOptions, Recovery, Sync};
use journal::{Journal, Limits, Start, WhenFull};

/// The bound of a journal in memory where the configuration says nothing.
const MEMORY_BYTES_DEFAULT: u64 = 256 << 20;

/// How often a journal that syncs by time does so where the configuration says nothing.
const SYNC_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// A journal, ready to be opened.
#[derive(Clone, Debug)]
pub(crate) struct JournalSettings {
    pub(crate) storage: Storage,
    /// Where exporters start that the journal does not know yet; the others start with what comes.
    pub(crate) starts: BTreeMap<String, Start>,
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    Memory(Limits),
    Disk { directory: PathBuf, options: DiskOptions },
}

impl fmt::Display for Storage {
    /// A line where it is worth one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Storage::Disk { directory, options } = self else { return Ok(()) };
        let sync = match options.sync {
            Sync::OnFsync => "acknowledges after fsync".to_owned(),
            Sync::Interval(interval) => format!("syncs every {}", config::duration::show(interval)),
            Sync::OnWrite => "acknowledges after write".to_owned(),
        };
        let size_mib = options.size_bytes_max >> 20;
        writeln!(f, "journal on disk in {}: up to {size_mib} MiB, {sync}", directory.display())
    }
}

/// `journal` as it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct JournalConfig {
    kind: Option<Kind>,
    directory: Option<PathBuf>,
    sync: Option<Sync>,
    size_bytes_max: Option<u64>,
    age: Option<Duration>,
    when_full: WhenFull,
    memory_bytes_max: Option<u64>,
    cursor_grace: Option<Duration>,
    starts: BTreeMap<String, Start>,
    /// Options that a journal in memory would not heed, where they stand.
    for_disk: Vec<(&'static str, Position)>,
    /// `retention.size`, where it stands.
    size_at: Option<Position>,
    /// The exporters of `start`, where it stands.
    starts_at: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Disk,
}

impl JournalConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> JournalConfig {
        let kinds = [("memory", Some(Kind::Memory)), ("disk", Some(Kind::Disk)), ("kafka", None)];
        let kind = section.get("storage").one_of(&kinds).optional();
        if kind == Some(None) {
            section.error("storage", "not built yet: a journal in `kafka`; use `memory` or `disk`");
        }
        let kind = kind.flatten();
        let sync = read_sync(section);
        let mut for_disk = places(section, ["directory", "sync", "memory", "cursor_grace", "start"]);
        let starts_at = section.node("start").map(|node| node.position().clone());
        let (size, size_at, age) = section.child("retention", |retention| {
            let size = retention.get("size").bytes().ensure("at least 1MiB", |size| *size >= 1 << 20).optional();
            let size_at = retention.node("size").map(|node| node.position().clone());
            for_disk.extend(places(retention, ["age"]).into_iter().map(|(_, at)| ("retention.age", at)));
            (size, size_at, retention.get("age").duration().above_zero().optional())
        });
        let policies = [("refuse", WhenFull::Refuse), ("drop_oldest", WhenFull::DropOldest)];
        let config = JournalConfig {
            kind,
            directory: section.get("directory").string().non_empty().optional().map(PathBuf::from),
            sync,
            size_bytes_max: size,
            age,
            when_full: section.get("when_full").one_of(&policies).or_default(),
            memory_bytes_max: section.get("memory").bytes().optional(),
            cursor_grace: section.get("cursor_grace").duration().optional(),
            starts: read_starts(section),
            for_disk,
            size_at,
            starts_at,
        };
        config.check(section);
        config
    }

    /// What does not go together.
    fn check(&self, section: &mut Section<'_>) {
        if self.kind == Some(Kind::Disk) && self.directory.is_none() {
            section.error("storage", "expected a `directory` beside `storage: disk`, such as /var/lib/crossfade");
        }
        if self.directory.is_some() && self.kind.is_none() {
            section.error("directory", "expected `storage: disk` beside it");
        }
    }

    /// What the journal would not heed, once it is known where it lies and which exporters there are.
    pub(crate) fn check_use(
        &self,
        hint: Option<&StorageHint>,
        exporters: &BTreeSet<ComponentId>,
        diagnostics: &mut Diagnostics,
    ) {
        let mut error = |key: &str, at: &Position, message: String, help: Option<String>| {
            let path = key.split('.').fold(Path::root().key("journal"), |path, key| path.key(key));
            let error = config::Diagnostic::error(path, message).at(at);
            diagnostics.push(match help {
                Some(help) => error.help(help),
                None => error,
            });
        };
        let names: Vec<String> = exporters.iter().map(ToString::to_string).collect();
        let unknown = self.starts.keys().filter(|exporter| !names.contains(exporter));
        for (exporter, at) in unknown.zip(self.starts_at.iter().cycle()) {
            let near =
                nearest(exporter, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
            error("start", at, format!("`{exporter}` is not among the configuration's exporters"), near);
        }
        let is_on_disk = match self.kind {
            Some(kind) => kind == Kind::Disk,
            // A directory alone is an error of its own already.
            None => hint.is_some() || self.directory.is_some(),
        };
        if !is_on_disk {
            let help = "set `storage: disk` and a `directory`, or leave it out";
            for (key, at) in &self.for_disk {
                error(key, at, "is for `storage: disk`".to_owned(), Some(help.to_owned()));
            }
        } else if let (Some(size), Some(at)) = (self.size_bytes_max, &self.size_at)
            && size < DiskOptions::SIZE_BYTES_MIN
        {
            let least = DiskOptions::SIZE_BYTES_MIN >> 20;
            error("retention.size", at, format!("expected at least {least} MiB for a journal on disk"), None);
        }
    }

    /// What exporters ask for with `sending_queue.storage` is the journal on disk, if the configuration does not say
    /// otherwise.
    pub(crate) fn settle(self, hint: Option<StorageHint>) -> JournalSettings {
        let directory = match (self.kind, &self.directory, hint) {
            (Some(Kind::Memory), ..) => None,
            (_, Some(directory), _) => Some(directory.clone()),
            // Beside the files that a Collector may have there.
            (_, None, Some(hint)) => Some(hint.directory.join("crossfade")),
            (_, None, None) => None,
        };
        let storage = match directory {
            Some(directory) => Storage::Disk { directory, options: self.disk_options() },
            None => Storage::Memory(Limits {
                size_bytes_max: self.size_bytes_max.unwrap_or(MEMORY_BYTES_DEFAULT),
                when_full: self.when_full,
            }),
        };
        JournalSettings { storage, starts: self.starts }
    }

    /// Whether exporters that name a storage are contradicted.
    pub(crate) fn insists_on_memory(&self) -> bool {
        self.kind == Some(Kind::Memory)
    }

    fn disk_options(&self) -> DiskOptions {
        let default = DiskOptions::default();
        DiskOptions {
            sync: self.sync.unwrap_or_default(),
            size_bytes_max: self.size_bytes_max.unwrap_or(default.size_bytes_max),
            age_ns_max: self.age.map(nanoseconds),
            when_full: self.when_full,
            memory_bytes_max: self.memory_bytes_max.unwrap_or(default.memory_bytes_max),
            cursor_grace_ns: self.cursor_grace.map_or(default.cursor_grace_ns, nanoseconds),
            ..default
        }
    }
}

/// Which of these options are given, and where.
fn places<const N: usize>(section: &mut Section<'_>, keys: [&'static str; N]) -> Vec<(&'static str, Position)> {
    keys.into_iter().filter_map(|key| Some((key, section.node(key)?.position().clone()))).collect()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read_sync(section: &mut Section<'_>) -> Option<Sync> {
    let interval = section.get("sync_interval").duration().above_zero().optional();
    let by_time = Sync::Interval(interval.unwrap_or(SYNC_INTERVAL_DEFAULT));
    let modes = [("on_fsync", Sync::OnFsync), ("interval", by_time), ("on_write", Sync::OnWrite)];
    let sync = section.get("sync").one_of(&modes).optional();
    if interval.is_some() && sync != Some(by_time) {
        section.error("sync_interval", "expected `sync: interval` beside it");
    }
    sync
}

fn read_starts(section: &mut Section<'_>) -> BTreeMap<String, Start> {
    let mut starts = BTreeMap::new();
    for (exporter, start) in section.get("start").string_map().or_default() {
        match start.as_str() {
            "oldest" => drop(starts.insert(exporter, Start::Oldest)),
            "end" => drop(starts.insert(exporter, Start::End)),
            _ => section.error("start", format!("expected `oldest` or `end` for `{exporter}`, found `{start}`")),
        }
    }
    starts
}

/// A storage extension as exporters may name it.
pub(crate) struct NamedStorage {
    pub(crate) is_listed: bool,
    /// None: the extension is no storage.
    pub(crate) hint: Option<StorageHint>,
}

/// What exporters ask for; what is wrong with it is reported at its place.
pub(crate) fn asked_for(
    asking: &[(ComponentId, Spanned<ComponentId>)],
    known: &BTreeMap<ComponentId, NamedStorage>,
    journal: &JournalConfig,
    diagnostics: &mut Diagnostics,
) -> Option<StorageHint> {
    let mut found: Option<StorageHint> = None;
    for (exporter, named) in asking {
        let path = Path::root().key("exporters").key(&exporter.to_string()).key("sending_queue").key("storage");
        let wrong = match known.get(&named.value) {
            None => Some(format!("`{}` is not among the configuration's extensions", named.value)),
            Some(NamedStorage { hint: None, .. }) => Some(format!("the extension `{}` is no storage", named.value)),
            Some(NamedStorage { is_listed: false, .. }) => {
                Some(format!("`service.extensions` does not list `{}`", named.value))
            }
            Some(_) if journal.insists_on_memory() => {
                Some("`journal.storage` is `memory`; leave one of the two out".to_owned())
            }
            Some(NamedStorage { hint: Some(hint), .. }) => {
                match &found {
                    Some(first) if first.directory != hint.directory => {
                        let message = "one journal serves all exporters; the first storage that is named has it";
                        diagnostics.push(config::Diagnostic::warning(path.clone(), message).at(&named.position));
                    }
                    Some(_) => {}
                    None => found = Some(hint.clone()),
                }
                None
            }
        };
        if let Some(message) = wrong {
            diagnostics.push(config::Diagnostic::error(path, message).at(&named.position));
        }
    }
    found
}

/// Opens the journal. It blocks for as long as reading the newest segment takes.
pub(crate) fn open(settings: &JournalSettings) -> Result<Journal, String> {
    let (directory, options) = match &settings.storage {
        Storage::Memory(limits) => return Ok(Journal::in_memory(*limits)),
        Storage::Disk { directory, options } => (directory, options),
    };
    let disk = Directory::lock(directory).map_err(|error| error.to_string())?;
    let (journal, recovery) = Journal::open(Arc::new(disk), options.clone()).map_err(|error| error.to_string())?;
    tell(directory, &recovery);
    Ok(journal)
}

fn tell(directory: &std::path::Path, recovery: &Recovery) {
    let Recovery { segments, size_bytes, damaged_runs, torn, maybe_twice_items } = recovery;
    tracing::info!(directory = %directory.display(), segments, size_bytes, "the journal is open");
    if *maybe_twice_items > 0 {
        tracing::warn!(
            items = maybe_twice_items,
            "these were under way when the last process ended: they are sent again, and may arrive twice"
        );
    }
    if *torn {
        tracing::info!("the last process ended while it wrote; nothing of that was acknowledged");
    }
    if *damaged_runs > 0 {
        tracing::error!(
            runs = damaged_runs,
            "the journal is damaged in these places; what they held is counted as `journal_damaged` where it was pending"
        );
    }
}
