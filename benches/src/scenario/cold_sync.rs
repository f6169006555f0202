//! A new node, with nothing on its disk, fetches all that the portal holds and makes it durable.
//! The moment it says so it is killed, and what its disk still holds is counted.

use benches::{
    end::{AnyError, Order, What},
    figures::print,
};

use super::{Options, World, standard};

/// Measures `options.runs` times, each with a new node.
pub fn run(options: &Options) -> Result<(), AnyError> {
    let mut world = World::start(options, 1)?;
    let documents = options.documents;
    let said = world.portals[0].write(What::Received, 0, documents)?;
    let (first, last) =
        (said.iter().map(|s| s.said_ns).min(), said.iter().map(|s| s.durable_ns).max());
    let written_s = (last.unwrap_or(0) - first.unwrap_or(0)) as f64 / 1e9;
    let mut runs = Vec::new();
    for run in 0..options.runs {
        world.renew_node()?;
        let come = world.dialling(&[0]);
        let before = world.states(0)?;
        world.node.done(&come)?;
        let done_ns = world.node.done(&Order::Hold { bundles: 1 + documents })?;
        let mirrored_ns = if options.mirror {
            world.node.done(&Order::Mirrored { bundles: 1 + documents })?
        } else {
            done_ns
        };
        let after = world.states(0)?;
        let wall_ns = done_ns - before[0].at_ns;
        let figures = standard("cold-sync", options, 0, wall_ns, &before, &after);
        let held_after_kill = kept(&mut world)?;
        let each = |name| figures.get(name).unwrap_or(f64::NAN) / documents as f64;
        let figures = figures
            .clone()
            .with("documents_a_second", documents as f64 / (wall_ns as f64 / 1e9))
            .with("bytes_a_document", each("bytes_down"))
            .with("cpu_us_a_document", each("cpu_s") * 1e6)
            .with("mirrored_s", (mirrored_ns - before[0].at_ns) as f64 / 1e9)
            .with("disk_bytes", after[0].disk_bytes)
            .with("barriers", after[0].reading.barriers)
            .with("barrier_s", after[0].reading.barrier_us as f64 / 1e6)
            .with("written_by_portal_s", written_s)
            .with("held_after_kill", held_after_kill);
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}

/// Kills the node with -9 and opens what it left, connected to nobody: bundles held, each with
/// every file it names.
fn kept(world: &mut World) -> Result<u64, AnyError> {
    world.revive_node()?;
    world.node.done(&Order::Start { dial: vec![], lines: 1, mirror: false })?;
    Ok(world.node.read()?.bundles)
}
