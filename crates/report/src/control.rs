//! A replica of the legacy side, and the noise that it shows.

use parity::{Control, Floor, Percent};
use serde::Serialize;

use crate::document::SideSummary;

/// Of so many subjects the noise is told to people, the loudest ones.
const FLOORS_MAX: usize = 5;

/// What there is to report of a control.
#[derive(Debug, Serialize)]
pub struct ControlSummary {
    /// The replica.
    #[serde(flatten)]
    pub side: SideSummary,
    /// What it came to.
    #[serde(flatten)]
    pub control: Control,
}

impl ControlSummary {
    /// What there is to say of the noise.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let Control { floors, withdrawn, unknown } = &self.control;
        let floor = |floor: &Floor| match floor.ratio {
            Some(ratio) => {
                format!("{}: the legacy side differs from its own replica by up to {}", floor.name, Percent(ratio))
            }
            None => format!("{}: between the legacy side and its replica, {}", floor.name, floor.sentence),
        };
        let counted = |count: u64, text: &str| (count > 0).then(|| format!("{text}: {count}"));
        let within = counted(*withdrawn, "differences within the noise, which are left open");
        let unheard = counted(*unknown, "subjects that differ and of which the control tells no noise");
        floors.iter().take(FLOORS_MAX).map(floor).chain(within).chain(unheard).collect()
    }
}
