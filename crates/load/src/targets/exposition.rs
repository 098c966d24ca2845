//! What a target exposes: families of series whose values are sequence numbers.

use prom::text::{FamilyKind, Format, SampleToWrite, Writer};

use crate::identity::{RUN_LABEL, RunId, WORKER_LABEL, WorkerId};

/// The bounds of all histograms, without the infinite one.
const BOUNDS: [(&str, u64); 8] =
    [("0.005", 1), ("0.01", 2), ("0.025", 3), ("0.05", 4), ("0.1", 5), ("0.25", 6), ("0.5", 7), ("1.0", 8)];
/// Samples of one histogram: its buckets, the infinite one included, the sum and the count.
pub(super) const HISTOGRAM_SAMPLES: u32 = BOUNDS.len() as u32 + 3;

/// One metric of a target.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// The name of its samples, without the suffixes of a histogram's.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// The labels of each series beside the identity.
    pub(crate) series: Vec<Vec<(&'static str, String)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The pages of one target.
///
/// The series are numbered through all families. On page `n`, from 0 on, series `i` of `k` has the value `n * k + i + 1`,
/// of a histogram as its count. So every value occurs once, every counter rises, and a page that got lost leaves a gap.
#[derive(Clone, Debug)]
pub(crate) struct Exposition {
    pub(crate) run: RunId,
    pub(crate) worker: WorkerId,
    pub(crate) families: Vec<Family>,
    /// After so many pages a series ends and another one begins, not all at once; never, if absent.
    pub(crate) lifetime_pages: Option<u32>,
}

impl Exposition {
    /// How many series have an identity: each counter, gauge and histogram.
    pub(crate) fn identities(&self) -> u64 {
        self.families.iter().map(|family| family.series.len() as u64).sum()
    }

    /// Renders a page.
    pub(crate) fn render(&self, page: u64, format: Format) -> Vec<u8> {
        let (run, worker) = (self.run.to_hex(), self.worker.to_hex());
        let text = |hex| std::str::from_utf8(hex).unwrap_or_default();
        let who = [(RUN_LABEL, text(&run)), (WORKER_LABEL, text(&worker))];
        let identities = self.identities();
        let mut writer = Writer::new(format);
        let mut index = 0;
        for family in &self.families {
            writer.family(&family.name, family.kind.family_kind(), family.help, "");
            for labels in &family.series {
                let generation =
                    self.lifetime_pages.map(|pages| ((page + index) / u64::from(pages.max(1))).to_string());
                let generation = generation.as_deref().map(|generation| ("generation", generation));
                let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(generation).chain(who);
                write_series(&mut writer, family, page * identities + index + 1, labels);
                index += 1;
            }
        }
        writer.finish()
    }
}

impl Kind {
    fn family_kind(self) -> FamilyKind {
        match self {
            Kind::Counter => FamilyKind::Counter,
            Kind::Gauge => FamilyKind::Gauge,
            Kind::Histogram => FamilyKind::Histogram,
        }
    }
}

fn write_series<'l>(
    writer: &mut Writer,
    family: &Family,
    sequence: u64,
    labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
) {
    let value = sequence as f64;
    if family.kind != Kind::Histogram {
        writer.sample(&SampleToWrite::new(&family.name, value), labels);
        return;
    }
    let bucket = format!("{}_bucket", family.name);
    for (bound, share) in BOUNDS {
        // A share of the count neither falls from bucket to bucket nor from page to page.
        let below = (sequence * share / (BOUNDS.len() as u64 + 1)) as f64;
        let sample = SampleToWrite { last_label: Some(("le", bound)), ..SampleToWrite::new(&bucket, below) };
        writer.sample(&sample, labels.clone());
    }
    let sample = SampleToWrite { last_label: Some(("le", "+Inf")), ..SampleToWrite::new(&bucket, value) };
    writer.sample(&sample, labels.clone());
    writer.sample(&SampleToWrite::new(&format!("{}_sum", family.name), value / 8.0), labels.clone());
    writer.sample(&SampleToWrite::new(&format!("{}_count", family.name), value), labels);
}

/// Families with so many samples altogether: about half of them of histograms, a quarter each of counters and gauges.
pub(super) fn families(samples: u32, seed: u64) -> Vec<Family> {
    const SERIES_PER_FAMILY: u32 = 50;
    const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
    let histograms = samples / 2 / HISTOGRAM_SAMPLES;
    let counters = samples / 4;
    let gauges = samples - histograms * HISTOGRAM_SAMPLES - counters;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut families = Vec::new();
    for (kind, series, name, help) in [
        (Kind::Counter, counters, "load_target_requests_{}_total", "Requests that were served."),
        (Kind::Gauge, gauges, "load_target_connections_{}", "Connections that are open."),
        (Kind::Histogram, histograms, "load_target_request_duration_{}_seconds", "How long requests took."),
    ] {
        for (number, first) in (0..series).step_by(SERIES_PER_FAMILY as usize).enumerate() {
            let series = (first..series.min(first + SERIES_PER_FAMILY)).map(|index| {
                let method = METHODS[rng.usize(..METHODS.len())].to_owned();
                vec![("method", method), ("path", format!("/api/v1/resource/{index:06}"))]
            });
            let series = series.collect();
            families.push(Family { name: name.replace("{}", &format!("{number:03}")), kind, help, series });
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prom::text::{Entry, Limits, Parser};

    use super::*;
    use crate::identity::Identity;

    fn exposition(samples: u32, lifetime_pages: Option<u32>) -> Exposition {
        Exposition { run: RunId(7), worker: WorkerId(3), families: families(samples, 1), lifetime_pages }
    }

    /// The samples of a page: name and labels, and value.
    fn parse(page: &[u8], format: Format) -> BTreeMap<String, f64> {
        let mut parser = Parser::new(format, page, Limits::default());
        let mut found = BTreeMap::new();
        while let Some(entry) = parser.next_entry().unwrap() {
            if let Entry::Sample(sample) = entry {
                let series = String::from_utf8(sample.series.to_vec()).unwrap();
                assert!(found.insert(series, sample.value).is_none());
            }
        }
        found
    }

    fn check(samples: u32, format: Format) {
        let exposition = exposition(samples, None);
        let before = parse(&exposition.render(0, format), format);
        let after = parse(&exposition.render(1, format), format);
        assert_eq!(before.len() as u32, samples);
        assert!(before.keys().eq(after.keys()));
        for ((name, before), after) in before.iter().zip(after.values()) {
            assert!(before <= after, "{name}");
        }
        let identities = |page: &BTreeMap<String, f64>| {
            let own = page.iter().filter(|(name, _)| !name.contains("_bucket") && !name.contains("_sum"));
            let mut sequences: Vec<_> = own
                .filter_map(|(_, value)| Identity::of_point(b"00000007", b"0003", *value))
                .map(|identity| identity.sequence)
                .collect();
            sequences.sort_unstable();
            sequences
        };
        let count = exposition.identities();
        assert!(identities(&before).into_iter().eq(1..=count));
        assert!(identities(&after).into_iter().eq(count + 1..=2 * count));
    }

    #[test]
    fn a_page_has_as_many_samples_as_asked_for_and_every_value_once() {
        for samples in [1, 3, 20, 1000, 5003] {
            check(samples, Format::Text);
            check(samples, Format::OpenMetrics);
        }
    }

    #[test]
    fn series_end_and_begin_a_few_at_a_time() {
        let exposition = exposition(1000, Some(10));
        let page = |number| parse(&exposition.render(number, Format::Text), Format::Text);
        let (before, after) = (page(4), page(5));
        let kept = before.keys().filter(|name| after.contains_key(*name)).count();
        assert!((850..=950).contains(&kept), "{kept}");
        assert_eq!(page(4), before);
    }
}
