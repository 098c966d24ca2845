//! Templates such as `${1}_total`.

/// Text with references to captures, as Go's `Regexp.Expand` reads them: `$name`, as long as it can be, or `${name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// From 0 on.
    Number(usize),
    Name(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Template {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            plain.push_str(before);
            let Some((name, after)) = reference(behind) else {
                plain.push('$');
                // Two of them stand for one.
                rest = behind.strip_prefix('$').unwrap_or(behind);
                continue;
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(match name.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
                Some(number) => Part::Number(number),
                None => Part::Name(name.to_owned()),
            });
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Template(parts)
    }

    /// The text, with what each reference stands for; one that stands for nothing is empty.
    pub(super) fn expand<'t>(
        &self,
        numbered: impl Fn(usize) -> Option<&'t str>,
        named: impl Fn(&str) -> Option<&'t str>,
    ) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Number(number) => out.push_str(numbered(*number).unwrap_or_default()),
                Part::Name(name) => out.push_str(named(name).unwrap_or_default()),
            }
        }
        out
    }
}

/// The name behind a `$`, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}').filter(|(name, _)| !name.is_empty());
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        let captures = ["a", "b"];
        let expanded = Template::parse(template).expand(|number| captures.get(number).copied(), |_| None);
        assert_eq!(expanded, expected, "{template}");
    }

    #[test]
    fn a_reference_is_as_long_as_it_can_be() {
        check("$1_foo", "");
        check("${1}_foo", "a_foo");
        check("$1-$2-$3", "a-b-");
        check("${2}_$1", "b_a");
    }

    #[test]
    fn a_dollar_without_a_name_is_a_dollar() {
        check("$", "$");
        check("5$ a", "5$ a");
        check("$$1", "$1");
        check("${", "${");
        check("${}x", "${}x");
        check("$0", "");
    }
}
