//! `staffetta-node doctor`: everything that is usually wrong, looked at all at once; one line
//! each, with what to do about it.
//!
//! It changes nothing. Whether the service runs or not it tells what it can: what only the
//! service knows (the archive, the mirror) is asked of it, what only the network knows is tried
//! with the certificate the service uses.

mod bundle;
mod clock;
mod here;
mod network;
mod service;

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    config::{self, NodeConfig},
    control, originals,
    service::Ask,
};

/// `doctor`: exits 0 when all is well, 1 when something is wrong, 3 when the configuration
/// cannot be read.
#[derive(Args)]
pub struct Doctor {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// For machines.
    #[arg(long)]
    json: bool,
    /// Writes report, status and configuration, without secrets, to a file for whoever helps.
    #[arg(long)]
    bundle: Option<PathBuf>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and will not for ever.
    Warning,
    /// It does not work.
    Error,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing.
    pub cure: String,
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        let (check, found) = (check.into(), found.into());
        Self { check, verdict: Verdict::Ok, found, cure: String::new() }
    }

    fn warning(check: &str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        let (found, cure) = (found.into(), cure.into());
        Self { check: check.to_owned(), verdict: Verdict::Warning, found, cure }
    }

    fn error(check: &str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, ..Self::warning(check, found, cure) }
    }
}

/// Looks, and says.
#[must_use]
pub fn run(args: &Doctor) -> ExitCode {
    let fail = |code: u8, why: &dyn std::fmt::Display| {
        eprintln!("staffetta-node: {why}");
        ExitCode::from(code)
    };
    let config = match config::load::<NodeConfig>(&args.config) {
        Ok(config) => config,
        Err(error) => return fail(3, &error),
    };
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(4, &error),
        };
    let (findings, status) = runtime.block_on(examine(&config));
    if args.json {
        println!("{}", serde_json::json!({ "findings": findings }));
    } else {
        print!("{}", to_text(&findings));
    }
    if let Some(path) = &args.bundle
        && let Err(error) = bundle::write(path, &args.config, &findings, &status)
    {
        return fail(4, &format!("cannot write {}: {error}", path.display()));
    }
    let is_well = findings.iter().all(|finding| finding.verdict != Verdict::Error);
    if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Everything at once: what was found, in order, and what the service says of itself.
pub async fn examine(config: &NodeConfig) -> (Vec<Finding>, serde_json::Value) {
    let status = control::ask(&config.data, Ask::Status).await;
    let is_running = status.is_ok();
    let mut here = here::findings(config);
    match &status {
        Ok(answer) => here.extend(service::findings(answer)),
        Err(error) => here.push(Finding::error(
            "service",
            error.to_string(),
            "start it: systemctl start staffetta-node, or staffetta-node run",
        )),
    }
    let mut checks = Checks::default();
    let server = config.time_server.clone();
    checks.add(async move { clock::check(&server).await });
    for tenant in config.tenants.iter().filter(|_| is_running) {
        let (data, vat) = (config.data.clone(), tenant.vat);
        checks.add(async move {
            let question = |after| Ask::Originals { vat, after };
            let listing = originals::ask_all(&data, vat, question).await;
            service::archive(listing.ok(), &vat.to_string())
        });
        let data = config.data.clone();
        checks.add(async move {
            let answer = control::ask(&data, Ask::Compare { vat }).await;
            service::mirror(&answer.unwrap_or_default(), &vat.to_string())
        });
    }
    for probe in network::probes(config) {
        checks.add(probe.run());
    }
    for (name, address) in listeners(config) {
        checks.add(async move { network::port(&name, address, is_running).await });
    }
    for host in network::names(config) {
        checks.add(async move { network::name(&host).await });
    }
    here.extend(checks.all().await);
    (here, status.unwrap_or_default())
}

/// Checks that wait for somebody: all at once, their findings in the order they were added.
#[derive(Default)]
struct Checks {
    at_work: JoinSet<(usize, Finding)>,
    count: usize,
}

impl Checks {
    fn add(&mut self, check: impl Future<Output = Finding> + Send + 'static) {
        let place = self.count;
        self.count += 1;
        self.at_work.spawn(async move { (place, check.await) });
    }

    async fn all(self) -> Vec<Finding> {
        let mut found = self.at_work.join_all().await;
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, finding)| finding).collect()
    }
}

fn listeners(config: &NodeConfig) -> Vec<(String, std::net::SocketAddr)> {
    // A port that the system chooses cannot be known here.
    let api = config.api.iter().flat_map(|api| &api.listen).map(|address| ("api", address));
    let sql = config.sql.iter().flat_map(|sql| &sql.listen).map(|address| ("sql", address));
    let known = api.chain(sql).filter(|(_, address)| address.port() != 0);
    known.map(|(name, address)| (name.to_owned(), *address)).collect()
}

/// One line each.
#[must_use]
pub fn to_text(findings: &[Finding]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for Finding { check, verdict, found, cure } in findings {
        let mark = match verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "WARNING",
            Verdict::Error => "ERROR  ",
        };
        let arrow = if cure.is_empty() { "" } else { " -> " };
        let found = found.replace('\n', " ");
        let _ = writeln!(text, "{mark} {check}: {found}{arrow}{cure}");
    }
    text
}

#[cfg(test)]
mod tests;
