//! samod with its websocket and its storage in files, driven by orders as JSON lines.
//!
//! A status change is one more entry of a list in the invoice's document. The names of the documents
//! are given to the client for nothing, through a file.

use std::{
    io::{BufRead, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use automerge::{
    Automerge, AutomergeError, ObjId, ObjType, ROOT, ReadDoc, ScalarValue,
    transaction::Transactable,
};
use samod::{BackoffConfig, DocHandle, DocumentId, Repo, storage::TokioFilesystemStorage};
use serde_json::{Value, json};
use tokio::net::TcpListener;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

struct End {
    repo: Option<Repo>,
    documents: Vec<DocHandle>,
    names: PathBuf,
    connect: Option<String>,
    dialled: bool,
}

fn main() -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut end = End {
        repo: None,
        documents: Vec::new(),
        names: PathBuf::new(),
        connect: None,
        dialled: false,
    };
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(end.obey(&order));
        let answer = answer.unwrap_or_else(|error| json!({"failed": error.to_string()}));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
        if order["do"] == "stop" {
            break;
        }
    }
    Ok(())
}

impl End {
    async fn obey(&mut self, order: &Value) -> Result<Value, AnyError> {
        let number = |name: &str| order[name].as_u64().unwrap_or(0);
        let text = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
        match order["do"].as_str().unwrap_or_default() {
            "open" => {
                self.names = text("names").into();
                let storage = TokioFilesystemStorage::new(text("dir"));
                let repo = Repo::build_tokio().with_storage(storage).load().await;
                self.repo = Some(repo.clone());
                if let Some(connect) = order["connect"].as_str() {
                    self.connect = Some(connect.to_owned());
                    return Ok(json!({}));
                }
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let port = listener.local_addr()?.port();
                let acceptor = repo.make_acceptor(format!("ws://127.0.0.1:{port}").parse()?)?;
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let acceptor = acceptor.clone();
                        tokio::spawn(async move {
                            let _ = stream.set_nodelay(true);
                            if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
                                let _ = acceptor.accept_tungstenite(socket);
                            }
                        });
                    }
                });
                Ok(json!({"port": port}))
            }
            "write" => {
                let text = std::fs::read_to_string(text("file"))?;
                for line in text.lines().take(number("count") as usize) {
                    let document = document(&serde_json::from_str(line)?)?;
                    self.documents.push(self.repo()?.create(document).await?);
                }
                let names: Vec<String> =
                    self.documents.iter().map(|d| d.document_id().to_string()).collect();
                std::fs::write(&self.names, json!(names).to_string())?;
                Ok(json!({}))
            }
            "change" => {
                for k in number("first")..number("first") + number("count") {
                    self.change(k)?;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(json!({}))
            }
            "sync" => {
                self.dial()?;
                // What is asked for before the connection is there is not found, and asked for again.
                self.find().await?;
                while self.held() != (number("documents"), number("changes")) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    self.find().await?;
                }
                Ok(json!({}))
            }
            "held" => {
                let found = tokio::time::timeout(Duration::from_secs(20), self.find()).await;
                let (documents, changes) = self.held();
                let _ = found;
                Ok(json!({"documents": documents, "changes": changes}))
            }
            "watch" => {
                // The last answer is awaited by the bench after this one; it is said from a task.
                let (first, count) = (number("first"), number("count"));
                let documents = self.documents.clone();
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    for k in first..first + count {
                        let handle = &documents[k as usize % documents.len()];
                        while !outcomes(handle).iter().any(|sdi| *sdi == number_of(k)) {
                            tokio::time::sleep(Duration::from_micros(500)).await;
                        }
                        seen.push(now_ms());
                    }
                    println!("{}", json!({"at_ms": seen}));
                });
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(json!({}))
            }
            "live" => {
                let mut said = Vec::new();
                for k in number("first")..number("first") + number("count") {
                    said.push(now_ms());
                    self.change(k)?;
                    tokio::time::sleep(Duration::from_millis(number("every_ms"))).await;
                }
                Ok(json!({"at_ms": said}))
            }
            "stop" => {
                self.repo()?.stop().await;
                Ok(json!({}))
            }
            other => Err(format!("there is no order {other}").into()),
        }
    }

    fn repo(&self) -> Result<&Repo, AnyError> {
        self.repo.as_ref().ok_or_else(|| "not open".into())
    }

    fn dial(&mut self) -> Result<(), AnyError> {
        if let (Some(connect), false) = (&self.connect, self.dialled) {
            let address: SocketAddr = connect.parse()?;
            let url = format!("ws://{address}").parse()?;
            self.repo()?.dial_websocket(url, BackoffConfig::default())?;
            self.dialled = true;
        }
        Ok(())
    }

    /// Looks up every document by its name, a hundred at a time.
    async fn find(&mut self) -> Result<(), AnyError> {
        let names: Vec<String> = serde_json::from_str(&std::fs::read_to_string(&self.names)?)?;
        if self.documents.len() >= names.len() {
            return Ok(());
        }
        self.documents.clear();
        for group in names.chunks(100) {
            let tasks: Vec<_> = group
                .iter()
                .map(|name| {
                    let id: DocumentId = name.parse().map_err(|_| "an odd name")?;
                    Ok::<_, AnyError>(tokio::spawn(self.repo()?.find(id)))
                })
                .collect::<Result<_, _>>()?;
            for task in tasks {
                if let Some(handle) = task.await?? {
                    self.documents.push(handle);
                }
            }
        }
        Ok(())
    }

    fn held(&self) -> (u64, u64) {
        let changes = self.documents.iter().map(|handle| outcomes(handle).len() as u64).sum();
        (self.documents.len() as u64, changes)
    }

    fn change(&self, k: u64) -> Result<(), AnyError> {
        let handle = &self.documents[k as usize % self.documents.len()];
        handle.with_document(|document| {
            document
                .transact(|tx| {
                    let Some((_, list)) = tx.get(ROOT, "esiti")? else { return Ok(()) };
                    let at = tx.length(&list);
                    let entry = tx.insert_object(&list, at, ObjType::Map)?;
                    tx.put(&entry, "tipo", "RC")?;
                    tx.put(&entry, "sdi", number_of(k))?;
                    tx.put(&entry, "at", (1_760_000_000_000 + k * 7000) as i64)?;
                    Ok::<_, AutomergeError>(())
                })
                .map_err(|failure| failure.error.to_string())
        })?;
        Ok(())
    }
}

fn number_of(k: u64) -> String {
    (10_000_000_000 + k * 900 + k * 7919 % 900).to_string()
}

fn now_ms() -> f64 {
    // CLOCK_MONOTONIC, the same in every process.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn outcomes(handle: &DocHandle) -> Vec<String> {
    handle.with_document(|document| {
        let Ok(Some((_, list))) = document.get(ROOT, "esiti") else { return Vec::new() };
        (0..document.length(&list))
            .filter_map(|at| {
                let (_, entry) = document.get(&list, at).ok()??;
                let (sdi, _) = document.get(&entry, "sdi").ok()??;
                sdi.into_string().ok()
            })
            .collect()
    })
}

/// The document of an invoice: maps, lists, and texts as scalars, since nobody edits them by letter.
fn document(json: &Value) -> Result<Automerge, AnyError> {
    let mut document = Automerge::new();
    document
        .transact(|tx| {
            for (name, value) in json.as_object().into_iter().flatten() {
                put(tx, &ROOT, name.as_str().into(), value)?;
            }
            tx.put_object(ROOT, "esiti", ObjType::List)?;
            Ok::<_, AutomergeError>(())
        })
        .map_err(|failure| failure.error.to_string())?;
    Ok(document)
}

fn put(
    tx: &mut impl Transactable,
    at: &ObjId,
    name: automerge::Prop,
    value: &Value,
) -> Result<(), AutomergeError> {
    let object = |tx: &mut _, kind| match &name {
        automerge::Prop::Map(key) => Transactable::put_object(tx, at, key.as_str(), kind),
        automerge::Prop::Seq(index) => Transactable::insert_object(tx, at, *index, kind),
    };
    match value {
        Value::Object(fields) => {
            let inner = object(tx, ObjType::Map)?;
            for (name, value) in fields {
                put(tx, &inner, name.as_str().into(), value)?;
            }
        }
        Value::Array(items) => {
            let inner = object(tx, ObjType::List)?;
            for (index, item) in items.iter().enumerate() {
                put(tx, &inner, index.into(), item)?;
            }
        }
        other => {
            let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            let value = ScalarValue::Str(text.into());
            match name {
                automerge::Prop::Map(key) => tx.put(at, key, value)?,
                automerge::Prop::Seq(index) => tx.insert(at, index, value)?,
            }
        }
    }
    Ok(())
}
