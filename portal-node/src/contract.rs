//! The contract of intermediation: its text, the PDF drawn up from a profile, and who signed a
//! file. Pure: the day is an argument, and the same data give the same bytes.
//!
//! Nobody here judges a right to sign: the signer's name is shown and recorded as the
//! certificate has it. Which authorities count is configuration.

use engine::{document::profile::ProfileField, record::ProfileRecord};
use fatturapa::{
    Date, VatNumber, envelope,
    signature::{Trust, cades},
    view::{Letter, letter},
};

use crate::{
    onboarding::TEXT,
    pades::{self, NotOurs},
};

/// The intermediary, as the contract names it.
#[derive(Clone, Copy, Debug)]
pub struct Intermediary<'a> {
    /// Denominazione.
    pub name: &'a str,
    /// Its P.IVA, address and PEC, in one line.
    pub about: &'a str,
}

/// The terms, each with its heading; Italian counts, English explains.
pub const TERMS: [(&str, &str, &str); 6] = [
    (
        "Oggetto",
        "Il Cliente incarica l'Intermediario di trasmettere al Sistema di Interscambio (SdI) le fatture elettroniche \
         che il Cliente emette, di ricevere quelle a lui indirizzate al codice destinatario indicato, e di tenerle \
         disponibili sui due portali e sul server del Cliente.",
        "The customer entrusts the intermediary with sending and receiving its electronic invoices through the SdI.",
    ),
    (
        "Responsabilità sui dati",
        "I dati delle fatture sono del Cliente, che ne risponde. L'Intermediario trasmette i file così come li riceve, \
         senza modificarli, e segnala prima dell'invio gli errori che è in grado di riconoscere.",
        "Invoice data are the customer's; the intermediary sends files unchanged and points out errors it can see.",
    ),
    (
        "Accesso",
        "Il portale si usa con nome utente, password e il certificato rilasciato al Cliente. Il Cliente custodisce \
         tutti e tre e avvisa subito l'Intermediario se ne perde il controllo; il certificato viene allora revocato.",
        "The portal needs user name, password and certificate; a lost one must be reported at once.",
    ),
    (
        "Disponibilità",
        "I due portali tengono le stesse copie. Se una linea o un portale non funziona, il server del Cliente lavora \
         con l'altro; se nessuno è raggiungibile, le fatture restano in coda sul server e partono appena possibile.",
        "Both portals hold the same copies; with neither reachable, invoices wait on the customer's server.",
    ),
    (
        "Conservazione",
        "Questo servizio non è la conservazione sostitutiva a norma di legge: il Cliente vi provvede con l'Agenzia delle \
         Entrate o con un conservatore di sua scelta.",
        "This service is not the legally required preservation, which remains the customer's duty.",
    ),
    (
        "Durata e recesso",
        "Il contratto vale per la sola partita IVA indicata, da quando è firmato e l'Intermediario abilita il Cliente, a \
         tempo indeterminato. Ognuna delle parti può recedere con preavviso di trenta giorni inviato per PEC.",
        "It holds for this VAT number, open-ended; either side may withdraw with thirty days' notice by PEC.",
    ),
];

/// The contract of `tenant` as a PDF, drawn up on `day` from its confirmed data.
#[must_use]
pub fn pdf(
    intermediary: Intermediary<'_>,
    tenant: VatNumber,
    profile: &ProfileRecord,
    day: Date,
) -> Vec<u8> {
    let get = |field| profile.get(field);
    let address = format!(
        "{}, {} {} ({})",
        get(ProfileField::Street),
        get(ProfileField::PostalCode),
        get(ProfileField::City),
        get(ProfileField::Province)
    );
    let mut customer = vec![
        format!("{}, {address}", get(ProfileField::Name)),
        format!("Partita IVA {tenant}"),
        format!("PEC {}", get(ProfileField::Pec)),
        format!("Codice destinatario {}", get(ProfileField::RecipientCode)),
    ];
    for (field, label) in
        [(ProfileField::TaxCode, "Codice fiscale"), (ProfileField::TaxRegime, "Regime fiscale")]
    {
        if !get(field).is_empty() {
            customer.push(format!("{label} {}", get(field)));
        }
    }
    let intermediary = vec![intermediary.name.to_owned(), intermediary.about.to_owned()];
    let mut sections =
        vec![("L'Intermediario".to_owned(), intermediary), ("Il Cliente".to_owned(), customer)];
    for (place, (heading, text, _)) in TERMS.iter().enumerate() {
        sections.push((format!("{}. {heading}", place + 1), vec![(*text).to_owned()]));
    }
    let closing = format!(
        "Testo {TEXT}, preparato il {} con i dati confermati dal Cliente. Firmato digitalmente, o con il codice inviato \
         alla PEC del Cliente.",
        day.italian_text()
    );
    sections.push(("Firma".to_owned(), vec![closing]));
    letter(&Letter {
        title: "Contratto di intermediazione per la fatturazione elettronica".to_owned(),
        sections,
        foot: format!("Partita IVA {tenant} - testo {TEXT}"),
    })
}

/// Who signed, as the certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatory {
    /// Common name.
    pub name: String,
    /// The authority's.
    pub authority: String,
}

/// Why a file is not the signed contract; Italian and English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSigned {
    /// It is neither a CAdES file nor a PDF.
    NotCades,
    /// It is the PDF, without a signature.
    Unsigned,
    /// It is this PDF, with more changed than a signature changes.
    Changed,
    /// It is signed, and another document.
    OtherDocument,
    /// The signature does not hold.
    Broken(String),
}

impl NotSigned {
    /// The sentence, Italian and English.
    #[must_use]
    pub fn words(&self) -> (String, String) {
        match self {
            Self::NotCades => (
                "Il file non è un .p7m (firma CAdES) né un PDF firmato (PAdES): firmate il PDF del contratto e caricate \
                 quello che ne esce."
                    .into(),
                "The file is neither a .p7m (CAdES) nor a signed PDF (PAdES): sign the contract's PDF and upload what \
                 comes out."
                    .into(),
            ),
            Self::Unsigned => (
                "Il PDF non è firmato: firmatelo e caricate quello firmato.".into(),
                "The PDF is not signed: sign it and upload the signed one.".into(),
            ),
            Self::Changed => (
                "Nel PDF è cambiato più di quello che cambia una firma, o la firma non lo copre tutto: scaricatelo di \
                 nuovo e firmatelo, oppure caricate un .p7m."
                    .into(),
                "More was changed in the PDF than a signature changes, or the signature does not cover it all: \
                 download it again and sign it, or upload a .p7m."
                    .into(),
            ),
            Self::OtherDocument => (
                "Il documento firmato non è questo contratto: scaricate il PDF da questa pagina e firmate quello, \
                 senza modificarlo."
                    .into(),
                "The document signed is not this contract: download the PDF from this page and sign that one.".into(),
            ),
            Self::Broken(why) => {
                (format!("La firma non è valida: {why}"), format!("The signature does not hold: {why}"))
            }
        }
    }
}

/// Who signed `pdf` in `file`, a `.p7m` or the same PDF with signatures in it. Every signature must
/// hold.
///
/// # Errors
/// [`NotSigned`]
pub fn signed_by(
    file: &[u8],
    pdf: &[u8],
    trust: Trust<'_>,
    now_seconds: i64,
) -> Result<Signatory, NotSigned> {
    let mut signatures = Vec::new();
    if file.starts_with(b"%PDF") {
        for signed in pades::signatures(file, pdf)? {
            let mut found = cades(&signed.cms, &signed.content, trust, now_seconds);
            for signature in &mut found {
                // A PDF states the moment beside the signature, and forbids it inside (ETSI EN
                // 319 142-1): it is no fault there.
                signature.faults.retain(|fault| fault.code != "00103");
            }
            signatures.extend(found);
        }
    } else {
        let opened = envelope::open(file).map_err(|_| NotSigned::NotCades)?;
        let cms = opened.cms.as_deref().ok_or(NotSigned::NotCades)?;
        if opened.content.as_ref() != pdf {
            return Err(NotSigned::OtherDocument);
        }
        signatures = cades(cms, &opened.content, trust, now_seconds);
    }
    for signature in &signatures {
        if let Some(fault) = signature.faults.first() {
            return Err(NotSigned::Broken(fault.detail.clone()));
        }
        if !signature.is_intact {
            return Err(NotSigned::Broken("il file è stato alterato".to_owned()));
        }
    }
    let first = signatures.into_iter().next().ok_or(NotSigned::NotCades)?;
    Ok(Signatory { name: first.signer, authority: first.authority })
}

impl From<NotOurs> for NotSigned {
    fn from(why: NotOurs) -> Self {
        match why {
            NotOurs::Other => Self::OtherDocument,
            NotOurs::Unsigned => Self::Unsigned,
            NotOurs::Changed | NotOurs::Coverage => Self::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn profile(pec: &str) -> ProfileRecord {
        let fields = vec![
            (ProfileField::Name, "Officine Adige S.r.l.".to_owned()),
            (ProfileField::Pec, pec.to_owned()),
        ];
        ProfileRecord { fields, conflicts: vec![] }
    }

    fn drawn(pec: &str) -> Vec<u8> {
        let intermediary = Intermediary { name: "Intermediario", about: "Verona" };
        let tenant = VatNumber::parse("02038490237").unwrap();
        pdf(intermediary, tenant, &profile(pec), Date::parse("2026-11-24").unwrap())
    }

    /// Signs as a customer would, with the system's openssl.
    fn sign(content: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("contratto.pdf"), content).unwrap();
        let openssl = |arguments: &[&str]| {
            let status = Command::new("openssl").current_dir(dir.path()).args(arguments).output();
            let output = status.expect("openssl is installed: the Makefile says so");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "k.pem",
            "-out",
            "c.pem",
            "-days",
            "30",
            "-subj",
            "/CN=Maria Rossi/O=Prova",
        ]);
        openssl(&[
            "cms",
            "-sign",
            "-binary",
            "-nodetach",
            "-cades",
            "-md",
            "sha256",
            "-in",
            "contratto.pdf",
            "-signer",
            "c.pem",
            "-inkey",
            "k.pem",
            "-outform",
            "DER",
            "-out",
            "contratto.pdf.p7m",
        ]);
        std::fs::read(path("contratto.pdf.p7m")).unwrap()
    }

    fn now() -> i64 {
        i64::try_from(crate::office::now_ms() / 1000).unwrap() + 1
    }

    #[test]
    fn the_same_data_are_the_same_contract() {
        assert_eq!(drawn("a@pec.it"), drawn("a@pec.it"));
        assert_ne!(drawn("a@pec.it"), drawn("b@pec.it"));
        assert!(drawn("a@pec.it").starts_with(b"%PDF"));
    }

    #[test]
    fn the_signer_of_this_pdf_is_told_and_no_other_pdf_will_do() {
        let signed = sign(&drawn("a@pec.it"));
        let signatory = signed_by(&signed, &drawn("a@pec.it"), Trust::Unjudged, now()).unwrap();
        assert_eq!(signatory.name, "Maria Rossi");
        let other = signed_by(&signed, &drawn("b@pec.it"), Trust::Unjudged, now());
        assert_eq!(other, Err(NotSigned::OtherDocument));
        let unsigned = signed_by(&drawn("a@pec.it"), &drawn("a@pec.it"), Trust::Unjudged, now());
        assert_eq!(unsigned, Err(NotSigned::Unsigned));
        let nothing = signed_by(b"<html>", &drawn("a@pec.it"), Trust::Unjudged, now());
        assert_eq!(nothing, Err(NotSigned::NotCades));
        let nobody = signed_by(&signed, &drawn("a@pec.it"), Trust::List(&[]), now());
        assert!(matches!(nobody, Err(NotSigned::Broken(_))), "an authority nobody trusts");
    }

    /// A PDF that pyHanko signed in itself: its signer, and the pages it was made of.
    #[test]
    fn the_signer_of_a_pdf_signed_in_itself_is_told() {
        let pdf = include_bytes!("../tests/samples/contratto.pdf").as_slice();
        let signed = include_bytes!("../tests/samples/contratto-firmato.pdf").as_slice();
        let signatory = signed_by(signed, pdf, Trust::Unjudged, now()).unwrap();
        assert_eq!(signatory.name, "Maria Rossi");
        let nobody = signed_by(signed, pdf, Trust::List(&[]), now());
        assert!(matches!(nobody, Err(NotSigned::Broken(_))), "an authority nobody trusts");
        assert_eq!(
            signed_by(signed, &drawn("a@pec.it"), Trust::Unjudged, now()),
            Err(NotSigned::OtherDocument)
        );
        // One letter of what is signed behind the original, and of the signature itself.
        let reason = signed.windows(7).rposition(|word| word == b"Accetto").unwrap();
        let digest = signed.windows(9).rposition(|word| word == b"/Contents").unwrap() + 600;
        for at in [reason, digest] {
            let mut altered = signed.to_vec();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            let found = signed_by(&altered, pdf, Trust::Unjudged, now());
            assert!(matches!(found, Err(NotSigned::Broken(_))), "{found:?}");
        }
    }

    #[test]
    fn a_signature_over_altered_bytes_does_not_hold() {
        let (before, after) = (drawn("a@pec.it"), drawn("b@pec.it"));
        assert_eq!(before.len(), after.len());
        let mut signed = sign(&before);
        let at = signed.windows(before.len()).position(|window| window == before).unwrap();
        signed[at..at + after.len()].copy_from_slice(&after);
        let found = signed_by(&signed, &after, Trust::Unjudged, now());
        assert!(matches!(found, Err(NotSigned::Broken(_))), "{found:?}");
    }
}
