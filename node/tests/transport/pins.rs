//! One rule, both ways, at the handshake and for as long as a connection lives.

use std::{collections::BTreeMap, time::Duration};

use node::transport::{
    Class, ConnectionError, DialError, Limits, PinSet, Refusal, Transport, code,
    connection::RefusedBecause,
};
use tokio::time::timeout;

use crate::support::{Party, Portal, TRANSPORTS, connect, connected, now, pins, soon};

#[tokio::test]
async fn a_pinned_customer_and_its_portal_meet() {
    for transport in TRANSPORTS {
        let (_portal, _customer, ends) = connected(transport).await;
        assert_eq!(ends.ours.0.transport(), transport);
        assert_eq!(ends.ours.0.local().ip(), ends.theirs.0.remote().ip());
        assert_eq!(ends.ours.0.remote(), ends.theirs.0.local());
        assert_eq!(ends.ours.0.rtt().is_some(), transport == Transport::Quic);
        let stats = ends.theirs.0.stats();
        assert!(stats.sent_bytes > 500 && stats.received_bytes > 500, "{stats:?}");
        assert!(stats.sent_datagrams > 0 && stats.received_datagrams > 0, "{stats:?}");
    }
}

/// What a dialler the portal does not admit gets to hear, at once or from its first `recv`.
async fn heard(portal: &Portal, customer: &Party, transport: Transport) -> RefusedBecause {
    match portal.dialled_by(customer, transport).await {
        Err(DialError::PinRefusedByPeer { because, .. }) => because,
        Err(other) => panic!("{transport:?}: {other}"),
        Ok(connection) => {
            let (sender, mut receiver) = connection.split();
            // The portal may be faster than this.
            let _ = sender.send(Class::Control, "hello".into()).await;
            let heard = soon(receiver.recv()).await.unwrap();
            assert!(receiver.recv().await.is_none());
            match heard {
                Err(ConnectionError::RefusedByPeer(because)) => because,
                other => panic!("{transport:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_stranger_is_refused_and_told_so() {
    for transport in TRANSPORTS {
        let mut portal = Portal::open([Party::new().peer()]);
        let stranger = Party::new();
        assert_eq!(heard(&portal, &stranger, transport).await, RefusedBecause::NotAdmitted);
        // The portal's host never hears of it.
        let nobody = timeout(Duration::from_millis(100), portal.listener.accept()).await;
        assert!(nobody.is_err());
        assert_eq!(portal.listener.stats().failed, 1);
    }
}

#[tokio::test]
async fn a_pin_whose_date_has_passed_is_refused_as_expired() {
    for transport in TRANSPORTS {
        let customer = Party::new();
        let portal = Portal::open([]);
        portal.pins.admit(customer.peer(), Some(now() - 10));
        assert_eq!(heard(&portal, &customer, transport).await, RefusedBecause::Expired);
        portal.pins.admit(customer.peer(), Some(now() + 1000));
        assert!(portal.dialled_by(&customer, transport).await.is_ok());
    }
}

#[tokio::test]
async fn a_server_that_is_not_the_portal_dialled_is_refused() {
    for transport in TRANSPORTS {
        let (customer, elsewhere) = (Party::new(), Party::new());
        let portal = Portal::open([customer.peer()]);
        // Both pins are admitted; the one that answers is not the one that was meant.
        let dialer = customer.dialer(&pins([portal.party.peer(), elsewhere.peer()]));
        let dial = dialer.dial(0, portal.address(transport), elsewhere.peer(), transport);
        let expected =
            Refusal::NotExpected { peer: portal.party.peer(), expected: elsewhere.peer() };
        assert_eq!(soon(dial).await.unwrap_err(), DialError::PinRefusedHere(expected));

        // The one that was meant answers, and is not admitted.
        let dialer = customer.dialer(&pins([elsewhere.peer()]));
        let dial = dialer.dial(0, portal.address(transport), portal.party.peer(), transport);
        let expected = Refusal::NotAdmitted { peer: portal.party.peer() };
        assert_eq!(soon(dial).await.unwrap_err(), DialError::PinRefusedHere(expected));
    }
}

#[tokio::test]
async fn revoking_a_pin_cuts_its_live_connections_and_no_others() {
    for transport in TRANSPORTS {
        let (mut portal, customer, mut ends) = connected(transport).await;
        let other = Party::new();
        portal.pins.admit(other.peer(), None);
        let mut others = connect(&mut portal, &other, transport).await;

        assert!(portal.pins.revoke(&customer.peer()));
        let cut = timeout(Duration::from_secs(1), async {
            let ours = ends.ours.1.recv().await.unwrap().unwrap_err();
            let theirs = ends.theirs.1.recv().await.unwrap().unwrap_err();
            (ours, theirs)
        });
        let (ours, theirs) = cut.await.expect("within a second");
        assert!(matches!(ours, ConnectionError::ClosedHere { code: code::REVOKED, .. }), "{ours}");
        assert!(
            matches!(theirs, ConnectionError::ClosedByPeer { code: code::REVOKED, .. }),
            "{theirs}"
        );
        assert!(ends.ours.0.send(Class::Control, "late".into()).await.is_err());
        assert_eq!(heard(&portal, &customer, transport).await, RefusedBecause::NotAdmitted);

        others.ours.0.send(Class::Bundles, "still here".into()).await.unwrap();
        let (class, frame) = soon(others.theirs.1.recv()).await.unwrap().unwrap();
        assert_eq!((class, &frame[..]), (Class::Bundles, &b"still here"[..]));
    }
}

#[tokio::test]
async fn a_customer_that_revokes_its_portal_leaves_too() {
    for transport in TRANSPORTS {
        let customer = Party::new();
        let portal = Portal::open([customer.peer()]);
        let admitted = pins([portal.party.peer()]);
        let dialer = customer.dialer(&admitted);
        let dial = dialer.dial(0, portal.address(transport), portal.party.peer(), transport);
        let connection = soon(dial).await.unwrap();
        admitted.replace(BTreeMap::new());
        let ended = timeout(Duration::from_secs(1), connection.closed()).await.unwrap();
        assert!(matches!(ended, ConnectionError::ClosedHere { code: code::REVOKED, .. }));
    }
}

#[tokio::test]
async fn a_pin_that_expires_ends_its_connections() {
    let customer = Party::new();
    let mut portal = Portal::open([]);
    portal.pins.admit(customer.peer(), Some(now() + 1));
    let mut ends = connect(&mut portal, &customer, Transport::Quic).await;
    let ended = soon(ends.theirs.1.recv()).await.unwrap().unwrap_err();
    assert!(matches!(ended, ConnectionError::ClosedByPeer { code: code::REVOKED, .. }), "{ended}");
}

#[tokio::test]
async fn replacing_pins_by_equal_ones_wakes_nobody() {
    let party = Party::new();
    let set = pins([party.peer()]);
    let mut subscription = set.subscribe();
    set.replace(PinSet::snapshot(&set).as_ref().clone());
    assert!(!subscription.has_changed().unwrap());
    set.replace(BTreeMap::new());
    assert!(subscription.has_changed().unwrap());
    subscription.mark_unchanged();
    assert!(!set.revoke(&party.peer()));
    assert!(!subscription.has_changed().unwrap());
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    for transport in TRANSPORTS {
        let (customer, other) = (Party::new(), Party::new());
        let limits = Limits { connections_per_peer_max: 2, ..Limits::default() };
        let mut portal = Portal::open_with([customer.peer(), other.peer()], limits);
        let mut one = connect(&mut portal, &customer, transport).await;
        let _two = connect(&mut portal, &customer, transport).await;

        let (sender, mut third) = portal.dialled_by(&customer, transport).await.unwrap().split();
        let _ = sender.send(Class::Control, "hello".into()).await;
        let ended = soon(third.recv()).await.unwrap().unwrap_err();
        assert!(matches!(ended, ConnectionError::ClosedByPeer { code: code::BUSY, .. }), "{ended}");
        let _other = connect(&mut portal, &other, transport).await;

        // A connection that ends makes room for the next.
        one.theirs.0.close(code::DONE, "").await;
        soon(one.ours.1.recv()).await.unwrap().unwrap_err();
        soon(async {
            while portal.listener.stats().connections > 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let _again = connect(&mut portal, &customer, transport).await;
    }
}
