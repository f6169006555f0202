//! Two portals that do not hear each other, and an owner who has shut JavaScript off: what was
//! written on each is shown with both values when they meet, one is picked, and the rest of the way
//! to the first invoice needs no script either.

use std::fs;

use crate::{
    chrome::Chrome,
    customer::{accept, code, invited, log_in_at, pictures, write_address},
    town::{Town, VAT, received, sent, until},
};

fn write_pec(maria: &mut Chrome, url: &str, pec: &str) {
    maria.open(&format!("{url}/dati"));
    maria.write("#pec", pec);
    maria.click("form[action='/dati'] > button");
    assert!(maria.text(".notice.good").contains("Salvato"));
}

/// The PEC on a page, and the values to choose from.
fn pec_on(maria: &mut Chrome, url: &str) -> (String, Vec<String>) {
    maria.open(&format!("{url}/dati"));
    let pec = maria.look("document.querySelector('#pec').value");
    let choice =
        maria.look("[...document.querySelectorAll('[name=scelta_pec]')].map(b => b.value)");
    let mut choice: Vec<_> =
        choice.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    choice.sort();
    (pec.as_str().unwrap().to_owned(), choice)
}

#[test]
fn what_was_written_apart_is_shown_and_picked_and_nothing_on_the_way_needs_a_script() {
    let mut town = Town::new();
    let mut portals = town.portals_with_doors();
    let (url_a, url_b) = (town.door(1), town.door(2));
    let (mut ada, issued, link) = invited(&mut town, &portals, &pictures());
    let mut maria = town.browser("maria", &issued, &pictures());
    maria.runs_script(false);
    maria.open("data:text/html,<noscript><p>without</p></noscript>");
    assert_eq!(maria.text("p"), "without");
    accept(&mut maria, &link, "maria");

    // Wrong data are told by the server, once they are sent.
    maria.open(&format!("{url_a}/dati"));
    maria.write("#pec", "adige");
    write_address(&mut maria);
    maria.click("form[action='/dati'] > button");
    assert_eq!(maria.text("#su-pec"), "si scrive nome@dominio.it");
    write_pec(&mut maria, &url_a, "adige@pec.example.it");
    until("B holds what was written on A", || {
        portals.b.tenant()["portals"][0]["pending_down"] == 0
    });

    // Written on A while B is away, and on B while A is: neither knows of the other.
    portals.b.kill();
    write_pec(&mut maria, &url_a, "uno@pec.example.it");
    portals.a.kill();
    portals.b.start();
    log_in_at(&mut maria, &url_b, "maria");
    assert_eq!(pec_on(&mut maria, &url_b), ("adige@pec.example.it".to_owned(), vec![]));
    write_pec(&mut maria, &url_b, "due@pec.example.it");
    portals.a.start();
    log_in_at(&mut maria, &url_a, "maria");
    let both = ["due@pec.example.it".to_owned(), "uno@pec.example.it".to_owned()];
    for url in [&url_a, &url_b] {
        until("both values are shown", || pec_on(&mut maria, url).1 == both);
    }
    // For the picture of it only.
    maria.runs_script(true);
    maria.accessible();
    maria.picture("13-conflitto.png");
    maria.runs_script(false);
    maria.click("[name=scelta_pec][value='uno@pec.example.it']");
    for url in [&url_b, &url_a] {
        until("the one that was picked stands", || {
            pec_on(&mut maria, url) == ("uno@pec.example.it".to_owned(), vec![])
        });
    }

    // The rest of the way.
    maria.click("form[action='/dati/conferma'] button");
    maria.open(&format!("{url_a}/contratto"));
    maria.tick("#accetto");
    maria.click("form[action='/condizioni'] button");
    maria.click("form[action='/contratto/prepara'] button");
    maria.click("form[action='/contratto/codice'] button");
    maria.write("#codice", &code(&portals.a.dir.join("pec")));
    maria.click("form[action='/contratto/codice/conferma'] button");
    assert!(maria.text("main").contains("Scarica il contratto firmato"));
    log_in_at(&mut ada, &url_a, "ada");
    ada.open(&format!("{url_a}/ufficio/clienti/{VAT}"));
    ada.click("button[value=ammetti]");
    until("she is told", || {
        maria.open(&format!("{url_a}/"));
        maria.text(".lead .badge") == "Abilitato"
    });
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("IT12345678903_00001.xml"), received("2026-1")).unwrap();
    until("the invoice is in the list when the page is loaded again", || {
        maria.open(&format!("{url_a}/fatture/ricevute"));
        assert!(maria.text("main").contains("Senza JavaScript la lista non si aggiorna da sola"));
        maria.text(".list").contains("2026-1")
    });
    maria.click("tbody a");
    assert!(maria.text("main").contains("Consegnata dall'SdI"));
    let file = town.path("IT02038490237_00001.xml");
    fs::write(&file, sent("2026-2")).unwrap();
    maria.open(&format!("{url_a}/invia"));
    maria.choose("#file", &file);
    maria.click("main form button");
    assert!(maria.title().contains("2026-2"), "{}", maria.text("main"));
}
