//! Disks that return other bytes than were written: flipped bits, zeroed pages and lost ends in
//! every file that a node or a portal keeps. Nothing panics, nothing is lost in silence, and
//! within a minute all is as it was: from the truth where what was hit is derived from it, from a
//! peer where it was the truth. `DAMAGE` is how many of each kind, `SEED` where.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use engine::store::StoreError;
use node::{
    client::{Client, Credentials},
    config::{self, NodeConfig},
    control,
    originals::Page,
    service::Ask,
    token::Tokens,
    transport::Identity,
    truth::{Note, Truth, TruthOptions},
    user::Users,
};
use portal_node::config::PortalConfig;
use serde_json::Value;

use crate::{
    image::copy,
    killed::Dice,
    town::{Portals, Service, Town, VAT, names, received, sent, until, vat, within},
};

const PAGE: u64 = 4096;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Node,
    Portal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Flipped,
    Zeroed,
    Cut,
}

const KINDS: [Kind; 3] = [Kind::Flipped, Kind::Zeroed, Kind::Cut];

/// How many of each kind: a node and a portal share them.
fn damages() -> u64 {
    let each = env::var("DAMAGE").map_or(12, |each| each.parse().expect("DAMAGE is a number"));
    u64::div_ceil(each, 2)
}

/// Damages one file somewhere; false where there is nothing to damage.
fn damage(path: &Path, kind: Kind, dice: &Dice) -> bool {
    let len = fs::metadata(path).unwrap().len();
    if len == 0 {
        return false;
    }
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = dice.roll(len);
    match kind {
        Kind::Flipped => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            byte[0] ^= 1 << dice.roll(8);
            file.write_all_at(&byte, at).unwrap();
        }
        Kind::Zeroed => {
            let from = at / PAGE * PAGE;
            let zeros = vec![0; usize::try_from(PAGE.min(len - from)).unwrap()];
            file.write_all_at(&zeros, from).unwrap();
        }
        Kind::Cut => file.set_len(at).unwrap(),
    }
    true
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Two portals and a node with something of everything, all of which all three hold.
struct Scene {
    portals: Portals,
    node: Service,
    bundles: Value,
    records: Value,
    originals: usize,
    runtime: tokio::runtime::Runtime,
    _town: Town,
}

impl Scene {
    fn new() -> Self {
        let mut town = Town::new();
        let portals = town.portals_with_doors();
        let issued = town.issue_node(VAT);
        let mut node = town.node("node", &issued, &portals);
        let secret = node.dir.join("secret");
        fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr").unwrap();
        let text = fs::read_to_string(&node.config).unwrap();
        let (head, tail) = text.split_once("[[portal]]").unwrap();
        // Nobody answers at the hook, so its cursor stays where it began.
        let more = format!(
            "[api]\nlisten = [{:?}]\n[[webhook]]\nvat = {VAT:?}\nurl = \"http://127.0.0.1:9/\"\n\
             secret_file = {secret:?}\n",
            town.address(3)
        );
        fs::write(&node.config, format!("{head}{more}[[portal]]{tail}")).unwrap();
        let data = node.dir.join("data");
        let token = Tokens::of(&data).add("erp", vat(VAT), true).unwrap();
        Users::open(&data).unwrap().add("anna", vat(VAT), "una frase lunga").unwrap();
        portals.admit(&node);
        node.start();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client =
            Client::new(&format!("http://{}", town.address(3)), Credentials::Token(token)).unwrap();
        let folder = portals.a.dir.join("sdi").join(VAT);
        fs::create_dir_all(&folder).unwrap();
        for n in 0..12 {
            fs::write(node.spool("out").join(format!("s{n}.xml")), sent(&format!("s{n}"))).unwrap();
            fs::write(folder.join(format!("r{n}.xml")), received(&format!("r{n}"))).unwrap();
        }
        // Two that are cut into chunks, of what does not compress.
        for n in 0..2 {
            let name = format!("large{n}.xml");
            fs::write(node.spool("out").join(&name), large(&name)).unwrap();
        }
        for n in 0..3 {
            let (name, file) = (format!("api{n}.xml"), sent(&format!("api{n}")).into_bytes());
            let taken = runtime.block_on(client.submit(&name, file, Some(&name))).unwrap();
            let mark = serde_json::json!({ "notes": "letta" });
            runtime.block_on(client.annotate(&taken.id, &mark)).unwrap();
        }
        let mut scene = Self {
            _town: town,
            portals,
            node,
            bundles: Value::Null,
            records: Value::Null,
            originals: 12 + 12 + 2 + 3,
            runtime,
        };
        until("all is held everywhere", || {
            let tenant = scene.node.tenant();
            scene.node.is_in_sync()
                && tenant["records"] == scene.originals + 3
                && scene.node.names("in").len() == 12
                && scene.portals.a.tenant()["bundles"] == tenant["bundles"]
                && scene.portals.b.tenant()["bundles"] == tenant["bundles"]
        });
        scene.bundles = scene.node.tenant()["bundles"].clone();
        scene.records = scene.node.tenant()["records"].clone();
        let data = scene.node.dir.join("data").join(VAT);
        until("the cursors are there", || {
            let kept = files(&data);
            let ends = |end: &str| kept.iter().any(|path| path.to_string_lossy().ends_with(end));
            ends(".cursor") && ends("as_of") && ends("in.position")
        });
        scene
    }

    fn service(&mut self, who: Who) -> &mut Service {
        if who == Who::Node { &mut self.node } else { &mut self.portals.a }
    }

    fn ask<T: serde::Serialize>(&self, service: &Service, question: T) -> Option<Value> {
        self.runtime.block_on(control::ask(&service.dir.join("data"), question)).ok()
    }

    /// Holds every bundle, and each original reads back whole.
    fn is_whole(&self, who: Who) -> bool {
        let is_node = who == Who::Node;
        let service = if is_node { &self.node } else { &self.portals.a };
        let asked = if is_node {
            self.ask(service, Ask::Status)
        } else {
            self.ask(service, portal_node::service::Ask::Status)
        };
        let Some(status) = asked else { return false };
        let tenants = status["tenants"].as_array().cloned().unwrap_or_default();
        let Some(tenant) = tenants.iter().find(|tenant| tenant["vat"] == VAT) else { return false };
        if tenant["bundles"] != self.bundles {
            return false;
        }
        let vat = vat(VAT);
        let page = if is_node {
            self.ask(service, Ask::Originals { vat, after: 0 })
        } else {
            self.ask(service, portal_node::service::Ask::Originals { vat, after: 0 })
        };
        let Some(page) = page.and_then(|page| serde_json::from_value::<Page>(page).ok()) else {
            return false;
        };
        let mut hashes: Vec<_> = page.originals.iter().map(|one| &one.sha256).collect();
        hashes.sort();
        hashes.dedup();
        if hashes.len() != self.originals || !page.unreadable.is_empty() {
            return false;
        }
        if !is_node {
            return true;
        }
        let shows = tenant["records"] == self.records && tenant["mirror_behind"] == 0;
        let compared = self.ask(service, Ask::Compare { vat }).unwrap_or_default();
        let equal = compared["compared"]["differing"].as_array().is_some_and(Vec::is_empty);
        shows && equal && self.node.names("in").len() == 12
    }
}

/// An invoice with an attachment of a megabyte.
fn large(number: &str) -> String {
    let noise = Dice::of(7 + number.len() as u64);
    let attached: String = (0..1_400_000)
        .map(|_| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[noise.roll(32) as usize]))
        .collect();
    let text = sent(number);
    let (head, tail) = text.split_once("</FatturaElettronicaBody>").unwrap();
    format!(
        "{head}<Allegati><NomeAttachment>a.pdf</NomeAttachment><Attachment>{attached}</Attachment>\
         </Allegati></FatturaElettronicaBody>{tail}"
    )
}

#[test]
fn whatever_is_damaged_of_a_node_or_a_portal_it_is_whole_again_within_a_minute() {
    thread::scope(|scope| {
        scope.spawn(|| damage_all(Scene::new(), Who::Node));
        scope.spawn(|| damage_all(Scene::new(), Who::Portal));
    });
}

/// Damage after damage, each to the files as they were, until there were enough of each kind.
fn damage_all(mut scene: Scene, who: Who) {
    let dice = Dice::new(&format!("damage of a {who:?}"));
    let dir = scene.service(who).dir.clone();
    scene.service(who).stop();
    let data = dir.join("data");
    let whole = dir.join("whole");
    copy(&data, &whole);
    let mut done: BTreeMap<Kind, u64> = BTreeMap::new();
    let (mut cases, mut set_aside, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    let few = |done: &BTreeMap<Kind, u64>| {
        KINDS.iter().any(|kind| done.get(kind).copied().unwrap_or(0) < damages())
    };
    // Also until the truth was hit so that it had to be set aside.
    while few(&done) || set_aside == 0 {
        let kind = KINDS[(cases % 3) as usize];
        fs::remove_dir_all(&data).unwrap();
        copy(&whole, &data);
        let mut hit = Vec::new();
        for path in files(&data) {
            // Some of them together, so that what repairs one does not lean on another.
            if dice.roll(3) == 0 && damage(&path, kind, &dice) {
                hit.push(path.strip_prefix(&data).unwrap().display().to_string());
            }
        }
        let begun = Instant::now();
        scene.service(who).begin();
        let what = format!("{who:?}, SEED={}, case {cases}, {kind:?}: {hit:?}", dice.seed);
        within(MINUTE, &what, || {
            let ended = scene.service(who).has_ended();
            assert!(!ended, "{what}: {}", scene.service(who).log());
            scene.is_whole(who)
        });
        slowest = slowest.max(begun.elapsed());
        // In an orderly way: who is killed is missed only after a while.
        scene.service(who).stop();
        let aside = |path: &PathBuf| path.to_string_lossy().contains("truth.damaged-");
        set_aside += u64::from(files(&data).iter().any(aside));
        *done.entry(kind).or_default() += hit.len() as u64;
        cases += 1;
    }
    fs::remove_dir_all(&whole).unwrap();
    println!(
        "{}",
        serde_json::json!({
            "scenario": "damaged", "who": format!("{who:?}"), "seed": dice.seed, "cases": cases,
            "flipped": done[&Kind::Flipped], "zeroed": done[&Kind::Zeroed], "cut": done[&Kind::Cut],
            "truths_set_aside": set_aside, "slowest_s": slowest.as_secs_f64(),
        })
    );
}

/// Certificates, keys, secrets and configurations: what nobody can bring again is refused with a
/// sentence that names the file, or still means what it meant.
#[test]
fn whatever_is_damaged_of_what_a_process_is_told_is_refused_by_name() {
    let mut town = Town::new();
    let dice = Dice::new("damage of what is told");
    let portals = town.portals();
    let issued = town.issue_node(VAT);
    let node = town.node("node", &issued, &portals);
    let file = |name: &str| node.dir.join(name);
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    for kind in KINDS {
        for _ in 0..damages() {
            for path in [&cert, &key, &node.config, &portals.a.config] {
                let whole = fs::read(path).unwrap();
                damage(path, kind, &dice);
                let said = if *path == node.config {
                    config::load::<NodeConfig>(path).err().map(|error| error.to_string())
                } else if *path == portals.a.config {
                    config::load::<PortalConfig>(path).err().map(|error| error.to_string())
                } else {
                    Identity::load(&cert, &key).err().map(|error| error.to_string())
                };
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if let Some(said) = said {
                    // A key that fits no certificate may be either's fault.
                    let named = said.contains(&name) || said.contains("cert.pem");
                    assert!(named, "SEED={}, {name} {kind:?}: {said}", dice.seed);
                }
                fs::write(path, whole).unwrap();
            }
        }
    }
}

#[test]
fn what_only_a_damaged_truth_held_is_said_again() {
    said_again(Harm::NotOpened, Harm::WentBack);
}

#[test]
fn what_only_the_newest_transaction_of_a_truth_held_is_said_again() {
    said_again(Harm::WentBack, Harm::NotOpened);
}

/// What had reached nobody when the truth of a node, and of a portal, was damaged.
fn said_again(of_node: Harm, of_portal: Harm) {
    let mut town = Town::new();
    let mut portals = town.portals();
    let issued = town.issue_node(VAT);
    let mut node = town.node("node", &issued, &portals);
    let text = fs::read_to_string(&node.config).unwrap();
    let (head, tail) = text.split_once("[[portal]]").unwrap();
    let api = format!("{head}[api]\nlisten = [{:?}]\n[[portal]]{tail}", town.address(3));
    fs::write(&node.config, api).unwrap();
    let token = Tokens::of(&node.dir.join("data")).add("erp", vat(VAT), true).unwrap();
    portals.admit(&node);
    node.start();
    until("the node has its grant", || node.is_in_sync());
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();

    // A takes what B never hears of, and the node what no portal does.
    portals.b.stop();
    node.stop();
    fs::write(folder.join("r.xml"), received("r")).unwrap();
    let taken = portals.a.dir.join("sdi/taken").join(VAT);
    fs::create_dir_all(&taken).unwrap();
    until("A has taken it", || names(&taken) == ["r.xml"]);
    portals.a.kill();
    node.start();
    let client =
        Client::new(&format!("http://{}", town.address(3)), Credentials::Token(token)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let submit = |n: usize| {
        let (name, file) = (format!("api{n}.xml"), sent(&format!("api{n}")).into_bytes());
        runtime.block_on(client.submit(&name, file, Some(&name))).unwrap()
    };
    for n in 0..5 {
        fs::write(node.spool("out").join(format!("s{n}.xml")), sent(&format!("s{n}"))).unwrap();
        assert!(!submit(n).known);
    }
    until("all are taken", || node.names("taken").len() == 10);
    // Of one that was not closed the storage engine opens nothing where one page is damaged.
    node.kill();

    let truths = [node.dir.join("data").join(VAT).join("truth"), portals.a.dir.join("data/truth")];
    spoil(&truths[0].join("truth.redb"), of_node);
    spoil(&truths[1].join("truth.redb"), of_portal);
    portals.a.start();
    portals.b.start();
    node.start();
    until("all is said again, and held everywhere", || {
        let bundles = |service: &Service| service.tenant()["bundles"].clone();
        node.is_in_sync()
            && node.tenant()["records"] == 5 + 5 + 1
            && node.names("in") == ["r.xml"]
            && bundles(&node) == bundles(&portals.b)
            && bundles(&node) == bundles(&portals.a)
    });
    for ((service, truth), harm) in
        [&node, &portals.a].into_iter().zip(&truths).zip([of_node, of_portal])
    {
        until("it was looked through", || service.log().contains("were said again"));
        let said = match harm {
            Harm::NotOpened => "the store is damaged: it is set aside",
            Harm::WentBack => "the newest transaction of the store is not whole",
        };
        assert!(service.log().contains(said), "{}", service.log());
        let aside = truth.with_file_name("truth.damaged-1/looked-through");
        assert_eq!((aside.exists(), Note::WentBack.is_on(truth)), (harm == Harm::NotOpened, false));
    }
    // Once is enough, also where the ERP asks again under the key it used.
    let bundles = node.tenant()["bundles"].clone();
    for n in 0..5 {
        assert!(submit(n).known);
    }
    let page = runtime.block_on(client.list("direction=sent")).unwrap();
    let names: BTreeSet<_> = page.invoices.iter().map(|one| one.file_name.clone()).collect();
    let said = (0..5).flat_map(|n| [format!("s{n}.xml"), format!("api{n}.xml")]);
    assert_eq!(names, said.collect(), "under the names they came under");
    node.stop();
    node.start();
    until("nothing is said a second time", || node.is_in_sync());
    assert_eq!(node.tenant()["bundles"], bundles);
}

/// What a store says of its file when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    NotOpened,
    WentBack,
}

/// Flips bits, until the store that was not closed says that of its file.
fn spoil(file: &Path, wanted: Harm) {
    let whole = fs::read(file).unwrap();
    // Where bytes are as good as random there is a packed value.
    let dense = |at: &usize| {
        let mut seen = whole[at - 100..at + 100].to_vec();
        seen.sort_unstable();
        seen.dedup();
        seen.len() > 90
    };
    let used = |at: &usize| whole[at - 8..at + 8].iter().all(|byte| *byte != 0);
    let mut bytes = whole.clone();
    let places = || 8192..whole.len() - 100;
    let mut at_values: Vec<usize> = Vec::new();
    if wanted == Harm::NotOpened {
        at_values.extend(places().step_by(97).filter(dense));
    }
    let places: Vec<usize> =
        at_values.into_iter().chain(places().step_by(7).filter(used)).collect();
    for at in &places {
        bytes[*at] ^= 1;
        let said = said_of(&bytes);
        if said == Some(wanted) {
            return fs::write(file, bytes).unwrap();
        }
        // What the newest transaction wrote stands in the one before too, in another page, as it
        // was then: that one is still to be found.
        if said != Some(Harm::WentBack) {
            bytes[*at] ^= 1;
        }
    }
    panic!("{}: none of {} bits makes it {wanted:?}", file.display(), places.len());
}

fn said_of(bytes: &[u8]) -> Option<Harm> {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("truth.redb"), bytes).unwrap();
    let options = TruthOptions { reserve_bytes: 0, ..TruthOptions::default() };
    match Truth::open(home.path(), options) {
        Err(StoreError::Damaged { .. }) => Some(Harm::NotOpened),
        _ => Note::WentBack.is_on(home.path()).then_some(Harm::WentBack),
    }
}
