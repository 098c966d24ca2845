//! The labels of a data point's series.
//!
//! What the labels of a series are is one function, [`resolve`]: attributes become labels, colliding ones are joined,
//! the resource, the configuration and the scope add theirs. Its result depends on the values of the attributes only in
//! three rare cases (an empty value, two keys that become one label). In all others the keys alone decide which labels
//! there are and in which order, and the data points of a metric nearly always have the same keys. So the answer is kept
//! as a [`Plan`]: the constant labels as bytes, and the places of the attributes among them.

use std::borrow::Cow;

use otlp::view::{AnyValueView, ResourceView, ScopeView};
use otlp::wire::{FieldValue, Fields, varint_size, write_bytes_field, write_varint};

use super::text::value_text;
use super::{Refusal, ResourceLabels, ScopeLabels, Settings};
use crate::labels::METRIC_NAME;
use crate::names::LabelNamer;

/// The label beside the metric's name that a series of a data point has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    None,
    Le,
    Quantile,
}

impl Extra {
    fn label(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Le => "le",
            Self::Quantile => "quantile",
        }
    }
}

/// One attribute of a data point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a [u8],
    value: AttributeValue<'a>,
}

#[derive(Clone, Copy, Debug)]
enum AttributeValue<'a> {
    Text(&'a [u8]),
    Other(AnyValueView<'a>),
}

impl<'a> Attribute<'a> {
    /// Reads a `KeyValue`.
    #[inline]
    pub(super) fn new(key_value: &'a [u8]) -> Self {
        if let Some(attribute) = Self::plain(key_value) {
            return attribute;
        }
        let mut attribute = Attribute { key: &[], value: AttributeValue::Text(&[]) };
        for field in Fields::new(key_value) {
            match (field.number, field.value) {
                (1, FieldValue::Length(key)) => attribute.key = key,
                (2, FieldValue::Length(value)) => attribute.value = AttributeValue::of(value),
                _ => {}
            }
        }
        attribute
    }

    /// The usual layout: a key, then a value, each of less than 128 bytes, and nothing else.
    #[inline]
    fn plain(key_value: &'a [u8]) -> Option<Self> {
        const KEY_TAG: u8 = 1 << 3 | 2;
        const VALUE_TAG: u8 = 2 << 3 | 2;
        const LENGTH_MAX: u8 = 0x7f;
        let [KEY_TAG, key_length @ 0..=LENGTH_MAX, rest @ ..] = key_value else { return None };
        let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
        let [VALUE_TAG, value_length @ 0..=LENGTH_MAX, value @ ..] = rest else { return None };
        (value.len() == usize::from(*value_length)).then(|| Attribute { key, value: AttributeValue::of(value) })
    }

    fn key_text(&self) -> &'a str {
        std::str::from_utf8(self.key).unwrap_or_default()
    }

    fn value_text(&self) -> Cow<'a, str> {
        match self.value {
            AttributeValue::Text(text) => Cow::Borrowed(std::str::from_utf8(text).unwrap_or_default()),
            AttributeValue::Other(value) => {
                let mut text = String::new();
                value_text(value, &mut text);
                Cow::Owned(text)
            }
        }
    }
}

impl<'a> AttributeValue<'a> {
    #[inline]
    fn of(any_value: &'a [u8]) -> Self {
        // A string alone, which is what nearly every value is: one field of number 1.
        const STRING_TAG: u8 = 0x0a;
        if let [STRING_TAG, length, text @ ..] = any_value
            && *length < 0x80
            && text.len() == usize::from(*length)
        {
            return AttributeValue::Text(text);
        }
        match AnyValueView::new(any_value) {
            AnyValueView::String(text) => AttributeValue::Text(text.as_bytes()),
            other => AttributeValue::Other(other),
        }
    }
}

/// What adds labels to every data point of one scope of one resource.
#[derive(Debug)]
pub(super) struct Context {
    resource: Box<[u8]>,
    scope: Box<[u8]>,
    job: Option<String>,
    instance: Option<String>,
    /// Attributes of the resource that become labels as if each data point had them.
    attributes: Vec<(String, String)>,
    scope_labels: Vec<(String, String)>,
    plans: Vec<Plan>,
    /// The labels of `target_info` on the wire, once they were asked for; empty if there is none.
    target_info: Option<Box<[u8]>>,
}

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE_ID: &str = "service.instance.id";

/// The attributes of a resource that `job` and `instance` are made of.
fn is_identifying(key: &str) -> bool {
    matches!(key, SERVICE_NAME | SERVICE_NAMESPACE | SERVICE_INSTANCE_ID)
}

impl Context {
    pub(super) fn new(resource: &[u8], scope: &[u8], settings: &Settings, namer: LabelNamer) -> Self {
        let view = ResourceView::new(resource);
        let attribute = |key: &str| {
            let mut text = String::new();
            value_text(view.attributes().get(key)?, &mut text);
            Some(text)
        };
        let name = attribute(SERVICE_NAME).filter(|name| !name.is_empty());
        let job = name.map(|name| match attribute(SERVICE_NAMESPACE) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        });
        let instance = attribute(SERVICE_INSTANCE_ID).filter(|instance| !instance.is_empty());
        let attributes = match settings.resource_labels {
            ResourceLabels::None => Vec::new(),
            ResourceLabels::All => resource_attributes(&view, |_| true),
            ResourceLabels::WithoutService => resource_attributes(&view, |key| !is_identifying(key)),
        };
        let scope_labels = match settings.scope_labels {
            ScopeLabels::Send => scope_labels(&ScopeView::new(scope), namer),
            ScopeLabels::Omit => Vec::new(),
        };
        Context {
            resource: resource.into(),
            scope: scope.into(),
            job,
            instance,
            attributes,
            scope_labels,
            plans: Vec::new(),
            target_info: None,
        }
    }

    /// Whether this is the context of these messages.
    pub(super) fn is_of(&self, resource: &[u8], scope: &[u8]) -> bool {
        *self.resource == *resource && *self.scope == *scope
    }

    /// The memory that it holds, roughly, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        const SELF: usize = 256;
        let messages = self.resource.len() + self.scope.len();
        // What was made of the messages is about as large as they are.
        SELF + 3 * messages + self.plans.iter().map(Plan::size_bytes).sum::<usize>()
    }

    /// The labels of `target_info` as they stand on the wire. Empty if the resource has nothing to say, or nothing by
    /// which it could be told from others.
    pub(super) fn target_info_labels(&mut self, settings: &Settings, namer: LabelNamer) -> &[u8] {
        if self.target_info.is_none() {
            let mut bytes = Vec::new();
            for (name, value) in self.make_target_info(settings, namer) {
                write_label(&mut bytes, name.as_bytes(), value.as_bytes());
            }
            self.target_info = Some(bytes.into_boxed_slice());
        }
        self.target_info.as_deref().unwrap_or_default()
    }

    fn make_target_info(&self, settings: &Settings, namer: LabelNamer) -> Vec<(String, String)> {
        let view = ResourceView::new(&self.resource);
        let mut described = resource_attributes(&view, |key| !is_identifying(key));
        if described.is_empty() || (self.job.is_none() && self.instance.is_none()) {
            return Vec::new();
        }
        described.retain(|(_, value)| !value.is_empty());
        described.sort_by(|left, right| left.0.cmp(&right.0));
        let mut labels = Vec::new();
        for (key, value) in &described {
            // An attribute without a label name is left out: the others still describe the resource.
            if let Ok(name) = namer.name(key) {
                add_joined(&mut labels, &name, Source::Text(Cow::Borrowed(value)));
            }
        }
        self.set_identity(&mut labels, settings);
        let separator = if settings.namespace.is_empty() { "" } else { "_" };
        let name = format!("{}{separator}target_info", settings.namespace);
        labels.retain(|(name, _)| name != METRIC_NAME);
        labels.push((METRIC_NAME.to_owned(), Source::Text(Cow::Owned(name))));
        labels.sort_by(|left, right| left.0.cmp(&right.0));
        labels.into_iter().filter_map(|(name, source)| Some((name, source.into_text()?.into_owned()))).collect()
    }

    /// `job` and `instance` win over attributes; what the configuration adds does not.
    fn set_identity<'s>(&'s self, labels: &mut Vec<(String, Source<'s>)>, settings: &'s Settings) {
        let identity = [("job", &self.job), ("instance", &self.instance)];
        for (name, value) in identity.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            set(labels, name, value);
        }
        for (name, value) in &settings.external_labels {
            if labels.iter().all(|(present, _)| present != name) && !value.is_empty() {
                set(labels, name, value);
            }
        }
    }
}

fn resource_attributes(view: &ResourceView<'_>, includes: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let included = view.attributes().filter(|attribute| includes(attribute.key()));
    included
        .map(|attribute| {
            let mut text = String::new();
            value_text(attribute.value(), &mut text);
            (attribute.key().to_owned(), text)
        })
        .collect()
}

fn scope_labels(scope: &ScopeView<'_>, namer: LabelNamer) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: String| {
        let Ok(name) = namer.name(key) else { return };
        labels.retain(|(present, _)| *present != name);
        if !value.is_empty() {
            labels.push((name.into_owned(), value));
        }
    };
    add("otel_scope_name", scope.name().to_owned());
    add("otel_scope_version", scope.version().to_owned());
    for attribute in scope.attributes() {
        let key = attribute.key();
        if !matches!(key, "name" | "version" | "schema_url") {
            let mut text = String::new();
            value_text(attribute.value(), &mut text);
            add(&format!("otel_scope_{key}"), text);
        }
    }
    labels
}

/// Where the value of a label comes from.
#[derive(Clone, Debug)]
enum Source<'a> {
    /// From the attribute of this position, whatever its value is.
    Attribute(usize),
    /// It is known.
    Text(Cow<'a, str>),
}

impl<'a> Source<'a> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Source::Attribute(_) => None,
            Source::Text(text) => Some(text),
        }
    }
}

/// Whether all labels could be told from the keys alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    /// Every label has one source.
    Known,
    /// The value of a label depends on the values of several attributes.
    DependsOnValues,
}

fn set<'s>(labels: &mut Vec<(String, Source<'s>)>, name: &str, value: &'s str) {
    let source = Source::Text(Cow::Borrowed(value));
    match labels.iter_mut().find(|(present, _)| present == name) {
        Some(label) => label.1 = source,
        None => labels.push((name.to_owned(), source)),
    }
}

/// Adds a label; a second one of the same name is joined with `;` to the first unless both say the same.
fn add_joined<'s>(labels: &mut Vec<(String, Source<'s>)>, name: &str, source: Source<'s>) -> Joined {
    let Some(label) = labels.iter_mut().find(|(present, _)| present == name) else {
        labels.push((name.to_owned(), source));
        return Joined::Known;
    };
    match (&mut label.1, source) {
        (Source::Text(text), Source::Text(other)) => {
            if *text != other {
                *text = Cow::Owned(format!("{text};{other}"));
            }
            Joined::Known
        }
        _ => Joined::DependsOnValues,
    }
}

/// The labels of a data point, sorted, without the metric's name and without the extra label.
///
/// Sources by rising precedence: attributes of the data point, attributes of the resource where those are labels, `job`
/// and `instance`, the labels of the scope, the metric's name and the extra label. External labels only fill gaps.
fn resolve<'s>(
    context: &'s Context,
    settings: &'s Settings,
    namer: LabelNamer,
    attributes: Vec<(&'s str, Source<'s>)>,
    extra: Extra,
) -> Result<(Vec<(String, Source<'s>)>, Joined), Refusal> {
    let mut all = attributes;
    all.retain(|(key, _)| context.attributes.iter().all(|(present, _)| present != key));
    let of_resource = context.attributes.iter().filter(|(_, value)| !value.is_empty());
    all.extend(of_resource.map(|(key, value)| (key.as_str(), Source::Text(Cow::Borrowed(value.as_str())))));
    all.sort_by_key(|(key, _)| *key);
    let mut labels = Vec::with_capacity(all.len() + 8);
    let mut joined = Joined::Known;
    for (key, source) in all {
        let name = namer.name(key).map_err(|_| Refusal::LabelName)?;
        if add_joined(&mut labels, &name, source) == Joined::DependsOnValues {
            joined = Joined::DependsOnValues;
        }
    }
    context.set_identity(&mut labels, settings);
    for (name, value) in &context.scope_labels {
        set(&mut labels, name, value);
    }
    labels.retain(|(name, _)| name != METRIC_NAME && name != extra.label());
    labels.sort_by(|left, right| left.0.cmp(&right.0));
    Ok((labels, joined))
}

/// The labels of data points with certain attribute keys, with gaps for the values.
#[derive(Debug)]
struct Plan {
    extra: Extra,
    /// The keys, one behind the other.
    keys: Vec<u8>,
    key_lengths: Vec<usize>,
    steps: Vec<Step>,
    /// What the steps copy.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Labels that are the same for all data points.
    Constant { start: u32, end: u32 },
    /// A label with the value of an attribute; its name, with what surrounds it on the wire, is a range of the bytes.
    Attribute { position: u32, start: u32, end: u32 },
    /// Here the metric's name goes.
    Name,
    /// Here the extra label goes.
    Extra,
}

/// Where in the written labels the name and the extra label are to be put in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gaps {
    pub(super) name: usize,
    pub(super) extra: usize,
}

impl Plan {
    fn new(labels: &[(String, Source<'_>)], attributes: &[Attribute<'_>], extra: Extra) -> Self {
        let mut plan = Plan {
            extra,
            keys: attributes.iter().flat_map(|attribute| attribute.key).copied().collect(),
            key_lengths: attributes.iter().map(|attribute| attribute.key.len()).collect(),
            steps: Vec::new(),
            bytes: Vec::new(),
        };
        walk_with_gaps(labels, extra, |part| match part {
            Part::Name => plan.steps.push(Step::Name),
            Part::Extra => plan.steps.push(Step::Extra),
            Part::Label(name, Source::Text(value)) => plan.push_constant(name, value),
            Part::Label(name, Source::Attribute(position)) => plan.push_attribute(name, *position),
        });
        plan
    }

    fn push_constant(&mut self, name: &str, value: &str) {
        let start = self.bytes.len() as u32;
        write_label(&mut self.bytes, name.as_bytes(), value.as_bytes());
        let end = self.bytes.len() as u32;
        match self.steps.last_mut() {
            Some(Step::Constant { end: last, .. }) if *last == start => *last = end,
            _ => self.steps.push(Step::Constant { start, end }),
        }
    }

    fn push_attribute(&mut self, name: &str, position: usize) {
        let start = self.bytes.len() as u32;
        write_bytes_field(&mut self.bytes, 1, name.as_bytes());
        self.bytes.push(LABEL_VALUE_TAG);
        self.steps.push(Step::Attribute { position: position as u32, start, end: self.bytes.len() as u32 });
    }

    fn size_bytes(&self) -> usize {
        self.keys.len() + self.bytes.len() + 16 * (self.key_lengths.len() + self.steps.len())
    }

    #[inline]
    fn fits(&self, attributes: &[Attribute<'_>], extra: Extra) -> bool {
        if self.extra != extra || self.key_lengths.len() != attributes.len() {
            return false;
        }
        let mut rest = self.keys.as_slice();
        attributes.iter().zip(&self.key_lengths).all(|(attribute, length)| {
            let (key, behind) = rest.split_at(*length);
            rest = behind;
            key == attribute.key
        })
    }

    /// Writes the labels. `false` if a value is empty, which a plan cannot know: what was written then is of no use.
    #[inline]
    fn write(&self, attributes: &[Attribute<'_>], name: &[u8], out: &mut Vec<u8>, gaps: &mut Gaps) -> bool {
        for step in &self.steps {
            match *step {
                Step::Constant { start, end } => out.extend_from_slice(&self.bytes[start as usize..end as usize]),
                Step::Name => {
                    gaps.name = out.len();
                    out.extend_from_slice(name);
                }
                Step::Extra => gaps.extra = out.len(),
                Step::Attribute { position, start, end } => {
                    let head = &self.bytes[start as usize..end as usize];
                    let has_value = match attributes[position as usize].value {
                        AttributeValue::Text(text) => write_label_with_head(out, head, text),
                        AttributeValue::Other(value) => write_other(out, head, value),
                    };
                    if !has_value {
                        return false;
                    }
                }
            }
        }
        true
    }
}

#[inline]
fn write_label_with_head(out: &mut Vec<u8>, head: &[u8], value: &[u8]) -> bool {
    out.push(LABEL_TAG);
    write_varint(out, (head.len() + varint_size(value.len() as u64) + value.len()) as u64);
    out.extend_from_slice(head);
    write_varint(out, value.len() as u64);
    out.extend_from_slice(value);
    !value.is_empty()
}

fn write_other(out: &mut Vec<u8>, head: &[u8], value: AnyValueView<'_>) -> bool {
    if let AnyValueView::Int(number) = value {
        return write_label_with_head(out, head, itoa::Buffer::new().format(number).as_bytes());
    }
    let mut text = String::new();
    value_text(value, &mut text);
    write_label_with_head(out, head, text.as_bytes())
}

/// The tag of `TimeSeries.labels`.
const LABEL_TAG: u8 = 1 << 3 | 2;
/// The tag of `Label.value`.
const LABEL_VALUE_TAG: u8 = 2 << 3 | 2;

/// Appends one label as the field of its series.
pub(super) fn write_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut head = Vec::with_capacity(name.len() + 4);
    write_bytes_field(&mut head, 1, name);
    head.push(LABEL_VALUE_TAG);
    write_label_with_head(out, &head, value);
}

enum Part<'l, 's> {
    Label(&'l str, &'l Source<'s>),
    Name,
    Extra,
}

/// Goes through sorted labels and names the places of the metric's name and the extra label among them. The name sorts
/// before either extra label.
fn walk_with_gaps<'l, 's>(labels: &'l [(String, Source<'s>)], extra: Extra, mut visit: impl FnMut(Part<'l, 's>)) {
    let mut name_due = true;
    let mut extra_due = extra != Extra::None;
    for (name, source) in labels {
        if name_due && METRIC_NAME < name.as_str() {
            visit(Part::Name);
            name_due = false;
        }
        if extra_due && extra.label() < name.as_str() {
            visit(Part::Extra);
            extra_due = false;
        }
        visit(Part::Label(name, source));
    }
    if name_due {
        visit(Part::Name);
    }
    if extra_due {
        visit(Part::Extra);
    }
}

/// As many plans as the attributes of one scope plausibly have shapes; more are made anew each time.
const PLANS_MAX: usize = 16;

/// Appends the labels of a data point with the metric's name among them (`name` is the whole label, or nothing) and
/// says where it and the extra label belong.
#[inline]
pub(super) fn write_labels(
    context: &mut Context,
    settings: &Settings,
    namer: LabelNamer,
    attributes: &[Attribute<'_>],
    extra: Extra,
    name: &[u8],
    out: &mut Vec<u8>,
) -> Result<Gaps, Refusal> {
    let mut gaps = Gaps::default();
    let start = out.len();
    if let Some(found) = context.plans.iter().position(|plan| plan.fits(attributes, extra)) {
        // What was used last is looked at first.
        context.plans.swap(0, found);
        if context.plans[0].write(attributes, name, out, &mut gaps) {
            return Ok(gaps);
        }
        out.truncate(start);
        return write_resolved(context, settings, namer, attributes, extra, name, out);
    }
    let by_key = attributes.iter().enumerate();
    let by_key = by_key.map(|(position, attribute)| (attribute.key_text(), Source::Attribute(position))).collect();
    // An error may concern an attribute with an empty value, which is none: the other way looks at the values.
    if let Ok((labels, Joined::Known)) = resolve(context, settings, namer, by_key, extra) {
        let plan = Plan::new(&labels, attributes, extra);
        let is_written = plan.write(attributes, name, out, &mut gaps);
        context.plans.truncate(PLANS_MAX - 1);
        context.plans.insert(0, plan);
        if is_written {
            return Ok(gaps);
        }
        out.truncate(start);
    }
    write_resolved(context, settings, namer, attributes, extra, name, out)
}

/// The way without a plan: every value is looked at.
#[cold]
fn write_resolved(
    context: &Context,
    settings: &Settings,
    namer: LabelNamer,
    attributes: &[Attribute<'_>],
    extra: Extra,
    name: &[u8],
    out: &mut Vec<u8>,
) -> Result<Gaps, Refusal> {
    let with_values = attributes.iter().map(|attribute| (attribute.key_text(), attribute.value_text()));
    let with_values = with_values.filter(|(_, value)| !value.is_empty());
    let with_values = with_values.map(|(key, value)| (key, Source::Text(value))).collect();
    let (labels, _) = resolve(context, settings, namer, with_values, extra)?;
    let mut gaps = Gaps::default();
    walk_with_gaps(&labels, extra, |part| match part {
        Part::Name => {
            gaps.name = out.len();
            out.extend_from_slice(name);
        }
        Part::Extra => gaps.extra = out.len(),
        Part::Label(label, Source::Text(value)) => write_label(out, label.as_bytes(), value.as_bytes()),
        Part::Label(_, Source::Attribute(_)) => {}
    });
    Ok(gaps)
}
