//! What is done to the town, one act after another, while invoices keep coming: the harm, the
//! time it lasts, the mending, and the time until everybody has caught up.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    feed::Feed,
    flow::{Flow, POLL},
    town::Town,
};

/// How often a line says how things are.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Races between portals and lines pause up to 30 s when they found nobody for long.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(60);
const A: usize = 0;
const B: usize = 1;

/// One kind of harm, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing happens: the measure for the others.
    Calm,
    /// The line that most nodes use goes silent.
    CutLine,
    /// Both lines of a portal, by its place, go silent.
    CutPortal(usize),
    /// `kill -9` of a portal, by its place.
    KillPortal(usize),
    /// Every line goes silent.
    CutEverything,
    /// `kill -9` of both portals.
    KillBoth,
    /// `kill -9` of one company's node.
    KillNode(usize),
}

/// How long things last.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Between two invoices.
    pub beat: Duration,
    /// How long harm lasts.
    pub outage: Duration,
    /// How long everything is up between two acts.
    pub pause: Duration,
    /// What happens.
    pub acts: Vec<Act>,
}

/// What an act did to the flow.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What happened, in words.
    pub what: String,
    /// Nodes whose primary session used what was harmed.
    pub hit: usize,
    /// Those of them that had a session elsewhere, ready to take over.
    pub warm: usize,
    /// Invoices fed while it lasted.
    pub fed: usize,
    /// The longest an invoice waited on its node for the first portal.
    pub gap: Duration,
    /// How long it lasted.
    pub lasted: Duration,
    /// From the mending to the first acknowledgement, where there was none before.
    pub first_after: Option<Duration>,
    /// From the mending until nothing waited.
    pub caught_up: Duration,
}

/// The stage: town, feed and flow.
pub struct Stage<'a> {
    /// Who is harmed.
    pub town: &'a mut Town,
    /// Goes on whatever happens.
    pub feed: &'a Feed,
    /// Watches.
    pub flow: &'a Flow,
    /// When the first invoice was fed.
    pub start: Instant,
}

impl Plan {
    /// What `make demo` plays: a little over a minute.
    #[must_use]
    pub fn full() -> Self {
        Self {
            beat: Duration::from_millis(100),
            outage: Duration::from_secs(5),
            pause: Duration::from_secs(3),
            // Nodes stay where a failure drove them: each of these drives them to where the
            // next strikes.
            acts: vec![
                Act::Calm,
                Act::CutLine,
                Act::CutLine,
                Act::KillPortal(A),
                Act::CutEverything,
                Act::KillBoth,
                Act::KillNode(1),
                Act::CutPortal(A),
                Act::KillPortal(B),
            ],
        }
    }

    /// The same story in short, for `make test`.
    #[must_use]
    pub fn short() -> Self {
        Self {
            beat: Duration::from_millis(150),
            outage: Duration::from_secs(2),
            pause: Duration::from_millis(500),
            ..Self::full()
        }
    }
}

impl Stage<'_> {
    /// Plays one act to its end.
    ///
    /// # Errors
    /// A sentence, when a process ended by itself or nobody catches up.
    pub async fn play(&mut self, act: Act, plan: &Plan) -> io::Result<Outcome> {
        let _ = self.flow.take_gap();
        let before = self.feed.count();
        let (what, hit, warm) = self.harm(act);
        self.say(&what);
        let harmed = Instant::now();
        self.live(plan.outage).await?;
        let acknowledged = self.flow.last_acknowledgement();
        let fed = self.feed.count() - before;
        let lasted = harmed.elapsed();
        if act != Act::Calm {
            self.say(mending(act));
        }
        // A portal's own start counts as part of the repair.
        let mended = Instant::now();
        self.mend(act).await?;
        self.catch_up().await?;
        let caught_up = mended.elapsed();
        let silent = acknowledged.is_none_or(|at| at < harmed + plan.outage / 2);
        let first_after = self.flow.last_acknowledgement().filter(|_| silent);
        let outcome = Outcome {
            what,
            hit,
            warm,
            fed,
            gap: self.flow.take_gap(),
            lasted,
            first_after: first_after.map(|at| at.saturating_duration_since(mended)),
            caught_up,
        };
        self.say(&format!(
            "caught up {} s after; the longest wait was {} s",
            seconds(caught_up),
            seconds(outcome.gap)
        ));
        self.live(plan.pause).await?;
        Ok(outcome)
    }

    /// Does it, and tells what in words, how many nodes are hit, and how many of those are warm.
    fn harm(&mut self, act: Act) -> (String, usize, usize) {
        let (portal, line) = self.busiest_line();
        let (hit, warm) = match act {
            Act::Calm => (0, 0),
            Act::CutLine => self.struck(&[self.address(portal, line)]),
            Act::CutPortal(portal) | Act::KillPortal(portal) => {
                self.struck(&self.addresses(portal))
            }
            Act::CutEverything | Act::KillBoth => {
                self.struck(&[self.addresses(A), self.addresses(B)].concat())
            }
            Act::KillNode(_) => (1, 0),
        };
        let what = match act {
            Act::Calm => "everything is up".to_owned(),
            Act::CutLine => {
                self.town.cut_line(portal, line);
                let name = self.town.portals[portal].name;
                format!("line {} of portal {name} goes silent", line + 1)
            }
            Act::CutPortal(portal) => {
                self.town.cut_portal(portal);
                self.feed.set_reachable(portal, false);
                format!("both lines of portal {} go silent", self.town.portals[portal].name)
            }
            Act::KillPortal(portal) => format!("kill -9 of {}", self.kill_portal(portal)),
            Act::CutEverything => {
                self.town.cut_everything();
                "every line goes silent".to_owned()
            }
            Act::KillBoth => {
                let both = [self.kill_portal(A), self.kill_portal(B)];
                format!("kill -9 of {}", both.join(" and "))
            }
            Act::KillNode(n) => {
                let company = &mut self.town.companies[n];
                let pid = company.service.kill().unwrap_or_default();
                format!("kill -9 of node {} ({pid})", company.name)
            }
        };
        (what, hit, warm)
    }

    fn kill_portal(&mut self, portal: usize) -> String {
        self.feed.set_reachable(portal, false);
        let portal = &mut self.town.portals[portal];
        let pid = portal.service.kill().unwrap_or_default();
        format!("portal {} ({pid})", portal.name)
    }

    async fn mend(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Calm => {}
            Act::CutLine | Act::CutEverything => self.town.mend_lines(),
            Act::CutPortal(portal) => {
                self.town.mend_lines();
                self.feed.set_reachable(portal, true);
            }
            Act::KillPortal(_) | Act::KillBoth => {
                for (n, portal) in self.town.portals.iter_mut().enumerate() {
                    portal.restart().await?;
                    self.feed.set_reachable(n, true);
                }
            }
            Act::KillNode(n) => self.town.companies[n].restart().await?,
        }
        Ok(())
    }

    /// Lets time pass, with a line now and then.
    async fn live(&mut self, time: Duration) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            sleep(HEARTBEAT.min(time.saturating_sub(begun.elapsed()))).await;
            self.check()?;
            self.beat();
        }
        Ok(())
    }

    /// Waits until no invoice waits.
    async fn catch_up(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let mut said = begun;
        // What was fed in the last second may be in out/ still; what was fed during the act is not.
        while self.flow.waiting() > 0 || self.statuses_missing() {
            if begun.elapsed() > CATCH_UP_PATIENCE {
                let waiting = self.flow.waiting();
                return Err(io::Error::other(format!(
                    "{waiting} invoices wait for a portal still"
                )));
            }
            if said.elapsed() > HEARTBEAT {
                said = Instant::now();
                self.beat();
            }
            self.check()?;
            sleep(POLL).await;
        }
        Ok(())
    }

    fn statuses_missing(&self) -> bool {
        self.flow.statuses().iter().any(Option::is_none)
    }

    fn check(&mut self) -> io::Result<()> {
        self.town.casualty().map_or(Ok(()), |why| Err(io::Error::other(why)))
    }

    /// The line, as portal and number, that most nodes have their primary session on.
    fn busiest_line(&self) -> (usize, usize) {
        let lines = [(A, 0), (A, 1), (B, 0), (B, 1)];
        let users = |(portal, line): &(usize, usize)| {
            // Of two equal ones the first.
            (self.struck(&[self.address(*portal, *line)]).0, std::cmp::Reverse((*portal, *line)))
        };
        lines.into_iter().max_by_key(users).unwrap_or((A, 0))
    }

    fn address(&self, portal: usize, line: usize) -> String {
        self.town.portals[portal].lines[line].local().to_string()
    }

    fn addresses(&self, portal: usize) -> Vec<String> {
        (0..self.town.portals[portal].lines.len()).map(|line| self.address(portal, line)).collect()
    }

    /// How many nodes have their primary session to one of `addresses`, and how many of those
    /// have another session to somewhere else.
    fn struck(&self, addresses: &[String]) -> (usize, usize) {
        let statuses = self.flow.statuses().into_iter().flatten();
        let hit: Vec<_> = statuses
            .filter(|status| {
                status.sessions.iter().any(|s| s.primary && addresses.contains(&s.remote))
            })
            .collect();
        let warm = hit
            .iter()
            .filter(|status| status.sessions.iter().any(|s| !addresses.contains(&s.remote)));
        (hit.len(), warm.count())
    }

    fn say(&self, what: &str) {
        println!("[{:>6} s] {what}", seconds(self.start.elapsed()));
    }

    fn beat(&self) {
        let portals: Vec<_> = self
            .town
            .portals
            .iter()
            .enumerate()
            .map(|(n, portal)| {
                let state = if portal.service.is_up() { "up" } else { "DOWN" };
                format!(
                    "{} {state} ({} nodes on it)",
                    portal.name,
                    self.struck(&self.addresses(n)).0
                )
            })
            .collect();
        println!(
            "[{:>6} s]   fed {}, acknowledged to nodes {}, waiting on nodes {}; {}",
            seconds(self.start.elapsed()),
            self.feed.count(),
            self.flow.acknowledged(),
            self.flow.waiting(),
            portals.join(", ")
        );
    }
}

/// A duration in seconds, to a hundredth.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn mending(act: Act) -> &'static str {
    match act {
        Act::Calm => "",
        Act::CutLine => "the line is mended",
        Act::CutPortal(_) => "both lines are mended",
        Act::CutEverything => "all lines are mended",
        Act::KillPortal(_) => "the portal is started again",
        Act::KillBoth => "both portals are started again",
        Act::KillNode(_) => "the node is started again",
    }
}
