//! Disks that are lost, processes that are killed, and a disk that is full.

use std::{collections::BTreeSet, fs, path::Path, process::Command, thread::sleep, time::Duration};

use serde_json::Value;

use crate::town::{Service, Town, VAT, received, sent, until, within};

#[test]
fn a_node_that_lost_its_disk_gets_everything_back() {
    let (_town, portals, mut node) = Town::with_node();
    node.start();
    let folder = portals.b.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    for n in 0..10 {
        fs::write(node.spool("out").join(format!("s{n}.xml")), sent(&format!("s{n}"))).unwrap();
        fs::write(folder.join(format!("r{n}.xml")), received(&format!("r{n}"))).unwrap();
    }
    until("all is held everywhere", || {
        node.is_in_sync() && node.tenant()["records"] == 20 && node.names("in").len() == 10
    });
    let bundles = node.tenant()["bundles"].clone();
    node.kill();
    fs::remove_dir_all(node.dir.join("data")).unwrap();
    fs::remove_dir_all(node.dir.join("spool")).unwrap();
    node.start();
    until("all is back", || {
        node.is_in_sync() && node.tenant()["records"] == 20 && node.names("in").len() == 10
    });
    assert_eq!(node.tenant()["bundles"], bundles);
    for n in 0..10 {
        let file = fs::read_to_string(node.spool("in").join(format!("r{n}.xml"))).unwrap();
        assert_eq!(file, received(&format!("r{n}")), "byte for byte");
    }
    // And it writes on, in a log of its own.
    fs::write(node.spool("out").join("after.xml"), sent("after")).unwrap();
    until("it goes on", || node.is_in_sync() && node.tenant()["records"] == 21);
    assert_eq!(portals.a.tenant()["bundles"], node.tenant()["bundles"]);
}

#[test]
fn a_node_killed_in_the_middle_of_taking_files_loses_none_and_says_none_twice() {
    let (_town, portals, mut node) = Town::with_node();
    node.start();
    const FILES: usize = 50;
    for round in 0..3 {
        let before = node.names("taken").len();
        for n in 0..FILES {
            let number = format!("{round}-{n}");
            fs::write(node.spool("out").join(format!("{number}.xml")), sent(&number)).unwrap();
        }
        // At another point of the work each time.
        until("it takes files", || node.names("taken").len() > before + round * 10);
        node.kill();
        node.start();
    }
    until("all are taken and held", || node.names("taken").len() == 3 * FILES && node.is_in_sync());
    let tenant = node.tenant();
    assert_eq!(tenant["records"], 3 * FILES as u64, "nothing lost, nothing twice: {tenant}");
    assert_eq!(node.names("rejected"), Vec::<String>::new());
    let contents: BTreeSet<String> = (node.names("taken").iter())
        .map(|name| fs::read_to_string(node.spool("taken").join(name)).unwrap())
        .collect();
    assert_eq!(contents.len(), 3 * FILES);
    assert_eq!(portals.b.tenant()["bundles"], tenant["bundles"]);
}

#[test]
fn a_full_disk_is_named_reads_go_on_and_work_resumes_by_itself() {
    let mut town = Town::new();
    let portals = town.portals();
    let issued = town.issue_node(VAT);
    let disk = Disk::new(&town.path("disk"), 160);
    let mut node = town.node_in("node", &issued, &portals, &disk.0.join("data"));
    portals.admit(&node);
    node.start();
    fs::write(node.spool("out").join("before.xml"), sent("before")).unwrap();
    until("all is well", || node.is_in_sync() && node.tenant()["records"] == 1);
    assert!(node.tenant()["storage"].is_null());

    let ballast = disk.fill();
    fs::write(node.spool("out").join("during.xml"), sent("during")).unwrap();
    until("the state is named", || {
        node.tenant()["storage"].as_str().is_some_and(|why| why.contains("is full"))
    });
    let text = node.status_text();
    assert!(text.contains("STORAGE the disk that holds") && text.contains("is full"), "{text}");
    assert!(text.contains("FILES during.xml stays in out/"), "{text}");
    assert_eq!(node.names("out"), ["during.xml"]);
    // A portal has something for it meanwhile.
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("r.xml"), received("r")).unwrap();
    until("B holds it", || portals.b.tenant()["bundles"] == portals.a.tenant()["bundles"]);
    let tenant = node.tenant();
    assert_eq!(tenant["records"], 1, "reads go on: {tenant}");
    assert!(tenant["portals"].as_array().unwrap().iter().any(|p| p["connected"] == true));

    fs::remove_file(ballast).unwrap();
    within(Duration::from_secs(30), "it resumes by itself", || {
        node.names("taken").len() == 2 && node.names("in") == ["r.xml"] && node.is_in_sync()
    });
    let tenant = node.tenant();
    assert!(tenant["storage"].is_null(), "{tenant}");
    assert_eq!(tenant["records"], 3);
    assert_eq!(node.names("out"), Vec::<String>::new());
    node.stop();
}

#[test]
fn a_portal_whose_disk_is_full_says_so_and_its_nodes_turn_to_the_other() {
    let mut town = Town::new();
    let disk = Disk::new(&town.path("a").join("data"), 160);
    let other = Disk::new(&town.path("b").join("data"), 160);
    let portals = town.portals();
    let issued = town.issue_node(VAT);
    let mut node = town.node("node", &issued, &portals);
    portals.admit(&node);
    node.start();
    fs::write(node.spool("out").join("before.xml"), sent("before")).unwrap();
    until("all is well", || node.is_in_sync() && node.tenant()["records"] == 1);

    let ballast = disk.fill();
    fs::write(node.spool("out").join("during.xml"), sent("during")).unwrap();
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("r.xml"), received("r")).unwrap();
    until("A names its state", || {
        portals.a.status()["storage"].as_str().is_some_and(|why| why.contains("is full"))
    });
    within(Duration::from_secs(30), "the node has turned to B, which holds it", || {
        at(&node, "B")["pending_up"] == 0 && node.names("taken").len() == 2
    });
    let a = at(&node, "A");
    assert_eq!((&a["full"], &a["connected"]), (&true.into(), &true.into()), "it is still served");
    assert_eq!(a["pending_up"], 1, "A acknowledges nothing that it cannot store: {a}");
    assert!(node.status_text().contains("portal A: connected, its disk is full"));
    let sessions = node.tenant()["sessions"].clone();
    let primary = sessions.as_array().unwrap().iter().find(|session| session["primary"] == true);
    assert_eq!(primary.unwrap()["peer"], "B");

    // Both: what is taken waits at the node, which stays with them and is quiet.
    let other = other.fill();
    fs::write(node.spool("out").join("both.xml"), sent("both")).unwrap();
    until("both are known to be full", || {
        at(&node, "A")["full"] == true && at(&node, "B")["full"] == true
    });
    until("the node has taken it", || node.names("taken").len() == 3);
    sleep(Duration::from_secs(6));
    let log = node.log();
    assert!(!log.contains("session ends"), "{log}");
    assert!(log.matches("the peer's disk is full").count() <= 4, "no storm: {log}");
    assert_eq!(at(&node, "B")["pending_up"], 1);
    // Room at one of them is enough.
    fs::remove_file(ballast).unwrap();
    within(Duration::from_secs(30), "A has it by itself", || at(&node, "A")["pending_up"] == 0);
    fs::remove_file(other).unwrap();
    within(Duration::from_secs(30), "all resumes by itself", || {
        node.is_in_sync() && node.names("in") == ["r.xml"] && node.tenant()["records"] == 4
    });
    assert!(portals.a.status()["storage"].is_null());
    assert_eq!((&at(&node, "A")["full"], &at(&node, "B")["full"]), (&false.into(), &false.into()));
}

/// What a node says of a portal.
fn at(node: &Service, portal: &str) -> Value {
    let portals = node.tenant()["portals"].clone();
    portals.as_array().unwrap().iter().find(|one| one["name"] == portal).unwrap().clone()
}

/// A process that may open nothing more goes on with what it has, and does the rest once it may.
#[test]
fn without_descriptors_nothing_is_lost_and_serving_resumes() {
    let (_town, portals, mut node) = Town::with_node();
    node.start();
    let folder = portals.a.dir.join("sdi").join(VAT);
    fs::create_dir_all(&folder).unwrap();
    until("all is well", || node.is_in_sync());
    for round in 0..2 {
        let before = node.names("taken").len();
        let limits = [&node, &portals.a].map(|service| Descriptors::none_left(service.process()));
        for n in 0..5 {
            let number = format!("{round}-{n}");
            fs::write(node.spool("out").join(format!("{number}.xml")), sent(&number)).unwrap();
            fs::write(folder.join(format!("r{number}.xml")), received(&number)).unwrap();
        }
        // Long enough for whoever would give up to do so.
        sleep(Duration::from_secs(4));
        assert_eq!(node.names("taken").len(), before, "nothing can be read");
        drop(limits);
        within(Duration::from_secs(30), "all is done once it may", || {
            let done = before + 5;
            node.names("taken").len() == done
                && node.names("in").len() == done
                && node.is_in_sync()
                && node.tenant()["bundles"] == portals.a.tenant()["bundles"]
                && node.tenant()["bundles"] == portals.b.tenant()["bundles"]
        });
    }
    assert_eq!(node.names("rejected"), Vec::<String>::new());
}

/// Holds a process at the descriptors it has; dropped, it may have as many as before.
struct Descriptors(u32, String);

impl Descriptors {
    fn none_left(process: u32) -> Self {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let before = line.split_whitespace().nth(3).unwrap().to_owned();
        // The limit is on numbers, the lowest free one is given, and the first are all taken.
        Self::set(process, "8");
        Self(process, before)
    }

    fn set(process: u32, soft: &str) {
        let words = [format!("--pid={process}"), format!("--nofile={soft}:")];
        assert!(Command::new("prlimit").args(words).status().unwrap().success());
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        Self::set(self.0, &self.1);
    }
}

/// A disk of its own, gone when dropped.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(path: &Path, mib: u32) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "staffetta-test"])
            .arg(path)
            .status();
        let mounted = mount.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small tmpfs: run it as root, or in a container");
        Self(path.to_owned())
    }

    /// Takes all that is left.
    fn fill(&self) -> std::path::PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        let block = vec![1; 1 << 16];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The node may still have files open: it is killed before its folder goes.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
