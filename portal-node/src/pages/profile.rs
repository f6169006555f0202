//! The data of a company: typed in, checked, confirmed. What two people wrote without knowing of
//! each other, on two portals or over two forms, is shown with both values until one is chosen.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use engine::{
    document::{
        contract::ContractEdit,
        profile::{self, ProfileField},
        step::Act,
    },
    id::VatNumber,
    record::{Conflict, ProfileRecord},
};
use maud::{Markup, html};

use super::{
    Here, broken,
    layout::{is_owner, notice, page, token},
    redirect, words,
};
use crate::{
    door::{
        asked::Asked,
        pass::Caller,
        sessions::{digest, hex},
    },
    lang::Lang,
    onboarding::{FIELD_CHARS_MAX, Fault, REQUIRED, fault, faults},
    portal::{Portal, step},
};

const GROUPS: [(&str, &str, &[ProfileField]); 3] = [
    (
        "Chi siete",
        "Who you are",
        &[
            ProfileField::Name,
            ProfileField::VatNumber,
            ProfileField::TaxCode,
            ProfileField::TaxRegime,
        ],
    ),
    (
        "Dove ricevete",
        "Where you receive",
        &[ProfileField::RecipientCode, ProfileField::Pec, ProfileField::Email, ProfileField::Phone],
    ),
    (
        "Sede",
        "Registered office",
        &[
            ProfileField::Street,
            ProfileField::PostalCode,
            ProfileField::City,
            ProfileField::Province,
            ProfileField::Country,
        ],
    ),
];
const DECLARED: [(ProfileField, &str, &str); 2] = [
    (
        ProfileField::ArchiveEnabled,
        "Abbiamo attivato l'archivio digitale (consultazione delle fatture) nel sito dell'Agenzia delle Entrate",
        "We enabled the digital archive (consultation of invoices) on the tax agency's site",
    ),
    (
        ProfileField::SuppliersTold,
        "Abbiamo comunicato il codice destinatario ai nostri fornitori",
        "We told our suppliers the recipient code",
    ),
];

/// `GET /dati`
pub async fn show(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let lang = who.lang();
    let profile = match portal.books.profile(who.tenant()) {
        Ok(profile) => profile,
        Err(error) => return broken(lang, &error),
    };
    let said = match asked.query("fatto") {
        "salvato" => Some((true, lang.t("Salvato.", "Saved."))),
        "confermato" => Some((true, lang.t("Dati confermati.", "Data confirmed."))),
        _ => None,
    };
    let shown = starting(&portal, &who, &profile);
    let wrong = if shown.fields.is_empty() { vec![] } else { faults(who.tenant(), &shown) };
    let wrong = if is_untouched(&profile) { vec![] } else { wrong };
    let sheet = Sheet { stored: &profile, shown: &shown, wrong: &wrong, clashes: &[] };
    form(&portal, &who, StatusCode::OK, &sheet, said)
}

/// `GET /dati/controlla?campo=pec&valore=...`: what is wrong with a field, in words, while it is
/// being typed. Nothing is stored.
pub async fn check(_: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let name = asked.query("campo");
    let known = ProfileField::KEYS.iter().find(|(field, key)| *key == name && field.is_datum());
    let Some((field, _)) = known else { return StatusCode::NOT_FOUND.into_response() };
    let text = tidy(*field, asked.query("valore"));
    let found = fault(who.tenant(), *field, &text);
    found.map_or("", |Fault(it, en)| who.lang().t(it, en)).into_response()
}

/// `POST /dati`
pub async fn save(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (lang, tenant) = (who.lang(), who.tenant());
    let before = match portal.books.profile(tenant) {
        Ok(profile) => profile,
        Err(error) => return broken(lang, &error),
    };
    let mut edits: Vec<(ProfileField, String)> = Vec::new();
    let mut clashes: Vec<(ProfileField, String)> = Vec::new();
    for (field, key) in ProfileField::KEYS {
        if field == ProfileField::Confirmed {
            continue;
        }
        let picked = asked.field(&format!("scelta_{key}"));
        let text = if !picked.is_empty() {
            tidy(field, picked)
        } else if field.is_datum() {
            tidy(field, asked.field(key))
        } else if asked.field(key).is_empty() {
            String::new()
        } else {
            "yes".to_owned()
        };
        let shown = asked.field(&format!("prima_{key}"));
        let conflict = before.conflicts.iter().find(|conflict| conflict.field == key);
        let seen = asked.field(&format!("visto_{key}"));
        if seen != conflict.map(mark).unwrap_or_default() || shown != before.get(field) {
            // Written meanwhile, and the form did not show it: what nobody touched in the form is no
            // edit, and what somebody did must not take its place unseen.
            if text != shown && (conflict.is_some() || text != before.get(field)) {
                clashes.push((field, text));
            }
        } else if conflict.is_some() || text != shown {
            edits.push((field, text));
        }
    }
    let after = with_edits(&before, &edits);
    let too_long = |text: &str| text.chars().count() > FIELD_CHARS_MAX;
    if edits.iter().any(|(_, text)| too_long(text) || text.chars().any(char::is_control)) {
        let wrong = faults(tenant, &after);
        let text = lang
            .t("Non salvato: correggete i campi segnati.", "Not saved: mend the fields marked.");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let sheet = Sheet { stored: &before, shown: &after, wrong: &wrong, clashes: &[] };
        return form(&portal, &who, status, &sheet, Some((false, text)));
    }
    let written: Vec<_> = edits.iter().map(|(field, text)| (*field, text.as_str())).collect();
    if let Err(error) = portal.books.edit_profile(tenant, &written).await {
        return broken(lang, &error);
    }
    if clashes.is_empty() {
        return redirect("/dati?fatto=salvato");
    }
    let stored = match portal.books.profile(tenant) {
        Ok(stored) => stored,
        Err(error) => return broken(lang, &error),
    };
    clashes.retain(|(_, text)| !too_long(text) && !text.chars().any(char::is_control));
    let wrong = faults(tenant, &stored);
    let text = lang.t(
        "Qualcuno ha scritto altro nel frattempo: scegliete nei campi segnati. Il resto è salvato.",
        "Somebody wrote something else meanwhile: choose in the fields marked. The rest is saved.",
    );
    let sheet = Sheet { stored: &stored, shown: &stored, wrong: &wrong, clashes: &clashes };
    form(&portal, &who, StatusCode::CONFLICT, &sheet, Some((false, text)))
}

/// `POST /dati/conferma`: "CONFERMO I MIEI DATI".
pub async fn confirm(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (lang, tenant) = (who.lang(), who.tenant());
    let profile = match portal.books.profile(tenant) {
        Ok(profile) => profile,
        Err(error) => return broken(lang, &error),
    };
    let wrong = faults(tenant, &profile);
    let confirmation = profile::confirmation(&profile.fields);
    // What is confirmed is what was on the page, and not what somebody changed meanwhile.
    if asked.field("conferma") != confirmation || !wrong.is_empty() {
        let text = lang.t(
            "Non confermato: i dati sono cambiati o ne manca qualcuno. Ricontrollateli.",
            "Not confirmed: the data changed, or something is missing. Check them again.",
        );
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let sheet = Sheet { stored: &profile, shown: &profile, wrong: &wrong, clashes: &[] };
        return form(&portal, &who, status, &sheet, Some((false, text)));
    }
    let done = step(&who, Act::DataConfirmed, confirmation.clone());
    let edits = [(ProfileField::Confirmed, confirmation.as_str())];
    if let Err(error) = portal.books.edit_profile(tenant, &edits).await {
        return broken(lang, &error);
    }
    match portal.books.edit_contract(tenant, vec![], |_| Ok(vec![ContractEdit::Step(done)])).await {
        Ok(()) => redirect("/dati?fatto=confermato"),
        Err(error) => broken(lang, &error),
    }
}

/// A profile nobody has written in yet starts with what the portal knows.
fn starting(portal: &Portal, who: &Caller, profile: &ProfileRecord) -> ProfileRecord {
    if !is_untouched(profile) {
        return profile.clone();
    }
    let customer = portal.office.customer(who.tenant()).ok().flatten().unwrap_or_default();
    let fields = vec![
        (ProfileField::Name, customer.name.clone()),
        (ProfileField::VatNumber, who.tenant().to_string()),
        (ProfileField::RecipientCode, portal.door.recipient_code.clone()),
        (ProfileField::Email, who.account().email.clone()),
        (ProfileField::Country, "IT".to_owned()),
    ];
    ProfileRecord { fields, conflicts: vec![] }
}

fn is_untouched(profile: &ProfileRecord) -> bool {
    profile.fields.is_empty() && profile.conflicts.is_empty()
}

fn with_edits(before: &ProfileRecord, edits: &[(ProfileField, String)]) -> ProfileRecord {
    let mut fields = before.fields.clone();
    fields.retain(|(field, _)| !edits.iter().any(|(edited, _)| edited == field));
    fields.extend(edits.iter().cloned());
    ProfileRecord { fields, conflicts: vec![] }
}

/// A text as it is meant: codes are in capitals and have no spaces.
fn tidy(field: ProfileField, text: &str) -> String {
    let text = text.trim();
    match field {
        ProfileField::TaxCode
        | ProfileField::RecipientCode
        | ProfileField::Province
        | ProfileField::Country
        | ProfileField::TaxRegime
        | ProfileField::VatNumber
        | ProfileField::PostalCode => {
            text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase()
        }
        ProfileField::Pec | ProfileField::Email => text.to_lowercase(),
        _ => text.to_owned(),
    }
}

/// What the form is made of.
struct Sheet<'s> {
    /// What stands.
    stored: &'s ProfileRecord,
    /// What its fields have.
    shown: &'s ProfileRecord,
    wrong: &'s [(ProfileField, Fault)],
    /// What was sent from a form that did not show what stands.
    clashes: &'s [(ProfileField, String)],
}

impl Sheet<'_> {
    /// The values to choose from, where there is a choice.
    fn choice(&self, field: ProfileField) -> Vec<&str> {
        let sent = self.clashes.iter().filter(|(here, _)| *here == field);
        let sent = sent.map(|(_, text)| text.as_str());
        let conflict = self.stored.conflicts.iter().find(|conflict| conflict.field == field.key());
        let mut values: Vec<&str> = match conflict {
            Some(conflict) => conflict.values.iter().map(String::as_str).collect(),
            None if sent.clone().next().is_some() => vec![self.stored.get(field)],
            None => vec![],
        };
        values.extend(sent);
        values
    }
}

/// What a form brings back of a conflict that it showed.
fn mark(conflict: &Conflict) -> String {
    hex(&digest(&conflict.values.join("\0"))[..8])
}

fn form(
    portal: &Portal,
    who: &Caller,
    status: StatusCode,
    sheet: &Sheet<'_>,
    said: Option<(bool, &str)>,
) -> Response {
    let (lang, may_edit) = (who.lang(), is_owner(who));
    let Sheet { stored, shown, wrong, .. } = sheet;
    let is_confirmed = wrong.is_empty()
        && !is_untouched(stored)
        && stored.get(ProfileField::Confirmed) == profile::confirmation(&stored.fields);
    let input = |name: ProfileField| one(lang, who.tenant(), may_edit, sheet, name);
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        p.lead {
            (lang.t("Si prega di verificare con attenzione i dati: da questi si prepara il contratto e su questi si ricevono le fatture.",
                "Please check the data with care: the contract is drawn up from them, and invoices arrive by them."))
        }
        @if is_confirmed {
            p { span.badge.good { (lang.t("Dati confermati", "Data confirmed")) } }
        }
        form.wide method="post" action="/dati" data-controlla="/dati/controlla" {
            (token(who.token()))
            @for (it, en, fields) in GROUPS {
                fieldset {
                    legend { (lang.t(it, en)) }
                    div.grid { @for field in fields { (input(*field)) } }
                }
            }
            fieldset id="altro" {
                legend { (lang.t("Da fare fuori di qui", "To be done elsewhere")) }
                @for (field, it, en) in DECLARED {
                    @let key = field.key();
                    input type="hidden" name={ "prima_" (key) } value=(stored.get(field));
                    p.check {
                        input type="checkbox" id=(key) name=(key) value="yes" disabled[!may_edit]
                            checked[!shown.get(field).is_empty()];
                        label for=(key) { (lang.t(it, en)) }
                    }
                }
            }
            @if may_edit { button { (lang.t("Salva", "Save")) } }
        }
        @if may_edit && !is_untouched(stored) && !is_confirmed {
            section.panel {
                h2 { (lang.t("Conferma", "Confirmation")) }
                @if wrong.is_empty() {
                    form method="post" action="/dati/conferma" {
                        (token(who.token()))
                        input type="hidden" name="conferma" value=(profile::confirmation(&stored.fields));
                        p { (lang.t("I dati salvati qui sopra sono giusti e completi.",
                            "The data saved above are right and complete.")) }
                        button { (lang.t("CONFERMO I MIEI DATI", "I CONFIRM MY DATA")) }
                    }
                } @else {
                    p { (lang.t("Prima di confermare:", "Before confirming:")) }
                    ul {
                        @for (field, Fault(it, en)) in *wrong {
                            li { a href={ "#" (field.key()) } { (words::field(lang, *field)) } ": " (lang.t(it, en)) }
                        }
                    }
                }
            }
        }
    };
    let title = lang.t("Dati dell'azienda", "Company data");
    let mut response = page(portal, who, Here::Profile, title, &body);
    *response.status_mut() = status;
    response
}

fn one(
    lang: Lang,
    tenant: VatNumber,
    may_edit: bool,
    sheet: &Sheet<'_>,
    field: ProfileField,
) -> Markup {
    let key = field.key();
    let Sheet { stored, shown, wrong, .. } = sheet;
    let choice = sheet.choice(field);
    let fault = wrong.iter().find(|(here, _)| *here == field).map(|(_, fault)| *fault);
    let conflict = stored.conflicts.iter().find(|conflict| conflict.field == key);
    let is_fixed = field == ProfileField::VatNumber && shown.get(field) == tenant.to_string();
    html! {
        div.field.wrong[fault.is_some()] {
            label for=(key) {
                (words::field(lang, field))
                @if REQUIRED.contains(&field) { span.req aria-hidden="true" { " *" } }
            }
            input type="hidden" name={ "prima_" (key) } value=(stored.get(field));
            input id=(key) name=(key) value=(shown.get(field)) maxlength=(FIELD_CHARS_MAX)
                required[REQUIRED.contains(&field)] readonly[!may_edit || is_fixed]
                aria-describedby={ "su-" (key) } aria-invalid=[fault.map(|_| "true")];
            p.fault id={ "su-" (key) } aria-live="polite" {
                @if let Some(Fault(it, en)) = fault { (lang.t(it, en)) }
            }
            @if let Some(conflict) = conflict {
                input type="hidden" name={ "visto_" (key) } value=(mark(conflict));
            }
            @if !choice.is_empty() {
                div.conflict role="group" aria-labelledby={ "scelta-" (key) } {
                    p id={ "scelta-" (key) } { (lang.t("Sono stati scritti valori diversi. Quale vale?",
                        "Different values were written. Which one counts?")) }
                    @for value in &choice {
                        @if may_edit {
                            button.quiet name={ "scelta_" (key) } value=(value) { (lang.t("Tieni ", "Keep ")) (value) }
                        } @else { p { code { (value) } } }
                    }
                }
            }
        }
    }
}
