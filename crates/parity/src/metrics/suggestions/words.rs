//! What names have in common.

use std::collections::{BTreeMap, BTreeSet};

/// Words that say nothing of what is measured: kinds and units.
const SAY_NOTHING: [&str; 32] = [
    "total",
    "count",
    "counter",
    "sum",
    "bucket",
    "gauge",
    "histogram",
    "number",
    "num",
    "value",
    "current",
    "avg",
    "max",
    "min",
    "the",
    "of",
    "in",
    "ratio",
    "percent",
    "second",
    "sec",
    "millisecond",
    "milli",
    "microsecond",
    "nanosecond",
    "byte",
    "kilobyte",
    "megabyte",
    "unit",
    "metric",
    "ms",
    "us",
];

/// A word that begins another one is the same, such as `req`, if it has so many letters.
const SHORT_MIN: usize = 3;

/// The words of a name in lower case, each without an `s` for many; kinds and units are left out.
pub(super) fn words(name: &str) -> BTreeSet<String> {
    let mut spaced = String::with_capacity(name.len());
    let mut before = ' ';
    for c in name.chars() {
        // `ordersProcessed` is two words.
        if before.is_lowercase() && c.is_uppercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
        before = c;
    }
    let single = |word: &str| {
        let word = word.to_lowercase();
        match word.strip_suffix('s') {
            Some(single) if single.len() >= SHORT_MIN && !single.ends_with('s') => single.to_owned(),
            _ => word,
        }
    };
    let words = spaced.split_whitespace().map(single);
    words.filter(|word| word.len() > 1 && !SAY_NOTHING.contains(&word.as_str())).collect()
}

/// Which share of the words of two names is the same; words that are in most names do not count.
pub(super) fn likeness(one: &BTreeSet<String>, other: &BTreeSet<String>, common: &BTreeSet<String>) -> f64 {
    let counts = |word: &&String| !common.contains(*word);
    let is_same = |one: &str, other: &str| {
        let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
        short == long || (short.len() >= SHORT_MIN && long.starts_with(short))
    };
    let shared = one.iter().filter(counts).filter(|word| other.iter().any(|also| is_same(word, also))).count();
    let all = one.iter().filter(counts).count() + other.iter().filter(counts).count();
    if all == 0 { 0.0 } else { shared as f64 / (all.saturating_sub(shared).max(1)) as f64 }
}

/// Words of so many names of a side are common to them, such as the name of the shop, and tell nothing apart.
pub(super) fn common<'a>(names: impl Iterator<Item = &'a BTreeSet<String>>) -> BTreeSet<String> {
    let (mut counts, mut all) = (BTreeMap::<&str, usize>::new(), 0);
    for words in names {
        all += 1;
        words.iter().for_each(|word| *counts.entry(word).or_default() += 1);
    }
    let many = (all / 4).max(2);
    counts.into_iter().filter(|(_, count)| *count > many).map(|(word, _)| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, expected: f64) {
        let found = likeness(&words(one), &words(other), &BTreeSet::new());
        assert!((found - expected).abs() < 1e-9, "{one} {other}: {found}");
    }

    #[test]
    fn names_share_words_however_they_are_written() {
        check("http_server_duration_milliseconds", "http.server.request.duration", 0.75);
        check("orders_processed", "shop.orders", 1.0 / 3.0);
        check("ordersProcessed_total", "shop.order.processed", 2.0 / 3.0);
        check("http_reqs_total", "http.requests", 1.0);
        check("jobs_total", "others_total", 0.0);
        check("a_seconds_total", "b_seconds_total", 0.0);
    }

    #[test]
    fn what_is_in_many_names_tells_nothing_apart() {
        let names = ["shop_orders", "shop_carts", "shop_users"].map(words);
        let common = common(names.iter());
        assert_eq!(common, BTreeSet::from(["shop".to_owned()]));
        assert!(likeness(&names[0], &words("shop.returns"), &common) < 1e-9);
    }
}
