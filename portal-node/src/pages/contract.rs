//! Terms and contract: accepted, drawn up, signed. Every step is written down with time, user and
//! certificate; what was signed is kept as it came.

use std::{sync::Arc, time::Instant};

use axum::{http::StatusCode, response::Response};
use engine::{
    document::{
        account::OneTime,
        contract::{ContractEdit, TermsAcceptance},
        customer::CustomerEdit,
        profile::ProfileField,
        step::Act,
    },
    id::BlobHash,
    record::{ContractRecord, CustomerRecord, ProfileRecord},
};
use fatturapa::{Date, signature::Trust};
use maud::{Markup, html};

use super::{
    Here, broken, file,
    layout::{is_owner, notice, page, token},
    redirect, refused, words,
};
use crate::{
    books::BookError,
    contract::{self, Intermediary, TERMS},
    door::{
        asked::Asked,
        pass::{Caller, Refused},
        sessions::{code, digest},
        throttle::Key,
    },
    lang::Lang,
    office::now_ms,
    onboarding::{Onboarding, TEXT, onboarding},
    portal::{Portal, step},
    post::{Fate, Letter},
};

/// How long a code counts.
const CODE_MS: u64 = 15 * 60 * 1000;

struct Papers {
    profile: ProfileRecord,
    contract: ContractRecord,
    customer: CustomerRecord,
    here: Onboarding,
}

fn papers(portal: &Portal, who: &Caller) -> Result<Papers, BookError> {
    let vat = who.tenant();
    let profile = portal.books.profile(vat)?;
    let contract = portal.books.contract(vat)?;
    let customer = (*portal.office.customer(vat)?.unwrap_or_default()).clone();
    let here = onboarding(vat, &profile, &contract, &customer);
    Ok(Papers { profile, contract, customer, here })
}

/// `GET /contratto`
pub async fn show(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let lang = who.lang();
    let said = match asked.query("fatto") {
        "accettate" => Some((true, lang.t("Condizioni accettate.", "Terms accepted."))),
        "preparato" => Some((
            true,
            lang.t("Il contratto è pronto da firmare.", "The contract is ready to sign."),
        )),
        "codice" => Some((
            true,
            lang.t("Il codice è partito per la vostra PEC.", "The code is on its way to your PEC."),
        )),
        "firmato" => Some((true, lang.t("Contratto firmato.", "Contract signed."))),
        _ => None,
    };
    shown(&portal, &who, StatusCode::OK, said)
}

/// `POST /condizioni`
pub async fn accept(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let lang = who.lang();
    if asked.field("versione") != TEXT || asked.field("accetto") != "si" {
        let text = lang.t("Spuntate la casella per accettare.", "Tick the box to accept.");
        return shown(&portal, &who, StatusCode::UNPROCESSABLE_ENTITY, Some((false, text)));
    }
    let user = who.account().user.clone();
    let terms = TermsAcceptance { version: TEXT.to_owned(), at_ms: now_ms(), user };
    let done = step(&who, Act::TermsAccepted, TEXT);
    let edited = portal.books.edit_contract(who.tenant(), vec![], |contract| {
        if contract.terms.iter().any(|terms| terms.version == TEXT) {
            return Ok(vec![]);
        }
        Ok(vec![ContractEdit::Terms(terms), ContractEdit::Step(done)])
    });
    match edited.await {
        Ok(()) => redirect("/contratto?fatto=accettate"),
        Err(error) => broken(lang, &error),
    }
}

/// `POST /contratto/prepara`
pub async fn draw(portal: Arc<Portal>, who: Caller, _: Asked) -> Response {
    let lang = who.lang();
    let papers = match papers(&portal, &who) {
        Ok(papers) => papers,
        Err(error) => return broken(lang, &error),
    };
    if !(papers.here.is_confirmed && papers.here.is_accepted) {
        let text = lang.t(
            "Prima confermate i dati e accettate le condizioni.",
            "First confirm the data and accept the terms.",
        );
        return shown(&portal, &who, StatusCode::UNPROCESSABLE_ENTITY, Some((false, text)));
    }
    let seconds = i64::try_from(now_ms() / 1000).unwrap_or(0);
    let Some(day) = Date::italian(seconds) else { return broken(lang, &"the clock is wrong") };
    let intermediary = Intermediary { name: &portal.door.name, about: &portal.door.about };
    let pdf = contract::pdf(intermediary, who.tenant(), &papers.profile, day);
    let hash = BlobHash::of(&pdf);
    let done = step(&who, Act::Drawn, hash.to_string());
    let edited = portal.books.edit_contract(who.tenant(), vec![pdf], |contract| {
        // Signed meanwhile: what was signed stays.
        if contract.signed.is_some() {
            return Ok(vec![]);
        }
        Ok(vec![
            ContractEdit::Drawn(hash),
            ContractEdit::Text(TEXT.to_owned()),
            ContractEdit::Step(done),
        ])
    });
    match edited.await {
        Ok(()) => redirect("/contratto?fatto=preparato"),
        Err(error) => broken(lang, &error),
    }
}

/// `GET /contratto/da-firmare.pdf`
pub async fn drawn(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    match drawn_file(&portal, &who) {
        Ok(Some((_, pdf))) => {
            let name = format!("contratto-{}.pdf", who.tenant());
            file(&name, "application/pdf", pdf, true)
        }
        Ok(None) => refused(Refused::NotFound, Some(&asked)),
        Err(error) => broken(who.lang(), &error),
    }
}

/// `GET /contratto/firmato`: what was signed, byte for byte.
pub async fn signed(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let tenant = who.tenant();
    let found = portal.books.contract(tenant).and_then(|contract| match contract.signed {
        Some(hash) => portal.books.contract_file(tenant, &hash),
        None => Ok(None),
    });
    match found {
        Ok(Some(bytes)) if bytes.starts_with(b"%PDF") => {
            file(&format!("contratto-{tenant}.pdf"), "application/pdf", bytes, true)
        }
        Ok(Some(bytes)) => {
            file(&format!("contratto-{tenant}.pdf.p7m"), "application/pkcs7-mime", bytes, true)
        }
        Ok(None) => refused(Refused::NotFound, Some(&asked)),
        Err(error) => broken(who.lang(), &error),
    }
}

/// `POST /contratto/firma`: the signed file.
pub async fn sign_by_file(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let lang = who.lang();
    let (drawn, pdf) = match drawn_file(&portal, &who) {
        Ok(Some(found)) => found,
        Ok(None) => return refused(Refused::NotFound, Some(&asked)),
        Err(error) => return broken(lang, &error),
    };
    let Some(upload) = asked.file("file") else {
        let text = lang.t("Scegliete il file firmato.", "Choose the signed file.");
        return shown(&portal, &who, StatusCode::UNPROCESSABLE_ENTITY, Some((false, text)));
    };
    let trust = portal.door.authorities();
    let trust = if trust.is_empty() { Trust::Unjudged } else { Trust::List(trust) };
    let seconds = i64::try_from(now_ms() / 1000).unwrap_or(0);
    let signatory = match contract::signed_by(&upload.bytes, &pdf, trust, seconds) {
        Ok(signatory) => signatory,
        Err(wrong) => {
            let (it, en) = wrong.words();
            let done = step(&who, Act::FileRefused, it.clone());
            let edits = vec![ContractEdit::Step(done)];
            if let Err(error) =
                portal.books.edit_contract(who.tenant(), vec![], |_| Ok(edits)).await
            {
                return broken(lang, &error);
            }
            let text = lang.t(&it, &en);
            return shown(&portal, &who, StatusCode::UNPROCESSABLE_ENTITY, Some((false, text)));
        }
    };
    let note = format!("{} ({})", signatory.name, signatory.authority);
    let hash = BlobHash::of(&upload.bytes);
    let done = step(&who, Act::SignedByFile, format!("{note} {hash}"));
    let bytes = upload.bytes.clone();
    keep(&portal, &who, drawn, hash, vec![bytes], note, done).await
}

/// `POST /contratto/codice`: a code to the PEC.
pub async fn send_code(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let lang = who.lang();
    let papers = match papers(&portal, &who) {
        Ok(papers) => papers,
        Err(error) => return broken(lang, &error),
    };
    let (Some(drawn), true) = (papers.contract.drawn, papers.here.is_confirmed) else {
        return refused(Refused::NotFound, Some(&asked));
    };
    let key = [Key::Code(who.tenant())];
    if let Some(wait) = portal.throttle.wait(&key, Instant::now()) {
        return refused(Refused::Wait(wait.as_secs().max(1)), Some(&asked));
    }
    // A letter counts like a wrong code: nobody floods a PEC, or gets more codes to guess at.
    portal.throttle.failed(&key, Instant::now());
    let Ok(secret) = code() else { return broken(lang, &"no random numbers") };
    let hash = code_hash(&who, &secret);
    let until_ms = now_ms() + CODE_MS;
    let one = OneTime { hash, until_ms, about: drawn.as_bytes().to_vec() };
    let pec = papers.profile.get(ProfileField::Pec).to_owned();
    let text = format!(
        "Il codice per firmare il contratto di intermediazione della partita IVA\n{} è\n\n    {secret}\n\n\
         Vale 15 minuti e una volta sola. L'impronta SHA-256 del contratto è\n{drawn}\n\n\
         Se non l'avete chiesto voi, non usatelo e avvisateci.\n\n{}\n",
        who.tenant(),
        portal.door.name
    );
    let edits = vec![CustomerEdit::Code(Some(one))];
    let noted = portal.books.edit_customer(who.tenant(), |_| Ok(edits)).await;
    if let Err(error) = noted {
        return broken(lang, &error);
    }
    let subject = "Codice per firmare il contratto";
    let letter = Letter { to: &pec, subject, text: &text, until_ms };
    let (note, leads_to) = match portal.post.send(letter).await {
        Ok(Fate::Left) => (pec, "/contratto?fatto=codice"),
        // What became of it is on the page.
        Ok(Fate::Waits(why)) => (format!("{pec}: in coda, {why}"), "/contratto"),
        Ok(Fate::Lost(why)) => (format!("{pec}: non partito, {why}"), "/contratto"),
        Err(error) => return broken(lang, &error),
    };
    let edits = vec![ContractEdit::Step(step(&who, Act::CodeSent, note))];
    match portal.books.edit_contract(who.tenant(), vec![], |_| Ok(edits)).await {
        Ok(()) => redirect(leads_to),
        Err(error) => broken(lang, &error),
    }
}

/// `POST /contratto/codice/conferma`: the code that came by PEC.
pub async fn sign_by_code(portal: Arc<Portal>, who: Caller, asked: Asked) -> Response {
    let (lang, tenant) = (who.lang(), who.tenant());
    let key = [Key::Code(tenant)];
    if let Some(wait) = portal.throttle.wait(&key, Instant::now()) {
        return refused(Refused::Wait(wait.as_secs().max(1)), Some(&asked));
    }
    let drawn = match portal.books.contract(tenant) {
        Ok(ContractRecord { drawn: Some(drawn), .. }) => drawn,
        Ok(_) => return refused(Refused::NotFound, Some(&asked)),
        Err(error) => return broken(lang, &error),
    };
    let given: String = asked.field("codice").chars().filter(char::is_ascii_digit).collect();
    let hash = code_hash(&who, &given);
    // Taken and ended in one edit: it counts once.
    let taken = portal.books.edit_customer(tenant, |customer| {
        let is_right = customer.code.as_ref().is_some_and(|code| {
            code.hash == hash && code.until_ms > now_ms() && code.about == drawn.as_bytes()
        });
        if is_right { Ok(vec![CustomerEdit::Code(None)]) } else { Err(BookError::Moved) }
    });
    match taken.await {
        Ok(()) => {}
        Err(BookError::Moved) => {
            portal.throttle.failed(&key, Instant::now());
            let edits = vec![ContractEdit::Step(step(&who, Act::CodeRefused, ""))];
            if let Err(error) = portal.books.edit_contract(tenant, vec![], |_| Ok(edits)).await {
                return broken(lang, &error);
            }
            let text = lang.t("Il codice è sbagliato o scaduto.", "The code is wrong, or too old.");
            return shown(&portal, &who, StatusCode::UNPROCESSABLE_ENTITY, Some((false, text)));
        }
        Err(error) => return broken(lang, &error),
    }
    portal.throttle.right(&Key::Code(tenant));
    let name = who.account().name.clone();
    let done = step(&who, Act::SignedByCode, format!("{name} {drawn}"));
    keep(&portal, &who, drawn, drawn, vec![], name, done).await
}

async fn keep(
    portal: &Portal,
    who: &Caller,
    drawn: BlobHash,
    signed: BlobHash,
    files: Vec<Vec<u8>>,
    signatory: String,
    done: engine::document::step::Step,
) -> Response {
    let at_ms = done.at_ms;
    let edited = portal.books.edit_contract(who.tenant(), files, |contract| {
        if contract.drawn != Some(drawn) || contract.signed.is_some() {
            return Err(BookError::Moved);
        }
        Ok(vec![
            ContractEdit::Signed(signed),
            ContractEdit::SignedAt(at_ms),
            ContractEdit::Signatory(signatory),
            ContractEdit::Step(done),
        ])
    });
    match edited.await {
        Ok(()) => redirect("/contratto?fatto=firmato"),
        Err(BookError::Moved) => redirect("/contratto"),
        Err(error) => broken(who.lang(), &error),
    }
}

/// A code counts for this P.IVA only, and not without it.
fn code_hash(who: &Caller, secret: &str) -> [u8; 32] {
    digest(&format!("{}/{secret}", who.tenant()))
}

fn drawn_file(portal: &Portal, who: &Caller) -> Result<Option<(BlobHash, Vec<u8>)>, BookError> {
    let Some(hash) = portal.books.contract(who.tenant())?.drawn else { return Ok(None) };
    let found = portal.books.contract_file(who.tenant(), &hash)?;
    Ok(found.map(|bytes| (hash, bytes)))
}

fn shown(
    portal: &Portal,
    who: &Caller,
    status: StatusCode,
    said: Option<(bool, &str)>,
) -> Response {
    let lang = who.lang();
    let papers = match papers(portal, who) {
        Ok(papers) => papers,
        Err(error) => return broken(lang, &error),
    };
    let body = html! {
        @if let Some((is_good, text)) = said { (notice(is_good, text)) }
        (terms(who, &papers))
        (signing(portal, who, &papers))
        (history(who, &papers))
    };
    let title = lang.t("Condizioni e contratto", "Terms and contract");
    let mut response = page(portal, who, Here::Contract, title, &body);
    *response.status_mut() = status;
    response
}

fn terms(who: &Caller, papers: &Papers) -> Markup {
    let lang = who.lang();
    html! {
        section.panel {
            h2 { (lang.t("Condizioni", "Terms")) " " small { (TEXT) } }
            @if papers.here.is_accepted {
                @for terms in papers.contract.terms.iter().filter(|terms| terms.version == TEXT) {
                    p { span.badge.good { (lang.t("Accettate", "Accepted")) } " " (words::moment(terms.at_ms)) ", " (terms.user) }
                }
            }
            details open[!papers.here.is_accepted] {
                summary { (lang.t("Leggi le condizioni", "Read the terms")) }
                ol.terms {
                    @for (heading, text, english) in TERMS {
                        li { strong { (heading) ". " } (text)
                            @if lang == Lang::En { p.hint lang="en" { (english) } } }
                    }
                }
            }
            @if !papers.here.is_accepted && is_owner(who) {
                form method="post" action="/condizioni" {
                    (token(who.token()))
                    input type="hidden" name="versione" value=(TEXT);
                    p.check {
                        input type="checkbox" id="accetto" name="accetto" value="si" required;
                        label for="accetto" { (lang.t("Ho letto e accetto le condizioni", "I have read and accept the terms")) }
                    }
                    button { (lang.t("Accetto le condizioni", "I accept the terms")) }
                }
            }
        }
    }
}

fn signing(portal: &Portal, who: &Caller, papers: &Papers) -> Markup {
    let (lang, contract) = (who.lang(), &papers.contract);
    let may_draw = papers.here.is_confirmed && papers.here.is_accepted;
    html! {
        section.panel {
            h2 { (lang.t("Contratto di intermediazione", "Contract of intermediation")) }
            @if let Some(signed) = contract.signed {
                p { span.badge.good { (lang.t("Firmato", "Signed")) } " "
                    (contract.signed_ms.map(words::moment).unwrap_or_default()) ", " (contract.signatory) }
                p { a.button href="/contratto/firmato" { (lang.t("Scarica il contratto firmato", "Download the signed contract")) } }
                p.hint { "SHA-256 " code { (signed) } }
            } @else if !is_owner(who) {
                p { (lang.t("Il contratto lo firma il titolare.", "The owner signs the contract.")) }
            } @else if !may_draw {
                p { (lang.t("Prima confermate i ", "First confirm the ")) a href="/dati" { (lang.t("dati", "data")) }
                    (lang.t(" e accettate le condizioni.", " and accept the terms.")) }
            } @else {
                form method="post" action="/contratto/prepara" {
                    (token(who.token()))
                    button.quiet[contract.drawn.is_some()] {
                        @if contract.drawn.is_some() { (lang.t("Prepara di nuovo", "Draw up again")) }
                        @else { (lang.t("Prepara il contratto", "Draw up the contract")) }
                    }
                }
                @if let Some(drawn) = contract.drawn {
                    p { a.button href="/contratto/da-firmare.pdf" { (lang.t("Scarica il PDF da firmare", "Download the PDF to sign")) } }
                    p.hint { "SHA-256 " code { (drawn) } }
                    div.columns {
                        div {
                            h3 { (lang.t("Con la firma digitale", "With a digital signature")) }
                            form.stack method="post" action="/contratto/firma" enctype="multipart/form-data" {
                                (token(who.token()))
                                label for="file" { (lang.t("Il PDF firmato (.p7m o .pdf)", "The signed PDF (.p7m or .pdf)")) }
                                input id="file" name="file" type="file" accept=".p7m,.pdf" required;
                                button { (lang.t("Carica", "Upload")) }
                            }
                        }
                        div {
                            h3 { (lang.t("Con un codice sulla PEC", "With a code to the PEC")) }
                            form method="post" action="/contratto/codice" {
                                (token(who.token()))
                                button.quiet { (lang.t("Manda il codice a ", "Send the code to ")) (papers.profile.get(ProfileField::Pec)) }
                            }
                            (letter(portal, lang, papers.profile.get(ProfileField::Pec)))
                            form.stack method="post" action="/contratto/codice/conferma" {
                                (token(who.token()))
                                label for="codice" { (lang.t("Codice di 8 cifre", "Code of 8 digits")) }
                                input id="codice" name="codice" inputmode="numeric" autocomplete="one-time-code"
                                    required maxlength="20";
                                button { (lang.t("Firma il contratto", "Sign the contract")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What became of the letter with the code, where it has not left.
fn letter(portal: &Portal, lang: Lang, pec: &str) -> Markup {
    let waiting = portal.post.waiting().into_iter().rfind(|standing| standing.to == pec);
    if let Some(waiting) = waiting {
        let text = lang.t(
            "Il codice è in coda: il server di posta non lo prende. Riproviamo da soli fino alle",
            "The code is queued: the mail server does not take it. We go on trying until",
        );
        return html! { (notice(false, &format!("{text} {}. ({})", words::moment(waiting.until_ms), waiting.why))) };
    }
    let lost = portal.post.lost().into_iter().rfind(|standing| standing.to == pec);
    let Some(lost) = lost.filter(|lost| lost.until_ms + CODE_MS > now_ms()) else {
        return html! {};
    };
    let text = lang.t(
        "Il codice non è partito: controllate la PEC nei dati, o chiedetene un altro.",
        "The code did not leave: check the PEC in your data, or ask for another.",
    );
    html! { (notice(false, &format!("{text} ({})", lost.why))) }
}

fn history(who: &Caller, papers: &Papers) -> Markup {
    let lang = who.lang();
    let mut steps: Vec<_> = papers.contract.steps.iter().chain(&papers.customer.steps).collect();
    steps.sort();
    html! {
        section.panel {
            h2 { (lang.t("Che cosa è stato fatto", "What was done")) }
            @if steps.is_empty() { p { (lang.t("Ancora niente.", "Nothing yet.")) } }
            @else {
                div.scroll { table {
                    thead { tr {
                        th scope="col" { (lang.t("Quando", "When")) }
                        th scope="col" { (lang.t("Che cosa", "What")) }
                        th scope="col" { (lang.t("Chi", "Who")) }
                        th scope="col" { (lang.t("Certificato", "Certificate")) }
                        th scope="col" { (lang.t("Note", "Notes")) }
                    } }
                    tbody { @for step in steps { tr {
                        td.nowrap { (words::moment(step.at_ms)) }
                        td { (words::act(lang, step.act)) }
                        td { (step.user) }
                        td.nowrap { code { (words::pin(&step.peer)) } }
                        td.note { (step.note) }
                    } } }
                } }
            }
        }
    }
}
