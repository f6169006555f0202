//! Canonical XML 1.0 and Exclusive Canonical XML 1.0 (W3C), without comments: the bytes that a digest or
//! signature covers. Works over the text of the file, leaving out the elements a transform subtracts.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::scan::{attributes, reference, unescape_into};
use crate::limits;

/// How namespaces are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All that are in scope.
    Inclusive,
    /// Only those used, and these prefixes.
    Exclusive(Vec<String>),
}

/// Writes the part of a well-formed text in `part`, without the parts in `without`.
pub(crate) fn canonical(
    source: &str,
    part: &Range<usize>,
    without: &[Range<usize>],
    mode: &Mode,
) -> Option<Vec<u8>> {
    let mut run = Run {
        mode,
        out: Vec::with_capacity(part.len()),
        scope: Vec::new(),
        rendered: Vec::new(),
        open: Vec::new(),
        is_document: part.start == 0 && part.end == source.len(),
        had_root: false,
    };
    let mut reader = Reader::from_str(source);
    loop {
        let from = usize::try_from(reader.buffer_position()).ok()?;
        let event = reader.read_event().ok()?;
        let to = usize::try_from(reader.buffer_position()).ok()?;
        let is_in = part.start <= from
            && to <= part.end
            && !without.iter().any(|hole| hole.start <= from && to <= hole.end);
        match event {
            Event::Start(_) => run.start(source.get(from + 1..to - 1)?, is_in)?,
            Event::Empty(_) => {
                run.start(source.get(from + 1..to - 2)?, is_in)?;
                run.end();
            }
            Event::End(_) => run.end(),
            Event::Text(_) if is_in && !run.open.is_empty() => run.text(&source[from..to]),
            Event::CData(_) if is_in => run.text(source.get(from + 9..to - 3)?),
            Event::GeneralRef(_) if is_in => {
                let c = reference(source.get(from + 1..to - 1)?)?;
                run.escaped(c);
            }
            Event::PI(_) if is_in => run.instruction(source.get(from..to)?),
            Event::Eof => return Some(run.out),
            _ => {}
        }
    }
}

struct Run<'m, 's> {
    mode: &'m Mode,
    out: Vec<u8>,
    /// Declarations in scope: prefix and namespace.
    scope: Vec<(&'s str, String)>,
    /// Declarations written by elements that are open in the output.
    rendered: Vec<(&'s str, String)>,
    open: Vec<Open<'s>>,
    is_document: bool,
    had_root: bool,
}

struct Open<'s> {
    name: &'s str,
    is_written: bool,
    scope: usize,
    rendered: usize,
}

impl<'s> Run<'_, 's> {
    fn start(&mut self, tag: &'s str, is_written: bool) -> Option<()> {
        if self.open.len() > limits::XML_DEPTH_MAX {
            return None;
        }
        let end = tag.find([' ', '\t', '\n', '\r']).unwrap_or(tag.len());
        let (name, rest) = tag.split_at(end);
        let mut found = Vec::new();
        attributes(rest, &mut found, |_| super::XmlError::Dtd).ok()?;
        let (scope, rendered) = (self.scope.len(), self.rendered.len());
        let mut plain: Vec<(&str, &str, String)> = Vec::new();
        for (attribute, raw) in found {
            let mut value = String::new();
            unescape_into(raw, &mut value).ok()?;
            match attribute.strip_prefix("xmlns") {
                Some("") => self.scope.push(("", value)),
                Some(prefix) if prefix.starts_with(':') => self.scope.push((&prefix[1..], value)),
                _ => {
                    let (prefix, local) = attribute.split_once(':').unwrap_or(("", attribute));
                    plain.push((prefix, local, value));
                }
            }
        }
        self.had_root = true;
        self.open.push(Open { name, is_written, scope, rendered });
        if !is_written {
            return Some(());
        }
        let prefix = name.split_once(':').map_or("", |(prefix, _)| prefix);
        let mut wanted: Vec<&'s str> = match self.mode {
            Mode::Inclusive => self.scope.iter().map(|(prefix, _)| *prefix).collect(),
            Mode::Exclusive(also) => {
                let listed = self.scope.iter().map(|(prefix, _)| *prefix).filter(|prefix| {
                    let name = if prefix.is_empty() { "#default" } else { prefix };
                    also.iter().any(|other| other == name)
                });
                let used = plain.iter().map(|(prefix, ..)| *prefix).filter(|p| !p.is_empty());
                let mut all: Vec<&str> = listed.collect();
                all.push(prefix);
                // The prefixes of attributes are slices of the same text.
                for prefix in used {
                    if let Some((declared, _)) = self.scope.iter().find(|(p, _)| *p == prefix) {
                        all.push(declared);
                    }
                }
                all
            }
        };
        wanted.sort_unstable();
        wanted.dedup();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        for prefix in wanted {
            if prefix == "xml" {
                continue;
            }
            let value = lookup(&self.scope, prefix).unwrap_or_default().to_owned();
            let before = lookup(&self.rendered, prefix);
            if before == Some(value.as_str()) || (before.is_none() && value.is_empty()) {
                continue;
            }
            self.out.extend_from_slice(if prefix.is_empty() { b" xmlns" } else { b" xmlns:" });
            self.out.extend_from_slice(prefix.as_bytes());
            self.attribute_value(&value);
            self.rendered.push((prefix, value));
        }
        let mut sorted: Vec<(String, &str, &str, String)> = plain
            .into_iter()
            .map(|(prefix, local, value)| {
                let namespace = match prefix {
                    "" => "",
                    "xml" => "http://www.w3.org/XML/1998/namespace",
                    _ => lookup(&self.scope, prefix).unwrap_or_default(),
                };
                (namespace.to_owned(), local, prefix, value)
            })
            .collect();
        sorted.sort();
        for (_, local, prefix, value) in sorted {
            self.out.push(b' ');
            if !prefix.is_empty() {
                self.out.extend_from_slice(prefix.as_bytes());
                self.out.push(b':');
            }
            self.out.extend_from_slice(local.as_bytes());
            self.attribute_value(&value);
        }
        self.out.push(b'>');
        Some(())
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if open.is_written {
            self.out.extend_from_slice(b"</");
            self.out.extend_from_slice(open.name.as_bytes());
            self.out.push(b'>');
        }
        self.scope.truncate(open.scope);
        self.rendered.truncate(open.rendered);
    }

    fn instruction(&mut self, raw: &str) {
        let is_outside = self.open.is_empty();
        if is_outside && !self.is_document {
            return;
        }
        if is_outside && self.had_root {
            self.out.push(b'\n');
        }
        let inner = raw.trim_start_matches("<?").trim_end_matches("?>");
        let (target, data) = inner.split_once([' ', '\t', '\n', '\r']).unwrap_or((inner, ""));
        self.out.extend_from_slice(b"<?");
        self.out.extend_from_slice(target.as_bytes());
        let data = data.trim_start_matches([' ', '\t', '\n', '\r']);
        if !data.is_empty() {
            self.out.push(b' ');
            self.out.extend_from_slice(data.replace("\r\n", "\n").as_bytes());
        }
        self.out.extend_from_slice(b"?>");
        if is_outside && !self.had_root {
            self.out.push(b'\n');
        }
    }

    fn text(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            // A literal carriage return is a line end of the file; only a reference makes it a character.
            if c == '\r' {
                if chars.peek() != Some(&'\n') {
                    self.out.push(b'\n');
                }
                continue;
            }
            self.escaped(c);
        }
    }

    fn escaped(&mut self, c: char) {
        match c {
            '&' => self.out.extend_from_slice(b"&amp;"),
            '<' => self.out.extend_from_slice(b"&lt;"),
            '>' => self.out.extend_from_slice(b"&gt;"),
            '\r' => self.out.extend_from_slice(b"&#xD;"),
            c => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    fn attribute_value(&mut self, value: &str) {
        self.out.extend_from_slice(b"=\"");
        for c in value.chars() {
            match c {
                '&' => self.out.extend_from_slice(b"&amp;"),
                '<' => self.out.extend_from_slice(b"&lt;"),
                '"' => self.out.extend_from_slice(b"&quot;"),
                '\t' => self.out.extend_from_slice(b"&#x9;"),
                '\n' => self.out.extend_from_slice(b"&#xA;"),
                '\r' => self.out.extend_from_slice(b"&#xD;"),
                c => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.out.push(b'"');
    }
}

fn lookup<'a>(list: &'a [(&str, String)], prefix: &str) -> Option<&'a str> {
    list.iter().rev().find(|(name, _)| *name == prefix).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: &str, mode: &Mode) -> String {
        String::from_utf8(canonical(source, &(0..source.len()), &[], mode).unwrap()).unwrap()
    }

    /// Examples 3.1 to 3.3 of Canonical XML 1.0, as far as they need no DTD.
    #[test]
    fn the_examples_of_the_recommendation_hold() {
        let source = "<?xml version=\"1.0\"?>\n<?xml-stylesheet   href=\"doc.xsl\" ?>\n<doc>x<!-- c --></doc>\n<?done?>";
        let expected = "<?xml-stylesheet href=\"doc.xsl\" ?>\n<doc>x</doc>\n<?done?>";
        assert_eq!(whole(source, &Mode::Inclusive), expected);
        let source = "<e5 a:attr=\"out\" b:attr=\"sorted\" attr2=\"all\" attr=\"I'm\"\n xmlns:b=\"http://b\" xmlns:a=\"http://a\" xmlns=\"http://d\"/>";
        let expected = "<e5 xmlns=\"http://d\" xmlns:a=\"http://a\" xmlns:b=\"http://b\" attr=\"I'm\" attr2=\"all\" a:attr=\"out\" b:attr=\"sorted\"></e5>";
        assert_eq!(whole(source, &Mode::Inclusive), expected);
        let source =
            "<a xmlns:x='u' xmlns:y='v'><x:b y:c='&#9;&lt;'>&gt;<![CDATA[&]]>\r\n</x:b></a>";
        let expected =
            "<a><x:b xmlns:x=\"u\" xmlns:y=\"v\" y:c=\"&#x9;&lt;\">&gt;&amp;\n</x:b></a>";
        assert_eq!(whole(source, &Mode::Exclusive(vec![])), expected);
    }

    #[test]
    fn a_part_keeps_its_scope_and_loses_its_holes() {
        let source = "<a xmlns='u' xmlns:s='v'><b>1<s:c/>2</b></a>";
        let part = source.find("<b>").unwrap()..source.find("</a>").unwrap();
        let hole = source.find("<s:c/>").unwrap();
        let inclusive =
            canonical(source, &part, std::slice::from_ref(&(hole..hole + 6)), &Mode::Inclusive)
                .unwrap();
        assert_eq!(inclusive, b"<b xmlns=\"u\" xmlns:s=\"v\">12</b>");
    }
}
