//! The invoices all systems are given: those of the benches, as the JSON a rival would store.
//!
//! The JSON has every field of the XML, in its order, by the XML's own names; ours is given the XML.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use benches::workload::Invoice;
use engine::id::VatNumber;
use serde_json::{Map, Value, json};

/// The tenant whose invoices these are.
pub fn tenant() -> io::Result<VatNumber> {
    VatNumber::parse("02038490237").map_err(io::Error::other)
}

/// Invoice `n` as JSON, with its name as `_id`.
pub fn as_json(invoice: &Invoice, n: u64) -> Value {
    let text = String::from_utf8_lossy(&invoice.xml);
    let mut at = text.find("<Fattura").unwrap_or(0);
    let mut document = Map::new();
    document.insert("_id".into(), format!("{n:07}").into());
    document.insert("nome".into(), invoice.name.as_str().into());
    while let Some((name, value)) = element(&text, &mut at) {
        document.insert(name.into(), value);
    }
    Value::Object(document)
}

/// Status change `k` as all systems are told it, and which invoice it is about.
pub fn change(k: u64) -> Value {
    let (sdi, at) = (10_000_000_000 + k * 900 + k * 7919 % 900, 1_760_000_000_000 + k * 7000);
    json!({"fattura": format!("{k:07}"), "tipo": "RC", "sdi": sdi.to_string(), "at": at + k * 104_729 % 7000})
}

/// Reads one element of XML without attributes, as our workload writes it; repeated ones become a list.
fn element<'a>(text: &'a str, at: &mut usize) -> Option<(&'a str, Value)> {
    let rest = text[*at..].strip_prefix('<')?;
    if rest.starts_with('/') {
        return None;
    }
    let name = &rest[..rest.find('>')?];
    *at += name.len() + 2;
    let mut children = Map::new();
    while let Some((child, value)) = element(text, at) {
        match children.get_mut(child) {
            Some(Value::Array(list)) => list.push(value),
            Some(other) => *other = Value::Array(vec![other.take(), value]),
            None => drop(children.insert(child.into(), value)),
        }
    }
    let close = text[*at..].find("</")?;
    let value = match children.is_empty() {
        true => text[*at..*at + close].into(),
        false => Value::Object(children),
    };
    *at += close + name.len() + 3;
    Some((name, value))
}

/// Writes `count` invoices, one JSON a line, and returns their bytes.
pub fn write_lines(path: &Path, count: u64) -> io::Result<u64> {
    let tenant = tenant()?;
    let mut out = BufWriter::new(File::create(path)?);
    let mut bytes = 0;
    for n in 0..count {
        let line = as_json(&Invoice::received(tenant, n), n).to_string();
        bytes += line.len() as u64;
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_xml_is_in_the_json() {
        let invoice = Invoice::received(tenant().unwrap(), 7);
        let json = as_json(&invoice, 7);
        let lines = &json["FatturaElettronicaBody"]["DatiBeniServizi"]["DettaglioLinee"];
        assert_eq!(lines.as_array().map(Vec::len), Some(8));
        let text = json.to_string();
        let xml = String::from_utf8(invoice.xml).unwrap();
        for part in xml.split('>').filter_map(|part| part.split_once('<')).map(|(text, _)| text) {
            assert!(text.contains(part.trim()), "{part}");
        }
    }
}
