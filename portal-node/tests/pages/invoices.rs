//! Invoices on the pages and in the API: what came, what is sent, and that nobody else sees it.

use std::fs;

use super::{
    browser::{Browser, Page},
    people::{ADIGE, BRENTA, PASSWORD},
    town::{Town, until},
};

/// An invoice from `supplier` to `buyer`, as the SdI takes it.
pub fn invoice(supplier: &str, buyer: &str, number: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<p:FatturaElettronica versione="FPR12" xmlns:p="http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2">
<FatturaElettronicaHeader><DatiTrasmissione><IdTrasmittente><IdPaese>IT</IdPaese><IdCodice>{supplier}</IdCodice></IdTrasmittente>
<ProgressivoInvio>{number}</ProgressivoInvio><FormatoTrasmissione>FPR12</FormatoTrasmissione><CodiceDestinatario>ABC1234</CodiceDestinatario></DatiTrasmissione>
<CedentePrestatore><DatiAnagrafici><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>{supplier}</IdCodice></IdFiscaleIVA>
<Anagrafica><Denominazione>Fornitore {supplier}</Denominazione></Anagrafica><RegimeFiscale>RF01</RegimeFiscale></DatiAnagrafici>
<Sede><Indirizzo>Via Roma 1</Indirizzo><CAP>37121</CAP><Comune>Verona</Comune><Provincia>VR</Provincia><Nazione>IT</Nazione></Sede></CedentePrestatore>
<CessionarioCommittente><DatiAnagrafici><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>{buyer}</IdCodice></IdFiscaleIVA>
<Anagrafica><Denominazione>Cliente {buyer}</Denominazione></Anagrafica></DatiAnagrafici>
<Sede><Indirizzo>Via Po 2</Indirizzo><CAP>37122</CAP><Comune>Verona</Comune><Provincia>VR</Provincia><Nazione>IT</Nazione></Sede></CessionarioCommittente>
</FatturaElettronicaHeader><FatturaElettronicaBody><DatiGenerali><DatiGeneraliDocumento><TipoDocumento>TD01</TipoDocumento><Divisa>EUR</Divisa>
<Data>2026-11-20</Data><Numero>{number}</Numero><ImportoTotaleDocumento>1220.00</ImportoTotaleDocumento></DatiGeneraliDocumento></DatiGenerali>
<DatiBeniServizi><DettaglioLinee><NumeroLinea>1</NumeroLinea><Descrizione>Merce</Descrizione><PrezzoUnitario>1000.00</PrezzoUnitario>
<PrezzoTotale>1000.00</PrezzoTotale><AliquotaIVA>22.00</AliquotaIVA></DettaglioLinee><DatiRiepilogo><AliquotaIVA>22.00</AliquotaIVA>
<ImponibileImporto>1000.00</ImponibileImporto><Imposta>220.00</Imposta></DatiRiepilogo></DatiBeniServizi></FatturaElettronicaBody></p:FatturaElettronica>"#
    )
}

/// The path of the first invoice in a list.
fn first_in(page: &Page) -> Option<String> {
    let text = page.text();
    let rest = text.split("<a href=\"/fatture/0").nth(1)?;
    Some(format!("/fatture/0{}", rest.split('"').next()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_seen_on_both_portals_and_by_its_owner_only() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let adige = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let brenta = town.customer(&mut admin, BRENTA, "Cantine Brenta").await;
    let mut maria = town.person(&mut admin, &adige, ADIGE, "maria", "operator").await;
    let mut bruno = town.person(&mut admin, &brenta, BRENTA, "bruno", "owner").await;
    // A space begins with its papers.
    let page = bruno.submit("/dati", "/dati", &[("name", "Cantine Brenta")]).await;
    assert_eq!(page.status, 303, "{}", page.text());

    // Brenta's own page sends one to Adige: judged, and in its list.
    let sent = invoice(BRENTA, ADIGE, "7");
    bruno.get("/invia").await;
    let broken = sent.replace("<ImponibileImporto>1000.00", "<ImponibileImporto>1.00");
    let page = bruno.upload("/invia", "IT12345678903_00007.xml", broken.as_bytes()).await;
    assert_eq!(page.status, 422, "what the SdI would reject is not sent");
    assert!(page.text().contains("la scarterebbe"), "{}", page.text());
    let foreign = invoice(ADIGE, BRENTA, "8");
    let page = bruno.upload("/invia", "IT02038490237_00008.xml", foreign.as_bytes()).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("altra azienda"), "{}", page.text());
    let page = bruno.upload("/invia", "IT12345678903_00007.xml", sent.as_bytes()).await;
    assert_eq!(page.status, 303, "{}", page.text());
    let at = page.location.clone();
    let shown = bruno.get(&at).await.text();
    assert!(shown.contains("1.220,00") && shown.contains("in coda"), "{shown}");
    assert_eq!(bruno.get(&format!("{at}/originale")).await.bytes, sent.as_bytes());
    let view = bruno.get(&format!("{at}/vista")).await;
    let policy = view.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(view.text().contains("Merce") && policy.contains("sandbox"));
    assert!(bruno.get(&format!("{at}/pdf")).await.bytes.starts_with(b"%PDF"));
    let list = bruno.get("/fatture/inviate?cerca=7&dal=2026-11-01&al=2026-11-30&stato=coda").await;
    assert_eq!(first_in(&list), Some(at.clone()));
    assert_eq!(first_in(&bruno.get("/fatture/inviate?cerca=nessuna").await), None);
    assert_eq!(first_in(&bruno.get("/fatture/ricevute").await), None);

    // Somebody else's is like none.
    let theirs = maria.get(&at).await;
    let none = maria.get("/fatture/03000000000000000000000000000000").await;
    assert_eq!((theirs.status, none.status), (404, 404));
    assert_eq!(theirs.text(), none.text());

    // Adige's comes from the SdI, once Adige has a space.
    let page = admin_papers(&mut town, &mut admin, &adige).await;
    assert_eq!(page.status, 303);
    let folder = town.a.config.sdi.join(ADIGE);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("IT12345678903_00007.xml"), &sent).unwrap();
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("it is in the list on A", || async {
        first_in(&shared.lock().await.get("/fatture/ricevute").await).is_some()
    })
    .await;
    maria.turn_to(town.b.pages);
    super::people::log_in_soon(&mut maria, "maria", PASSWORD).await;
    let shared = tokio::sync::Mutex::new(&mut maria);
    until("and on B", || async {
        first_in(&shared.lock().await.get("/fatture/ricevute").await).is_some()
    })
    .await;
}

/// An owner of Adige writes its data: the space begins.
async fn admin_papers(town: &mut Town, admin: &mut Browser, stem: &std::path::Path) -> Page {
    let mut owner = town.person(admin, stem, ADIGE, "titolare", "owner").await;
    owner.submit("/dati", "/dati", &[("name", "Officine Adige")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_wants_certificate_user_and_password_at_every_request() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let adige = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let brenta = town.customer(&mut admin, BRENTA, "Cantine Brenta").await;
    let _ = town.person(&mut admin, &adige, ADIGE, "maria", "operator").await;
    let authority = town.authority();
    let asked = |stem: Option<&std::path::Path>, user: &str, password: &str| {
        let mut browser = Browser::new(town.a.pages, &authority, stem);
        browser.basic = Some((user.to_owned(), password.to_owned()));
        browser
    };
    let list = "/api/v1/invoices";
    let mut right = asked(Some(&adige), "maria", PASSWORD);
    let page = right.get(list).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("\"invoices\":[]"), "{}", page.text());
    // Every path that the API describes refuses every stranger.
    let described = right.get("/api/v1/openapi.json").await;
    let described: serde_json::Value = serde_json::from_slice(&described.bytes).unwrap();
    let paths: Vec<String> = described["paths"].as_object().unwrap().keys().cloned().collect();
    assert!(paths.len() > 8, "{paths:?}");
    let mut strangers = [
        ("no certificate", asked(None, "maria", PASSWORD), 403),
        ("other tenant", asked(Some(&brenta), "maria", PASSWORD), 401),
        ("wrong password", asked(Some(&adige), "maria", "cavallo"), 401),
    ];
    for path in &paths {
        let path = path.replace("{id}", "00").replace("{sha256}", "00");
        for (who, browser, status) in &mut strangers {
            let page = browser.get(&path).await;
            let slowed = *who != "no certificate" && page.status == 429;
            assert!(page.status == *status || slowed, "{path} as {who}: {}", page.status);
        }
    }
    // A certificate that ends is refused at the next request, though the password was remembered.
    let home = format!("/ufficio/clienti/{ADIGE}");
    let text = admin.get(&home).await.text();
    let pin = text.split("name=\"pin\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    admin.post(&format!("{home}/revoca"), &[("pin", pin)]).await;
    assert_eq!(right.get(list).await.status, 403);
}
