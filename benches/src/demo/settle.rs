//! When everything is everywhere, judged by what the services say and by empty folders; what
//! they really hold is for the audit.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use node::status::TenantStatus;
use tokio::time::sleep;

use super::{doors, feed::Ledger, flow::Flow, samples::Way, town::Town};

/// How long everything may take to be everywhere once nothing is fed any more.
pub const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
pub const SETTLE_LOOK: Duration = Duration::from_millis(100);

/// Waits until nothing lacks anywhere, at most [`SETTLE_PATIENCE`]. Gives how long that took,
/// and what lacks still.
///
/// # Errors
/// A sentence, when a process ended by itself.
pub async fn settle(
    town: &mut Town,
    flow: &Flow,
    ledger: &Ledger,
) -> io::Result<(Duration, Vec<String>)> {
    let begun = Instant::now();
    loop {
        if let Some(why) = town.casualty() {
            return Err(io::Error::other(why));
        }
        let lacking = lacking(town, flow, ledger);
        if lacking.is_empty() || begun.elapsed() > SETTLE_PATIENCE {
            return Ok((begun.elapsed(), lacking));
        }
        sleep(SETTLE_LOOK).await;
    }
}

fn lacking(town: &Town, flow: &Flow, ledger: &Ledger) -> Vec<String> {
    let mut lacking = Vec::new();
    for (company, status) in town.companies.iter().zip(flow.statuses()) {
        match status {
            Some(status) => lacking.extend(behind(company.name, &status)),
            None => lacking.push(format!("node {} does not answer", company.name)),
        }
        let due = ledger.values().filter(|fed| fed.vat == company.vat && fed.way == Way::Received);
        let (due, there) = (due.count(), count(&company.spool.join("in")));
        if there < due {
            lacking.push(format!("{there} of {due} files are in in/ of node {}", company.name));
        }
    }
    let doors = doors(town);
    let tenants: Vec<_> = doors.out.iter().map(|(vat, _)| vat.to_string()).collect();
    let sdi = doors.sdi.iter().flat_map(|sdi| tenants.iter().map(move |vat| sdi.join(vat)));
    for folder in doors.out.iter().map(|(_, out)| out.clone()).chain(sdi) {
        let files = count(&folder);
        if files > 0 {
            lacking.push(format!("{files} files wait in {}", folder.display()));
        }
    }
    lacking
}

fn behind(name: &str, status: &TenantStatus) -> Vec<String> {
    let mut behind = Vec::new();
    if status.mirror_behind > 0 {
        behind.push(format!("the mirror of node {name} is {} behind", status.mirror_behind));
    }
    for portal in &status.portals {
        if portal.holds != Some(status.bundles) || portal.pending_up + portal.pending_down > 0 {
            let holds = portal.holds.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
            behind.push(format!(
                "node {name} has {} bundles and knows portal {} to hold {holds}",
                status.bundles, portal.name
            ));
        }
    }
    behind
}

/// The reasons that stand beside refused files, of nodes and portals.
#[must_use]
pub fn refused(town: &Town) -> Vec<String> {
    let nodes = town.companies.iter().map(|company| company.spool.join("rejected"));
    let portals = town.portals.iter().flat_map(|portal| {
        let rejected = portal.sdi.join("rejected");
        town.companies.iter().map(move |company| rejected.join(company.vat.to_string()))
    });
    let files = nodes.chain(portals).flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with(".motivo.txt"))
        .map(|path| {
            let why = fs::read_to_string(&path).unwrap_or_default().replace('\n', " ");
            format!("{}: {why}", path.display())
        })
        .collect()
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
