//! The original files a replica can read back: each is read whole and compared with its hash,
//! so a listing is a proof and not an index.
//!
//! A listing comes in pages, one question each, so that no answer grows with the archive. It
//! only reads. A document that several bundles touch may be listed more than once.

use std::{collections::BTreeMap, path::Path};

use engine::{
    archive::{self, ReadError},
    bundle::Body,
    document::invoice::Direction,
    id::{BlobHash, DocumentId, Kind, LogId, Seq, VatNumber},
    record::Record,
    store::Store,
};
use serde::{Deserialize, Serialize};

use crate::{
    control::{self, ControlError},
    host::HostHandle,
};

/// Bundles looked at for one page: some hundred bytes each, far below a line of `control`.
const PAGE_BUNDLES_MAX: usize = 2048;

/// One file, read back and equal to its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Its SHA-256, in hexadecimal: of the bytes read just now.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// `sent` or `received`.
    pub direction: String,
    /// The name it came with.
    pub file_name: String,
}

/// What one question brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Files that read back whole.
    pub originals: Vec<Original>,
    /// What cannot be read, and why.
    pub unreadable: Vec<String>,
    /// Where the next page begins, unless this is the last.
    pub next: Option<u64>,
}

/// A whole listing: files by SHA-256, and what cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The P.IVA.
    pub vat: String,
    /// Files that read back whole.
    pub originals: Vec<Original>,
    /// What cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// Reads the originals of `tenant` that the feed brings after `position`. What is damaged is told
/// to `damaged`, who may have it fetched again.
///
/// # Errors
/// [`ReadError`] when the feed itself cannot be read.
pub fn page(
    store: &dyn Store,
    tenant: VatNumber,
    position: u64,
    damaged: &dyn Fn(&ReadError),
) -> Result<Page, ReadError> {
    let rows = archive::feed(store, tenant, position, PAGE_BUNDLES_MAX)?;
    let mut page = Page::default();
    if rows.len() == PAGE_BUNDLES_MAX {
        page.next = rows.last().map(|(at, _, _)| *at);
    }
    for (_, log, seq) in rows {
        match documents(store, tenant, &log, seq) {
            Ok(documents) => {
                for document in documents.iter().filter(|d| d.kind() == Some(Kind::Invoice)) {
                    match original(store, tenant, document, damaged) {
                        Ok(original) => page.originals.push(original),
                        Err(why) => page.unreadable.push(why),
                    }
                }
            }
            Err(error) => {
                damaged(&error);
                page.unreadable.push(error.to_string());
            }
        }
    }
    Ok(page)
}

/// Asks the service whose data folder is `dir` for page after page.
///
/// # Errors
/// [`ControlError`] when it does not answer.
pub async fn ask_all<T: Serialize>(
    dir: &Path,
    vat: VatNumber,
    question: impl Fn(u64) -> T,
) -> Result<Listing, ControlError> {
    let mut originals = BTreeMap::new();
    let mut unreadable = Vec::new();
    let mut position = Some(0);
    while let Some(after) = position {
        let answer = control::ask(dir, question(after)).await?;
        let page: Page = serde_json::from_value(answer)
            .map_err(|_| ControlError::NotRunning { path: dir.display().to_string() })?;
        originals.extend(page.originals.into_iter().map(|one| (one.sha256.clone(), one)));
        unreadable.extend(page.unreadable);
        position = page.next;
    }
    unreadable.sort();
    unreadable.dedup();
    Ok(Listing { vat: vat.to_string(), originals: originals.into_values().collect(), unreadable })
}

/// The answer to a question for a page, as JSON. What is damaged is fetched again.
#[must_use]
pub fn answer(
    store: &dyn Store,
    host: &HostHandle,
    tenant: VatNumber,
    position: u64,
) -> serde_json::Value {
    let page = page(store, tenant, position, &|error| host.damaged(error))
        .unwrap_or_else(|error| Page { unreadable: vec![error.to_string()], ..Page::default() });
    serde_json::json!(page)
}

/// Prints listings for machines or for people.
pub fn print(listings: &[Listing], json: bool) {
    if json {
        println!("{}", serde_json::json!({ "tenants": listings }));
    } else {
        print!("{}", to_text(listings));
    }
}

/// A listing for people: as `sha256sum` prints, with length, direction and name.
fn to_text(listings: &[Listing]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for Listing { vat, originals, unreadable } in listings {
        let _ = writeln!(text, "P.IVA {vat}: {} originals", originals.len());
        for Original { sha256, bytes, direction, file_name } in originals {
            let _ = writeln!(text, "{sha256} {bytes:>8} {direction:<8} {file_name}");
        }
        for why in unreadable {
            let _ = writeln!(text, "UNREADABLE {why}");
        }
    }
    text
}

fn documents(
    store: &dyn Store,
    tenant: VatNumber,
    log: &LogId,
    seq: Seq,
) -> Result<Vec<DocumentId>, ReadError> {
    let stored = archive::bundle(store, tenant, log, seq)?;
    let damaged = ReadError::Damaged { tenant, log: *log, seq };
    Ok(Body::decode(&stored.body).map_err(|_| damaged)?.documents())
}

fn original(
    store: &dyn Store,
    tenant: VatNumber,
    document: &DocumentId,
    damaged: &dyn Fn(&ReadError),
) -> Result<Original, String> {
    let named = |why: String| format!("document {document}: {why}");
    let read = |error: ReadError| {
        damaged(&error);
        named(error.to_string())
    };
    let changes = archive::changes(store, tenant, document).map_err(read)?;
    let Record::Invoice(invoice) = Record::derive(*document, &changes) else {
        return Err(named("its fields cannot be read".to_owned()));
    };
    let content = invoice.content;
    let bytes = archive::blob(store, tenant, document, &content.original)
        .map_err(read)?
        .ok_or_else(|| named("its original is not here".to_owned()))?;
    let direction = match content.direction {
        Direction::Sent => "sent",
        Direction::Received => "received",
    };
    Ok(Original {
        sha256: BlobHash::of(&bytes).to_string(),
        bytes: bytes.len() as u64,
        direction: direction.to_owned(),
        file_name: content.file_name,
    })
}
