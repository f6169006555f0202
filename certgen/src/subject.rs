//! Who a certificate is about: a tenant's node or a portal.
//!
//! The subject is written into the certificate as a URI (`urn:staffetta:tenant:<vat>`,
//! `urn:staffetta:portal:<name>`) so that it reads back without guessing from a common
//! name. It never grants anything: what a peer may do hangs on its pin, see `engine::grant`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use engine::id::VatNumber;

const TENANT_URN: &str = "urn:staffetta:tenant:";
const PORTAL_URN: &str = "urn:staffetta:portal:";

/// The holder of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SubjectText", into = "SubjectText")]
pub enum Subject {
    /// The node of one tenant.
    Node(VatNumber),
    /// A portal server of the intermediary, with the names it is reached by.
    Portal {
        /// Its name, which also names its files.
        name: PortalName,
        /// Where browsers and ERPs find it.
        hosts: Vec<Host>,
    },
}

impl Subject {
    /// The stem of the subject's file names: the VAT number or the portal's name.
    #[must_use]
    pub fn stem(&self) -> String {
        match self {
            Self::Node(tenant) => tenant.to_string(),
            Self::Portal { name, .. } => name.to_string(),
        }
    }

    /// `node` or `portal`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Portal { .. } => "portal",
        }
    }

    /// The names of hosts; none for a node.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        match self {
            Self::Node(_) => &[],
            Self::Portal { hosts, .. } => hosts,
        }
    }

    /// The URI that stands for the subject in a certificate.
    #[must_use]
    pub fn urn(&self) -> String {
        match self {
            Self::Node(tenant) => format!("{TENANT_URN}{tenant}"),
            Self::Portal { name, .. } => format!("{PORTAL_URN}{name}"),
        }
    }

    /// Whether both are the same node or portal; a portal may change its hosts.
    #[must_use]
    pub fn is_same_holder(&self, other: &Self) -> bool {
        self.urn() == other.urn()
    }

    /// Reads back [`Self::urn`] and the hosts beside it.
    pub(crate) fn from_urn(urn: &str, hosts: Vec<Host>) -> Option<Self> {
        if let Some(tenant) = urn.strip_prefix(TENANT_URN) {
            return hosts.is_empty().then(|| VatNumber::parse(tenant).ok().map(Self::Node))?;
        }
        let name = PortalName::parse(urn.strip_prefix(PORTAL_URN)?).ok()?;
        Some(Self::Portal { name, hosts })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.stem())
    }
}

/// The form of a subject in the ledger and in `--json` output.
#[derive(Serialize, Deserialize)]
struct SubjectText {
    kind: String,
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
}

impl From<Subject> for SubjectText {
    fn from(subject: Subject) -> Self {
        Self {
            kind: subject.kind().to_owned(),
            name: subject.stem(),
            hosts: subject.hosts().iter().map(Host::to_string).collect(),
        }
    }
}

impl TryFrom<SubjectText> for Subject {
    type Error = String;
    fn try_from(text: SubjectText) -> Result<Self, String> {
        match text.kind.as_str() {
            "node" => VatNumber::parse(&text.name).map(Self::Node).map_err(|e| e.to_string()),
            "portal" => {
                let name = PortalName::parse(&text.name).map_err(|e| e.to_string())?;
                let hosts = text.hosts.iter().map(|host| Host::parse(host));
                let hosts = hosts.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
                Ok(Self::Portal { name, hosts })
            }
            other => Err(format!("{other:?} is neither node nor portal")),
        }
    }
}

/// The name of a portal: a lowercase letter, then letters, digits and hyphens, at most 40.
/// It starts with a letter so that it can never be taken for a VAT number, and names files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortalName(String);

impl PortalName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`NameError::Portal`] when it has another shape.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let letters =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if letters && starts && text.len() <= 40 && !text.ends_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Portal(text.chars().take(60).collect()))
        }
    }
}

impl fmt::Display for PortalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name or address by which a portal is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name, in lowercase, without wildcard.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl Host {
    /// Parses a DNS name (RFC 1123 letters, digits and hyphens) or an IP address.
    ///
    /// # Errors
    /// [`NameError::Host`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A last label of digits is a mistyped address (RFC 1123 section 2.1).
        let last = name.rsplit('.').next().unwrap_or_default();
        let looks_numeric = last.bytes().all(|b| b.is_ascii_digit());
        if name.len() <= 253 && name.split('.').all(is_label) && !looks_numeric {
            Ok(Self::Dns(name))
        } else {
            Err(NameError::Host(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a portal's name.
    #[error(
        "{0:?} is not a portal's name, use a lowercase letter and then letters, digits and \
         hyphens, 40 at most"
    )]
    Portal(String),
    /// Not a host.
    #[error("{0:?} is neither a host name nor an IP address, give one like portal.example.it")]
    Host(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_host(text: &str, expected: Option<&str>) {
        assert_eq!(Host::parse(text).ok().map(|h| h.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn hosts_are_dns_names_or_addresses() {
        check_host("Portal.Example.it", Some("portal.example.it"));
        check_host("localhost", Some("localhost"));
        check_host("192.0.2.7", Some("192.0.2.7"));
        check_host("2001:db8::1", Some("2001:db8::1"));
        for bad in ["", "*.example.it", "a..b", "-a.it", "a_b.it", "300.1.1.1", "a b", "è.it"] {
            check_host(bad, None);
        }
    }

    #[test]
    fn a_portal_name_is_a_safe_file_name_and_never_a_vat_number() {
        assert!(PortalName::parse("portal-a").is_ok());
        for bad in ["", "02038490237", "../x", "Portal", "a/b", "a-", "a.b", &"a".repeat(41)] {
            assert!(PortalName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subjects_read_back_from_their_urn_and_their_json() {
        let node = Subject::Node(VatNumber::parse("02038490237").unwrap());
        let hosts = vec![Host::parse("portal.example.it").unwrap()];
        let portal = Subject::Portal { name: PortalName::parse("portal-a").unwrap(), hosts };
        for subject in [node, portal] {
            let back = Subject::from_urn(&subject.urn(), subject.hosts().to_vec());
            assert_eq!(back.as_ref(), Some(&subject));
            let json = serde_json::to_string(&subject).unwrap();
            assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), subject);
        }
        assert_eq!(Subject::from_urn("urn:staffetta:tenant:1", vec![]), None);
        assert_eq!(Subject::from_urn("urn:other", vec![]), None);
    }
}
