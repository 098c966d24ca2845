//! What operators' settings have in common.

use config::Section;

use super::entry::Field;
use super::expression::Expression;

/// A field that may be given.
pub(super) fn field(section: &mut Section<'_>, key: &'static str) -> Option<Field> {
    section
        .get(key)
        .parse_with("a field such as `body`, `attributes.level` or `resource[\"a.b\"]`", Field::parse)
        .optional()
}

/// A field that must be given.
pub(super) fn required_field(section: &mut Section<'_>, key: &'static str) -> Option<Field> {
    section
        .get(key)
        .parse_with("a field such as `body`, `attributes.level` or `resource[\"a.b\"]`", Field::parse)
        .required()
}

/// An expression that may be given.
pub(super) fn expression(section: &mut Section<'_>, key: &'static str) -> Option<Expression> {
    section.get(key).parse_with("an expression such as `body matches \"^ERROR\"`", Expression::parse).optional()
}

/// An expression that must be given.
pub(super) fn required_expression(section: &mut Section<'_>, key: &'static str) -> Option<Expression> {
    section.get(key).parse_with("an expression such as `body matches \"^ERROR\"`", Expression::parse).required()
}
