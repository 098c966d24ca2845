//! Lines to a batch.

use otlp::Batch;

use super::line::{Line, LineError};
use super::path::{Parser, Path, PathKind};
use crate::lines::gather::{Attributes, Gathered, Gatherer, Kind, Scope, Value};

/// Puts lines together as a batch.
#[derive(Debug)]
pub struct Reader<'a> {
    parser: &'a Parser,
    gatherer: Gatherer,
}

impl<'a> Reader<'a> {
    /// Of no lines yet.
    pub fn new(parser: &'a Parser) -> Self {
        Reader { parser, gatherer: Gatherer::default() }
    }

    /// Adds the sample of a line, without its end. `now_unix_ns` is the time of samples that say none.
    ///
    /// # Errors
    /// [`LineError`]: the line is no sample, and nothing of it was added.
    pub fn line(&mut self, line: &[u8], now_unix_ns: u64) -> Result<(), LineError> {
        let Line { path, value, time_unix_ns } = Line::parse(line)?;
        let Path { name, attributes, kind } = self.parser.parse(path)?;
        let kind = match kind {
            PathKind::Gauge => Kind::Gauge,
            PathKind::Cumulative => Kind::Sum,
        };
        let time_unix_ns = time_unix_ns.unwrap_or(now_unix_ns);
        let point = Gathered { attributes, start_unix_ns: 0, time_unix_ns, value: Value::Number(value) };
        self.gatherer.add(Attributes::new(), Scope::default(), name, kind, point);
        Ok(())
    }

    /// The samples so far.
    pub fn items(&self) -> u32 {
        self.gatherer.items()
    }

    /// The batch.
    pub fn finish(self) -> Batch {
        self.gatherer.finish()
    }
}
