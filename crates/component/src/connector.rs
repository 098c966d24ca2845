//! What joins two pipelines.

use std::collections::BTreeMap;
use std::sync::Arc;

use otlp::Signal;

use crate::exporter::Exporter;
use crate::intake::Intake;

/// The ways into the pipelines that name the connector as a receiver, by signal.
pub type Outputs = BTreeMap<Signal, Intake>;

/// The exporter of one pipeline and the receiver of another. It reads the first one's journal with a cursor of its own,
/// so that a refusal of the second only lags that cursor.
pub trait Connector: Send {
    /// The side that the first pipeline sees.
    fn exporter(&self, outputs: Outputs) -> Arc<dyn Exporter>;
}
