//! A node writes all the time, over two lines to two portals; then the primary fails. How long
//! until what is written flows again, and what was sent twice for it.

use std::{thread::sleep, time::Duration};

use benches::{
    end::{AnyError, Order, What, now_ns},
    figures::{Figures, print},
    link::Switch,
};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use super::{Options, World, standard};

/// Between two writes.
const EVERY_MS: u64 = 10;
/// Writing before and after the failure.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER_MS: u64 = 6_000;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cause {
    /// The primary's line swallows everything.
    LineSilent,
    /// The primary's line is gone and says so.
    LineDown,
    /// The primary portal's process is killed.
    PortalKilled,
    /// The primary portal's process is stopped and its sockets stay.
    PortalFrozen,
    /// No line carries UDP any more.
    UdpBlocked,
}

/// Measures `options.runs` times, each with new portals and a new node.
pub fn run(options: &Options, cause: Cause) -> Result<(), AnyError> {
    let link = options.link.clone().unwrap_or_else(|| "rtt_ms=40".to_owned());
    let options = Options { link: Some(link), documents: 0, ..options.clone() };
    let mut runs = Vec::new();
    for run in 0..options.runs {
        let figures = once(&options, cause)?;
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}

fn once(options: &Options, cause: Cause) -> Result<Figures, AnyError> {
    let mut world = World::start(options, 2)?;
    let come = world.dialling(&[0, 1]);
    world.node.done(&come)?;
    world.node.done(&Order::Greeted { sessions: 2 })?;
    world.node.write(What::Sent, 0, 20)?;
    let peers: Vec<_> = world.portals.iter().map(|portal| portal.pin.clone()).collect();
    world.node.done(&Order::Equal { peers: peers.clone() })?;
    sleep(Duration::from_secs(1));

    let before = world.states(1)?;
    let primary = world.primary()?;
    let count = (BEFORE.as_millis() as u64 + AFTER_MS) / EVERY_MS;
    let write = Order::Write {
        what: What::Sent,
        first: 20,
        count,
        in_flight: 4096,
        every_ms: EVERY_MS,
        acknowledged: true,
    };
    world.node.order(&write)?;
    sleep(BEFORE);
    let failed_ns = now_ns();
    fail(&mut world, cause, primary)?;
    let said = world.node.written()?;
    let wall_ns = now_ns() - failed_ns;
    let moved = world.primary().is_ok_and(|now| now != primary);
    mend(&mut world, cause, primary)?;
    // No acknowledged write is lost: every one of them is on both portals in the end.
    world.node.done(&Order::Equal { peers })?;
    let after = world.states(1)?;

    let after_failure = said.iter().filter(|said| said.said_ns > failed_ns);
    let flows_ns = after_failure.clone().map(|said| said.acknowledged_ns).min().unwrap_or(u64::MAX);
    let waiting = said
        .iter()
        .filter(|said| said.said_ns <= flows_ns && said.acknowledged_ns >= failed_ns)
        .count() as u64;
    let mut acknowledged: Vec<u64> = said.iter().map(|said| said.acknowledged_ns).collect();
    acknowledged.sort_unstable();
    let gap = acknowledged.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let lost = said.iter().filter(|said| said.acknowledged_ns == 0).count() as u64;
    let cause = cause.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
    // To each portal once is what it takes when a portal brings nothing to the other in time.
    let sent = after[0].reading.bundles_sent - before[0].reading.bundles_sent;
    Ok(standard("failover", options, count, wall_ns, &before, &after)
        .label("cause", cause)
        .with("flows_again_s", (flows_ns - failed_ns) as f64 / 1e9)
        .with("longest_gap_s", gap as f64 / 1e9)
        .with("lost", lost)
        .with("moved", u64::from(moved))
        .with("unacknowledged_window", waiting)
        .with("bundles_sent", sent)
        .with("bundles_sent_again", sent.saturating_sub(count)))
}

fn fail(world: &mut World, cause: Cause, primary: usize) -> Result<(), AnyError> {
    let line = world.link(primary).ok_or("there is no line")?;
    match cause {
        Cause::LineSilent => line.set_switch(Switch::Silent),
        Cause::LineDown => line.set_switch(Switch::Refusing),
        Cause::PortalKilled => world.portals[primary].kill()?,
        Cause::PortalFrozen => signal(world.portals[primary].pid(), Signal::STOP)?,
        Cause::UdpBlocked => {
            (0..2).filter_map(|portal| world.link(portal)).for_each(|link| link.block_udp(true));
        }
    }
    Ok(())
}

fn mend(world: &mut World, cause: Cause, primary: usize) -> Result<(), AnyError> {
    match cause {
        Cause::LineSilent | Cause::LineDown => {
            world.link(primary).ok_or("there is no line")?.set_switch(Switch::Up);
        }
        Cause::PortalKilled => world.revive_portal(primary)?,
        Cause::PortalFrozen => signal(world.portals[primary].pid(), Signal::CONT)?,
        Cause::UdpBlocked => {}
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) -> Result<(), AnyError> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("an odd process id")?;
    Ok(kill_process(pid, signal)?)
}
