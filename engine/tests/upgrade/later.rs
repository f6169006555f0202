//! A later version among us: what it adds survives where this version holds it.

use std::sync::Arc;

use automerge::{ActorId, AutoCommit, ROOT, transaction::Transactable as _};
use engine::{
    archive,
    bundle::{Body, Item},
    chunk,
    document::{
        load,
        profile::{self, ProfileField},
    },
    fault::Fault,
    id::{DocumentId, Kind},
    record::Record,
    store::memory::MemoryStore,
    vector::{Digest, Vector},
    wire::{Effort, Form, Frame, Hello, Packing},
};

use crate::{
    keys::Key,
    replica::{NODE, PORTAL, Replica, Writer, tenant},
};

/// What version 9 puts behind the fields that are known here.
const LATER: &[u8] = b"what version 9 adds";

fn opened() -> Replica {
    Replica::opened_by(Key::new(PORTAL).peer(), Arc::new(MemoryStore::new()))
}

#[test]
fn what_a_later_version_adds_to_a_bundle_is_stored_and_relayed_as_it_came() {
    let mut portal = Writer::new(PORTAL, tenant());
    let mut node = Writer::new(NODE, tenant());
    let fields = [(ProfileField::Pec, "a@pec.it")];
    let change = profile::edit(node.id(), &[], &fields).unwrap().unwrap();
    let document = DocumentId::single(Kind::Profile);
    let body =
        Body { written_ms: 1, items: vec![Item::Change { document, change }], blobs: Vec::new() };
    let bytes = [body.encode().unwrap(), LATER.to_vec()].concat();

    let mut first = opened();
    first.hear(&Frame::Run(portal.say(vec![Key::new(NODE).grant()], &[])));
    first.hear(&Frame::Run(node.say_bytes(bytes.clone(), Vec::new())));
    let mut second = opened();
    for writer in [&portal, &node] {
        let packing = Packing { form: Form::Sheet, effort: Effort::Quick };
        let held = Vector::default();
        let (run, _) =
            archive::run(&*first.store, tenant(), writer.origin(), 0, 1, &held, packing).unwrap();
        second.hear(&Frame::Run(run));
    }
    for replica in [&first, &second] {
        assert_eq!(replica.engine.vector(tenant()).get(&node.id()), 1);
        let stored = archive::bundle(&*replica.store, tenant(), &node.id(), 1).unwrap();
        assert_eq!(stored.body, bytes);
        let changes = archive::changes(&*replica.store, tenant(), &document).unwrap();
        let Record::Profile(record) = Record::derive(document, &changes) else { panic!() };
        assert_eq!(record.get(ProfileField::Pec), "a@pec.it");
    }
    assert_eq!(first.engine.digest(tenant()), second.engine.digest(tenant()));
}

#[test]
fn a_key_of_a_later_version_stays_in_its_document_through_an_edit() {
    let (portal, node) = (Writer::new(PORTAL, tenant()), Writer::new(NODE, tenant()));
    let mut doc = AutoCommit::new();
    doc.set_actor(ActorId::from(portal.id().as_bytes()));
    doc.put(ROOT, ProfileField::Pec.key(), "a@pec.it").unwrap();
    doc.put(ROOT, "fax", "0442 12345").unwrap();
    doc.put(ROOT, "logo", vec![1_u8, 2, 3]).unwrap();
    let later = chunk::unwrap(doc.get_changes(&[]).remove(0).raw_bytes()).unwrap().to_vec();

    let fields = [(ProfileField::Pec, "b@pec.it")];
    let edit = profile::edit(node.id(), &[&later], &fields).unwrap().unwrap();
    let changes = [later, edit];
    let document = load(&changes).unwrap();
    assert_eq!(document.keys().collect::<Vec<_>>(), ["fax", "logo", "pec"]);
    assert_eq!(document.conflicts("fax"), ["0442 12345"]);
    let record = Record::derive(DocumentId::single(Kind::Profile), &changes);
    let Record::Profile(record) = record else { panic!("{record:?}") };
    assert_eq!(record.get(ProfileField::Pec), "b@pec.it");
    assert_eq!(record.fields.len(), 1, "what is not known is not shown");
}

#[test]
fn a_later_peer_is_spoken_with_in_what_both_know_or_told_to_wait_for_the_update() {
    let greet = |versions| {
        let hello = Frame::Hello(Hello {
            versions,
            agent: "staffetta-node 9.0.0".to_owned(),
            primary: false,
            spaces: Vec::new(),
            root: Digest::default(),
        });
        [hello.encode(), LATER.to_vec()].concat()
    };
    let mut replica = opened();
    let mut portal = Writer::new(PORTAL, tenant());
    replica.greeted_with(&greet((1, 9)));
    replica.hear(&Frame::Run(portal.say(vec![Key::new(NODE).grant()], &[])));
    assert_eq!(replica.engine.vector(tenant()).get(&portal.id()), 1);

    replica.greeted_with(&greet((8, 9)));
    assert_eq!(replica.said.last(), Some(&Frame::Bye(Some(Fault::Version))));
    assert!(Fault::Version.to_string().contains("update the older side"));
    // The same of one whose greeting is another in everything else.
    let mut strange = vec![0, 8, 9];
    strange.extend(LATER);
    replica.greeted_with(&strange);
    assert_eq!(replica.said.last(), Some(&Frame::Bye(Some(Fault::Version))));
}
