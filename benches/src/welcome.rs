//! How a customer is let in, done as people do it: on the pages of one portal, by the
//! administrator and by the customer's owner. Nothing here goes past the pages.

use std::{fs, path::Path};

use crate::{end::AnyError, guest::Guest};

/// A VAT number for the intermediary's own certificate.
pub const INTERMEDIARY: &str = "01234567897";

/// A person who logs in.
#[derive(Clone, Copy, Debug)]
pub struct Person<'p> {
    /// The user name.
    pub user: &'p str,
    /// As written on letters.
    pub name: &'p str,
    /// The password.
    pub password: &'p str,
}

/// Sets the password behind a one-time link, of which only the path counts, and logs in.
///
/// # Errors
/// What the portal answered instead.
pub async fn accept(guest: &mut Guest, link: &str, person: Person<'_>) -> Result<(), AnyError> {
    let path = link.find("/invito/").map_or(link, |at| &link[at..]);
    let Person { user, password, .. } = person;
    let fields = [("password", password), ("ripetuta", password)];
    guest.submit(path, path, &fields).await?.leads_to("/entra?fatto=password")?;
    log_in(guest, user, password).await
}

/// Logs in.
///
/// # Errors
/// What the portal answered instead.
pub async fn log_in(guest: &mut Guest, user: &str, password: &str) -> Result<(), AnyError> {
    let fields = [("utente", user), ("password", password)];
    guest.submit("/entra", "/entra", &fields).await?.leads_to("/")?;
    Ok(())
}

/// The administrator invites a customer, binds its certificate (PEM) and invites its owner.
/// Returns the owner's one-time link.
///
/// # Errors
/// What the portal answered instead.
pub async fn invite(
    office: &mut Guest,
    vat: &str,
    company: &str,
    cert: &str,
    owner: Person<'_>,
) -> Result<String, AnyError> {
    let home = format!("/ufficio/clienti/{vat}");
    let fields = [("vat", vat), ("nome", company)];
    office.submit("/ufficio", "/ufficio/clienti", &fields).await?.leads_to(&home)?;
    bind(office, vat, cert).await?;
    let fields = [
        ("utente", owner.user),
        ("nome", owner.name),
        ("email", "contabilita@example.it"),
        ("ruolo", "owner"),
        ("invito", "si"),
    ];
    let page = office.submit(&home, &format!("{home}/utente"), &fields).await?;
    let link =
        page.text.split("<code class=\"link\">").nth(1).and_then(|rest| rest.split('<').next());
    Ok(link.ok_or_else(|| format!("no link on {home}: {}", page.text))?.to_owned())
}

/// The administrator binds a certificate (PEM) to a customer.
///
/// # Errors
/// What the portal answered instead.
pub async fn bind(office: &mut Guest, vat: &str, cert: &str) -> Result<(), AnyError> {
    let home = format!("/ufficio/clienti/{vat}");
    office.get(&home).await?;
    let path = format!("{home}/certificato");
    office.upload(&path, &format!("{vat}.cert"), cert.as_bytes()).await?.leads_to(&home)?;
    Ok(())
}

/// The owner confirms the data, accepts the terms, and signs the contract with the code that the
/// portal put into `spool`.
///
/// # Errors
/// What the portal answered instead.
pub async fn sign(
    owner: &mut Guest,
    vat: &str,
    company: &str,
    spool: &Path,
) -> Result<(), AnyError> {
    let data = [
        ("name", company),
        ("vat_number", vat),
        ("recipient_code", "ABC1234"),
        ("pec", "contabilita@pec.example.it"),
        ("street", "Via Mazzini 1"),
        ("postal_code", "37121"),
        ("city", "Verona"),
        ("province", "VR"),
        ("country", "IT"),
    ];
    owner.submit("/dati", "/dati", &data).await?.leads_to("/dati?fatto=salvato")?;
    let page = owner.get("/dati").await?;
    let shown = page.hidden("conferma").ok_or("the data cannot be confirmed")?;
    let fields = [("conferma", shown)];
    owner.post("/dati/conferma", &fields).await?.leads_to("/dati?fatto=confermato")?;
    let page = owner.get("/contratto").await?;
    let version = page.hidden("versione").ok_or("there are no terms to accept")?;
    let fields = [("versione", version), ("accetto", "si")];
    owner.post("/condizioni", &fields).await?.leads_to("/contratto?fatto=accettate")?;
    owner.post("/contratto/prepara", &[]).await?.leads_to("/contratto?fatto=preparato")?;
    owner.post("/contratto/codice", &[]).await?.leads_to("/contratto?fatto=codice")?;
    let code = newest_code(spool)?;
    let fields = [("codice", code.as_str())];
    owner
        .post("/contratto/codice/conferma", &fields)
        .await?
        .leads_to("/contratto?fatto=firmato")?;
    Ok(())
}

/// The administrator admits a customer: its node may replicate from now on.
///
/// # Errors
/// What the portal answered instead.
pub async fn admit(office: &mut Guest, vat: &str) -> Result<(), AnyError> {
    let home = format!("/ufficio/clienti/{vat}");
    let fields = [("decisione", "ammetti")];
    office.submit(&home, &format!("{home}/decidi"), &fields).await?.leads_to(&home)?;
    Ok(())
}

/// The code in the newest letter: on a line of its own.
fn newest_code(spool: &Path) -> Result<String, AnyError> {
    let letters = fs::read_dir(spool)?.map(|entry| entry.map(|entry| entry.path()));
    let letters = letters.collect::<Result<Vec<_>, _>>()?;
    let newest = letters.into_iter().max().ok_or("there is no letter")?;
    let letter = fs::read_to_string(&newest)?;
    let code = letter.lines().find_map(|line| line.strip_prefix("    "));
    Ok(code.ok_or_else(|| format!("{} has no code", newest.display()))?.trim().to_owned())
}
