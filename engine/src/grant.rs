//! The only authorisation code: who may hold a tenant's space, and who may write a kind.
//!
//! Trust starts at the portals' pins, which are configuration. Everything else is said
//! by a portal in its log of the tenant (PROTOCOL.md section 6), so it replicates like
//! any other bundle and both portals reach the same table. No clock takes part: a
//! revocation counts bundles, not minutes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    bundle::{Item, PublicKey},
    id::{Kind, LogId, OFFICE, PeerId, Seq, VatNumber},
    plant::{self, Bug},
};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// One of the intermediary's servers: holds every space.
    Portal,
    /// A customer's server: holds its own tenant's space.
    Node,
}

impl Role {
    /// Whether this role may write documents of `kind`. The whole table of PROTOCOL.md section 6.
    #[must_use]
    pub const fn may_write(self, kind: Kind) -> bool {
        match (kind, self) {
            (Kind::Profile | Kind::Invoice, _)
            | (Kind::Contract | Kind::Outcome | Kind::Account | Kind::Customer, Self::Portal)
            | (Kind::Annotation, Self::Node) => true,
            (Kind::Contract | Kind::Outcome | Kind::Account | Kind::Customer, Self::Node)
            | (Kind::Annotation, Self::Portal) => false,
        }
    }

    /// The same in `tenant`'s space: the office has its own kinds, and no other space has them.
    #[must_use]
    pub fn may_write_in(self, tenant: VatNumber, kind: Kind) -> bool {
        self.may_write(kind) && kind.is_office() == (tenant == OFFICE)
    }
}

/// A portal's word that a key belongs to a tenant's node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The key, as DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// When its certificate ends, milliseconds since 1970; the pin rule refuses it after that.
    pub not_after_ms: u64,
}

/// A portal's word that a key counts no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The key's name.
    pub peer: PeerId,
    /// The last bundle that counts of each of its logs; a log not listed is cut at 0.
    pub cuts: Vec<(LogId, Seq)>,
}

#[derive(Clone, Debug, Default)]
struct Space {
    nodes: BTreeMap<PeerId, Node>,
    revoked: BTreeMap<PeerId, BTreeMap<LogId, Seq>>,
}

#[derive(Clone, Debug)]
struct Node {
    not_after_ms: u64,
}

/// Everything this replica knows about who may do what.
#[derive(Clone, Debug)]
pub struct Authority {
    portals: BTreeSet<PeerId>,
    spaces: BTreeMap<VatNumber, Space>,
    /// Where each node was ever granted something: a session of one customer looks at no other.
    granted: BTreeMap<PeerId, BTreeSet<VatNumber>>,
}

impl Authority {
    /// Trusts `portals`, by their pins, and nobody else yet.
    #[must_use]
    pub fn new(portals: impl IntoIterator<Item = PeerId>) -> Self {
        let (spaces, granted) = Default::default();
        Self { portals: portals.into_iter().collect(), spaces, granted }
    }

    /// Takes note of what a portal said in `tenant`'s space. The caller has checked that
    /// a portal said it. Returns whether anything changed.
    pub fn learn(&mut self, tenant: VatNumber, item: &Item) -> bool {
        match item {
            // Passwords are kept there: not even a portal can let a node in.
            _ if tenant == OFFICE => false,
            Item::Grant(grant) => self.grant(tenant, grant),
            Item::Revocation(revocation) => self.revoke(tenant, revocation),
            Item::Change { .. } => false,
        }
    }

    fn grant(&mut self, tenant: VatNumber, grant: &Grant) -> bool {
        let Ok(key) = PublicKey::from_spki(&grant.spki) else { return false };
        let nodes = &mut self.spaces.entry(tenant).or_default().nodes;
        let known = nodes.get(&key.peer()).map(|node| node.not_after_ms);
        if known.is_some_and(|known| known >= grant.not_after_ms) {
            return false;
        }
        nodes.insert(key.peer(), Node { not_after_ms: grant.not_after_ms });
        self.granted.entry(key.peer()).or_default().insert(tenant);
        true
    }

    /// Where two portals cut one log the smaller cut wins, and a log only one of them
    /// lists keeps that portal's cut: the other had not seen it.
    fn revoke(&mut self, tenant: VatNumber, revocation: &Revocation) -> bool {
        let revoked = &mut self.spaces.entry(tenant).or_default().revoked;
        let fresh = !revoked.contains_key(&revocation.peer);
        let cuts = revoked.entry(revocation.peer).or_default();
        let mut changed = fresh;
        for (log, seq) in &revocation.cuts {
            let cut = cuts.entry(*log).or_insert(Seq::MAX);
            if *seq < *cut {
                *cut = *seq;
                changed = true;
            }
        }
        changed
    }

    /// Whether `peer` is one of the intermediary's servers.
    #[must_use]
    pub fn is_portal(&self, peer: &PeerId) -> bool {
        self.portals.contains(peer)
    }

    /// The portals, by name.
    pub fn portals(&self) -> impl Iterator<Item = &PeerId> {
        self.portals.iter()
    }

    /// Whether `peer` was ever admitted to `tenant` and then revoked.
    #[must_use]
    pub fn is_revoked(&self, peer: &PeerId, tenant: VatNumber) -> bool {
        self.spaces.get(&tenant).is_some_and(|space| space.revoked.contains_key(peer))
    }

    /// Whether `peer` may be sent, and may speak about, `tenant`'s space.
    #[must_use]
    pub fn may_hold(&self, peer: &PeerId, tenant: VatNumber) -> bool {
        self.is_portal(peer)
            || self.spaces.get(&tenant).is_some_and(|space| {
                space.nodes.contains_key(peer) && !space.revoked.contains_key(peer)
            })
    }

    /// The role in which `writer` writes in `tenant`'s space, now or before a revocation
    /// (see [`Authority::cut`]); `None` is a stranger.
    #[must_use]
    pub fn role(&self, writer: &PeerId, tenant: VatNumber) -> Option<Role> {
        if self.is_portal(writer) {
            return Some(Role::Portal);
        }
        let known = self.spaces.get(&tenant)?.nodes.contains_key(writer);
        known.then_some(Role::Node)
    }

    /// The last bundle of `writer`'s `log` that counts: no bound unless revoked.
    #[must_use]
    pub fn cut(&self, writer: &PeerId, tenant: VatNumber, log: &LogId) -> Option<Seq> {
        if plant::is(Bug::RevocationIgnored) {
            return None;
        }
        let cuts = self.spaces.get(&tenant)?.revoked.get(writer)?;
        Some(cuts.get(log).copied().unwrap_or(0))
    }

    /// The tenants whose space `peer` may hold as a node.
    pub fn tenants_of(&self, peer: &PeerId) -> impl Iterator<Item = VatNumber> {
        let granted = self.granted.get(peer).into_iter().flatten().copied();
        granted.filter(|tenant| self.may_hold(peer, *tenant))
    }

    /// Every node that may connect, with the end of its certificate in milliseconds since 1970.
    #[must_use]
    pub fn admitted(&self) -> BTreeMap<PeerId, u64> {
        let mut admitted = BTreeMap::new();
        for space in self.spaces.values() {
            for (peer, node) in &space.nodes {
                if !space.revoked.contains_key(peer) {
                    let end: &mut u64 = admitted.entry(*peer).or_default();
                    *end = node.not_after_ms.max(*end);
                }
            }
        }
        admitted
    }

    /// Every revoked pair of tenant and peer.
    pub fn revocations(&self) -> impl Iterator<Item = (VatNumber, PeerId)> {
        self.spaces
            .iter()
            .flat_map(|(tenant, space)| space.revoked.keys().map(move |peer| (*tenant, *peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spki(n: u8) -> Vec<u8> {
        let mut spki = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
        ];
        spki.extend([n; 64]);
        spki
    }

    fn tenant(text: &str) -> VatNumber {
        VatNumber::parse(text).unwrap()
    }

    #[test]
    fn nobody_may_anything_until_a_portal_says_so() {
        let (ours, other) = (tenant("02038490237"), tenant("12345678903"));
        let portal = PeerId::of_spki(&spki(1));
        let node = PeerId::of_spki(&spki(2));
        let mut authority = Authority::new([portal]);
        assert!(authority.may_hold(&portal, ours));
        assert!(!authority.may_hold(&node, ours));
        assert_eq!(authority.role(&node, ours), None);

        let grant = Item::Grant(Grant { spki: spki(2), not_after_ms: 9 });
        assert!(authority.learn(ours, &grant));
        assert!(!authority.learn(ours, &grant), "said twice is said once");
        assert!(authority.may_hold(&node, ours));
        assert!(!authority.may_hold(&node, other), "a grant is for one tenant");
        assert!(authority.tenants_of(&node).eq([ours]));
    }

    #[test]
    fn the_smaller_cut_wins_in_any_order() {
        let ours = tenant("02038490237");
        let node = PeerId::of_spki(&spki(2));
        let log = LogId::from_bytes([1; 16]);
        let cut = |seq| Item::Revocation(Revocation { peer: node, cuts: vec![(log, seq)] });
        for order in [[3, 5], [5, 3]] {
            let mut authority = Authority::new([]);
            authority.learn(ours, &Item::Grant(Grant { spki: spki(2), not_after_ms: 9 }));
            for seq in order {
                authority.learn(ours, &cut(seq));
            }
            assert_eq!(authority.cut(&node, ours, &log), Some(3));
            assert_eq!(authority.cut(&node, ours, &LogId::from_bytes([2; 16])), Some(0));
            assert!(!authority.may_hold(&node, ours));
            assert!(authority.admitted().is_empty());
        }
    }

    #[test]
    fn nobody_is_admitted_to_the_office() {
        let node = PeerId::of_spki(&spki(2));
        let mut authority = Authority::new([PeerId::of_spki(&spki(1))]);
        assert!(!authority.learn(OFFICE, &Item::Grant(Grant { spki: spki(2), not_after_ms: 9 })));
        assert!(!authority.may_hold(&node, OFFICE) && authority.admitted().is_empty());
        assert_eq!(authority.role(&node, OFFICE), None);
    }

    #[test]
    fn the_office_has_its_own_kinds() {
        for kind in Kind::ALL {
            assert!(!Role::Node.may_write_in(OFFICE, kind), "{kind:?}");
            let office = matches!(kind, Kind::Account | Kind::Customer);
            assert_eq!(Role::Portal.may_write_in(OFFICE, kind), office, "{kind:?}");
            let ours = tenant("02038490237");
            assert!(!office || !Role::Portal.may_write_in(ours, kind), "{kind:?}");
        }
        assert!(!Role::Node.may_write(Kind::Contract), "what was signed is for the portal to say");
    }

    #[test]
    fn outcomes_come_from_portals_and_annotations_from_nodes() {
        assert!(Role::Portal.may_write(Kind::Outcome) && !Role::Node.may_write(Kind::Outcome));
        assert!(
            Role::Node.may_write(Kind::Annotation) && !Role::Portal.may_write(Kind::Annotation)
        );
    }
}
