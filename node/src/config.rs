//! The node's configuration: one commented TOML file, embedded, which is the reference.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use engine::id::{PeerId, VatNumber};
use serde::{Deserialize, Deserializer, de};

/// The commented default file.
pub const DEFAULT: &str = include_str!("../node.default.toml");

/// Everything a node is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Where truth, mirror and control file live.
    pub data: PathBuf,
    /// Live, or on a period.
    #[serde(default)]
    pub sync: Sync,
    /// Local uplinks.
    #[serde(default, rename = "line")]
    pub lines: Vec<LineConfig>,
    /// The intermediary's portals.
    #[serde(default, rename = "portal")]
    pub portals: Vec<PortalConfig>,
    /// The customers served.
    #[serde(default, rename = "tenant")]
    pub tenants: Vec<TenantConfig>,
}

/// One uplink.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineConfig {
    /// The local address that leads to it.
    pub address: IpAddr,
}

/// One portal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortalConfig {
    /// What people call it.
    pub name: String,
    /// Its pin.
    #[serde(deserialize_with = "pin")]
    pub pin: PeerId,
    /// Where it listens, one address a line.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
}

/// One customer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// The P.IVA.
    pub vat: VatNumber,
    /// Its certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The folder the ERP shares.
    pub spool: PathBuf,
}

/// When to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Always connected.
    #[default]
    Live,
    /// Every so often.
    Every(Duration),
}

impl<'de> Deserialize<'de> for Sync {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_sync(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "sync = {text:?}: write \"live\" or a period such as \"30m\", \"2h\" or \"45s\""
            ))
        })
    }
}

impl Sync {
    /// The period, unless live.
    #[must_use]
    pub fn period(self) -> Option<Duration> {
        match self {
            Self::Live => None,
            Self::Every(period) => Some(period),
        }
    }
}

fn parse_sync(text: &str) -> Option<Sync> {
    if text == "live" {
        return Some(Sync::Live);
    }
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => number,
        'm' => number.checked_mul(60)?,
        'h' => number.checked_mul(3600)?,
        _ => return None,
    };
    (seconds > 0).then_some(Sync::Every(Duration::from_secs(seconds)))
}

fn pin<'de, D: Deserializer<'de>>(from: D) -> Result<PeerId, D::Error> {
    PeerId::parse_hex(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// Reads a TOML file into `T`.
///
/// # Errors
/// [`ConfigError`] names the file and, where there is one, the line.
pub fn load<T: de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: name.clone(), error })?;
    toml::from_str(&text).map_err(|error| ConfigError::Wrong { path: name, why: error.to_string() })
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file, or not ours to read.
    #[error("cannot read the configuration {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// It is not what the reference says.
    #[error("the configuration {path} is wrong: {why}")]
    Wrong {
        /// The file.
        path: String,
        /// Where and why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_reference_is_a_configuration() {
        let config: NodeConfig = toml::from_str(DEFAULT).unwrap();
        assert_eq!(config.sync, Sync::Live);
        // With its examples uncommented it is one too, but for the pin.
        let full: String = DEFAULT
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.contains(" = ") => rest,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n")
            .replace("64 hexadecimal digits", &"ab".repeat(32));
        let config: NodeConfig = toml::from_str(&full).unwrap();
        assert_eq!((config.lines.len(), config.portals.len(), config.tenants.len()), (1, 1, 1));
    }

    #[test]
    fn a_period_reads_and_nonsense_does_not() {
        assert_eq!(parse_sync("30m"), Some(Sync::Every(Duration::from_secs(1800))));
        for bad in ["", "m", "0m", "30", "-1h", "30 m", "often"] {
            assert_eq!(parse_sync(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wrong_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, "data = \"/x\"\nsync = \"often\"\n").unwrap();
        let error = load::<NodeConfig>(&path).unwrap_err().to_string();
        assert!(error.contains("node.toml") && error.contains("often"), "{error}");
        assert!(load::<NodeConfig>(&dir.path().join("none")).is_err());
    }
}
