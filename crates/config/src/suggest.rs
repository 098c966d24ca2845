//! The nearest known word to a misspelt one.

/// The candidate that `word` was most likely meant to be, if any is near enough to be worth saying.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let normal = normalise(word);
    if normal.chars().count() > 64 {
        return None;
    }
    let edits_max = 1 + normal.chars().count() / 4;
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = normalise(candidate);
        let mut edits = strsim::damerau_levenshtein(&normal, &other);
        // `queue` for `queue_size` and `size` for `queue_size` are slips, too, however many letters are missing.
        if edits > edits_max && normal.len() >= 4 && (other.starts_with(&normal) || other.ends_with(&normal)) {
            edits = edits_max;
        }
        if edits <= edits_max && edits < other.chars().count() && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `sendBatchSize`, `send-batch-size` and `Send_Batch_Size` are all `send_batch_size`.
fn normalise(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 4);
    let mut after_lower = false;
    for c in word.chars() {
        if c.is_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        out.extend(if c == '-' { '_' } else { c }.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KEYS: [&str; 7] =
        ["endpoint", "timeout", "send_batch_size", "send_batch_max_size", "queue_size", "tls", "headers"];

    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, KEYS), expected, "for {word}");
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        check("endpont", Some("endpoint"));
        check("timout", Some("timeout"));
        check("header", Some("headers"));
        check("tsl", Some("tls"));
    }

    #[test]
    fn another_way_of_joining_words_finds_its_key() {
        check("sendBatchSize", Some("send_batch_size"));
        check("send-batch-max-size", Some("send_batch_max_size"));
        check("queue", Some("queue_size"));
    }

    #[test]
    fn a_word_like_none_of_the_keys_finds_nothing() {
        check("storage", None);
        check("x", None);
        check("", None);
    }
}
