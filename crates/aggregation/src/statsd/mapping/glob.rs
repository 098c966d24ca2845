//! Globs over names whose fields are separated by dots: `*` stands for one field.

use std::collections::HashMap;

/// A glob may have so many fields.
const FIELDS_MAX: usize = 256;

/// A glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Any,
    Exactly(Box<str>),
}

/// Which of several globs wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The one that stands first in the file.
    OfFile,
    /// The one with the more specific field, from left to right: `glob_disable_ordering`.
    Specific,
}

#[derive(Debug, Default)]
struct Node {
    exactly: HashMap<Box<str>, u32>,
    any: Option<u32>,
    rule: Option<u32>,
}

/// Many globs, field by field.
#[derive(Debug, Default)]
pub(super) struct GlobTree {
    nodes: Vec<Node>,
}

impl Glob {
    /// A glob as statsd_exporter takes it: fields of letters, digits, `_` and single `-`, or `*`.
    pub(super) fn parse(text: &str) -> Result<Glob, String> {
        let fields: Option<Vec<Field>> = text.split('.').map(Field::parse).collect();
        match fields {
            Some(fields) if fields.len() <= FIELDS_MAX => Ok(Glob(fields)),
            Some(fields) => Err(format!("{} fields are more than {FIELDS_MAX}", fields.len())),
            None => Err("for all else there is `match_type: regex`".to_owned()),
        }
    }

    /// What the stars stand for in a name that matches.
    pub(super) fn captures<'n>(&self, name: &'n str) -> Vec<&'n str> {
        let fields = self.0.iter().zip(name.split('.'));
        fields.filter(|(field, _)| **field == Field::Any).map(|(_, text)| text).collect()
    }
}

impl Field {
    fn parse(text: &str) -> Option<Field> {
        if text == "*" {
            return Some(Field::Any);
        }
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let holds = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        (starts && holds && !text.contains("--") && !text.ends_with('-')).then(|| Field::Exactly(text.into()))
    }
}

impl GlobTree {
    pub(super) fn insert(&mut self, glob: &Glob, rule: u32) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for field in &glob.0 {
            // There are fewer nodes than bytes in a file.
            let next = self.nodes.len() as u32;
            let node = &mut self.nodes[at];
            let found = match field {
                Field::Any => *node.any.get_or_insert(next),
                Field::Exactly(text) => *node.exactly.entry(text.clone()).or_insert(next),
            };
            if found == next {
                self.nodes.push(Node::default());
            }
            at = found as usize;
        }
        // Of two that are the same, the first one wins.
        self.nodes[at].rule.get_or_insert(rule);
    }

    pub(super) fn find(&self, name: &str, order: Order) -> Option<u32> {
        self.find_from(self.nodes.first()?, Some(name), order)
    }

    /// The rule for the fields that are left; no node is visited twice, since it is a tree.
    fn find_from(&self, node: &Node, rest: Option<&str>, order: Order) -> Option<u32> {
        let Some(rest) = rest else { return node.rule };
        let (field, behind) = match rest.split_once('.') {
            Some((field, behind)) => (field, Some(behind)),
            None => (rest, None),
        };
        let go = |next: &u32| self.find_from(&self.nodes[*next as usize], behind, order);
        let exactly = node.exactly.get(field).and_then(go);
        match (exactly, order) {
            (Some(rule), Order::Specific) => Some(rule),
            (exactly, _) => {
                let any = node.any.as_ref().and_then(go);
                exactly.into_iter().chain(any).min()
            }
        }
    }
}
