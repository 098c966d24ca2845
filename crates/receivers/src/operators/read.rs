//! The list of operators, as a configuration has it.

use std::collections::BTreeSet;

use config::{Diagnostic, Section, Spanned};

use super::container::Container;
use super::expression::Expression;
use super::recombine::Recombine;
use super::settings::{field, required_expression, required_field};
use super::severity::{SeverityParser, TraceParser};
use super::time::TimeParser;
use super::{Added, OnError, Operation, Operators, Step, Voice, configured, parser};

/// Operators of the Collector that are not built yet.
const UNBUILT: [&str; 16] = [
    "assign_keys",
    "json_array_parser",
    "keyvalue_parser",
    "ltsv_parser",
    "regex_replace",
    "sanitize_utf8",
    "scope_name_replace",
    "syslog_parser",
    "unquote",
    "uri_parser",
    "rate_limit",
    "metadata",
    "restructure",
    "file_output",
    "stdout",
    "drop_output",
];

/// An operator whose successors have names so far.
struct Unlinked {
    step: Step,
    output: Option<Spanned<String>>,
    routes: Vec<(Expression, Spanned<String>)>,
    default: Option<Spanned<String>>,
}

impl Operators {
    /// Reads `operators`; what is wrong is reported at its place.
    pub(crate) fn read(section: &mut Section<'_>) -> Operators {
        let read = section.children("operators", read_one);
        let unlinked: Vec<Unlinked> = read.into_iter().flatten().collect();
        let ids: Vec<String> = unlinked.iter().map(|unlinked| unlinked.step.id.clone()).collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = ids.iter().find(|id| !seen.insert(id.as_str())) {
            section.error("operators", format!("two operators have the id `{twice}`; give them an `id` each"));
        }
        let path = section.path().key("operators");
        let diagnostics = section.diagnostics();
        let mut find = |at: usize, named: &Spanned<String>| {
            let found = ids.iter().position(|id| *id == named.value);
            let message = match found {
                Some(to) if to > at => return Some(to),
                Some(_) => format!("`{}` stands before it; records go forward only", named.value),
                None => format!("`{}` is not among the operators", named.value),
            };
            diagnostics.push(Diagnostic::error(path.clone(), message).at(&named.position));
            None
        };
        let steps = unlinked.into_iter().enumerate().map(|(at, unlinked)| {
            let mut step = unlinked.step;
            let next = unlinked.output.as_ref().and_then(|named| find(at, named));
            step.next = next.unwrap_or(at + 1);
            if let Operation::Router { routes, default } = &mut step.operation {
                let linked =
                    unlinked.routes.into_iter().filter_map(|(expression, named)| Some((expression, find(at, &named)?)));
                *routes = linked.collect();
                *default = unlinked.default.as_ref().and_then(|named| find(at, named));
            }
            step
        });
        Operators::new(steps.collect())
    }
}

fn read_one(section: &mut Section<'_>) -> Option<Unlinked> {
    let kind = section.get("type").string().required();
    let id = section.get("id").string().non_empty().optional();
    let (loud, quiet) = (Voice::Loud, Voice::Quiet);
    let choices = [
        ("send", OnError::Send(loud)),
        ("send_quiet", OnError::Send(quiet)),
        ("drop", OnError::Drop(loud)),
        ("drop_quiet", OnError::Drop(quiet)),
    ];
    let on_error = section.get("on_error").one_of(&choices).or(OnError::Send(loud));
    let output = section.get("output").string().non_empty().spanned();
    let condition = super::settings::expression(section, "if");
    let mut routes = Vec::new();
    let mut default = None;
    let kind = kind?;
    let operation = if kind == "router" {
        routes = section.children("routes", read_route).into_iter().flatten().collect();
        default = section.get("default").string().non_empty().spanned();
        Some(Operation::Router { routes: Vec::new(), default: None })
    } else {
        read_operation(&kind, section)
    };
    let step = Step { id: id.unwrap_or(kind), condition, on_error, next: 0, operation: operation? };
    Some(Unlinked { step, output, routes, default })
}

fn read_route(section: &mut Section<'_>) -> Option<(Expression, Spanned<String>)> {
    let expression = required_expression(section, "expr");
    let output = section.get("output").string().non_empty().required_spanned();
    section.unsupported("attributes", "attributes of a route; use `add` behind it");
    Some((expression?, output?))
}

fn read_operation(kind: &str, section: &mut Section<'_>) -> Option<Operation> {
    match kind {
        "regex_parser" => parser::regex_parser(section).map(|parser| Operation::Parse(parser.into())),
        "json_parser" => Some(Operation::Parse(parser::json_parser(section).into())),
        "key_value_parser" => Some(Operation::Parse(parser::key_value_parser(section).into())),
        "csv_parser" => parser::csv_parser(section).map(|parser| Operation::Parse(parser.into())),
        "time_parser" => TimeParser::read(section).map(Operation::Time),
        "severity_parser" => SeverityParser::read(section).map(Operation::Severity),
        "trace_parser" => Some(Operation::Trace(TraceParser::read(section))),
        "scope_name_parser" => required_field(section, "parse_from").map(Operation::ScopeName),
        "container" => Some(Operation::Container(Container::read(section).into())),
        "recombine" => Recombine::read(section).map(|recombine| Operation::Recombine(recombine.into())),
        "add" => read_add(section),
        "remove" => required_field(section, "field").map(Operation::Remove),
        "move" => read_pair(section).map(|(from, to)| Operation::Move(from, to)),
        "copy" => read_pair(section).map(|(from, to)| Operation::Copy(from, to)),
        "retain" => read_retain(section),
        "flatten" => {
            let flattened = required_field(section, "field")?;
            if flattened.keys.is_empty() {
                section.error("field", "expected a field within `body`, `attributes` or `resource`");
                return None;
            }
            Some(Operation::Flatten(flattened))
        }
        "filter" => {
            let ratio = section.get("drop_ratio").float().or(1.0);
            if ratio != 1.0 {
                section.error("drop_ratio", "not built yet: dropping some of what an expression names");
            }
            required_expression(section, "expr").map(Operation::Filter)
        }
        "noop" => Some(Operation::Noop),
        _ => {
            let message = match UNBUILT.contains(&kind) {
                true => format!("not built yet: the operator `{kind}`"),
                false => format!("there is no operator `{kind}`"),
            };
            section.error("type", message);
            // Its own options would be unknown keys, which would say the same again.
            section.entries();
            None
        }
    }
}

fn read_pair(section: &mut Section<'_>) -> Option<(super::Field, super::Field)> {
    let (from, to) = (required_field(section, "from"), required_field(section, "to"));
    Some((from?, to?))
}

fn read_add(section: &mut Section<'_>) -> Option<Operation> {
    let to = required_field(section, "field");
    let Some(node) = section.node("value") else {
        section.error("value", "is required");
        return None;
    };
    let computed = node.text().and_then(|text| text.strip_prefix("EXPR(")?.strip_suffix(')'));
    let added = match computed.map(Expression::parse) {
        None => Added::Value(configured(node)),
        Some(Ok(expression)) => Added::Computed(expression),
        Some(Err(error)) => {
            section.error("value", error.to_string());
            return None;
        }
    };
    Some(Operation::Add(to?, added))
}

fn read_retain(section: &mut Section<'_>) -> Option<Operation> {
    let parse = |item: config::Field<'_>| item.parse_with("a field such as `body.a`", super::Field::parse).required();
    let fields = section.get("fields").each(parse).or_default();
    if fields.is_empty() {
        // `field` is not an option of this operator, and a likely slip.
        let _ = field(section, "field");
        section.error("fields", "is required: expected a list of fields");
        return None;
    }
    Some(Operation::Retain(fields))
}
