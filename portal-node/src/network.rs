//! The peers as this portal sees them now: who is connected by which lines, and what each misses.
//! What the other portal's lines are, only the other portal knows.

use engine::{
    archive::ReadError,
    id::{OFFICE, PeerId, VatNumber},
    vector::Vector,
};
use node::host::SessionView;

use crate::portal::Portal;

/// A peer. See the module's header.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub pin: PeerId,
    /// What people call it: the other portal's name, or the customer's.
    pub name: String,
    /// Whose node it is; `None` for the other portal, and for a key that the office does not know.
    pub tenant: Option<VatNumber>,
    /// Whether it is the other portal.
    pub is_portal: bool,
    /// Its customer is suspended: it is kept out.
    pub is_suspended: bool,
    /// Its open sessions: one a line.
    pub sessions: Vec<SessionView>,
    /// Bundles held here that it is not known to hold.
    pub misses: u64,
    /// Bundles it holds that are not here.
    pub brings: u64,
}

/// How a peer is doing, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Not connected, and it should be.
    Away,
    /// Connected, and something is on its way.
    Behind,
    /// Kept out on purpose.
    Suspended,
    /// Connected, and it holds what is held here.
    Even,
}

impl Peer {
    /// How it is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        match (self.is_suspended, self.sessions.is_empty(), self.misses + self.brings) {
            (true, true, _) => Health::Suspended,
            (_, true, _) => Health::Away,
            (_, false, 0) => Health::Even,
            (_, false, _) => Health::Behind,
        }
    }
}

/// Every peer of `portal`: the other portal first, then nodes by health and name.
///
/// # Errors
/// [`ReadError`] when the office cannot be read.
pub async fn peers(portal: &Portal) -> Result<Vec<Peer>, ReadError> {
    let view = portal.host.view().await;
    let customers = portal.office.customers()?;
    let twins = portal.portals.iter().skip(1).map(|(name, pin)| (*pin, name.clone(), None, true));
    let nodes = view.admitted.iter().map(|pin| {
        let owner = customers.iter().find(|(_, customer)| {
            customer.certificates.iter().any(|(certificate, _)| certificate.peer() == *pin)
        });
        let name = owner.map(|(_, customer)| customer.name.clone()).unwrap_or_default();
        (*pin, name, owner.map(|(vat, _)| *vat), false)
    });
    let mut peers = Vec::new();
    for (pin, name, tenant, is_portal) in twins.chain(nodes) {
        let sessions = view.sessions.iter().filter(|open| open.peer == pin && open.greeted);
        let (mut misses, mut brings) = (0, 0);
        let none = Vector::default();
        for (vat, ours) in &view.spaces {
            let known = view.known.get(&(pin, *vat));
            let holds = is_portal || (*vat != OFFICE && (known.is_some() || tenant == Some(*vat)));
            if holds {
                let theirs = known.unwrap_or(&none);
                misses += ours.ahead_of(theirs);
                brings += theirs.ahead_of(ours);
            }
        }
        let is_suspended = customers
            .iter()
            .any(|(vat, customer)| Some(*vat) == tenant && customer.suspended_ms.is_some());
        peers.push(Peer {
            pin,
            name,
            tenant,
            is_portal,
            is_suspended,
            sessions: sessions.cloned().collect(),
            misses,
            brings,
        });
    }
    peers.sort_by(|a, b| {
        let key = |peer: &Peer| (!peer.is_portal, peer.health());
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    Ok(peers)
}
