//! Every route in the table, tried as every stranger. A route that is added is tried by itself.

use engine::document::account::AccountRole;
use portal_node::door::routes::{Body, Handler, ROUTES, Route};

use super::{
    browser::{Browser, Page},
    people::{ADIGE, BRENTA},
    town::{Town, vat},
};

/// A route with something in its parts.
fn path(route: &Route) -> String {
    let parts = [("{vat}", ADIGE), ("{token}", "0000"), ("{id}", "00"), ("{sha}", "00")];
    let path =
        parts.iter().fold(route.path.to_owned(), |path, (part, text)| path.replace(part, text));
    assert!(!path.contains('{'), "say in this test what stands for the part in {}", route.path);
    path
}

async fn ask(browser: &mut Browser, route: &Route) -> Page {
    let path = path(route);
    match (route.method.as_str(), route.body) {
        ("POST", Body::Files) => browser.upload(&path, "a.xml", b"<x/>").await,
        ("POST", _) => browser.post(&path, &[]).await,
        _ => browser.get(&path).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_every_stranger() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let adige = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let brenta = town.customer(&mut admin, BRENTA, "Cantine Brenta").await;
    let mut owner = town.person(&mut admin, &adige, ADIGE, "owner", "owner").await;
    let mut reader = town.person(&mut admin, &adige, ADIGE, "reader", "reader").await;
    let authority = town.authority();
    let unknown = town.issue(vat(ADIGE), "unknown");

    let mut no_certificate = Browser::new(town.a.pages, &authority, None);
    let mut unknown = Browser::new(town.a.pages, &authority, Some(&unknown));
    // The stolen cookie of somebody who is logged in, and the certificate of another customer.
    let mut other_tenant = Browser::new(town.a.pages, &authority, Some(&brenta));
    other_tenant.cookies = owner.cookies.clone();
    other_tenant.token = owner.token.clone();
    // The right certificate, and a password that is not the owner's.
    let mut wrong_password = Browser::new(town.a.pages, &authority, Some(&adige));
    let page = wrong_password.log_in("owner", "cavallo batteria cavallo").await;
    assert_eq!(page.status, 401);
    assert!(page.text().contains("Intermediario Prova S.r.l.</p>"), "{}", page.text());
    assert!(wrong_password.cookies.is_empty());

    for route in ROUTES {
        let name = format!("{} {}", route.method, route.path);
        for (who, browser) in [("no certificate", &mut no_certificate), ("unknown", &mut unknown)] {
            let page = ask(browser, route).await;
            assert_eq!(page.status, 403, "{name} as {who}");
        }
        if matches!(route.handler, Handler::Visitor(_)) {
            continue;
        }
        for (who, browser) in
            [("other tenant", &mut other_tenant), ("wrong password", &mut wrong_password)]
        {
            let page = ask(browser, route).await;
            assert!(page.is_refusal(), "{name} as {who}: {} {}", page.status, page.text());
        }
        // Somebody who is logged in, and has not the role.
        match route.handler {
            Handler::Officer(_) => {
                let page = ask(&mut owner, route).await;
                assert_eq!(page.status, 404, "{name} as a customer's owner");
            }
            Handler::Caller(needed, _) => {
                let page = ask(&mut admin, route).await;
                assert_eq!(page.status, 404, "{name} as the office");
                if needed > AccountRole::Reader {
                    let page = ask(&mut reader, route).await;
                    assert_eq!(page.status, 404, "{name} as a reader");
                }
            }
            Handler::Anyone(_) | Handler::Visitor(_) => {}
        }
        // A form that this portal did not give.
        if route.method == "POST" {
            let browser =
                if matches!(route.handler, Handler::Officer(_)) { &mut admin } else { &mut owner };
            let token = std::mem::replace(&mut browser.token, "0".repeat(64));
            let page = ask(browser, route).await;
            assert_eq!(page.status, 403, "{name} with a forged token");
            browser.token = token;
        }
    }

    // A certificate that ended: the same connection, from the next request on.
    assert_eq!(owner.get("/").await.status, 200);
    let home = format!("/ufficio/clienti/{ADIGE}");
    let page = admin.get(&home).await;
    let text = page.text();
    let pin = text.split("name=\"pin\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let page = admin.post(&format!("{home}/revoca"), &[("pin", pin)]).await;
    assert_eq!(page.status, 303, "{}", page.text());
    for route in ROUTES {
        let page = ask(&mut owner, route).await;
        assert_eq!(page.status, 403, "{} {} as revoked", route.method, route.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_yours_and_not_there_are_one_answer() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let adige = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let mut owner = town.person(&mut admin, &adige, ADIGE, "owner", "owner").await;
    let not_mine = owner.get(&format!("/ufficio/clienti/{ADIGE}")).await;
    let nowhere = owner.get("/niente/di/niente").await;
    assert_eq!((not_mine.status, nowhere.status), (404, 404));
    assert_eq!(not_mine.text(), nowhere.text());
    let nobody = admin.get("/ufficio/clienti/09900000580").await;
    assert_eq!((nobody.status, nobody.text()), (404, nowhere.text()));

    // No user can be told from nobody.
    let mut guess = Browser::new(town.a.pages, &town.authority(), Some(&adige));
    let known = guess.log_in("owner", "cavallo batteria cavallo").await;
    let unknown = guess.log_in("owner2", "cavallo batteria cavallo").await;
    assert_eq!(known.status, unknown.status);
    assert_eq!(known.text().replace("owner", ""), unknown.text().replace("owner2", ""));

    for (name, value) in [
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age"),
        ("cache-control", "no-store"),
    ] {
        let found = known.headers.get(name).map_or("", |v| v.to_str().unwrap());
        assert!(found.contains(value), "{name}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_others_are_not() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let adige = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let mut owner = town.person(&mut admin, &adige, ADIGE, "owner", "owner").await;
    let mut guess = Browser::new(town.a.pages, &town.authority(), Some(&adige));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(guess.log_in("owner", "cavallo batteria cavallo").await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
    // Not even the right password while it lasts, and whoever is in stays in.
    assert_eq!(guess.log_in("owner", super::people::PASSWORD).await.status, 429);
    assert_eq!(owner.get("/").await.status, 200);
}
