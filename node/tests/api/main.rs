//! The ERP's API over real sockets: what it shows, what it takes, and whom it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod changes;
mod client;
mod hooks;
mod month;
mod office;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use engine::id::VatNumber;
use node::{config::Form, spool::Spool};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use office::{ALTRI, ANNA, OURS, Office, THEIRS, UGO, sample};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_is_submitted_judged_listed_read_and_marked() {
    let office = Arc::new(Office::open().await);
    let bytes = sample("2026/1");
    let post = "/api/v1/invoices?name=IT02038490237_00001.xml";
    let taken = office.ask("POST", post, &[ANNA, "Idempotency-Key: a1"], &bytes).await.is(202);
    let submitted = taken.json();
    let id = submitted["id"].as_str().unwrap().to_owned();
    assert!(taken.head.contains(&format!("location: /api/v1/invoices/{id}")), "{}", taken.head);
    assert_eq!(submitted["known"], false);
    assert!(submitted["findings"].is_array() && submitted["would_be_accepted"].is_boolean());

    // The same again is the same; another file under the same key is a mistake.
    let again =
        office.ask("POST", post, &[ANNA, "Idempotency-Key: a1"], &bytes).await.is(202).json();
    assert_eq!((&again["id"], &again["known"]), (&submitted["id"], &json!(true)));
    let other = office.ask("POST", post, &[ANNA, "Idempotency-Key: a1"], &sample("2026/2")).await;
    other.problem(422, "idempotency-key");

    let page = office.get("/api/v1/invoices?text=2026/1&direction=sent").await.is(200).json();
    assert_eq!(page["invoices"].as_array().unwrap().len(), 1);
    assert_eq!(page["next"], Value::Null);
    let row = &page["invoices"][0];
    assert_eq!(row["id"], submitted["id"]);
    assert_eq!((&row["number"], &row["state"]), (&json!("2026/1"), &json!("queued")));
    assert_eq!(row["supplier"]["vat"], "IT02038490237");

    let one = office.get(&format!("/api/v1/invoices/{id}")).await.is(200).json();
    assert_eq!((&one["id"], &one["held_by"]), (&submitted["id"], &json!([])));
    assert_eq!(one["as_of"], Value::Null, "no portal was ever met");
    let original = office.get(&format!("/api/v1/invoices/{id}/original")).await.is(200);
    assert_eq!(original.body, bytes);
    assert!(original.head.contains("content-type: application/xml"), "{}", original.head);
    assert!(original.head.contains("filename=\"it02038490237_00001.xml\""), "{}", original.head);
    let html = office.get(&format!("/api/v1/invoices/{id}/html")).await.is(200);
    assert!(html.body.starts_with(b"<!DOCTYPE html>") && html.head.contains("sandbox"));
    let pdf = office.get(&format!("/api/v1/invoices/{id}/pdf")).await.is(200);
    assert!(pdf.body.starts_with(b"%PDF-"));
    let content = office.get(&format!("/api/v1/invoices/{id}/content")).await.is(200).json();
    assert_eq!(content["bodies"][0]["number"], "2026/1");
    assert!(content["bodies"][0]["lines"].as_array().is_some_and(|lines| !lines.is_empty()));

    let mark = format!("/api/v1/invoices/{id}/annotation");
    let marks = json!({ "registered_at": "2026-11-24", "notes": "al commercialista" }).to_string();
    let marked = office.ask("PATCH", &mark, &[ANNA], marks.as_bytes()).await.is(200).json();
    assert_eq!(marked["annotation"]["registered_at"], "2026-11-24T00:00:00.000Z");
    assert_eq!(marked["annotation"]["notes"], "al commercialista");
    let back =
        office.ask("PATCH", &mark, &[ANNA], br#"{"registered_at":null}"#).await.is(200).json();
    assert_eq!(back["annotation"]["registered_at"], Value::Null);
    assert_eq!(back["annotation"]["notes"], "al commercialista", "what is absent stays");
    // Many at once, and none is lost or unreadable.
    let mut marks = JoinSet::new();
    for n in 0..8 {
        let (office, mark) = (Arc::clone(&office), mark.clone());
        marks.spawn(async move {
            let body = json!({ "notes": n.to_string(), "paid_at": "2026-11-30" }).to_string();
            office.ask("PATCH", &mark, &[ANNA], body.as_bytes()).await.is(200);
        });
    }
    marks.join_all().await;
    let page = office.get("/api/v1/invoices?paid=true&registered=false").await.is(200).json();
    assert_eq!(page["invoices"][0]["annotation"]["conflicts"], json!([]));

    let sync = office.get("/api/v1/sync").await.is(200).json();
    assert_eq!((&sync["vat"], &sync["mirror_behind"]), (&json!("02038490237"), &json!(0)));
    office.ask("POST", "/api/v1/sync", &[ANNA], b"").await.is(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_each_other_without_a_gap_or_a_repeat() {
    let office = Office::open().await;
    let mut all = BTreeSet::new();
    for n in 0..7 {
        all.insert(office.receive(&n.to_string()).await);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = office.get(&format!("/api/v1/invoices?limit=3{cursor}")).await.is(200).json();
        seen.extend(page["invoices"].as_array().unwrap().iter().map(|row| {
            assert_eq!(row["received_at"], "2025-11-24T16:00:00.000Z");
            row["id"].as_str().unwrap().to_owned()
        }));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_let_in_learns_nothing() {
    let office = Office::open().await;
    let id = office.receive("1").await;
    let path = format!("/api/v1/invoices/{id}");
    let wrong = "Authorization: Basic YW5uYTpzYmFnbGlhdGE=";
    for headers in [&[][..], &[wrong], &["Authorization: Bearer x"], &["Authorization: Digest y"]] {
        let answer = office.ask("GET", &path, headers, b"").await;
        assert!(answer.head.contains("www-authenticate: basic"), "{}", answer.head);
        answer.problem(401, "unauthorised");
    }
    office.ask("GET", &path, &["Authorization: Bearer st_abc"], b"").await.is(200);
    // What is another tenant's is answered like what does not exist.
    let theirs = office.ask("GET", &path, &[ALTRI], b"").await.problem(404, "not-found");
    let nothing = office.get(&format!("/api/v1/invoices/03{}", "0".repeat(30))).await;
    assert_eq!(theirs, nothing.problem(404, "not-found"));
    for id in ["x", "..", "%2e%2e%2fetc", &id.to_uppercase().replacen("03", "04", 1)] {
        office.get(&format!("/api/v1/invoices/{id}/original")).await.problem(404, "not-found");
    }
    // Reading is not writing.
    office.ask("GET", &path, &[UGO], b"").await.is(200);
    office.ask("POST", "/api/v1/invoices", &[UGO], &sample("9")).await.problem(403, "read-only");
    let mark = format!("{path}/annotation");
    office.ask("PATCH", &mark, &[UGO], b"{}").await.problem(403, "read-only");
    office.ask("POST", "/api/v1/sync", &[UGO], b"").await.problem(403, "read-only");
    // Guessing has to wait, and so does the right password from the same address.
    for _ in 0..10 {
        office.ask("GET", &path, &[wrong], b"").await;
    }
    let late = office.get(&path).await;
    assert!(late.head.contains("retry-after"), "{}", late.head);
    late.problem(429, "too-many-attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_in_italian_or_in_english() {
    let office = Office::open().await;
    for (path, kind) in [
        ("/api/v1/invoices?limit=0", "parameter"),
        ("/api/v1/invoices?limit=501", "parameter"),
        ("/api/v1/invoices?from=ieri", "parameter"),
        ("/api/v1/invoices?cursor=!!", "parameter"),
        ("/api/v1/invoices?colour=red", "body"),
        ("/api/v1/invoices?state=lost", "body"),
        ("/api/v1/changes?since=abc", "parameter"),
        ("/api/v1/changes?wait=61", "parameter"),
    ] {
        office.get(path).await.problem(400, kind);
    }
    office.get("/api/v2/invoices").await.problem(404, "not-found");
    office.ask("DELETE", "/api/v1/invoices", &[ANNA], b"").await.problem(405, "method");
    let post = |body: &'static [u8], language: &'static str| {
        let office = &office;
        async move { office.ask("POST", "/api/v1/invoices", &[ANNA, language], body).await }
    };
    let it = post(b"hello", "Accept-Language: it").await.problem(422, "not-an-invoice");
    let en = post(b"hello", "Accept-Language: en").await.problem(422, "not-an-invoice");
    assert!(it["detail"].as_str().unwrap().contains("né XML"), "{it}");
    assert!(en["detail"].as_str().unwrap().contains("neither XML"), "{en}");
    let theirs = String::from_utf8(sample("3")).unwrap().replace(OURS, THEIRS);
    let refused = office.ask("POST", "/api/v1/invoices", &[ANNA], theirs.as_bytes()).await;
    let refused = refused.problem(422, "other-tenant");
    assert!(refused["findings"].is_array(), "{refused}");
    let long = vec![b' '; node::api::BODY_BYTES_MAX + 1];
    office.ask("POST", "/api/v1/invoices", &[ANNA], &long).await.problem(413, "too-large");
    // With `strict`, what the SdI would reject is not taken, and the findings say why.
    let mut bad = String::from_utf8(sample("5")).unwrap();
    let at = bad.find("<Aliquota").unwrap();
    let value = at + bad[at..].find('>').unwrap() + 1;
    bad.replace_range(value..value + bad[value..].find('<').unwrap(), "0.00");
    let strict = "/api/v1/invoices?strict=true";
    let refused = office.ask("POST", strict, &[ANNA], bad.as_bytes()).await;
    let refused = refused.problem(422, "would-be-rejected");
    assert!(!refused["codes"].as_array().unwrap().is_empty(), "{refused}");
    let taken =
        office.ask("POST", "/api/v1/invoices", &[ANNA], bad.as_bytes()).await.is(202).json();
    assert_eq!(taken["would_be_accepted"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_says_what_the_router_does() {
    let office = Office::open().await;
    let answer = office.ask("GET", "/api/v1/openapi.json", &[], b"").await.is(200);
    let openapi = answer.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"), "{}", openapi["openapi"]);
    let id = office.receive("1").await;
    let mut operations = BTreeSet::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        let here = path.replace("{id}", &id).replace("{sha256}", &"0".repeat(64));
        for method in ["get", "put", "post", "delete", "patch"] {
            let described = &item[method];
            let body: &[u8] = if method == "patch" { b"{}" } else { b"" };
            if here.ends_with("/stream") && method == "get" {
                // An answer without an end; `changes` reads it.
                assert!(described.is_object());
                continue;
            }
            let answer = office.ask(&method.to_uppercase(), &here, &[ANNA], body).await;
            if described.is_null() {
                answer.problem(405, "method");
                continue;
            }
            assert!(operations.insert(described["operationId"].as_str().unwrap().to_owned()));
            let statuses = described["responses"].as_object().unwrap();
            let status = answer.status.to_string();
            assert!(statuses.contains_key(&status), "{method} {here} answers {status}");
            let content = statuses[&status]["content"].as_object();
            if let Some(content) = content {
                let said = answer.head.lines().find_map(|l| l.strip_prefix("content-type: "));
                let said = said.unwrap_or_default();
                assert!(content.keys().any(|known| known == said), "{method} {here}: {said}");
            }
            // And nobody gets in without a name.
            let refused = office.ask(&method.to_uppercase(), &here, &[], body).await;
            refused.problem(401, "unauthorised");
        }
    }
    assert_eq!(operations.len(), 12, "{operations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_received_file_appears_with_its_pages_beside_it() {
    let office = Office::open().await;
    let dir = tempfile::tempdir().unwrap();
    let tenant = VatNumber::parse(OURS).unwrap();
    let (cursor, store) = (dir.path().join("cursor"), Arc::clone(office.space.store()));
    let spool = Spool::open(tenant, dir.path(), cursor, office.host.clone(), store).unwrap();
    tokio::spawn(spool.readable(&[Form::Html, Form::Pdf]).run());
    office.receive("1").await;
    let there = |name: &str| dir.path().join("in/IT12345678903_A.xml".to_owned() + name);
    for _ in 0..600 {
        if there(".pdf").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read(there("")).unwrap(), sample("1"));
    assert!(std::fs::read(there(".html")).unwrap().starts_with(b"<!DOCTYPE html>"));
    assert!(std::fs::read(there(".pdf")).unwrap().starts_with(b"%PDF-"));
}
