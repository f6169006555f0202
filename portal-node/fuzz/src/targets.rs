//! The files that a person gives a node, a portal or the desk that issues certificates, one
//! function each. A target fails by a panic, or by an error that is not one sentence.

use node::{
    config::{ConfigError, NodeConfig, parse},
    transport::{Identity, identity},
};
use portal_node::config::PortalConfig;

use crate::replay::Target;

/// Every target by its name, which is also its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 3] =
    [("certificate", certificate), ("node-config", node_config), ("portal-config", portal_config)];

/// What the file is called in sentences.
const FILE: &str = "the file";

/// A certificate to be admitted, an identity whose certificate and key are one file, and what the
/// desk says about either.
fn certificate(data: &[u8]) {
    if let Err(error) = identity::certificate(data, FILE) {
        one_sentence(&error.to_string());
    }
    if let Ok(text) = str::from_utf8(data)
        && let Err(error) = Identity::from_pem(text, text)
    {
        one_sentence(&error.to_string());
    }
    match certgen::inspect(data) {
        Ok(inspection) => {
            let _ = (inspection.words(), inspection.curl_pin(), inspection.public_key());
        }
        Err(error) => one_sentence(&error.to_string()),
    }
}

fn node_config(data: &[u8]) {
    configuration(data, |text| parse::<NodeConfig>(text, FILE).map(drop));
}

fn portal_config(data: &[u8]) {
    configuration(data, |text| parse::<PortalConfig>(text, FILE).map(drop));
}

fn configuration(data: &[u8], read: fn(&str) -> Result<(), ConfigError>) {
    let Ok(text) = str::from_utf8(data) else { return };
    match read(text) {
        Ok(()) => {}
        Err(error @ ConfigError::Wrong { .. }) => one_sentence(&error.to_string()),
        Err(error) => panic!("no file was read: {error}"),
    }
}

/// Errors go to a person, on one line.
fn one_sentence(error: &str) {
    assert!(!error.is_empty() && error.lines().count() == 1, "{error:?}");
}
