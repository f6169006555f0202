//! The pilot group first, then all; and who has sent a test invoice.

use super::{
    invoices::invoice,
    people::{ADIGE, BRENTA, papers},
    town::{Town, until},
};

/// The row of a customer in the office's list.
fn row(page: &str, of: &str) -> String {
    let rest = page.split(&format!("/ufficio/clienti/{of}\"")).nth(1).unwrap_or_default();
    rest.split("</tr>").next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pilots_are_admitted_before_the_others_and_their_test_invoice_is_seen() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let (mut maria, mut bruno) = town.two_customers(&mut admin).await;
    let spool = town.a.config.door.as_ref().unwrap().spool.clone();
    papers(&mut maria, ADIGE, &spool).await;
    papers(&mut bruno, BRENTA, &spool).await;

    let home = format!("/ufficio/clienti/{BRENTA}");
    admin.submit(&home, &format!("{home}/decidi"), &[("decisione", "pilota")]).await;
    let page = admin.submit("/ufficio", "/ufficio/ammetti", &[("chi", "nessuno")]).await;
    assert_eq!(page.status, 404);
    let page = admin.submit("/ufficio", "/ufficio/ammetti", &[("chi", "piloti")]).await;
    assert_eq!(page.location, "/ufficio?ammessi=1", "{}", page.text());
    let shared = tokio::sync::Mutex::new(&mut admin);
    until("only the pilot is enabled", || async {
        let list = shared.lock().await.get("/ufficio").await.text();
        let (pilot, other) = (row(&list, BRENTA), row(&list, ADIGE));
        assert!(list.find(BRENTA) < list.find(ADIGE), "pilots come first");
        assert!(pilot.contains("Pilota") && !other.contains("Pilota"));
        assert!(pilot.contains("non ancora") && other.contains("In attesa di abilitazione"));
        pilot.contains("Abilitato")
    })
    .await;

    bruno.get("/invia").await;
    let sent = invoice(BRENTA, ADIGE, "7");
    let page = bruno.upload("/invia", "IT12345678903_00007.xml", sent.as_bytes()).await;
    assert_eq!(page.status, 303, "{}", page.text());
    let shared = tokio::sync::Mutex::new(&mut admin);
    until("the pilot's test is seen", || async {
        let list = shared.lock().await.get("/ufficio").await.text();
        assert!(row(&list, ADIGE).contains("non ancora"));
        row(&list, BRENTA).contains(">inviata<") && list.contains("1 su 1")
    })
    .await;
    let page = admin.submit("/ufficio", "/ufficio/ammetti", &[("chi", "tutti")]).await;
    assert_eq!(page.location, "/ufficio?ammessi=1", "{}", page.text());
    let shared = tokio::sync::Mutex::new(&mut admin);
    until("all are enabled", || async {
        let list = shared.lock().await.get("/ufficio").await.text();
        row(&list, ADIGE).contains("Abilitato")
    })
    .await;

    // The network: the other portal is there, and the nodes that may come are not yet.
    let page = admin.get("/ufficio/rete").await.text();
    assert!(page.contains("<svg") && page.contains("Portale B"), "{page}");
    assert!(page.contains("non collegato") && page.contains("Cantine Brenta"), "{page}");
}
