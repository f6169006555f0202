//! What can be seen on this machine without asking anybody: folders, their permissions, the disk,
//! certificates and their keys.

use std::{fs, path::Path};

use super::Finding;
use crate::{
    config::{NodeConfig, TenantConfig, WebhookConfig},
    service::days_left,
    transport::{Identity, IdentityError},
};

/// Days before a certificate's end from which on it is to be renewed.
const RENEW_DAYS: i64 = 30;
/// Free space below which the disk is called nearly full; writes stop at a reserve below it.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// All of it.
pub(super) fn findings(config: &NodeConfig) -> Vec<Finding> {
    let mut found = vec![data_folder(&config.data), disk(&config.data)];
    for (entry, is_there) in
        [("[[tenant]]", !config.tenants.is_empty()), ("[[portal]]", !config.portals.is_empty())]
    {
        if !is_there {
            let why = format!("it names no {entry}");
            found.push(Finding::error("configuration", why, format!("add at least one {entry}")));
        }
    }
    for tenant in &config.tenants {
        found.push(certificate(tenant));
        found.extend(spool(tenant));
    }
    let api = config.api.as_ref().map(|api| ("api", &api.cert, &api.key));
    let sql = config.sql.as_ref().map(|sql| ("sql", &sql.cert, &sql.key));
    for (door, cert, key) in api.into_iter().chain(sql) {
        if let (Some(cert), Some(key)) = (cert, key) {
            found.push(dated(&format!("certificate of {door}"), cert, key).0);
        }
    }
    found.extend(config.webhooks.iter().map(secret));
    found
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
    if let Some(mode) = open_to_others(&metadata) {
        let cure = format!("chmod 700 {}", data.display());
        return Finding::error(&check, format!("others may read it (mode {mode:03o})"), cure);
    }
    if !metadata.is_dir() {
        return Finding::error(&check, "it is not a folder", "check `data`");
    }
    Finding::ok(check, "only this user may read it")
}

fn disk(data: &Path) -> Finding {
    match fs4::available_space(data) {
        Ok(free) => {
            let found = format!("{} MiB free", free / (1024 * 1024));
            if free < FREE_BYTES_MIN {
                let cure = "free some space: writes stop at a reserve";
                return Finding::warning("disk", found, cure);
            }
            Finding::ok("disk", found)
        }
        Err(error) => Finding::error("disk", error.to_string(), "check `data`"),
    }
}

fn certificate(tenant: &TenantConfig) -> Finding {
    let check = format!("certificate of {}", tenant.vat);
    let (finding, identity) = dated(&check, &tenant.cert, &tenant.key);
    if let Some(other) = identity.and_then(|it| it.tenant()).filter(|vat| *vat != tenant.vat) {
        let found = format!("it was issued for P.IVA {other}");
        return Finding::error(&check, found, "put the file of this P.IVA in its place");
    }
    finding
}

/// A certificate that can be used with its key, and until when.
fn dated(check: &str, cert: &Path, key: &Path) -> (Finding, Option<Identity>) {
    let renew = "renew it: staffetta-certgen renew";
    let identity = match Identity::load(cert, key) {
        Ok(identity) => identity,
        Err(error) => {
            let ended = matches!(error, IdentityError::Expired { .. });
            let cure = if ended { renew } else { "see staffetta-certgen" };
            return (Finding::error(check, error.to_string(), cure), None);
        }
    };
    let (pin, days) = (identity.peer(), days_left(identity.not_after()));
    let found = format!("pin {pin}, ends in {days} days");
    let finding = if days < RENEW_DAYS {
        Finding::warning(check, found, renew)
    } else {
        Finding::ok(check, found)
    };
    (finding, Some(identity))
}

/// The secret that signs what an ERP is told.
fn secret(hook: &WebhookConfig) -> Finding {
    let path = &hook.secret_file;
    let check = format!("secret of webhook {}", path.display());
    match fs::metadata(path) {
        Err(error) => {
            let cure = "make it: openssl rand -base64 32, and give this user the right to read it";
            Finding::error(&check, error.to_string(), cure)
        }
        Ok(metadata) => match open_to_others(&metadata) {
            Some(mode) => {
                let found = format!("others may read it (mode {mode:03o})");
                Finding::error(&check, found, format!("chmod 600 {}", path.display()))
            }
            None => Finding::ok(check, "only this user may read it"),
        },
    }
}

/// What others than the owner may do, where a file says so itself.
#[cfg(unix)]
fn open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Elsewhere it is a matter of access lists, which the installer sets.
#[cfg(not(unix))]
fn open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
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
