//! Stories of lines and portals, told in virtual time. Figures are printed with `--nocapture`.

use std::time::Duration;

use super::sim::{Path, World};
use super::*;

const EVERY: Duration = Duration::from_millis(50);

fn config(lines: u8, portals: &[u8], seed: u64) -> RouteConfig {
    RouteConfig { lines, portals: portals.to_vec(), mode: Mode::Live, seed }
}

fn clean(rtt_ms: u64) -> Path {
    Path { way_ms: rtt_ms / 2, jitter_ms: 0, loss_permille: 0 }
}

/// 300 ms, 1 % loss, 100 ms jitter.
fn rough() -> Path {
    Path { way_ms: 125, jitter_ms: 50, loss_permille: 10 }
}

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn dials(world: &World, from_ms: u64) -> Vec<(u64, RouteId, Transport)> {
    let dial = |(at, action): &(Time, RouteAction)| match action {
        RouteAction::Dial { route, transport, .. } if *at >= ms(from_ms) => {
            Some((at.as_millis(), *route, *transport))
        }
        _ => None,
    };
    world.log.iter().filter_map(dial).collect()
}

fn promotions(world: &World) -> usize {
    world.count(|action| matches!(action, RouteAction::Promote { .. }))
}

fn hedges(world: &World) -> usize {
    world.count(|action| matches!(action, RouteAction::Hedge { .. }))
}

#[test]
fn at_start_a_dead_line_costs_one_stagger() {
    let mut world = World::with(config(2, &[1, 1], 1), clean(40), |route, _, _| route.line == 0);
    world.run_until(400);
    assert_eq!(world.route(world.routes.primary()), Some((1, 1, Transport::Quic)));
    world.run_until(2_000);
    // The standby shares the line, which is the only one alive, but not the portal.
    assert_eq!(world.route(world.routes.standby()), Some((1, 0, Transport::Tcp)));
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn the_standby_shares_neither_line_nor_portal_nor_transport() {
    let mut world = World::new(config(2, &[2, 2], 1), clean(40));
    world.run_until(1_000);
    assert_eq!(world.route(world.routes.primary()), Some((0, 0, Transport::Quic)));
    assert_eq!(world.route(world.routes.standby()), Some((1, 1, Transport::Tcp)));
    assert_eq!(dials(&world, 0).len(), 2, "two handshakes for two sessions");
    world.run_until(100_000);
    assert_eq!(world.routes.sessions(), 2);
    assert_eq!(dials(&world, 0).len(), 2, "and then quiet");
}

/// The primary's path falls silent under writes; returns the longest wait of a write.
fn silent_primary(rtt_ms: u64, warm: bool, offset_ms: u64) -> Duration {
    let cut = ms(20_000 + offset_ms);
    // Cold: only the primary's route works until the cut, so there is no standby to be had.
    let outage = move |route: RouteId, _, at| {
        let primary = (route.line, route.portal) == (0, 0);
        (primary && at >= cut) || (!warm && !primary && at < cut)
    };
    let mut world = World::with(config(2, &[1, 1], 1), clean(rtt_ms), outage);
    world.write(EVERY);
    world.run_until(cut.as_millis());
    assert_eq!(world.route(world.routes.primary()), Some((0, 0, Transport::Quic)));
    assert_eq!(world.routes.sessions(), if warm { 2 } else { 1 });
    world.run_until(50_000);
    assert_ne!(world.route(world.routes.primary()), Some((0, 0, Transport::Quic)));
    assert!(world.unacked.values().all(|at| world.now - *at < Duration::from_secs(1)));
    assert!(world.sessions_max <= 3);
    // A warm standby is over TCP, and QUIC takes over on its route.
    assert!(matches!(world.route(world.routes.primary()), Some((_, _, Transport::Quic))));
    assert!((if warm { 3..=3 } else { 2..=3 }).contains(&promotions(&world)));
    world.stall(19_000)
}

#[test]
fn a_silent_primary_is_hedged_within_the_bound() {
    for (rtt_ms, warm, bound_ms) in [
        (4, true, 300),
        (40, true, 300),
        (300, true, 1_000),
        (4, false, 2_000),
        (40, false, 2_000),
        (300, false, 2_000),
    ] {
        let stalls: Vec<Duration> =
            (0..500).step_by(37).map(|offset| silent_primary(rtt_ms, warm, offset)).collect();
        let worst = stalls.iter().max().copied().unwrap_or_default();
        let mean = stalls.iter().sum::<Duration>() / u32::try_from(stalls.len()).unwrap();
        println!("rtt {rtt_ms} ms, warm {warm}: stall mean {mean:?}, worst {worst:?}");
        assert!(worst <= Duration::from_millis(bound_ms), "{rtt_ms} ms warm {warm}: {worst:?}");
    }
}

/// What was late in one failure must not make the next one be noticed late.
#[test]
fn a_line_that_falls_silent_again_is_hedged_as_soon_as_the_first_time() {
    for silent_ms in [200, 500, 1_000, 1_500, 2_000] {
        let mut world = World::new(config(2, &[1, 1], 1), clean(40));
        world.write(EVERY);
        for _ in 0..4 {
            // Each time the line of whoever is primary then, soon after it is well again and has a
            // standby over another line that is.
            loop {
                let ends = [world.routes.primary(), world.routes.standby()];
                let well =
                    ends.iter().flatten().filter(|id| world.routes.pulse(**id) == Pulse::Well);
                let [primary, standby] = ends.map(|id| world.route(id).map(|(line, ..)| line));
                if well.count() == 2 && primary != standby {
                    break;
                }
                world.run_until(world.now.as_millis() + 50);
            }
            let from = world.now.as_millis().max(19_700) + 300;
            world.run_until(from);
            let (line, ..) = world.route(world.routes.primary()).unwrap();
            let silence = ms(from)..ms(from + silent_ms);
            world.outage =
                Box::new(move |route, _, at| route.line == line && silence.contains(&at));
            world.run_until(from + silent_ms);
        }
        world.run_until(world.now.as_millis() + 5_000);
        let stall = world.stall(19_000);
        println!("silent four times for {silent_ms} ms: stall {stall:?}");
        assert!(stall <= Duration::from_millis(300), "{silent_ms} ms: {stall:?}");
    }
}

#[test]
fn an_idle_primary_that_dies_is_noticed_and_replaced() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.run_until(20_000);
    world.outage = Box::new(|route, _, _| (route.line, route.portal) == (0, 0));
    world.run_until(28_000);
    assert_eq!(world.route(world.routes.primary()), Some((1, 1, Transport::Quic)));
    world.run_until(60_000);
    assert_eq!(world.routes.sessions(), 2, "and has a standby again");
    assert!(world.sessions_max <= 3);
}

#[test]
fn a_dead_standby_is_replaced_before_it_is_needed() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.run_until(20_000);
    world.outage = Box::new(|route, _, _| route.line == 1);
    world.run_until(36_000);
    assert_eq!(world.route(world.routes.primary()), Some((0, 0, Transport::Quic)));
    assert_eq!(world.route(world.routes.standby()), Some((0, 1, Transport::Tcp)));
    assert_eq!(promotions(&world), 1);
    // The line comes back, and in time the standby moves there: made before the other breaks.
    world.outage = Box::new(|_, _, _| false);
    world.run_until(300_000);
    assert_eq!(world.route(world.routes.standby()), Some((1, 1, Transport::Tcp)));
    assert_eq!(promotions(&world), 1);
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn ten_rough_minutes_move_no_role() {
    let (mut hedged, mut worst) = (0, Duration::ZERO);
    let seeds = 120;
    let mut latencies = vec![];
    for seed in 0..seeds {
        let mut world = World::new(config(2, &[1, 1], seed), rough());
        world.write(Duration::from_millis(400));
        world.run_until(600_000);
        assert_eq!(promotions(&world), 1, "seed {seed}");
        assert!(world.sessions_max <= 3);
        hedged += hedges(&world);
        worst = worst.max(world.stall(5_000));
        latencies.extend(world.latencies.iter().map(|(_, wait)| *wait));
    }
    latencies.sort();
    let p = |percent: usize| latencies[latencies.len() * percent / 100];
    println!(
        "rough path, {seeds} x 10 min: {} false hedges an hour, 0 false promotions, \
         ack p50 {:?} p95 {:?} p99 {:?} worst {worst:?}",
        hedged as u64 * 6 / seeds,
        p(50),
        p(95),
        p(99)
    );
}

#[test]
fn udp_is_blocked_so_tcp_serves_until_it_is_not() {
    let no_udp = |_, transport, _| transport == Transport::Quic;
    let mut world = World::with(config(2, &[1, 1], 3), clean(40), no_udp);
    world.run_until(1_000);
    assert!(matches!(world.route(world.routes.primary()), Some((_, _, Transport::Tcp))));
    world.run_until(60_000);
    assert!(matches!(world.route(world.routes.standby()), Some((_, _, Transport::Tcp))));
    assert_eq!(world.routes.sessions(), 2);
    let attempts = dials(&world, 15_000).len();
    assert_eq!(attempts, 0, "nothing is dialled while both serve");

    // A restart of both: TCP need not wait out the head start again.
    let both = [world.routes.primary().unwrap(), world.routes.standby().unwrap()];
    for session in both {
        world.lose(session);
    }
    world.run_until(61_500);
    assert!(world.routes.primary().is_some());

    world.outage = Box::new(|_, _, _| false);
    world.run_until(900_000);
    assert!(matches!(world.route(world.routes.primary()), Some((_, _, Transport::Quic))));
    assert!(matches!(world.route(world.routes.standby()), Some((_, _, Transport::Tcp))));
    assert_eq!(world.routes.sessions(), 2);
    assert!(world.sessions_max <= 3);
}

#[test]
fn both_portals_down_is_waited_out_without_a_busy_loop() {
    for refuses in [false, true] {
        let mut world = World::new(config(2, &[2, 2], 5), clean(40));
        world.write(EVERY);
        world.run_until(10_000);
        world.refuses = refuses;
        world.outage = Box::new(|_, _, _| true);
        let before = world.ticks;
        world.run_until(610_000);
        let dialled = dials(&world, 11_000);
        let late = dialled.iter().filter(|(at, _, _)| *at > 310_000).count();
        println!(
            "both portals down 10 min (refuses: {refuses}): {} dials, {late} in the last 5, {} ticks",
            dialled.len(),
            world.ticks - before
        );
        // 16 routes and transports, each at most every 15 s once its back-off has grown.
        assert!(late <= 16 * 300 / 15, "{late}");
        assert!(late >= 16 * 300 / 45, "{late}");
        world.outage = Box::new(|_, _, _| false);
        world.run_until(642_000);
        assert!(world.routes.primary().is_some(), "back within the longest back-off");
        world.run_until(645_000);
        assert!(world.unacked.len() <= 2, "{} writes wait", world.unacked.len());
    }
}

#[test]
fn a_portal_that_comes_back_late_takes_the_standby_over() {
    // Only portal 0 answers at first, so both sessions are there: no safety from its loss.
    let down = |route: RouteId, _, at: Time| route.portal == 1 && at < ms(60_000);
    let mut world = World::with(config(1, &[2, 1], 3), clean(40), down);
    world.run_until(59_000);
    assert_eq!(world.route(world.routes.primary()), Some((0, 0, Transport::Quic)));
    assert_eq!(world.route(world.routes.standby()), Some((0, 0, Transport::Tcp)));
    let dialled = dials(&world, 10_000).len();
    assert!(dialled <= 2 * 49 / 5 + 2, "{dialled} dials: one race in 5 s at most");
    world.run_until(60_000 + 40_000);
    assert_eq!(world.route(world.routes.standby()), Some((0, 1, Transport::Tcp)));
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn every_line_and_portal_is_tried_in_the_end() {
    // Only the last of 3 x 2 x 2 routes works, and only over TCP.
    let alive = RouteId { line: 2, portal: 1, address: 1 };
    let outage = move |route, transport, _| route != alive || transport == Transport::Quic;
    let mut world = World::with(config(3, &[2, 2], 1), clean(40), outage);
    world.run_until(30_000);
    assert_eq!(world.route(world.routes.primary()), Some((2, 1, Transport::Tcp)));
}

#[test]
fn a_flapping_line_ends_up_not_being_primary() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.write(EVERY);
    world.run_until(5_000);
    world.outage = Box::new(|route, _, at| route.line == 0 && at.as_millis() / 5_000 % 2 == 1);
    world.run_until(305_000);
    assert_eq!(world.route(world.routes.primary()).map(|(line, ..)| line), Some(1));
    println!(
        "line flaps for 5 min: {} promotions, {} hedges, {} dials, longest wait {:?}",
        promotions(&world),
        hedges(&world),
        dials(&world, 5_000).len(),
        world.stall(0)
    );
    assert_eq!(promotions(&world), 3, "to the standby over TCP, and to QUIC on its route");
    assert!(world.stall(0) <= Duration::from_millis(300));
    assert!(world.sessions_max <= 3);
}

#[test]
fn when_all_is_dark_no_role_moves() {
    // A hedge that nobody answers proves nothing against the primary.
    let dark = |_, _, at| (ms(20_000)..ms(25_000)).contains(&at);
    let mut world = World::with(config(2, &[1, 1], 1), clean(40), dark);
    world.write(EVERY);
    world.run_until(20_000);
    let first = world.routes.primary();
    world.run_until(25_000);
    assert_eq!((world.routes.primary(), promotions(&world)), (first, 1));
    // Whichever answers first in the light: a fresh dial beats an old session's retransmission.
    world.run_until(26_000);
    assert!(world.unacked.len() <= 2, "{} writes wait", world.unacked.len());
    world.run_until(45_000);
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn a_host_that_was_suspended_blames_no_session() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.write(EVERY);
    world.run_until(20_000);
    let before = (world.routes.primary(), world.routes.standby());
    // Twenty seconds without a tick; the answers wait in the sockets meanwhile.
    world.suspend(20_000);
    world.run_until(60_000);
    assert_eq!((world.routes.primary(), world.routes.standby()), before);
    assert_eq!(world.count(|action| matches!(action, RouteAction::Close { .. })), 0);
}

#[test]
fn a_closed_primary_is_replaced_at_once() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.run_until(20_000);
    let standby = world.routes.standby();
    world.lose(world.routes.primary().unwrap());
    assert_eq!(world.routes.primary(), standby);
    world.run_until(22_000);
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn the_role_leaves_a_portal_that_can_store_nothing_and_no_session_does() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.write(EVERY);
    world.run_until(20_000);
    let (full, other) = (world.routes.primary().unwrap(), world.routes.standby().unwrap());
    world.takes(full, false);
    assert_eq!((world.routes.primary(), world.routes.standby()), (Some(other), Some(full)));
    // The other portal's session is over TCP; QUIC takes over there.
    world.run_until(21_000);
    let other = world.routes.primary().unwrap();
    assert_eq!(world.route(Some(other)), Some((1, 1, Transport::Quic)));
    assert_eq!(world.routes.standby(), Some(full), "which can be read from");
    // Where both can store nothing there is nothing better to be had, and nobody is dialled for it.
    world.takes(other, false);
    world.run_until(100_000);
    assert_eq!((world.routes.primary(), promotions(&world)), (Some(other), 3));
    assert_eq!(dials(&world, 0).len(), 3);
    // Two that take turns every second do not move the role every second.
    for second in 100..200 {
        world.takes(full, second % 2 == 0);
        world.takes(other, second % 2 != 0);
        world.run_until((second + 1) * 1_000);
    }
    assert!(promotions(&world) <= 3 + 100 / 5, "{} promotions", promotions(&world));
    world.takes(full, true);
    world.takes(other, false);
    world.run_until(206_000);
    let primary = world.route(world.routes.primary());
    assert_eq!(primary, Some((0, 0, Transport::Quic)), "room at one is enough");
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn udp_that_is_blocked_from_one_moment_to_the_next_is_a_silent_line_and_no_more() {
    let mut stalls = vec![];
    for offset in (0..500).step_by(37) {
        let cut = ms(20_000 + offset);
        let no_udp = move |_, transport, at| transport == Transport::Quic && at >= cut;
        let mut world = World::with(config(2, &[1, 1], 1), clean(40), no_udp);
        world.write(EVERY);
        world.run_until(200_000);
        let tcp = |session| matches!(world.route(session), Some((_, _, Transport::Tcp)));
        assert!(tcp(world.routes.primary()) && tcp(world.routes.standby()));
        assert_eq!(promotions(&world), 2);
        stalls.push(world.stall(19_000));
    }
    let worst = stalls.into_iter().max().unwrap_or_default();
    println!("UDP blocked: worst stall {worst:?}");
    assert!(worst <= Duration::from_millis(300), "{worst:?}");
}

#[test]
fn a_periodic_node_looks_for_another_portal_where_the_first_can_store_nothing() {
    let config = RouteConfig { mode: Mode::Periodic, ..config(2, &[1, 1], 1) };
    let mut world = World::new(config, clean(40));
    world.routes.wake(world.now);
    world.run_until(2_000);
    let full = world.routes.primary().unwrap();
    assert_eq!(world.routes.sessions(), 1);
    world.takes(full, false);
    world.run_until(4_000);
    assert_ne!(world.routes.primary(), Some(full));
    assert_ne!(world.route(world.routes.primary()).unwrap().1, world.route(Some(full)).unwrap().1);
}

#[test]
fn a_session_that_is_heard_again_is_a_standby_again() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.write(EVERY);
    world.run_until(10_000);
    let first = world.routes.primary();
    world.outage = Box::new(|route, _, at| route.portal == 0 && at < ms(13_000));
    world.run_until(60_000);
    assert_ne!(world.routes.primary(), first, "it stays where it went");
    assert_eq!(world.routes.standby(), first);
    assert_eq!(world.routes.sessions(), 2);
}

#[test]
fn a_much_shorter_path_becomes_primary_when_it_is_steady() {
    let mut routes = Routes::new(config(1, &[1, 1], 1), ms(0));
    let mut clock = 0;
    let mut promoted = vec![];
    // Portal 0 answers after 300 ms, portal 1 after 20. Sessions of both get even and odd names.
    let mut due: BTreeMap<(u64, u64), (SessionId, u64)> = BTreeMap::new();
    while clock < 60_000 {
        while let Some(action) = routes.poll() {
            match action {
                RouteAction::Dial { attempt, route, .. } => {
                    let session = SessionId(2 * attempt.0 + u64::from(route.portal));
                    routes.opened(attempt, session, ms(clock));
                }
                RouteAction::Ping { session, n } => {
                    let rtt = if session.0 % 2 == 0 { 300 } else { 20 };
                    due.insert((clock + rtt, session.0), (session, n));
                }
                RouteAction::Promote { session } => promoted.push((clock, session.0 % 2)),
                _ => {}
            }
        }
        let pong = due.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let tick = routes.deadline().map_or(u64::MAX, |at| at.as_micros().div_ceil(1_000));
        clock = clock.max(pong.min(tick));
        match due.first_entry() {
            Some(entry) if pong <= tick => {
                let (session, n) = entry.remove();
                routes.pong(session, n, ms(clock));
            }
            _ => routes.tick(ms(clock)),
        }
    }
    assert_eq!(promoted.iter().map(|(_, portal)| *portal).collect::<Vec<_>>(), [0, 1, 1]);
    assert!((30_000..50_000).contains(&promoted[1].0), "{promoted:?}");
    assert!((20..100).contains(&(promoted[2].0 - promoted[1].0)), "QUIC follows: {promoted:?}");
}

#[test]
fn a_periodic_node_sleeps_connects_on_demand_and_rests() {
    let mode = Mode::Periodic;
    let mut world = World::new(RouteConfig { mode, ..config(2, &[1, 1], 1) }, clean(40));
    world.run_until(60_000);
    assert_eq!((world.log.len(), world.routes.deadline()), (0, None));
    for round in 1..=3 {
        world.routes.wake(world.now);
        world.run_until(round * 1_800_000 + 5_000);
        assert_eq!(world.routes.sessions(), 1, "one session will do");
        world.routes.rest(world.now);
        world.run_until(round * 1_800_000 + 60_000);
        assert_eq!((world.routes.sessions(), world.routes.deadline()), (0, None));
    }
}

#[test]
fn a_live_node_hangs_up_after_its_hours_and_is_live_again_when_they_come() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.run_until(10_000);
    assert_eq!(world.routes.sessions(), 2);
    world.routes.set_mode(Mode::Periodic, world.now);
    world.run_until(20_000);
    assert!(world.routes.primary().is_some(), "what is being said is said to its end");
    world.routes.rest(world.now);
    world.run_until(600_000);
    assert_eq!((world.routes.sessions(), world.routes.deadline()), (0, None));
    world.routes.set_mode(Mode::Live, world.now);
    world.run_until(610_000);
    assert_eq!((world.routes.sessions(), world.routes.primary().is_some()), (2, true));
}

#[test]
fn what_a_standby_announces_is_pulled_only_if_the_primary_does_not_bring_it() {
    let start = || {
        let mut world = World::new(config(2, &[1, 1], 1), clean(40));
        world.run_until(10_000);
        let standby = world.routes.standby().unwrap();
        (world, standby)
    };
    let pulls = |world: &World| {
        let pull = |(at, action): &(Time, RouteAction)| match action {
            RouteAction::Pull { on } => Some((at.as_millis(), *on)),
            _ => None,
        };
        world.log.iter().filter_map(pull).collect::<Vec<_>>()
    };

    let (mut world, standby) = start();
    world.routes.announced(standby, world.now);
    world.run_until(10_050);
    world.routes.satisfied(world.now);
    world.run_until(12_000);
    assert_eq!(pulls(&world), []);

    let (mut world, standby) = start();
    world.routes.announced(standby, world.now);
    world.run_until(10_080);
    world.routes.progressed(world.now);
    world.run_until(12_000);
    assert_eq!(pulls(&world), [(10_190, standby)], "1.25 * 40 + 60 ms after the last progress");

    let (mut world, standby) = start();
    world.outage = Box::new(|route, _, _| route.portal == 0);
    world.routes.sent(world.routes.primary().unwrap(), world.now);
    world.run_until(10_200);
    assert_eq!(hedges(&world), 1);
    world.routes.announced(standby, world.now);
    world.run_until(10_200);
    assert_eq!(pulls(&world), [], "drained at the next event");
    world.run_until(10_400);
    assert_eq!(pulls(&world).len(), 1, "at once, since the primary is suspect");
}

#[test]
fn the_view_tells_what_each_route_is_doing() {
    let mut world = World::new(config(2, &[1, 1], 1), clean(40));
    world.outage = Box::new(|route, _, at| route.line == 1 && at > ms(5_000));
    world.run_until(18_000);
    let view = world.routes.view();
    let primary = view.iter().find(|view| {
        matches!(view.state, RouteState::Open { role: Role::Primary, suspect: false })
    });
    assert_eq!(primary.unwrap().srtt, Some(Duration::from_millis(40)));
    world.run_until(40_000);
    let view = world.routes.view();
    assert!(view.iter().any(|view| view.route.line == 1 && view.error.is_some()), "{view:#?}");
}

/// Chance drives every input; nothing may loop, pile up, or break the shape.
#[test]
fn whatever_happens_deadlines_progress_and_sessions_are_bounded() {
    for seed in 0..300 {
        let mode = if seed % 3 == 0 { Mode::Periodic } else { Mode::Live };
        let shape = RouteConfig { mode, ..config(1 + (seed % 3) as u8, &[2, 1], seed) };
        let mut dice = World::new(shape.clone(), clean(4));
        let mut routes = Routes::new(shape, ms(0));
        let mut now = ms(0);
        let (mut attempts, mut open, mut session) = (vec![], vec![], 0);
        for _ in 0..1_500 {
            let mut primary = 0;
            while let Some(action) = routes.poll() {
                match action {
                    RouteAction::Dial { attempt, .. } => attempts.push(attempt),
                    RouteAction::Abandon { attempt } => attempts.retain(|a| *a != attempt),
                    RouteAction::Close { session, .. } => open.retain(|(s, _)| *s != session),
                    RouteAction::Ping { session, n } => {
                        open.iter_mut()
                            .filter(|(s, _)| *s == session)
                            .for_each(|(_, last)| *last = n);
                    }
                    RouteAction::Promote { session } => {
                        assert!(open.iter().any(|(s, _)| *s == session));
                        primary += 1;
                    }
                    _ => {}
                }
            }
            assert!(primary <= 2 && open.len() <= 3 && routes.sessions() == open.len());
            assert!(attempts.len() <= 24, "{}", attempts.len());
            assert!(
                open.is_empty() || routes.primary().is_some() || !routes.awake() || {
                    routes.view().iter().all(|view| {
                        !matches!(view.state, RouteState::Open { role: Role::Standby, .. })
                    })
                }
            );
            now += Duration::from_micros(dice.dice(200_000));
            let pick = |dice: &mut World, len: usize| dice.dice(len.max(1) as u64) as usize;
            let one = pick(&mut dice, open.len());
            let some = open.get(one).map_or(SessionId(u64::MAX), |(s, _)| *s);
            match dice.dice(14) {
                0 | 1 if !attempts.is_empty() => {
                    let attempt = attempts.swap_remove(pick(&mut dice, attempts.len()));
                    session += 1;
                    open.push((SessionId(session), 0));
                    routes.opened(attempt, SessionId(session), now);
                }
                2 if !attempts.is_empty() => {
                    let attempt = attempts.swap_remove(pick(&mut dice, attempts.len()));
                    let why = [Failure::TimedOut, Failure::Unreachable, Failure::Refused];
                    routes.failed(attempt, why[pick(&mut dice, 3)], now);
                }
                3 if dice.dice(4) == 0 && !open.is_empty() => {
                    open.swap_remove(one);
                    routes.closed(some, Failure::Lost, now);
                }
                4 | 5 => routes.sent(some, now),
                6 | 7 => routes.heard(some, now),
                8 | 9 => {
                    let n = open.get(one).map_or(3, |(_, last)| *last);
                    routes.pong(some, n, now);
                }
                10 => routes.announced(some, now),
                11 => routes.satisfied(now),
                12 if dice.dice(20) == 0 => routes.rest(now),
                12 => routes.wake(now),
                _ => {
                    now = routes.deadline().unwrap_or(now).max(now);
                    routes.tick(now);
                }
            }
            let deadline = routes.deadline();
            assert!(deadline.is_none_or(|at| at > now), "seed {seed}: {deadline:?} at {now:?}");
        }
    }
}
