//! Arrays: one dimension, as text between braces and in PostgreSQL's binary form.

use rusqlite::types::ValueRef;

use super::Ty;
use crate::error::SqlError;

/// The elements of `{a,"b,c",NULL}`.
#[must_use]
pub fn elements(text: &str) -> Vec<Option<String>> {
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let Some(inner) = inner.filter(|inner| !inner.is_empty()) else { return Vec::new() };
    let mut elements = Vec::new();
    let (mut element, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut chars = inner.chars();
    let mut finish = |element: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(element);
        let null = !*was_quoted && text.eq_ignore_ascii_case("null");
        elements.push((!null).then_some(text));
        *was_quoted = false;
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => element.extend(chars.next()),
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => finish(&mut element, &mut was_quoted),
            c => element.push(c),
        }
    }
    finish(&mut element, &mut was_quoted);
    elements
}

/// In the binary form.
pub(super) fn write_binary(
    ty: Ty,
    elements: &[Option<String>],
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let element = ty.element();
    let count = u32::try_from(elements.len()).unwrap_or(0);
    out.extend(u32::from(count > 0).to_be_bytes());
    out.extend(u32::from(elements.iter().any(Option::is_none)).to_be_bytes());
    out.extend(element.oid().to_be_bytes());
    if count > 0 {
        out.extend(count.to_be_bytes());
        out.extend(1_u32.to_be_bytes());
    }
    for text in elements {
        let Some(text) = text else {
            out.extend((-1_i32).to_be_bytes());
            continue;
        };
        let mut bytes = Vec::new();
        element.write_binary(ValueRef::from(&element.parse(text)?), &mut bytes)?;
        out.extend(u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        out.extend(bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_falls_into_its_elements() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(elements("{r,\"a,\\\"b\",NULL}"), [some("r"), some("a,\"b"), None]);
        assert_eq!(elements("{}"), []);
    }
}
