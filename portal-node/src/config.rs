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
    /// The customers' door; without it the portal serves no pages.
    pub door: Option<DoorConfig>,
}

/// What a portal is told of its door.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorConfig {
    /// Where it listens for browsers: one address a line.
    pub listen: Vec<SocketAddr>,
    /// Its address as people type it, for the links in invitations.
    pub url: String,
    /// Another certificate for browsers than the portal's own.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The intermediary's name.
    pub name: String,
    /// P.IVA, address and PEC of the intermediary in one line, as the contract states them.
    pub about: String,
    /// The intermediary's PEC, from which letters are sent.
    pub pec: String,
    /// The recipient code that customers receive under.
    pub recipient_code: String,
    /// Authorities whose signatures count on a contract: certificates, PEM. Empty: not judged.
    #[serde(default)]
    pub trust: Vec<PathBuf>,
    /// The folder of the authority that issues certificates, where this portal has it: signing
    /// requests are then answered from the pages.
    pub authority: Option<PathBuf>,
    /// Where letters are put when there is no mail server.
    pub spool: PathBuf,
    /// The mail server for letters to PEC addresses.
    pub smtp: Option<SmtpConfig>,
    /// What `trust` holds, in DER.
    #[serde(skip)]
    authorities: Vec<Vec<u8>>,
}

/// A mail server, spoken to with TLS only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Its name.
    pub host: String,
    /// How TLS begins.
    #[serde(default)]
    pub tls: SmtpTls,
    /// Its port; 465 or 587, as TLS begins, when not given.
    pub port: Option<u16>,
    /// Who signed its certificate, in PEM; the authorities that browsers trust when not given.
    pub authority: Option<PathBuf>,
    /// The user.
    pub user: String,
    /// The file that holds the password and nothing else.
    pub password_file: PathBuf,
}

/// How TLS with a mail server begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// With the first byte.
    #[default]
    Implicit,
    /// By the command STARTTLS, without which nothing is said.
    Starttls,
}

impl DoorConfig {
    /// The certificates of the authorities that count, in DER.
    #[must_use]
    pub fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    /// Reads the files that `trust` names.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read_authorities(&mut self) -> Result<(), String> {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        self.authorities.clear();
        for path in &self.trust {
            let found: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            match found {
                Ok(found) if !found.is_empty() => {
                    self.authorities.extend(found.into_iter().map(|der| der.to_vec()));
                }
                _ => return Err(format!("{} holds no certificate in PEM", path.display())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_reference_is_a_configuration() {
        let config: PortalConfig = toml::from_str(DEFAULT).unwrap();
        assert_eq!(config.listen.len(), 1);
        assert!(config.door.is_none(), "no pages unless asked for");
        let with_door = DEFAULT.replace("\n# [door]", "\n[door]").replace("\n#: ", "\n");
        let config: PortalConfig = toml::from_str(&with_door).unwrap();
        assert_eq!(config.door.unwrap().listen.len(), 1);
    }
}
