//! From a FatturaPA file to what the engine says about it, and back to a file name.

use engine::{
    bundle::Item,
    document::{
        DocumentError,
        invoice::{self, Direction, InvoiceContent, Party, Receiving},
    },
    id::{BlobHash, DocumentId, LogId},
};
use fatturapa::invoice::{InvoiceFile, ReadError, read};

/// An invoice file that was read, ready to be said.
#[derive(Clone, Debug)]
pub struct Intake {
    /// The document it becomes.
    pub document: DocumentId,
    /// Its fields.
    pub content: InvoiceContent,
    /// The file as read.
    pub file: InvoiceFile,
}

impl Intake {
    /// Reads `bytes`. `receiving` tells how a received invoice came; without it, it is sent.
    ///
    /// # Errors
    /// [`ReadError`] says in a sentence why it is not a FatturaPA file.
    pub fn read(
        file_name: &str,
        bytes: &[u8],
        receiving: Option<Receiving>,
    ) -> Result<Self, ReadError> {
        let file = read(file_name, bytes)?;
        let original = BlobHash::of(bytes);
        let first = file.bodies.first();
        let text =
            |of: &dyn Fn(&fatturapa::invoice::Invoice) -> String| first.map(of).unwrap_or_default();
        let content = InvoiceContent {
            file_name: file_name.to_owned(),
            original,
            original_len: bytes.len() as u64,
            direction: if receiving.is_some() { Direction::Received } else { Direction::Sent },
            format: format!("{:?}", file.format).to_uppercase(),
            number: text(&|body| body.number.clone()),
            date: text(&|body| body.date.to_string()),
            document_type: text(&|body| body.kind.clone()),
            supplier: party(&file.supplier),
            buyer: party(&file.buyer),
            recipient_code: file.recipient.to_string(),
            total: text(&|body| body.total().to_string()),
            currency: text(&|body| body.currency.clone()),
            bodies: u32::try_from(file.bodies.len()).unwrap_or(u32::MAX),
            receiving,
        };
        Ok(Self { document: DocumentId::invoice(&original), content, file })
    }

    /// What to say in the name of `log`.
    ///
    /// # Errors
    /// [`DocumentError`] when a field is over a limit.
    pub fn item(&self, log: LogId) -> Result<Item, DocumentError> {
        let change = invoice::create(log, &self.content)?;
        Ok(Item::Change { document: self.document, change })
    }
}

fn party(of: &fatturapa::invoice::Party) -> Party {
    Party {
        vat: of.vat.as_ref().map(|id| format!("{}{}", id.country, id.code)).unwrap_or_default(),
        tax_code: of.tax_code.clone().unwrap_or_default(),
        name: of.name.clone(),
    }
}

/// A name that is safe to create in a folder of ours: what came may be a path, a device, or
/// hidden. Never empty.
#[must_use]
pub fn safe_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(120)
        .collect();
    let clean = clean.trim_start_matches('.');
    if clean.is_empty() { "fattura.xml".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_folder() {
        for (name, safe) in [
            ("IT01234567890_00001.xml", "IT01234567890_00001.xml"),
            ("../../etc/passwd", "passwd"),
            ("..\\x.xml", "x.xml"),
            (".hidden", "hidden"),
            ("..", "fattura.xml"),
            ("a b\u{20ac}.xml", "a_b_.xml"),
        ] {
            assert_eq!(safe_name(name), safe);
        }
    }

    #[test]
    fn what_is_not_an_invoice_is_named() {
        let error = Intake::read("x.xml", b"hello", None).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
