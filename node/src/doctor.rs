//! `staffetta-node doctor`: everything that is usually wrong, looked at all at once; one line
//! each, with what to do about it.
//!
//! It changes nothing. Whether the service runs or not it tells what it can: what only the
//! service knows (the archive, the mirror) is asked of it, what only the network knows is tried
//! with the certificate the service uses.

mod network;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    config::{self, NodeConfig, TenantConfig},
    control,
    moment::{now_ms, rfc3339},
    originals::{self, Listing},
    private,
    projector::Compared,
    service::{Ask, days_left},
    status::TenantStatus,
    transport::Identity,
};

/// Days before a certificate's end from which on it is to be renewed.
const RENEW_DAYS: i64 = 30;
/// Free space below which the disk is called nearly full; writes stop at a reserve below it.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// 2026-01-01: no clock that is right shows less.
const BUILT_MS: u64 = 1_767_225_600_000;

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
        && let Err(error) = bundle(path, &args.config, &findings, &status)
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
    let mut checks: JoinSet<(usize, Vec<Finding>)> = JoinSet::new();
    let mut order = 0;
    let mut here = vec![clock(), data_folder(&config.data), disk(&config.data)];
    for tenant in &config.tenants {
        here.push(certificate(tenant));
        here.extend(spool(tenant));
    }
    match &status {
        Ok(answer) => here.extend(service(answer)),
        Err(error) => here.push(Finding::error(
            "service",
            error.to_string(),
            "start it: systemctl start staffetta-node, or staffetta-node run",
        )),
    }
    for tenant in &config.tenants {
        if is_running {
            order += 1;
            let (place, data, vat) = (order, config.data.clone(), tenant.vat);
            checks.spawn(async move {
                let question = |after| Ask::Originals { vat, after };
                let listing = originals::ask_all(&data, vat, question).await;
                (place, vec![archive(listing.ok(), &vat.to_string())])
            });
            order += 1;
            let (place, data) = (order, config.data.clone());
            checks.spawn(async move {
                let answer = control::ask(&data, Ask::Compare { vat }).await;
                (place, vec![mirror(&answer.unwrap_or_default(), &vat.to_string())])
            });
        }
    }
    for probe in network::probes(config) {
        order += 1;
        let place = order;
        checks.spawn(async move { (place, vec![probe.run().await]) });
    }
    for (name, address) in listeners(config) {
        order += 1;
        let place = order;
        checks.spawn(async move { (place, vec![network::port(&name, address, is_running).await]) });
    }
    for hook in &config.webhooks {
        order += 1;
        let (place, url) = (order, hook.url.clone());
        checks.spawn(async move { (place, vec![network::name(&url).await]) });
    }
    let mut later = checks.join_all().await;
    later.sort_by_key(|(place, _)| *place);
    here.extend(later.into_iter().flat_map(|(_, findings)| findings));
    (here, status.unwrap_or_default())
}

fn listeners(config: &NodeConfig) -> Vec<(String, std::net::SocketAddr)> {
    // A port that the system chooses cannot be known here.
    let api = config.api.iter().flat_map(|api| &api.listen).map(|address| ("api", address));
    let sql = config.sql.iter().flat_map(|sql| &sql.listen).map(|address| ("sql", address));
    let known = api.chain(sql).filter(|(_, address)| address.port() != 0);
    known.map(|(name, address)| (name.to_owned(), *address)).collect()
}

fn clock() -> Finding {
    let now = now_ms();
    if now < BUILT_MS {
        let cure = "set the clock: timedatectl set-ntp true";
        return Finding::error("clock", format!("it shows {}", rfc3339(now)), cure);
    }
    Finding::ok("clock", rfc3339(now))
}

fn data_folder(data: &Path) -> Finding {
    let check = format!("data folder {}", data.display());
    let Ok(metadata) = fs::metadata(data) else {
        return Finding::error(
            &check,
            "it is not there",
            "start the service once, or check `data`",
        );
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let cure = format!("chmod 700 {}", data.display());
            return Finding::error(&check, format!("others may read it (mode {mode:03o})"), cure);
        }
    }
    if !metadata.is_dir() {
        return Finding::error(&check, "it is not a folder", "check `data`");
    }
    Finding::ok(check, "only this user may read it")
}

fn disk(data: &Path) -> Finding {
    match rustix::fs::statvfs(data) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} MiB free", free / (1024 * 1024));
            if free < FREE_BYTES_MIN {
                return Finding::warning(
                    "disk",
                    found,
                    "free some space: writes stop at a reserve",
                );
            }
            Finding::ok("disk", found)
        }
        Err(error) => Finding::error("disk", error.to_string(), "check `data`"),
    }
}

fn certificate(tenant: &TenantConfig) -> Finding {
    let check = format!("certificate of {}", tenant.vat);
    let identity = match Identity::load(&tenant.cert, &tenant.key) {
        Ok(identity) => identity,
        Err(error) => return Finding::error(&check, error.to_string(), "see staffetta-certgen"),
    };
    if let Some(other) = identity.tenant().filter(|other| *other != tenant.vat) {
        let found = format!("it was issued for P.IVA {other}");
        return Finding::error(&check, found, "put the file of this P.IVA in its place");
    }
    let days = days_left(identity.not_after());
    let found = format!("pin {}, ends in {days} days", identity.peer());
    if days < RENEW_DAYS {
        return Finding::warning(&check, found, "renew it: staffetta-certgen renew");
    }
    Finding::ok(check, found)
}

fn spool(tenant: &TenantConfig) -> Vec<Finding> {
    let look = |folder: &str| {
        let path = tenant.spool.join(folder);
        let check = format!("folder {}", path.display());
        let probe = path.join(".staffetta-doctor");
        match fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
            Ok(()) => Finding::ok(check, "it can be written"),
            Err(error) => Finding::error(
                &check,
                error.to_string(),
                "start the service once, and give this user the right to write here",
            ),
        }
    };
    ["out", "taken", "rejected", "in"].map(look).into()
}

/// What the service says of itself.
fn service(answer: &serde_json::Value) -> Vec<Finding> {
    let tenants = serde_json::from_value::<Vec<TenantStatus>>(answer["tenants"].clone());
    let mut findings = vec![Finding::ok("service", "it answers")];
    for tenant in tenants.unwrap_or_default() {
        let vat = &tenant.vat;
        if let Some(why) = &tenant.storage {
            findings.push(Finding::error(&format!("storage of {vat}"), why, "free the disk"));
        }
        let check = format!("mirror of {vat} follows");
        findings.push(if tenant.mirror_behind == 0 {
            Finding::ok(check, "it shows everything")
        } else {
            let found = format!("{} bundles behind", tenant.mirror_behind);
            Finding::warning(&check, found, "wait: it is being filled; look again in a minute")
        });
        let check = format!("synchronised {vat}");
        findings.push(match tenant.as_of {
            Some(seconds) => Finding::ok(check, format!("as of {}", rfc3339(seconds * 1000))),
            None => Finding::warning(&check, "never yet", "see the lines below"),
        });
        for why in &tenant.spool {
            findings.push(Finding::warning(&format!("files of {vat}"), why, "see the sentence"));
        }
        for why in &tenant.alarms {
            findings.push(Finding::warning(
                &format!("alarm of {vat}"),
                why,
                "call the intermediary",
            ));
        }
        for hook in tenant.webhooks.iter().filter(|hook| hook.failures > 0) {
            let why = hook.last_error.clone().unwrap_or_default();
            let found = format!("{} failures in a row: {why}", hook.failures);
            findings.push(Finding::warning(
                &format!("webhook {}", hook.url),
                found,
                "look at the ERP",
            ));
        }
    }
    findings
}

fn archive(listing: Option<Listing>, vat: &str) -> Finding {
    let check = format!("archive of {vat}");
    let Some(listing) = listing else {
        return Finding::error(&check, "the service did not answer in time", "try again");
    };
    match listing.unreadable.first() {
        None => {
            let found =
                format!("{} originals read back, each equal to its hash", listing.originals.len());
            Finding::ok(check, found)
        }
        Some(first) => {
            let found = format!("{} cannot be read: {first}", listing.unreadable.len());
            let cure = "leave the service connected: it fetches them again from a portal";
            Finding::error(&check, found, cure)
        }
    }
}

/// Whether the mirror shows what the archive says.
fn mirror(answer: &serde_json::Value, vat: &str) -> Finding {
    let check = format!("mirror of {vat} = archive");
    let again = "wait a minute and look again; remove DATA/mirror to have it built anew";
    let Ok(compared) = serde_json::from_value::<Compared>(answer["compared"].clone()) else {
        let why = answer["error"].as_str().unwrap_or("the service did not answer in time");
        return Finding::error(&check, why, again);
    };
    let Compared { documents, shown, differing, moved } = &compared;
    if compared.is_equal() {
        return Finding::ok(check, format!("{documents} documents, each as derived anew"));
    }
    let found = format!("{} differ, {documents} are there and {shown} shown", differing.len());
    if *moved {
        Finding::warning(&check, found, again)
    } else {
        Finding::error(&check, found, again)
    }
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

/// Report, status and configuration in one file. Of secrets there are only the names of files
/// in any of them; what an address has before its host and after its path is taken out.
fn bundle(
    path: &Path,
    config: &Path,
    findings: &[Finding],
    status: &serde_json::Value,
) -> std::io::Result<()> {
    let config = fs::read_to_string(config)?;
    let whole = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "made_at": rfc3339(now_ms()),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "findings": findings,
        "status": status,
        "config": config.lines().map(without_secrets).collect::<Vec<_>>(),
    });
    private::write(path, without_user_info(&format!("{whole:#}\n")).as_bytes())
}

/// Takes out what follows a name that means a secret, should somebody have written one here.
fn without_secrets(line: &str) -> String {
    let name = line.split('=').next().unwrap_or_default().to_lowercase();
    let is_secret = ["secret", "password", "token"].iter().any(|word| name.contains(word));
    if is_secret && !name.contains("_file") {
        return format!("{}= \"(removed)\"", line.split('=').next().unwrap_or_default());
    }
    line.to_owned()
}

/// `https://user:password@host/x?token=y` becomes `https://(removed)@host/x?(removed)`.
fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end =
            tail.find(|c: char| c == '/' || c == '"' || c.is_whitespace()).unwrap_or(tail.len());
        let tail = match tail[..end].rfind('@') {
            Some(at) => {
                out.push_str("(removed)");
                &tail[at..]
            }
            None => tail,
        };
        let end = tail.find(|c: char| c == '"' || c == '\\' || c.is_whitespace());
        let (address, after) = tail.split_at(end.unwrap_or(tail.len()));
        rest = match address.split_once('?') {
            Some((path, _)) => {
                out.push_str(path);
                out.push_str("?(removed)");
                after
            }
            None => tail,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_goes_into_a_bundle() {
        assert_eq!(without_secrets("secret = \"whsec_abc\""), "secret = \"(removed)\"");
        assert_eq!(without_secrets("db_password=x"), "db_password= \"(removed)\"");
        let named = "secret_file = \"/etc/staffetta/s\"";
        assert_eq!(without_secrets(named), named);
        for (text, clean) in [
            ("url = \"https://erp:geheim@erp.lan/x\"", "url = \"https://(removed)@erp.lan/x\""),
            ("https://a/b@c https://u@h", "https://a/b@c https://(removed)@h"),
            ("{\"u\":\"http://e/x?token=geheim\"}", "{\"u\":\"http://e/x?(removed)\"}"),
            ("url = \\\"http://e?k=geheim\\\"", "url = \\\"http://e?(removed)\\\""),
            ("no address", "no address"),
        ] {
            assert_eq!(without_user_info(text), clean);
        }
    }

    #[test]
    fn every_finding_is_one_line_and_every_fault_says_what_to_do() {
        let tenant = |answer: serde_json::Value| service(&answer);
        let findings = tenant(serde_json::json!({ "tenants": [] }));
        assert_eq!(to_text(&findings), "ok      service: it answers\n");
        let error = Finding::error("x", "two\nlines", "do this");
        assert_eq!(to_text(&[error]), "ERROR   x: two lines -> do this\n");
        let lost = archive(
            Some(Listing { unreadable: vec!["bundle 7".into()], ..Listing::default() }),
            "1",
        );
        assert!(lost.verdict == Verdict::Error && lost.found.contains("bundle 7"));
        assert!(!lost.cure.is_empty());
    }
}
