//! The client for Rust against a node in TLS, known by its pin.

use std::sync::Arc;

use engine::store::memory::MemoryStore;
use node::client::{Client, ClientError, Credentials};
use serde_json::json;

use super::office::{Office, identity, sample};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_submits_follows_and_marks_over_a_pinned_connection() {
    let lan = identity();
    let office = Office::over(Arc::new(MemoryStore::new()), Some(&lan)).await;
    let base = format!("https://{}", office.served.address());
    let token = || Credentials::Token("st_abc".to_owned());
    let erp = Client::new(&base, token()).unwrap().pinned(lan.peer(), None).unwrap();

    let start = erp.changes(Some("latest"), 0).await.unwrap();
    let file = sample("2026/7");
    let taken = erp.submit("IT02038490237_7.xml", file.clone(), Some("k7")).await.unwrap();
    let page = erp.changes(Some(&start.next), 30).await.unwrap();
    assert_eq!(page.changes[0].id.as_ref(), Some(&taken.id));
    assert_eq!(erp.list("text=2026/7").await.unwrap().invoices[0].id, taken.id);
    assert_eq!(erp.original(&taken.id).await.unwrap(), file);
    let marked = erp.annotate(&taken.id, &json!({ "notes": "ok" })).await.unwrap();
    assert_eq!(marked.summary.annotation.notes, "ok");
    assert_eq!(erp.read(&taken.id).await.unwrap(), marked);
    assert_eq!(erp.sync_now().await.unwrap().queued, erp.sync_status().await.unwrap().queued);

    let refused = erp.submit("x.xml", b"<html/>".to_vec(), None).await.unwrap_err();
    let ClientError::Problem { status: 422, problem } = refused else { panic!("{refused}") };
    assert_eq!(problem["type"], "urn:staffetta:problem:not-an-invoice");
    let stranger = Client::new(&base, token()).unwrap();
    let stranger = stranger.pinned(identity().peer(), None).unwrap();
    assert!(matches!(stranger.sync_status().await, Err(ClientError::Http(_))), "another key");
    let shown = format!("{:?}", token());
    assert!(!shown.contains("abc"), "{shown}");
}
