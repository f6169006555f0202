//! The demo: real processes, real invoices, real failures, and a count of what is left.
//!
//! Two portals and three companies' nodes run as separate processes on loopback; lines are cut
//! and processes killed while invoices keep coming; at the end every file is compared with what
//! was fed. It decides nothing about replication and touches no store: it looks from outside.

pub mod acts;
pub mod audit;
pub mod door;
pub mod feed;
pub mod flow;
pub mod process;
pub mod samples;
pub mod settle;
pub mod town;

use std::{fmt::Write as _, io, path::Path, time::Instant};

use node::service::stopped;
use tokio::time::sleep;

use acts::{Outcome, Plan, Stage, seconds};
use audit::Audit;
use feed::{Doors, Feed, Ledger};
use flow::{Flow, POLL};
use samples::Samples;
use settle::{SETTLE_LOOK, SETTLE_PATIENCE, refused, settle};
use town::{RTT_MS, Town};

/// How the demo went.
#[derive(Debug)]
pub struct Verdict {
    /// What every place holds.
    pub audit: Audit,
    /// What each failure did.
    pub outcomes: Vec<Outcome>,
    /// What was fed.
    pub ledger: Ledger,
    /// Files of the sample folder fed as they are, of how many.
    pub pristine: (usize, usize),
    /// Files that were refused, with the reason.
    pub refused: Vec<String>,
    /// What is wrong with what a customer sees on the pages.
    pub pages: Vec<String>,
}

/// Plays `plan` below `root` and leaves everything running in `town`.
///
/// # Errors
/// A sentence, when it could not be played to its end.
pub async fn perform(
    town: &mut Town,
    root: &Path,
    samples: Samples,
    plan: &Plan,
) -> io::Result<Verdict> {
    let folder_files = samples.folder_files();
    println!("Starting two portals and {} nodes; logs in {}", town.companies.len(), root.display());
    let begun = Instant::now();
    town.open(&root.join("certificates")).await?;
    let flow = Flow::watch(town.companies.iter().map(|company| company.data.clone()).collect());
    connected(town, &flow).await?;
    println!(
        "All up after {} s. Every line has a round trip of {RTT_MS} ms. An invoice is fed every {} ms.",
        seconds(begun.elapsed()),
        plan.beat.as_millis()
    );
    let feed = Feed::start(samples, doors(town), plan.beat);
    let mut stage = Stage { town, feed: &feed, flow: &flow, start: Instant::now() };
    let mut outcomes = Vec::new();
    for act in &plan.acts {
        outcomes.push(stage.play(*act, plan).await?);
    }
    let ledger = feed.stop().await?;
    println!("Nothing is fed any more; waiting until everything is everywhere.");
    let (time, lacking) = settle(town, &flow, &ledger).await?;
    if lacking.is_empty() {
        println!("Everything is everywhere after {} s.", seconds(time));
    } else {
        println!("Not so after {} s: {}.", seconds(time), lacking.join("; "));
    }
    println!("Every file is read back and compared.");
    let pristine = ledger.values().filter(|fed| fed.pristine).count();
    let statuses = flow.statuses();
    let records: Vec<_> = statuses.iter().map(|status| status.as_ref()?.records).collect();
    let audit = Audit::of(town, &ledger, &records)?;
    let refused = refused(town);
    println!("The owner of {} looks at the pages of both portals.", town.companies[0].name);
    let pages = town.door.faults(town, &ledger).await;
    Ok(Verdict { audit, outcomes, ledger, pristine: (pristine, folder_files), refused, pages })
}

impl Verdict {
    /// Whether nothing is missing, altered or in the wrong tenant.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.audit.is_clean() && self.refused.is_empty() && self.pages.is_empty()
    }

    /// The tables.
    #[must_use]
    pub fn to_text(&self) -> String {
        let received = self.ledger.values().filter(|fed| fed.way == samples::Way::Received).count();
        let mut text = String::new();
        let bytes: u64 = self.ledger.values().map(|fed| fed.bytes).sum();
        let _ = writeln!(
            text,
            "\nInvoices fed: {} ({} sent, {received} received; {} of the folder's {} files as they are; {} kB)\n",
            self.ledger.len(),
            self.ledger.len() - received,
            self.pristine.0,
            self.pristine.1,
            bytes / 1000
        );
        text += &self.audit.to_text();
        for why in &self.refused {
            let _ = writeln!(text, "  refused: {why}");
        }
        for why in &self.pages {
            let _ = writeln!(text, "  not as it should be: {why}");
        }
        let _ = writeln!(
            text,
            "\n  {:<48}{:>9}{:>6}{:>6}{:>8}{:>13}{:>11}{:>11}",
            "failure",
            "nodes hit",
            "warm",
            "fed",
            "lasted",
            "longest gap",
            "first ack",
            "caught up"
        );
        for outcome in &self.outcomes {
            let Outcome { what, hit, warm, fed, gap, lasted, first_after, caught_up } = outcome;
            let first =
                first_after.map_or_else(|| "-".to_owned(), |time| format!("{} s", seconds(time)));
            let _ = writeln!(
                text,
                "  {what:<48}{hit:>9}{warm:>6}{fed:>6}{:>6.1} s{:>11} s{first:>11}{:>9} s",
                lasted.as_secs_f64(),
                seconds(*gap),
                seconds(*caught_up)
            );
        }
        let _ = writeln!(
            text,
            "\n  nodes hit: nodes whose primary session used what failed; warm: those of them with a session elsewhere.\n  \
             longest gap: the longest an invoice, durable on its node, waited until the first portal had it\n  \
             durably; nodes are asked every {} ms. With everything down it contains the outage.\n  \
             first ack: from the mending to the first acknowledgement, where there was none meanwhile.\n  \
             caught up: from the mending until no invoice waited.",
            POLL.as_millis()
        );
        text
    }
}

pub(crate) fn doors(town: &Town) -> Doors {
    let out = town.companies.iter().map(|company| (company.vat, company.spool.join("out")));
    Doors {
        out: out.collect(),
        sdi: town.portals.iter().map(|portal| portal.sdi.clone()).collect(),
    }
}

/// Waits until every node has a session with both portals.
async fn connected(town: &mut Town, flow: &Flow) -> io::Result<()> {
    let begun = Instant::now();
    let both = |flow: &Flow| {
        flow.statuses().iter().all(|status| {
            status
                .as_ref()
                .is_some_and(|status| status.portals.iter().all(|portal| portal.connected))
        })
    };
    while !both(flow) {
        if let Some(why) = town.casualty() {
            return Err(io::Error::other(why));
        }
        if begun.elapsed() > SETTLE_PATIENCE {
            return Err(io::Error::other("the nodes do not reach both portals"));
        }
        sleep(SETTLE_LOOK).await;
    }
    Ok(())
}

/// What a person can look at while everything stays up.
#[must_use]
pub fn guide(town: &Town, root: &Path, programs: &Path) -> String {
    let mut text = format!("\nEverything is up. Look around in {}:\n", root.display());
    for company in &town.companies {
        let _ = writeln!(
            text,
            "  {:<6} P.IVA {}: drop an invoice in {}/out, see {}/in",
            company.name,
            company.vat,
            company.spool.display(),
            company.spool.display()
        );
    }
    let _ = writeln!(
        text,
        "  received invoices: drop them in {}",
        town.portals[0].sdi.join("PARTITAIVA").display()
    );
    let _ = writeln!(
        text,
        "\nAsk the services (add --json for machines; `list` instead of `status` for every file held):"
    );
    for portal in &town.portals {
        let _ = writeln!(
            text,
            "  {} status --config {}",
            programs.join("staffetta-portal").display(),
            portal.config.display()
        );
    }
    for company in &town.companies {
        let _ = writeln!(
            text,
            "  {} status --config {}",
            programs.join("staffetta-node").display(),
            company.config.display()
        );
    }
    let pids: Vec<_> = town
        .portals
        .iter()
        .map(|portal| (format!("portal {}", portal.name), portal.service.pid()))
        .chain(town.companies.iter().map(|c| (format!("node {}", c.name), c.service.pid())))
        .filter_map(|(name, pid)| Some(format!("{name} {}", pid?)))
        .collect();
    let _ = writeln!(text, "\nProcesses, to kill one yourself: {}", pids.join(", "));
    text += &town.door.guide(town);
    text
}

/// Resolves when a person has seen enough.
pub async fn seen_enough() {
    stopped().await;
}
