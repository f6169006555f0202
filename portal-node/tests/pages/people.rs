//! People of the tests, and the ways by which they come in.

use std::path::PathBuf;

use engine::id::VatNumber;

use super::{
    browser::{Browser, Page},
    town::{Town, until, vat},
};

pub const PASSWORD: &str = "cavallo batteria graffetta";
pub const ADMIN: &str = "ada";
/// A VAT number for the intermediary's own certificate.
pub const INTERMEDIARY: &str = "01234567897";
pub const ADIGE: &str = "02038490237";
pub const BRENTA: &str = "12345678903";

impl Town {
    /// The administrator, logged in at A.
    pub async fn admin(&mut self) -> Browser {
        let stem = self.issue(vat(INTERMEDIARY), "office");
        let link = self.a.admin_link(ADMIN, &stem).await;
        let mut browser = Browser::new(self.a.pages, &self.authority(), Some(&stem));
        accept(&mut browser, &link).await;
        let page = browser.log_in(ADMIN, PASSWORD).await;
        assert_eq!((page.status, &*page.location), (303, "/"), "{}", page.text());
        browser
    }

    /// A customer with a certificate, invited at A; returns where its certificate is.
    pub async fn customer(&mut self, admin: &mut Browser, of: &str, name: &str) -> PathBuf {
        let stem = self.issue(vat(of), &format!("certificate-{name}"));
        let page =
            admin.submit("/ufficio", "/ufficio/clienti", &[("vat", of), ("nome", name)]).await;
        assert_eq!(page.location, format!("/ufficio/clienti/{of}"), "{}", page.text());
        bind(admin, vat(of), &stem).await;
        stem
    }

    /// The owners of two customers: Maria of Adige, Bruno of Brenta.
    pub async fn two_customers(&mut self, admin: &mut Browser) -> (Browser, Browser) {
        let adige = self.customer(admin, ADIGE, "Officine Adige").await;
        let brenta = self.customer(admin, BRENTA, "Cantine Brenta").await;
        let maria = self.person(admin, &adige, ADIGE, "maria", "owner").await;
        let bruno = self.person(admin, &brenta, BRENTA, "bruno", "owner").await;
        (maria, bruno)
    }

    /// A person for a customer, logged in at A.
    pub async fn person(
        &mut self,
        admin: &mut Browser,
        stem: &std::path::Path,
        of: &str,
        user: &str,
        role: &str,
    ) -> Browser {
        let link = invite(admin, of, user, role).await;
        let mut browser = Browser::new(self.a.pages, &self.authority(), Some(stem));
        accept(&mut browser, &link).await;
        let page = browser.log_in(user, PASSWORD).await;
        assert_eq!((page.status, &*page.location), (303, "/"), "{}", page.text());
        browser
    }
}

/// Binds the certificate at `stem`.
pub async fn bind(admin: &mut Browser, of: VatNumber, stem: &std::path::Path) {
    let home = format!("/ufficio/clienti/{of}");
    admin.get(&home).await;
    let bytes = std::fs::read(stem.with_extension("cert")).unwrap();
    let page = admin.upload(&format!("{home}/certificato"), "a.cert", &bytes).await;
    assert_eq!(page.location, home, "{}", page.text());
}

/// Invites a person; returns the link's path.
pub async fn invite(admin: &mut Browser, of: &str, user: &str, role: &str) -> String {
    let home = format!("/ufficio/clienti/{of}");
    let fields = [
        ("utente", user),
        ("nome", "Maria Rossi"),
        ("email", "maria@example.it"),
        ("ruolo", role),
        ("invito", "si"),
    ];
    let page = admin.submit(&home, &format!("{home}/utente"), &fields).await;
    assert_eq!(page.status, 200, "{}", page.text());
    link_in(&page)
}

pub fn link_in(page: &Page) -> String {
    let text = page.text();
    let rest = text.split("https://localhost").nth(1).expect("a link on the page");
    rest.split('<').next().unwrap().to_owned()
}

/// Sets the password behind a link.
pub async fn accept(browser: &mut Browser, link: &str) {
    let fields = [("password", PASSWORD), ("ripetuta", PASSWORD)];
    let page = browser.submit(link, link, &fields).await;
    assert_eq!(page.location, "/entra?fatto=password", "{}", page.text());
}

/// An owner's papers up to the contract that is ready to sign, with this PEC.
pub async fn papers_to_sign(owner: &mut Browser, of: &str, pec: &str) {
    let data = [
        ("name", "Officine Adige S.r.l."),
        ("vat_number", of),
        ("recipient_code", "ABC1234"),
        ("pec", pec),
        ("street", "Via Mazzini 1"),
        ("postal_code", "37121"),
        ("city", "Verona"),
        ("province", "VR"),
    ];
    owner.submit("/dati", "/dati", &data).await;
    let page = owner.get("/dati").await.text();
    let confirmation = page.split("name=\"conferma\" value=\"").nth(1).unwrap();
    let confirmation = confirmation.split('"').next().unwrap();
    owner.post("/dati/conferma", &[("conferma", confirmation)]).await;
    owner.submit("/contratto", "/condizioni", &[("versione", "2026-11"), ("accetto", "si")]).await;
    let page = owner.post("/contratto/prepara", &[]).await;
    assert_eq!(page.location, "/contratto?fatto=preparato", "{}", page.text());
}

/// An owner's papers, from data to signature, at the portal whose letters are in `spool`.
pub async fn papers(owner: &mut Browser, of: &str, spool: &std::path::Path) {
    papers_to_sign(owner, of, "adige@pec.example.it").await;
    owner.post("/contratto/codice", &[]).await;
    let letters = std::fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    let letter = std::fs::read_to_string(letters.max().unwrap()).unwrap();
    sign_by(owner, &letter).await;
}

/// Signs the contract with the code in a letter.
pub async fn sign_by(owner: &mut Browser, letter: &str) {
    let code = letter.lines().find_map(|line| line.strip_prefix("    ")).unwrap().trim();
    let page = owner.post("/contratto/codice/conferma", &[("codice", code)]).await;
    assert_eq!(page.location, "/contratto?fatto=firmato", "{}", page.text());
}

/// Logs in as soon as the portal has heard of the account.
pub async fn log_in_soon(browser: &mut Browser, user: &str, password: &str) {
    let browser = tokio::sync::Mutex::new(browser);
    until("the account has arrived", || async {
        let mut browser = browser.lock().await;
        let page = browser.get("/entra").await;
        page.status == 200 && browser.log_in(user, password).await.location == "/"
    })
    .await;
}
