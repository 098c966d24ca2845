//! Sets of series: what one side has and the other has not, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::Identity;
use crate::verdict::{Cause, Finding, Side};

/// When a side was seen to have a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Presence {
    first_unix_ns: u64,
    last_unix_ns: u64,
    seen: u64,
}

/// A series that was there so often is no passing one.
const LASTING_MIN: u64 = 5;

impl Presence {
    pub(crate) fn see(&mut self, time_unix_ns: u64) {
        if self.seen == 0 {
            self.first_unix_ns = time_unix_ns;
        }
        if time_unix_ns != self.last_unix_ns {
            self.seen += 1;
        }
        self.last_unix_ns = self.last_unix_ns.max(time_unix_ns);
    }

    /// Never seen.
    pub(crate) fn is_new(&self) -> bool {
        self.seen == 0
    }

    pub(crate) fn last_unix_ns(&self) -> u64 {
        self.last_unix_ns
    }

    /// Seen more than now and then.
    pub(crate) fn is_lasting(&self) -> bool {
        self.seen >= LASTING_MIN
    }

    /// Seen in at least two intervals that are sealed: not only passing by.
    fn is_settled(&self, watermark_unix_ns: u64) -> bool {
        self.seen >= 2
            && self.first_unix_ns < watermark_unix_ns
            && self.last_unix_ns <= watermark_unix_ns.max(self.last_unix_ns)
            && self.first_unix_ns != self.last_unix_ns
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

/// Compares the series of one metric.
pub(crate) fn compare_sets<'a>(
    series: impl Iterator<Item = (&'a Identity, &'a [Presence; 2])>,
    watermark_unix_ns: u64,
) -> Vec<SetFinding> {
    let (mut only, mut keys): ([Vec<&Identity>; 2], [BTreeSet<&str>; 2]) = Default::default();
    for (identity, presence) in series {
        let seen = [Side::Legacy, Side::New].map(|side| presence[side as usize].seen > 0);
        for side in [Side::Legacy, Side::New] {
            if seen[side as usize] {
                keys[side as usize].extend(identity.labels.iter().map(|(name, _)| name.as_str()));
            }
            let alone = seen[side as usize] && !seen[side.other() as usize];
            if alone && presence[side as usize].is_settled(watermark_unix_ns) {
                only[side as usize].push(identity);
            }
        }
    }
    // The same series in the same words, whatever order they come in.
    only.iter_mut().for_each(|series| series.sort_unstable());
    let of_keys = missing_keys(&only, &keys);
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
fn missing_keys(only: &[Vec<&Identity>; 2], keys: &[BTreeSet<&str>; 2]) -> Vec<SetFinding> {
    let mut found = Vec::new();
    if only.iter().any(Vec::is_empty) {
        return found;
    }
    for side in [Side::New, Side::Legacy] {
        let (has, lacks) = (&keys[side.other() as usize], &keys[side as usize]);
        for key in has.difference(lacks) {
            let series = &only[side.other() as usize];
            let with_key: Vec<&Identity> =
                series.iter().filter(|identity| value(identity, key).is_some()).copied().collect();
            let values: BTreeSet<&str> = with_key.iter().filter_map(|identity| value(identity, key)).collect();
            let evidence = format!("{} values on the {} side, none on the {side} one", values.len(), side.other());
            found.push(set_finding(Cause::AttributeMissing { side, key: (*key).to_owned() }, evidence, &with_key));
        }
    }
    found
}

/// Where the series of the two sides differ in the values of one label alone.
fn rewritten_value(only: &[Vec<&Identity>; 2]) -> Vec<SetFinding> {
    let mut by_key: BTreeMap<&str, (u64, String, Vec<&Identity>)> = BTreeMap::new();
    // Sets are compared pair by pair, so that large ones are looked at in part.
    const COMPARED_MAX: usize = 200;
    for legacy in only[0].iter().take(COMPARED_MAX) {
        let close = only[1].iter().take(COMPARED_MAX).find_map(|new| {
            let mut differing = legacy.labels.iter().filter(|(name, known)| value(new, name) != Some(known));
            let (name, known) = differing.next().filter(|_| legacy.labels.len() == new.labels.len())?;
            let other = value(new, name)?;
            differing.next().is_none().then_some((name.as_str(), known.as_str(), other))
        });
        if let Some((name, known, other)) = close.filter(|(_, known, other)| are_spellings(known, other)) {
            let entry = by_key.entry(name).or_insert_with(|| (0, format!("{known:?} became {other:?}"), Vec::new()));
            entry.0 += 1;
            entry.2.push(legacy);
        }
    }
    let finding = |(key, (_, evidence, series)): (&str, (u64, String, Vec<&Identity>))| {
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

fn value<'a>(identity: &'a Identity, key: &str) -> Option<&'a str> {
    identity.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn set_finding(cause: Cause, evidence: String, series: &[&Identity]) -> SetFinding {
    SetFinding {
        finding: Finding { cause, evidence, since_unix_ns: None },
        series: series.len() as u64,
        examples: series.iter().take(EXAMPLES_MAX).map(|identity| (*identity).clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(legacy: &[&str], new: &[&str], expected: &[Cause]) {
        let identity = |text: &str| {
            let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap());
            let mut labels: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            labels.sort();
            Identity { metric: "m".into(), labels }
        };
        let mut series: BTreeMap<Identity, [Presence; 2]> = BTreeMap::new();
        for (side, texts) in [(Side::Legacy, legacy), (Side::New, new)] {
            for text in texts {
                let presence = &mut series.entry(identity(text)).or_default()[side as usize];
                presence.see(10);
                presence.see(20);
            }
        }
        let found: Vec<Cause> =
            compare_sets(series.iter(), 100).into_iter().map(|finding| finding.finding.cause).collect();
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
        let identity = Identity { metric: "m".into(), labels: vec![] };
        let mut presence: [Presence; 2] = Default::default();
        presence[0].see(10);
        assert!(compare_sets([(&identity, &presence)].into_iter(), 100).is_empty());
    }
}
