//! A node that held everything was away; meanwhile a portal wrote status changes. What coming back
//! costs, at the portal it knows or at the other one.

use std::{thread::sleep, time::Duration};

use benches::{
    end::{AnyError, Order, What},
    figures::print,
};

use super::{Options, World, standard};

/// After the last bundle: what trails behind (acknowledgements, the first pings) is counted too.
const SETTLE: Duration = Duration::from_millis(300);

/// A node that holds everything, and how many bundles that is.
fn settled(options: &Options, other: bool) -> Result<(World, u64), AnyError> {
    let mut world = World::start(options, if other { 2 } else { 1 })?;
    world.portals[0].write(What::Received, 0, options.documents)?;
    // Everybody has said something, as in practice: three logs in every vector.
    let mut bundles = 1 + options.documents;
    let come_first = world.dialling(&[0]);
    world.node.done(&come_first)?;
    world.node.write(What::Sent, 0, 1)?;
    bundles += 1;
    if other {
        world.portals[1].write(What::Statuses, 0, 1)?;
        bundles += 1;
    }
    world.node.done(&Order::Hold { bundles })?;
    for portal in &mut world.portals {
        portal.done(&Order::Hold { bundles })?;
    }
    // So that it knows what it said is held.
    let peers = vec![world.portals[0].pin.clone()];
    world.node.done(&Order::Equal { peers })?;
    Ok((world, bundles))
}

/// Measures `options.runs` times.
pub fn run(options: &Options, other: bool) -> Result<(), AnyError> {
    let (mut world, mut bundles) = settled(options, other)?;
    let mut runs = Vec::new();
    let mut first = u64::from(other);
    for run in 0..options.runs {
        // What is said is about an invoice that the node has, and the first about it.
        if run > 0 && first + options.changed > options.documents {
            (world, bundles) = settled(options, other)?;
            first = u64::from(other);
        }
        // A process of its own comes back, which holds no memory of how it came to hold everything.
        world.node.done(&Order::Stop)?;
        world.node.leave()?;
        world.revive_node()?;
        let what = if options.together { What::StatusesTogether } else { What::Statuses };
        if options.changed > 0 {
            bundles += world.portals[0].write(what, first, options.changed)?.len() as u64;
            first += options.changed;
        }
        let at = usize::from(other);
        world.portals[at].done(&Order::Hold { bundles })?;
        if options.restart {
            world.portals[at].done(&Order::Stop)?;
            world.portals[at].done(&Order::Start { dial: vec![], lines: 1, mirror: false })?;
        }
        let come = world.dialling(&[at]);
        let before = world.states(at)?;
        world.node.done(&come)?;
        world.node.done(&Order::Greeted { sessions: 1 })?;
        let done_ns = world.node.done(&Order::Hold { bundles })?;
        let round_trips = world.node.read()?.reading.round_trips;
        sleep(SETTLE);
        let after = world.states(at)?;
        let name = if other { "reconnect-other-portal" } else { "reconnect" };
        let wall_ns = done_ns - before[0].at_ns;
        let arrived = after[0].reading.bundles_heard;
        let mut figures = standard(name, options, options.changed, wall_ns, &before, &after)
            .with("round_trips_until_held", round_trips)
            .with("bundles_down", arrived)
            .with("bundles_up", after[0].reading.bundles_sent);
        if options.changed > 0 {
            let bytes = figures.get("bytes_down").unwrap_or(f64::NAN);
            figures = figures.with("bytes_a_change", bytes / options.changed as f64);
        }
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}
