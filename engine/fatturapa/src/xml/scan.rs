//! What well-formed XML demands beyond what the tokenizer checks: names, characters, attributes,
//! references. Never knows a document type.

use crate::limits;

/// Why a text is not XML that we accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// The encoding cannot be read.
    #[error("the file declares encoding {declared:?}; save it as UTF-8")]
    Encoding {
        /// What the declaration says.
        declared: String,
    },
    /// A document type declaration, refused before anything is expanded.
    #[error("the file has a DOCTYPE, which no invoice needs and which is refused; remove it")]
    Dtd,
    /// Not well-formed.
    #[error("not well-formed XML at line {line}: {why}")]
    NotWellFormed {
        /// Line of the text, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A bound of [`crate::limits`] was passed.
    #[error("the file has too many {what}: more than {max}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
}

/// White space of XML (production S).
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// True for an NCName (Namespaces in XML, production NCName).
pub(crate) fn is_ncname(name: &str) -> bool {
    if name.is_ascii() {
        let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        return name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(rest);
    }
    let mut chars = name.chars();
    chars.next().is_some_and(starts_name) && chars.all(continues_name)
}

const fn starts_name(c: char) -> bool {
    matches!(c, 'A'..='Z' | 'a'..='z' | '_' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}'
        | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

const fn continues_name(c: char) -> bool {
    starts_name(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}'
            | '\u{203F}'..='\u{2040}')
}

/// True for a character that XML 1.0 admits (production Char).
pub(crate) const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Position of the first character that XML does not admit. Looks at blocks of bytes, which the compiler
/// turns into vector code, and at single characters only in a block that may hold one.
pub(crate) fn forbidden(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    // U+FFFE and U+FFFF begin with the byte EF in UTF-8, and nothing of Latin-1 does.
    let suspect = |b: u8| (b < 0x20 && !is_space(b)) || b == 0xEF;
    for (block, part) in bytes.chunks(64).enumerate() {
        if !part.iter().fold(false, |found, b| found | suspect(*b)) {
            continue;
        }
        for (at, b) in part.iter().enumerate() {
            let at = block * 64 + at;
            let is_last = matches!(bytes.get(at..at + 3), Some([0xEF, 0xBF, 0xBE | 0xBF]));
            if (*b != 0xEF && suspect(*b)) || is_last {
                return Some(at);
            }
        }
    }
    None
}

/// The character of a reference, given what stands between `&` and `;`.
pub(crate) fn reference(name: &str) -> Option<char> {
    match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => {}
    }
    let digits = name.strip_prefix('#')?;
    let (digits, radix) = digits.strip_prefix('x').map_or((digits, 10), |hex| (hex, 16));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).filter(|c| is_char(*c))
}

/// Appends an attribute value with its references replaced and its white space normalised
/// (XML 1.0 section 3.3.3).
pub(crate) fn unescape_into(raw: &str, out: &mut String) -> Result<(), &'static str> {
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\t', '\n', '\r']) {
        out.push_str(&rest[..at]);
        if rest.as_bytes()[at] == b'&' {
            let end = rest[at..].find(';').ok_or("an & must be written &amp;")? + at;
            out.push(reference(&rest[at + 1..end]).ok_or("an unknown entity is used")?);
            rest = &rest[end + 1..];
        } else {
            let width = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
            out.push(' ');
            rest = &rest[at + width..];
        }
    }
    out.push_str(rest);
    Ok(())
}

/// Splits what follows the name in a start tag into (name, raw value) pairs, strictly.
pub(crate) fn attributes<'s>(
    tag: &'s str,
    found: &mut Vec<(&'s str, &'s str)>,
    fail: impl Fn(&str) -> XmlError,
) -> Result<(), XmlError> {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    found.clear();
    let mut rest = tag;
    loop {
        let trimmed = rest.trim_start_matches(SPACE);
        if trimmed.is_empty() {
            return Ok(());
        }
        if trimmed.len() == rest.len() {
            return Err(fail("attributes must be separated by a blank"));
        }
        let (name, after) =
            trimmed.split_once('=').ok_or_else(|| fail("an attribute has no value"))?;
        let name = name.trim_end_matches(SPACE);
        let after = after.trim_start_matches(SPACE);
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let quote = quote.ok_or_else(|| fail("an attribute value must be quoted"))?;
        let (value, after) = after[1..]
            .split_once(quote)
            .ok_or_else(|| fail("the quote of an attribute value is not closed"))?;
        if value.contains('<') {
            return Err(fail("an attribute value contains <"));
        }
        if !is_qname(name) {
            return Err(fail("an attribute has a name that XML does not admit"));
        }
        if found.iter().any(|(other, _)| *other == name) {
            return Err(fail("an attribute is given twice"));
        }
        if found.len() == limits::XML_ATTRIBUTES_MAX {
            return Err(XmlError::Limit { what: "attributes", max: limits::XML_ATTRIBUTES_MAX });
        }
        found.push((name, value));
        rest = after;
    }
}

/// True for a name with at most one prefix.
pub(crate) fn is_qname(name: &str) -> bool {
    name.len() <= limits::XML_NAME_BYTES_MAX
        && match name.split_once(':') {
            Some((prefix, local)) => is_ncname(prefix) && is_ncname(local),
            None => is_ncname(name),
        }
}
