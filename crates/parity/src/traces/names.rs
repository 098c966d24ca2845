//! Texts as numbers: the names of services, spans and events, and the keys of attributes.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

/// So many texts of a table are told apart, of so many bytes altogether. What comes later is left out on both sides.
const NAMES_MAX: usize = 50_000;
const BYTES_MAX: usize = 4 << 20;
/// So many sets of keys that resources have are told apart.
const RESOURCES_MAX: usize = 1000;
/// So many keys of a resource are compared.
const RESOURCE_KEYS_MAX: usize = 128;

/// A text of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameId(u32);

/// The texts of one kind.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, NameId, foldhash::fast::RandomState>,
    texts: Vec<Arc<str>>,
    bytes: usize,
}

impl Names {
    /// The number of a text; none where there are too many, from then on and for either side.
    pub(super) fn id(&mut self, text: &str) -> Option<NameId> {
        if let Some(id) = self.ids.get(text) {
            return Some(*id);
        }
        if self.texts.len() >= NAMES_MAX || self.bytes + text.len() > BYTES_MAX {
            return None;
        }
        let id = NameId(u32::try_from(self.texts.len()).ok()?);
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        Some(id)
    }

    pub(super) fn text(&self, id: NameId) -> &str {
        self.texts.get(id.0 as usize).map_or("", |text| text)
    }
}

/// The keys of attributes, of which some are not compared.
#[derive(Debug, Default)]
pub(super) struct Keys {
    names: Names,
    /// Those with lower numbers are not compared.
    first_compared: u32,
}

impl Keys {
    pub(super) fn without<'a>(ignored: impl Iterator<Item = &'a str>) -> Keys {
        let mut names = Names::default();
        ignored.for_each(|key| {
            names.id(key);
        });
        let first_compared = u32::try_from(names.texts.len()).unwrap_or(u32::MAX);
        Keys { names, first_compared }
    }

    /// The number of a key; none if it is not compared.
    pub(super) fn id(&mut self, key: &str) -> Option<NameId> {
        self.names.id(key).filter(|id| id.0 >= self.first_compared)
    }

    pub(super) fn text(&self, id: NameId) -> &str {
        self.names.text(id)
    }
}

/// A set of keys that a resource has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceId(u32);

/// The sets of keys that resources have.
#[derive(Debug, Default)]
pub(super) struct Resources {
    ids: HashMap<Arc<[NameId]>, ResourceId, foldhash::fast::RandomState>,
    keys: Vec<Arc<[NameId]>>,
}

impl Resources {
    pub(super) fn id(&mut self, mut keys: Vec<NameId>) -> Option<ResourceId> {
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(RESOURCE_KEYS_MAX);
        if let Some(id) = self.ids.get(keys.as_slice()) {
            return Some(*id);
        }
        if self.keys.len() >= RESOURCES_MAX {
            return None;
        }
        let id = ResourceId(u32::try_from(self.keys.len()).ok()?);
        let keys: Arc<[NameId]> = keys.into();
        self.keys.push(keys.clone());
        self.ids.insert(keys, id);
        Some(id)
    }

    /// The keys, in the order of their numbers.
    pub(super) fn keys(&self, id: ResourceId) -> &[NameId] {
        self.keys.get(id.0 as usize).map_or(&[], |keys| keys)
    }

    pub(super) fn has(&self, id: ResourceId, key: NameId) -> bool {
        self.keys(id).binary_search(&key).is_ok()
    }
}

/// Everything that spans name.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Services, and names of spans without what differs from request to request.
    pub(super) operations: Names,
    pub(super) events: Names,
    pub(super) keys: Keys,
    pub(super) resources: Resources,
}

/// So many characters of a name are told.
const TOLD_CHARS_MAX: usize = 80;

/// The beginning of a name, as it is told in a sentence.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TOLD_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// An event, as it is named among fields.
pub(super) fn event_field(name: &str) -> String {
    if name.is_empty() { "events without a name".to_owned() } else { format!("event {}", shortened(name)) }
}

/// A name without what differs from request to request: numbers, ids.
pub(super) fn normalized(name: &str) -> Cow<'_, str> {
    let is_id = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let is_number = digits == part.len() && !part.is_empty();
        is_number || (part.len() >= 8 && digits >= 2 && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    };
    if !name.split('/').any(is_id) {
        return Cow::Borrowed(name);
    }
    let parts: Vec<&str> = name.split('/').map(|part| if is_id(part) { "*" } else { part }).collect();
    Cow::Owned(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_differs_from_request_to_request() {
        assert_eq!(normalized("GET /cart/17/items"), "GET /cart/*/items");
        assert_eq!(normalized("/u/3fa85f64-5717-4562-b3fc-2c963f66afa6"), "/u/*");
        assert_eq!(normalized("checkout"), "checkout");
        assert_eq!(normalized(""), "");
    }

    #[test]
    fn only_the_beginning_of_a_name_is_told() {
        assert_eq!(shortened("checkout"), "checkout");
        assert_eq!(shortened(&"ä".repeat(200)), format!("{}…", "ä".repeat(TOLD_CHARS_MAX)));
        assert_eq!((event_field("retry"), event_field("")), ("event retry".into(), "events without a name".into()));
    }

    #[test]
    fn a_table_that_is_full_keeps_what_it_has_and_takes_nothing_more() {
        let mut names = Names::default();
        let first = names.id("first").unwrap();
        (0..NAMES_MAX).for_each(|number| {
            names.id(&format!("name {number}"));
        });
        assert_eq!((names.id("first"), names.id("last"), names.text(first)), (Some(first), None, "first"));
        let mut names = Names::default();
        assert_eq!(names.id(&"x".repeat(BYTES_MAX + 1)), None);
        assert!(names.id(&"x".repeat(BYTES_MAX)).is_some() && names.id("y").is_none());
    }

    #[test]
    fn keys_that_are_ignored_have_no_number() {
        let mut keys = Keys::without(["error", "error", "span.kind"].into_iter());
        assert_eq!((keys.id("error"), keys.id("span.kind")), (None, None));
        let region = keys.id("region").unwrap();
        assert_eq!(keys.text(region), "region");
    }

    #[test]
    fn a_resource_is_the_set_of_its_keys() {
        let mut resources = Resources::default();
        let of = |resources: &mut Resources, keys: &[u32]| resources.id(keys.iter().copied().map(NameId).collect());
        let one = of(&mut resources, &[3, 1]).unwrap();
        assert_eq!(of(&mut resources, &[1, 3, 3]), Some(one));
        assert_ne!(of(&mut resources, &[1]), Some(one));
        assert!(resources.has(one, NameId(3)) && !resources.has(one, NameId(2)));
    }
}
