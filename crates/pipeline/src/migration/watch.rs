//! The comparison of a running process: it reads the tap, judges now and then, and publishes what it found.

use std::sync::Arc;
use std::time::Duration;

use component::{Stop, clock};
use journal::{Cursor, Read, ReadLimit, Record, Settlement};
use parity::{ChartBounds, Charts, Comparator, Delivered, Depths, Report};

use super::scraped::without_scrapes;
use super::tap::{Tap, tapped};
use super::{Parity, Taken, Verdicts};
use crate::ledger::{Ledger, Line};

/// So much is compared before anything else gets its turn.
const READ: ReadLimit = ReadLimit { records_max: 256, items_enough: 50_000, bytes_max: 4 << 20 };
/// What is newer than this is not judged, where the configuration says nothing of it: other sides may still send it.
const SETTLE: Duration = Duration::from_secs(120);

/// The comparison ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("the comparison ended: {0}")]
struct Ended(String);

/// What the comparison holds between two reads.
struct Watching {
    comparator: Comparator,
    parity: Parity,
    taken: [Taken; 2],
    since_unix_ns: u64,
}

impl Watching {
    fn begin(parity: &Parity) -> Watching {
        let comparison = &parity.migration().comparison;
        *parity.0.charts.lock() = Charts::default();
        let mut settings = comparison.settings(SETTLE);
        settings.metrics.charts = ChartBounds::FEW;
        Watching {
            comparator: Comparator::new(settings),
            parity: parity.clone(),
            taken: Default::default(),
            since_unix_ns: clock::unix_ns(),
        }
    }

    fn observe(&mut self, records: &[Record]) {
        for (record, tapped) in records.iter().filter_map(|record| Some((record, tapped(record)?))) {
            self.comparator.observe(tapped.side, &tapped.batch);
            self.taken[tapped.side as usize].add(&tapped.batch, record.appended_at_unix_ns);
        }
    }

    fn close(&mut self) -> Option<Report> {
        if !self.parity.migration().compares_sources() {
            return None;
        }
        let report = without_scrapes(self.comparator.close());
        *self.parity.0.charts.lock() = self.comparator.charts();
        Some(report)
    }

    /// Work of the comparison: it computes for long and belongs on no thread that serves connections.
    async fn work<T: Send + 'static>(
        mut self,
        does: impl FnOnce(&mut Watching) -> T + Send + 'static,
    ) -> Result<(Watching, T), Ended> {
        let worked = tokio::task::spawn_blocking(move || {
            let started = clock::mono();
            let result = does(&mut self);
            self.parity.0.was_busy(started.elapsed());
            (self, result)
        });
        worked.await.map_err(|error| Ended(error.to_string()))
    }
}

/// Compares until it is asked to stop. What goes wrong here ends the comparison, and nothing that is delivered.
pub(crate) async fn watch(parity: Parity, (tap, cursor): (Tap, Cursor), ledger: Ledger, stop: Stop) {
    if let Err(error) = compare(&parity, (&tap, cursor), ledger, stop).await {
        tracing::error!(%error, "parity: please report this; data is delivered as before");
        parity.ended(error.to_string());
    }
    tap.close();
}

async fn compare(parity: &Parity, (tap, mut cursor): (&Tap, Cursor), ledger: Ledger, stop: Stop) -> Result<(), Ended> {
    let mut watching = Watching::begin(parity);
    let mut judging = tokio::time::interval(parity.migration().every);
    judging.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed_items = 0;
    loop {
        tokio::select! {
            () = stop.requested() => return Ok(()),
            _ = judging.tick() => {
                let report;
                (watching, report) = watching.work(Watching::close).await?;
                let (taken, since_unix_ns) = (watching.taken, watching.since_unix_ns);
                parity.publish(report, &ledger, taken, since_unix_ns);
            }
            read = cursor.next(READ) => match read {
                Read::Records(records) => {
                    let items = records.iter().map(|record| u64::from(record.items)).sum();
                    let records: Arc<[Record]> = records.into();
                    let shared = Arc::clone(&records);
                    (watching, ()) = watching.work(move |watching| watching.observe(&shared)).await?;
                    // What it has read it accounts for: nothing else has a hold of it.
                    let _ = cursor.settle(&records, &Settlement::all("compared", items));
                }
                Read::Gap { items, .. } => watching = begin_anew(parity, items),
                Read::Closed => return Ok(()),
            }
        }
        let missed = std::mem::replace(&mut missed_items, tap.missed_items());
        if missed_items > missed {
            watching = begin_anew(parity, missed_items - missed);
        }
    }
}

/// What the comparison did not see would look like a loss: it begins anew.
fn begin_anew(parity: &Parity, items: u64) -> Watching {
    parity.0.has_missed(items);
    tracing::warn!(
        items,
        "parity: more came than was compared in time, and the comparison begins anew; \
         set `migration.parity.sample` lower or `migration.parity.buffer` higher"
    );
    Watching::begin(parity)
}

impl Parity {
    /// What was judged before is no verdict of now.
    fn ended(&self, note: String) {
        let report = Depths::default().together(&self.migration().comparison.demand);
        let at_unix_ns = clock::unix_ns();
        let taken = Default::default();
        let verdicts = Verdicts { at_unix_ns, since_unix_ns: at_unix_ns, report, taken, notes: vec![note] };
        *self.0.verdicts.write() = Some(Arc::new(verdicts));
    }

    /// Puts what is known at each depth together.
    fn publish(&self, source: Option<Report>, ledger: &Ledger, taken: [Taken; 2], since_unix_ns: u64) {
        let lines: Vec<Line> = ledger.lines().into_iter().filter(|line| line.is_configured).collect();
        let delivery = lines.iter().filter_map(|line| self.delivered(line, &lines)).collect();
        let answer = self.0.answer.lock().clone();
        let depths = Depths { source, delivery, answer: answer.report };
        let report = depths.together(&self.migration().comparison.demand);
        let notes = answer.notes;
        let verdicts = Verdicts { at_unix_ns: clock::unix_ns(), since_unix_ns, report, taken, notes };
        *self.0.verdicts.write() = Some(Arc::new(verdicts));
    }

    fn delivered(&self, line: &Line, all: &[Line]) -> Option<Delivered> {
        let side = self.migration().side_of_exporter(&line.exporter)?;
        let is_it = |other: &&Line| other.exporter == line.exporter && other.signal == line.signal;
        let several = all.iter().filter(is_it).count() > 1;
        let exporter = if several { format!("{} of {}", line.exporter, line.pipeline) } else { line.exporter.clone() };
        Some(Delivered {
            side,
            signal: line.signal,
            exporter,
            accepted: line.accepted,
            rejected: line.rejected.clone(),
            dropped: line.dropped.clone(),
            pending: line.pending,
        })
    }
}
