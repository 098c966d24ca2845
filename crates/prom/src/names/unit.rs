//! Units: UCUM's codes, as OTLP has them, and the words that end Prometheus' names.

use super::Escaping;

const WORDS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

const PER_WORDS: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

/// The words of a unit: of what, and per what (`per_second`). Parts in braces, such as `{request}`, are annotations and
/// have no words.
pub(super) struct UnitWords<'u> {
    pub(super) main: &'u str,
    pub(super) per: Option<&'u str>,
}

impl<'u> UnitWords<'u> {
    pub(super) fn of(unit: &'u str) -> Self {
        let (main, per) = match unit.split_once('/') {
            Some((main, per)) => (main.trim(), per.trim()),
            None => (unit.trim(), ""),
        };
        let is_annotation = |part: &str| part.contains(['{', '}']);
        let main = if is_annotation(main) { "" } else { word(&WORDS, main) };
        let per = if is_annotation(per) { "" } else { word(&PER_WORDS, per) };
        UnitWords { main, per: (!per.is_empty()).then_some(per) }
    }
}

fn word<'u>(words: &[(&str, &'static str)], code: &'u str) -> &'u str {
    words.iter().find(|(known, _)| *known == code).map_or(code, |(_, word)| word)
}

/// Unit words in the old character set: other characters become `_`, underscores in a row become one, none leads.
pub(super) fn escaped(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for character in words.chars() {
        if character.is_ascii_alphanumeric() || character == ':' {
            out.push(character);
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

/// The unit in Prometheus' words, as metadata gives it.
///
/// ```
/// use prom::names::{Escaping, unit_name};
/// assert_eq!(unit_name("By/s", Escaping::Underscores), "bytes_per_second");
/// assert_eq!(unit_name("{request}", Escaping::Underscores), "");
/// ```
pub fn unit_name(unit: &str, escaping: Escaping) -> String {
    let words = UnitWords::of(unit);
    let per = words.per.map(|per| format!("per_{per}")).unwrap_or_default();
    let (main, per) = match escaping {
        Escaping::Underscores => (escaped(words.main), escaped(&per)),
        Escaping::None => (words.main.to_owned(), per),
    };
    let joined = if main.is_empty() || per.is_empty() { main + &per } else { format!("{main}_{per}") };
    let without_first = joined.strip_prefix('_').unwrap_or(&joined);
    without_first.strip_suffix('_').unwrap_or(without_first).to_owned()
}

/// The UCUM code of a unit in Prometheus' words, the way back. A word without a code stays.
///
/// ```
/// use prom::names::ucum_unit;
/// assert_eq!(ucum_unit("seconds"), "s");
/// assert_eq!(ucum_unit("bytes_per_second"), "By/s");
/// assert_eq!(ucum_unit("ratio"), "1");
/// ```
pub fn ucum_unit(words: &str) -> String {
    let (main, per) = words.split_once("_per_").unwrap_or((words, ""));
    let main = if main == "ratio" { "1" } else { code(&WORDS, main) };
    if per.is_empty() { main.to_owned() } else { format!("{main}/{}", code(&PER_WORDS, per)) }
}

fn code<'w>(words: &[(&'static str, &str)], word: &'w str) -> &'w str {
    words.iter().find(|(_, known)| !known.is_empty() && *known == word).map_or(word, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_back_to_codes() {
        let pairs = [
            ("", ""),
            ("days", "d"),
            ("kibibytes", "KiBy"),
            ("bananas_per_day", "bananas/d"),
            ("meters_per_hour", "m/h"),
            ("percent", "%"),
            ("requests", "requests"),
        ];
        for (words, code) in pairs {
            assert_eq!(ucum_unit(words), code, "{words}");
        }
    }
}
