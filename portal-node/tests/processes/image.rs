//! What the files of a process that was killed hold, read by the code that would read them next:
//! from a copy, so that the process finds them as it left them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use engine::{
    archive,
    bundle::{Body, ChainHash},
    id::{BlobHash, DocumentId, LogId, Seq},
    store::Store,
};
use node::{
    mirror::{Mirror, MirrorOptions},
    projector::Projector,
    truth::{Truth, TruthOptions},
};

use crate::town::{Service, VAT, vat};

/// Bundles by their writer and number: a second hash for one of these is a number used twice.
pub type Numbers = BTreeMap<(LogId, Seq), ChainHash>;

/// The truth and the mirror of one process.
pub struct Image {
    store: Arc<dyn Store>,
    mirror: Arc<Mirror>,
    _home: tempfile::TempDir,
}

/// What was taken after a place in the feed.
#[derive(Default)]
pub struct Taken {
    pub numbers: Numbers,
    pub documents: Vec<DocumentId>,
    /// The place after it.
    pub end: u64,
}

impl Image {
    pub fn of(service: &Service) -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = service.dir.join("data");
        let truth = [data.join(VAT).join("truth"), data.join("truth")];
        let truth = truth.iter().find(|folder| folder.is_dir()).expect("a truth");
        copy(truth, &home.path().join("truth"));
        copy(&data.join("mirror"), &home.path().join("mirror"));
        let options = TruthOptions { reserve_bytes: 0, ..TruthOptions::default() };
        let store = Truth::open(&home.path().join("truth"), options)
            .unwrap_or_else(|error| panic!("{}: {error}", data.display()));
        let (mirror, _) =
            Mirror::open(&home.path().join("mirror"), MirrorOptions::default()).unwrap();
        Self { store: Arc::new(store), mirror: Arc::new(mirror), _home: home }
    }

    /// All that the feed of `VAT` brings after `position`, each bundle read and checked.
    pub fn after(&self, position: u64) -> Taken {
        let mut taken = Taken { end: position, ..Taken::default() };
        loop {
            let rows = archive::feed(&*self.store, vat(VAT), taken.end, 1024).unwrap();
            let Some((last, ..)) = rows.last() else { return taken };
            taken.end = *last;
            for (_, log, seq) in rows {
                let stored = archive::bundle(&*self.store, vat(VAT), &log, seq).unwrap();
                taken.numbers.insert((log, seq), stored.hash);
                taken.documents.extend(Body::decode(&stored.body).unwrap().documents());
            }
        }
    }

    /// Whether this file is here, byte for byte.
    pub fn holds(&self, document: &DocumentId, file: &str) -> bool {
        let hash = BlobHash::of(file.as_bytes());
        let found = archive::blob(&*self.store, vat(VAT), document, &hash).unwrap();
        found.as_deref() == Some(file.as_bytes())
    }

    /// Asserts that the mirror shows nothing but what the truth says, as it was left and once it
    /// has followed to the end.
    pub fn mirror_is_the_truths(&self) {
        let projector = Projector::new(vat(VAT), Arc::clone(&self.store), Arc::clone(&self.mirror));
        if self.mirror.position(vat(VAT)).is_ok() {
            match projector.compare() {
                Ok(compared) => assert!(compared.is_equal(), "as it was left: {compared:?}"),
                // Said by the mirror itself: it is made anew below, as a process would.
                Err(node::projector::ProjectError::Mirror(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let end = self.after(0).end;
        projector.follow(end).unwrap();
        let compared = projector.compare().unwrap();
        assert!(compared.is_equal() && self.mirror.position(vat(VAT)) == Ok(end), "{compared:?}");
    }
}

/// The document that a file becomes.
pub fn document(file: &str) -> DocumentId {
    DocumentId::invoice(&BlobHash::of(file.as_bytes()))
}

/// A folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in entries(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
