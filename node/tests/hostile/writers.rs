//! Writers who were admitted, and lie about who they are, when they wrote, or what they wrote
//! before.

use engine::{
    bundle::Item,
    document::{
        annotation::{self, AnnotationEdit},
        profile::{self, ProfileField},
    },
    effect::Alarm,
    fault::Fault,
    grant::Revocation,
    id::{DocumentId, Kind, LogId, Seq},
    record::Record,
    wire::{Effort, Form, Frame, Packing, Run, Tenant},
};

use crate::{
    peer::{Peer, Writer},
    scene::{Scene, party, sent, tenant, until},
};

/// Says `run` on a session of its own, which ends so, and nothing of it is stored.
async fn ends(scene: &mut Scene, what: &str, run: Run, fault: Fault) {
    let before = scene.held().await;
    let peer = scene.greeted().await;
    peer.say(&Frame::Run(run)).await;
    assert_eq!(peer.ended().await, (Some(fault), u32::from(fault.code())), "{what}");
    assert_eq!(scene.held().await, before, "{what}: nothing of it is stored");
    scene.honest_goes_on().await;
}

pub async fn acknowledged(peer: &mut Peer) -> (LogId, Seq) {
    let ack = |frame| match frame {
        Frame::Ack { logs, .. } => Some(logs[0]),
        _ => None,
    };
    peer.hear_until(ack).await
}

/// The parts of several runs of one log, in one run under the last one's signature.
pub fn joined(runs: &[&Run]) -> Run {
    let opened: Vec<_> = runs.iter().flat_map(|run| run.open().unwrap()).collect();
    let last = runs[runs.len() - 1];
    Run {
        bodies: opened.iter().map(|bundle| bundle.bytes.len() as u32).collect(),
        inline: opened.iter().map(|bundle| bundle.inline.len() as u32).sum(),
        payload: Run::pack(
            Packing { form: Form::Sheet, effort: Effort::Quick },
            opened.iter().map(|bundle| (&bundle.bytes[..], &bundle.inline[..])),
        ),
        signature: last.signature,
        ..runs[0].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_the_name_of_a_portal_is_refused() {
    let mut scene = Scene::new().await;
    let portal = scene.portal.log();
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let run = writer.run(vec![sent(portal, b"<xml/>").0], &[b"<xml/>"]);
    ends(&mut scene, "the portal's actor id", run, Fault::WrongActor).await;
    let mut run =
        Writer::new(&scene.bad.identity, tenant(), 1).run(vec![sent(portal, b"a").0], &[b"a"]);
    run.log = portal;
    ends(&mut scene, "the portal's log", run, Fault::BadSignature).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_in_another_order_or_without_one_of_them_are_refused() {
    let mut scene = Scene::new().await;
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let log = writer.id();
    let runs: Vec<_> = (1..=3_u8).map(|n| writer.run(vec![sent(log, &[n]).0], &[&[n]])).collect();
    let [one, two, three] = &runs[..] else { unreachable!() };
    for (what, order) in [
        ("two before one", [two, one, three]),
        ("the last first", [three, one, two]),
        ("one twice", [one, one, two]),
    ] {
        let run =
            Run { first: 1, origin: one.origin.clone(), previous: one.previous, ..joined(&order) };
        ends(&mut scene, what, run, Fault::BadSignature).await;
    }
    let cut = Run { signature: three.signature, ..joined(&[one, two]) };
    ends(&mut scene, "the last one left out", cut, Fault::BadSignature).await;
    ends(&mut scene, "one left out of the middle", joined(&[one, three]), Fault::BadSignature)
        .await;
    // What is whole is taken, and the first one left out is asked for.
    let mut peer = scene.greeted().await;
    peer.say(&Frame::Run(joined(&[two, three]))).await;
    let wanted = |frame| match frame {
        Frame::Want { log, after, .. } => Some((log, after)),
        _ => None,
    };
    assert_eq!(peer.hear_until(wanted).await, (log, 0));
    peer.say(&Frame::Run(joined(&[one, two, three]))).await;
    assert_eq!(acknowledged(&mut peer).await, (log, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_with_two_pasts_is_known_by_them_and_counts_no_further() {
    let mut scene = Scene::new().await;
    let mut peer = scene.greeted().await;
    let (mut one, mut two) = (
        Writer::new(&scene.bad.identity, tenant(), 1),
        Writer::new(&scene.bad.identity, tenant(), 1),
    );
    let log = one.id();
    peer.say(&Frame::Run(one.run(vec![sent(log, b"a").0], &[b"a"]))).await;
    assert_eq!(acknowledged(&mut peer).await, (log, 1));
    let before = scene.held().await;
    peer.say(&Frame::Run(two.run(vec![sent(log, b"b").0], &[b"b"]))).await;
    until("the portal reports it", async || {
        let alarms = scene.portal.view().await.alarms;
        alarms == [Alarm::Fork { tenant: tenant(), log, seq: 1 }]
    })
    .await;
    // Neither past goes on, and the proof counts against nobody else.
    peer.say(&Frame::Run(two.run(vec![sent(log, b"c").0], &[b"c"]))).await;
    peer.say(&Frame::Run(one.run(vec![sent(log, b"d").0], &[b"d"]))).await;
    peer.is_served().await;
    assert_eq!(scene.held().await, before);
    scene.honest_writes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_nothing_counts_whatever_its_date_and_whoever_brings_it() {
    let mut scene = Scene::new().await;
    let accomplice = party();
    scene.admit(&accomplice).await;
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 1);
    let log = writer.id();
    let mut peer = scene.greeted().await;
    peer.say(&Frame::Run(writer.run(vec![sent(log, b"before").0], &[b"before"]))).await;
    assert_eq!(acknowledged(&mut peer).await, (log, 1));

    let revocation = Revocation { peer: scene.bad.identity.peer(), cuts: vec![(log, 1)] };
    scene.portal.append(tenant(), vec![Item::Revocation(revocation)], vec![]).await.unwrap();
    peer.ended().await;
    let mut peer = Peer::dial(&scene, &accomplice.identity).await;
    peer.greet().await;
    let before = scene.portal.view().await.spaces;
    // In 1970, as the writer says, long before the revocation.
    peer.say(&Frame::Run(writer.run(vec![sent(log, b"after").0], &[b"after"]))).await;
    let mut other = Writer::new(&scene.bad.identity, tenant(), 2);
    let item = sent(other.id(), b"elsewhere").0;
    peer.say(&Frame::Run(other.run(vec![item], &[b"elsewhere"]))).await;
    peer.is_served().await;
    let after = scene.portal.view().await.spaces;
    for log in [log, other.id()] {
        assert_eq!(after[&tenant()].get(&log), before[&tenant()].get(&log), "it counts nowhere");
    }
    // Who brought it did nothing wrong by that, and is served.
    let mut own = Writer::new(&accomplice.identity, tenant(), 1);
    let log = own.id();
    peer.say(&Frame::Run(own.run(vec![sent(log, b"own").0], &[b"own"]))).await;
    assert_eq!(acknowledged(&mut peer).await, (log, 1));
    scene.honest_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_dated_change_does_not_undo_and_a_post_dated_one_does_not_win() {
    let mut scene = Scene::new().await;
    // The portal wrote the profile twice: who makes a change upon nothing has seen neither.
    let document = DocumentId::single(Kind::Profile);
    let portal = scene.portal.log();
    let mut changes: Vec<Vec<u8>> = Vec::new();
    for pec in ["old@pec.it", "new@pec.it"] {
        let known: Vec<_> = changes.iter().map(Vec::as_slice).collect();
        let fields = [(ProfileField::Pec, pec)];
        let change = profile::edit(portal, &known, &fields).unwrap().unwrap();
        let item = Item::Change { document, change: change.clone() };
        scene.portal.append(tenant(), vec![item], vec![]).await.unwrap();
        changes.push(change);
    }
    let mut peer = scene.greeted().await;
    for (n, written_ms) in [(1, 0), (2, 1), (3, u64::MAX)] {
        let mut writer = Writer::new(&scene.bad.identity, tenant(), n);
        let (log, bad) = (writer.id(), format!("bad{n}@pec.it"));
        let change = profile::edit(log, &[], &[(ProfileField::Pec, &*bad)]).unwrap().unwrap();
        let run = writer.run_at(written_ms, vec![Item::Change { document, change }], &[]);
        peer.say(&Frame::Run(run)).await;
        assert_eq!(acknowledged(&mut peer).await, (log, 1));
        let Record::Profile(record) = scene.record(document) else { panic!("a profile") };
        assert_eq!(record.get(ProfileField::Pec), "new@pec.it", "written_ms {written_ms}");
        let shown = &record.conflicts[0].values;
        assert!(shown.contains(&bad), "and it shows that somebody else disagrees: {shown:?}");
    }
    // Its own change dated back under a number that is taken: that document is odd, no other.
    let mut writer = Writer::new(&scene.bad.identity, tenant(), 4);
    let log = writer.id();
    let (item, invoice) = sent(log, b"noted");
    peer.say(&Frame::Run(writer.run(vec![item], &[b"noted"]))).await;
    assert_eq!(acknowledged(&mut peer).await, (log, 1));
    for (seq, text) in [(2, "one"), (3, "another")] {
        let edits = [AnnotationEdit::Notes(text.to_owned())];
        let change = annotation::edit(log, &[], &edits).unwrap().unwrap();
        let document = invoice.sibling(Kind::Annotation);
        peer.say(&Frame::Run(writer.run(vec![Item::Change { document, change }], &[]))).await;
        assert_eq!(acknowledged(&mut peer).await, (log, seq));
    }
    let odd = scene.record(invoice.sibling(Kind::Annotation));
    assert!(matches!(odd, Record::Unreadable(_)), "{odd:?}");
    assert!(matches!(scene.record(invoice), Record::Invoice(_)));
    assert!(matches!(scene.record(document), Record::Profile(_)));
    // A greeting that claims to know all this already changes nothing.
    peer.say(&Frame::Have { tenant: Tenant(tenant()), logs: vec![(portal, Seq::MAX)] }).await;
    peer.is_served().await;
    scene.honest_goes_on().await;
}
