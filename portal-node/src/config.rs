//! The portal's configuration: one commented TOML file, embedded, which is the reference.

use std::{net::SocketAddr, path::PathBuf};

use node::config::{LineConfig, PortalConfig as OtherPortal};
use serde::Deserialize;

/// The commented default file.
pub const DEFAULT: &str = include_str!("../portal.default.toml");

/// Everything a portal is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortalConfig {
    /// Where the truth and the control file live.
    pub data: PathBuf,
    /// Its certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Where it listens: one address a line.
    pub listen: Vec<SocketAddr>,
    /// The folder that stands for the SdI.
    pub sdi: PathBuf,
    /// The other portal.
    #[serde(default, rename = "portal")]
    pub portals: Vec<OtherPortal>,
    /// Local uplinks.
    #[serde(default, rename = "line")]
    pub lines: Vec<LineConfig>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_reference_is_a_configuration() {
        let config: PortalConfig = toml::from_str(DEFAULT).unwrap();
        assert_eq!(config.listen.len(), 1);
    }
}
