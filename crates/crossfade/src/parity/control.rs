//! A replica of the legacy side, compared with the legacy side while both are read: the noise.

use anyhow::anyhow;
use http::HeaderMap;
use otlp::Batch;
use parity::{Comparator, NewSide, Report, Settings, Side};
use report::ControlSummary;

use super::ParityArguments;
use super::compare::{Bar, Seen, Windows, windows};
use super::place::{Place, headers_of};
use super::settings::Asked;
use super::source::{Manner, Sources};
use super::window::cut;

/// Compares the legacy side with its replica.
pub(super) struct Control {
    comparator: Comparator,
    windows: Windows,
    /// What was taken in of the replica.
    seen: Seen,
}

/// Opens what stands for the replica, which is of the kind of the legacy side.
pub(super) fn open(
    arguments: &ParityArguments,
    legacy: &Sources,
    manner: Manner,
    bar: &Bar,
) -> anyhow::Result<Option<Sources>> {
    if arguments.control.is_empty() {
        return Ok(None);
    }
    let with = |place: &Place| match place {
        Place::Recording(_) => (place.clone(), HeaderMap::new()),
        Place::Backend(kind, _) => (place.clone(), headers_of(*kind, &arguments.control_header)),
    };
    let places: Vec<(Place, HeaderMap)> = arguments.control.iter().map(with).collect();
    // It answers in the words of the legacy side.
    let replica = Sources::open(Side::Legacy, &places, manner, bar)?;
    match (legacy.is_recorded(), replica.is_recorded()) {
        (true, false) => Err(anyhow!("--control must be a recording, since --legacy is one")),
        (false, true) => Err(anyhow!("--control must be a backend, since --legacy is one")),
        _ => Ok(Some(replica)),
    }
}

impl Control {
    /// What two recordings have in common is compared, whatever the new side has; backends are asked the same.
    pub(super) fn new(
        [legacy, replica]: [&Sources; 2],
        (arguments, asked): (&ParityArguments, &Asked),
        of_sides: &Windows,
        mut settings: Settings,
    ) -> anyhow::Result<Control> {
        settings.metrics.names.new_side = NewSide::LegacyReplica;
        let windows = match replica.is_recorded() {
            true => windows([legacy, replica], arguments, asked)?.0,
            false => of_sides.clone(),
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
    pub(super) fn finish(mut self, report: Report, source: String) -> (Report, Option<ControlSummary>) {
        let (report, control) = report.against(&self.comparator.finish());
        (report, Some(ControlSummary { side: self.seen.summary(source), control }))
    }
}
