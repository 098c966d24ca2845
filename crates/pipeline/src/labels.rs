//! Whose items they are: the ledger's accounts by service, and by metric where that is asked for.

use std::borrow::Cow;
use std::collections::HashMap;

use journal::{Journal, LabelId, Share, Shares, StreamId};
use otlp::Batch;
use otlp::view::{AnyValueView, ResourceLogsView, ResourceMetricsView, ResourceSpansView, ResourceView};
use parking_lot::RwLock;

/// What the ledger tells apart beside pipelines and exporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    Service,
    Metric,
}

impl By {
    /// How labels of this kind begin; the value follows.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            By::Service => "service.name=",
            By::Metric => "metric.name=",
        }
    }
}

/// So long is a name at most; longer ones are cut.
const NAME_BYTES_MAX: usize = 200;

/// So many names are remembered with their labels; beyond that, each is asked for anew.
const KNOWN_MAX: usize = 4096;

/// Counts the items of one pipeline's batches by label.
pub(crate) struct Labels {
    journal: Journal,
    stream: StreamId,
    by: Vec<By>,
    known: RwLock<HashMap<String, LabelId>>,
}

impl Labels {
    pub(crate) fn new(journal: Journal, stream: StreamId, by: &[By]) -> Labels {
        Labels { journal, stream, by: by.to_vec(), known: RwLock::default() }
    }

    pub(crate) fn shares(&self, batch: &Batch) -> Shares {
        let mut shares = Vec::new();
        if self.by.contains(&By::Service) {
            self.add_services(batch, &mut shares);
        }
        if self.by.contains(&By::Metric) {
            self.add_metrics(batch, &mut shares);
        }
        Shares::new(&shares)
    }

    fn add_services(&self, batch: &Batch, shares: &mut Vec<Share>) {
        if let Some(traces) = batch.traces() {
            let spans = |block: ResourceSpansView<'_>| block.scope_spans().map(|scope| scope.spans().count()).sum();
            let blocks = traces.resource_spans().map(|block| (block.resource(), move || spans(block)));
            self.add_each_service(batch.items(), blocks, shares);
        }
        if let Some(metrics) = batch.metrics() {
            let metrics_of = |block: ResourceMetricsView<'_>| {
                block.scope_metrics().flat_map(|scope| scope.metrics()).map(|metric| metric.data().points()).sum()
            };
            let blocks = metrics.resource_metrics().map(|block| (block.resource(), move || metrics_of(block)));
            self.add_each_service(batch.items(), blocks, shares);
        }
        if let Some(logs) = batch.logs() {
            let records =
                |block: ResourceLogsView<'_>| block.scope_logs().map(|scope| scope.log_records().count()).sum();
            let blocks = logs.resource_logs().map(|block| (block.resource(), move || records(block)));
            self.add_each_service(batch.items(), blocks, shares);
        }
    }

    fn add_each_service<'a>(
        &self,
        items: u32,
        blocks: impl Iterator<Item = (ResourceView<'a>, impl Fn() -> usize)>,
        shares: &mut Vec<Share>,
    ) {
        let mut blocks = blocks.peekable();
        let mut first = true;
        while let Some((resource, count)) = blocks.next() {
            // Most requests have one resource, whose items need no counting.
            let alone = first && blocks.peek().is_none();
            let items = if alone { items } else { u32::try_from(count()).unwrap_or(u32::MAX) };
            first = false;
            let service = resource.attributes().get("service.name").map_or(Cow::Borrowed(""), AnyValueView::to_text);
            self.add(By::Service, &service, items, shares);
        }
    }

    fn add_metrics(&self, batch: &Batch, shares: &mut Vec<Share>) {
        let Some(metrics) = batch.metrics() else { return };
        for metric in metrics.resource_metrics().flat_map(|r| r.scope_metrics()).flat_map(|scope| scope.metrics()) {
            let points = u32::try_from(metric.data().points()).unwrap_or(u32::MAX);
            self.add(By::Metric, metric.name(), points, shares);
        }
    }

    fn add(&self, by: By, name: &str, items: u32, shares: &mut Vec<Share>) {
        if items == 0 {
            return;
        }
        let label = self.label(by, name);
        match shares.iter_mut().rev().take(64).find(|share| share.label == label) {
            Some(share) => share.items = share.items.saturating_add(items),
            None => shares.push(Share { label, items }),
        }
    }

    fn label(&self, by: By, name: &str) -> LabelId {
        let label = format!("{}{}", by.prefix(), cut(name));
        if let Some(id) = self.known.read().get(&label) {
            return *id;
        }
        let id = self.journal.label(self.stream, &label);
        let mut known = self.known.write();
        if known.len() < KNOWN_MAX {
            known.insert(label, id);
        }
        id
    }
}

fn cut(name: &str) -> &str {
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    &name[..end]
}
