//! A portal that writes nothing and passes on everything: from its twin, which writes as fast as it
//! can, to a node. How many bundles one core of the portal in the middle checks, stores and sends on
//! in a second.

use benches::{
    end::{AnyError, Order, What},
    figures::print,
};

use super::{Options, World, standard};

/// Measures `options.runs` times, each with other portals.
pub fn run(options: &Options) -> Result<(), AnyError> {
    let mut runs = Vec::new();
    for run in 0..options.runs {
        let mut world = World::start(options, 2)?;
        let come = world.dialling(&[1]);
        world.node.done(&come)?;
        world.node.done(&Order::Hold { bundles: 1 })?;
        let before = world.states(1)?;
        let bundles = options.documents;
        world.portals[0].write(What::Received, 0, bundles)?;
        let done_ns = world.node.done(&Order::Hold { bundles: 1 + bundles })?;
        let after = world.states(1)?;
        let cpu_s = (after[1].cpu_ns - before[1].cpu_ns) as f64 / 1e9;
        let wall_ns = done_ns - before[0].at_ns;
        let figures = standard("relay", options, 0, wall_ns, &before, &after)
            .with("bundles_a_second", bundles as f64 / (wall_ns as f64 / 1e9))
            .with("bundles_a_second_a_core", bundles as f64 / cpu_s)
            .with("relay_us_a_bundle", cpu_s * 1e6 / bundles as f64);
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}
