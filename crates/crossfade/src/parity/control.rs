//! A replica of the legacy side, compared with the legacy side while both are read: the noise.

use anyhow::anyhow;
use otlp::Batch;
use parity::{Comparator, NewSide, Report, Settings, Side};
use report::ControlSummary;

use super::ParityArguments;
use super::compare::{Bar, Seen, Source, Windows, windows};
use super::settings::Asked;
use super::window::cut;

/// Compares the legacy side with its replica.
pub(super) struct Control {
    comparator: Comparator,
    windows: Windows,
    /// What was taken in of the replica.
    seen: Seen,
}

/// Opens what stands for the replica, which is of the kind of the legacy side.
pub(super) fn open(arguments: &ParityArguments, legacy: &Source, bar: &Bar) -> anyhow::Result<Option<Source>> {
    let Some(place) = &arguments.control else { return Ok(None) };
    // It answers in the words of the legacy side.
    let replica = Source::open(Side::Legacy, place, &arguments.control_header, bar)?;
    match (legacy, &replica) {
        (Source::Recording(_), Source::Recording(_)) | (Source::Backend(_), Source::Backend(_)) => Ok(Some(replica)),
        (Source::Recording(_), _) => Err(anyhow!("--control must be a recording, since --legacy is one")),
        (Source::Backend(_), _) => Err(anyhow!("--control must be a backend, since --legacy is one")),
    }
}

impl Control {
    /// What two recordings have in common is compared, whatever the new side has; backends are asked the same.
    pub(super) fn new(
        (legacy, replica): (&Source, &Source),
        (arguments, asked): (&ParityArguments, &Asked),
        of_sides: &Windows,
        mut settings: Settings,
    ) -> anyhow::Result<Control> {
        settings.metrics.names.new_side = NewSide::LegacyReplica;
        let windows = match replica {
            Source::Recording(_) => windows([legacy, replica], arguments, asked)?.0,
            Source::Backend(_) => of_sides.clone(),
        };
        Ok(Control { comparator: Comparator::new(settings), windows, seen: Seen::default() })
    }

    pub(super) fn observe(&mut self, side: Side, batch: Batch) {
        let Some(window) = self.windows.get(&batch.signal()) else { return };
        let batch = cut(batch, *window);
        if batch.items() == 0 {
            return;
        }
        if side == Side::New {
            self.seen.add(&batch);
        }
        self.comparator.observe(side, &batch);
    }

    pub(super) fn close(&mut self) {
        self.comparator.close();
    }

    /// Takes back what is no more than noise.
    pub(super) fn finish(mut self, report: Report, source: String) -> (Report, ControlSummary) {
        let (report, control) = report.against(&self.comparator.finish());
        (report, ControlSummary { side: self.seen.summary(source), control })
    }
}
