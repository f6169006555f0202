//! Where a customer is on the way from invitation to enablement: a pure function of what the
//! documents say. No clock, no store, no order of events.

use engine::{
    document::profile::{self, ProfileField},
    record::{ContractRecord, CustomerRecord, ProfileRecord},
};
use fatturapa::{
    VatNumber,
    id::{PecAddress, RecipientCode, TaxCode},
};

/// The version of the terms and of the contract's text that is offered now.
pub const TEXT: &str = "2026-11";

/// The next thing that must happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The customer checks and confirms its data.
    Data,
    /// The customer accepts the terms.
    Terms,
    /// The customer signs the contract.
    Contract,
    /// The administrator admits the customer.
    Admission,
    /// Everything is done: its nodes replicate.
    Enabled,
    /// The administrator suspended it, wherever it was.
    Suspended,
}

impl Stage {
    /// All stages with their names, Italian and English.
    pub const NAMES: [(Self, &'static str, &'static str); 6] = [
        (Self::Data, "Dati da confermare", "Data to confirm"),
        (Self::Terms, "Condizioni da accettare", "Terms to accept"),
        (Self::Contract, "Contratto da firmare", "Contract to sign"),
        (Self::Admission, "In attesa di abilitazione", "Waiting for admission"),
        (Self::Enabled, "Abilitato", "Enabled"),
        (Self::Suspended, "Sospeso", "Suspended"),
    ];
}

/// Where a customer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onboarding {
    /// The next thing that must happen.
    pub stage: Stage,
    /// The data are right and confirmed as they stand.
    pub is_confirmed: bool,
    /// This version of the terms is accepted.
    pub is_accepted: bool,
    /// The contract that was drawn up from these data is signed.
    pub is_signed: bool,
    /// The administrator admitted it.
    pub is_admitted: bool,
}

/// Where the customer with these documents is.
#[must_use]
pub fn onboarding(
    tenant: VatNumber,
    profile: &ProfileRecord,
    contract: &ContractRecord,
    customer: &CustomerRecord,
) -> Onboarding {
    let is_confirmed = faults(tenant, profile).is_empty()
        && profile.get(ProfileField::Confirmed) == profile::confirmation(&profile.fields);
    let is_accepted = contract.terms.iter().any(|terms| terms.version == TEXT);
    let is_signed = contract.signed.is_some();
    let is_admitted = customer.admitted_ms.is_some();
    let stage = match (is_confirmed, is_accepted, is_signed, is_admitted) {
        _ if customer.suspended_ms.is_some() => Stage::Suspended,
        (false, ..) => Stage::Data,
        (_, false, ..) => Stage::Terms,
        (_, _, false, _) => Stage::Contract,
        (_, _, _, false) => Stage::Admission,
        _ => Stage::Enabled,
    };
    Onboarding { stage, is_confirmed, is_accepted, is_signed, is_admitted }
}

/// What is wrong with a field, Italian and English.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str, pub &'static str);

/// Fields without which no data can be confirmed.
pub const REQUIRED: [ProfileField; 8] = [
    ProfileField::Name,
    ProfileField::VatNumber,
    ProfileField::Pec,
    ProfileField::RecipientCode,
    ProfileField::Street,
    ProfileField::PostalCode,
    ProfileField::City,
    ProfileField::Province,
];
/// Longest text of a field.
pub const FIELD_CHARS_MAX: usize = 200;

/// Every field with something wrong, in the order of the fields.
#[must_use]
pub fn faults(tenant: VatNumber, profile: &ProfileRecord) -> Vec<(ProfileField, Fault)> {
    let mut faults = Vec::new();
    for (field, _) in ProfileField::KEYS {
        if profile.conflicts.iter().any(|conflict| conflict.field == field.key()) {
            let fault = Fault(
                "due valori diversi: scegliere quello giusto",
                "two different values: choose the right one",
            );
            faults.push((field, fault));
        } else if let Some(fault) = fault(tenant, field, profile.get(field)) {
            faults.push((field, fault));
        }
    }
    faults
}

/// What is wrong with `text` as this field of `tenant`.
#[must_use]
pub fn fault(tenant: VatNumber, field: ProfileField, text: &str) -> Option<Fault> {
    if text.is_empty() {
        return REQUIRED.contains(&field).then_some(Fault("manca", "it is missing"));
    }
    if text.chars().count() > FIELD_CHARS_MAX || text.chars().any(char::is_control) {
        return Some(Fault(
            "è troppo lungo o ha caratteri non ammessi",
            "too long, or odd characters",
        ));
    }
    let digits = |n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let letters = |n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_uppercase());
    let wrong = match field {
        ProfileField::VatNumber => match VatNumber::parse(text) {
            Ok(found) if found == tenant => return None,
            Ok(_) => {
                Fault("non è la partita IVA del certificato", "not the certificate's VAT number")
            }
            Err(_) => Fault(
                "deve avere 11 cifre e la cifra di controllo giusta",
                "it needs 11 digits and the right check digit",
            ),
        },
        ProfileField::TaxCode if TaxCode::parse(text).is_err() => Fault(
            "non è un codice fiscale: 16 caratteri, o 11 cifre per le società",
            "not a tax code: 16 characters, or 11 digits for companies",
        ),
        ProfileField::RecipientCode => match RecipientCode::parse(text) {
            Ok(code) if !code.is_office() && !code.is_unknown() && !code.is_foreign() => {
                return None;
            }
            _ => Fault(
                "deve avere 7 lettere maiuscole o cifre",
                "it needs 7 capital letters or digits",
            ),
        },
        ProfileField::Pec if PecAddress::parse(text).is_err() => {
            Fault("si scrive nome@dominio.it", "it is written name@domain.it")
        }
        ProfileField::Email if PecAddress::parse(text).is_err() => {
            Fault("si scrive nome@dominio.it", "it is written name@domain.it")
        }
        ProfileField::PostalCode if !digits(5) => Fault("il CAP ha 5 cifre", "it has 5 digits"),
        ProfileField::Province if !letters(2) => {
            Fault("due lettere maiuscole, come VR", "two capital letters, like VR")
        }
        ProfileField::Country if text != "IT" => Fault("deve essere IT", "it must be IT"),
        ProfileField::TaxRegime
            if !(text.len() == 4 && text.starts_with("RF") && text[2..].parse::<u8>().is_ok()) =>
        {
            Fault("si scrive come RF01", "it is written like RF01")
        }
        _ => return None,
    };
    Some(wrong)
}

#[cfg(test)]
mod tests {
    use engine::{document::contract::TermsAcceptance, id::BlobHash};

    use super::*;

    fn ours() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    fn profile() -> ProfileRecord {
        let mut fields: Vec<_> = [
            (ProfileField::Name, "Officine Adige S.r.l."),
            (ProfileField::VatNumber, "02038490237"),
            (ProfileField::Pec, "adige@pec.it"),
            (ProfileField::RecipientCode, "ABC1234"),
            (ProfileField::Street, "Via Mazzini 1"),
            (ProfileField::PostalCode, "37121"),
            (ProfileField::City, "Verona"),
            (ProfileField::Province, "VR"),
        ]
        .map(|(field, text)| (field, text.to_owned()))
        .to_vec();
        fields.push((ProfileField::Confirmed, profile::confirmation(&fields)));
        ProfileRecord { fields, conflicts: vec![] }
    }

    fn contract() -> ContractRecord {
        ContractRecord {
            terms: vec![TermsAcceptance { version: TEXT.into(), at_ms: 1, user: "rossi".into() }],
            signed: Some(BlobHash::of(b"signed")),
            ..ContractRecord::default()
        }
    }

    fn customer() -> CustomerRecord {
        CustomerRecord { admitted_ms: Some(1), ..CustomerRecord::default() }
    }

    fn stage(
        profile: &ProfileRecord,
        contract: &ContractRecord,
        customer: &CustomerRecord,
    ) -> Stage {
        onboarding(ours(), profile, contract, customer).stage
    }

    #[test]
    fn each_thing_that_is_missing_is_the_next_step() {
        assert_eq!(stage(&profile(), &contract(), &customer()), Stage::Enabled);
        let mut changed = profile();
        changed.fields[2].1 = "altra@pec.it".into();
        assert_eq!(stage(&changed, &contract(), &customer()), Stage::Data, "confirmed otherwise");
        let old = ContractRecord { terms: vec![], ..contract() };
        assert_eq!(stage(&profile(), &old, &customer()), Stage::Terms);
        let unsigned = ContractRecord { signed: None, ..contract() };
        assert_eq!(stage(&profile(), &unsigned, &customer()), Stage::Contract);
        assert_eq!(stage(&profile(), &contract(), &CustomerRecord::default()), Stage::Admission);
        let suspended = CustomerRecord { suspended_ms: Some(2), ..customer() };
        assert_eq!(stage(&profile(), &contract(), &suspended), Stage::Suspended);
    }

    #[test]
    fn a_conflict_is_not_confirmed_whatever_was_confirmed() {
        let mut profile = profile();
        profile.conflicts.push(engine::record::Conflict {
            field: "pec".into(),
            values: vec!["adige@pec.it".into(), "altra@pec.it".into()],
        });
        assert_eq!(stage(&profile, &contract(), &customer()), Stage::Data);
    }

    #[test]
    fn wrong_texts_are_told_from_right_ones() {
        let check = |field, text: &str, right| {
            assert_eq!(fault(ours(), field, text).is_none(), right, "{field:?} {text:?}");
        };
        check(ProfileField::VatNumber, "02038490237", true);
        check(ProfileField::VatNumber, "02038490238", false);
        check(ProfileField::VatNumber, "12345678903", false);
        check(ProfileField::TaxCode, "", true);
        check(ProfileField::TaxCode, "RSSMRA80A01F205X", true);
        check(ProfileField::TaxCode, "RSSMRA80A01F205Y", false);
        check(ProfileField::RecipientCode, "ABC1234", true);
        check(ProfileField::RecipientCode, "0000000", false);
        check(ProfileField::RecipientCode, "UF5K2D", false);
        check(ProfileField::Pec, "adige@pec.it", true);
        check(ProfileField::Pec, "adige", false);
        check(ProfileField::Pec, "", false);
        check(ProfileField::PostalCode, "3712", false);
        check(ProfileField::Province, "vr", false);
        check(ProfileField::Country, "FR", false);
        check(ProfileField::TaxRegime, "RF01", true);
        check(ProfileField::TaxRegime, "RFxx", false);
        check(ProfileField::Name, &"x".repeat(201), false);
    }
}
