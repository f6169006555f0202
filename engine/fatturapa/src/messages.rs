//! Messages of the SdI, of both families: MessaggiTypes v1.1 (public bodies) and MessaggiFatturaTypes
//! v1.0 (private parties), RULES.md section 3. Accepts any prefix, unsigned copies, a missing Hash and
//! an empty Destinatario; never judges the signature.

use serde::{Deserialize, Serialize};

use crate::date::{self, Date};
use crate::envelope::{self, EnvelopeError};
use crate::id::MessageCode;
use crate::xml::{self, Element, Tree, XmlError};

/// Namespace of the messages about FPA12 invoices.
pub(crate) const PUBLIC: &str = "http://www.fatturapa.gov.it/sdi/messaggi/v1.0";
/// Namespace of the messages about FPR12 and FSM10 invoices.
pub(crate) const PRIVATE: &str =
    "http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fattura/messaggi/v1.0";

/// Which family a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// About an invoice to a public body.
    Public,
    /// About an invoice to a private party.
    Private,
}

/// IdentificativoSdI: the number the SdI gave the file, which binds messages to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SdiId(pub String);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Family of the schema.
    pub family: Family,
    /// IdentificativoSdI.
    pub sdi_id: SdiId,
    /// NomeFile of the invoice; EC and SE have none.
    pub file_name: Option<String>,
    /// Hash, SHA-256 in hex of the file sent; HashFileOriginale of an AT.
    pub hash: Option<String>,
    /// DataOraRicezione, when the SdI received the invoice.
    pub received_at: Option<String>,
    /// MessageId.
    pub message_id: Option<String>,
    /// Note.
    pub note: Option<String>,
    /// True when the message carries a signature.
    pub is_signed: bool,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Content {
    /// RC: delivered.
    Delivered {
        /// DataOraConsegna.
        at: Option<String>,
        /// Destinatario/Codice.
        recipient: Option<String>,
        /// Destinatario/Descrizione.
        recipient_name: Option<String>,
    },
    /// NS: rejected by the SdI.
    Rejected {
        /// ListaErrori.
        errors: Vec<SdiError>,
    },
    /// MC: not delivered. Final for private parties, interim for public bodies.
    NotDelivered {
        /// DataMessaADisposizione, private only.
        available_from: Option<Date>,
        /// Descrizione.
        description: Option<String>,
    },
    /// NE: what the public body answered.
    Outcome(Answer),
    /// EC: the answer of a public body on its way to the SdI.
    BuyerOutcome(Answer),
    /// SE: the SdI does not accept that answer.
    OutcomeRejected {
        /// EN00 not conforming, EN01 not allowed.
        code: String,
    },
    /// DT: fifteen days passed without an answer.
    TermsExpired {
        /// RiferimentoFattura.
        invoice: Option<InvoiceReference>,
        /// Descrizione.
        description: Option<String>,
    },
    /// AT: transmitted, cannot be delivered.
    Undeliverable {
        /// Destinatario/Codice.
        recipient: Option<String>,
    },
    /// MT: data that accompany a received invoice.
    Metadata {
        /// CodiceDestinatario.
        recipient: String,
        /// Formato.
        format: String,
        /// TentativiInvio.
        attempts: String,
    },
}

/// The answer of a public body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// True for EC01, false for EC02.
    pub is_accepted: bool,
    /// RiferimentoFattura: none means the whole file.
    pub invoice: Option<InvoiceReference>,
    /// Descrizione.
    pub description: Option<String>,
}

/// RiferimentoFattura.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InvoiceReference {
    /// NumeroFattura.
    pub number: String,
    /// AnnoFattura.
    pub year: String,
    /// PosizioneFattura in the batch, from 1.
    pub position: Option<String>,
}

/// One Errore of an NS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SdiError {
    /// Codice, five digits.
    pub code: String,
    /// Descrizione.
    pub description: String,
    /// Suggerimento, private only.
    pub suggestion: Option<String>,
}

impl Message {
    /// The two letters of its kind.
    #[must_use]
    pub const fn code(&self) -> MessageCode {
        match self.content {
            Content::Delivered { .. } => MessageCode::RC,
            Content::Rejected { .. } => MessageCode::NS,
            Content::NotDelivered { .. } => MessageCode::MC,
            Content::Outcome(_) => MessageCode::NE,
            Content::BuyerOutcome(_) => MessageCode::EC,
            Content::OutcomeRejected { .. } => MessageCode::SE,
            Content::TermsExpired { .. } => MessageCode::DT,
            Content::Undeliverable { .. } => MessageCode::AT,
            Content::Metadata { .. } => MessageCode::MT,
        }
    }
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The wrapping could not be opened.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The text is not XML that we accept.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another document.
    #[error("the root element is {{{namespace}}}{name}, which is not a message of the SdI")]
    NotAMessage {
        /// Local name of the root.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// An element without which the message says nothing.
    #[error("{path} is missing or empty in the message")]
    Missing {
        /// XPath of the element.
        path: String,
    },
}

/// Reads a message.
///
/// # Errors
/// [`MessageError`] names what cannot be read.
pub fn read(bytes: &[u8]) -> Result<Message, MessageError> {
    let opened = envelope::open(bytes)?;
    let decoded = xml::decode(&opened.content)?;
    let tree = Tree::parse(&decoded.text)?;
    read_tree(&tree)
}

/// Reads a message from a parsed tree.
///
/// # Errors
/// [`MessageError`] names what cannot be read.
pub fn read_tree(tree: &Tree<'_>) -> Result<Message, MessageError> {
    let root = tree.root();
    let stranger = || MessageError::NotAMessage {
        name: root.name().chars().take(80).collect(),
        namespace: root.namespace().chars().take(80).collect(),
    };
    let family = match root.namespace() {
        PUBLIC => Family::Public,
        PRIVATE => Family::Private,
        _ => return Err(stranger()),
    };
    let content = match root.name() {
        "RicevutaConsegna" => Content::Delivered {
            at: optional(root, "DataOraConsegna"),
            recipient: recipient(root, "Codice"),
            recipient_name: recipient(root, "Descrizione"),
        },
        "NotificaScarto" | "RicevutaScarto" => Content::Rejected { errors: errors(root) },
        "NotificaMancataConsegna" | "RicevutaImpossibilitaRecapito" => Content::NotDelivered {
            available_from: root
                .child("DataMessaADisposizione")
                .and_then(|day| Date::parse(day.text())),
            description: optional(root, "Descrizione"),
        },
        "NotificaEsito" => Content::Outcome(answer(need(root, "EsitoCommittente")?)?),
        "NotificaEsitoCommittente" => Content::BuyerOutcome(answer(root)?),
        "ScartoEsitoCommittente" => Content::OutcomeRejected { code: required(root, "Scarto")? },
        "NotificaDecorrenzaTermini" => Content::TermsExpired {
            invoice: reference(root),
            description: optional(root, "Descrizione"),
        },
        "AttestazioneTrasmissioneFattura" => {
            Content::Undeliverable { recipient: recipient(root, "Codice") }
        }
        "MetadatiInvioFile" | "FileMetadati" => Content::Metadata {
            recipient: required(root, "CodiceDestinatario")?,
            format: required(root, "Formato")?,
            attempts: optional(root, "TentativiInvio").unwrap_or_default(),
        },
        _ => return Err(stranger()),
    };
    Ok(Message {
        family,
        sdi_id: SdiId(required(root, "IdentificativoSdI")?),
        file_name: optional(root, "NomeFile"),
        hash: optional(root, "Hash").or_else(|| optional(root, "HashFileOriginale")),
        received_at: optional(root, "DataOraRicezione"),
        message_id: optional(root, "MessageId").or_else(|| optional(root, "MessageIdCommittente")),
        note: optional(root, "Note"),
        is_signed: root.child("Signature").is_some(),
        content,
    })
}

fn answer(of: Element<'_>) -> Result<Answer, MessageError> {
    let outcome = required(of, "Esito")?;
    if outcome != "EC01" && outcome != "EC02" {
        return Err(MessageError::Missing { path: format!("{}/Esito", of.path()) });
    }
    Ok(Answer {
        is_accepted: outcome == "EC01",
        invoice: reference(of),
        description: optional(of, "Descrizione"),
    })
}

fn reference(of: Element<'_>) -> Option<InvoiceReference> {
    let of = of.child("RiferimentoFattura")?;
    Some(InvoiceReference {
        number: optional(of, "NumeroFattura").unwrap_or_default(),
        year: optional(of, "AnnoFattura").unwrap_or_default(),
        position: optional(of, "PosizioneFattura"),
    })
}

fn errors(root: Element<'_>) -> Vec<SdiError> {
    let list = root.child("ListaErrori");
    list.into_iter()
        .flat_map(Element::children)
        .filter(|error| error.name() == "Errore")
        .map(|error| SdiError {
            code: optional(error, "Codice").unwrap_or_default(),
            description: optional(error, "Descrizione").unwrap_or_default(),
            suggestion: optional(error, "Suggerimento"),
        })
        .collect()
}

fn recipient(root: Element<'_>, name: &str) -> Option<String> {
    optional(root.child("Destinatario")?, name)
}

fn need<'t>(of: Element<'t>, name: &str) -> Result<Element<'t>, MessageError> {
    of.child(name).ok_or_else(|| MessageError::Missing { path: format!("{}/{name}", of.path()) })
}

fn required(of: Element<'_>, name: &str) -> Result<String, MessageError> {
    optional(of, name)
        .ok_or_else(|| MessageError::Missing { path: format!("{}/{name}", of.path()) })
}

fn optional(of: Element<'_>, name: &str) -> Option<String> {
    of.child(name).map(|child| child.text().trim().to_owned()).filter(|text| !text.is_empty())
}

/// True for `xs:dateTime` (XSD 1.0 part 2, section 3.2.7), outer white space aside.
pub(crate) fn is_date_time(text: &str) -> bool {
    let Some((day, time)) = text.trim_matches([' ', '\t', '\n', '\r']).split_once('T') else {
        return false;
    };
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let two = |text: &str, max: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|n| n < max)
    };
    let mut parts = clock.split(':');
    let parts = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(hour), Some(minute), Some(second), None) = parts else { return false };
    let is_clock = two(hour, 24) && two(minute, 60) && two(second, 60)
        || clock == "24:00:00" && fraction.bytes().all(|b| b == b'0');
    day.len() == 10
        && Date::parse(day).is_some()
        && is_clock
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
        && date::is_zone(zone)
}
