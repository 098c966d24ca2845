//! Names, labels and types by statsd_exporter's mapping files.

use std::collections::HashMap;
use std::sync::Arc;

use config::Errors;

use super::line::StatsdType;
use super::series::{SeriesBuilder, Shape};

/// The mappings of a file.
#[derive(Debug, Default)]
pub struct Mappings {}

/// What is done with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Map,
    Drop,
}

/// What a mapping makes of a name.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) action: Action,
    pub(super) name: Box<str>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) shape: Option<Shape>,
    pub(super) help: Option<Arc<str>>,
}

impl Mappings {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn parse(file_name: &str, text: &str) -> Result<Mappings, Errors> {
        let _ = (file_name, text);
        Ok(Mappings {})
    }
}

impl Mapped {
    pub(super) fn scale(&self, _statsd_type: StatsdType) -> f64 {
        1.0
    }

    pub(super) fn apply<'a>(&'a self, series: &mut SeriesBuilder<'a>, _statsd_type: StatsdType) {
        series.name = (&*self.name).into();
        series.description.clone_from(&self.help);
        let labels = self.labels.iter().map(|(key, value)| (key.into(), value.into()));
        series.attributes.extend(labels);
    }
}

/// What names were mapped to.
#[derive(Debug)]
pub(super) struct MappingCache {
    names: HashMap<(StatsdType, String), Mapped>,
}

impl MappingCache {
    pub(super) fn new() -> MappingCache {
        MappingCache { names: HashMap::new() }
    }

    pub(super) fn find(&mut self, _mappings: &Mappings, name: &str, statsd_type: StatsdType) -> &Mapped {
        self.names.entry((statsd_type, name.to_owned())).or_insert_with(|| Mapped {
            action: Action::Map,
            name: name.into(),
            labels: Vec::new(),
            shape: None,
            help: None,
        })
    }
}
