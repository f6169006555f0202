//! From the bytes of a file to its record. Reads what the schema would refuse as long as nothing that
//! the record promises is missing; never decides whether the invoice is right.

use rust_decimal::Decimal;

use super::{
    Address, Attachment, Corrected, DeliveryNote, Discount, FiscalId, Format, Fund, Invoice,
    InvoiceFile, Line, Party, Payment, Reference, ReferenceKind, StampDuty, VatRow, Withholding,
};
use crate::date::Date;
use crate::envelope::{self, EnvelopeError};
use crate::id::{RecipientCode, SdiFileName};
use crate::limits;
use crate::xml::{self, Element, Tree, XmlError};

/// Why a file could not be read as an invoice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The wrapping could not be opened.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The text is not XML that we accept.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another document, or an obsolete format.
    #[error(
        "the root element is {{{namespace}}}{name}, which is not an invoice of format 1.2 or 1.0 simplified"
    )]
    NotAnInvoice {
        /// Local name of the root.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// An element that the record needs is missing.
    #[error("{path} is missing; the invoice cannot be read without it")]
    Missing {
        /// XPath of the element.
        path: String,
    },
    /// An element has a value that is not of its kind.
    #[error("{path} contains {found:?}, which is not {wanted}")]
    Value {
        /// XPath of the element.
        path: String,
        /// What is there, shortened.
        found: String,
        /// What should be.
        wanted: &'static str,
    },
    /// More invoices in one file than are read.
    #[error("the file has more than {max} invoices; split the batch")]
    TooManyBodies {
        /// The bound.
        max: usize,
    },
}

/// Namespace of FPA12 and FPR12.
pub(crate) const ORDINARY: &str = "http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2";
/// Namespace of FSM10.
pub(crate) const SIMPLIFIED: &str = "http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.0";

/// Reads an invoice file in any wrapping. The name is only recorded.
///
/// # Errors
/// [`ReadError`] names what cannot be read.
pub fn read(file_name: &str, bytes: &[u8]) -> Result<InvoiceFile, ReadError> {
    let opened = envelope::open(bytes)?;
    let decoded = xml::decode(&opened.content)?;
    let tree = Tree::parse(&decoded.text)?;
    let mut file = read_tree(file_name, &tree)?;
    file.in_cms = opened.cms.is_some();
    Ok(file)
}

/// The bytes of one attachment, by places from 0.
///
/// # Errors
/// [`ReadError`] when the file cannot be read, has no such attachment, or it is not base64.
pub fn attachment(bytes: &[u8], body: usize, place: usize) -> Result<Vec<u8>, ReadError> {
    let opened = envelope::open(bytes)?;
    let decoded = xml::decode(&opened.content)?;
    let tree = Tree::parse(&decoded.text)?;
    let path = || format!("FatturaElettronicaBody[{}]/Allegati[{}]", body + 1, place + 1);
    let root = tree.root();
    let found = named(root, "FatturaElettronicaBody")
        .nth(body)
        .and_then(|body| named(body, "Allegati").nth(place))
        .and_then(|attachment| attachment.child("Attachment"))
        .ok_or_else(|| ReadError::Missing { path: path() })?;
    envelope::from_base64(found.text().as_bytes()).ok_or_else(|| ReadError::Value {
        path: path(),
        found: short(found.text()),
        wanted: "base64",
    })
}

/// Reads the record from a parsed tree.
///
/// # Errors
/// [`ReadError`] names the element that is missing or wrong.
pub fn read_tree(file_name: &str, tree: &Tree<'_>) -> Result<InvoiceFile, ReadError> {
    let root = tree.root();
    let is_simplified = match (root.name(), root.namespace()) {
        ("FatturaElettronica", ORDINARY) => false,
        ("FatturaElettronicaSemplificata", SIMPLIFIED) => true,
        (name, namespace) => {
            let (name, namespace) = (short(name), short(namespace));
            return Err(ReadError::NotAnInvoice { name, namespace });
        }
    };
    let header = need(root, "FatturaElettronicaHeader")?;
    let transmission = need(header, "DatiTrasmissione")?;
    let supplier = need(header, "CedentePrestatore")?;
    let buyer = need(header, "CessionarioCommittente")?;
    let mut bodies = Vec::new();
    for body in named(root, "FatturaElettronicaBody") {
        if bodies.len() == limits::BODIES_MAX {
            return Err(ReadError::TooManyBodies { max: limits::BODIES_MAX });
        }
        bodies.push(if is_simplified { simplified_body(body)? } else { ordinary_body(body)? });
    }
    if bodies.is_empty() {
        need(root, "FatturaElettronicaBody")?;
    }
    let format = need(transmission, "FormatoTrasmissione")?;
    let recipient = need(transmission, "CodiceDestinatario")?;
    let representative = |of: Element<'_>| of.child("RappresentanteFiscale").map(party).transpose();
    let buyer_data =
        if is_simplified { buyer.child("AltriDatiIdentificativi") } else { Some(buyer) };
    Ok(InvoiceFile {
        file_name: file_name.to_owned(),
        sdi_name: SdiFileName::parse(file_name).ok(),
        in_cms: false,
        has_xml_signature: root.child("Signature").is_some(),
        format: match format.text().trim() {
            "FPA12" => Format::FPA12,
            "FPR12" => Format::FPR12,
            "FSM10" => Format::FSM10,
            _ => return Err(wrong(format, "FPA12, FPR12 or FSM10")),
        },
        version: root.attribute("versione").unwrap_or_default().to_owned(),
        transmitter: fiscal_id(need(transmission, "IdTrasmittente")?)?,
        progressive: text(transmission, "ProgressivoInvio"),
        recipient: RecipientCode::parse(recipient.text().trim())
            .map_err(|_| wrong(recipient, "a recipient code of 6 or 7 characters"))?,
        recipient_pec: optional(transmission, "PECDestinatario"),
        supplier: party(supplier)?,
        supplier_representative: representative(if is_simplified { supplier } else { header })?,
        buyer: party(buyer)?,
        buyer_representative: buyer_data.map(representative).transpose()?.flatten(),
        intermediary: header
            .child("TerzoIntermediarioOSoggettoEmittente")
            .map(party)
            .transpose()?,
        issued_by: optional(header, "SoggettoEmittente"),
        bodies,
    })
}

fn ordinary_body(body: Element<'_>) -> Result<Invoice, ReadError> {
    let general = need(body, "DatiGenerali")?;
    let document = need(general, "DatiGeneraliDocumento")?;
    let goods = need(body, "DatiBeniServizi")?;
    let mut invoice = head(document)?;
    for child in document.children() {
        match child.name() {
            "DatiRitenuta" => invoice.withholdings.push(Withholding {
                kind: text(child, "TipoRitenuta"),
                amount: amount(child, "ImportoRitenuta")?,
                rate: amount(child, "AliquotaRitenuta")?,
                reason: text(child, "CausalePagamento"),
            }),
            "DatiBollo" => {
                let amount = optional_amount(child, "ImportoBollo")?;
                invoice.stamp_duty = Some(StampDuty { amount });
            }
            "DatiCassaPrevidenziale" => invoice.funds.push(Fund {
                kind: text(child, "TipoCassa"),
                rate: amount(child, "AlCassa")?,
                contribution: amount(child, "ImportoContributoCassa")?,
                base: optional_amount(child, "ImponibileCassa")?,
                vat_rate: amount(child, "AliquotaIVA")?,
                is_withheld: says_yes(child, "Ritenuta"),
                nature: optional(child, "Natura"),
            }),
            "ScontoMaggiorazione" => invoice.discounts.push(discount(child)?),
            "Causale" => invoice.reasons.push(child.text().to_owned()),
            "Art73" => invoice.is_art73 = child.text().trim() == "SI",
            _ => {}
        }
    }
    invoice.declared_total = optional_amount(document, "ImportoTotaleDocumento")?;
    invoice.rounding = optional_amount(document, "Arrotondamento")?;
    for child in general.children() {
        let kind = match child.name() {
            "DatiOrdineAcquisto" => ReferenceKind::Order,
            "DatiContratto" => ReferenceKind::Contract,
            "DatiConvenzione" => ReferenceKind::Agreement,
            "DatiRicezione" => ReferenceKind::Receipt,
            "DatiFattureCollegate" => ReferenceKind::Invoice,
            "DatiDDT" => {
                invoice.delivery_notes.push(DeliveryNote {
                    number: text(child, "NumeroDDT"),
                    date: optional_date(child, "DataDDT")?,
                    lines: texts(child, "RiferimentoNumeroLinea"),
                });
                continue;
            }
            _ => continue,
        };
        invoice.references.push(Reference {
            kind,
            lines: texts(child, "RiferimentoNumeroLinea"),
            document: text(child, "IdDocumento"),
            date: optional_date(child, "Data")?,
            item: optional(child, "NumItem"),
            order_code: optional(child, "CodiceCommessaConvenzione"),
            cup: optional(child, "CodiceCUP"),
            cig: optional(child, "CodiceCIG"),
        });
    }
    for child in goods.children() {
        match child.name() {
            "DettaglioLinee" => invoice.lines.push(line(child)?),
            "DatiRiepilogo" => invoice.vat.push(VatRow {
                rate: amount(child, "AliquotaIVA")?,
                nature: optional(child, "Natura"),
                extra: optional_amount(child, "SpeseAccessorie")?,
                rounding: optional_amount(child, "Arrotondamento")?,
                taxable: amount(child, "ImponibileImporto")?,
                tax: amount(child, "Imposta")?,
                due: optional(child, "EsigibilitaIVA"),
                law: optional(child, "RiferimentoNormativo"),
            }),
            _ => {}
        }
    }
    for block in named(body, "DatiPagamento") {
        for detail in named(block, "DettaglioPagamento") {
            invoice.payments.push(payment(&text(block, "CondizioniPagamento"), detail)?);
        }
    }
    invoice.attachments = named(body, "Allegati").map(attachment_of).collect();
    Ok(invoice)
}

fn simplified_body(body: Element<'_>) -> Result<Invoice, ReadError> {
    let general = need(body, "DatiGenerali")?;
    let document = need(general, "DatiGeneraliDocumento")?;
    let mut invoice = head(document)?;
    if says_yes(document, "BolloVirtuale") {
        invoice.stamp_duty = Some(StampDuty { amount: None });
    }
    if let Some(corrected) = general.child("DatiFatturaRettificata") {
        invoice.corrected = Some(Corrected {
            number: text(corrected, "NumeroFR"),
            date: optional_date(corrected, "DataFR")?,
            elements: text(corrected, "ElementiRettificati"),
        });
    }
    for (place, goods) in named(body, "DatiBeniServizi").enumerate() {
        let vat = goods.child("DatiIVA");
        let of_vat = |name| vat.map_or(Ok(None), |vat| optional_amount(vat, name));
        invoice.lines.push(Line {
            number: (place + 1).to_string(),
            kind: None,
            articles: Vec::new(),
            description: text(goods, "Descrizione"),
            quantity: None,
            unit: None,
            from: None,
            to: None,
            unit_price: None,
            discounts: Vec::new(),
            total: amount(goods, "Importo")?,
            rate: of_vat("Aliquota")?,
            tax: of_vat("Imposta")?,
            is_withheld: false,
            nature: optional(goods, "Natura"),
            other: optional(goods, "RiferimentoNormativo").into_iter().collect(),
        });
    }
    invoice.attachments = named(body, "Allegati").map(attachment_of).collect();
    Ok(invoice)
}

fn head(document: Element<'_>) -> Result<Invoice, ReadError> {
    let date = need(document, "Data")?;
    Ok(Invoice {
        kind: need(document, "TipoDocumento")?.text().trim().to_owned(),
        currency: text(document, "Divisa"),
        date: Date::parse(date.text()).ok_or_else(|| wrong(date, "a date like 2025-12-31"))?,
        number: need(document, "Numero")?.text().trim().to_owned(),
        declared_total: None,
        rounding: None,
        reasons: Vec::new(),
        is_art73: false,
        withholdings: Vec::new(),
        stamp_duty: None,
        funds: Vec::new(),
        discounts: Vec::new(),
        references: Vec::new(),
        delivery_notes: Vec::new(),
        corrected: None,
        lines: Vec::new(),
        vat: Vec::new(),
        payments: Vec::new(),
        attachments: Vec::new(),
    })
}

fn line(line: Element<'_>) -> Result<Line, ReadError> {
    let mut discounts = Vec::new();
    let mut articles = Vec::new();
    let mut other = Vec::new();
    for child in line.children() {
        match child.name() {
            "ScontoMaggiorazione" => discounts.push(discount(child)?),
            "CodiceArticolo" => {
                articles.push((text(child, "CodiceTipo"), text(child, "CodiceValore")));
            }
            "AltriDatiGestionali" => {
                let words: Vec<_> = child.children().map(|word| word.text().trim()).collect();
                other.push(words.join(" "));
            }
            _ => {}
        }
    }
    Ok(Line {
        number: text(line, "NumeroLinea"),
        kind: optional(line, "TipoCessionePrestazione"),
        articles,
        description: text(line, "Descrizione"),
        quantity: optional_amount(line, "Quantita")?,
        unit: optional(line, "UnitaMisura"),
        from: optional_date(line, "DataInizioPeriodo")?,
        to: optional_date(line, "DataFinePeriodo")?,
        unit_price: Some(amount(line, "PrezzoUnitario")?),
        discounts,
        total: amount(line, "PrezzoTotale")?,
        rate: Some(amount(line, "AliquotaIVA")?),
        tax: None,
        is_withheld: says_yes(line, "Ritenuta"),
        nature: optional(line, "Natura"),
        other,
    })
}

fn payment(conditions: &str, detail: Element<'_>) -> Result<Payment, ReadError> {
    Ok(Payment {
        conditions: conditions.to_owned(),
        method: text(detail, "ModalitaPagamento"),
        beneficiary: optional(detail, "Beneficiario"),
        reference_date: optional_date(detail, "DataRiferimentoTerminiPagamento")?,
        days: optional(detail, "GiorniTerminiPagamento"),
        due: optional_date(detail, "DataScadenzaPagamento")?,
        amount: amount(detail, "ImportoPagamento")?,
        bank: optional(detail, "IstitutoFinanziario"),
        iban: optional(detail, "IBAN"),
        bic: optional(detail, "BIC"),
        code: optional(detail, "CodicePagamento"),
    })
}

fn discount(of: Element<'_>) -> Result<Discount, ReadError> {
    Ok(Discount {
        is_surcharge: text(of, "Tipo") == "MG",
        percent: optional_amount(of, "Percentuale")?,
        amount: optional_amount(of, "Importo")?,
    })
}

fn attachment_of(of: Element<'_>) -> Attachment {
    let base64 = of.child("Attachment").map_or("", Element::text);
    let digits = base64.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=').count();
    Attachment {
        name: text(of, "NomeAttachment"),
        format: optional(of, "FormatoAttachment"),
        compression: optional(of, "AlgoritmoCompressione"),
        description: optional(of, "DescrizioneAttachment"),
        size: digits * 3 / 4,
    }
}

/// Reads a party wherever its data stand: in DatiAnagrafici (ordinary), in IdentificativiFiscali and
/// AltriDatiIdentificativi (buyer of a simplified invoice), or directly inside.
fn party(of: Element<'_>) -> Result<Party, ReadError> {
    let data = of.child("DatiAnagrafici").unwrap_or(of);
    let ids = of.child("IdentificativiFiscali").unwrap_or(data);
    let rest = of.child("AltriDatiIdentificativi").unwrap_or(of);
    let named = data.child("Anagrafica").unwrap_or(
        if data.child("Denominazione").is_some() || data.child("Nome").is_some() {
            data
        } else {
            rest
        },
    );
    let name = optional(named, "Denominazione").unwrap_or_else(|| {
        let (first, last) = (text(named, "Nome"), text(named, "Cognome"));
        format!("{first} {last}").trim().to_owned()
    });
    let address = rest.child("Sede").map(|seat| Address {
        street: text(seat, "Indirizzo"),
        number: optional(seat, "NumeroCivico"),
        postcode: text(seat, "CAP"),
        town: text(seat, "Comune"),
        province: optional(seat, "Provincia"),
        country: optional(seat, "Nazione").unwrap_or_else(|| "IT".to_owned()),
    });
    let contacts = of.child("Contatti").map(|contacts| {
        contacts.children().map(|c| c.text().trim().to_owned()).filter(|c| !c.is_empty()).collect()
    });
    let register = of
        .child("IscrizioneREA")
        .map(|rea| format!("{} {}", text(rea, "Ufficio"), text(rea, "NumeroREA")));
    Ok(Party {
        name,
        vat: ids.child("IdFiscaleIVA").map(fiscal_id).transpose()?,
        tax_code: optional(ids, "CodiceFiscale"),
        regime: optional(data, "RegimeFiscale"),
        address,
        contacts: contacts.unwrap_or_default(),
        register,
    })
}

fn fiscal_id(of: Element<'_>) -> Result<FiscalId, ReadError> {
    Ok(FiscalId {
        country: need(of, "IdPaese")?.text().trim().to_owned(),
        code: need(of, "IdCodice")?.text().trim().to_owned(),
    })
}

fn named<'t>(of: Element<'t>, name: &str) -> impl Iterator<Item = Element<'t>> {
    of.children().filter(move |child| child.name() == name)
}

fn need<'t>(of: Element<'t>, name: &str) -> Result<Element<'t>, ReadError> {
    of.child(name).ok_or_else(|| ReadError::Missing { path: format!("{}/{name}", of.path()) })
}

fn text(of: Element<'_>, name: &str) -> String {
    of.child(name).map_or_else(String::new, |child| child.text().trim().to_owned())
}

fn texts(of: Element<'_>, name: &str) -> Vec<String> {
    named(of, name).map(|child| child.text().trim().to_owned()).collect()
}

fn optional(of: Element<'_>, name: &str) -> Option<String> {
    of.child(name).map(|child| child.text().trim().to_owned()).filter(|text| !text.is_empty())
}

fn says_yes(of: Element<'_>, name: &str) -> bool {
    of.child(name).is_some_and(|child| child.text().trim() == "SI")
}

fn optional_date(of: Element<'_>, name: &str) -> Result<Option<Date>, ReadError> {
    of.child(name)
        .map(|child| {
            Date::parse(child.text()).ok_or_else(|| wrong(child, "a date like 2025-12-31"))
        })
        .transpose()
}

fn amount(of: Element<'_>, name: &str) -> Result<Decimal, ReadError> {
    decimal(need(of, name)?)
}

fn optional_amount(of: Element<'_>, name: &str) -> Result<Option<Decimal>, ReadError> {
    of.child(name).map(decimal).transpose()
}

fn decimal(of: Element<'_>) -> Result<Decimal, ReadError> {
    Decimal::from_str_exact(of.text().trim()).map_err(|_| wrong(of, "a number like 1234.56"))
}

fn wrong(of: Element<'_>, wanted: &'static str) -> ReadError {
    ReadError::Value { path: of.path(), found: short(of.text()), wanted }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
