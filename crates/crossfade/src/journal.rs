//! `crossfade journal`: a look into a journal on disk, whether a process uses it or not.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use component::clock;
use journal::disk::io::{Directory, Disk};
use journal::disk::{Inspection, RecordView, inspect, records};
use otlp::{Batch, Limits, Signal};
use serde_json::{Value, json};

use crate::{Format, MaybeConfigArguments, check, moment};
use report::columns::{Table, number};

/// What `journal` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct JournalArguments {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Show segments, streams and cursors.
    Inspect(LookArguments),
    /// Compare every checksum; ends with a failure where something is damaged.
    Verify(LookArguments),
    /// Print records as OTLP JSON, one a line.
    Records(RecordsArguments),
}

#[derive(Debug, clap::Args)]
struct LookArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// How the findings are written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Where the journal is.
#[derive(Debug, clap::Args)]
struct PlaceArguments {
    /// The journal's directory; the configuration says it too.
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    config: MaybeConfigArguments,
}

#[derive(Debug, clap::Args)]
struct RecordsArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Only this stream: a pipeline, or `dead_letters/PIPELINE/EXPORTER`.
    #[arg(long)]
    stream: Option<String>,
    /// Only what was accepted then or later: `2026-11-26T09:30:00Z`, `90m` (so long ago), Unix seconds.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only what was accepted up to then.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// No more than so many records.
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
}

pub(crate) fn journal(arguments: &JournalArguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        JournalCommand::Inspect(look) => show(look, Wanted::Look),
        JournalCommand::Verify(look) => show(look, Wanted::Verdict),
        JournalCommand::Records(wanted) => print(wanted),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Look,
    Verdict,
}

impl PlaceArguments {
    fn open(&self) -> anyhow::Result<Arc<dyn Disk>> {
        let directory = match (&self.directory, self.config.named()) {
            (Some(directory), _) => directory.clone(),
            (None, Some(config)) => {
                let checked = check::load(&config.paths())
                    .map_err(|errors| anyhow!("{}", errors.render().trim_end().to_owned()))?;
                let directory = checked.graph.journal_directory().map(PathBuf::from);
                directory.context("the configuration's journal is in memory: there is nothing on disk")?
            }
            (None, None) => bail!("name the journal's --directory, or the --config that says it"),
        };
        Ok(Arc::new(Directory::look(&directory)?))
    }
}

fn show(look: &LookArguments, wanted: Wanted) -> anyhow::Result<ExitCode> {
    let inspection = inspect(&look.place.open()?).context("the journal cannot be read")?;
    let damaged = damage(&inspection);
    let mut out = std::io::stdout().lock();
    match (look.format, wanted) {
        (Format::Json, _) => writeln!(out, "{}", serde_json::to_string_pretty(&as_json(&inspection))?)?,
        (Format::Text, Wanted::Look) => write!(out, "{}", as_text(&inspection))?,
        (Format::Text, Wanted::Verdict) => {}
    }
    if look.format == Format::Text {
        let records: u64 = inspection.segments.iter().map(|segment| segment.records).sum();
        match damaged {
            0 => writeln!(
                out,
                "{} records in {} segments: every checksum is right",
                number(records),
                inspection.segments.len()
            )?,
            _ => {
                let places = if damaged == 1 { "place is" } else { "places are" };
                writeln!(
                    out,
                    "{damaged} {places} damaged; what was pending there is lost and is counted as `journal_damaged`"
                )?;
            }
        }
    }
    Ok(if wanted == Wanted::Verdict && damaged > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn damage(inspection: &Inspection) -> u64 {
    inspection.segments.iter().map(|s| s.damaged_records + s.damaged_runs.len() as u64).sum()
}

fn as_text(inspection: &Inspection) -> String {
    let head = ["segment", "from", "to", "bytes", "appends", "records", "items", "payload", "damaged"];
    let mut segments = Table::new(3, &head);
    for segment in &inspection.segments {
        let at = |of: fn((u64, u64)) -> u64| segment.appended_unix_ns.map_or_else(String::new, |span| time(of(span)));
        segments.row(vec![
            segment.id.to_string(),
            at(|(first, _)| first),
            at(|(_, last)| last),
            number(segment.size_bytes),
            number(segment.appends),
            number(segment.records),
            number(segment.items),
            number(segment.payload_bytes),
            number(segment.damaged_records + segment.damaged_runs.len() as u64),
        ]);
    }
    let mut streams = Table::new(1, &["stream", "next offset", "items", "payload"]);
    for (name, end) in &inspection.streams {
        streams.row(vec![name.clone(), number(end.offset.0), number(end.items), number(end.bytes)]);
    }
    let mut cursors = Table::new(2, &["stream", "cursor", "offset", "pending records", "items", "bytes"]);
    for book in &inspection.books {
        cursors.row(vec![
            book.stream.clone(),
            book.cursor.clone(),
            number(book.position.0.0),
            number(book.pending_records),
            number(book.pending_items),
            number(book.pending_bytes),
        ]);
    }
    format!("{segments}\n{streams}\n{cursors}\n")
}

fn as_json(inspection: &Inspection) -> Value {
    let segments = inspection.segments.iter().map(|segment| {
        json!({
            "segment": segment.id.0, "size_bytes": segment.size_bytes, "used_bytes": segment.used_bytes,
            "appends": segment.appends, "records": segment.records, "items": segment.items,
            "payload_bytes": segment.payload_bytes,
            "first_unix_ns": segment.appended_unix_ns.map(|(first, _)| first),
            "last_unix_ns": segment.appended_unix_ns.map(|(_, last)| last),
            "damaged_records": segment.damaged_records, "damaged_runs": segment.damaged_runs,
        })
    });
    let streams = inspection.streams.iter().map(|(name, end)| {
        json!({"stream": name, "next_offset": end.offset.0, "items": end.items, "payload_bytes": end.bytes})
    });
    let cursors = inspection.books.iter().map(|book| {
        json!({
            "stream": book.stream, "cursor": book.cursor, "offset": book.position.0.0, "balanced": book.balances(),
            "accepted_items": book.appended_items, "pending_records": book.pending_records,
            "pending_items": book.pending_items, "pending_bytes": book.pending_bytes,
            "settled_items": book.settled.iter().map(|(bucket, items)| (bucket.0.to_string(), *items))
                .collect::<std::collections::BTreeMap<_, _>>(),
        })
    });
    json!({
        "damaged": damage(inspection),
        "torn": inspection.recovery.torn,
        "maybe_twice_items": inspection.recovery.maybe_twice_items,
        "segments": segments.collect::<Vec<_>>(),
        "streams": streams.collect::<Vec<_>>(),
        "cursors": cursors.collect::<Vec<_>>(),
    })
}

fn time(unix_ns: u64) -> String {
    let at = clock::Calendar::from_unix_ns(unix_ns);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", at.year, at.month, at.day, at.hour, at.minute, at.second)
}

/// One line for each record: where it stands, and what it carries.
fn print(wanted: &RecordsArguments) -> anyhow::Result<ExitCode> {
    let now = clock::unix_ns();
    let moment = |text: &Option<String>, default| {
        text.as_deref().map_or(Ok(default), |text| moment::parse(text, now)).map_err(|error| anyhow!(error))
    };
    let (from, to) = (moment(&wanted.from, 0)?, moment(&wanted.to, u64::MAX)?);
    let mut left = wanted.limit.unwrap_or(u64::MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut result = Ok(());
    records(&wanted.place.open()?, |record| {
        let is_wanted = wanted.stream.as_ref().is_none_or(|stream| *stream == record.stream)
            && (from..=to).contains(&record.appended_at_unix_ns);
        if is_wanted && left > 0 {
            left -= 1;
            result = write_record(&mut out, &record);
        }
        left > 0 && result.is_ok()
    })
    .context("the journal cannot be read")?;
    // A reader that has enough, such as `head`, is no error.
    match result.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn write_record(out: &mut impl Write, record: &RecordView) -> std::io::Result<()> {
    let stream = serde_json::to_string(&record.stream)?;
    let (offset, segment, at, items) = (record.offset, record.segment, record.appended_at_unix_ns, record.items);
    write!(
        out,
        r#"{{"stream":{stream},"offset":{offset},"segment":{segment},"accepted_at_unix_ns":{at},"items":{items},"#
    )?;
    let mut payload = Vec::new();
    match decode(record) {
        Some(batch) => otlp::json::encode(&batch, &mut payload),
        None => payload.extend_from_slice(b"null"),
    }
    out.write_all(br#""payload":"#)?;
    out.write_all(&payload)?;
    out.write_all(b"}\n")
}

/// The batch of a record: its stream says which signal it is.
fn decode(record: &RecordView) -> Option<Batch> {
    let pipeline = record.stream.strip_prefix("dead_letters/").unwrap_or(&record.stream);
    let signal = Signal::ALL.into_iter().find(|signal| pipeline.split('/').next() == Some(signal.name()))?;
    Batch::parse(signal, record.payload.clone()?, &Limits::default()).ok()
}
