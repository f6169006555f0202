//! The elements of a file as a flat tree over its text: 48 bytes an element, no copy of what needs none.
//! Never keeps comments or instructions; the signature module reads those from the text itself.

mod build;

use std::borrow::Cow;

use super::scan::{XmlError, forbidden};

const NONE: u32 = u32::MAX;

/// All elements of one file.
#[derive(Debug)]
pub struct Tree<'s> {
    source: &'s str,
    nodes: Vec<Node>,
    attributes: Vec<Stored>,
    namespaces: Vec<Cow<'s, str>>,
    /// Texts that had to be unescaped or joined.
    side: String,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    next: u32,
    first: u32,
    start: u32,
    end: u32,
    name: u32,
    text: u32,
    text_len: u32,
    attribute: u32,
    ns: u16,
    prefix_len: u16,
    name_len: u16,
    text_at: TextAt,
    has_mixed_text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextAt {
    Nowhere,
    Source,
    Side,
}

#[derive(Debug)]
struct Stored {
    node: u32,
    name: u32,
    name_len: u16,
    prefix_len: u16,
    ns: u16,
    in_side: bool,
    value: u32,
    value_len: u32,
}

impl<'s> Tree<'s> {
    /// Reads a text into a tree.
    ///
    /// # Errors
    /// [`XmlError`] when the text is not well-formed, has a DTD, or passes a limit.
    pub fn parse(source: &'s str) -> Result<Self, XmlError> {
        if u32::try_from(source.len()).is_err() {
            return Err(XmlError::Limit { what: "bytes", max: u32::MAX as usize });
        }
        if let Some(at) = forbidden(source) {
            return Err(fault(source, at, "a character that XML does not admit"));
        }
        // The reader below would skip it and count positions without it. A file's own mark is
        // gone by now: this is a second one.
        if source.starts_with('\u{FEFF}') {
            return Err(fault(source, 0, "text outside the root element"));
        }
        let tree = Self {
            source,
            nodes: Vec::with_capacity(source.len() / 30),
            attributes: Vec::new(),
            namespaces: vec![
                Cow::Borrowed(""),
                Cow::Borrowed("http://www.w3.org/XML/1998/namespace"),
            ],
            side: String::new(),
        };
        build::Builder::new(tree).run()
    }

    /// The root element.
    #[must_use]
    pub const fn root(&self) -> Element<'_> {
        Element { tree: self, id: 0 }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never true of a parsed tree: a document has a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// One element of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub struct Element<'t> {
    tree: &'t Tree<'t>,
    id: u32,
}

impl<'t> Element<'t> {
    fn node(self) -> &'t Node {
        &self.tree.nodes[self.id as usize]
    }

    /// Local name.
    #[must_use]
    pub fn name(self) -> &'t str {
        let node = self.node();
        let start = node.name as usize;
        let skip = if node.prefix_len == 0 { 0 } else { usize::from(node.prefix_len) + 1 };
        &self.tree.source[start + skip..start + usize::from(node.name_len)]
    }

    /// Name as written, with its prefix.
    #[must_use]
    pub fn qualified_name(self) -> &'t str {
        let node = self.node();
        &self.tree.source[node.name as usize..node.name as usize + usize::from(node.name_len)]
    }

    /// Namespace name; empty when there is none.
    #[must_use]
    pub fn namespace(self) -> &'t str {
        &self.tree.namespaces[usize::from(self.node().ns)]
    }

    /// The parent, unless this is the root.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        let parent = self.node().parent;
        (parent != NONE).then_some(Element { tree: self.tree, id: parent })
    }

    /// Child elements in order.
    pub fn children(self) -> impl Iterator<Item = Element<'t>> + Clone {
        let tree = self.tree;
        let at = |id: u32| (id != NONE).then_some(Element { tree, id });
        std::iter::successors(at(self.node().first), move |child| at(child.node().next))
    }

    /// The first child with this local name.
    #[must_use]
    pub fn child(self, name: &str) -> Option<Self> {
        self.children().find(|child| child.name() == name)
    }

    /// Text of an element without children, as written.
    #[must_use]
    pub fn text(self) -> &'t str {
        let node = self.node();
        let range = node.text as usize..(node.text + node.text_len) as usize;
        match node.text_at {
            TextAt::Nowhere => "",
            TextAt::Source => &self.tree.source[range],
            TextAt::Side => &self.tree.side[range],
        }
    }

    /// True when other text than white space stands beside child elements.
    #[must_use]
    pub fn has_mixed_text(self) -> bool {
        self.node().has_mixed_text
    }

    /// Attributes, namespace declarations excepted.
    pub fn attributes(self) -> impl Iterator<Item = Attribute<'t>> + Clone {
        let tree = self.tree;
        let from = self.node().attribute as usize;
        let own = tree.attributes.get(from..).unwrap_or_default();
        let id = self.id;
        own.iter().take_while(move |stored| stored.node == id).map(move |stored| {
            let name = stored.name as usize;
            let skip = if stored.prefix_len == 0 { 0 } else { usize::from(stored.prefix_len) + 1 };
            let range = stored.value as usize..(stored.value + stored.value_len) as usize;
            Attribute {
                name: &tree.source[name + skip..name + usize::from(stored.name_len)],
                namespace: &tree.namespaces[usize::from(stored.ns)],
                value: if stored.in_side { &tree.side[range] } else { &tree.source[range] },
            }
        })
    }

    /// Value of the unprefixed attribute of this name.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<&'t str> {
        self.attributes().find(|a| a.namespace.is_empty() && a.name == name).map(|a| a.value)
    }

    /// Where the element stands in the text, from its `<` to its last `>`.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.node().start as usize..self.node().end as usize
    }

    /// Line of the start tag, from 1.
    #[must_use]
    pub fn line(self) -> usize {
        line(self.tree.source, self.node().start as usize)
    }

    /// XPath of the element, counting brothers of one name where there are several.
    #[must_use]
    pub fn path(self) -> String {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(element) = at {
            let same = |other: &Element<'_>| other.name() == element.name();
            let step = match element.parent() {
                Some(parent) if parent.children().filter(same).nth(1).is_some() => {
                    let place = parent
                        .children()
                        .filter(same)
                        .position(|other| other.id == element.id)
                        .map_or(0, |before| before + 1);
                    format!("/{}[{place}]", element.name())
                }
                _ => format!("/{}", element.name()),
            };
            steps.push(step);
            at = element.parent();
        }
        steps.iter().rev().map(String::as_str).collect()
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'t> {
    /// Local name.
    pub name: &'t str,
    /// Namespace name; empty when there is none.
    pub namespace: &'t str,
    /// Value with references replaced.
    pub value: &'t str,
}

fn line(source: &str, at: usize) -> usize {
    source.as_bytes()[..at.min(source.len())].iter().filter(|b| **b == b'\n').count() + 1
}

fn fault(source: &str, at: usize, why: impl Into<String>) -> XmlError {
    XmlError::NotWellFormed { line: line(source, at), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_tells_names_texts_and_attributes() {
        let text =
            "\u{20}<!--x--><p:a xmlns:p='u' v='1&amp;2'>\n<b>x&lt;<![CDATA[&]]>y</b><b/>\r\n</p:a>";
        let tree = Tree::parse(text.trim_start()).unwrap();
        let root = tree.root();
        assert_eq!((root.name(), root.namespace(), root.qualified_name()), ("a", "u", "p:a"));
        assert_eq!(root.attribute("v"), Some("1&2"));
        let texts: Vec<_> = root.children().map(Element::text).collect();
        assert_eq!(texts, ["x<&y", ""]);
        assert_eq!(root.children().nth(1).unwrap().path(), "/a/b[2]");
        assert!(!root.has_mixed_text());
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for bad in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "<1/>",
            "<a b='1'c='2'/>",
            "<a b='<'/>",
            "<a b='1' b='2'/>",
            "<a>&x;</a>",
            "<a>]]></a>",
            "<a>\u{1}</a>",
            "<p:a/>",
            "<a>&#0;</a>",
            "<a> & </a>",
            "<a:b:c/>",
            "<a b/>",
            "<a/><?xml version='1.0'?>",
            "<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>",
            "<a><!-- -- --></a>",
        ] {
            assert!(Tree::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Tree::parse("<!DOCTYPE a []><a/>").unwrap_err(), XmlError::Dtd);
    }
}
