//! What each store format wrote, kept as it was written and opened by the current code: the truth
//! of a portal with a customer and the office, and the mirror of it.
//!
//! A fixture is never written anew for a format that is in use: `write_fixtures` is for a format
//! that is being made (`cargo test -p node --test upgrade -- --ignored`). It fills a truth with
//! the history that `engine/tests/upgrade` keeps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../../engine/tests/sim/keys.rs"]
#[allow(dead_code, reason = "the simulator needs more of it")]
mod keys;
#[path = "../../../engine/tests/upgrade/replica.rs"]
#[allow(dead_code, reason = "the engine's tests need more of it")]
mod replica;

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use engine::{
    archive,
    id::{BlobHash, DocumentId, OFFICE, VatNumber},
    record::Record,
    store::{Batch, Store, StoreError, Table},
    wire::VERSIONS,
};
use keys::Key;
use node::{
    mirror::{self, Mirror, MirrorOptions},
    projector::Projector,
    truth::{self, Truth, TruthOptions},
};
use replica::{PORTAL, Replica, large_file, tenant};
use tempfile::TempDir;

const FOLDERS: [&str; 2] = ["truth", "mirror"];

fn kept(name: &str, truth: u32) -> PathBuf {
    let format = if name == "truth" { truth } else { mirror::FORMAT.into() };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/upgrade/{name}-{format}"))
}

/// A copy of what was kept, to be opened.
fn copy() -> TempDir {
    copy_of(truth::FORMAT)
}

/// The same with the truth as an older format wrote it.
fn copy_of(truth: u32) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for name in FOLDERS {
        let from = kept(name, truth);
        let files = fs::read_dir(&from).unwrap_or_else(|error| {
            panic!("{}: {error}; this format is written, so keep a store of it", from.display())
        });
        fs::create_dir(home.path().join(name)).unwrap();
        for file in files.map(|file| file.unwrap().path()) {
            let packed = fs::read(&file).unwrap();
            let to = home.path().join(name).join(file.file_stem().unwrap());
            fs::write(to, zstd::decode_all(&packed[..]).unwrap()).unwrap();
        }
    }
    home
}

fn opened(home: &Path) -> Result<Truth, StoreError> {
    let options = TruthOptions { reserve_bytes: 0, ..TruthOptions::default() };
    Truth::open(&home.join("truth"), options)
}

fn projectors(home: &Path, store: &Arc<dyn Store>) -> (Vec<Projector>, Option<String>) {
    let (mirror, rebuilt) = Mirror::open(&home.join("mirror"), MirrorOptions::default()).unwrap();
    let mirror = Arc::new(mirror);
    let of = |tenant| Projector::new(tenant, Arc::clone(store), Arc::clone(&mirror));
    ([tenant(), OFFICE].map(of).into(), rebuilt)
}

/// The engine's fixtures: pairs of bytes and what they say.
fn engine_kept(name: &str) -> Vec<(Vec<u8>, String)> {
    let version = VERSIONS.1;
    let path = format!("../engine/tests/upgrade/{name}-{version}.txt");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let blocks = text.trim_end().split("\n\n").map(|block| {
        let (hex, says) = block.split_once('\n').unwrap();
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        ((0..hex.len()).step_by(2).map(digit).collect(), says.to_owned())
    });
    blocks.collect()
}

#[test]
fn stores_that_were_kept_open_and_say_what_they_said() {
    for truth in truth::FORMAT_OLDEST..=truth::FORMAT {
        says_what_it_said(&copy_of(truth));
    }
}

fn says_what_it_said(home: &TempDir) {
    let store: Arc<dyn Store> = Arc::new(opened(home.path()).unwrap());
    let mut replica = Replica::opened_by(Key::new(PORTAL).peer(), Arc::clone(&store));
    let (mut digests, mut records) = (0, 0);
    for (bytes, says) in engine_kept("sums") {
        if let Some(of) = says.strip_prefix("digest of ") {
            let tenant = VatNumber::parse(of).unwrap();
            assert_eq!(replica.engine.digest(tenant).0.to_vec(), bytes);
            digests += 1;
            continue;
        }
        let document = DocumentId::from_bytes(bytes.try_into().unwrap());
        let office = document.kind().unwrap().is_office();
        let tenant = if office { OFFICE } else { tenant() };
        let changes = archive::changes(&*store, tenant, &document).unwrap();
        assert_eq!(format!("{:?}", Record::derive(document, &changes)), says);
        records += 1;
    }
    assert_eq!((digests, records), (2, 9));
    let large = BlobHash::of(&large_file());
    let file = archive::blob(&*store, tenant(), &DocumentId::invoice(&large), &large);
    assert_eq!(file.unwrap(), Some(large_file()));

    let (projectors, rebuilt) = projectors(home.path(), &store);
    assert_eq!(rebuilt, None, "the mirror is of this format");
    for projector in projectors {
        let compared = projector.compare().unwrap();
        assert!(compared.is_equal() && compared.documents > 0, "{compared:?}");
    }

    // It is no museum: what is heard again is known, and the replica goes on.
    let before = replica.engine.digest(tenant());
    replica.hear_history(engine_kept("history").into_iter().map(|(bytes, _)| bytes));
    assert_eq!(replica.engine.digest(tenant()), before);
    assert_eq!(
        format(home.path()),
        truth::FORMAT,
        "an older program is told so, and does not guess"
    );
}

const ABOUT: redb::TableDefinition<'static, &str, u32> = redb::TableDefinition::new("about");

fn format(home: &Path) -> u32 {
    // The store is in use: a copy is looked at.
    let copy = home.join("looked-at.redb");
    fs::copy(home.join("truth/truth.redb"), &copy).unwrap();
    let database = redb::Database::open(copy).unwrap();
    let reading = redb::ReadableDatabase::begin_read(&database).unwrap();
    let about = reading.open_table(ABOUT).unwrap();
    redb::ReadableTable::get(&about, "format").unwrap().unwrap().value()
}

fn set_format(home: &Path, format: u32) {
    let database = redb::Database::open(home.join("truth/truth.redb")).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(ABOUT).unwrap().insert("format", format).unwrap();
    writing.commit().unwrap();
}

#[test]
fn a_truth_of_a_newer_program_is_refused_with_a_sentence_and_nothing_of_it_is_touched() {
    let home = copy();
    let known = truth::FORMAT;
    set_format(home.path(), known + 1);
    let says =
        format!("has format {}, this program knows up to {known}: use a newer one", known + 1);
    for _ in 0..2 {
        let error = opened(home.path()).err().unwrap().to_string();
        assert!(error.contains(&says), "{error}");
    }
    set_format(home.path(), known);
    let recovered = archive::recover(&opened(home.path()).unwrap()).unwrap();
    assert_eq!((recovered.tips.len(), recovered.statements.len()), (3, 3));
}

/// The installed program says it and ends: a service manager shows the sentence.
#[cfg(unix)]
#[test]
fn a_node_that_is_put_back_to_an_older_program_says_so_and_ends() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = copy();
    set_format(home.path(), truth::FORMAT + 1);
    let path = |name: &str| home.path().join(name);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["node.test".into()]).unwrap();
    fs::write(path("n.cert"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(path("n.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(path("n.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let data = path("data").join(tenant().to_string());
    fs::create_dir_all(&data).unwrap();
    fs::rename(path("truth"), data.join("truth")).unwrap();
    let config = format!(
        "data = {:?}\n[[portal]]\nname = \"A\"\npin = \"{}\"\naddresses = [\"127.0.0.1:9\"]\n\
         [[tenant]]\nvat = \"{}\"\ncert = {:?}\nkey = {:?}\nspool = {:?}\n",
        path("data"),
        "ab".repeat(32),
        tenant(),
        path("n.cert"),
        path("n.key"),
        path("spool"),
    );
    fs::write(path("node.toml"), config).unwrap();
    let program = env!("CARGO_BIN_EXE_staffetta-node");
    let ended = std::process::Command::new(program)
        .args(["run", "--config"])
        .arg(path("node.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success());
    assert!(
        said.contains("this program knows up to") && said.contains("use a newer one"),
        "{said}"
    );
}

#[test]
fn a_mirror_of_another_format_is_made_anew_from_the_truth() {
    let home = copy();
    let dir = home.path().join("mirror");
    let db = sled::Config::new().path(&dir).flush_every_ms(None).open().unwrap();
    db.insert("format", &b"what a later program writes here"[..]).unwrap();
    db.flush().unwrap();
    drop(db);
    let store: Arc<dyn Store> = Arc::new(opened(home.path()).unwrap());
    let (projectors, rebuilt) = projectors(home.path(), &store);
    assert!(rebuilt.is_some(), "it is set aside, and that is said");
    for projector in projectors {
        projector.follow(u64::MAX).unwrap();
        assert!(projector.compare().unwrap().is_equal());
    }
}

#[test]
#[ignore = "writes the fixtures of the formats that are written now"]
fn write_fixtures() {
    let home = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(opened(home.path()).unwrap());
    let mut replica = Replica::opened_by(Key::new(PORTAL).peer(), Arc::clone(&store));
    replica.hear_history(engine_kept("history").into_iter().map(|(bytes, _)| bytes));
    let (projectors, _) = projectors(home.path(), &store);
    projectors.iter().for_each(|projector| projector.follow(u64::MAX).unwrap());
    // Once more in one barrier: bundles lie in groups as well as alone.
    let mut together = Batch::default();
    for table in Table::ALL {
        let mut visit = |key: &[u8], value: &[u8]| {
            together.put(table, key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        };
        store.scan(table, &[], &[255; 64], &mut visit).unwrap();
    }
    drop((projectors, replica, store));
    fs::remove_dir_all(home.path().join("truth")).unwrap();
    let store = opened(home.path()).unwrap();
    store.apply(together).unwrap();
    store.barrier().unwrap();
    drop(store);
    for name in FOLDERS {
        let to = kept(name, truth::FORMAT);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(home.path().join(name)).unwrap().map(|file| file.unwrap().path()) {
            // sled's folder of large values is empty: there are none.
            if file.is_file() {
                let packed = zstd::encode_all(&fs::read(&file).unwrap()[..], 19).unwrap();
                let name = file.file_name().unwrap().to_string_lossy();
                fs::write(to.join(format!("{name}.zst")), packed).unwrap();
            }
        }
    }
}
