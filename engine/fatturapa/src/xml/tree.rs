//! The elements of a file as a flat tree over its text: 48 bytes an element, no copy of what needs none.
//! Never keeps comments or instructions; the signature module reads those from the text itself.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::scan::{self, XmlError, attributes, forbidden, is_qname, is_space, reference};
use crate::limits;

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

struct Open {
    node: u32,
    last_child: u32,
    scope: usize,
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
        let tree = Self {
            source,
            nodes: Vec::with_capacity((source.len() / 40).min(65_536)),
            attributes: Vec::new(),
            namespaces: vec![
                Cow::Borrowed(""),
                Cow::Borrowed("http://www.w3.org/XML/1998/namespace"),
            ],
            side: String::new(),
        };
        Builder { tree, stack: Vec::new(), scope: Vec::new(), found: Vec::new() }.run()
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

struct Builder<'s> {
    tree: Tree<'s>,
    stack: Vec<Open>,
    /// Prefixes in scope with their namespace; the default namespace has an empty prefix.
    scope: Vec<(&'s str, u16)>,
    /// Attributes of the start tag being read.
    found: Vec<(&'s str, &'s str)>,
}

impl<'s> Builder<'s> {
    fn run(mut self) -> Result<Tree<'s>, XmlError> {
        let source = self.tree.source;
        let mut reader = Reader::from_str(source);
        reader.config_mut().check_comments = true;
        loop {
            let from = offset(reader.buffer_position(), source);
            let event = reader.read_event().map_err(|error| {
                fault(source, offset(reader.error_position(), source), error.to_string())
            })?;
            let to = offset(reader.buffer_position(), source);
            match event {
                Event::Start(_) => self.start(from, to, false)?,
                Event::Empty(_) => self.start(from, to, true)?,
                Event::End(_) => self.end(to),
                Event::Text(_) => self.text(from, to)?,
                Event::CData(_) => {
                    if self.stack.is_empty() {
                        return Err(fault(source, from, "text outside the root element"));
                    }
                    let inner = source.get(from + 9..to.saturating_sub(3)).unwrap_or_default();
                    self.append(from + 9, inner);
                }
                Event::GeneralRef(_) => {
                    let name = source.get(from + 1..to.saturating_sub(1)).unwrap_or_default();
                    let c = reference(name)
                        .ok_or_else(|| fault(source, from, format!("unknown entity &{name};")))?;
                    if self.stack.is_empty() {
                        return Err(fault(source, from, "text outside the root element"));
                    }
                    self.append_owned(c.encode_utf8(&mut [0; 4]));
                }
                Event::Comment(_) => {}
                Event::Decl(_) => {
                    if from != 0 {
                        return Err(fault(source, from, "the XML declaration must come first"));
                    }
                }
                Event::PI(_) => {
                    let target = source.get(from + 2..from + 5).unwrap_or_default();
                    if target.eq_ignore_ascii_case("xml")
                        && source.as_bytes().get(from + 5).is_none_or(|b| is_space(*b))
                    {
                        return Err(fault(source, from, "the XML declaration must come first"));
                    }
                }
                Event::DocType(_) => return Err(XmlError::Dtd),
                Event::Eof => break,
            }
        }
        if !self.stack.is_empty() {
            return Err(fault(source, source.len(), "the file ends before its root element"));
        }
        if self.tree.nodes.is_empty() {
            return Err(fault(source, source.len(), "there is no root element"));
        }
        Ok(self.tree)
    }

    fn start(&mut self, from: usize, to: usize, is_empty: bool) -> Result<(), XmlError> {
        let source = self.tree.source;
        if self.stack.is_empty() && !self.tree.nodes.is_empty() {
            return Err(fault(source, from, "a second root element"));
        }
        let id = u32::try_from(self.tree.nodes.len()).unwrap_or(NONE);
        if id >= limits::XML_ELEMENTS_MAX {
            let max = limits::XML_ELEMENTS_MAX as usize;
            return Err(XmlError::Limit { what: "elements", max });
        }
        if self.stack.len() >= limits::XML_DEPTH_MAX {
            return Err(XmlError::Limit { what: "nested elements", max: limits::XML_DEPTH_MAX });
        }
        let inner = source.get(from + 1..to - if is_empty { 2 } else { 1 }).unwrap_or_default();
        let name_len = inner.bytes().position(is_space).unwrap_or(inner.len());
        let (name, rest) = inner.split_at(name_len);
        if !is_qname(name) {
            return Err(fault(source, from, "an element has a name that XML does not admit"));
        }
        let parent = self.stack.last().map_or(NONE, |open| open.node);
        let scope = self.scope.len();
        let attribute = u32::try_from(self.tree.attributes.len()).unwrap_or(NONE);
        if !rest.is_empty() {
            let fail = |why: &str| fault(source, from, why);
            attributes(rest, &mut self.found, fail)?;
            self.declare(from)?;
            self.keep_attributes(id, from, rest)?;
        }
        let (prefix, _) = name.split_once(':').unwrap_or(("", name));
        let ns = self.resolve(prefix, from)?;
        self.tree.nodes.push(Node {
            parent,
            next: NONE,
            first: NONE,
            start: narrow(from),
            end: narrow(to),
            name: narrow(from + 1),
            text: 0,
            text_len: 0,
            attribute,
            ns,
            prefix_len: u16::try_from(prefix.len()).unwrap_or_default(),
            name_len: u16::try_from(name.len()).unwrap_or_default(),
            text_at: TextAt::Nowhere,
            has_mixed_text: false,
        });
        if let Some(open) = self.stack.last_mut() {
            let last = std::mem::replace(&mut open.last_child, id);
            let parent = &mut self.tree.nodes[open.node as usize];
            if last == NONE {
                parent.first = id;
                Self::drop_text(parent, source, &mut self.tree.side);
            } else {
                self.tree.nodes[last as usize].next = id;
            }
        }
        if is_empty {
            self.scope.truncate(scope);
        } else {
            self.stack.push(Open { node: id, last_child: NONE, scope });
        }
        Ok(())
    }

    /// The text before a first child matters only if it is more than white space.
    fn drop_text(node: &mut Node, source: &str, side: &mut String) {
        let range = node.text as usize..(node.text + node.text_len) as usize;
        let text = match node.text_at {
            TextAt::Nowhere => "",
            TextAt::Source => &source[range],
            TextAt::Side => &side[range],
        };
        node.has_mixed_text = !text.bytes().all(is_space);
        if node.text_at == TextAt::Side {
            side.truncate(node.text as usize);
        }
        (node.text_at, node.text, node.text_len) = (TextAt::Nowhere, 0, 0);
    }

    fn end(&mut self, to: usize) {
        if let Some(open) = self.stack.pop() {
            self.tree.nodes[open.node as usize].end = narrow(to);
            self.scope.truncate(open.scope);
        }
    }

    fn text(&mut self, from: usize, to: usize) -> Result<(), XmlError> {
        let source = self.tree.source;
        let text = &source[from..to];
        if self.stack.is_empty() {
            return if text.bytes().all(is_space) {
                Ok(())
            } else {
                Err(fault(source, from, "text outside the root element"))
            };
        }
        if text.contains("]]>") {
            return Err(fault(source, from, "]]> in text"));
        }
        self.append(from, text);
        Ok(())
    }

    fn append(&mut self, from: usize, text: &str) {
        if text.contains('\r') {
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            return self.append_owned(&text);
        }
        let Some(open) = self.stack.last() else { return };
        let node = &mut self.tree.nodes[open.node as usize];
        if node.first == NONE && node.text_at == TextAt::Nowhere {
            node.text_at = TextAt::Source;
            (node.text, node.text_len) = (narrow(from), narrow(text.len()));
        } else {
            self.append_owned(text);
        }
    }

    fn append_owned(&mut self, text: &str) {
        let Some(open) = self.stack.last() else { return };
        let node = &mut self.tree.nodes[open.node as usize];
        if node.first != NONE {
            node.has_mixed_text |= !text.bytes().all(is_space);
            return;
        }
        let side = &mut self.tree.side;
        if node.text_at != TextAt::Side {
            let before = node.text as usize..(node.text + node.text_len) as usize;
            node.text = narrow(side.len());
            side.push_str(&self.tree.source[before]);
            node.text_at = TextAt::Side;
        }
        side.push_str(text);
        node.text_len = narrow(side.len()) - node.text;
    }

    /// Brings the namespace declarations of a start tag into scope.
    fn declare(&mut self, from: usize) -> Result<(), XmlError> {
        let source = self.tree.source;
        let fail = |why: &str| fault(source, from, why);
        for &(name, raw) in &self.found {
            let prefix = match name.strip_prefix("xmlns") {
                Some("") => "",
                Some(rest) if rest.starts_with(':') => &rest[1..],
                _ => continue,
            };
            let mut value = String::new();
            scan::unescape_into(raw, &mut value).map_err(fail)?;
            if prefix == "xmlns" || (!prefix.is_empty() && value.is_empty()) {
                return Err(fail("a namespace declaration that XML does not admit"));
            }
            let known = self.tree.namespaces.iter().position(|ns| *ns == value);
            let ns = known.unwrap_or(self.tree.namespaces.len());
            if ns >= limits::XML_NAMESPACE_NAMES_MAX {
                let max = limits::XML_NAMESPACE_NAMES_MAX;
                return Err(XmlError::Limit { what: "namespace names", max });
            }
            if known.is_none() {
                self.tree.namespaces.push(Cow::Owned(value));
            }
            if self.scope.len() >= limits::XML_NAMESPACES_MAX {
                let max = limits::XML_NAMESPACES_MAX;
                return Err(XmlError::Limit { what: "namespace declarations", max });
            }
            self.scope.push((prefix, u16::try_from(ns).unwrap_or_default()));
        }
        Ok(())
    }

    fn keep_attributes(&mut self, node: u32, from: usize, rest: &'s str) -> Result<(), XmlError> {
        let source = self.tree.source;
        let base = rest.as_ptr() as usize - source.as_ptr() as usize;
        let place = |part: &str| narrow(base + (part.as_ptr() as usize - rest.as_ptr() as usize));
        let fail = |why: &str| fault(source, from, why);
        for at in 0..self.found.len() {
            let (name, raw) = self.found[at];
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            let (prefix, local) = name.split_once(':').unwrap_or(("", name));
            let ns = if prefix.is_empty() { 0 } else { self.resolve(prefix, from)? };
            let own = self.tree.attributes.iter().rev().take_while(|a| a.node == node);
            let is_twice = own.clone().any(|other| {
                let end = other.name as usize + usize::from(other.name_len);
                ns != 0 && other.ns == ns && source[..end].ends_with(local) && {
                    let skip = usize::from(other.prefix_len) + 1;
                    &source[other.name as usize + skip..end] == local
                }
            });
            if is_twice {
                return Err(fail("an attribute is given twice"));
            }
            let in_side = raw.contains(['&', '\t', '\n', '\r']);
            let (value, value_len) = if in_side {
                let at = self.tree.side.len();
                scan::unescape_into(raw, &mut self.tree.side).map_err(fail)?;
                (narrow(at), narrow(self.tree.side.len() - at))
            } else {
                (place(raw), narrow(raw.len()))
            };
            self.tree.attributes.push(Stored {
                node,
                name: place(name),
                name_len: u16::try_from(name.len()).unwrap_or_default(),
                prefix_len: u16::try_from(prefix.len()).unwrap_or_default(),
                ns,
                in_side,
                value,
                value_len,
            });
        }
        Ok(())
    }

    fn resolve(&self, prefix: &str, from: usize) -> Result<u16, XmlError> {
        if let Some((_, ns)) = self.scope.iter().rev().find(|(name, _)| *name == prefix) {
            return Ok(*ns);
        }
        match prefix {
            "" => Ok(0),
            "xml" => Ok(1),
            _ => {
                let why = format!("the prefix {prefix} is not declared");
                Err(fault(self.tree.source, from, why))
            }
        }
    }
}

fn offset(position: u64, source: &str) -> usize {
    usize::try_from(position).unwrap_or(source.len()).min(source.len())
}

/// Positions fit because [`Tree::parse`] refuses a longer source.
fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
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
