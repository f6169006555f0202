//! What a node costs that holds N invoices and has nothing to do: how soon it is at work after it
//! is started, and the memory it takes.

use std::{thread::sleep, time::Duration};

use benches::{
    end::{AnyError, Order, What, now_ns},
    figures::print,
};

use super::{Options, World, standard};

/// How long a node is at rest before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// Measures `options.runs` times, each with a new process on the same disk.
pub fn run(options: &Options) -> Result<(), AnyError> {
    let mut world = World::start(options, 1)?;
    world.mirror = true;
    let bundles = 1 + options.documents;
    world.portals[0].write(What::Received, 0, options.documents)?;
    let come = world.dialling(&[0]);
    world.node.done(&come)?;
    world.node.done(&Order::Hold { bundles })?;
    world.node.done(&Order::Mirrored { bundles })?;
    let filled = world.node.read()?;
    world.node.done(&Order::Stop)?;
    let mut runs = Vec::new();
    for run in 0..options.runs {
        let started_ns = now_ns();
        world.revive_node()?;
        let come = world.dialling(&[0]);
        let before = world.states(0)?;
        let opened_ns = world.node.done(&come)?;
        world.node.done(&Order::Mirrored { bundles })?;
        let greeted_ns = world.node.done(&Order::Greeted { sessions: 1 })?;
        sleep(REST);
        let after = world.states(0)?;
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        let figures = standard("open", options, 0, opened_ns - before[0].at_ns, &before, &after)
            .with("opens_s", seconds(before[0].at_ns, opened_ns))
            .with("from_exec_s", seconds(started_ns, opened_ns))
            .with("in_session_s", seconds(before[0].at_ns, greeted_ns))
            .with("disk_bytes", after[0].disk_bytes)
            .with("rss_after_filling_bytes", filled.rss_bytes)
            .with("peak_while_filling_bytes", filled.peak_bytes);
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}
