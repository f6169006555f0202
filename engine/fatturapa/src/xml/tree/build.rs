//! Builds a [`Tree`] from the events of the tokenizer, checking what well-formed XML demands.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::{NONE, Node, Stored, TextAt, Tree, fault};
use crate::limits;
use crate::xml::scan::{self, XmlError, attributes, is_qname, is_space, reference};

struct Open {
    node: u32,
    last_child: u32,
    scope: usize,
}

pub(super) struct Builder<'s> {
    tree: Tree<'s>,
    stack: Vec<Open>,
    /// Prefixes in scope with their namespace; the default namespace has an empty prefix.
    scope: Vec<(&'s str, u16)>,
    /// Attributes of the start tag being read.
    found: Vec<(&'s str, &'s str)>,
}

impl<'s> Builder<'s> {
    pub(super) const fn new(tree: Tree<'s>) -> Self {
        Self { tree, stack: Vec::new(), scope: Vec::new(), found: Vec::new() }
    }

    pub(super) fn run(mut self) -> Result<Tree<'s>, XmlError> {
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
        if text.as_bytes().contains(&b']') && text.contains("]]>") {
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
