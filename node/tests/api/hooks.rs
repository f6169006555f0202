//! An ERP that is called: signed, in order, also one that was away and one that comes back.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::store::memory::MemoryStore;
use node::{config::WebhookConfig, webhook::Webhook};
use ring::hmac;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::office::Office;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";

/// An ERP that answers what it is told to, and keeps what it took after checking who sent it.
#[derive(Clone, Default)]
pub struct Erp(Arc<Mutex<(u16, Vec<Message>)>>);

#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub kind: String,
    /// What it was answered.
    pub status: u16,
    pub invoices: Vec<String>,
    pub changes: Vec<Value>,
}

impl Erp {
    pub async fn open(status: u16) -> (Self, String, JoinHandle<()>) {
        let erp = Self::default();
        erp.answer(status);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        let here = erp.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                let mut bytes = Vec::new();
                let (head, body) = loop {
                    let mut some = [0; 4096];
                    let read = stream.read(&mut some).await.unwrap_or(0);
                    if read == 0 {
                        break (String::new(), Vec::new());
                    }
                    bytes.extend_from_slice(&some[..read]);
                    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                    let len: usize = header(&head, "content-length").parse().unwrap();
                    if bytes.len() >= end + 4 + len {
                        break (head, bytes[end + 4..].to_vec());
                    }
                };
                // Whoever called and was ended before all was said has said nothing.
                if head.is_empty() {
                    continue;
                }
                let status = here.take(&head, &body);
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (erp, url, task)
    }

    /// Waits until all that was said at `url` before has been taken: calls are answered one after
    /// the other, and this one says nothing.
    async fn caught_up(url: &str) {
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/hook").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }

    pub fn answer(&self, status: u16) {
        self.0.lock().unwrap().0 = status;
    }

    fn take(&self, head: &str, body: &[u8]) -> u16 {
        let (id, at) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
        let secret = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = [id.as_bytes(), at.as_bytes(), body].join(&b"."[..]);
        let signature = header(head, "webhook-signature");
        let signature = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &signed, &signature).unwrap();
        let body: Value = serde_json::from_slice(body).unwrap();
        let changes = body["data"]["changes"].as_array().unwrap();
        let mut erp = self.0.lock().unwrap();
        let status = erp.0;
        erp.1.push(Message {
            id,
            kind: body["type"].as_str().unwrap().to_owned(),
            status,
            changes: changes.clone(),
            invoices: changes.iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect(),
        });
        status
    }

    /// Waits until `count` messages have come.
    pub async fn messages(&self, count: usize) -> Vec<Message> {
        for _ in 0..1000 {
            let messages = self.0.lock().unwrap().1.clone();
            if messages.len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{count} messages have not come: {:?}", self.0.lock().unwrap().1);
    }
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    line.unwrap_or_else(|| panic!("{name} is missing in {head}"))
}

pub fn hook(office: &Office, dir: &Path, url: &str) -> Webhook {
    let secret_file = dir.join("secret");
    std::fs::write(&secret_file, format!("{SECRET}\n")).unwrap();
    let config = WebhookConfig {
        vat: None,
        url: url.to_owned(),
        secret_file,
        pin: None,
        authorities: None,
        from_beginning: true,
    };
    Webhook::open(&config, Arc::clone(&office.space), dir, &[Duration::from_millis(30)]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_was_away_misses_nothing_and_is_told_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (erp, url, _serving) = Erp::open(500).await;
    let store = Arc::new(MemoryStore::new());
    let office = Office::over(Arc::clone(&store) as _, None).await;
    let first = office.receive("1").await;
    let running = hook(&office, dir.path(), &url);
    let told = running.told();
    let running = tokio::spawn(running.run());
    let failed = erp.messages(3).await;
    assert!(failed.iter().all(|message| message.invoices == [first.clone()]));
    assert!(failed.windows(2).all(|two| two[0].id == two[1].id), "a retry has its id: {failed:?}");
    assert!(told.status().last_error.unwrap().contains("500"));

    // The service ends while the ERP is away; what came meanwhile is told with the rest.
    running.abort();
    let _ = running.await;
    drop(office);
    let office = Office::over(Arc::clone(&store) as _, None).await;
    let second = office.receive("2").await;
    Erp::caught_up(&url).await;
    let before = erp.messages(0).await.len() + 1;
    erp.answer(204);
    let running = hook(&office, dir.path(), &url);
    let told = running.told();
    let running = tokio::spawn(running.run());
    assert_eq!(erp.messages(before).await[before - 1].invoices, [first, second]);

    // And only once, over another restart and a mirror built anew.
    while told.status().delivered == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let _ = running.await;
    office.mirror.renew().unwrap();
    let running = hook(&office, dir.path(), &url);
    let told = running.told();
    let running = tokio::spawn(running.run());
    let third = office.receive("3").await;
    let taken = erp.messages(before + 1).await;
    assert_eq!(taken[before].invoices, [third]);
    assert_eq!(taken.len(), before + 1);
    while told.status().delivered == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();

    let log = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    let lines = std::fs::read_to_string(log).unwrap();
    // One that was cut off before its answer came is not.
    assert!((taken.len() - 2..=taken.len()).contains(&lines.lines().count()), "{lines}");
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["changes"]), (&204.into(), &1.into()));

    // Over another archive the ERP is told to forget, and then everything.
    let other = Office::open().await;
    let strange = other.receive("9").await;
    let before = erp.messages(0).await.len();
    let running = tokio::spawn(hook(&other, dir.path(), &url).run());
    let taken = erp.messages(before + 2).await;
    assert_eq!(taken[before].kind, "changes.reset");
    assert_eq!(taken[before + 1].invoices, [strange]);
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_cannot_work_is_refused_with_a_sentence() {
    let office = Office::open().await;
    let dir = tempfile::tempdir().unwrap();
    let secret_file = dir.path().join("secret");
    let check = |url: &str, secret: &str, words: &str| {
        std::fs::write(&secret_file, secret).unwrap();
        let config = WebhookConfig {
            vat: None,
            url: url.to_owned(),
            secret_file: secret_file.clone(),
            pin: None,
            authorities: None,
            from_beginning: false,
        };
        let opened = Webhook::open(&config, Arc::clone(&office.space), dir.path(), &[]);
        let error = opened.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    };
    check("https://erp.lan/x", SECRET, "`pin` or `authorities`");
    check("http://erp.lan/x", "c2hvcnQ=", "shorter than 24 bytes");
    check("http://erp.lan/x", "!", "not base64");
}
