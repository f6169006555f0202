//! What only the running service knows: how far it is, its archive, its mirror.

use super::Finding;
use crate::{moment::rfc3339, originals::Listing, projector::Compared, status::TenantStatus};

/// What the service says of itself.
pub(super) fn findings(answer: &serde_json::Value) -> Vec<Finding> {
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

pub(super) fn archive(listing: Option<Listing>, vat: &str) -> Finding {
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
pub(super) fn mirror(answer: &serde_json::Value, vat: &str) -> Finding {
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
