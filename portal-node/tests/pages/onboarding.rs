//! From the invitation to replication: begun on A, finished on B, with the papers on both.

use std::fs;

use super::{
    browser::Browser,
    people::{ADIGE, PASSWORD, accept, invite, log_in_soon},
    town::{Town, until},
};

const DATA: [(&str, &str); 9] = [
    ("name", "Officine Adige S.r.l."),
    ("vat_number", ADIGE),
    ("recipient_code", "ABC1234"),
    ("pec", "adige@pec.example.it"),
    ("street", "Via Mazzini 1"),
    ("postal_code", "37121"),
    ("city", "Verona"),
    ("province", "vr"),
    ("country", "IT"),
];

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    page.split(&mark).nth(1).unwrap_or_default().split('"').next().unwrap_or_default().to_owned()
}

/// The code in the only letter of a spool folder.
fn code(spool: &std::path::Path) -> String {
    let letters: Vec<_> = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = fs::read_to_string(&letters[0]).unwrap();
    assert!(letter.contains("To: adige@pec.example.it"), "{letter}");
    let mut lines = letter.lines().filter_map(|line| line.strip_prefix("    "));
    lines.next().expect("the code on a line of its own").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_enabled_by_papers_begun_on_a_and_finished_on_b() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let link = invite(&mut admin, ADIGE, "maria", "owner").await;
    let mut maria = Browser::new(town.a.pages, &town.authority(), Some(&stem));
    accept(&mut maria, &link).await;
    assert_eq!(maria.get(&link).await.status, 404, "the link counts once");
    assert_eq!(maria.log_in("maria", PASSWORD).await.location, "/");

    // Wrong data are named and not confirmed.
    let page = maria
        .submit("/dati", "/dati", &[("name", "Officine Adige S.r.l."), ("pec", "adige")])
        .await;
    assert_eq!(page.location, "/dati?fatto=salvato", "{}", page.text());
    let page = maria.get("/dati").await.text();
    assert!(page.contains("si scrive nome@dominio.it") && !page.contains("CONFERMO I MIEI DATI"));
    let checked = maria.get("/dati/controlla?campo=pec&valore=adige").await;
    assert_eq!(checked.text(), "si scrive nome@dominio.it");
    assert_eq!(maria.get("/dati/controlla?campo=pec&valore=a@pec.it").await.text(), "");

    let page = maria.submit("/dati", "/dati", &DATA).await;
    assert_eq!(page.location, "/dati?fatto=salvato", "{}", page.text());

    // On the other portal: the same person, certificate and data.
    maria.turn_to(town.b.pages);
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("B has heard of the certificate", || async {
        shared.lock().await.get("/entra").await.status == 200
    })
    .await;
    assert_eq!(maria.get("/dati").await.location, "/entra", "B has its own sessions");
    log_in_soon(&mut maria, "maria", PASSWORD).await;
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("the data are on B", || async {
        shared.lock().await.get("/dati").await.text().contains("CONFERMO I MIEI DATI")
    })
    .await;
    let page = maria.get("/dati").await.text();
    let confirmation = hidden(&page, "conferma");
    let page = maria.post("/dati/conferma", &[("conferma", &confirmation)]).await;
    assert_eq!(page.location, "/dati?fatto=confermato", "{}", page.text());

    let page = maria
        .submit("/contratto", "/condizioni", &[("versione", "2026-11"), ("accetto", "si")])
        .await;
    assert_eq!(page.location, "/contratto?fatto=accettate", "{}", page.text());
    let page = maria.post("/contratto/prepara", &[]).await;
    assert_eq!(page.location, "/contratto?fatto=preparato", "{}", page.text());
    let pdf = maria.get("/contratto/da-firmare.pdf").await;
    assert!(pdf.bytes.starts_with(b"%PDF"));

    // A file that is not the signed contract is refused, and that is written down.
    maria.get("/contratto").await;
    let page = maria.upload("/contratto/firma", "contratto.pdf", &pdf.bytes).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text().contains("Il PDF non è firmato")
            && page.text().contains("file firmato rifiutato")
    );

    let page = maria.post("/contratto/codice", &[]).await;
    assert_eq!(page.location, "/contratto?fatto=codice", "{}", page.text());
    let code = code(&town.b.config.door.as_ref().unwrap().spool);
    let wrong = if code == "00000000" { "00000001" } else { "00000000" };
    let page = maria.post("/contratto/codice/conferma", &[("codice", wrong)]).await;
    assert!(page.text().contains("sbagliato o scaduto"), "{}", page.text());
    let page = maria.post("/contratto/codice/conferma", &[("codice", &code)]).await;
    assert_eq!(page.location, "/contratto?fatto=firmato", "{}", page.text());
    assert_eq!(maria.get("/contratto/firmato").await.bytes, pdf.bytes, "byte for byte");

    // Signed on B, admitted on A: the certificate may replicate on both.
    let home = format!("/ufficio/clienti/{ADIGE}");
    let page = admin.submit(&home, &format!("{home}/decidi"), &[("decisione", "ammetti")]).await;
    assert_eq!(page.location, home, "{}", page.text());
    let data = [town.a.config.data.clone(), town.b.config.data.clone()];
    until("both portals admit the node", || async {
        let mut admitted = true;
        for data in &data {
            let told = node::control::ask(data, portal_node::service::Ask::Status).await.unwrap();
            admitted &= told["admitted"].as_array().is_some_and(|peers| peers.len() == 1);
        }
        admitted
    })
    .await;
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("B tells the customer", || async {
        shared.lock().await.get("/").await.text().contains("Abilitato")
    })
    .await;

    // Everything is in the record, with user and certificate; what a portal did by itself last.
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("the portal says that it let the node in", || async {
        shared.lock().await.get("/contratto").await.text().contains("replica abilitata")
    })
    .await;
    let page = maria.get("/contratto").await.text();
    for act in [
        "dati confermati",
        "condizioni accettate",
        "contratto preparato",
        "codice errato",
        "firmato con il codice",
        "ammesso",
        "replica abilitata",
    ] {
        assert!(page.contains(act), "{act} is not in the record");
    }

    // A suspension shuts the door on both portals.
    let page = admin.submit(&home, &format!("{home}/decidi"), &[("decisione", "sospendi")]).await;
    assert_eq!(page.location, home);
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("B has heard of it", || async { shared.lock().await.get("/dati").await.status == 403 })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_sessions_on_both_portals() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let mut here = town.person(&mut admin, &stem, ADIGE, "maria", "owner").await;
    let mut there = Browser::new(town.b.pages, &town.authority(), Some(&stem));
    log_in_soon(&mut there, "maria", PASSWORD).await;
    assert_eq!(there.get("/").await.status, 200);

    let new = "quattro parole tutte nuove";
    let fields = [("attuale", PASSWORD), ("password", new), ("ripetuta", new)];
    let page = here.submit("/account", "/account/password", &fields).await;
    assert_eq!(page.location, "/account?fatto=password", "{}", page.text());
    assert_eq!(here.get("/").await.status, 200, "the session that changed it goes on");
    let shared = tokio::sync::Mutex::new(&mut there);
    until("the session on B ends", || async {
        shared.lock().await.get("/").await.location == "/entra"
    })
    .await;
    assert_eq!(there.log_in("maria", PASSWORD).await.status, 401);
    assert_eq!(there.log_in("maria", new).await.location, "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_old_does_not_take_the_place_of_what_was_written_since() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let mut maria = town.person(&mut admin, &stem, ADIGE, "maria", "owner").await;
    let mut piero = town.person(&mut admin, &stem, ADIGE, "piero", "owner").await;
    assert_eq!(maria.submit("/dati", "/dati", &DATA).await.location, "/dati?fatto=salvato");

    // Both look; one writes another PEC, the other a PEC and a telephone.
    let seen = piero.get("/dati").await;
    let mut hers = DATA;
    hers[3].1 = "uno@pec.example.it";
    assert_eq!(maria.submit("/dati", "/dati", &hers).await.location, "/dati?fatto=salvato");
    let mut his: Vec<_> = DATA.to_vec();
    his[3].1 = "due@pec.example.it";
    his.push(("phone", "045 8000000"));
    let page = piero.fill(&seen, "/dati", &his).await;
    let text = page.text();
    assert_eq!(page.status, 409, "{text}");
    assert!(text.contains("Qualcuno ha scritto altro nel frattempo"), "{text}");
    for value in ["uno@pec.example.it", "due@pec.example.it"] {
        assert!(text.contains(&format!("name=\"scelta_pec\" value=\"{value}\"")), "{text}");
    }
    let stored = maria.get("/dati").await;
    assert_eq!(hidden(&stored.text(), "prima_pec"), "uno@pec.example.it", "not overwritten");
    assert_eq!(hidden(&stored.text(), "prima_phone"), "045 8000000", "the rest is saved");

    // He picks; what nobody touched stays.
    let pick = [("scelta_pec", "due@pec.example.it"), ("pec", "uno@pec.example.it")];
    let fields: Vec<_> = DATA.iter().copied().filter(|(name, _)| *name != "pec").collect();
    let fields = [&fields[..], &[("phone", "045 8000000")], &pick].concat();
    assert_eq!(piero.fill(&page, "/dati", &fields).await.location, "/dati?fatto=salvato");
    let text = maria.get("/dati").await.text();
    assert_eq!(hidden(&text, "prima_pec"), "due@pec.example.it");
    assert_eq!(hidden(&text, "prima_name"), "Officine Adige S.r.l.");
    assert!(!text.contains("scelta_pec"), "nothing is left to choose");
}
