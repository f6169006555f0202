//! One rival at one number of documents over one line: the cold sync, what is left of it after
//! kill -9, reconnections, and live changes, in this order on the same data.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use benches::link::{Link, LinkHandle, LinkSpec};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    invoices,
    results::{self, Line, figure, line, quantile},
    rival::{Cost, Failure, Held, Rival, cost, disk_bytes},
};

/// After what was waited for: what trails behind is counted too.
const SETTLE: Duration = Duration::from_millis(300);
/// Live changes.
const LIVE: u64 = 100;
/// Preparing (writing at the server, opening) may take so much longer than what is measured.
const PREPARING: u32 = 4;

/// What is asked of a rival.
pub struct Plan {
    /// Invoices.
    pub documents: u64,
    /// Numbers of changes of the reconnections.
    pub changed: Vec<u64>,
    /// Also live changes.
    pub live: bool,
    /// The name of the line, and its settings.
    pub link: (String, String),
    /// After this long a measurement is ended.
    pub cap: Duration,
    /// Where the results go.
    pub results: PathBuf,
}

/// The line in between, as bytes and time are counted on it.
struct Counted {
    link: LinkHandle,
    before: [u64; 2],
    costs: [Cost; 2],
}

impl Counted {
    fn start(rival: &dyn Rival, link: LinkHandle) -> Self {
        let before = [link.up().bytes, link.down().bytes];
        Self { link, before, costs: rival.processes().map(|pids| cost(&pids)) }
    }

    /// Adds what was spent since the start.
    fn add_to(&self, line: &mut Line, rival: &dyn Rival) {
        let [client, server] = rival.processes().map(|pids| cost(&pids));
        let bytes = [self.link.up().bytes, self.link.down().bytes];
        let spent = [client.cpu_s - self.costs[0].cpu_s, server.cpu_s - self.costs[1].cpu_s];
        for (name, value) in [
            ("bytes_up", (bytes[0] - self.before[0]) as f64),
            ("bytes_down", (bytes[1] - self.before[1]) as f64),
            ("rss_bytes", client.rss_bytes as f64),
            ("peak_bytes", client.peak_bytes as f64),
            ("rss_server_bytes", server.rss_bytes as f64),
            ("cpu_s", spent[0] + spent[1]),
            ("cpu_client_s", spent[0]),
            ("cpu_server_s", spent[1]),
        ] {
            line.insert(name.into(), figure(value));
        }
    }
}

/// How many documents a rival did not get through over this line, if that is fewer than these: more
/// are not tried then.
pub fn too_much(
    results: &Path,
    system: &str,
    documents: u64,
    link: &str,
) -> io::Result<Option<u64>> {
    let capped = |line: &Line| {
        line["scenario"] == "cold-sync"
            && line["system"] == system
            && line["link"] == link
            && line.get("capped") == Some(&Value::Bool(true))
    };
    let lines = results::read(results)?;
    let capped = lines.iter().filter(|line| capped(line));
    Ok(capped.filter_map(|line| line["documents"].as_u64()).filter(|n| *n < documents).min())
}

/// Measures all of the plan that the rival gets through.
pub fn run(rival: &mut dyn Rival, plan: &Plan, scratch: &TempDir) -> io::Result<()> {
    let outcome = measure(rival, plan, scratch.path());
    rival.stop_client(true);
    match outcome {
        Ok(()) => Ok(()),
        Err((line, failure)) => {
            let mut line = *line;
            match failure {
                Failure::Capped => {
                    line.insert("capped".into(), true.into());
                    line.insert("wall_s".into(), figure(plan.cap.as_secs_f64()));
                }
                Failure::Broken(why) => {
                    line.insert("capped".into(), false.into());
                    line.insert("failed".into(), why.lines().next().unwrap_or_default().into());
                }
            }
            results::put(&plan.results, line)
        }
    }
}

type Ended = (Box<Line>, Failure);

fn measure(rival: &mut dyn Rival, plan: &Plan, scratch: &Path) -> Result<(), Ended> {
    let documents = plan.documents;
    let system = rival.name();
    let new = |scenario: &str, changed: u64| {
        let mut line = line(scenario, system, documents, changed, &plan.link.0);
        line.insert("cap_s".into(), plan.cap.as_secs().into());
        line
    };
    let (server_dir, client_dir) = (scratch.join("server"), scratch.join("client"));
    let prepared = || Instant::now() + plan.cap * PREPARING;
    let until = || Instant::now() + plan.cap;

    let mut cold = new("cold-sync", 0);
    cold.insert("settings".into(), rival.settings().into());
    let ended = |line: &Line| {
        let line = Box::new(line.clone());
        move |failure| (line, failure)
    };
    let lines = scratch.join("invoices.jsonl");
    let payload = invoices::write_lines(&lines, documents).map_err(Failure::from);
    let payload = payload.map_err(ended(&cold))?;
    cold.insert("payload_bytes".into(), payload.into());
    let server = rival.start_server(&server_dir, prepared()).map_err(ended(&cold))?;
    let mut held = Held { documents, changes: 0 };
    let started = Instant::now();
    rival.write(&lines, held, prepared()).map_err(ended(&cold))?;
    cold.insert("written_by_server_s".into(), figure(started.elapsed().as_secs_f64()));

    // Cold.
    let link = start_link(server, &plan.link.1).map_err(ended(&cold))?;
    let at = link.local();
    rival.start_client(&client_dir, at, prepared()).map_err(ended(&cold))?;
    let counted = Counted::start(rival, link);
    let synced = rival.sync(held, until());
    if synced.is_err() {
        counted.add_to(&mut cold, rival);
    }
    let wall = synced.map_err(ended(&cold))?;
    // First kill, then look: what is not on the disk by now is lost.
    counted.add_to(&mut cold, rival);
    rival.stop_client(true);
    drop(counted);
    cold.insert("wall_s".into(), figure(wall.as_secs_f64()));
    cold.insert("disk_bytes".into(), disk_bytes(&client_dir).into());
    let nowhere = (std::net::Ipv4Addr::LOCALHOST, 9).into();
    let left = rival
        .start_client(&client_dir, nowhere, prepared())
        .and_then(|opens| rival.held(prepared()).map(|left| (opens, left)));
    match left {
        Ok((opens, left)) => {
            cold.insert("durable".into(), format!("{} of {documents}", left.documents).into());
            cold.insert("opens_s".into(), figure(opens.as_secs_f64()));
        }
        Err(_) => drop(cold.insert("durable".into(), "does not open".into())),
    }
    cold.insert("capped".into(), false.into());
    results::put(&plan.results, cold.clone()).map_err(Failure::from).map_err(ended(&cold))?;
    rival.stop_client(false);

    // Back again, after so many changes.
    for &changed in &plan.changed {
        let mut line = new("reconnect", changed);
        rival.change(held.changes, changed, prepared()).map_err(ended(&line))?;
        held.changes += changed;
        let link = start_link(server, &plan.link.1).map_err(ended(&line))?;
        let at = link.local();
        let opens = rival.start_client(&client_dir, at, prepared()).map_err(ended(&line))?;
        let counted = Counted::start(rival, link);
        let wall = rival.sync(held, until()).map_err(ended(&line))?;
        std::thread::sleep(SETTLE);
        counted.add_to(&mut line, rival);
        line.insert("wall_s".into(), figure(wall.as_secs_f64()));
        line.insert("opens_s".into(), figure(opens.as_secs_f64()));
        line.insert("capped".into(), false.into());
        line.insert("disk_bytes".into(), disk_bytes(&client_dir).into());
        results::put(&plan.results, line.clone()).map_err(Failure::from).map_err(ended(&line))?;
        rival.stop_client(false);
    }

    // Live.
    if plan.live {
        let mut line = new("live", LIVE);
        let link = start_link(server, &plan.link.1).map_err(ended(&line))?;
        let at = link.local();
        rival.start_client(&client_dir, at, prepared()).map_err(ended(&line))?;
        rival.sync(held, until()).map_err(ended(&line))?;
        let counted = Counted::start(rival, link);
        let started = Instant::now();
        let times = rival.live(held, LIVE, until()).map_err(ended(&line))?;
        counted.add_to(&mut line, rival);
        line.insert("wall_s".into(), figure(started.elapsed().as_secs_f64()));
        match times {
            Some(mut times) => {
                line.insert("p50_ms".into(), figure(quantile(&mut times, 0.5)));
                line.insert("p99_ms".into(), figure(quantile(&mut times, 0.99)));
            }
            None => drop(line.insert("p50_ms".into(), Value::Null)),
        }
        line.insert("capped".into(), false.into());
        results::put(&plan.results, line.clone()).map_err(Failure::from).map_err(ended(&line))?;
        rival.stop_client(false);
    }
    Ok(())
}

fn start_link(server: std::net::SocketAddr, settings: &str) -> Result<LinkHandle, Failure> {
    let mut spec = LinkSpec::clear(server);
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        spec.set(setting).map_err(Failure::Broken)?;
    }
    Ok(Link::start(spec)?)
}
