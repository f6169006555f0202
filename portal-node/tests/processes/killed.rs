//! `kill -9` at random moments while invoices come in by every door: after each, the files of the
//! process that was killed hold all that it had acknowledged, in whatever words (a file moved to
//! `taken/`, an answer of the API, bundles a portal said it holds), no number was used twice, and
//! the mirror shows what the truth says. `CYCLES` is how often each is killed, `SEED` when.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use engine::id::DocumentId;
use node::{
    client::{Client, ClientError, Credentials},
    token::Tokens,
};

use crate::{
    image::{Image, Numbers, Taken, document},
    town::{Portals, Service, Town, VAT, names, received, sent, until, vat},
};

/// Files that may wait in a folder before the feeder pauses: a load, not a flood.
const WAITING_MAX: usize = 40;
/// Cycles after which all that was ever acknowledged is looked for again, and the mirror compared,
/// not only what is new.
const WHOLE: u64 = 20;

/// Each in a town of its own, at the same time: both wait more than they work.
#[test]
fn a_node_and_a_portal_killed_at_any_moment_keep_what_they_acknowledged() {
    thread::scope(|scope| {
        scope.spawn(a_node_is_killed);
        scope.spawn(a_portal_is_killed);
    });
}

fn a_node_is_killed() {
    let cycles = cycles();
    let mut scene = Scene::new();
    let erp = scene.start_erp();
    let mut dice = Dice::new("node");
    for cycle in 1..=cycles {
        scene.node.begin();
        scene.wait_for_work(&mut dice, &scene.node.spool("taken"));
        // Before the kill: what is moved or answered after it, was acknowledged by nobody.
        let acknowledged = scene.acknowledged(&scene.node.spool("taken"), true);
        scene.node.kill();
        scene.look(Who::Node, cycle, acknowledged);
    }
    scene.node.start();
    erp.stop();
    scene.end("node", cycles, &dice);
}

fn a_portal_is_killed() {
    let cycles = cycles();
    let mut scene = Scene::new();
    let erp = scene.start_erp();
    let mut dice = Dice::new("portal");
    scene.node.start();
    scene.portals.a.kill();
    let taken = scene.portals.a.dir.join("sdi/taken").join(VAT);
    for cycle in 1..=cycles {
        scene.portals.a.begin();
        scene.wait_for_work(&mut dice, &taken);
        let acknowledged = scene.acknowledged(&taken, false);
        let held = scene.held_by_a();
        scene.portals.a.kill();
        let there = scene.look(Who::Portal, cycle, acknowledged);
        assert!(there >= held, "cycle {cycle}: A said {held} and holds {there}");
    }
    scene.portals.a.start();
    erp.stop();
    scene.end("portal", cycles, &dice);
}

fn cycles() -> u64 {
    env::var("CYCLES").map_or(25, |cycles| cycles.parse().expect("CYCLES is a number"))
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Node,
    Portal,
}

/// Two portals and a node under load, and what was acknowledged so far.
struct Scene {
    portals: Portals,
    node: Service,
    token: String,
    /// What was dropped or submitted, by file name: the document, and the file.
    given: Arc<Mutex<BTreeMap<String, (DocumentId, String)>>>,
    /// Names of what the API answered for.
    answered: Arc<Mutex<BTreeSet<String>>>,
    /// What was found in an image once is looked for again only now and then.
    found: BTreeSet<String>,
    numbers: Numbers,
    /// How far the feed of the process that is killed was read.
    end: u64,
    bundles: u64,
    answers: u64,
    /// Its folder goes after the processes in it.
    town: Town,
}

/// Threads that give invoices and read changes, whoever is up.
struct Erp {
    done: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Scene {
    fn new() -> Self {
        let mut town = Town::new();
        let portals = town.portals();
        let issued = town.issue_node(VAT);
        let mut node = town.node("node", &issued, &portals);
        let text = fs::read_to_string(&node.config).unwrap();
        let (head, tail) = text.split_once("[[portal]]").unwrap();
        let api = town.address(3);
        let api = format!("{head}[api]\nlisten = [{api:?}]\n[[portal]]{tail}");
        fs::write(&node.config, api).unwrap();
        let token = Tokens::of(&node.dir.join("data")).add("erp", vat(VAT), true).unwrap();
        portals.admit(&node);
        // Once in an orderly way, so that there is a grant and a folder for everything.
        node.start();
        until("the node has its grant", || node.is_in_sync());
        fs::create_dir_all(portals.a.dir.join("sdi/taken").join(VAT)).unwrap();
        node.kill();
        Self {
            town,
            portals,
            node,
            token,
            given: Arc::default(),
            answered: Arc::default(),
            found: BTreeSet::new(),
            numbers: Numbers::new(),
            end: 0,
            bundles: 0,
            answers: 0,
        }
    }

    /// Files into `out/` and into the portal's folder of the SdI, and submissions by the API.
    fn start_erp(&self) -> Erp {
        let done = Arc::new(AtomicBool::new(false));
        // A long run shall end with ten thousand invoices, not with a hundred thousand.
        let pause = Duration::from_millis(if cycles() > 100 { 120 } else { 15 });
        let folders = [
            (self.node.spool("out"), "s", sent as fn(&str) -> String),
            (self.portals.a.dir.join("sdi").join(VAT), "r", received),
        ];
        let mut threads = Vec::new();
        for (folder, letter, make) in folders {
            fs::create_dir_all(&folder).unwrap();
            let (done, given) = (Arc::clone(&done), Arc::clone(&self.given));
            threads.push(thread::spawn(move || {
                for n in 0_u64.. {
                    while names(&folder).len() >= WAITING_MAX && !done.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(20));
                    }
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let (number, file) = (format!("{letter}{n}"), make(&format!("{letter}{n}")));
                    let name = format!("{number}.xml");
                    given.lock().unwrap().insert(name.clone(), (document(&file), file.clone()));
                    let half = folder.join(format!(".{name}"));
                    fs::write(&half, file).unwrap();
                    fs::rename(half, folder.join(name)).unwrap();
                    sleep(pause);
                }
            }));
        }
        let client = self.client();
        let (stop, given) = (Arc::clone(&done), Arc::clone(&self.given));
        let answered = Arc::clone(&self.answered);
        threads.push(thread::spawn(move || {
            let runtime = runtime();
            for n in 0_u64.. {
                let name = format!("api{n}.xml");
                let file = sent(&format!("api{n}"));
                given.lock().unwrap().insert(name.clone(), (document(&file), file.clone()));
                // An answer that did not come is a question asked again.
                loop {
                    let bytes = file.clone().into_bytes();
                    match runtime.block_on(client.submit(&name, bytes, Some(&name))) {
                        Ok(_) => break,
                        Err(ClientError::Http(_)) => sleep(Duration::from_millis(20)),
                        Err(ClientError::Problem { status: 503, .. }) => {
                            sleep(Duration::from_millis(20));
                        }
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
                answered.lock().unwrap().insert(name);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                sleep(pause);
            }
        }));
        Erp { done, threads }
    }

    fn client(&self) -> Client {
        let base = format!("http://{}", self.town.address(3));
        Client::new(&base, Credentials::Token(self.token.clone())).unwrap()
    }

    /// A random moment: one in four while it starts, two at work, and one after it has taken a
    /// file, however slow the machine is.
    fn wait_for_work(&self, dice: &mut Dice, taken: &Path) {
        match dice.roll(4) {
            0 => return sleep(Duration::from_millis(dice.roll(150))),
            1 | 2 => return sleep(Duration::from_millis(150 + dice.roll(900))),
            _ => {}
        }
        let before = names(taken).len();
        let begun = Instant::now();
        while names(taken).len() == before && begun.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(3));
        }
        assert!(names(taken).len() > before, "it takes files: {}", self.node.log());
        sleep(Duration::from_millis(dice.roll(250)));
    }

    /// Names of what was acknowledged and not found in an image yet.
    fn acknowledged(&self, taken: &Path, by_api: bool) -> Vec<String> {
        // What came by the API has the beginning of its hash before its name.
        let name =
            |name: String| name.split_once('_').map_or(name.clone(), |(_, it)| it.to_owned());
        let mut all: Vec<_> = names(taken).into_iter().map(name).collect();
        if by_api {
            all.extend(self.answered.lock().unwrap().iter().cloned());
        }
        all.retain(|name| !self.found.contains(name));
        all
    }

    /// How many bundles the node heard from A that it holds.
    fn held_by_a(&self) -> u64 {
        let tenant = self.node.tenant();
        let portals = tenant["portals"].as_array().cloned().unwrap_or_default();
        let a = portals.iter().find(|portal| portal["name"] == "A");
        a.and_then(|a| a["holds"].as_u64()).unwrap_or(0)
    }

    /// Looks into the files of who was killed; how many bundles they hold.
    fn look(&mut self, who: Who, cycle: u64, acknowledged: Vec<String>) -> u64 {
        let service = if who == Who::Node { &self.node } else { &self.portals.a };
        let image = Image::of(service);
        let whole = cycle.is_multiple_of(WHOLE) || cycle < 5;
        let taken = image.after(if whole { 0 } else { self.end });
        assert!(taken.end >= self.end, "cycle {cycle}: {} of {}", taken.end, self.end);
        self.compare(cycle, &taken);
        self.bundles = if whole { 0 } else { self.bundles } + taken.numbers.len() as u64;
        self.end = taken.end;
        self.answers += acknowledged.len() as u64;
        let given = self.given.lock().unwrap();
        let again = self.found.iter().filter(|_| whole);
        for name in acknowledged.iter().chain(again) {
            let (document, file) = &given[name];
            assert!(image.holds(document, file), "cycle {cycle}: {name} was acknowledged");
        }
        drop(given);
        if whole {
            image.mirror_is_the_truths();
        }
        self.found.extend(acknowledged);
        self.bundles
    }

    /// No number is used twice, wherever it is met.
    fn compare(&mut self, cycle: u64, taken: &Taken) {
        for (number, hash) in &taken.numbers {
            let before = self.numbers.insert(*number, *hash);
            assert!(before.is_none_or(|before| before == *hash), "cycle {cycle}: {number:?} twice");
        }
    }

    /// Everybody holds the same, which is all that was given and each once; the figures.
    fn end(mut self, what: &str, cycles: u64, dice: &Dice) {
        self.node.kill();
        self.node.start();
        let given = self.given.lock().unwrap().clone();
        let (out, sdi) = (self.node.spool("out"), self.portals.a.dir.join("sdi").join(VAT));
        let bundles = |service: &Service| service.tenant()["bundles"].clone();
        until("all is taken and held everywhere", || {
            names(&out).is_empty()
                && names(&sdi).is_empty()
                && self.node.is_in_sync()
                && bundles(&self.node) == bundles(&self.portals.a)
                && bundles(&self.node) == bundles(&self.portals.b)
        });
        assert_eq!(self.node.tenant()["records"], given.len() as u64, "each once, and no other");
        assert_eq!(self.node.names("rejected"), Vec::<String>::new());
        self.reader_meets(&given);
        let services = [&mut self.node, &mut self.portals.a, &mut self.portals.b];
        let images = services.map(|service| {
            service.stop();
            assert!(!service.log().contains("panicked"), "{}", service.log());
            Image::of(service)
        });
        let mut first = None;
        for image in images {
            let taken = image.after(0);
            self.compare(cycles, &taken);
            let numbers = first.get_or_insert_with(|| taken.numbers.clone());
            assert!(*numbers == taken.numbers, "the three hold the same");
            image.mirror_is_the_truths();
            for (name, (document, file)) in &given {
                assert!(image.holds(document, file), "{name}");
            }
        }
        let bundles = first.map_or(0, |numbers| numbers.len());
        println!(
            "{}",
            serde_json::json!({
                "scenario": "killed", "who": what, "seed": dice.seed, "cycles": cycles,
                "invoices": given.len(), "bundles": bundles, "acknowledged_before_a_kill": self.answers,
                "lost": 0, "numbers_used_twice": 0,
            })
        );
    }

    /// Who follows the changes from the beginning meets every invoice.
    fn reader_meets(&self, given: &BTreeMap<String, (DocumentId, String)>) {
        let (client, runtime) = (self.client(), runtime());
        let (mut since, mut met) = (None::<String>, BTreeSet::new());
        loop {
            let page = runtime.block_on(client.changes(since.as_deref(), 0)).unwrap();
            met.extend(page.changes.into_iter().filter_map(|change| change.id));
            since = Some(page.next);
            if !page.more {
                break;
            }
        }
        assert_eq!(met.len(), given.len(), "the feed brings each");
    }
}

impl Erp {
    fn stop(self) {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Numbers from a seed, which is printed: the moments can be had again, what falls into them
/// cannot.
pub struct Dice {
    pub seed: u64,
    state: AtomicU64,
}

impl Dice {
    pub fn new(what: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seed = env::var("SEED").map_or(now, |seed| seed.parse().expect("SEED is a number"));
        println!("{what}: SEED={seed}");
        Self::of(seed)
    }

    pub fn of(seed: u64) -> Self {
        Self { seed, state: AtomicU64::new(seed) }
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        // SplitMix64.
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
