//! From a FatturaPA file to what the engine says about it, and back to a file name.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use engine::{
    bundle::Item,
    document::{
        DocumentError,
        invoice::{self, Direction, InvoiceContent, Party, Receiving},
    },
    id::{BlobHash, DocumentId, LogId, VatNumber},
};
use fatturapa::{
    invoice::{FiscalId, InvoiceFile, ReadError, read},
    limits::OPEN_BYTES_MAX,
};

use crate::reason::{PartyRole, Reason};

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

    /// Reads the invoice of `tenant` in the file at `path`, with its bytes.
    ///
    /// # Errors
    /// The file cannot be read. Inside, [`Reason`] says why it is no invoice of `tenant`.
    pub fn from_file(
        path: &Path,
        tenant: VatNumber,
        receiving: Option<Receiving>,
    ) -> io::Result<Result<(Vec<u8>, Self), Reason>> {
        let max = OPEN_BYTES_MAX as u64;
        let file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        if len > max {
            return Ok(Err(Reason::TooLarge { bytes: len, max }));
        }
        let mut bytes = Vec::new();
        file.take(max + 1).read_to_end(&mut bytes)?;
        let intake = Self::read(&file_name(path), &bytes, receiving).map_err(Reason::from);
        Ok(intake.and_then(|intake| intake.of(tenant)).map(|intake| (bytes, intake)))
    }

    /// The same, once it is known to be an invoice of `tenant`.
    ///
    /// A sent one has the tenant as its supplier; or as its buyer, where the buyer writes it:
    /// self-invoices (TD16 to TD29) and those marked as issued by the buyer (1.6 = CC). A received
    /// one must not name another VAT number as its buyer: a sole trader may be named by a
    /// personal tax code alone, of which only the SdI knows whose it is.
    ///
    /// # Errors
    /// [`Reason::OtherTenant`]
    pub fn of(self, tenant: VatNumber) -> Result<Self, Reason> {
        let InvoiceFile { supplier, buyer, bodies, issued_by, .. } = &self.file;
        let sent = self.content.direction == Direction::Sent;
        let by_buyer = issued_by.as_deref() == Some("CC")
            || bodies.iter().all(|body| ("TD16"..="TD29").contains(&body.kind.as_str()));
        let is_ours = if sent {
            is(supplier, tenant) || (by_buyer && is(buyer, tenant))
        } else {
            buyer.vat.is_none() || is(buyer, tenant)
        };
        if is_ours {
            return Ok(self);
        }
        let (role, other) =
            if sent { (PartyRole::Supplier, supplier) } else { (PartyRole::Buyer, buyer) };
        let Party { vat, tax_code, .. } = party(other);
        let found = if vat.is_empty() { tax_code } else { vat };
        Err(Reason::OtherTenant { tenant, role, found: found.chars().take(40).collect() })
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

/// Whether the party is the company with this VAT number: by it, or by its tax code, which is
/// what a member of a VAT group is known by.
fn is(party: &fatturapa::invoice::Party, tenant: VatNumber) -> bool {
    party.vat.as_ref().and_then(FiscalId::vat) == Some(tenant)
        || party.tax_code.as_deref() == Some(tenant.to_string().as_str())
}

fn party(of: &fatturapa::invoice::Party) -> Party {
    Party {
        vat: of.vat.as_ref().map(|id| format!("{}{}", id.country, id.code)).unwrap_or_default(),
        tax_code: of.tax_code.clone().unwrap_or_default(),
        name: of.name.clone(),
    }
}

/// The last part of a path, as text.
#[must_use]
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `name` in `folder`, numbered if something of that name is there.
#[must_use]
pub fn free_name(folder: &Path, name: &str) -> PathBuf {
    let name = safe_name(name);
    let mut path = folder.join(&name);
    let mut n = 1;
    while path.symlink_metadata().is_ok() {
        n += 1;
        path = folder.join(format!("{n}_{name}"));
    }
    path
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
    fn an_invoice_of_another_company_is_refused() {
        let tenant = VatNumber::parse("02038490237").unwrap();
        let party = |vat: Option<&str>, tax_code: Option<&str>| fatturapa::invoice::Party {
            vat: vat.map(|vat| FiscalId { country: vat[..2].into(), code: vat[2..].into() }),
            tax_code: tax_code.map(Into::into),
            ..Default::default()
        };
        let ours = || party(Some("IT02038490237"), None);
        let other = || party(Some("IT12345678903"), None);
        let group = || party(Some("IT12345678903"), Some("02038490237"));
        let person = || party(None, Some("RSSMRA80A01H501U"));
        let base = include_bytes!("../tests/invoice.xml");
        let check = |sent: bool, kind: &str, by: Option<&str>, supplier, buyer| {
            let receiving = Receiving { sdi_id: String::new(), at_ms: 0, metadata: None };
            let mut intake = Intake::read("x.xml", base, (!sent).then_some(receiving)).unwrap();
            intake.file.supplier = supplier;
            intake.file.buyer = buyer;
            intake.file.issued_by = by.map(Into::into);
            intake.file.bodies[0].kind = kind.into();
            intake.of(tenant).map(|_| ()).map_err(|reason| reason.to_string())
        };
        for (sent, kind, by, supplier, buyer) in [
            (true, "TD01", None, ours(), other()),
            (true, "TD01", None, group(), person()),
            (true, "TD17", None, other(), ours()),
            (true, "TD29", None, other(), ours()),
            (true, "TD01", Some("CC"), other(), ours()),
            (false, "TD01", None, other(), ours()),
            (false, "TD01", None, other(), group()),
            (false, "TD01", None, other(), person()),
        ] {
            assert_eq!(check(sent, kind, by, supplier, buyer), Ok(()), "{sent} {kind} {by:?}");
        }
        for (sent, kind, by, supplier, buyer) in [
            (true, "TD01", None, other(), ours()),
            (true, "TD01", Some("TZ"), other(), ours()),
            (true, "TD17", None, other(), other()),
            (false, "TD01", None, ours(), other()),
        ] {
            let why = check(sent, kind, by, supplier, buyer).unwrap_err();
            assert!(why.contains("wrong tenant") && why.contains("IT12345678903"), "{why}");
        }
    }

    #[test]
    fn what_is_not_an_invoice_is_named() {
        let error = Intake::read("x.xml", b"hello", None).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
