//! Which label of one side is which of the other, and with it which series is which.

use std::collections::{BTreeMap, BTreeSet};

use super::words;

/// A side may have so many series or values that the other has not: some come and go.
pub(super) fn are_nearly_all(shared: usize, most: usize) -> bool {
    shared * 10 >= most * 9
}

/// The labels of a series, by name.
pub(super) type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// Two sets of series beside each other.
#[derive(Debug, PartialEq)]
pub(super) struct Beside<'a> {
    /// Labels by their legacy names, with their new ones, where those are others.
    pub(super) renamed: BTreeMap<&'a str, &'a str>,
    /// Which series of the legacy side is which of the new side.
    pub(super) series: Vec<(usize, usize)>,
}

/// Constant values that are so short, or numbers, are the same by chance.
const TELLING_MIN: usize = 3;

/// Puts series beside each other by the values of their labels, whatever those are called; none where it is not clear
/// which is which.
pub(super) fn beside<'a>(sides: [&[Labels<'a>]; 2], values: [&Values<'a>; 2]) -> Option<Beside<'a>> {
    let most = sides[0].len().max(sides[1].len());
    if !are_nearly_all(sides[0].len().min(sides[1].len()), most) {
        return None;
    }
    let [legacy, new] = values;
    let pairs = pairs(legacy, new);
    // What is left alone must not tell series apart.
    let is_told = |key: &str, values: &BTreeSet<&str>, of: fn(&(&'a str, &'a str)) -> &'a str| {
        values.len() == 1 || pairs.iter().any(|pair| of(pair) == key)
    };
    let are_told = legacy.iter().all(|(key, values)| is_told(key, values, |pair| pair.0))
        && new.iter().all(|(key, values)| is_told(key, values, |pair| pair.1));
    if !are_told {
        return None;
    }
    let value = |labels: &Labels<'a>, key: &str| labels.get(key).copied().unwrap_or("");
    let mut known = BTreeMap::new();
    for (at, labels) in sides[0].iter().enumerate() {
        let key: Vec<&str> = pairs.iter().map(|(legacy, _)| value(labels, legacy)).collect();
        if known.insert(key, at).is_some() {
            return None;
        }
    }
    let mut series = Vec::new();
    for (at, labels) in sides[1].iter().enumerate() {
        let key: Vec<&str> = pairs.iter().map(|(_, new)| value(labels, new)).collect();
        // What is taken once is gone: two of the new side would be one of the legacy side.
        series.extend(known.remove(&key).map(|legacy| (legacy, at)));
    }
    let renamed = pairs.into_iter().filter(|(legacy, new)| legacy != new).collect();
    (!series.is_empty() && are_nearly_all(series.len(), most)).then_some(Beside { renamed, series })
}

/// The values of each label; one that a series lacks is empty.
pub(super) fn values_of<'a>(series: &[Labels<'a>]) -> Values<'a> {
    let keys: BTreeSet<&str> = series.iter().flat_map(|labels| labels.keys().copied()).collect();
    let values = |key: &str| series.iter().map(|labels| labels.get(key).copied().unwrap_or("")).collect();
    keys.into_iter().map(|key| (key, values(key))).collect()
}

/// The values of each label.
pub(super) type Values<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Labels of both sides that have the same values: those with one name first, then those of which it is clear.
fn pairs<'a>(legacy: &Values<'a>, new: &Values<'a>) -> Vec<(&'a str, &'a str)> {
    let are_alike = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
        are_nearly_all(one.intersection(other).count(), one.len().max(other.len()))
    };
    let is_same = |key: &&&str| new.get(**key).is_some_and(|values| are_alike(&legacy[**key], values));
    let mut pairs: Vec<(&str, &str)> = legacy.keys().filter(is_same).map(|key| (*key, *key)).collect();
    let rest = |of: &Values<'a>| -> Vec<&'a str> {
        of.keys().filter(|key| !pairs.iter().any(|pair| pair.0 == **key)).copied().collect()
    };
    let (legacy_rest, new_rest) = (rest(legacy), rest(new));
    let mut candidates = Vec::new();
    for key in &legacy_rest {
        for other in new_rest.iter().filter(|other| are_alike(&legacy[key], &new[*other])) {
            let likeness = words::likeness(&words::words(key), &words::words(other), &BTreeSet::new());
            if likeness > 0.0 || legacy[key].len() > 1 || legacy[key].iter().all(|value| is_telling(value)) {
                candidates.push((*key, *other, likeness));
            }
        }
    }
    let is_best = |(key, other, likeness): &(&str, &str, f64)| {
        let rivals = candidates.iter().filter(|(one, two, _)| (one == key) != (two == other));
        rivals.fold(true, |is_best, (.., rival)| is_best && likeness > rival)
    };
    pairs.extend(candidates.iter().filter(|candidate| is_best(candidate)).map(|(key, other, _)| (*key, *other)));
    pairs
}

fn is_telling(value: &str) -> bool {
    value.len() >= TELLING_MIN && value.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &'static str) -> Vec<Labels<'static>> {
        let labels = |text: &'static str| {
            text.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap()).collect()
        };
        text.split(' ').map(labels).collect()
    }

    fn check(legacy: &'static str, new: &'static str, expected: Option<&[(&str, &str)]>) {
        let (legacy, new) = (series(legacy), series(new));
        let found = beside([&legacy, &new], [&values_of(&legacy), &values_of(&new)]);
        let renamed =
            found.as_ref().map(|found| found.renamed.iter().map(|(old, new)| (*old, *new)).collect::<Vec<_>>());
        assert_eq!(renamed.as_deref(), expected, "{legacy:?} {new:?}");
        assert!(found.is_none_or(|found| found.series.len() == legacy.len()));
    }

    #[test]
    fn labels_are_known_by_their_values_and_then_by_their_names() {
        check("", "", Some(&[]));
        check("m=GET m=PUT", "m=PUT m=GET", Some(&[]));
        check("method=GET method=PUT", "http_method=GET http_method=PUT", Some(&[("method", "http_method")]));
        check("m=GET,r=/a m=PUT,r=/b", "verb=GET,path=/a verb=PUT,path=/b", Some(&[("m", "verb"), ("r", "path")]));
        check("m=GET,cluster=a m=PUT,cluster=a", "v=GET v=PUT", Some(&[("m", "v")]));
        let from_to = "from=a,to=a from=a,to=b from=b,to=a from=b,to=b";
        let renamed = "net_from=a,net_to=a net_from=a,net_to=b net_from=b,net_to=a net_from=b,net_to=b";
        check(from_to, renamed, Some(&[("from", "net_from"), ("to", "net_to")]));
        check("env=prod", "deployment=prod", Some(&[("env", "deployment")]));
        check("replica=0", "shard=0", Some(&[]));
    }

    #[test]
    fn what_is_not_clear_is_not_said() {
        check("m=GET m=PUT", "m=GET m=POST", None);
        check("m=GET m=PUT", "m=GET", None);
        check("m=GET,r=1 m=GET,r=2 m=PUT,r=3", "m=GET m=PUT", None);
        check("x=a,y=a x=a,y=b x=b,y=a x=b,y=b", "v=a,w=a v=a,w=b v=b,w=a v=b,w=b", None);
    }
}
