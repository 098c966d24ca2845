//! Whether any action could do anything to a record, decided without reading its attributes into a list.

use otlp::view::{KeyValueView, KeyValues};
use otlp::wire::read_varint;
use regex::Regex;

use super::{Action, Source, Target};

/// What a record must have so that an action does something. Where no action does anything to the attributes as they
/// come, none does anything at all.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Something is done to every record.
    is_general: bool,
    keys: Vec<String>,
    patterns: Vec<Regex>,
}

impl Interest {
    pub(super) fn of(actions: &[Action]) -> Interest {
        let mut interest = Interest::default();
        for action in actions {
            match action {
                Action::Insert { source: Source::Constant(_), .. }
                | Action::Upsert { source: Source::Constant(_), .. } => {
                    interest.is_general = true;
                }
                Action::Insert { source: Source::Attribute { key, default }, .. }
                | Action::Upsert { source: Source::Attribute { key, default }, .. } => {
                    interest.is_general |= default.is_some();
                    interest.keys.push(key.clone());
                }
                Action::Update { key, .. } | Action::Extract { key, .. } | Action::Convert { key, .. } => {
                    interest.keys.push(key.clone());
                }
                Action::Delete(Target { key, pattern }) | Action::Hash(Target { key, pattern }) => {
                    interest.keys.extend(key.clone());
                    interest.patterns.extend(pattern.clone());
                }
            }
        }
        interest
    }

    /// Whether an action may do something to these attributes.
    pub(super) fn is_met(&self, attributes: KeyValues<'_>) -> bool {
        self.is_general || attributes.messages().any(|message| self.has(key(message)))
    }

    fn has(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|own| own.as_bytes() == key)
            || (!self.patterns.is_empty()
                && std::str::from_utf8(key).is_ok_and(|key| self.patterns.iter().any(|pattern| pattern.is_match(key))))
    }
}

/// The key of a `KeyValue`. Encoders write the key and then the value and nothing else; whatever looks otherwise is
/// read in full, since of a key that comes twice the last one counts.
fn key(message: &[u8]) -> &[u8] {
    usual_key(message).unwrap_or_else(|| KeyValueView::new(message).key_bytes())
}

fn usual_key(message: &[u8]) -> Option<&[u8]> {
    const KEY: u8 = 0x0a;
    const VALUE: u8 = 0x12;
    let (key, rest) = field(message, KEY)?;
    let (_, rest) = field(rest, VALUE)?;
    rest.is_empty().then_some(key)
}

/// A length-delimited field with this tag at the front, and what is behind it.
fn field(message: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    if message.first() != Some(&tag) {
        return None;
    }
    let (length, start) = read_varint(message, 1)?;
    message.get(start..)?.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use otlp::wire::{write_bytes_field, write_varint_field};

    use super::*;

    fn check(fields: &[(u32, &str)], expected: &str) {
        let mut message = Vec::new();
        fields.iter().for_each(|(number, text)| write_bytes_field(&mut message, *number, text.as_bytes()));
        assert_eq!(key(&message), expected.as_bytes(), "{fields:?}");
        assert_eq!(key(&message), KeyValueView::new(&message).key_bytes());
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        check(&[(1, "key"), (2, "value")], "key");
        check(&[(2, "value"), (1, "key")], "key");
        check(&[(1, "key")], "key");
        check(&[(2, "value")], "");
        check(&[], "");
        check(&[(1, "harmless"), (2, "value"), (1, "secret")], "secret");
        check(&[(1, "harmless"), (1, "secret"), (2, "value")], "secret");
        check(&[(1, &"k".repeat(300)), (2, "value")], &"k".repeat(300));
    }

    #[test]
    fn unknown_fields_and_broken_ends_do_no_harm() {
        let mut message = Vec::new();
        write_bytes_field(&mut message, 1, b"key");
        write_bytes_field(&mut message, 2, b"value");
        for end in 0..message.len() {
            assert_eq!(key(&message[..end]), KeyValueView::new(&message[..end]).key_bytes());
        }
        write_varint_field(&mut message, 3, 7);
        assert_eq!(key(&message), b"key");
    }
}
