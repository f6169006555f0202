//! How soon a decision is felt by who is connected already: on both portals, on connections that
//! stay open, by programs whose password was compared a moment ago, and by who follows changes.

use std::path::Path;

use tokio::{sync::Mutex, task::JoinHandle};

use super::{
    browser::Browser,
    people::{ADIGE, PASSWORD, log_in_soon},
    replication::SOON,
    town::{House, Town, within},
};

const LIST: &str = "/api/v1/invoices";

/// Everybody who is connected to one portal with one certificate as one user.
struct Crowd {
    person: Browser,
    program: Browser,
    /// Ends when its stream does.
    follower: JoinHandle<u16>,
}

impl Crowd {
    async fn gather(town: &Town, house: &House, stem: &Path) -> Self {
        let guest = || Browser::new(house.pages, &town.authority(), Some(stem));
        let (mut person, mut program, mut follower) = (guest(), guest(), guest());
        log_in_soon(&mut person, "maria", PASSWORD).await;
        assert_eq!(person.get("/").await.status, 200);
        program.basic = Some(("maria".to_owned(), PASSWORD.to_owned()));
        assert_eq!(program.get(LIST).await.status, 200);
        follower.cookies = person.cookies.clone();
        let follower = tokio::spawn(async move { follower.get("/fatture/eventi").await.status });
        Self { person, program, follower }
    }

    /// Whether nobody of it is let in any more: the person, the program, the follower.
    async fn is_out(&mut self) -> [bool; 3] {
        let person = self.person.get("/").await.is_refusal();
        // A program that goes on with a password that is wrong now is soon told to wait.
        let program = matches!(self.program.get(LIST).await.status, 401 | 403 | 429);
        [person, program, self.follower.is_finished()]
    }

    /// Nobody had to come again to be told.
    fn is_the_same(&self) -> bool {
        self.person.connections == 1 && self.program.connections == 1
    }
}

async fn all_out_soon(crowds: [Crowd; 2]) {
    let shared = Mutex::new(crowds);
    within(SOON, "nobody is let in on either portal", || async {
        let crowds = &mut *shared.lock().await;
        let mut out = true;
        for crowd in crowds {
            out &= crowd.is_out().await == [true; 3];
        }
        out
    })
    .await;
    let crowds = shared.into_inner();
    assert!(crowds.iter().all(Crowd::is_the_same), "told on the connections there were");
}

async fn customer(town: &mut Town) -> (Browser, std::path::PathBuf, [Crowd; 2]) {
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let _ = town.person(&mut admin, &stem, ADIGE, "maria", "owner").await;
    let crowds =
        [Crowd::gather(town, &town.a, &stem).await, Crowd::gather(town, &town.b, &stem).await];
    (admin, stem, crowds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_out_on_both_portals_within_five_seconds() {
    let mut town = Town::found().await;
    let (mut admin, _, crowds) = customer(&mut town).await;
    let home = format!("/ufficio/clienti/{ADIGE}");
    let text = admin.get(&home).await.text();
    let pin = text.split("name=\"pin\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let page = admin.post(&format!("{home}/revoca"), &[("pin", pin)]).await;
    assert_eq!(page.status, 303, "{}", page.text());
    all_out_soon(crowds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_what_the_old_one_opened_on_both_portals_within_five_seconds() {
    let mut town = Town::found().await;
    let (_, stem, crowds) = customer(&mut town).await;
    let mut maria = Browser::new(town.a.pages, &town.authority(), Some(&stem));
    assert_eq!(maria.log_in("maria", PASSWORD).await.location, "/");
    let new = "quattro parole tutte nuove";
    let fields = [("attuale", PASSWORD), ("password", new), ("ripetuta", new)];
    let page = maria.submit("/account", "/account/password", &fields).await;
    assert_eq!(page.location, "/account?fatto=password", "{}", page.text());
    all_out_soon(crowds).await;
    assert_eq!(maria.get("/").await.status, 200, "whoever changed it goes on");
}
