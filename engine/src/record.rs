//! The row the ERP and the pages read: a pure function of one document.
//!
//! [`Record::derive`] takes a document's changes in whatever order and however often they
//! come, and gives the same record for the same set. Nothing else goes into it: no clock, no
//! other document, no order of arrival. A document that cannot be read has a record too, that
//! says why, so a damaged document is one odd row and never a stopped mirror.
//!
//! The stored form starts with a version. Another version is an error on purpose: records are
//! derived, so a mirror that cannot be read is built again.

use serde::{Deserialize, Serialize};

use crate::{
    chunk::Header,
    document::{
        DocumentError, Fields, Scalar,
        account::{self, AccountRole, OneTime, PasswordHash},
        annotation,
        contract::{self, TermsAcceptance},
        customer::{self, DoorCertificate},
        invoice::InvoiceContent,
        merge,
        outcome::{self, OutcomeEntry},
        profile::ProfileField,
        slices,
        step::{self, Step},
    },
    id::{BlobHash, DocumentId, Kind, VatNumber},
};

pub use state::OutcomeState;

mod state;

/// Values of one field that are shown when they conflict: more than a tenant has writers.
const CONFLICT_VALUES_MAX: usize = 16;
/// Version of the stored form.
const VERSION: u8 = 2;

/// What a document says, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The tenant's identifiers and addresses.
    Profile(ProfileRecord),
    /// The contract.
    Contract(ContractRecord),
    /// An invoice.
    Invoice(Box<InvoiceRecord>),
    /// What the SdI said about one.
    Outcome(OutcomeRecord),
    /// The ERP's marks on one.
    Annotation(AnnotationRecord),
    /// A person who may enter.
    Account(AccountRecord),
    /// What was decided about a customer.
    Customer(CustomerRecord),
    /// A document that cannot be read, and why. It is set aside, with an alarm.
    Unreadable(Unreadable),
}

/// An invoice as written. It has no conflicts: all who file it read the same original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceRecord {
    /// Its fields.
    pub content: InvoiceContent,
}

/// Everything the SdI said about one invoice, and where that leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// Where the messages leave the invoice: RULES.md section 4.
    pub state: OutcomeState,
    /// The transmission that state is about.
    pub sdi_id: String,
    /// Messages contradict each other; a person should look.
    pub alarm: bool,
    /// Every message, by time of arrival.
    pub entries: Vec<OutcomeEntry>,
}

/// The ERP's marks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationRecord {
    /// Entered into the books, milliseconds since 1970.
    pub registered_ms: Option<u64>,
    /// Paid.
    pub paid_ms: Option<u64>,
    /// Notes.
    pub notes: String,
    /// Fields that two wrote without knowing of each other.
    pub conflicts: Vec<Conflict>,
}

/// The profile's fields that are not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// Fields and their texts, in the order of the fields.
    pub fields: Vec<(ProfileField, String)>,
    /// Fields that two wrote without knowing of each other.
    pub conflicts: Vec<Conflict>,
}

impl ProfileRecord {
    /// One field's text, empty when it has none.
    #[must_use]
    pub fn get(&self, field: ProfileField) -> &str {
        self.fields.iter().find(|(here, _)| *here == field).map_or("", |(_, text)| text)
    }
}

/// The contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractRecord {
    /// Every acceptance of terms, by version.
    pub terms: Vec<TermsAcceptance>,
    /// The signed contract's file.
    pub signed: Option<BlobHash>,
    /// When it was signed, milliseconds since 1970.
    pub signed_ms: Option<u64>,
    /// Who signed.
    pub signatory: String,
    /// Since when the tenant is enabled; `None` while it is not.
    pub enabled_ms: Option<u64>,
    /// The contract as it was drawn up.
    pub drawn: Option<BlobHash>,
    /// The version of its text.
    pub text: String,
    /// What was done, by time.
    pub steps: Vec<Step>,
    /// Fields that two wrote without knowing of each other.
    pub conflicts: Vec<Conflict>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// User name.
    pub user: String,
    /// Name and surname.
    pub name: String,
    /// Where the person is written to.
    pub email: String,
    /// `it` or `en`; empty is `it`.
    pub language: String,
    /// The password; empty while none is set.
    pub password: PasswordHash,
    /// The link by which one may be set.
    pub link: Option<OneTime>,
    /// What the person may do, by P.IVA.
    pub members: Vec<(VatNumber, AccountRole)>,
    /// Closed: nobody enters with it.
    pub closed: bool,
    /// What was done, by time.
    pub steps: Vec<Step>,
}

/// A customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerRecord {
    /// Its P.IVA.
    pub vat: Option<VatNumber>,
    /// What the administrator calls it.
    pub name: String,
    /// One of the pilot group.
    pub pilot: bool,
    /// Since when it is admitted, milliseconds since 1970.
    pub admitted_ms: Option<u64>,
    /// Since when it is suspended.
    pub suspended_ms: Option<u64>,
    /// Its certificates, each with the moment it was ended, if it was.
    pub certificates: Vec<(DoorCertificate, Option<u64>)>,
    /// The code that was sent to the PEC.
    pub code: Option<OneTime>,
    /// What was done, by time.
    pub steps: Vec<Step>,
    /// Fields that two wrote without knowing of each other.
    pub conflicts: Vec<Conflict>,
}

/// A field with several values, none of which knew of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The field's key.
    pub field: String,
    /// Its values as text, the one that counts first.
    pub values: Vec<String>,
}

/// Why a document has no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// In words, for a person who looks into it.
    pub reason: String,
}

impl Record {
    /// What the changes of `document` say. Changes that depend on others which have not
    /// arrived do not count yet.
    #[must_use]
    pub fn derive<C: AsRef<[u8]>>(document: DocumentId, changes: &[C]) -> Self {
        Self::read(document, &mut slices(changes))
            .unwrap_or_else(|error| Self::Unreadable(Unreadable { reason: error.to_string() }))
    }

    /// The stored form: a version, then postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Encoding into memory fails only for types without a known length, which this has not.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`RecordError`]: build the mirror again.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (version, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
        if *version != VERSION {
            return Err(RecordError::Version { found: *version });
        }
        match postcard::take_from_bytes(rest) {
            Ok((record, [])) => Ok(record),
            _ => Err(RecordError::Malformed),
        }
    }

    fn read(document: DocumentId, changes: &mut Vec<&[u8]>) -> Result<Self, DocumentError> {
        let kind = document.kind().ok_or(DocumentError::Field("kind"))?;
        if kind == Kind::Invoice {
            // Written once: what was made upon something is an edit, and does not count.
            changes.retain(|change| Header::parse(change).is_ok_and(|h| h.deps().len() == 0));
        }
        let merged = merge(changes)?;
        if merged.fields.is_empty() {
            return Err(match merged.waiting.len() {
                0 => DocumentError::Empty,
                waiting => DocumentError::MissingDependencies { waiting },
            });
        }
        let fields = merged.fields;
        Ok(match kind {
            Kind::Profile => Self::Profile(ProfileRecord::of(&fields)),
            Kind::Contract => Self::Contract(ContractRecord::of(&fields)),
            Kind::Invoice => {
                let content = InvoiceContent::read(&fields)?;
                if DocumentId::invoice(&content.original) != document {
                    return Err(DocumentError::Field("original"));
                }
                Self::Invoice(Box::new(InvoiceRecord { content }))
            }
            Kind::Outcome => Self::Outcome(OutcomeRecord::of(outcome::read(&fields))),
            Kind::Annotation => Self::Annotation(AnnotationRecord::of(&fields)),
            Kind::Account => {
                let record = AccountRecord::of(&fields);
                if DocumentId::named(Kind::Account, &record.user) != document {
                    return Err(DocumentError::Field("user"));
                }
                Self::Account(record)
            }
            Kind::Customer => {
                let record = CustomerRecord::of(&fields);
                let vat = record.vat.ok_or(DocumentError::Field("vat"))?;
                if DocumentId::named(Kind::Customer, &vat.to_string()) != document {
                    return Err(DocumentError::Field("vat"));
                }
                Self::Customer(record)
            }
        })
    }
}

impl OutcomeRecord {
    /// Where `entries` leave the invoice.
    #[must_use]
    pub fn of(entries: Vec<OutcomeEntry>) -> Self {
        let (state, sdi_id, alarm) = state::derive(&entries);
        Self { state, sdi_id, alarm, entries }
    }
}

impl AnnotationRecord {
    fn of(fields: &Fields<'_>) -> Self {
        Self {
            registered_ms: fields.time_ms(annotation::REGISTERED),
            paid_ms: fields.time_ms(annotation::PAID),
            notes: fields.text(annotation::NOTES),
            conflicts: conflicts(fields),
        }
    }
}

impl ProfileRecord {
    fn of(fields: &Fields<'_>) -> Self {
        let texts = ProfileField::KEYS.into_iter().map(|(field, key)| (field, fields.text(key)));
        Self {
            fields: texts.filter(|(_, text)| !text.is_empty()).collect(),
            conflicts: conflicts(fields),
        }
    }
}

impl ContractRecord {
    fn of(fields: &Fields<'_>) -> Self {
        Self {
            terms: contract::acceptances(fields),
            signed: fields.blob(contract::SIGNED),
            signed_ms: fields.time_ms(contract::SIGNED_AT),
            signatory: fields.text(contract::SIGNATORY),
            enabled_ms: fields.time_ms(contract::ENABLED),
            drawn: fields.blob(contract::DRAWN),
            text: fields.text(contract::TEXT),
            steps: step::steps(fields),
            conflicts: conflicts(fields),
        }
    }
}

impl AccountRecord {
    fn of(fields: &Fields<'_>) -> Self {
        let is_closed =
            |version: &crate::document::Version<'_>| version.value == Scalar::Bool(true);
        Self {
            user: fields.text(account::USER),
            name: fields.text(account::NAME),
            email: fields.text(account::EMAIL),
            language: fields.text(account::LANGUAGE),
            password: PasswordHash(fields.text(account::PASSWORD)),
            link: OneTime::read(fields, account::LINK),
            members: account::members(fields),
            // Closed anywhere is closed.
            closed: fields.versions(account::CLOSED).iter().any(is_closed),
            steps: step::steps(fields),
        }
    }
}

impl CustomerRecord {
    fn of(fields: &Fields<'_>) -> Self {
        Self {
            vat: VatNumber::parse(&fields.text(customer::VAT)).ok(),
            name: fields.text(customer::NAME),
            pilot: fields.value(customer::PILOT) == Some(&Scalar::Bool(true)),
            admitted_ms: fields.time_ms(customer::ADMITTED),
            suspended_ms: fields.time_ms(customer::SUSPENDED),
            certificates: customer::certificates(fields),
            code: OneTime::read(fields, customer::CODE),
            steps: step::steps(fields),
            conflicts: conflicts(fields),
        }
    }
}

fn conflicts(fields: &Fields<'_>) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    // Acceptances are facts: two of one version are both listed, and are no conflict.
    let is_fact = |key: &str| key.starts_with(contract::TERMS) || key.starts_with(step::STEP);
    for (field, versions) in fields.iter().filter(|(key, _)| !is_fact(key)) {
        let mut values: Vec<String> = Vec::new();
        for version in versions.iter().take(CONFLICT_VALUES_MAX) {
            let value = version.value.to_string();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() > 1 {
            conflicts.push(Conflict { field: field.to_owned(), values });
        }
    }
    conflicts
}

/// Why stored bytes are not a record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error("record has version {found}, expected {VERSION}: build the mirror again")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Not a record.
    #[error("record is malformed: build the mirror again")]
    Malformed,
}
