//! The API on the portal's door against its own description, by an independent tool: schemathesis
//! with a customer's certificate, user and password. EXAMPLES says how many of each operation.

use std::{env, process::Command};

use super::{
    browser::Browser,
    invoices::invoice,
    people::{ADIGE, BRENTA, PASSWORD},
    tools::python,
    town::Town,
};

/// A body that is too long is refused for that, whatever else is wrong with it.
const SETTINGS: &str = "[checks.negative_data_rejection]\n\
    expected-statuses = [400, 401, 403, 404, 405, 413, 422]\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_what_it_says_it_is() {
    let mut town = Town::found().await;
    let mut admin = town.admin().await;
    let stem = town.customer(&mut admin, ADIGE, "Officine Adige").await;
    let mut maria = town.person(&mut admin, &stem, ADIGE, "maria", "owner").await;
    // A space begins with its papers.
    let page = maria.submit("/dati", "/dati", &[("name", "Officine Adige")]).await;
    assert_eq!(page.status, 303, "{}", page.text());
    let mut program = Browser::new(town.a.pages, &town.authority(), Some(&stem));
    program.basic = Some(("maria".to_owned(), PASSWORD.to_owned()));
    let sent = invoice(ADIGE, BRENTA, "1");
    let taken = program.send_body("/api/v1/invoices", "application/xml", sent.as_bytes()).await;
    assert_eq!(taken.status, 202, "{}", taken.text());

    let root = town.root.path();
    std::fs::write(root.join("schemathesis.toml"), SETTINGS).unwrap();
    let (at, user) =
        (format!("https://localhost:{}", town.a.pages.port()), format!("maria:{PASSWORD}"));
    let mut command = Command::new(python("schemathesis"));
    command.current_dir(root).args(["run", &format!("{at}/api/v1/openapi.json"), "--auth", &user]);
    command.arg("--tls-verify").arg(root.join("authority/ca.cert"));
    command.arg("--request-cert").arg(stem.with_extension("cert"));
    command.arg("--request-cert-key").arg(stem.with_extension("key"));
    // The stream has no end. A file that is no invoice fits the description of a body, and so is
    // refused as only the judge can tell. Guessing passwords makes an address wait.
    command.args(["--exclude-path", "/api/v1/changes/stream"]);
    command.args(["--exclude-checks", "positive_data_acceptance,ignored_auth"]);
    command.args(["--max-examples", &env::var("EXAMPLES").unwrap_or_else(|_| "5".to_owned())]);
    command.args(["--seed", "1", "--no-color", "--request-timeout", "70", "--warnings", "off"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}
