//! Who is admitted, who no longer is, and what a node whose portals do not answer says.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::town::{Town, VAT, received, sent, until, within};

fn routes(tenant: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let routes = tenant["routes"].as_array().unwrap();
    let one = |r: &Value| (text(&r["portal"]), text(&r["state"]), text(&r["last_error"]));
    routes.iter().map(one).collect()
}

/// Both portals have a route whose sentence has these words.
fn both_say(tenant: &Value, words: &str) -> bool {
    ["A", "B"].iter().all(|name| {
        routes(tenant).iter().any(|(portal, _, why)| portal == name && why.contains(words))
    })
}

#[test]
fn a_node_that_is_not_admitted_says_so_waits_and_comes_up_by_itself_until_it_is_revoked() {
    let mut town = Town::new();
    let portals = town.portals();
    let issued = town.issue_node(VAT);
    let mut node = town.node("node", &issued, &portals);
    node.start();
    fs::write(node.spool("out").join("1.xml"), sent("1")).unwrap();

    // Unknown pin.
    let unknown = "refused our certificate";
    until("the node says why", || both_say(&node.tenant(), unknown));
    let text = node.status_text();
    assert!(text.contains("portal A: not connected") && text.contains(unknown), "{text}");
    assert!(text.contains("must be enrolled there"), "{text}");
    assert!(node.log().contains(unknown), "the log says it too: {}", node.log());
    until("the office goes on", || node.names("taken") == ["1.xml"]);
    let said = node.log().matches(unknown).count();
    assert!(said < 20, "it is dialled with patience and not said each time: {said}");

    // Admitted while it waits.
    portals.admit(&node);
    until("it comes up by itself", || node.is_in_sync());
    until("routes that work have no errors", || {
        let open = routes(&node.tenant()).into_iter().filter(|(_, state, _)| state == "open");
        open.filter(|(_, _, why)| why.is_empty()).count() >= 2
    });
    assert!(node.tenant()["portals"][0]["last_sync"].is_u64());
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("r1.xml"), received("r1")).unwrap();
    until("it is served", || node.names("in") == ["r1.xml"]);

    // Revoked at A while it is connected to both.
    let (code, text) = portals.a.run(&["revoke"], &[VAT, &portals.b.pin]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("nothing to revoke"), "a portal's own pin is no node's: {text}");
    assert_eq!(portals.a.run(&["revoke"], &[VAT, "xyz"]).0, 4);
    assert_eq!(portals.a.run(&["revoke"], &[VAT, &node.pin]), (0, String::new()));
    within(Duration::from_secs(5), "both portals cut it off", || {
        let sessions = node.tenant()["sessions"].as_array().unwrap().len();
        sessions == 0
    });
    until("the node says why", || both_say(&node.tenant(), "revoked"));
    let text = node.status_text();
    assert!(text.contains("this certificate was revoked: ask the intermediary"), "{text}");
    assert!(node.log().contains("was revoked"), "{}", node.log());

    // What it writes now reaches nobody; what it had written stays.
    let before = portals.a.tenant()["bundles"].clone();
    fs::write(node.spool("out").join("2.xml"), sent("2")).unwrap();
    until("the office goes on", || node.names("taken").len() == 2);
    fs::write(folder.join("r2.xml"), received("r2")).unwrap();
    until("A takes it", || portals.a.tenant()["bundles"].as_u64() > before.as_u64());
    until("B holds it too", || portals.b.tenant()["bundles"] == portals.a.tenant()["bundles"]);
    assert_eq!(node.names("in"), ["r1.xml"]);
    assert_eq!(node.tenant()["sessions"].as_array().unwrap().len(), 0);
}

#[test]
fn a_portal_that_cannot_be_reached_or_is_another_is_named_and_the_other_serves() {
    let (mut town, mut portals, mut node) = Town::with_node();
    // B's pin in the configuration is that of somebody else.
    let other = crate::town::pin(&town.issue_node(VAT));
    let text = fs::read_to_string(&node.config).unwrap().replace(&portals.b.pin, &other);
    fs::write(&node.config, text).unwrap();
    node.start();
    until("A serves it", || node.tenant()["portals"][0]["connected"] == true);
    until("B is named", || {
        routes(&node.tenant()).iter().any(|(portal, _, why)| {
            portal == "B" && why.contains("the server holds pin") && why.contains(&portals.b.pin)
        })
    });
    assert_eq!(node.tenant()["portals"][1]["connected"], false);

    // And then there is nobody.
    portals.a.kill();
    portals.b.kill();
    until("both are named", || {
        ["A", "B"].iter().all(|name| {
            routes(&node.tenant())
                .iter()
                .any(|(portal, state, why)| portal == name && state != "open" && !why.is_empty())
        })
    });
    fs::write(node.spool("out").join("1.xml"), sent("1")).unwrap();
    until("the office goes on", || node.names("taken") == ["1.xml"]);
    node.stop();
}
