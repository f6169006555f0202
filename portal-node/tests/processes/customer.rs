//! A customer's first day in a real browser: from the administrator's one-time link to the first
//! invoice seen, begun on portal A, which is killed on the way, and finished on B.
//!
//! Pictures are left in the folder that SCREENSHOTS names, and else among the build's files;
//! `make screenshots` renews those of docs/screenshots.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use certgen::Issued;

use crate::{
    chrome::Chrome,
    town::{Portals, Town, VAT, received, until},
};

pub const PASSWORD: &str = "cavallo batteria graffetta";
/// A VAT number for the intermediary's own certificate.
const INTERMEDIARY: &str = "01234567897";

pub fn pictures() -> PathBuf {
    env::var_os("SCREENSHOTS")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots"), PathBuf::from)
}

/// A page that is looked at: by axe-core, and by people in its picture.
fn seen(browser: &mut Chrome, picture: &str) {
    browser.accessible();
    browser.picture(picture);
}

/// The code in the newest letter of a spool folder.
pub fn code(spool: &Path) -> String {
    let letters = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    let letter = fs::read_to_string(letters.max().expect("a letter")).unwrap();
    let mut lines = letter.lines().filter_map(|line| line.strip_prefix("    "));
    lines.next().expect("the code on a line of its own").trim().to_owned()
}

/// Sets the password behind a one-time link, and logs in.
pub fn accept(browser: &mut Chrome, link: &str, user: &str) {
    browser.open(link);
    browser.write("#password", PASSWORD);
    browser.write("#ripetuta", PASSWORD);
    browser.click("main form button");
    log_in(browser, user);
}

pub fn log_in(browser: &mut Chrome, user: &str) {
    browser.write("#utente", user);
    browser.write("#password", PASSWORD);
    browser.click("main form button");
    browser.until("somebody is logged in", "document.querySelector('.me a') !== null");
}

/// Logs in at a portal as soon as it has heard of the account.
pub fn log_in_at(browser: &mut Chrome, url: &str, user: &str) {
    browser.open(&format!("{url}/entra"));
    log_in(browser, user);
}

/// Writes what the page of the company's data asks for besides its PEC.
pub fn write_address(browser: &mut Chrome) {
    for (field, text) in [
        ("#street", "Via Mazzini 1"),
        ("#postal_code", "37121"),
        ("#city", "Verona"),
        ("#province", "VR"),
        ("#tax_code", VAT),
    ] {
        browser.write(field, text);
    }
}

/// The intermediary's administrator in a browser, on the page of a customer whose owner, with this
/// certificate, has this link.
pub fn invited(town: &mut Town, portals: &Portals, pictures: &Path) -> (Chrome, Issued, String) {
    // The intermediary's administrator, by the link that only the server's console gives.
    let office = town.issue_node(INTERMEDIARY);
    let (cert, _) = town.write("office", &office);
    let (status, said) = portals.a.run(&["admin-link", "--user", "ada"], &[cert.to_str().unwrap()]);
    assert_eq!(status, 0, "{said}");
    let mut ada = town.browser("ada", &office, pictures);
    accept(&mut ada, said.trim(), "ada");

    // A customer, its certificate, and its owner, invited.
    ada.write("#vat", VAT);
    ada.write("#nome", "Officine Adige S.r.l.");
    ada.click("form[action='/ufficio/clienti'] button");
    let home = format!("/ufficio/clienti/{VAT}");
    let issued = town.issue_node(VAT);
    let (cert, _) = town.write("adige", &issued);
    ada.choose(&format!("form[action='{home}/certificato'] [type=file]"), &cert);
    ada.click(&format!("form[action='{home}/certificato'] button"));
    ada.write("#utente", "maria");
    ada.write(&format!("form[action='{home}/utente'] [name=nome]"), "Maria Rossi");
    ada.write("#email", "maria@adige.example.it");
    ada.click(&format!("form[action='{home}/utente'] button"));
    let link = ada.text("code.link");
    assert!(link.starts_with(&town.door(1)), "{link}");
    (ada, issued, link)
}

#[test]
fn a_customer_comes_from_the_invitation_to_the_first_invoice_though_a_portal_is_killed() {
    let mut town = Town::new();
    let mut portals = town.portals_with_doors();
    let (url_a, url_b) = (town.door(1), town.door(2));
    let pictures = pictures();

    let (mut ada, issued, link) = invited(&mut town, &portals, &pictures);
    let home = format!("/ufficio/clienti/{VAT}");
    seen(&mut ada, "02-cliente.png");

    // The owner sets a password, comes in, and checks the data.
    let mut maria = town.browser("maria", &issued, &pictures);
    maria.open(&link);
    maria.write("#password", PASSWORD);
    maria.write("#ripetuta", PASSWORD);
    maria.click("main form button");
    seen(&mut maria, "01-entra.png");
    log_in(&mut maria, "maria");
    seen(&mut maria, "03-situazione.png");
    maria.open(&format!("{url_a}/dati"));
    maria.write("#pec", "adige");
    maria.until(
        "a wrong PEC is told as one types",
        "document.querySelector('#su-pec').textContent === 'si scrive nome@dominio.it'",
    );
    seen(&mut maria, "04-dati-errore.png");
    maria.write("#pec", "adige@pec.example.it");
    maria.until("a right one is too", "document.querySelector('#su-pec').textContent === ''");
    write_address(&mut maria);
    maria.click("form[action='/dati'] > button");
    seen(&mut maria, "05-dati.png");
    maria.click("form[action='/dati/conferma'] button");
    assert!(maria.text(".badge.good").contains("Dati confermati"));
    maria.open(&format!("{url_a}/contratto"));
    maria.tick("#accetto");
    maria.click("form[action='/condizioni'] button");
    maria.click("form[action='/contratto/prepara'] button");
    let hash = maria.text(".panel .hint code");
    assert_eq!(hash.len(), 64, "{hash}");
    until("B holds what was written on A", || {
        portals.b.tenant()["portals"][0]["pending_down"] == 0
    });

    // The portal she works on dies with the contract open; nothing is said twice.
    portals.a.kill();
    log_in_at(&mut maria, &url_b, "maria");
    maria.open(&format!("{url_b}/contratto"));
    assert_eq!(maria.text(".panel .hint code"), hash, "the very contract that was open on A");
    seen(&mut maria, "06-contratto.png");
    maria.click("form[action='/contratto/codice'] button");
    maria.write("#codice", &code(&portals.b.dir.join("pec")));
    maria.click("form[action='/contratto/codice/conferma'] button");
    assert!(maria.text(".badge.good").contains("Accettate"));
    maria.until("it is signed", "document.body.innerText.includes('Scarica il contratto firmato')");
    seen(&mut maria, "07-firmato.png");

    // Admitted on B.
    log_in_at(&mut ada, &url_b, "ada");
    ada.open(&format!("{url_b}{home}"));
    ada.click("button[value=pilota]");
    ada.open(&format!("{url_b}/ufficio"));
    ada.click("button[value=piloti]");
    seen(&mut ada, "08-ufficio.png");
    maria.open(&format!("{url_b}/"));
    maria
        .until("she is told", "document.querySelector('.lead .badge').textContent === 'Abilitato'");
    seen(&mut maria, "09-abilitato.png");

    // Her server replicates with B, and what the network is like is seen.
    let mut node = town.node("node", &issued, &portals);
    node.start();
    until("the server holds what B holds", || {
        let tenant = node.tenant();
        tenant["portals"][1]["connected"] == true && tenant["portals"][1]["pending_down"] == 0
    });

    // An invoice comes while she looks at the empty list: seen without a reload.
    maria.open(&format!("{url_b}/fatture/ricevute"));
    assert!(maria.text(".list").contains("Nessuna fattura"), "none yet");
    maria.look("window.same = true");
    let folder = portals.b.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("IT12345678903_00001.xml"), received("2026-1")).unwrap();
    maria.until(
        "it is in the list, and the page is the same",
        "window.same === true && document.querySelector('tbody tr') !== null",
    );
    seen(&mut maria, "10-ricevute.png");
    maria.click("tbody a");
    maria.until("the invoice itself is shown", "document.querySelector('iframe.paper') !== null");
    seen(&mut maria, "11-fattura.png");
    until("it is on the customer's own server", || {
        node.names("in").contains(&"IT12345678903_00001.xml".to_owned())
    });
    until("the dead portal is seen to be away, and the server to be even", || {
        ada.open(&format!("{url_b}/ufficio/rete"));
        ada.look("document.querySelector('tr .badge.bad') !== null") == true
            && ada.look("document.querySelector('tr .badge.good') !== null") == true
    });
    seen(&mut ada, "12-rete.png");

    // Every other page that people see, looked at by axe-core alone.
    maria.open(&format!("{url_b}/fatture/ricevute"));
    let invoice = maria.look("document.querySelector('tbody a').getAttribute('href')");
    let view = format!("{}/vista", invoice.as_str().unwrap());
    for path in ["/account", "/invia", "/fatture/inviate", "/contratto", "/niente"] {
        maria.open(&format!("{url_b}{path}"));
        maria.accessible();
    }
    // The invoice as people read it runs no script, and axe-core is one: its page is read here.
    let shown = maria.look(&format!("fetch('{view}').then(answer => answer.text())"));
    maria.open("about:blank");
    maria.show(shown.as_str().unwrap());
    maria.accessible();
    maria.open(&format!("{url_b}/"));
    maria.click("button[name=lingua]");
    maria.accessible();
    assert!(maria.title().starts_with("Overview"), "{}", maria.title());
    maria.click("button[name=lingua]");
    ada.open(&format!("{url_b}{home}"));
    ada.accessible();

    // A comes back and has it all.
    portals.a.start();
    log_in_at(&mut maria, &url_a, "maria");
    until("A has caught up", || {
        maria.open(&format!("{url_a}/fatture/ricevute"));
        maria.text(".list").contains("2026-1")
    });
}
