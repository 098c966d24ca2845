//! PromQL expressions whose answers are compared.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use config::{Diagnostics, Node, Section};
use parity::Rule;

use super::families::{Kind, kind_of_number};

/// More than this is no list of expressions.
const QUERIES_MAX: usize = 10_000;

/// An expression as each side is asked it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::parity) struct Query {
    pub(in crate::parity) legacy: String,
    pub(in crate::parity) new: String,
    labels: BTreeMap<String, String>,
    scale: f64,
}

/// Reads a file: pairs if its name ends in `.yaml` or `.yml`, else an expression on each line.
pub(in crate::parity) fn read(path: &Path, rules: &[Rule]) -> anyhow::Result<Vec<Query>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut queries = if is_yaml { pairs(&path.display().to_string(), &text)? } else { lines(&text) };
    for query in &mut queries {
        // What rules say of a metric's labels holds for what is made of the metric.
        for rule in rules.iter().filter(|rule| mentions(&query.legacy, &rule.legacy)) {
            for (legacy, new) in &rule.labels {
                query.labels.entry(legacy.clone()).or_insert_with(|| new.clone());
            }
        }
    }
    match queries.len() {
        0 => bail!("{} has no expression", path.display()),
        count if count > QUERIES_MAX => bail!("{} has {count} expressions: at most {QUERIES_MAX}", path.display()),
        _ => Ok(queries),
    }
}

fn lines(text: &str) -> Vec<Query> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Query::same).collect()
}

fn pairs(name: &str, text: &str) -> anyhow::Result<Vec<Query>> {
    let told = |errors: config::Errors| anyhow!("{}", errors.render().trim_end().to_owned());
    let loaded = config::parse_plain(name, text).map_err(told)?;
    let mut diagnostics = Diagnostics::new();
    let items = loaded.root.as_seq().with_context(|| format!("{name}: expected a list of expressions or pairs"))?;
    let read = |(at, item): (usize, &Node)| match item.text() {
        Some(text) if item.as_map().is_none() => Some(Query::same(text)),
        _ => Section::open(item, format!("queries[{at}]").as_str(), &mut diagnostics).read(pair),
    };
    let queries: Vec<Query> = items.iter().enumerate().filter_map(read).collect();
    Ok(diagnostics.finish_with(Some(queries)).map_err(told)?.0)
}

fn pair(section: &mut Section<'_>) -> Option<Query> {
    let legacy = section.get("legacy").string().non_empty().required();
    let new = section.get("new").string().non_empty().required();
    let labels = section.get("labels").string_map().or_default().into_iter().collect();
    let scale = section.get("scale").float().ensure("a number other than 0", |scale| *scale != 0.0).or(1.0);
    Some(Query { legacy: legacy?, new: new?, labels, scale })
}

impl Query {
    fn same(text: &str) -> Query {
        Query { legacy: text.to_owned(), new: text.to_owned(), labels: BTreeMap::new(), scale: 1.0 }
    }

    /// What makes the two answers one subject, under the expressions as they are.
    pub(in crate::parity) fn rule(&self) -> Rule {
        Rule { legacy: self.legacy.clone(), new: self.new.clone(), labels: self.labels.clone(), scale: self.scale }
    }
}

/// What the answer to an expression is: a counter where it is nothing but the selector of one.
pub(super) fn kind_of_answer(expression: &str, types: &HashMap<String, String>) -> Kind {
    let expression = expression.trim();
    let end = expression.find(|c: char| !is_of_a_name(c)).unwrap_or(expression.len());
    let (name, rest) = expression.split_at(end);
    let is_selector = rest.is_empty() || (rest.starts_with('{') && rest.find('}') == Some(rest.len() - 1));
    if is_selector && !name.is_empty() { kind_of_number(name, types) } else { Kind::Gauge }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Whether an expression names a metric.
fn mentions(expression: &str, name: &str) -> bool {
    expression.match_indices(name).any(|(at, _)| {
        let before = expression[..at].chars().next_back();
        let after = expression[at + name.len()..].chars().next();
        // The parts of a histogram are the histogram's.
        let is_end = |rest: &str| ["", "_bucket", "_count", "_sum"].contains(&rest);
        let rest = expression[at + name.len()..].split(|c| !is_of_a_name(c)).next().unwrap_or_default();
        !before.is_some_and(is_of_a_name) && (!after.is_some_and(is_of_a_name) || is_end(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_stands_on_each_line_or_in_pairs() {
        assert_eq!(lines("# all\n\n sum(a) \nb"), [Query::same("sum(a)"), Query::same("b")]);
        let read = pairs("q.yaml", "- sum(a)\n- legacy: a_ms\n  new: b\n  scale: 0.001\n  labels: {x: y}\n").unwrap();
        assert_eq!(read[0], Query::same("sum(a)"));
        assert_eq!((read[1].scale, read[1].labels["x"].as_str()), (0.001, "y"));
        assert!(pairs("q.yaml", "- {legacy: a}").unwrap_err().to_string().contains("queries[0].new"));
        assert!(pairs("q.yaml", "a: b").unwrap_err().to_string().contains("expected a list"));
    }

    #[test]
    fn an_expression_is_a_counter_where_it_only_selects_one() {
        let types = HashMap::from([("a".to_owned(), "counter".to_owned())]);
        for (expression, kind) in [
            ("a", Kind::Counter),
            ("a{b=\"c\"}", Kind::Counter),
            ("b_total", Kind::Counter),
            ("rate(a[5m])", Kind::Gauge),
            ("a{} / b{}", Kind::Gauge),
            ("1", Kind::Gauge),
        ] {
            assert_eq!(kind_of_answer(expression, &types), kind, "{expression}");
        }
    }

    #[test]
    fn rules_hold_for_expressions_that_name_their_metric() {
        for (expression, expected) in
            [("rate(a[5m])", true), ("rate(a_bucket[5m])", true), ("ab + ba", false), ("b{x=\"1\"}", false)]
        {
            assert_eq!(mentions(expression, "a"), expected, "{expression}");
        }
    }
}
