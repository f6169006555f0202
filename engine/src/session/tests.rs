//! What is answered, and what waits for what.

use super::*;

fn session() -> (Session, Due) {
    let tenant = VatNumber::parse("02038490237").unwrap();
    let log = LogId::from_bytes([1; 16]);
    let mut session = Session::new(PeerId::of_spki(b"peer"), false, Time::ZERO);
    session.greeted = true;
    session.open_space(tenant, [(log, 30)].into_iter().collect());
    (session, Due { tenant, rank: 0, log })
}

#[test]
fn of_two_wants_the_answer_begins_at_the_earlier() {
    let (mut session, due) = session();
    session.ask(due, 20);
    session.ask(due, 13);
    session.ask(due, 25);
    session.held(due.tenant, &[(due.log, 30)]);
    assert_eq!(session.next_run(), Some((due, 13)), "an Ack does not answer a Want");
}

#[test]
fn a_want_for_what_is_being_sent_is_answered_after_it() {
    let (mut session, due) = session();
    session.ask(due, 20);
    assert_eq!(session.next_run(), Some((due, 20)));
    session.ask(due, 6);
    session.sent(30, 100, 30, false);
    assert_eq!(session.next_run(), Some((due, 6)));
    session.sent(30, 100, 30, false);
    assert_eq!(session.next_run(), None);
}

#[test]
fn a_want_that_comes_before_its_space_is_understood_waits_for_it() {
    let (before, due) = session();
    let mut session = Session::new(before.peer, false, Time::ZERO);
    session.greeted = true;
    session.ask(due, 20);
    assert_eq!(session.next_run(), None);
    session.open_space(due.tenant, [(due.log, 30)].into_iter().collect());
    assert_eq!(session.next_run(), Some((due, 20)));
}

#[test]
fn a_session_is_not_quiet_while_it_waits_for_what_it_asked() {
    let (mut session, Due { tenant, log, .. }) = session();
    let (now, soon) = (Time::from_millis(5), Time::from_millis(300));
    session.wants(tenant, log, now);
    assert!(!session.is_quiet(soon));
    assert!(session.is_quiet(Time::from_millis(limits::WANT_MS_MAX + 5)), "it has not got it");
    session.got(tenant, log);
    assert!(session.is_quiet(soon));
}

#[test]
fn a_nodes_log_waits_until_the_portals_logs_that_may_admit_it_are_held() {
    let (mut session, portal) = session();
    let portal = Due { log: LogId::from_bytes([2; 16]), ..portal };
    let node = Due { rank: 1, log: LogId::from_bytes([1; 16]), ..portal };
    session.primary = true;
    session.offer(portal, 4);
    session.offer(node, 40);
    assert_eq!(session.next_run(), Some((portal, 0)));
    session.sent(3, 100, 4, true);
    assert_eq!(session.next_run(), None, "bundle 3 has a large file, 4 may be a grant");
    session.held(node.tenant, &[(portal.log, 3)]);
    assert_eq!(session.next_run(), Some((portal, 3)));
    session.sent(4, 100, 4, false);
    assert_eq!(session.next_run(), Some((node, 30)));
}

#[test]
fn a_want_for_a_nodes_log_brings_the_portals_logs_first() {
    let (mut session, portal) = session();
    let portal = Due { log: LogId::from_bytes([2; 16]), ..portal };
    let node = Due { rank: 1, log: LogId::from_bytes([1; 16]), ..portal };
    session.offer(portal, 4);
    assert_eq!(session.next_run(), None, "a standby sends what it was asked for");
    session.ask(node, 20);
    assert_eq!(session.next_run(), Some((portal, 0)));
}

#[test]
fn what_was_dropped_for_want_of_a_grant_does_not_keep_the_grant_waiting() {
    let (mut session, portal) = session();
    let portal = Due { log: LogId::from_bytes([2; 16]), ..portal };
    let node = Due { rank: 1, log: LogId::from_bytes([1; 16]), ..portal };
    session.ask(node, 20);
    assert_eq!(session.next_run(), Some((node, 20)));
    session.sent(30, limits::HEDGE_IN_FLIGHT_BYTES_MAX, 30, false);
    session.held(node.tenant, &[(portal.log, 1)]);
    // The row with the grant was damaged until now.
    session.ask(portal, 1);
    assert_eq!(session.next_run(), Some((portal, 1)));
    session.sent(4, limits::HEDGE_IN_FLIGHT_BYTES_MAX, 4, false);
    session.ask(node, 20);
    assert_eq!(session.next_run(), None, "the grant is still on its way");
    session.held(node.tenant, &[(portal.log, 4)]);
    assert_eq!(session.next_run(), Some((node, 20)));
    assert_eq!(session.in_flight_bytes(), 0, "what was sent before is sent again");
}

#[test]
fn a_want_for_what_is_damaged_here_is_not_forgotten_over_a_later_one() {
    let (mut session, due) = session();
    session.ask(due, 4);
    assert_eq!(session.next_run(), Some((due, 4)));
    session.ask(due, 20);
    session.unread();
    assert_eq!(session.next_run(), Some((due, 20)));
    session.sent(30, 100, 30, false);
    session.offer(due, 30);
    assert_eq!(session.next_run(), Some((due, 4)));
}

#[test]
fn a_session_is_not_quiet_while_it_waits_for_a_space_in_full() {
    let (mut session, Due { tenant, .. }) = session();
    let now = Time::from_millis(5);
    session.unclear(tenant, now);
    assert!(!session.is_quiet(now));
    session.open_space(tenant, Vector::default());
    assert!(session.is_quiet(now));
}

#[test]
fn a_want_for_what_is_damaged_here_is_answered_once_it_is_mended() {
    let (mut session, due) = session();
    session.ask(due, 20);
    assert_eq!(session.next_run(), Some((due, 20)));
    session.unread();
    assert_eq!(session.next_run(), None, "no loop over a damaged row");
    session.offer(due, 30);
    assert_eq!(session.next_run(), Some((due, 20)));
}
