//! The `file` exporter: batches as lines of OTLP JSON, or as length-prefixed messages.
//!
//! References: [OTLP File Exporter](https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/), and the
//! Collector's [file exporter](https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/fileexporter).
//!
//! A batch is delivered when the operating system has it, whole: a write that fails halfway, as on a full disk, is
//! taken back and repeated. Files are written by a thread of their own ([`writer`]), appended to and rotated by
//! [`output`]; where the name of a file comes from telemetry, [`place`] confines it to the directory of the template.

mod output;
mod place;
mod writer;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterContext, ExporterFactory, Failure, Order, Outcome,
    Rejection, Request, Running, StartError,
};
use config::Section;
use otlp::view::{AnyValueView, ResourceView};
use otlp::wire::{FieldValue, Fields};
use otlp::{Batch, Signal};
use parking_lot::Mutex;
use transport::coding::{Coding, Level, compress};

use crate::common::{delivery, payload};
use output::{Existing, Framing, OutputSettings, Rotation};
use place::{Place, Template};
use writer::{FilesMax, Target, Writer};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "file", aliases: &[], signals: &Signal::ALL, build };

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Proto,
}

/// Files apart by an attribute of resources.
#[derive(Clone, Debug)]
struct Grouping {
    attribute: String,
    template: Template,
}

struct FileExporter {
    format: Format,
    /// None: not compressed.
    zstd: Option<Level>,
    framing: Framing,
    grouping: Option<Grouping>,
    target: Target,
    /// Present between start and stop.
    writer: Arc<Mutex<Option<Writer>>>,
}

const MODE_OF_DIRECTORIES: u32 = 0o755;

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<BuiltExporter> {
    let path = section.get("path").string().non_empty().required();
    let format = section.get("format").one_of(&[("json", Format::Json), ("proto", Format::Proto)]).or(Format::Json);
    let is_zstd = section.get("compression").one_of(&[("zstd", true), ("none", false), ("", false)]).or(false);
    let level = section.child("compression_params", |params| params.get("level").integer::<i32>().range(0..=22).or(0));
    let zstd = is_zstd.then_some(if level == 0 { Level::Fast } else { Level::Exact(level) });
    section.unsupported("encoding", "encoding extensions");
    section.without_effect("flush_interval", "every batch is written through to the file at once");
    let appends = section.get("append").bool().or(false);
    let rotation = section.child_if_named("rotation", read_rotation);
    let directory_mode = read_directory_mode(section);
    let group_by = section.child("group_by", read_group_by);
    let delivery = delivery(section, Duration::ZERO, Order::Kept);
    // A file that rotates goes on where it ended, as in the Collector.
    let existing = if appends || rotation.is_some() { Existing::Continue } else { Existing::Discard };
    let framing = if format == Format::Json && zstd.is_none() { Framing::Line } else { Framing::Length };
    let output = OutputSettings { framing, existing, rotation };
    let path = path?;
    let (grouping, target) = match group_by {
        None => (None, Target::One { path: PathBuf::from(path), directory_mode: directory_mode?, output }),
        Some((attribute, files)) => {
            let template = Template::parse(&path).map_err(|error| section.error("path", error.to_string())).ok()?;
            let directory_mode = directory_mode?.unwrap_or(MODE_OF_DIRECTORIES);
            let directory = template.directory().to_owned();
            (Some(Grouping { attribute, template }), Target::Many { directory, directory_mode, files, output })
        }
    };
    let exporter = Arc::new(FileExporter { format, zstd, framing, grouping, target, writer: Arc::default() });
    Some(BuiltExporter { exporter, delivery })
}

fn read_rotation(section: &mut Section<'_>) -> Rotation {
    section.without_effect("localtime", "the names of rotated files carry UTC");
    let megabytes = section.get("max_megabytes").integer::<u32>().optional().filter(|size| *size > 0).unwrap_or(100);
    let count = |section: &mut Section<'_>, key, default| section.get(key).integer::<u32>().or(default);
    Rotation {
        size_bytes_max: u64::from(megabytes) << 20,
        age_days_max: Some(count(section, "max_days", 0)).filter(|days| *days > 0),
        backups_max: Some(count(section, "max_backups", 100)).filter(|backups| *backups > 0),
    }
}

/// The mode for directories that are to be made. The outer `None`: something is wrong with it.
fn read_directory_mode(section: &mut Section<'_>) -> Option<Option<u32>> {
    let creates = section.get("create_directory").bool().or(false);
    let octal = |text: &str| match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & !0o777 == 0 => Ok(mode),
        _ => Err("three octal digits, perhaps behind a `0`"),
    };
    let has_mode = section.node("directory_permissions").is_some_and(|node| node.text().is_some_and(|t| !t.is_empty()));
    let mode = match has_mode {
        true => section.get("directory_permissions").parse_with("permissions such as `0755`", octal).optional()?,
        false => MODE_OF_DIRECTORIES,
    };
    if has_mode && !creates {
        section.error("directory_permissions", "has no meaning without `create_directory: true`");
    }
    Some(creates.then_some(mode))
}

/// The attribute and the bounds, if files are apart at all.
fn read_group_by(section: &mut Section<'_>) -> Option<(String, FilesMax)> {
    let is_enabled = section.get("enabled").bool().or(false);
    let attribute = section.get("resource_attribute").string().or("fileexporter.path_segment".to_owned());
    let files = FilesMax {
        open: section.get("max_open_files").integer().range(1..).or(100),
        total: section.get("max_files").integer().range(1..=1_000_000).or(10_000),
    };
    if is_enabled && attribute.is_empty() {
        section.error("resource_attribute", "expected the name of an attribute");
    }
    is_enabled.then_some((attribute, files))
}

impl Exporter for FileExporter {
    fn start(&self, context: ExporterContext) -> Result<Option<Running>, StartError> {
        let (writer, ended) = Writer::start(self.target.clone())?;
        *self.writer.lock() = Some(writer);
        let (slot, stop) = (Arc::clone(&self.writer), context.stop);
        Ok(Some(Box::pin(async move {
            tokio::select! {
                () = stop.requested() => {}
                () = ended.wait() => return Err(StartError("the thread that writes files has ended".to_owned())),
            }
            // Without its sender the thread finishes what it has and ends.
            drop(slot.lock().take());
            ended.wait().await;
            Ok(())
        })))
    }

    fn encode(&self, batch: &Batch) -> Encoded {
        let Some(grouping) = &self.grouping else {
            return Encoded::one(batch, self.message(&Place::Only, batch));
        };
        let mut encoded = Encoded::default();
        let (groups, rejected) = grouping.groups(batch);
        encoded.rejected = rejected;
        for (place, group) in groups {
            let (body, items) = (self.message(&place, &group), u64::from(group.items()));
            encoded.requests.push(Request { signal: batch.signal(), body, items, lane: 0 });
        }
        encoded
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        let writer = self.writer.lock().clone();
        Box::pin(async move {
            match writer {
                Some(writer) => writer.write(request.body.clone()).await,
                None => Outcome::retry("stopped", "the exporter does not run"),
            }
        })
    }
}

impl FileExporter {
    /// A batch as it stands in its file, behind the place that says in which.
    fn message(&self, place: &Place, batch: &Batch) -> Bytes {
        let mut message = place.to_prefix();
        let start = message.len();
        if self.framing == Framing::Line {
            otlp::json::encode(batch, &mut message);
            message.push(b'\n');
            return message.into();
        }
        message.extend_from_slice(&[0; 4]);
        match (self.format, self.zstd) {
            (Format::Proto, None) => message.extend_from_slice(batch.bytes()),
            (Format::Proto, Some(level)) => message.extend_from_slice(&payload(batch, Coding::Zstd, level)),
            (Format::Json, level) => {
                let mut json = Vec::new();
                otlp::json::encode(batch, &mut json);
                message.extend_from_slice(&compress(Coding::Zstd, level.unwrap_or(Level::Fast), &json));
            }
        }
        // A batch has 2 GiB at most, and its JSON is compressed.
        let length = u32::try_from(message.len() - start - 4).unwrap_or(u32::MAX);
        message[start..start + 4].copy_from_slice(&length.to_be_bytes());
        message.into()
    }
}

impl Grouping {
    /// The batch apart by file, and what has none.
    fn groups(&self, batch: &Batch) -> (Vec<(Place, Batch)>, Vec<Rejection>) {
        let mut groups = BTreeMap::<Place, (Vec<u8>, u64)>::new();
        let mut rejected = BTreeMap::<&'static str, (u64, String)>::new();
        let mut unknown = Vec::new();
        for field in Fields::new(batch.bytes()) {
            let (1, FieldValue::Length(block)) = (field.number, field.value) else {
                unknown.extend_from_slice(field.raw(batch.bytes()));
                continue;
            };
            let items = items(batch.signal(), block);
            match self.place(block) {
                Ok(place) => {
                    let group = groups.entry(place).or_default();
                    group.0.extend_from_slice(field.raw(batch.bytes()));
                    group.1 += items;
                }
                Err(failure) => {
                    let (sum, detail) = rejected.entry(failure.0).or_default();
                    *sum += items;
                    *detail = failure.1;
                }
            }
        }
        // Fields of the request itself that nobody here knows go to the first file.
        if let Some((bytes, _)) = groups.values_mut().next() {
            bytes.append(&mut unknown);
        }
        let rejection = |(cause, (items, detail)): (&'static str, (u64, String))| Rejection {
            items,
            failure: Failure { cause: cause.into(), detail },
        };
        let rejected = rejected.into_iter().map(rejection).filter(|rejection| rejection.items > 0).collect();
        if groups.len() == 1
            && unknown.is_empty()
            && groups.values().all(|(bytes, _)| bytes.len() == batch.size_bytes())
        {
            // All of it goes to one file: the batch itself, with the compressed forms that exist of it.
            let only = groups.into_keys().map(|place| (place, batch.clone()));
            return (only.collect(), rejected);
        }
        let group = |(place, (bytes, items)): (Place, (Vec<u8>, u64))| {
            let items = u32::try_from(items).unwrap_or(u32::MAX);
            (place, Batch::from_trusted(batch.signal(), bytes.into(), items))
        };
        (groups.into_iter().map(group).collect(), rejected)
    }

    /// The file for a block of one resource; the cause and the words if there is none.
    fn place(&self, block: &[u8]) -> Result<Place, (&'static str, String)> {
        let resource = Fields::new(block).filter(|field| field.number == 1).last();
        let resource = ResourceView::new(resource.map_or(&[], |field| field.value.bytes()));
        match resource.attributes().get(&self.attribute) {
            Some(value @ (AnyValueView::String(_) | AnyValueView::Int(_) | AnyValueView::Bool(_))) => {
                let bad_path = |error: place::BadPath| ("bad_path", error.to_string());
                self.template.place(&value.to_text()).map_err(bad_path)
            }
            Some(_) => Err(("no_path_segment", format!("the resource attribute `{}` is no text", self.attribute))),
            None => Err(("no_path_segment", format!("a resource has no attribute `{}`", self.attribute))),
        }
    }
}

/// The items in one block.
fn items(signal: Signal, block: &[u8]) -> u64 {
    let count = match signal {
        Signal::Traces => {
            let scopes = otlp::view::ResourceSpansView::new(block).scope_spans();
            scopes.map(|scope| scope.spans().messages().count()).sum::<usize>()
        }
        Signal::Metrics => {
            let scopes = otlp::view::ResourceMetricsView::new(block).scope_metrics();
            scopes.flat_map(|scope| scope.metrics()).map(|metric| metric.data().points()).sum()
        }
        Signal::Logs => {
            let scopes = otlp::view::ResourceLogsView::new(block).scope_logs();
            scopes.map(|scope| scope.log_records().messages().count()).sum()
        }
    };
    count as u64
}

#[cfg(test)]
mod tests;
