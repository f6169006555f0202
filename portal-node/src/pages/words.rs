//! Words that several pages share: names of fields and stages, moments as people write them.

use engine::{
    document::{account::AccountRole, profile::ProfileField, step::Act},
    id::PeerId,
};
use fatturapa::Date;
use node::api::problem::Problem;

use crate::{lang::Lang, onboarding::Stage};

/// What a field is called.
pub fn field(lang: Lang, field: ProfileField) -> &'static str {
    let (it, en) = match field {
        ProfileField::Name => ("Denominazione", "Company name"),
        ProfileField::VatNumber => ("Partita IVA", "VAT number"),
        ProfileField::TaxCode => ("Codice fiscale", "Tax code"),
        ProfileField::RecipientCode => ("Codice destinatario", "Recipient code"),
        ProfileField::Pec => ("PEC", "Certified e-mail (PEC)"),
        ProfileField::Email => ("E-mail", "E-mail"),
        ProfileField::Phone => ("Telefono", "Telephone"),
        ProfileField::Street => ("Indirizzo", "Street and number"),
        ProfileField::PostalCode => ("CAP", "Postal code"),
        ProfileField::City => ("Comune", "Town"),
        ProfileField::Province => ("Provincia", "Province"),
        ProfileField::Country => ("Nazione", "Country"),
        ProfileField::TaxRegime => ("Regime fiscale", "Tax regime"),
        ProfileField::ArchiveEnabled => ("Archivio digitale attivato", "Digital archive enabled"),
        ProfileField::SuppliersTold => ("Codice comunicato ai fornitori", "Code told to suppliers"),
        ProfileField::Confirmed => ("Conferma", "Confirmation"),
    };
    lang.t(it, en)
}

/// What a stage is called.
pub fn stage(lang: Lang, stage: Stage) -> &'static str {
    let named = Stage::NAMES.iter().find(|(here, _, _)| *here == stage);
    named.map_or("", |(_, it, en)| lang.t(it, en))
}

/// What a role is called.
pub fn role(lang: Lang, role: AccountRole) -> &'static str {
    match role {
        AccountRole::Reader => lang.t("Sola lettura", "Reads"),
        AccountRole::Operator => lang.t("Invia fatture", "Sends invoices"),
        AccountRole::Owner => lang.t("Titolare", "Owner"),
        AccountRole::Administrator => lang.t("Amministratore", "Administrator"),
    }
}

/// What an act is called.
pub fn act(lang: Lang, act: Act) -> &'static str {
    let (it, en) = match act {
        Act::Invited => ("invitato", "invited"),
        Act::DataConfirmed => ("dati confermati", "data confirmed"),
        Act::TermsAccepted => ("condizioni accettate", "terms accepted"),
        Act::Drawn => ("contratto preparato", "contract drawn up"),
        Act::CodeSent => ("codice inviato alla PEC", "code sent to the PEC"),
        Act::CodeRefused => ("codice errato", "wrong code"),
        Act::FileRefused => ("file firmato rifiutato", "signed file refused"),
        Act::SignedByFile => ("firmato con firma digitale", "signed with a digital signature"),
        Act::SignedByCode => ("firmato con il codice", "signed with the code"),
        Act::Admitted => ("ammesso", "admitted"),
        Act::Suspended => ("sospeso", "suspended"),
        Act::Resumed => ("riattivato", "resumed"),
        Act::CertificateBound => ("certificato abbinato", "certificate bound"),
        Act::CertificateRevoked => ("certificato revocato", "certificate revoked"),
        Act::Enabled => ("replica abilitata", "replication enabled"),
        Act::Disabled => ("replica disabilitata", "replication disabled"),
        Act::PilotChanged => ("gruppo pilota cambiato", "pilot group changed"),
        Act::UserChanged => ("utente cambiato", "user changed"),
    };
    lang.t(it, en)
}

/// A name at the end of a sentence: that of an `S.r.l.` has its full stop already.
pub fn ending(name: &str) -> String {
    format!("{}.", name.strip_suffix('.').unwrap_or(name))
}

/// A moment as people in Italy write it: `24/11/2026 14:05`. On the two days of the year when the
/// clocks change it may be an hour off before they do.
pub fn moment(at_ms: u64) -> String {
    let seconds = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX / 2);
    let noon = seconds.div_euclid(86_400) * 86_400 + 12 * 3600;
    // Where Italian clocks are two hours ahead the next day begins at 22:00 UTC, else at 23:00.
    let is_summer = Date::italian(noon + 10 * 3600) != Date::italian(noon);
    let local = seconds + if is_summer { 7200 } else { 3600 };
    let of_day = local.rem_euclid(86_400);
    let day = Date::italian(seconds).map(Date::italian_text).unwrap_or_default();
    format!("{day} {:02}:{:02}", of_day / 3600, of_day % 3600 / 60)
}

/// `24/11/2026` from `2026-11-24`.
pub fn day(text: &str) -> String {
    Date::parse(text).map_or_else(|| text.to_owned(), Date::italian_text)
}

/// What a problem says, for the log.
pub fn problem(problem: &Problem) -> String {
    format!("{problem:?}")
}

/// A pin as people compare it: its first 16 digits in groups.
pub fn pin(peer: &PeerId) -> String {
    let text = peer.to_string();
    [&text[..4], &text[4..8], &text[8..12], &text[12..16]].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_with_one_full_stop() {
        assert_eq!(ending("Intermediario S.r.l."), "Intermediario S.r.l.");
        assert_eq!(ending("Intermediario"), "Intermediario.");
    }

    #[test]
    fn moments_are_told_by_italian_clocks() {
        assert_eq!(moment(1_795_525_500_000), "24/11/2026 14:05", "13:05 UTC, winter");
        assert_eq!(moment(1_783_951_500_000), "13/07/2026 16:05", "14:05 UTC, summer");
        assert_eq!(moment(1_783_980_300_000), "14/07/2026 00:05", "22:05 UTC, summer");
    }
}
