//! Signatures of invoices and messages: integrity, signer, signing time, and faults with the code the SdI
//! would give (RULES.md section 2, stage 3). A fault is a finding, never an error. Trust is the caller's
//! list of authorities; revocation is not looked up, since nothing here touches a network.

mod cades;
mod xades;

use serde::Serialize;

use crate::certificate::Certificate;

pub use self::cades::cades;
pub use self::xades::xades;

/// Which authorities are trusted.
#[derive(Clone, Copy, Debug, Default)]
pub enum Trust<'t> {
    /// Not judged: 00104 is never reported.
    #[default]
    Unjudged,
    /// These certificates, in DER.
    List(&'t [Vec<u8>]),
}

/// How a file is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// In a CMS envelope.
    Cades,
    /// Inside the XML.
    Xades,
}

/// One signature and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Its form.
    pub form: Form,
    /// Common name of the signer; empty when the certificate is missing or unreadable.
    pub signer: String,
    /// Common name of the authority.
    pub authority: String,
    /// Serial number in hex.
    pub serial: String,
    /// Signing time in seconds since 1970-01-01 UTC.
    pub signed_at: Option<i64>,
    /// True when digests and signature are right.
    pub is_intact: bool,
    /// What is wrong.
    pub faults: Vec<SignatureFault>,
}

/// One fault of a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignatureFault {
    /// Code of the SdI.
    pub code: &'static str,
    /// What was found, in Italian.
    pub detail: String,
}

impl Signature {
    const fn new(form: Form) -> Self {
        Self {
            form,
            signer: String::new(),
            authority: String::new(),
            serial: String::new(),
            signed_at: None,
            is_intact: false,
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, code: &'static str, detail: impl Into<String>) {
        self.faults.push(SignatureFault { code, detail: detail.into() });
    }

    /// Records the signer, and judges certificate, time and trust.
    fn judge(
        &mut self,
        certificate: &Certificate<'_>,
        others: &[Certificate<'_>],
        trust: Trust<'_>,
        received_at: i64,
    ) {
        self.signer = certificate.name();
        self.authority = certificate.issuer_name();
        self.serial = certificate.serial.iter().map(|byte| format!("{byte:02x}")).collect();
        let (from, to) = certificate.validity;
        if received_at > to {
            let day = crate::Date::italian(to).map(crate::Date::italian_text).unwrap_or_default();
            self.fault("00100", format!("Il certificato di {} è scaduto il {day}.", self.signer));
        }
        if received_at < from {
            self.fault("00107", "Il certificato non è ancora valido.");
        }
        match self.signed_at {
            None => self.fault("00103", "Manca la data di firma."),
            Some(at) if at > received_at => {
                self.fault("00105", "La data di firma è nel futuro.");
            }
            Some(_) => {}
        }
        if let Trust::List(list) = trust {
            let trusted: Vec<_> =
                list.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
            if !is_trusted(certificate, others, &trusted) {
                self.fault("00104", format!("L'autorità è {}.", self.authority));
            }
        }
    }
}

/// True when a chain of at most four certificates leads to a trusted one.
fn is_trusted(of: &Certificate<'_>, others: &[Certificate<'_>], list: &[Certificate<'_>]) -> bool {
    let mut at = of.clone();
    for _ in 0..4 {
        if list.iter().any(|ca| ca.whole == at.whole || at.is_issued_by(ca)) {
            return true;
        }
        match others.iter().find(|other| other.whole != at.whole && at.is_issued_by(other)) {
            Some(issuer) => at = issuer.clone(),
            None => return false,
        }
    }
    false
}
