//! The XSD verdict: the official schemas, embedded, compiled at first use, and held against a file.
//!
//! Why not a general validator: libxml2 refuses white space around `xs:date`, uppsala 0.12 refuses an
//! empty `Nazione` (both against XSD 1.0, both in shared samples), and neither stops at the fiftieth
//! error nor speaks Italian. The schemas use a small part of XSD; what they do not use is refused when
//! they are compiled, so that a new official schema cannot be misread in silence.

mod compile;
mod pattern;
mod simple;
mod validate;

use std::sync::LazyLock;

use serde::Serialize;

use self::compile::Schemas;
use crate::xml::Tree;

/// One way in which a file does not conform to its schema (code 00200).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaFault {
    /// XPath of the element.
    pub path: String,
    /// Line of the text, from 1.
    pub line: usize,
    /// Italian sentence.
    pub sentence: String,
    /// What is there.
    pub found: Option<String>,
    /// What the schema wants.
    pub expected: Option<String>,
}

/// The official texts (see SOURCES.md of the shared folder for their hashes).
const TEXTS: [&str; 5] = [
    include_str!("../schema/xmldsig-core-schema.xsd"),
    include_str!("../schema/Schema_VFPR12_v1.2.3.xsd"),
    include_str!("../schema/Schema_VFSM10_v1.0.2.xsd"),
    include_str!("../schema/MessaggiTypes_v1.1.xsd"),
    include_str!("../schema/MessaggiFatturaTypes_v1.0.xsd"),
];

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    Schemas::compile(&TEXTS).expect("the embedded schemas compile, as a test shows")
});

/// Holds a file against the schema of its root element; stops after `max` faults.
#[must_use]
pub fn faults(tree: &Tree<'_>, max: usize) -> Vec<SchemaFault> {
    validate::run(&SCHEMAS, tree, max)
}

/// Compiles the schemas now rather than at the first file, for a host that wants its first answer fast.
pub fn warm_up() {
    LazyLock::force(&SCHEMAS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_official_schemas_compile() {
        Schemas::compile(&TEXTS).unwrap();
    }

    #[test]
    fn what_a_schema_of_ours_cannot_say_is_refused() {
        let text = r#"<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="u">
            <complexType name="A"><all/></complexType></schema>"#;
        assert!(Schemas::compile(&[text]).is_err());
    }
}
