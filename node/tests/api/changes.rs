//! Following what changed: by page, by long poll, as a stream; over restarts and rebuilds.

use std::{sync::Arc, time::Duration};

use engine::{
    id::VatNumber,
    store::{Store, memory::MemoryStore},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::office::{ANNA, OURS, Office, sample};

fn ids(page: &Value) -> Vec<String> {
    let changes = page["changes"].as_array().unwrap();
    changes.iter().map(|change| change["id"].as_str().unwrap().to_owned()).collect()
}

async fn page(office: &Office, since: &str) -> Value {
    office.get(&format!("/api/v1/changes?since={since}&limit=2")).await.is(200).json()
}

/// Everything after `since`, and where to go on.
async fn rest(office: &Office, since: &str) -> (Vec<String>, String) {
    let mut found = Vec::new();
    let mut since = since.to_owned();
    loop {
        let page = page(office, &since).await;
        found.extend(ids(&page));
        since = page["next"].as_str().unwrap().to_owned();
        if page["more"] == false {
            return (found, since);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_misses_nothing_and_repeats_nothing_over_restarts_and_rebuilds() {
    let store = Arc::new(MemoryStore::new());
    let office = Office::over(Arc::clone(&store) as Arc<dyn Store>, None).await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(office.receive(&n.to_string()).await);
    }
    let (seen, cursor) = rest(&office, "").await;
    assert_eq!(seen, sent);
    assert_eq!(rest(&office, &cursor).await, (vec![], cursor.clone()));
    let latest = office.get("/api/v1/changes?since=latest").await.is(200).json();
    assert_eq!(latest["next"], cursor.as_str());

    // A mark makes its invoice appear again, with what it says now, and once however often.
    let mark = format!("/api/v1/invoices/{}/annotation", sent[1]);
    for notes in ["uno", "due"] {
        let body = format!(r#"{{"notes":"{notes}"}}"#);
        office.ask("PATCH", &mark, &[ANNA], body.as_bytes()).await.is(200);
    }
    let after = page(&office, &cursor).await;
    assert_eq!(ids(&after), [sent[1].clone()]);
    assert_eq!(after["changes"][0]["kind"], "annotation");
    assert_eq!(after["changes"][0]["invoice"]["annotation"]["notes"], "due");

    // Built anew, the mirror gives to each cursor what it gave before.
    let (_, end) = rest(&office, &cursor).await;
    let first = page(&office, "").await["next"].as_str().unwrap().to_owned();
    let before = rest(&office, &first).await;
    office.mirror.renew().unwrap();
    sent.push(office.receive("5").await);
    assert_eq!(rest(&office, &end).await.0, [sent[5].clone()]);
    let (again, now) = rest(&office, &first).await;
    assert_eq!(again, [&before.0[..], &sent[5..]].concat());

    // So does the next process, whose mirror begins empty.
    drop(office);
    let office = Office::over(Arc::clone(&store) as Arc<dyn Store>, None).await;
    sent.push(office.receive("6").await);
    assert_eq!(rest(&office, &now).await.0, [sent[6].clone()]);

    // Another archive, though its positions are as far: the reader is told to begin again.
    let other = Office::open().await;
    for n in 10..20 {
        other.receive(&n.to_string()).await;
    }
    let lost = other.get(&format!("/api/v1/changes?since={now}")).await;
    lost.problem(410, "cursor-lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_ends_when_something_changes() {
    let office = Office::open().await;
    let latest = office.get("/api/v1/changes?since=latest").await.is(200).json();
    let since = latest["next"].as_str().unwrap();
    let path = format!("/api/v1/changes?since={since}&wait=50");
    let (page, id) = tokio::join!(office.get(&path), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        office.receive("1").await
    });
    assert_eq!(ids(&page.is(200).json()), [id]);
}

/// Reads events until `count` have come: (event, id, data).
pub async fn events(office: &Office, headers: &str, count: usize) -> Vec<(String, String, Value)> {
    let mut stream = TcpStream::connect(office.served.address()).await.unwrap();
    let head = format!("GET /api/v1/changes/stream HTTP/1.1\r\nHost: x\r\n{ANNA}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let (mut event, mut id, mut found) = (String::new(), String::new(), Vec::new());
    while found.len() < count {
        let line = lines.next_line().await.unwrap().expect("the stream goes on");
        match line.split_once(": ") {
            Some(("event", name)) => event = name.to_owned(),
            Some(("id", name)) => id = name.to_owned(),
            Some(("data", data)) => {
                let data: Value = serde_json::from_str(data).unwrap();
                found.push((event.clone(), id.clone(), data));
            }
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_resumes_after_the_last_event_taken() {
    let office = Office::open().await;
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(office.receive(&n.to_string()).await);
    }
    let taken = events(&office, "", 2).await;
    let invoices = |events: &[(String, String, Value)]| {
        let id = |(.., data): &(_, _, Value)| data["id"].as_str().unwrap().to_owned();
        events.iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(invoices(&taken), sent[..2]);
    let last = format!("Last-Event-ID: {}\r\n", taken[1].1);
    let (resumed, id) = tokio::join!(events(&office, &last, 2), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        office.receive("3").await
    });
    sent.push(id);
    assert_eq!(invoices(&resumed), sent[2..]);
    // A cursor of another archive begins again, and says so.
    let other = Office::open().await;
    let strange = other.receive("9").await;
    let begun = events(&other, &format!("Last-Event-ID: {}\r\n", resumed[1].1), 2).await;
    assert_eq!((begun[0].0.as_str(), begun[1].0.as_str()), ("reset", "change"));
    assert_eq!(begun[1].2["id"], strange.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_keeps_nobody_waiting() {
    let office = Office::open().await;
    office.receive("1").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(office.served.address()).await.unwrap();
        let head = format!("GET /api/v1/changes/stream HTTP/1.1\r\nHost: x\r\n{ANNA}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    for n in 2..10 {
        office.ask("POST", "/api/v1/invoices", &[ANNA], &sample(&n.to_string())).await.is(202);
    }
    let tenant = VatNumber::parse(OURS).unwrap();
    assert_eq!(office.mirror.count(tenant), Ok(9));
    office.get("/api/v1/invoices").await.is(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_never_end_are_bounded() {
    let office = Office::open().await;
    let mut half = Vec::new();
    let mut send = async |text: String| {
        let mut stream = TcpStream::connect(office.served.address()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        half.push(stream);
    };
    // Heads and bodies that do not come.
    for _ in 0..20 {
        send("GET /api/v1/inv".to_owned()).await;
    }
    let post = "POST /api/v1/invoices HTTP/1.1\r\nHost: x\r\nContent-Length: 5000";
    for _ in 0..3 {
        send(format!("{post}\r\n{ANNA}\r\n\r\n<half")).await;
    }
    office.ask("POST", "/api/v1/invoices", &[ANNA], &sample("1")).await.is(202);
    // As many waits as a tenant may hold, each known to be one: then no more.
    let mut waits = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(office.served.address()).await.unwrap();
        let head = format!("GET /api/v1/changes/stream HTTP/1.1\r\nHost: x\r\n{ANNA}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(status, *b"HTTP/1.1 200");
        waits.push(stream);
    }
    let refused = office.get("/api/v1/changes?since=latest&wait=1").await;
    refused.problem(429, "too-many-streams");
    office.get("/api/v1/invoices").await.is(200);
    // A head beyond every bound.
    let long = format!("X-Long: {}", "x".repeat(100_000));
    assert_eq!(office.ask("GET", "/api/v1/sync", &[ANNA, &long], b"").await.status, 431);
}
