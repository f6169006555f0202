//! The typed record of an invoice file: what an ERP, a page and the judge read. It is a view: the bytes
//! of the file stay what was signed. Never holds the bytes of an attachment, nor takes its name for a path.

mod read;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::id::{RecipientCode, SdiFileName, TaxCode, VatNumber};

pub use self::read::{ReadError, attachment, read, read_tree};

/// One file sent to or received from the SdI: one invoice, or a batch of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceFile {
    /// Name the file came with; never used as a path.
    pub file_name: String,
    /// The same, when it has the form of the SdI.
    pub sdi_name: Option<SdiFileName>,
    /// True when the file is a CMS envelope (.p7m).
    pub in_cms: bool,
    /// True when the XML carries a signature inside.
    pub has_xml_signature: bool,
    /// Transmission format (1.1.3).
    pub format: Format,
    /// The `versione` attribute of the root.
    pub version: String,
    /// Who transmits (1.1.1).
    pub transmitter: FiscalId,
    /// Progressive of the transmission (1.1.2).
    pub progressive: String,
    /// Recipient code (1.1.4).
    pub recipient: RecipientCode,
    /// PEC of the recipient (1.1.6) as written: the schema admits more than [`crate::id::PecAddress`].
    pub recipient_pec: Option<String>,
    /// Seller (1.2).
    pub supplier: Party,
    /// Tax representative of the seller (1.3).
    pub supplier_representative: Option<Party>,
    /// Buyer (1.4).
    pub buyer: Party,
    /// Tax representative of the buyer (1.4.4).
    pub buyer_representative: Option<Party>,
    /// Third party that issues (1.5).
    pub intermediary: Option<Party>,
    /// Who issued when it is not the seller (1.6): CC buyer, TZ third party.
    pub issued_by: Option<String>,
    /// The invoices (2), one or more.
    pub bodies: Vec<Invoice>,
}

/// Transmission formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    /// To a public body.
    FPA12,
    /// To a private party.
    FPR12,
    /// Simplified invoice.
    FSM10,
}

impl Format {
    /// The five characters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FPA12 => "FPA12",
            Self::FPR12 => "FPR12",
            Self::FSM10 => "FSM10",
        }
    }
}

/// Country and code: `IT` + partita IVA, or a foreign identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FiscalId {
    /// Two letters.
    pub country: String,
    /// Code without country, as written.
    pub code: String,
}

impl FiscalId {
    /// The Italian VAT number, when it is one and its check digit holds.
    #[must_use]
    pub fn vat(&self) -> Option<VatNumber> {
        if self.country == "IT" { VatNumber::parse(&self.code).ok() } else { None }
    }
}

/// A seller, buyer, representative or third party.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Denominazione, or name and surname.
    pub name: String,
    /// IdFiscaleIVA.
    pub vat: Option<FiscalId>,
    /// CodiceFiscale as written: the schema admits more than what is valid.
    pub tax_code: Option<String>,
    /// RegimeFiscale, of the seller only.
    pub regime: Option<String>,
    /// Address (Sede).
    pub address: Option<Address>,
    /// Telephone, fax and e-mail of the seller.
    pub contacts: Vec<String>,
    /// Entry in the business register, in words.
    pub register: Option<String>,
}

impl Party {
    /// Country of the VAT id, else of the address.
    #[must_use]
    pub fn country(&self) -> Option<&str> {
        let vat = self.vat.as_ref().map(|id| id.country.as_str());
        vat.or_else(|| self.address.as_ref().map(|address| address.country.as_str()))
    }

    /// The tax code, when valid.
    #[must_use]
    pub fn valid_tax_code(&self) -> Option<TaxCode> {
        self.tax_code.as_deref().and_then(|code| TaxCode::parse(code).ok())
    }
}

/// A postal address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Address {
    pub street: String,
    pub number: Option<String>,
    pub postcode: String,
    pub town: String,
    pub province: Option<String>,
    pub country: String,
}

/// One invoice (FatturaElettronicaBody).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// TipoDocumento, `TD01` and so on.
    pub kind: String,
    /// Divisa.
    pub currency: String,
    /// Data.
    pub date: Date,
    /// Numero.
    pub number: String,
    /// ImportoTotaleDocumento: optional, and unchecked by the SdI.
    pub declared_total: Option<Decimal>,
    /// Arrotondamento of the document.
    pub rounding: Option<Decimal>,
    /// Causale, all lines.
    pub reasons: Vec<String>,
    /// Art73.
    pub is_art73: bool,
    /// DatiRitenuta.
    pub withholdings: Vec<Withholding>,
    /// DatiBollo: virtual stamp duty, with its amount if given.
    pub stamp_duty: Option<StampDuty>,
    /// DatiCassaPrevidenziale.
    pub funds: Vec<Fund>,
    /// ScontoMaggiorazione of the document.
    pub discounts: Vec<Discount>,
    /// Orders, contracts, agreements, receipts, linked invoices, with CUP and CIG.
    pub references: Vec<Reference>,
    /// Delivery notes.
    pub delivery_notes: Vec<DeliveryNote>,
    /// Invoice corrected by a simplified one.
    pub corrected: Option<Corrected>,
    /// Lines.
    pub lines: Vec<Line>,
    /// VAT summary; of a simplified invoice, empty.
    pub vat: Vec<VatRow>,
    /// Payments with due dates.
    pub payments: Vec<Payment>,
    /// Attachments, without their bytes.
    pub attachments: Vec<Attachment>,
}

impl Invoice {
    /// Sum of the taxable amounts.
    #[must_use]
    pub fn taxable(&self) -> Decimal {
        self.vat.iter().fold(Decimal::ZERO, |sum, row| sum.saturating_add(row.taxable))
    }

    /// Sum of the taxes; of a simplified invoice, those given.
    #[must_use]
    pub fn tax(&self) -> Decimal {
        let rows = self.vat.iter().map(|row| row.tax);
        let lines = self.lines.iter().filter_map(|line| line.tax);
        rows.chain(lines).fold(Decimal::ZERO, Decimal::saturating_add)
    }

    /// Total computed from the rows: taxable amounts plus taxes, or the lines of a simplified invoice.
    #[must_use]
    pub fn computed_total(&self) -> Decimal {
        if self.vat.is_empty() {
            self.lines.iter().fold(Decimal::ZERO, |sum, line| sum.saturating_add(line.total))
        } else {
            self.taxable().saturating_add(self.tax())
        }
    }

    /// Total as declared, else as computed.
    #[must_use]
    pub fn total(&self) -> Decimal {
        self.declared_total.unwrap_or_else(|| self.computed_total())
    }

    /// Due dates with amounts, in the order of the file.
    pub fn due(&self) -> impl Iterator<Item = (Option<Date>, Decimal)> + '_ {
        self.payments.iter().map(|payment| (payment.due, payment.amount))
    }
}

/// DatiRitenuta.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Withholding {
    pub kind: String,
    pub amount: Decimal,
    pub rate: Decimal,
    pub reason: String,
}

/// DatiBollo; of a simplified invoice, BolloVirtuale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampDuty {
    /// ImportoBollo.
    pub amount: Option<Decimal>,
}

/// DatiCassaPrevidenziale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Fund {
    pub kind: String,
    pub rate: Decimal,
    pub contribution: Decimal,
    pub base: Option<Decimal>,
    pub vat_rate: Decimal,
    pub is_withheld: bool,
    pub nature: Option<String>,
}

/// ScontoMaggiorazione.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discount {
    /// True for MG (surcharge), false for SC (discount).
    pub is_surcharge: bool,
    /// Percentuale.
    pub percent: Option<Decimal>,
    /// Importo.
    pub amount: Option<Decimal>,
}

/// What a [`Reference`] refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ReferenceKind {
    Order,
    Contract,
    Agreement,
    Receipt,
    Invoice,
}

/// DatiOrdineAcquisto, DatiContratto, DatiConvenzione, DatiRicezione, DatiFattureCollegate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Reference {
    pub kind: ReferenceKind,
    pub lines: Vec<String>,
    pub document: String,
    pub date: Option<Date>,
    pub item: Option<String>,
    pub order_code: Option<String>,
    pub cup: Option<String>,
    pub cig: Option<String>,
}

/// DatiDDT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DeliveryNote {
    pub number: String,
    pub date: Option<Date>,
    pub lines: Vec<String>,
}

/// DatiFatturaRettificata of a simplified invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Corrected {
    pub number: String,
    pub date: Option<Date>,
    pub elements: String,
}

/// DettaglioLinee, or DatiBeniServizi of a simplified invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// NumeroLinea.
    pub number: String,
    /// TipoCessionePrestazione.
    pub kind: Option<String>,
    /// CodiceArticolo as (type, value).
    pub articles: Vec<(String, String)>,
    /// Descrizione.
    pub description: String,
    /// Quantita.
    pub quantity: Option<Decimal>,
    /// UnitaMisura.
    pub unit: Option<String>,
    /// DataInizioPeriodo.
    pub from: Option<Date>,
    /// DataFinePeriodo.
    pub to: Option<Date>,
    /// PrezzoUnitario; of a simplified invoice, none.
    pub unit_price: Option<Decimal>,
    /// ScontoMaggiorazione.
    pub discounts: Vec<Discount>,
    /// PrezzoTotale; of a simplified invoice Importo, tax included.
    pub total: Decimal,
    /// AliquotaIVA; optional in a simplified invoice.
    pub rate: Option<Decimal>,
    /// Imposta of a simplified invoice.
    pub tax: Option<Decimal>,
    /// Ritenuta SI.
    pub is_withheld: bool,
    /// Natura.
    pub nature: Option<String>,
    /// AltriDatiGestionali in words.
    pub other: Vec<String>,
}

/// DatiRiepilogo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VatRow {
    pub rate: Decimal,
    pub nature: Option<String>,
    pub extra: Option<Decimal>,
    pub rounding: Option<Decimal>,
    pub taxable: Decimal,
    pub tax: Decimal,
    /// EsigibilitaIVA: I immediate, D deferred, S split payment.
    pub due: Option<String>,
    pub law: Option<String>,
}

/// DettaglioPagamento with the conditions of its block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Payment {
    /// CondizioniPagamento: TP01 instalments, TP02 full, TP03 advance.
    pub conditions: String,
    /// ModalitaPagamento.
    pub method: String,
    pub beneficiary: Option<String>,
    pub reference_date: Option<Date>,
    pub days: Option<String>,
    pub due: Option<Date>,
    pub amount: Decimal,
    pub bank: Option<String>,
    pub iban: Option<String>,
    pub bic: Option<String>,
    pub code: Option<String>,
}

/// Allegati, without the bytes: [`attachment`] gives those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// NomeAttachment: text to show, never a path.
    pub name: String,
    /// FormatoAttachment.
    pub format: Option<String>,
    /// AlgoritmoCompressione.
    pub compression: Option<String>,
    /// DescrizioneAttachment.
    pub description: Option<String>,
    /// Size in bytes once decoded.
    pub size: usize,
}

impl Attachment {
    /// A name that is safe to offer for saving: the last part only, without what file systems refuse.
    #[must_use]
    pub fn safe_name(&self) -> String {
        let last = self.name.rsplit(['/', '\\']).next().unwrap_or_default();
        let kept =
            |c: char| !c.is_control() && !matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|');
        let name: String = last.chars().filter(|c| kept(*c)).collect();
        let name = name.trim().trim_start_matches('.').to_owned();
        if name.is_empty() { "allegato".to_owned() } else { name }
    }
}
