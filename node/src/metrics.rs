//! Figures for Prometheus (text format 0.0.4) at `/metrics`, behind the same door as the API: a
//! caller sees those of its own P.IVA.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{Router, http::header, response::IntoResponse, routing::get};
use engine::id::VatNumber;

use crate::{
    api::{caller::Caller, problem::Problem, space::Space},
    status::TenantStatus,
};

/// The media type.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route.
pub fn router(spaces: BTreeMap<VatNumber, Arc<Space>>) -> Router {
    let spaces = Arc::new(spaces);
    let handler = move |caller: Caller| {
        let spaces = Arc::clone(&spaces);
        async move {
            let space = spaces.get(&caller.tenant()).ok_or_else(Problem::not_found)?;
            let text = render(&space.status().await);
            Ok::<_, Problem>(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
        }
    };
    Router::new().route("/metrics", get(handler))
}

/// One tenant's figures.
#[must_use]
pub fn render(status: &TenantStatus) -> String {
    let mut text = String::new();
    let vat = &status.vat;
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(text, "# HELP staffetta_{name} {help}\n# TYPE staffetta_{name} {kind}");
        let _ = writeln!(text, "staffetta_{name}{{vat=\"{vat}\"}} {value}");
    };
    one("bundles", "gauge", "Bundles held durably here.", status.bundles);
    one("queued_bundles", "gauge", "Bundles that no other place is known to hold.", status.queued);
    one("records", "gauge", "Documents in the mirror.", status.records.unwrap_or(0));
    let behind = status.mirror_behind;
    one("mirror_behind_bundles", "gauge", "Bundles that the mirror does not show yet.", behind);
    let as_of = status.as_of.unwrap_or(0);
    one("as_of_seconds", "gauge", "When all a portal holds was last known to be here.", as_of);
    one("sent_bytes_total", "counter", "Bytes of frames sent.", status.sent_bytes);
    one("received_bytes_total", "counter", "Bytes of frames received.", status.received_bytes);
    let stuck = u64::from(status.storage.is_some());
    one("storage_stuck", "gauge", "Whether nothing can be stored now.", stuck);
    one("alarms", "gauge", "What a person should know.", status.alarms.len() as u64);
    one("sessions", "gauge", "Open sessions.", status.sessions.len() as u64);
    for (name, help) in [
        ("portal_connected", "Whether a session with the portal is open."),
        ("portal_to_send_bundles", "Bundles not known to be at the portal."),
        ("portal_to_fetch_bundles", "Bundles at the portal and not here."),
    ] {
        let _ = writeln!(text, "# HELP staffetta_{name} {help}\n# TYPE staffetta_{name} gauge");
        for portal in &status.portals {
            let value = match name {
                "portal_connected" => u64::from(portal.connected),
                "portal_to_send_bundles" => portal.pending_up,
                _ => portal.pending_down,
            };
            let label = escaped(&portal.name);
            let _ = writeln!(text, "staffetta_{name}{{vat=\"{vat}\",portal=\"{label}\"}} {value}");
        }
    }
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
