//! What the office decides, done to a customer's server that nobody restarts.

use std::{fs, time::Duration};

use certgen::{Request, Subject};

use super::{
    browser::Browser,
    invoices::invoice,
    people::{ADIGE, BRENTA, PASSWORD, accept, bind, invite, papers},
    town::{Server, Town, until, vat, within},
};

/// How soon a decision must be felt on both portals.
pub const SOON: Duration = Duration::from_secs(5);
/// A node that was refused waits for 15 to 30 s before it comes again, at each portal, and once more
/// if that was too early.
const AGAIN: Duration = Duration::from_secs(75);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_enabled_suspended_resumed_and_revoked_without_a_restart() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    admin.submit("/ufficio", "/ufficio/clienti", &[("vat", ADIGE), ("nome", "Adige")]).await;
    let home = format!("/ufficio/clienti/{ADIGE}");

    // The key is made on the customer's server; the office answers its request, and no other.
    let request = Request::new(Subject::Node(vat(ADIGE))).unwrap();
    let other = Request::new(Subject::Node(vat(BRENTA))).unwrap();
    let issue = format!("{home}/rilascia");
    admin.get(&home).await;
    let page = admin.upload(&issue, "b.csr", other.request_pem.as_bytes()).await;
    assert_eq!(page.status, 422, "a request for another customer");
    let page = admin.upload(&issue, "a.csr", request.request_pem.as_bytes()).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let folder = town.root.path().join("server");
    fs::create_dir_all(&folder).unwrap();
    let stem = folder.join(ADIGE);
    fs::write(stem.with_extension("cert"), &page.bytes).unwrap();
    request.write(&folder, certgen::Existing::Refuse).unwrap();
    let pin = request.peer.to_string();

    // It waits at both doors while its owner does the papers.
    let server = Server::start(&town, vat(ADIGE), &stem).await;
    server.send("1.xml", &invoice(ADIGE, BRENTA, "1"));
    let person = town.issue(vat(ADIGE), "maria");
    bind(&mut admin, vat(ADIGE), &person).await;
    let link = invite(&mut admin, ADIGE, "maria", "owner").await;
    let mut maria = Browser::new(town.a.pages, &town.authority(), Some(&person));
    accept(&mut maria, &link).await;
    assert_eq!(maria.log_in("maria", PASSWORD).await.location, "/");
    papers(&mut maria, ADIGE, &town.a.config.door.as_ref().unwrap().spool).await;
    assert!(!town.a.is_connected(&pin).await && !town.b.is_connected(&pin).await);

    let decide = format!("{home}/decidi");
    admin.submit(&home, &decide, &[("decisione", "ammetti")]).await;
    until("both portals serve it", || async {
        town.a.is_connected(&pin).await && town.b.is_connected(&pin).await
    })
    .await;
    let shared = tokio::sync::Mutex::new(&mut maria);
    let sent = |number: &'static str| {
        let shared = &shared;
        move || async move {
            let list = shared.lock().await.get("/fatture/inviate").await.text();
            list.contains(&format!(">{number}</a>"))
        }
    };
    until("what waited is sent", sent("1")).await;

    // Suspended at A: both portals drop it, and it comes back by itself once resumed.
    admin.submit(&home, &decide, &[("decisione", "sospendi")]).await;
    within(SOON, "neither portal serves a suspended customer's server", || async {
        !town.a.is_connected(&pin).await && !town.b.is_connected(&pin).await
    })
    .await;
    server.send("2.xml", &invoice(ADIGE, BRENTA, "2"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!town.a.is_connected(&pin).await && !town.b.is_connected(&pin).await);
    admin.submit(&home, &decide, &[("decisione", "riprendi")]).await;
    within(AGAIN, "both portals serve it again", || async {
        town.a.is_connected(&pin).await && town.b.is_connected(&pin).await
    })
    .await;
    until("what waited meanwhile is sent", sent("2")).await;

    // Its certificate ends, for ever.
    admin.submit(&home, &format!("{home}/revoca"), &[("pin", &pin)]).await;
    within(SOON, "neither portal serves a revoked key", || async {
        !town.a.is_connected(&pin).await && !town.b.is_connected(&pin).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_without_pages_does_not_serve_a_suspended_customer_either() {
    let mut town = Town::found_with(|config, _, _| {
        if config.portals[0].name == "A" {
            config.door = None;
        }
    })
    .await;
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let pin = certificate_pin(&stem);
    let mut maria = town.person(&mut admin, &stem, ADIGE, "maria", "owner").await;
    papers(&mut maria, ADIGE, &town.a.spool()).await;
    let home = format!("/ufficio/clienti/{ADIGE}");
    let decide = format!("{home}/decidi");
    admin.submit(&home, &decide, &[("decisione", "ammetti")]).await;
    let _server = Server::start(&town, vat(ADIGE), &stem).await;
    until("both portals serve it", || async {
        town.a.is_connected(&pin).await && town.b.is_connected(&pin).await
    })
    .await;
    admin.submit(&home, &decide, &[("decisione", "sospendi")]).await;
    within(SOON, "neither serves it any more", || async {
        !town.a.is_connected(&pin).await && !town.b.is_connected(&pin).await
    })
    .await;
    admin.submit(&home, &decide, &[("decisione", "riprendi")]).await;
    within(AGAIN, "both serve it again", || async {
        town.a.is_connected(&pin).await && town.b.is_connected(&pin).await
    })
    .await;
}

fn certificate_pin(stem: &std::path::Path) -> String {
    let file = stem.with_extension("cert");
    let read = node::transport::identity::certificate(&fs::read(file).unwrap(), "it").unwrap();
    engine::id::PeerId::of_spki(&read.spki).to_string()
}
