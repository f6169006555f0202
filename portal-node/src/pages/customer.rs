//! One customer, as the office sees it: what was decided, its certificates, its people.

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use certgen::{Authority, Options, Subject, inspect};
use engine::{
    document::{
        account::{AccountEdit, AccountRole, OneTime},
        customer::{CustomerEdit, DoorCertificate},
        step::Act,
    },
    id::{OFFICE, PeerId, VatNumber},
    record::CustomerRecord,
};
use maud::{Markup, html};
use node::transport::identity::{Certificate, certificate};

use super::{
    Here, broken, file,
    home::tone,
    layout::{notice, page, token},
    redirect, refused, words,
};
use crate::{
    books::BookError,
    door::{
        asked::Asked,
        pass::{Officer, Refused},
        sessions::{digest, secret},
    },
    lang::Lang,
    office::now_ms,
    onboarding::{Onboarding, onboarding},
    portal::{Portal, step},
};

/// How long an invitation counts.
pub const LINK_MS: u64 = 7 * 24 * 3600 * 1000;
const USER_CHARS_MAX: usize = 60;

/// `GET /ufficio/clienti/{vat}`
pub async fn show(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    match known(&portal, &asked) {
        Ok((vat, customer)) => shown(&portal, &who, vat, &customer, StatusCode::OK, None, None),
        Err(refusal) => refused(refusal, Some(&asked)),
    }
}

/// `POST /ufficio/clienti/{vat}/decidi`: admit, suspend, resume, pilot.
pub async fn decide(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let vat = match known(&portal, &asked) {
        Ok((vat, _)) => vat,
        Err(refusal) => return refused(refusal, Some(&asked)),
    };
    let now = now_ms();
    let (act, edit) = match asked.field("decisione") {
        "ammetti" => (Act::Admitted, CustomerEdit::Admitted(Some(now))),
        "sospendi" => (Act::Suspended, CustomerEdit::Suspended(Some(now))),
        "riprendi" => (Act::Resumed, CustomerEdit::Suspended(None)),
        "pilota" => (Act::PilotChanged, CustomerEdit::Pilot(true)),
        "non-pilota" => (Act::PilotChanged, CustomerEdit::Pilot(false)),
        _ => return refused(Refused::NotFound, Some(&asked)),
    };
    let edits = vec![edit, CustomerEdit::Step(step(&who, act, ""))];
    match portal.books.edit_customer(vat, |_| Ok(edits)).await {
        Ok(()) => redirect(&format!("/ufficio/clienti/{vat}")),
        Err(error) => broken(who.lang(), &error),
    }
}

/// `POST /ufficio/clienti/{vat}/certificato`: one more certificate may come in.
pub async fn bind(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let lang = who.lang();
    let (vat, customer) = match known(&portal, &asked) {
        Ok(known) => known,
        Err(refusal) => return refused(refusal, Some(&asked)),
    };
    let wrong = |text: &str| {
        let said = Some((false, text));
        shown(&portal, &who, vat, &customer, StatusCode::UNPROCESSABLE_ENTITY, said, None)
    };
    let Some(upload) = asked.file("file") else {
        return wrong(lang.t("Scegliete il file .cert.", "Choose the .cert file."));
    };
    let read = match certificate(&upload.bytes, &upload.name) {
        Ok(read) => read,
        Err(error) => return wrong(&error.to_string()),
    };
    match bound(&portal, &who, vat, &customer, read).await {
        Ok(()) => redirect(&format!("/ufficio/clienti/{vat}")),
        Err(NotBound::Because(it, en)) => wrong(lang.t(it, en)),
        Err(NotBound::Book(error)) => broken(lang, &error),
    }
}

/// `POST /ufficio/clienti/{vat}/rilascia`: a signing request made on the customer's server is
/// answered with a certificate, which is bound at once. The key never leaves that server.
pub async fn issue(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let lang = who.lang();
    let (vat, customer) = match known(&portal, &asked) {
        Ok(known) => known,
        Err(refusal) => return refused(refusal, Some(&asked)),
    };
    let Some(folder) = portal.door.authority.clone() else {
        return refused(Refused::NotFound, Some(&asked));
    };
    let wrong = |text: &str| {
        let said = Some((false, text));
        shown(&portal, &who, vat, &customer, StatusCode::UNPROCESSABLE_ENTITY, said, None)
    };
    let Some(upload) = asked.file("file") else {
        return wrong(lang.t("Scegliete il file .csr.", "Choose the .csr file."));
    };
    let bytes = upload.bytes.clone();
    match inspect(&bytes).map(|request| request.subject) {
        Ok(Some(Subject::Node(tenant))) if tenant == vat => {}
        _ => {
            return wrong(lang.t(
                "Non è una richiesta di certificato per questa partita IVA (staffetta-certgen request).",
                "It is no signing request for this VAT number (staffetta-certgen request).",
            ));
        }
    }
    let signed = tokio::task::spawn_blocking(move || {
        Authority::open(&folder)?.sign(&bytes, None, Options::default())
    });
    let signed = match signed.await {
        Ok(Ok(signed)) => signed,
        Ok(Err(error)) => return wrong(&error.to_string()),
        Err(error) => return broken(lang, &error),
    };
    let name = format!("{vat}.cert");
    let read = match certificate(signed.cert_pem.as_bytes(), &name) {
        Ok(read) => read,
        Err(error) => return broken(lang, &error),
    };
    match bound(&portal, &who, vat, &customer, read).await {
        Ok(()) => file(&name, "application/x-pem-file", signed.cert_pem.into_bytes(), true),
        Err(NotBound::Because(it, en)) => wrong(lang.t(it, en)),
        Err(NotBound::Book(error)) => broken(lang, &error),
    }
}

/// Why a certificate is not bound.
enum NotBound {
    Because(&'static str, &'static str),
    Book(BookError),
}

async fn bound(
    portal: &Portal,
    who: &Officer,
    vat: VatNumber,
    customer: &CustomerRecord,
    read: Certificate,
) -> Result<(), NotBound> {
    // A certificate issued to one customer never opens another's door; one of no customer, such
    // as an accountant's, may be bound to several.
    if read.tenant.is_some_and(|tenant| tenant != vat) {
        return Err(NotBound::Because(
            "Il certificato è di un'altra partita IVA.",
            "The certificate is that of another VAT number.",
        ));
    }
    let not_after_ms = read.not_after.saturating_mul(1000);
    let door = DoorCertificate { spki: read.spki, not_after_ms, bound_ms: now_ms() };
    if customer.certificates.iter().any(|(c, ended)| c.peer() == door.peer() && ended.is_some()) {
        return Err(NotBound::Because(
            "Questo certificato è stato revocato: serve una chiave nuova.",
            "This certificate was revoked: a new key is needed.",
        ));
    }
    let done = step(who, Act::CertificateBound, door.peer().to_string());
    let edits = vec![CustomerEdit::Bound(door), CustomerEdit::Step(done)];
    portal.books.edit_customer(vat, |_| Ok(edits)).await.map_err(NotBound::Book)
}

/// `POST /ufficio/clienti/{vat}/revoca`: a certificate ends, for ever, here and for replication.
pub async fn revoke(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let (vat, customer) = match known(&portal, &asked) {
        Ok(known) => known,
        Err(refusal) => return refused(refusal, Some(&asked)),
    };
    let peer = PeerId::parse_hex(asked.field("pin")).ok();
    let bound = peer.filter(|peer| customer.certificates.iter().any(|(c, _)| c.peer() == *peer));
    let Some(peer) = bound else { return refused(Refused::NotFound, Some(&asked)) };
    let now = now_ms();
    let done = step(&who, Act::CertificateRevoked, peer.to_string());
    let edits = vec![CustomerEdit::Ended(peer, now), CustomerEdit::Step(done)];
    match portal.books.edit_customer(vat, |_| Ok(edits)).await {
        Ok(()) => redirect(&format!("/ufficio/clienti/{vat}")),
        Err(error) => broken(who.lang(), &error),
    }
}

/// `POST /ufficio/clienti/{vat}/utente`: a person is invited, gets another role or a new link, or
/// is taken away.
pub async fn user(portal: Arc<Portal>, who: Officer, asked: Asked) -> Response {
    let lang = who.lang();
    let (vat, customer) = match known(&portal, &asked) {
        Ok(known) => known,
        Err(refusal) => return refused(refusal, Some(&asked)),
    };
    let user = asked.field("utente").to_lowercase();
    let is_name = (3..=USER_CHARS_MAX).contains(&user.len())
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
    let role = match asked.field("ruolo") {
        "administrator" => None,
        word => AccountRole::from_word(word),
    };
    let is_end = asked.field("ruolo") == "nessuno";
    if !is_name || (role.is_none() && !is_end) {
        let text = lang.t(
            "Il nome utente ha da 3 a 60 lettere, cifre, punti o trattini.",
            "A user name has 3 to 60 letters, digits, dots or dashes.",
        );
        let said = Some((false, text));
        return shown(&portal, &who, vat, &customer, StatusCode::UNPROCESSABLE_ENTITY, said, None);
    }
    let Ok(link) = secret() else { return broken(lang, &"no random numbers") };
    let wants_link = asked.field("invito") == "si" && !is_end;
    let one = OneTime { hash: digest(&link), until_ms: now_ms() + LINK_MS, about: vec![] };
    let (name, email) = (asked.field("nome").to_owned(), asked.field("email").to_owned());
    let done = step(&who, Act::UserChanged, format!("{vat} {}", asked.field("ruolo")));
    let edited = portal.books.edit_account(&user, |account| {
        // Whoever works for the office is not changed from a customer's page.
        if account.members.iter().any(|(member, _)| *member == OFFICE) {
            return Err(BookError::Moved);
        }
        let mut edits = vec![AccountEdit::Member(vat, role), AccountEdit::Step(done)];
        if !name.is_empty() {
            edits.push(AccountEdit::Name(name));
        }
        if !email.is_empty() {
            edits.push(AccountEdit::Email(email));
        }
        if wants_link {
            edits.push(AccountEdit::Link(Some(one)));
        }
        Ok(edits)
    });
    match edited.await {
        Ok(()) if wants_link => {
            let url = format!("{}/invito/{link}", portal.door.url.trim_end_matches('/'));
            shown(&portal, &who, vat, &customer, StatusCode::OK, None, Some((&user, &url)))
        }
        Ok(()) => redirect(&format!("/ufficio/clienti/{vat}")),
        Err(BookError::Moved) => {
            let text =
                lang.t("Questo nome utente non si può usare.", "This user name cannot be used.");
            let said = Some((false, text));
            shown(&portal, &who, vat, &customer, StatusCode::UNPROCESSABLE_ENTITY, said, None)
        }
        Err(error) => broken(lang, &error),
    }
}

fn known(portal: &Portal, asked: &Asked) -> Result<(VatNumber, Arc<CustomerRecord>), Refused> {
    let vat = VatNumber::parse(asked.param("vat")).map_err(|_| Refused::NotFound)?;
    match portal.office.customer(vat) {
        Ok(Some(customer)) if vat != OFFICE => Ok((vat, customer)),
        Ok(_) => Err(Refused::NotFound),
        Err(error) => {
            tracing::error!(%error, "the office cannot be read");
            Err(Refused::Unavailable)
        }
    }
}

/// Where a customer is.
pub(super) fn stands(
    portal: &Portal,
    vat: VatNumber,
    of: &CustomerRecord,
) -> Result<Onboarding, BookError> {
    let (profile, contract) = (portal.books.profile(vat)?, portal.books.contract(vat)?);
    Ok(onboarding(vat, &profile, &contract, of))
}

fn shown(
    portal: &Portal,
    who: &Officer,
    vat: VatNumber,
    customer: &CustomerRecord,
    status: StatusCode,
    said: Option<(bool, &str)>,
    link: Option<(&str, &str)>,
) -> Response {
    let lang = who.lang();
    let read = stands(portal, vat, customer)
        .and_then(|here| Ok((here, portal.books.contract(vat)?, portal.office.accounts_of(vat)?)));
    let (here, contract, people) = match read {
        Ok(read) => read,
        Err(error) => return broken(lang, &error),
    };
    let decision = |value: &str, text: &str, is_quiet: bool| {
        html! {
            form.inline method="post" action={ "/ufficio/clienti/" (vat) "/decidi" } {
                (token(who.token()))
                button.quiet[is_quiet] name="decisione" value=(value) { (text) }
            }
        }
    };
    let mut steps: Vec<_> = contract.steps.iter().chain(&customer.steps).collect();
    steps.sort();
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        @if let Some((user, url)) = link {
            div.notice.good role="status" {
                p { (lang.t("Mandate a ", "Send to ")) strong { (user) }
                    (lang.t(" questo indirizzo, che vale sette giorni e una volta sola:", " this address, which counts for seven days and once:")) }
                p { code.link { (url) } }
            }
        }
        p.lead { "P.IVA " (vat) " " span.badge.(tone(here.stage)) { (words::stage(lang, here.stage)) }
            @if customer.pilot { " " span.badge.wait { (lang.t("Pilota", "Pilot")) } } }
        section.panel {
            h2 { (lang.t("Decisioni", "Decisions")) }
            div.actions {
                @if customer.admitted_ms.is_none() { (decision("ammetti", lang.t("Ammetti", "Admit"), false)) }
                @if customer.suspended_ms.is_none() { (decision("sospendi", lang.t("Sospendi", "Suspend"), true)) }
                @else { (decision("riprendi", lang.t("Riattiva", "Resume"), false)) }
                @if customer.pilot { (decision("non-pilota", lang.t("Togli dal gruppo pilota", "Out of the pilot group"), true)) }
                @else { (decision("pilota", lang.t("Nel gruppo pilota", "Into the pilot group"), true)) }
            }
            p.hint { (lang.t("Sospendere chiude pagine, API e replica, su tutti e due i portali, finché non si riattiva. Revocare un certificato è per sempre.",
                "Suspending shuts pages, API and replication, on both portals, until it is resumed. Revoking a certificate is for ever.")) }
            dl.facts {
                dt { (lang.t("Dati confermati", "Data confirmed")) } dd { (yes(lang, here.is_confirmed)) }
                dt { (lang.t("Condizioni accettate", "Terms accepted")) } dd { (yes(lang, here.is_accepted)) }
                dt { (lang.t("Contratto firmato", "Contract signed")) }
                dd { (yes(lang, here.is_signed)) @if here.is_signed { " (" (contract.signatory) ")" } }
                dt { (lang.t("Ammesso", "Admitted")) } dd { (yes(lang, here.is_admitted)) }
                dt { (lang.t("Replica abilitata", "Replication enabled")) }
                dd { (contract.enabled_ms.map_or_else(|| lang.t("no", "no").to_owned(), words::moment)) }
            }
        }
        section.panel {
            h2 { (lang.t("Certificati", "Certificates")) }
            @if !customer.certificates.is_empty() {
                div.scroll { table {
                    thead { tr { th scope="col" { "Pin" } th scope="col" { (lang.t("Scade", "Ends")) } th scope="col" { (lang.t("Stato", "State")) } th scope="col" { span.hidden { (lang.t("Azioni", "Actions")) } } } }
                    tbody { @for (certificate, ended) in &customer.certificates { tr {
                        td.nowrap { code { (words::pin(&certificate.peer())) } }
                        td.nowrap { (words::moment(certificate.not_after_ms)) }
                        td { @match ended {
                            Some(at_ms) => { span.badge.bad { (lang.t("revocato", "revoked")) } " " (words::moment(*at_ms)) }
                            None => span.badge.good { (lang.t("valido", "valid")) }
                        } }
                        td { @if ended.is_none() {
                            form.inline method="post" action={ "/ufficio/clienti/" (vat) "/revoca" } {
                                (token(who.token()))
                                input type="hidden" name="pin" value=(certificate.peer());
                                button.danger { (lang.t("Revoca", "Revoke")) }
                            }
                        } }
                    } } }
                } }
            }
            form.line method="post" action={ "/ufficio/clienti/" (vat) "/certificato" } enctype="multipart/form-data" {
                (token(who.token()))
                div.field { label for="file" { (lang.t("Certificato da abbinare (.cert)", "Certificate to bind (.cert)")) }
                    input id="file" name="file" type="file" accept=".cert,.pem,.crt" required; }
                button { (lang.t("Abbina", "Bind")) }
            }
            @if portal.door.authority.is_some() {
                form.line method="post" action={ "/ufficio/clienti/" (vat) "/rilascia" } enctype="multipart/form-data" {
                    (token(who.token()))
                    div.field { label for="csr" { (lang.t("Richiesta del server del cliente (.csr)", "Request of the customer's server (.csr)")) }
                        input id="csr" name="file" type="file" accept=".csr,.pem" required; }
                    button { (lang.t("Rilascia il certificato", "Issue the certificate")) }
                }
            }
        }
        section.panel {
            h2 { (lang.t("Persone", "People")) }
            @if !people.is_empty() {
                div.scroll { table {
                    thead { tr { th scope="col" { (lang.t("Nome utente", "User name")) } th scope="col" { (lang.t("Nome", "Name")) } th scope="col" { "E-mail" } th scope="col" { (lang.t("Ruolo", "Role")) } th scope="col" { "Password" } } }
                    tbody { @for (account, role) in &people { tr {
                        td { (account.user) } td { (account.name) } td { (account.email) }
                        td { (words::role(lang, *role)) }
                        td { @if account.password.0.is_empty() { (lang.t("da impostare", "to be set")) } @else { (lang.t("impostata", "set")) } }
                    } } }
                } }
            }
            form.line method="post" action={ "/ufficio/clienti/" (vat) "/utente" } {
                (token(who.token()))
                div.field { label for="utente" { (lang.t("Nome utente", "User name")) }
                    input id="utente" name="utente" required minlength="3" maxlength=(USER_CHARS_MAX) autocapitalize="none"; }
                div.field { label for="nome" { (lang.t("Nome e cognome", "Name and surname")) }
                    input id="nome" name="nome" maxlength="200"; }
                div.field { label for="email" { "E-mail" }
                    input id="email" name="email" type="email" maxlength="200"; }
                div.field { label for="ruolo" { (lang.t("Ruolo", "Role")) }
                    select id="ruolo" name="ruolo" {
                        @for role in [AccountRole::Owner, AccountRole::Operator, AccountRole::Reader] {
                            option value=(role.word()) { (words::role(lang, role)) }
                        }
                        option value="nessuno" { (lang.t("Nessuno (togli)", "None (take away)")) }
                    } }
                p.check {
                    input type="checkbox" id="invito" name="invito" value="si" checked;
                    label for="invito" { (lang.t("con un nuovo invito", "with a new invitation")) }
                }
                button { (lang.t("Salva la persona", "Save the person")) }
            }
        }
        section.panel {
            h2 { (lang.t("Che cosa è stato fatto", "What was done")) }
            div.scroll { table {
                thead { tr { th scope="col" { (lang.t("Quando", "When")) } th scope="col" { (lang.t("Che cosa", "What")) } th scope="col" { (lang.t("Chi", "Who")) } th scope="col" { (lang.t("Certificato", "Certificate")) } th scope="col" { (lang.t("Note", "Notes")) } } }
                tbody { @for step in steps { tr {
                    td.nowrap { (words::moment(step.at_ms)) } td { (words::act(lang, step.act)) } td { (step.user) }
                    td.nowrap { code { (words::pin(&step.peer)) } } td.note { (step.note) }
                } } }
            } }
        }
    };
    let mut response = page(portal, who, Here::Customers, &customer.name, &body);
    *response.status_mut() = status;
    response
}

fn yes(lang: Lang, is_so: bool) -> Markup {
    html! { @if is_so { (lang.t("sì", "yes")) } @else { (lang.t("no", "no")) } }
}
