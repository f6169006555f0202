//! The node's configuration: one commented TOML file, embedded, which is the reference.

use std::{
    fs,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use engine::id::{PeerId, VatNumber};
use serde::{Deserialize, Deserializer, de};

use crate::{Logs, schedule::Window};

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
    /// Hours in which to connect by itself; at any hour where there are none.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Whom `doctor` asks for the time; nobody where it is empty.
    #[serde(default = "time_server")]
    pub time_server: String,
    /// How logs are written.
    #[serde(default)]
    pub logs: Logs,
    /// Local uplinks.
    #[serde(default, rename = "line")]
    pub lines: Vec<LineConfig>,
    /// The intermediary's portals.
    #[serde(default, rename = "portal", deserialize_with = "portals")]
    pub portals: Vec<PortalConfig>,
    /// The customers served.
    #[serde(default, rename = "tenant", deserialize_with = "tenants")]
    pub tenants: Vec<TenantConfig>,
    /// HTTP for the ERP; none is served without it.
    #[serde(default)]
    pub api: Option<ApiConfig>,
    /// SQL for the ERP.
    pub sql: Option<SqlConfig>,
    /// ERPs to be called when something changes.
    #[serde(default, rename = "webhook")]
    pub webhooks: Vec<WebhookConfig>,
}

impl NodeConfig {
    /// The P.IVA a command is about: the one `given`, or the only one there is.
    ///
    /// # Errors
    /// A sentence that says which is missing.
    pub fn tenant(&self, given: Option<VatNumber>) -> Result<VatNumber, String> {
        let mut served = self.tenants.iter().map(|tenant| tenant.vat);
        match (given, served.next(), served.next()) {
            (None, Some(only), None) => Ok(only),
            (None, None, _) => Err("the configuration names no [[tenant]]: add one".to_owned()),
            (None, ..) => Err("say which P.IVA is meant: --vat".to_owned()),
            (Some(vat), ..) if self.tenants.iter().any(|tenant| tenant.vat == vat) => Ok(vat),
            (Some(vat), ..) => Err(format!("this node does not serve P.IVA {vat}")),
        }
    }
}

/// HTTP for the ERP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it listens. Beyond loopback it is always TLS.
    pub listen: Vec<SocketAddr>,
    /// TLS on loopback too.
    #[serde(default)]
    pub tls: bool,
    /// Another certificate than that of the first P.IVA.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// SQL for the ERP, over the PostgreSQL wire.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlConfig {
    /// Where it listens. Whoever is not on this machine must use TLS.
    pub listen: Vec<SocketAddr>,
    /// Another certificate than that of the first P.IVA.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Connections at once.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
    /// How long one statement may work, in seconds.
    #[serde(default = "statement_timeout_s")]
    pub statement_timeout_s: u64,
}

impl SqlConfig {
    /// How long one statement may work.
    #[must_use]
    pub const fn statement_timeout(&self) -> Duration {
        Duration::from_secs(self.statement_timeout_s)
    }
}

fn time_server() -> String {
    "ntp.inrim.it".to_owned()
}

const fn connections_max() -> usize {
    64
}

const fn statement_timeout_s() -> u64 {
    60
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
    /// Reject in `out/` what the SdI would reject.
    #[serde(default = "yes")]
    pub strict: bool,
    /// What a person can read, beside each received file.
    #[serde(default)]
    pub readable: Vec<Form>,
}

/// A form of an invoice for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A page.
    Html,
    /// A document to print.
    Pdf,
}

/// An ERP to be called when something changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The P.IVA; may be left out where the node serves one only.
    pub vat: Option<VatNumber>,
    /// Where to call.
    pub url: String,
    /// A file with the secret both sides know, in base64.
    pub secret_file: PathBuf,
    /// The key of the server, for https: as `curl --pinnedpubkey` has it, in hexadecimal.
    #[serde(default, deserialize_with = "optional_pin")]
    pub pin: Option<PeerId>,
    /// Or the authorities that sign its certificate, in PEM.
    pub authorities: Option<PathBuf>,
    /// Tell everything there is, and not only what comes from now on.
    #[serde(default)]
    pub from_beginning: bool,
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

fn yes() -> bool {
    true
}

fn pin<'de, D: Deserializer<'de>>(from: D) -> Result<PeerId, D::Error> {
    PeerId::parse_hex(&String::deserialize(from)?).map_err(de::Error::custom)
}

fn optional_pin<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PeerId>, D::Error> {
    pin(from).map(Some)
}

fn portals<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PortalConfig>, D::Error> {
    let portals = Vec::<PortalConfig>::deserialize(from)?;
    for (n, portal) in portals.iter().enumerate() {
        let PortalConfig { name, pin, addresses } = portal;
        if addresses.is_empty() {
            return Err(de::Error::custom(format!("portal {name} has no addresses: give one")));
        }
        if portals[..n].iter().any(|other| other.pin == *pin) {
            return Err(de::Error::custom(format!("portal {name} has the pin of another portal")));
        }
    }
    Ok(portals)
}

fn tenants<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TenantConfig>, D::Error> {
    let tenants = Vec::<TenantConfig>::deserialize(from)?;
    for (n, tenant) in tenants.iter().enumerate() {
        let TenantConfig { vat, spool, .. } = tenant;
        if tenants[..n].iter().any(|other| other.vat == *vat) {
            return Err(de::Error::custom(format!("P.IVA {vat} is there twice")));
        }
        if tenants[..n].iter().any(|other| other.spool == *spool) {
            let folder = spool.display();
            let why = format!("the spool folder {folder} of P.IVA {vat} is also another's");
            return Err(de::Error::custom(why));
        }
    }
    Ok(tenants)
}

/// Longest configuration read.
const BYTES_MAX: u64 = 1024 * 1024;

/// Reads a TOML file into `T`.
///
/// # Errors
/// [`ConfigError`] names the file and, where there is one, the line.
pub fn load<T: de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let name = || path.display().to_string();
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| ConfigError::Unreadable { path: name(), error })?;
    parse(&text, &name())
}

/// Reads the text of a TOML file into `T`; `file` names it in the error.
///
/// # Errors
/// [`ConfigError::Wrong`] names the file and, where there is one, the line.
pub fn parse<T: de::DeserializeOwned>(text: &str, file: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!(" at line {line}"));
        let words = error.message().lines().collect::<Vec<_>>();
        ConfigError::Wrong { path: file.to_owned(), place, why: words.join("; ") }
    })
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
    #[error("the configuration {path} is wrong{place}: {why}")]
    Wrong {
        /// The file.
        path: String,
        /// ` at line n`, or nothing.
        place: String,
        /// Why.
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
    fn a_wrong_file_is_named_with_its_line_in_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        let pin = "ab".repeat(32);
        let portal = |name: &str, addresses: &str| {
            format!("[[portal]]\nname = \"{name}\"\npin = \"{pin}\"\naddresses = [{addresses}]\n")
        };
        let tenant = |vat: &str, spool: &str| {
            format!("[[tenant]]\nvat = \"{vat}\"\ncert = \"c\"\nkey = \"k\"\nspool = \"{spool}\"\n")
        };
        let good = portal("A", "\"127.0.0.1:1\"");
        for (text, words) in [
            ("sync = \"often\"".to_owned(), "line 2: sync = \"often\""),
            ("colour = \"red\"".to_owned(), "line 2: unknown field `colour`"),
            ("sync = \"live".to_owned(), "line 2"),
            ("\u{1}\u{2}".to_owned(), "line 2"),
            (portal("A", ""), "portal A has no addresses"),
            (good.clone() + &good, "portal A has the pin of another"),
            (good.replace("abab", "xyz"), "line 4"),
            (good.replace("127.0.0.1:1", "portal.example:1"), "line 5: invalid socket address"),
            (tenant("02038490237", "s") + &tenant("02038490237", "t"), "is there twice"),
            (tenant("02038490237", "s") + &tenant("12345678903", "s"), "is also another's"),
            (tenant("02038490238", "s"), "line 3"),
        ] {
            fs::write(&path, format!("data = \"/x\"\n{text}")).unwrap();
            let error = load::<NodeConfig>(&path).unwrap_err().to_string();
            assert!(error.contains("node.toml") && error.contains(words), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        fs::write(&path, [0xff, 0xfe, 0]).unwrap();
        for path in [&path, &dir.path().join("none"), &dir.path().to_path_buf()] {
            let error = load::<NodeConfig>(path).unwrap_err().to_string();
            assert!(error.starts_with("cannot read the configuration"), "{error}");
        }
    }
}
