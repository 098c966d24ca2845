//! Sets of series: what one side has and the other has not, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::halves::Halves;
use crate::metrics::{Identity, Known};
use crate::verdict::{Cause, Finding, Side};

/// When a side was seen to have a series, in words of 32 bits: there are many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Presence {
    first_unix_ns: Halves,
    last_unix_ns: Halves,
    /// No more than matters.
    seen: u8,
}

/// A series that was there so often is no passing one.
const LASTING_MIN: u8 = 5;

impl Presence {
    pub(crate) fn see(&mut self, time_unix_ns: u64) {
        if self.seen == 0 {
            self.first_unix_ns = Halves::of(time_unix_ns);
        }
        let last_unix_ns = self.last_unix_ns();
        if time_unix_ns != last_unix_ns {
            self.seen = (self.seen + 1).min(LASTING_MIN);
        }
        self.last_unix_ns = Halves::of(last_unix_ns.max(time_unix_ns));
    }

    /// Never seen.
    pub(crate) fn is_new(&self) -> bool {
        self.seen == 0
    }

    pub(crate) fn last_unix_ns(&self) -> u64 {
        self.last_unix_ns.whole()
    }

    /// Seen more than now and then.
    pub(crate) fn is_lasting(&self) -> bool {
        self.seen >= LASTING_MIN
    }

    /// Seen in at least two intervals that are sealed: not only passing by.
    pub(crate) fn is_settled(&self, watermark_unix_ns: u64) -> bool {
        self.seen >= 2 && self.first_unix_ns.whole() < watermark_unix_ns && self.first_unix_ns != self.last_unix_ns
    }
}

/// A difference between the sets of series of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct SetFinding {
    /// What it is.
    pub finding: Finding,
    /// How many series it concerns.
    pub series: u64,
    /// Some of them.
    pub examples: Vec<Identity>,
}

const EXAMPLES_MAX: usize = 5;

/// Compares the series of one metric, of which those of each side have these labels.
pub(crate) fn compare_sets<'a>(
    series: impl Iterator<Item = (Known<'a>, &'a [Presence; 2])>,
    keys: &[BTreeSet<&str>; 2],
    watermark_unix_ns: u64,
) -> Vec<SetFinding> {
    let mut only: [Vec<Known<'a>>; 2] = Default::default();
    for (identity, presence) in series {
        for side in [Side::Legacy, Side::New] {
            let (own, other) = (&presence[side as usize], &presence[side.other() as usize]);
            if !own.is_new() && other.is_new() && own.is_settled(watermark_unix_ns) {
                only[side as usize].push(identity);
            }
        }
    }
    let of_keys = missing_keys(&only, keys);
    if !of_keys.is_empty() {
        return of_keys;
    }
    let rewritten = rewritten_value(&only);
    if !rewritten.is_empty() {
        return rewritten;
    }
    let missing = |side: Side| {
        let series = &only[side.other() as usize];
        let cause = Cause::SeriesMissing { side };
        (!series.is_empty()).then(|| set_finding(cause, format!("{} series", series.len()), series))
    };
    [Side::New, Side::Legacy].into_iter().filter_map(missing).collect()
}

/// Where the series of the two sides meet in nothing, since one side has a label more.
fn missing_keys(only: &[Vec<Known<'_>>; 2], keys: &[BTreeSet<&str>; 2]) -> Vec<SetFinding> {
    let mut found = Vec::new();
    if only.iter().any(Vec::is_empty) {
        return found;
    }
    for side in [Side::New, Side::Legacy] {
        let (has, lacks) = (&keys[side.other() as usize], &keys[side as usize]);
        for key in has.difference(lacks) {
            let series = &only[side.other() as usize];
            let with_key: Vec<Known<'_>> =
                series.iter().filter(|identity| identity.value(key).is_some()).copied().collect();
            let values: BTreeSet<&str> = with_key.iter().filter_map(|identity| identity.value(key)).collect();
            let evidence = format!("values on the {} side: {}; none on the {side} one", side.other(), values.len());
            found.push(set_finding(Cause::AttributeMissing { side, key: (*key).to_owned() }, evidence, &with_key));
        }
    }
    found
}

/// Where the series of the two sides differ in the values of one label alone.
fn rewritten_value(only: &[Vec<Known<'_>>; 2]) -> Vec<SetFinding> {
    let mut by_key: BTreeMap<&str, (u64, String, Vec<Known<'_>>)> = BTreeMap::new();
    // Sets are compared pair by pair, so that large ones are looked at in part.
    const COMPARED_MAX: usize = 200;
    for legacy in only[0].iter().take(COMPARED_MAX) {
        let close = only[1].iter().take(COMPARED_MAX).find_map(|new| {
            let mut differing = legacy.pairs().filter(|(name, known)| new.value(name) != Some(known));
            let (name, known) = differing.next().filter(|_| legacy.len() == new.len())?;
            let other = new.value(name)?;
            differing.next().is_none().then_some((name, known, other))
        });
        if let Some((name, known, other)) = close.filter(|(_, known, other)| are_spellings(known, other)) {
            let entry = by_key.entry(name).or_insert_with(|| (0, format!("{known:?} became {other:?}"), Vec::new()));
            entry.0 += 1;
            entry.2.push(*legacy);
        }
    }
    let finding = |(key, (_, evidence, series)): (&str, (u64, String, Vec<Known<'_>>))| {
        set_finding(Cause::ValueRewritten { key: key.to_owned() }, evidence, &series)
    };
    by_key.into_iter().map(finding).collect()
}

/// Whether two values are the same but for case, separators or a class, as `200` and `2xx`.
fn are_spellings(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
    };
    let number = |text: &str| text.parse::<f64>().ok();
    let class = |text: &str, class: &str| {
        class.len() == 3 && class.ends_with("xx") && text.len() == 3 && text[..1] == class[..1]
    };
    plain(one) == plain(other)
        || number(one).is_some_and(|one| number(other) == Some(one))
        || (one.is_ascii() && other.is_ascii() && (class(one, other) || class(other, one)))
}

fn set_finding(cause: Cause, evidence: String, series: &[Known<'_>]) -> SetFinding {
    SetFinding {
        finding: Finding { cause, evidence, since_unix_ns: None },
        series: series.len() as u64,
        examples: series.iter().take(EXAMPLES_MAX).map(Known::identity).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Identities, IdentityHash, Labels};

    /// The series of each side as they are seen, each so often.
    fn compare(sides: [&[&str]; 2], times: u64) -> Vec<SetFinding> {
        let mut identities = Identities::default();
        let mut seen: Vec<[Presence; 2]> = Vec::new();
        for (side, texts) in [Side::Legacy, Side::New].into_iter().zip(sides) {
            for text in texts {
                let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap());
                let mut labels: Labels<'_> = pairs.map(|(name, value)| (name.into(), value.into())).collect();
                labels.sort();
                let mut hash = IdentityHash::of_metric("m");
                labels.iter().for_each(|(name, value)| hash.label(name, value));
                let known = identities.find(hash.value(), "m", &labels);
                let at = known.or_else(|| identities.insert(hash.value(), "m", &labels, 100)).unwrap();
                identities.is_seen(at, side);
                seen.resize(identities.len(), Default::default());
                (1..=times).for_each(|time| seen[at as usize][side as usize].see(time * 10));
            }
        }
        let metric = identities.metrics().next().unwrap();
        let keys = [Side::Legacy, Side::New].map(|side| identities.keys(metric, side));
        let series = metric.series().iter().map(|at| (identities.get(*at), &seen[*at as usize]));
        compare_sets(series, &keys, 100)
    }

    fn check(legacy: &[&str], new: &[&str], expected: &[Cause]) {
        let found = compare([legacy, new], 2);
        let found: Vec<Cause> = found.into_iter().map(|finding| finding.finding.cause).collect();
        assert_eq!(found, expected, "{legacy:?} {new:?}");
    }

    #[test]
    fn the_same_series_differ_in_nothing() {
        check(&["a=1", "a=2"], &["a=2", "a=1"], &[]);
    }

    #[test]
    fn a_series_of_one_side_is_missing_on_the_other() {
        check(&["a=1", "a=2"], &["a=1"], &[Cause::SeriesMissing { side: Side::New }]);
        check(&["a=1"], &["a=1", "a=9"], &[Cause::SeriesMissing { side: Side::Legacy }]);
    }

    #[test]
    fn a_dropped_attribute_is_named() {
        let expected = [Cause::AttributeMissing { side: Side::New, key: "b".into() }];
        check(&["a=1,b=1", "a=1,b=2"], &["a=1"], &expected);
        let expected = [Cause::AttributeMissing { side: Side::Legacy, key: "b".into() }];
        check(&["a=1"], &["a=1,b=1", "a=1,b=2"], &expected);
    }

    #[test]
    fn a_value_that_is_written_otherwise_is_named() {
        let expected = [Cause::ValueRewritten { key: "method".into() }];
        check(&["method=GET", "method=POST"], &["method=get", "method=post"], &expected);
        check(&["code=200"], &["code=2xx"], &[Cause::ValueRewritten { key: "code".into() }]);
    }

    #[test]
    fn what_only_passed_by_is_not_missing() {
        assert_eq!(compare([&["a=1"], &[]], 1), []);
    }
}
