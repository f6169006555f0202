//! What scenarios share: their options, the ends they start, and the figures all of them print.

pub mod blob_resume;
pub mod cold_sync;
pub mod erp;
pub mod failover;
pub mod live;
pub mod mirror_rebuild;
pub mod open;
pub mod portal;
pub mod reconnect;
pub mod relay;
pub mod sessions;
pub mod steady;
pub mod twins;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use benches::{
    end::{AnyError, End, Order, Papers, Place, State},
    figures::Figures,
    link::{Link, LinkHandle, LinkSpec},
    packaged,
    ports::free_address,
};
use clap::Args;
use engine::{grant::Role, id::VatNumber};
use tempfile::TempDir;

/// Starts this program as the one whose `name` its commands hide: a node or a portal as it is
/// installed, in a process of its own.
pub fn program(name: &str, config: &Path) -> Result<Child, AnyError> {
    Ok(Command::new(std::env::current_exe()?)
        .arg(name)
        .arg(config)
        .envs(packaged::environment())
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()?)
}

/// What can be said about any scenario.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Invoices there are before.
    #[arg(long, default_value_t = 10_000)]
    pub documents: u64,
    /// Changes made.
    #[arg(long, default_value_t = 0)]
    pub changed: u64,
    /// All changes in one bundle.
    #[arg(long)]
    pub together: bool,
    /// Restart the portal too, after the changes were made.
    #[arg(long)]
    pub restart: bool,
    /// How often it is measured.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// A line in between, such as `rtt_ms=40,up_kbit=1000,down_kbit=7000`; see `link`.
    #[arg(long)]
    pub link: Option<String>,
    /// The node keeps a mirror too, and is waited for until it shows everything.
    #[arg(long)]
    pub mirror: bool,
    /// Where stores lie while it runs; the system's folder for temporary files if absent.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Portals and a node of one tenant, each a process, with a line in front of each portal if asked.
pub struct World {
    /// A, and B where there are two.
    pub portals: Vec<End>,
    /// The node.
    pub node: End,
    /// Whether the node keeps a mirror.
    pub mirror: bool,
    links: Vec<LinkHandle>,
    /// Kept until the end: the stores lie in it.
    _dir: TempDir,
}

impl World {
    /// Starts `count` portals and a node that does not dial yet but is admitted.
    pub fn start(options: &Options, count: usize) -> Result<Self, AnyError> {
        let tenant = VatNumber::parse("02038490237")?;
        let dir = match &options.dir {
            Some(dir) => TempDir::new_in(dir)?,
            None => TempDir::new()?,
        };
        let papers = (0..count).map(|_| Papers::issue()).collect::<Result<Vec<_>, _>>()?;
        let pins: Vec<String> = papers
            .iter()
            .map(|papers| Ok::<_, AnyError>(papers.pin()?.to_string()))
            .collect::<Result<_, _>>()?;
        let place = |papers: &Papers, name: &str, listen: Option<SocketAddr>| Place {
            dir: dir.path().join(name),
            papers: papers.clone(),
            role: if listen.is_some() { Role::Portal } else { Role::Node },
            tenant,
            portals: pins.clone(),
            listen,
        };
        let mut portals = Vec::new();
        let mut links = Vec::new();
        for (n, papers) in papers.iter().enumerate() {
            let listen = free_address()?;
            let mut portal = End::spawn(place(papers, &format!("portal-{n}"), Some(listen)))?;
            // Each dials those before it.
            let dial = portals
                .iter()
                .map(|other: &End| (other.pin.clone(), other.place.listen.into_iter().collect()));
            portal.done(&Order::Start { dial: dial.collect(), lines: 1, mirror: false })?;
            portals.push(portal);
            if let Some(settings) = &options.link {
                links.push(link(settings, listen)?);
            }
        }
        let own = Papers::issue()?;
        let node = End::spawn(place(&own, "node", None))?;
        portals[0].done(&Order::Admit { cert: own.cert, key: own.key })?;
        for portal in &mut portals {
            portal.done(&Order::Hold { bundles: 1 })?;
        }
        Ok(Self { portals, node, mirror: options.mirror, links, _dir: dir })
    }

    /// The order by which the node starts to work with these portals.
    pub fn dialling(&self, portals: &[usize]) -> Order {
        let dial = portals.iter().map(|n| {
            let at = match self.links.get(*n) {
                Some(link) => Some(link.local()),
                None => self.portals[*n].place.listen,
            };
            (self.portals[*n].pin.clone(), at.into_iter().collect())
        });
        Order::Start { dial: dial.collect(), lines: portals.len(), mirror: self.mirror }
    }

    /// Another node process in the place of the first, with nothing on its disk.
    pub fn renew_node(&mut self) -> Result<(), AnyError> {
        let place = self.node.place.clone();
        self.node.kill()?;
        std::fs::remove_dir_all(&place.dir).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        self.node = End::spawn(place)?;
        Ok(())
    }

    /// The line in front of a portal, if one was asked for.
    pub fn link(&self, portal: usize) -> Option<&LinkHandle> {
        self.links.get(portal)
    }

    /// The portal on which the node's primary session is.
    pub fn primary(&mut self) -> Result<usize, AnyError> {
        let primary = self.node.read()?.primary.ok_or("there is no primary session")?;
        self.portals.iter().position(|portal| portal.pin == primary).ok_or("of no portal".into())
    }

    /// Another process in the place of a portal that was killed.
    pub fn revive_portal(&mut self, portal: usize) -> Result<(), AnyError> {
        let place = self.portals[portal].place.clone();
        let others = self.portals[..portal]
            .iter()
            .map(|other: &End| (other.pin.clone(), other.place.listen.into_iter().collect()));
        let start = Order::Start { dial: others.collect(), lines: 1, mirror: false };
        self.portals[portal] = End::spawn(place)?;
        self.portals[portal].done(&start)?;
        Ok(())
    }

    /// Another node process in the place of the first, on the same disk.
    pub fn revive_node(&mut self) -> Result<(), AnyError> {
        let place = self.node.place.clone();
        self.node.kill()?;
        self.node = End::spawn(place)?;
        Ok(())
    }

    /// The state of the node and of a portal, to be compared with a later one.
    pub fn states(&mut self, portal: usize) -> Result<[State; 2], AnyError> {
        Ok([self.node.read()?, self.portals[portal].read()?])
    }
}

/// The figures that every measurement has: what both ends spent between two states, and what the
/// node carried.
pub fn standard(
    scenario: &str,
    options: &Options,
    changed: u64,
    wall_ns: u64,
    before: &[State; 2],
    after: &[State; 2],
) -> Figures {
    let cpu = |end: usize| (after[end].cpu_ns - before[end].cpu_ns) as f64 / 1e9;
    let (was, is) = (&before[0].reading, &after[0].reading);
    let switches =
        [("together", options.together), ("restart", options.restart), ("mirror", options.mirror)];
    let with: Vec<&str> = switches.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let mut figures =
        Figures::of(scenario).label("link", options.link.as_deref().unwrap_or("loopback"));
    if !with.is_empty() {
        figures = figures.label("with", with.join(" "));
    }
    figures
        .with("documents", options.documents)
        .with("changed", changed)
        .with("wall_s", wall_ns as f64 / 1e9)
        .with("cpu_s", cpu(0) + cpu(1))
        .with("cpu_node_s", cpu(0))
        .with("cpu_portal_s", cpu(1))
        .with("rss_bytes", after[0].rss_bytes)
        .with("peak_bytes", after[0].peak_bytes)
        .with("rss_portal_bytes", after[1].rss_bytes)
        .with("bytes_up", is.sent.frame_bytes() - was.sent.frame_bytes())
        .with("bytes_down", is.heard.frame_bytes() - was.heard.frame_bytes())
        .with("datagram_bytes_up", is.sent.datagrams.bytes - was.sent.datagrams.bytes)
        .with("datagram_bytes_down", is.heard.datagrams.bytes - was.heard.datagrams.bytes)
        .with("round_trips", is.round_trips - was.round_trips)
}

fn link(settings: &str, target: SocketAddr) -> Result<LinkHandle, AnyError> {
    let mut spec = LinkSpec::clear(target);
    for setting in settings.split(',') {
        spec.set(setting)?;
    }
    Ok(Link::start(spec)?)
}
