//! `file_storage`: the Collector's directory for what waits. Here it says where the journal on disk lies.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use component::{BuildContext, Extension, ExtensionContext, ExtensionFactory, Running, StartError, StorageHint};
use config::Section;

/// Makes `file_storage` extensions.
pub(crate) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "file_storage", aliases: &[], signals: &[], build };

/// The Collector's default.
const DIRECTORY_DEFAULT: &str = "/var/lib/otelcol/file_storage";

struct FileStorage {
    directory: PathBuf,
}

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    let directory = section.get("directory").string().non_empty().or(DIRECTORY_DEFAULT.to_owned());
    section.without_effect("timeout", "the journal waits for no other process: it says at once that one has it");
    section.without_effect("create_directory", "the journal makes its own directory");
    section.without_effect("directory_permissions", "the journal's directory is closed to others: 0700");
    section.without_effect("fsync", "the journal syncs before it acknowledges; see `journal.sync`");
    section.without_effect("recreate", "a damaged journal is read over the damage, which is counted");
    section.without_effect("max_size", "`journal.retention.size` bounds the journal");
    section.without_effect("compaction", "segments that everybody has read are removed whole; nothing is compacted");
    Some(Box::new(FileStorage { directory: directory.into() }))
}

impl Extension for FileStorage {
    fn storage(&self) -> Option<StorageHint> {
        Some(StorageHint { directory: self.directory.clone() })
    }

    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move {
            let running: Running = Box::pin(async move {
                context.stop.requested().await;
                Ok(())
            });
            Ok(running)
        })
    }
}
