//! What a target says of its metric families, and to which family a series belongs.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::labels::LabelSet;
use crate::text::FamilyKind;

/// What a target says of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyMeta {
    /// Its type.
    pub kind: FamilyKind,
    /// What it means.
    pub help: Cow<'static, str>,
    /// Its unit, in Prometheus' words (`seconds`).
    pub unit: Cow<'static, str>,
}

/// The metric families of one target, kept over scrapes: the staleness marker of a series is written after the target
/// has stopped to describe it.
#[derive(Debug, Default)]
pub struct Families {
    by_name: HashMap<String, Entry, RandomState>,
    scrape: u32,
}

#[derive(Debug)]
struct Entry {
    meta: FamilyMeta,
    seen_in: u32,
}

impl Entry {
    fn size_bytes(&self, name: &str) -> usize {
        name.len() + self.meta.help.len() + self.meta.unit.len() + size_of::<(String, Entry)>()
    }
}

/// After so many scrapes without a word about it a family is forgotten, as Prometheus does.
const SCRAPES_KEPT: u32 = 10;

/// Beyond so much only the families of the last scrape are kept: a target may make up new ones each time.
const SIZE_BYTES_MAX: usize = 8 << 20;

impl Families {
    /// Starts a scrape, and forgets what was not mentioned for a while.
    pub fn start_scrape(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
        let scrape = self.scrape;
        let mut size_bytes = 0;
        self.by_name.retain(|name, entry| {
            let stays = scrape.wrapping_sub(entry.seen_in) <= SCRAPES_KEPT;
            size_bytes += if stays { entry.size_bytes(name) } else { 0 };
            stays
        });
        if size_bytes > SIZE_BYTES_MAX {
            self.by_name.retain(|_, entry| scrape.wrapping_sub(entry.seen_in) <= 1);
        }
    }

    /// Notes a `# TYPE` line.
    pub fn set_kind(&mut self, family: &str, kind: FamilyKind) {
        self.entry(family).kind = kind;
    }

    /// Notes a `# HELP` line.
    pub fn set_help(&mut self, family: &str, help: &str) {
        let meta = self.entry(family);
        if meta.help != help {
            meta.help = Cow::Owned(help.to_owned());
        }
    }

    /// Notes a `# UNIT` line.
    pub fn set_unit(&mut self, family: &str, unit: &str) {
        let meta = self.entry(family);
        if meta.unit != unit {
            meta.unit = Cow::Owned(unit.to_owned());
        }
    }

    /// What is known of a family.
    pub fn get(&self, family: &str) -> Option<&FamilyMeta> {
        self.by_name.get(family).map(|entry| &entry.meta)
    }

    /// How many families are known.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether no family is known.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The type of the family that a metric name belongs to.
    pub fn kind_of(&self, metric_name: &str) -> FamilyKind {
        let by_name = |name: &str| self.get(name).map(|meta| meta.kind);
        by_name(metric_name).or_else(|| by_name(stem_and_suffix(metric_name)?.0)).unwrap_or_default()
    }

    fn entry(&mut self, family: &str) -> &mut FamilyMeta {
        let scrape = self.scrape;
        let fresh = || Entry { meta: FamilyMeta::default(), seen_in: scrape };
        let entry = self.by_name.entry_ref(family).or_insert_with(fresh);
        entry.seen_in = scrape;
        &mut entry.meta
    }

    /// To which family a series belongs, and as what.
    pub(super) fn membership<'s>(&'s self, metric_name: &'s str, labels: &LabelSet) -> Membership<'s> {
        if let Some(meta) = report_family(metric_name) {
            return Membership { family: metric_name, kind: PointKind::Gauge, role: Role::Value, meta: Some(meta) };
        }
        let alone = |meta, kind| Membership { family: metric_name, kind, role: Role::Value, meta };
        if let Some(meta) = self.get(metric_name) {
            return match meta.kind {
                FamilyKind::Counter => alone(Some(meta), PointKind::Counter),
                FamilyKind::Info | FamilyKind::StateSet => alone(Some(meta), PointKind::NonMonotonicSum),
                FamilyKind::Gauge | FamilyKind::Unknown | FamilyKind::GaugeHistogram => {
                    alone(Some(meta), PointKind::Gauge)
                }
                FamilyKind::Summary => match boundary(labels, "quantile") {
                    Some(quantile) => {
                        let role = Role::Quantile(quantile);
                        Membership { family: metric_name, kind: PointKind::Summary, role, meta: Some(meta) }
                    }
                    None => alone(None, PointKind::Gauge),
                },
                // A histogram has no series of its bare name; what is there anyway is of no known type.
                FamilyKind::Histogram => alone(None, PointKind::Gauge),
            };
        }
        self.member_by_suffix(metric_name, labels).unwrap_or_else(|| alone(None, PointKind::Gauge))
    }

    fn member_by_suffix<'s>(&'s self, metric_name: &'s str, labels: &LabelSet) -> Option<Membership<'s>> {
        let (stem, suffix) = stem_and_suffix(metric_name)?;
        let meta = self.get(stem)?;
        let (family, kind, role) = match (meta.kind, suffix) {
            // A counter is called as it is exposed; its stem is what it shares with `_created`.
            (FamilyKind::Counter, "_total") => (stem, PointKind::Counter, Role::Value),
            (FamilyKind::Counter, "_created") => (stem, PointKind::Counter, Role::Created),
            (FamilyKind::Histogram, "_bucket") => (stem, PointKind::Histogram, Role::Bucket(boundary(labels, "le")?)),
            (FamilyKind::Histogram, "_count") => (stem, PointKind::Histogram, Role::Count),
            (FamilyKind::Histogram, "_sum") => (stem, PointKind::Histogram, Role::Sum),
            (FamilyKind::Histogram, "_created") => (stem, PointKind::Histogram, Role::Created),
            (FamilyKind::Summary, "_count") => (stem, PointKind::Summary, Role::Count),
            (FamilyKind::Summary, "_sum") => (stem, PointKind::Summary, Role::Sum),
            (FamilyKind::Summary, "_created") => (stem, PointKind::Summary, Role::Created),
            (FamilyKind::Info, "_info") => (metric_name, PointKind::NonMonotonicSum, Role::Value),
            (FamilyKind::GaugeHistogram, "_bucket" | "_gcount" | "_gsum" | "_count" | "_sum") => {
                (metric_name, PointKind::Gauge, Role::Value)
            }
            _ => return None,
        };
        Some(Membership { family, kind, role, meta: Some(meta) })
    }
}

/// What becomes of the series of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PointKind {
    Gauge,
    Counter,
    NonMonotonicSum,
    Histogram,
    Summary,
}

/// What a series is in its data point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Value,
    Created,
    Bucket(f64),
    Count,
    Sum,
    Quantile(f64),
}

/// A series' place in its family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership<'s> {
    pub(super) family: &'s str,
    pub(super) kind: PointKind,
    pub(super) role: Role,
    pub(super) meta: Option<&'s FamilyMeta>,
}

fn stem_and_suffix(metric_name: &str) -> Option<(&str, &str)> {
    const SUFFIXES: [&str; 8] = ["_bucket", "_count", "_sum", "_total", "_info", "_created", "_gcount", "_gsum"];
    let at = metric_name.rfind('_').filter(|at| *at > 0)?;
    let (stem, suffix) = metric_name.split_at(at);
    SUFFIXES.contains(&suffix).then_some((stem, suffix))
}

fn boundary(labels: &LabelSet, name: &str) -> Option<f64> {
    let boundary = crate::text::parse_float(labels.get(name)?.as_bytes())?;
    (!boundary.is_nan()).then_some(boundary)
}

/// The series that a scraper adds for each target.
fn report_family(metric_name: &str) -> Option<&'static FamilyMeta> {
    if metric_name != "up" && !metric_name.starts_with("scrape_") {
        return None;
    }
    const fn gauge(help: &'static str, unit: &'static str) -> FamilyMeta {
        FamilyMeta { kind: FamilyKind::Gauge, help: Cow::Borrowed(help), unit: Cow::Borrowed(unit) }
    }
    static UP: FamilyMeta = gauge("The scraping was successful", "");
    static DURATION: FamilyMeta = gauge("Duration of the scrape", "seconds");
    static SCRAPED: FamilyMeta = gauge("The number of samples the target exposed", "");
    static ADDED: FamilyMeta = gauge("The approximate number of new series in this scrape", "");
    static AFTER: FamilyMeta = gauge("The number of samples remaining after metric relabeling was applied", "");
    static TIMEOUT: FamilyMeta = gauge("The configured scrape timeout of the target", "seconds");
    static LIMIT: FamilyMeta = gauge("The configured limit of samples of the target, 0 for none", "");
    static BODY: FamilyMeta = gauge("The uncompressed size of the last scrape response", "bytes");
    Some(match metric_name {
        "up" => &UP,
        "scrape_duration_seconds" => &DURATION,
        "scrape_samples_scraped" => &SCRAPED,
        "scrape_series_added" => &ADDED,
        "scrape_samples_post_metric_relabeling" => &AFTER,
        "scrape_timeout_seconds" => &TIMEOUT,
        "scrape_sample_limit" => &LIMIT,
        "scrape_body_size_bytes" => &BODY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The families that are known after a target made up `count` new ones, with a help of this size, in each scrape.
    fn known(scrapes: usize, count: usize, help_bytes: usize) -> usize {
        let mut families = Families::default();
        let help = "x".repeat(help_bytes);
        for scrape in 0..scrapes {
            families.start_scrape();
            (0..count).for_each(|index| families.set_help(&format!("f_{scrape}_{index}"), &help));
        }
        families.start_scrape();
        families.len()
    }

    #[test]
    fn families_are_kept_for_ten_scrapes() {
        assert_eq!(known(30, 5, 10), 5 * SCRAPES_KEPT as usize);
    }

    #[test]
    fn a_flood_of_families_is_kept_for_one_scrape() {
        assert_eq!(known(12, 100, 100_000), 100);
    }
}
