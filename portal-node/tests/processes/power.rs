//! The power fails after any system call of a node that takes three hundred invoices: what its
//! disk would hold then is opened by the code that would open it. All that was acknowledged (a
//! file moved to `taken/`, a file behind the cursor of `in/`) is there, the mirror shows what the
//! truth says, and nothing panics. `IMAGES` is how many moments are looked at, or `all`.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use engine::{
    archive,
    bundle::Body,
    id::{BlobHash, DocumentId},
    store::Store,
};
use node::{
    feed::Cursor,
    mirror::{Mirror, MirrorOptions},
    projector::Projector,
    truth::{Truth, TruthOptions},
};

use crate::{
    image::document,
    killed::Dice,
    town::{Service, Town, VAT, received, sent, until, vat, within},
    trace::{self, Disk, Loss, Op, STRACE},
};

/// Invoices sent and as many received.
const EACH: usize = 150;

#[test]
fn after_a_loss_of_power_at_any_system_call_what_was_acknowledged_is_there() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (ops, root) = run(&[]);
            look("power", &ops, &root, EACH);
        });
        scope.spawn(a_disk_fails_now_and_then);
        scope.spawn(a_disk_fails_and_the_process_is_killed);
    });
}

/// The same while the disk fails now and then for a while: what could not be synchronised is not
/// acknowledged, and all resumes by itself.
fn a_disk_fails_now_and_then() {
    let inject = "inject=pwrite64,fdatasync,fsync,ftruncate,rename:error=EIO:when=20..60+7";
    let (ops, root) = run(&["-e", inject]);
    look("power, and EIO", &ops, &root, EACH);
}

/// Every synchronisation of the store fails, and the process is killed: the next one finds what
/// reads well and is on no disk, and acknowledges it only once it is.
fn a_disk_fails_and_the_process_is_killed() {
    const FILES: usize = 30;
    let mut town = Town::new();
    let portals = town.portals();
    let issued = town.issue_node(VAT);
    let mut node = town.node("node", &issued, &portals);
    portals.admit(&node);
    let root = fs::canonicalize(&node.dir).unwrap();
    let traces = ["first", "second"].map(|name| town.path(name));
    traced(&mut node, &["-e", "inject=fdatasync:error=EIO:when=20+"], &traces[0]);
    node.start();
    let mut given = 0;
    while node.tenant()["storage"].is_null() && given < FILES {
        fs::write(node.spool("out").join(format!("s{given}.xml")), sent(&format!("s{given}")))
            .unwrap();
        given += 1;
        until("it is taken, or cannot be", || {
            node.names("out").is_empty() || !node.tenant()["storage"].is_null()
        });
    }
    assert!(!node.names("out").is_empty(), "the disk failed: {}", node.log());
    let mut ops = ended(&mut node, &traces[0], &root);
    traced(&mut node, &[], &traces[1]);
    node.start();
    for n in given..FILES {
        fs::write(node.spool("out").join(format!("s{n}.xml")), sent(&format!("s{n}"))).unwrap();
    }
    until("all is taken and held", || node.names("taken").len() == FILES && node.is_in_sync());
    trace::go_on(&mut ops, ended(&mut node, &traces[1], &root));
    look("power, EIO and a kill", &ops, &root, FILES);
}

/// Has the node's calls written down when it starts.
fn traced(node: &mut Service, more: &[&str], to: &Path) {
    node.under = STRACE.map(str::to_owned).to_vec();
    node.under.extend(more.iter().map(|word| (*word).to_owned()));
    node.under.extend(["-o".to_owned(), to.display().to_string()]);
}

/// Kills the node; its calls.
fn ended(node: &mut Service, written: &Path, root: &Path) -> Vec<Op> {
    node.kill();
    until("strace has ended", || {
        fs::read_to_string(written).unwrap().trim_end().lines().last().unwrap().contains("+++")
    });
    trace::read(written, root)
}

/// Three hundred invoices through a node under `strace`: its calls, and its folder.
fn run(more: &[&str]) -> (Vec<Op>, PathBuf) {
    let (town, portals, mut node) = Town::with_node();
    let root = fs::canonicalize(&node.dir).unwrap();
    let trace = town.path("trace");
    traced(&mut node, more, &trace);
    node.start();
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    for n in 0..EACH {
        fs::write(folder.join(format!("r{n}.xml")), received(&format!("r{n}"))).unwrap();
        fs::write(node.spool("out").join(format!("s{n}.xml")), sent(&format!("s{n}"))).unwrap();
        // Some together and some alone, so that barriers cover one bundle and many.
        if n % 25 == 24 {
            until("these are taken", || node.names("taken").len() > n);
        }
    }
    within(Duration::from_secs(180), "all is taken and delivered", || {
        node.names("taken").len() == EACH && node.names("in").len() == EACH
    });
    until("all is held", || node.is_in_sync());
    assert!(!node.has_ended(), "{}", node.log());
    (ended(&mut node, &trace, &root), root)
}

/// Looks at what the disk would hold after each call; so many files were sent.
fn look(scenario: &str, ops: &[Op], root: &Path, sent_files: usize) {
    let dice = Dice::new(scenario);
    let wanted = env::var("IMAGES").unwrap_or("40".to_owned());
    let stride = match wanted.as_str() {
        "all" => 1,
        images => ops.len() / images.parse::<usize>().expect("IMAGES is a number or `all`").max(1),
    };
    let (out, taken) = (root.join("spool/out"), root.join("spool/taken"));
    let files: BTreeMap<String, String> =
        (0..sent_files).map(|n| (format!("s{n}.xml"), sent(&format!("s{n}")))).collect();
    let received: BTreeMap<DocumentId, (String, String)> = (0..EACH)
        .map(|n| (format!("r{n}.xml"), received(&format!("r{n}"))))
        .map(|(name, file)| (document(&file), (name, file)))
        .collect();
    let (mut disk, mut acknowledged, mut images) = (Disk::default(), Vec::new(), 0_u64);
    let mut syncs = 0_u64;
    for (n, op) in ops.iter().enumerate() {
        disk.step(op);
        if stride == 1 && n % 500 == 0 {
            eprintln!("{scenario}: after call {n} of {}", ops.len());
        }
        if let Op::Rename { from, to } = op
            && from.starts_with(&out)
            && to.starts_with(&taken)
        {
            acknowledged.push(to.file_name().unwrap().to_string_lossy().into_owned());
        }
        syncs += u64::from(matches!(op, Op::Sync { .. }));
        // Within each stride another one.
        if stride > 1 && dice.roll(stride as u64) != 0 {
            continue;
        }
        for loss in [Loss::Gone, Loss::Torn, Loss::Some] {
            let what = format!("SEED={}, after call {n} ({}), {loss:?}", dice.seed, brief(op));
            let home = tempfile::tempdir().unwrap();
            disk.fail(loss, &dice, root, home.path());
            let image = Image { home: home.path(), what: &what };
            let acknowledged = acknowledged.iter().map(|name| (name, &files[name]));
            image.look(acknowledged, &received, images.is_multiple_of(7));
            images += 1;
        }
    }
    assert_eq!(acknowledged.len(), sent_files);
    println!(
        "{}",
        serde_json::json!({
            "scenario": scenario, "seed": dice.seed, "sent": sent_files, "calls": ops.len(),
            "synchronised": syncs, "images": images, "lost": 0,
        })
    );
}

fn brief(op: &Op) -> String {
    format!("{op:?}").chars().take(120).collect()
}

struct Image<'i> {
    home: &'i Path,
    what: &'i str,
}

impl Image<'_> {
    fn look<'a>(
        &self,
        acknowledged: impl Iterator<Item = (&'a String, &'a String)>,
        received: &BTreeMap<DocumentId, (String, String)>,
        mirror_too: bool,
    ) {
        let what = self.what;
        let data = self.home.join("data");
        let truth = data.join(VAT).join("truth");
        let options = TruthOptions { reserve_bytes: 0, ..TruthOptions::default() };
        let (store, aside) =
            Truth::open_whole(&truth, options).unwrap_or_else(|error| panic!("{what}: {error}"));
        let acknowledged: Vec<_> = acknowledged.collect();
        // One that is being made has no beginning yet, and nothing to lose.
        assert!(aside.is_none() || acknowledged.is_empty(), "{what}: {aside:?}");
        let store: Arc<dyn Store> = Arc::new(store);
        for (name, file) in acknowledged {
            let hash = BlobHash::of(file.as_bytes());
            let found = archive::blob(&*store, vat(VAT), &DocumentId::invoice(&hash), &hash);
            assert!(found == Ok(Some(file.clone().into_bytes())), "{what}: {name}: {found:?}");
        }
        let rows = archive::feed(&*store, vat(VAT), 0, usize::MAX).unwrap();
        let cursor = fs::read_to_string(data.join(VAT).join("in.position")).unwrap_or_default();
        let delivered = cursor.parse().unwrap_or(Cursor::START).position;
        for (_, log, seq) in rows.iter().filter(|(at, ..)| *at <= delivered) {
            let stored = archive::bundle(&*store, vat(VAT), log, *seq).unwrap();
            for document in Body::decode(&stored.body).unwrap().documents() {
                let Some((name, file)) = received.get(&document) else { continue };
                let found = fs::read_to_string(self.home.join("spool/in").join(name));
                assert!(found.is_ok_and(|found| found == *file), "{what}: in/{name}");
            }
        }
        assert!(delivered <= rows.last().map_or(0, |(at, ..)| *at), "{what}: the cursor is ahead");
        if mirror_too {
            let (mirror, _) = Mirror::open(&data.join("mirror"), MirrorOptions::default())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let projector = Projector::new(vat(VAT), store, Arc::new(mirror));
            projector.follow(rows.last().map_or(0, |(at, ..)| *at)).unwrap();
            let compared = projector.compare().unwrap();
            assert!(compared.is_equal(), "{what}: {compared:?}");
        }
    }
}
