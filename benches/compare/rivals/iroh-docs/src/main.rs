//! iroh-docs with both its stores on disk, driven by orders as JSON lines.
//!
//! An invoice is an entry `fattura/n`, a status change an entry of its own, `esito/n`; the value of
//! an entry is a blob. No relay, no discovery: the client is given the server's id and the address
//! of the line. Each end only sends to its own part of loopback, so that neither finds the other
//! beside the line.
//!
//! The library's own downloader asks for every value at once through a pool of connections that
//! (iroh-util 0.6) waits for itself when more than some 200 ask before the first connection is
//! there, as on a line of 40 ms: nothing comes then, ever. So the client tells it to download
//! nothing, and fetches what a synchronisation brought by itself, in requests for many values on
//! one connection. On the held session values come by the downloader, a few at a time.

use std::{
    collections::HashMap,
    io::{BufRead, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey,
    endpoint::{BindOpts, presets},
    protocol::Router,
};
use iroh_blobs::{BlobsProtocol, Hash, protocol::GetManyRequest, store::fs::FsStore};
use iroh_docs::{
    AuthorId, Capability, ContentStatus, NamespaceId,
    api::Doc,
    engine::LiveEvent,
    protocol::Docs,
    store::{DownloadPolicy, Query},
};
use iroh_gossip::net::Gossip;
use n0_future::StreamExt;
use serde_json::{Value, json};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Values asked for in one request.
const MANY: usize = 250;
const INVOICES: &str = "fattura/";
const CHANGES: &str = "esito/";

/// What works while the end is open.
struct Open {
    router: Router,
    blobs: FsStore,
    docs: Docs,
    doc: Option<Doc>,
    author: AuthorId,
    /// Where the client finds the server.
    server: Option<EndpointAddr>,
    /// What the client found in its stores when it opened.
    held: (u64, u64),
}

fn main() -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut open = None;
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(obey(&mut open, &order));
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

async fn obey(open: &mut Option<Open>, order: &Value) -> Result<Value, AnyError> {
    let number = |name: &str| order[name].as_u64().unwrap_or(0);
    let text = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
    if order["do"] == "open" {
        let dir = PathBuf::from(text("dir"));
        let names = PathBuf::from(text("names"));
        let (opened, answer) = match order["connect"].as_str() {
            Some(line) => Open::client(&dir, &names, line.parse()?).await?,
            None => Open::server(&dir, &names).await?,
        };
        *open = Some(opened);
        return Ok(answer);
    }
    let end = open.as_mut().ok_or("not open")?;
    match order["do"].as_str().unwrap_or_default() {
        "write" => end.write(&text("file"), number("count") as usize).await,
        "change" => {
            for k in number("first")..number("first") + number("count") {
                end.change(k).await?;
            }
            Ok(json!({}))
        }
        "sync" => end.sync((number("documents"), number("changes"))).await,
        "held" => {
            let (documents, changes) = end.held;
            Ok(json!({"documents": documents, "changes": changes}))
        }
        "watch" => end.watch(number("first"), number("count")).await,
        "live" => {
            let mut said = Vec::new();
            for k in number("first")..number("first") + number("count") {
                said.push(now_ms());
                end.change(k).await?;
                tokio::time::sleep(Duration::from_millis(number("every_ms"))).await;
            }
            Ok(json!({"at_ms": said}))
        }
        "stop" => {
            end.router.shutdown().await?;
            end.blobs.shutdown().await?;
            Ok(json!({}))
        }
        other => Err(format!("there is no order {other}").into()),
    }
}

impl Open {
    async fn start(dir: &Path, bind: &str, prefix: u8) -> Result<Self, AnyError> {
        std::fs::create_dir_all(dir)?;
        let key_file = dir.join("key");
        let key = match std::fs::read(&key_file) {
            Ok(bytes) => SecretKey::from_bytes(bytes.as_slice().try_into()?),
            Err(_) => {
                let key = SecretKey::generate();
                std::fs::write(&key_file, key.to_bytes())?;
                key
            }
        };
        let only_there = BindOpts::default().set_prefix_len(prefix).set_is_default_route(false);
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(key)
            .relay_mode(RelayMode::Disabled)
            .clear_ip_transports()
            .bind_addr_with_opts(bind, only_there)?
            .bind()
            .await?;
        let blobs = FsStore::load(dir.join("blobs")).await?;
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let docs = Docs::persistent(dir.to_owned())
            .spawn(endpoint.clone(), (*blobs).clone(), gossip.clone())
            .await?;
        let router = Router::builder(endpoint)
            .accept(iroh_blobs::ALPN, BlobsProtocol::new(&blobs, None))
            .accept(iroh_gossip::ALPN, gossip)
            .accept(iroh_docs::ALPN, docs.clone())
            .spawn();
        let author = docs.author_default().await?;
        Ok(Self { router, blobs, docs, doc: None, author, server: None, held: (0, 0) })
    }

    async fn server(dir: &Path, names: &Path) -> Result<(Self, Value), AnyError> {
        let mut end = Self::start(dir, "127.1.0.1:0", 16).await?;
        let doc = end.docs.create().await?;
        doc.start_sync(vec![]).await?;
        let id = end.router.endpoint().id();
        let given = json!({"server": id.to_string(), "document": doc.id().to_string()});
        std::fs::write(names, given.to_string())?;
        end.doc = Some(doc);
        let at = end.router.endpoint().bound_sockets();
        let at = at.first().ok_or("it listens nowhere")?;
        Ok((end, json!({"port": at.port(), "address": at.ip().to_string()})))
    }

    async fn client(dir: &Path, names: &Path, line: SocketAddr) -> Result<(Self, Value), AnyError> {
        let mut end = Self::start(dir, "127.0.0.1:0", 24).await?;
        let given: Value = serde_json::from_str(&std::fs::read_to_string(names)?)?;
        let text = |name: &str| given[name].as_str().unwrap_or_default();
        let (id, document): (EndpointId, NamespaceId) =
            (text("server").parse()?, text("document").parse()?);
        end.server = Some(EndpointAddr::new(id).with_ip_addr(line));
        let doc = match end.docs.open(document).await {
            Ok(Some(doc)) => doc,
            _ => end.docs.import_namespace(Capability::Read(document)).await?,
        };
        doc.set_download_policy(DownloadPolicy::NothingExcept(vec![])).await?;
        end.doc = Some(doc);
        end.held = (end.count(INVOICES).await?, end.count(CHANGES).await?);
        Ok((end, json!({})))
    }

    async fn write(&mut self, file: &str, count: usize) -> Result<Value, AnyError> {
        let text = std::fs::read_to_string(file)?;
        for (n, line) in text.lines().take(count).enumerate() {
            let key = format!("{INVOICES}{n:07}");
            self.doc()?.set_bytes(self.author, key, line.to_owned()).await?;
        }
        Ok(json!({}))
    }

    /// Reconciles, fetches the values of what is new, and is done when it holds `wanted`.
    async fn sync(&mut self, wanted: (u64, u64)) -> Result<Value, AnyError> {
        let server = self.server.clone().ok_or("a server does not dial")?;
        let doc = self.doc()?.clone();
        let mut events = doc.subscribe().await?;
        doc.start_sync(vec![server.clone()]).await?;
        let connection = self.router.endpoint().connect(server.clone(), iroh_blobs::ALPN).await?;
        let (mut fetching, mut new) = (tokio::task::JoinSet::new(), Vec::new());
        let mut reconciled = false;
        let mut held = self.held;
        while !reconciled || held != wanted {
            match events.next().await.ok_or("the events ended")?? {
                LiveEvent::InsertRemote { entry, content_status, .. } => {
                    let counted = match entry.key().starts_with(INVOICES.as_bytes()) {
                        true => &mut held.0,
                        false => &mut held.1,
                    };
                    *counted += 1;
                    if content_status != ContentStatus::Complete
                        || !self.blobs.has(entry.content_hash()).await?
                    {
                        new.push(entry.content_hash());
                    }
                    if new.len() == MANY {
                        fetching.spawn(fetch(
                            self.blobs.clone(),
                            connection.clone(),
                            std::mem::take(&mut new),
                        ));
                    }
                }
                // A run that went through may end with "Failed to close connection": once more.
                LiveEvent::SyncFinished(event) => match event.result {
                    Ok(_) => reconciled = true,
                    // Now and then "Failed to close connection": once more.
                    Err(_) => doc.start_sync(vec![server.clone()]).await?,
                },
                _ => {}
            }
        }
        if !new.is_empty() {
            fetching.spawn(fetch(self.blobs.clone(), connection.clone(), new));
        }
        while let Some(fetched) = fetching.join_next().await {
            fetched??;
        }
        self.held = held;
        Ok(json!({}))
    }

    /// Says when each of the next changes was there with its value.
    async fn watch(&mut self, first: u64, count: u64) -> Result<Value, AnyError> {
        let doc = self.doc()?.clone();
        doc.set_download_policy(DownloadPolicy::EverythingExcept(vec![])).await?;
        let mut events = doc.subscribe().await?;
        tokio::spawn(async move {
            let mut expected: HashMap<Hash, u64> =
                (first..first + count).map(|k| (Hash::new(outcome(k)), k - first)).collect();
            let mut seen = vec![0.0; count as usize];
            while !expected.is_empty() {
                let Some(Ok(event)) = events.next().await else { return };
                let LiveEvent::ContentReady { hash } = event else { continue };
                if let Some(k) = expected.remove(&hash) {
                    seen[k as usize] = now_ms();
                }
            }
            println!("{}", json!({"at_ms": seen}));
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(json!({}))
    }

    async fn change(&self, k: u64) -> Result<(), AnyError> {
        self.doc()?.set_bytes(self.author, format!("{CHANGES}{k:07}"), outcome(k)).await?;
        Ok(())
    }

    /// Entries whose value is here.
    async fn count(&self, prefix: &str) -> Result<u64, AnyError> {
        let entries = self.doc()?.get_many(Query::key_prefix(prefix).build()).await?;
        tokio::pin!(entries);
        let mut count = 0;
        while let Some(entry) = entries.next().await {
            count += u64::from(self.blobs.has(entry?.content_hash()).await?);
        }
        Ok(count)
    }

    fn doc(&self) -> Result<&Doc, AnyError> {
        self.doc.as_ref().ok_or_else(|| "there is no document".into())
    }
}

async fn fetch(
    blobs: FsStore,
    connection: iroh::endpoint::Connection,
    hashes: Vec<Hash>,
) -> Result<(), AnyError> {
    let request: GetManyRequest = hashes.into_iter().collect();
    blobs.remote().execute_get_many(connection, request).complete().await?;
    Ok(())
}

/// A status change as the other rivals are told it.
fn outcome(k: u64) -> String {
    let (sdi, at) = (10_000_000_000 + k * 900 + k * 7919 % 900, 1_760_000_000_000 + k * 7000);
    json!({"tipo": "RC", "sdi": sdi.to_string(), "at": at + k * 104_729 % 7000}).to_string()
}

fn now_ms() -> f64 {
    // CLOCK_MONOTONIC, the same in every process.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
