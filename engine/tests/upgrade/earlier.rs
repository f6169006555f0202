//! An earlier version among us: it is told nothing it cannot read.

use std::sync::Arc;

use engine::{
    store::memory::MemoryStore,
    vector::Digest,
    wire::{Form, Frame, Hello, SpaceState, Tenant},
};

use crate::{
    keys::Key,
    replica::{NODE, PORTAL, Replica, Writer, tenant},
};

#[test]
fn a_peer_of_version_1_is_sent_no_sheet() {
    let peer = Key::new(PORTAL).peer();
    let mut replica = Replica::opened_by(peer, Arc::new(MemoryStore::new()));
    let mut portal = Writer::new(PORTAL, tenant());
    replica.hear(&Frame::Run(portal.say(vec![Key::new(NODE).grant()], &[])));
    for (versions, form) in [((1, 1), Form::Plain), ((1, 2), Form::Sheet), ((1, 9), Form::Sheet)] {
        let digest = Digest::default();
        let space = SpaceState { tenant: Tenant(tenant()), logs: Vec::new(), rest: None, digest };
        let hello = Frame::Hello(Hello {
            versions,
            agent: "staffetta-portal".to_owned(),
            primary: true,
            spaces: vec![space],
            root: Digest([1; 16]),
        });
        replica.forms.clear();
        replica.greeted_with(&hello.encode());
        assert_eq!(replica.forms, [form], "{versions:?}");
    }
}
