//! Values from the configuration.

use config::{Kind, Node};
use otlp::encode::{AttributesWriter, ValueWriter};
use otlp::view::AnyValueView;

/// A value of the configuration, of the type that YAML gives it, as the bytes of an `AnyValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constant(Vec<u8>);

impl Constant {
    /// The value of a node that is not null.
    pub(crate) fn read(node: &Node) -> Result<Constant, String> {
        let mut field = Vec::new();
        write(node, ValueWriter::new(&mut field, 1));
        let message = otlp::wire::Fields::new(&field).next().map(|field| field.value.bytes().to_vec());
        message.map(Constant).ok_or_else(String::new)
    }

    pub(crate) fn view(&self) -> AnyValueView<'_> {
        AnyValueView::new(&self.0)
    }
}

/// Recurses as deep as the configuration, which is bounded.
fn write(node: &Node, value: ValueWriter<'_>) {
    match node.kind() {
        Kind::Null => value.empty(),
        Kind::Bool(flag) => value.bool(*flag),
        Kind::Int(number) => value.int(*number),
        Kind::Float(number) => value.double(*number),
        Kind::String(text) => value.string(text),
        Kind::Seq(items) => value.array(|values| items.iter().for_each(|item| write(item, values.value()))),
        Kind::Map(map) => value.kvlist(|pairs: &mut AttributesWriter<'_>| {
            map.iter().for_each(|entry| write(&entry.value, pairs.value(&entry.key)));
        }),
    }
}
