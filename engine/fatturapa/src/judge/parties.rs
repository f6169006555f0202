//! Checks on who sells, buys, represents and transmits.

use super::{Findings, header};
use crate::id::{TaxCode, VatNumber};
use crate::invoice::{FiscalId, Format, InvoiceFile, Party};

pub(super) fn judge(file: &InvoiceFile, findings: &mut Findings<'_>) {
    transmission(file, findings);
    let is_simplified = file.format == Format::FSM10;
    let data = |party: &str| match (is_simplified, party) {
        (false, _) => format!("{party}/DatiAnagrafici"),
        (true, "CessionarioCommittente") => format!("{party}/IdentificativiFiscali"),
        (true, _) => party.to_owned(),
    };
    let supplier = header(file, &data("CedentePrestatore"));
    party(&file.supplier, &supplier, "00301", "00302", findings);
    if let Some(representative) = &file.supplier_representative {
        let path = if is_simplified {
            header(file, "CedentePrestatore/RappresentanteFiscale")
        } else {
            header(file, "RappresentanteFiscale/DatiAnagrafici")
        };
        party(representative, &path, "00303", "00304", findings);
    }
    let buyer = header(file, &data("CessionarioCommittente"));
    party(&file.buyer, &buyer, "00305", "00306", findings);
    if let Some(representative) = &file.buyer_representative {
        let path = if is_simplified {
            header(file, "CessionarioCommittente/AltriDatiIdentificativi/RappresentanteFiscale")
        } else {
            header(file, "CessionarioCommittente/RappresentanteFiscale")
        };
        party(representative, &path, "00303", "00304", findings);
    }
    if file.buyer.vat.is_none() && file.buyer.tax_code.is_none() {
        findings.add("00417", buyer, "", None, Some("IdFiscaleIVA o CodiceFiscale".to_owned()));
    }
    if let (Some(seller), Some(buyer)) = (&file.supplier.vat, &file.buyer.vat)
        && seller.country != "IT"
        && buyer.country != "IT"
    {
        let found = format!("{} e {}", seller.country, buyer.country);
        let detail = format!("Sono indicati {found}.");
        let path = format!("{supplier}/IdFiscaleIVA/IdPaese");
        findings.add("00476", path, &detail, Some(found), Some("IT".to_owned()));
    }
}

fn transmission(file: &InvoiceFile, findings: &mut Findings<'_>) {
    let at = |rest: &str| header(file, &format!("DatiTrasmissione/{rest}"));
    let id = &file.transmitter;
    if id.country == "IT"
        && VatNumber::parse(&id.code).is_err()
        && TaxCode::parse(&id.code).is_err()
    {
        let (detail, found) = wrong(&id.code, "la cifra o lettera di controllo non torna");
        findings.add("00300", at("IdTrasmittente/IdCodice"), &detail, found, None);
    }
    let code = &file.recipient;
    if let Some(pec) = file.recipient_pec.as_ref().filter(|_| !code.is_unknown()) {
        let detail = format!("Il codice è {code}, la PEC {pec}.");
        let expected = Some("0000000".to_owned());
        findings.add("00426", at("PECDestinatario"), &detail, Some(code.to_string()), expected);
    }
    if code.is_office() != (file.format == Format::FPA12) {
        let (format, wanted) =
            (file.format.as_str(), if file.format == Format::FPA12 { 6 } else { 7 });
        let detail = format!(
            "Il codice {code} ha {} caratteri, {format} ne vuole {wanted}.",
            code.as_str().len()
        );
        let expected = Some(format!("{wanted} caratteri"));
        findings.add("00427", at("CodiceDestinatario"), &detail, Some(code.to_string()), expected);
    }
    if file.version != file.format.as_str() {
        let format = file.format.as_str();
        let detail = format!("La radice dice {}, la trasmissione {format}.", file.version);
        let (found, expected) = (Some(format.to_owned()), Some(file.version.clone()));
        findings.add("00428", at("FormatoTrasmissione"), &detail, found, expected);
    }
}

fn party(party: &Party, path: &str, vat: &str, tax: &str, findings: &mut Findings<'_>) {
    if let Some(FiscalId { country, code }) = &party.vat
        && country == "IT"
        && let Err(error) = VatNumber::parse(code)
    {
        let (detail, found) = wrong(code, italian(&error.to_string()));
        findings.add(vat, format!("{path}/IdFiscaleIVA/IdCodice"), &detail, found, None);
    }
    if let Some(code) = &party.tax_code
        && let Err(error) = TaxCode::parse(code)
    {
        let (detail, found) = wrong(code, italian(&error.to_string()));
        findings.add(tax, format!("{path}/CodiceFiscale"), &detail, found, None);
    }
}

fn wrong(code: &str, why: &str) -> (String, Option<String>) {
    (format!("Il codice «{code}» non è corretto: {why}."), Some(code.to_owned()))
}

/// The reason of an identifier's error, for a bookkeeper.
fn italian(error: &str) -> &'static str {
    let said = |part: &str| error.contains(part);
    if said("11 digits") && !said("16") {
        "servono undici cifre"
    } else if said("check") {
        "la cifra o lettera di controllo non torna"
    } else if said("zeros") {
        "è fatto di soli zeri"
    } else if said("16 characters") {
        "servono 16 caratteri, oppure undici cifre"
    } else {
        "la disposizione di lettere e cifre non è quella prevista"
    }
}

/// True when two parties are the same taxpayer: by VAT id when both have one, else by tax code.
pub(super) fn are_same(one: &Party, other: &Party) -> bool {
    if let (Some(one), Some(other)) = (&one.vat, &other.vat) {
        return one.country == other.country && one.code.eq_ignore_ascii_case(&other.code);
    }
    let codes = |party: &Party| {
        let vat = party.vat.as_ref().filter(|id| id.country == "IT").map(|id| id.code.clone());
        [vat, party.tax_code.clone()].into_iter().flatten().collect::<Vec<_>>()
    };
    let others = codes(other);
    codes(one).iter().any(|code| others.contains(code))
}
