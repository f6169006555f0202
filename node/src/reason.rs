//! Why a file is not taken: in Italian for whoever finds it in `rejected/`, with English second.

use engine::{document::DocumentError, id::VatNumber};
use fatturapa::{check::Report, envelope::EnvelopeError, invoice::ReadError, xml::XmlError};

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It is not a FatturaPA file.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// It is longer than any that is read.
    #[error("the file has {bytes} bytes, more than the {max} that are read")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// It is an invoice of somebody else.
    #[error("wrong tenant: the {role} is {found}, and this folder is that of {tenant}")]
    OtherTenant {
        /// Whose folder it was in.
        tenant: VatNumber,
        /// `supplier` or `buyer`.
        role: PartyRole,
        /// Who stands there.
        found: String,
    },
    /// The SdI would reject it.
    #[error("the SdI would reject it: {}", codes(.0))]
    WouldBeRejected(Box<Report>),
    /// Its fields are over a limit.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// A side of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartyRole {
    /// CedentePrestatore.
    Supplier,
    /// CessionarioCommittente.
    Buyer,
}

impl std::fmt::Display for PartyRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Supplier => "supplier",
            Self::Buyer => "buyer",
        })
    }
}

impl Reason {
    /// The sentence in Italian.
    #[must_use]
    pub fn italian(&self) -> String {
        match self {
            Self::Unreadable(error) => unreadable(error),
            Self::TooLarge { bytes, max } => {
                format!("il file è di {bytes} byte, più dei {max} che si possono leggere")
            }
            Self::OtherTenant { tenant, role, found } => {
                let role = match role {
                    PartyRole::Supplier => "il cedente/prestatore",
                    PartyRole::Buyer => "il cessionario/committente",
                };
                format!(
                    "{role} è {found}, mentre questa cartella è della partita IVA {tenant}: \
                     la fattura è di un'altra azienda"
                )
            }
            Self::WouldBeRejected(report) => {
                format!("il SdI la scarterebbe ({}){}", codes(report), explained(report))
            }
            Self::Document(_) => "un campo della fattura è troppo lungo".to_owned(),
        }
    }

    /// What is written beside the file called `name`.
    #[must_use]
    pub fn note(&self, name: &str) -> String {
        format!(
            "Il file {name} non è stato accettato.\nMotivo: {}.\n\
             Correggere il file e rimetterlo nella cartella out.\n\n\
             (The file was not accepted: {self}.)\n",
            self.italian()
        )
    }
}

/// The codes, or that the schema is not kept.
fn codes(report: &Report) -> String {
    if report.codes.is_empty() { "XSD".to_owned() } else { report.codes.join(", ") }
}

/// Every finding that rejects, on lines of its own.
fn explained(report: &Report) -> String {
    let mut text = String::new();
    for finding in report.findings.iter().filter(|finding| finding.code.is_some()) {
        let code = finding.code.as_deref().unwrap_or_default();
        text.push_str(&format!("\n  {code}  {}\n         {}", finding.sentence, finding.path));
        if !finding.fix.is_empty() {
            text.push_str(&format!("\n         Cosa fare: {}", finding.fix));
        }
    }
    text
}

fn unreadable(error: &ReadError) -> String {
    match error {
        ReadError::Envelope(error) => envelope(error),
        ReadError::Xml(error) => xml(error),
        ReadError::NotAnInvoice { name, .. } => format!(
            "il documento è «{name}» e non una fattura elettronica nel formato 1.2 \
             o semplificata 1.0"
        ),
        ReadError::Missing { path } => format!("manca l'elemento {path}"),
        ReadError::Value { path, found, wanted } => {
            format!("l'elemento {path} contiene «{found}», che non è {}", expected(wanted))
        }
        ReadError::TooManyBodies { max } => {
            format!("il lotto contiene più di {max} fatture: va diviso")
        }
    }
}

fn envelope(error: &EnvelopeError) -> String {
    match error {
        EnvelopeError::Empty => "il file è vuoto".to_owned(),
        EnvelopeError::TooLarge { size, max } => {
            format!("il file è di {size} byte, più dei {max} che si possono leggere")
        }
        EnvelopeError::Archive => {
            "il file è un archivio zip: vanno consegnate le singole fatture che contiene".to_owned()
        }
        EnvelopeError::Corrupt { .. } => {
            "il file non è né XML né un file firmato p7m leggibile: forse è danneggiato o incompleto"
                .to_owned()
        }
    }
}

fn xml(error: &XmlError) -> String {
    match error {
        XmlError::Encoding { declared } => {
            format!("il file dichiara la codifica «{declared}»: va salvato in UTF-8")
        }
        XmlError::Dtd => "il file contiene un DOCTYPE, che non è ammesso: va tolto".to_owned(),
        XmlError::NotWellFormed { line, .. } => {
            format!("l'XML non è ben formato, alla riga {line}: forse il file è incompleto")
        }
        XmlError::Limit { max, .. } => {
            format!("il file ha una struttura troppo grande per una fattura (oltre {max})")
        }
    }
}

fn expected(wanted: &str) -> &str {
    match wanted {
        "a number like 1234.56" => "un numero come 1234.56",
        "a date like 2025-12-31" => "una data come 2025-12-31",
        "a recipient code of 6 or 7 characters" => "un codice destinatario di 6 o 7 caratteri",
        "FPA12, FPR12 or FSM10" => "FPA12, FPR12 o FSM10",
        "base64" => "base64 valido",
        _ => "un valore ammesso",
    }
}

#[cfg(test)]
mod tests {
    use fatturapa::invoice::read;

    use super::*;

    #[test]
    fn a_note_says_why_in_italian_and_then_in_english() {
        for (bytes, italian, english) in [
            (&b""[..], "il file è vuoto", "the file is empty"),
            (b"   ", "il file è vuoto", "the file is empty"),
            (b"hello", "né XML né un file firmato", "neither XML nor a signed"),
            (b"PK\x03\x04zip", "archivio zip", "zip archive"),
            (b"<a>\n<b></a>", "alla riga 2", "line 2"),
            (b"<!DOCTYPE a><a/>", "DOCTYPE", "DOCTYPE"),
            (b"<html/>", "non una fattura elettronica", "not an invoice"),
        ] {
            let note = Reason::from(read("x.xml", bytes).unwrap_err()).note("x.xml");
            let (first, second) = note.split_once("\n\n").unwrap();
            assert!(first.contains(italian) && first.contains("x.xml"), "{note}");
            assert!(second.contains(english), "{note}");
        }
    }
}
