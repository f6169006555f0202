//! A node that holds N invoices and has lost its mirror: how soon it shows them all again.

use std::fs;

use benches::{
    end::{AnyError, Order, What},
    figures::print,
};

use super::{Options, World, standard};

/// Measures `options.runs` times, each with a new process on the same truth.
pub fn run(options: &Options) -> Result<(), AnyError> {
    let mut world = World::start(options, 1)?;
    let bundles = 1 + options.documents;
    world.portals[0].write(What::Received, 0, options.documents)?;
    let come = world.dialling(&[0]);
    world.node.done(&come)?;
    world.node.done(&Order::Hold { bundles })?;
    world.node.done(&Order::Stop)?;
    world.mirror = true;
    let mut runs = Vec::new();
    for run in 0..options.runs {
        world.revive_node()?;
        match fs::remove_dir_all(world.node.place.dir.join("mirror")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let come = world.dialling(&[]);
        let before = world.states(0)?;
        world.node.done(&come)?;
        let shown_ns = world.node.done(&Order::Mirrored { bundles })?;
        let after = world.states(0)?;
        let wall_ns = shown_ns - before[0].at_ns;
        let figures = standard("mirror-rebuild", options, 0, wall_ns, &before, &after);
        let figures =
            figures.with("documents_a_second", options.documents as f64 / (wall_ns as f64 / 1e9));
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}
