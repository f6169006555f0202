//! One change at a time on a held session: how long until it is durable at the other end, and
//! until the node's mirror shows it.

use benches::{
    end::{Answer, AnyError, Order, What},
    figures::{print, quantile},
};

use super::{Options, World, standard};

/// Between two changes: each finds the session at rest.
const EVERY_MS: u64 = 20;

/// Measures `options.runs` times `options.changed` changes (200 if not said) each way.
pub fn run(options: &Options) -> Result<(), AnyError> {
    let changed = if options.changed == 0 { 200 } else { options.changed };
    let mut world = World::start(options, 1)?;
    world.mirror = true;
    world.portals[0].write(What::Received, 0, options.documents)?;
    let mut bundles = 1 + options.documents;
    let come = world.dialling(&[0]);
    world.node.done(&come)?;
    world.node.done(&Order::Hold { bundles })?;
    let mut runs = Vec::new();
    for run in 0..options.runs {
        let first = run as u64 * changed;
        let before = world.states(0)?;
        world.node.order(&Order::Trace { bundles, count: changed })?;
        world.portals[0].order(&writing(What::Statuses, first, changed, false))?;
        let said = world.portals[0].written()?;
        let Answer::Traced(arrived, shown) = world.node.answer()? else {
            return Err("an odd answer".into());
        };
        bundles += changed;
        // What follows waits for acknowledgements by looking all the time: no cost of the product's.
        let after = world.states(0)?;
        let ms = |from: u64, to: u64| (to.saturating_sub(from)) as f64 / 1e6;
        let mut down: Vec<f64> =
            said.iter().zip(&arrived).map(|(said, at)| ms(said.said_ns, *at)).collect();
        let mut mirror: Vec<f64> =
            said.iter().zip(&shown).map(|(said, at)| ms(said.said_ns, *at)).collect();
        let mut portal: Vec<f64> =
            said.iter().map(|said| ms(said.said_ns, said.durable_ns)).collect();

        world.node.order(&writing(What::Sent, first, changed, true))?;
        let said = world.node.written()?;
        bundles += changed;
        let mut up: Vec<f64> =
            said.iter().map(|said| ms(said.said_ns, said.acknowledged_ns)).collect();
        let mut node: Vec<f64> =
            said.iter().map(|said| ms(said.said_ns, said.durable_ns)).collect();
        let wall_ns = after[0].at_ns - before[0].at_ns;
        let figures = standard("live", options, changed, wall_ns, &before, &after)
            .with("down_p50_ms", quantile(&mut down, 0.5))
            .with("down_p99_ms", quantile(&mut down, 0.99))
            .with("mirror_p50_ms", quantile(&mut mirror, 0.5))
            .with("mirror_p99_ms", quantile(&mut mirror, 0.99))
            .with("portal_durable_p50_ms", quantile(&mut portal, 0.5))
            .with("portal_durable_p99_ms", quantile(&mut portal, 0.99))
            .with("up_acknowledged_p50_ms", quantile(&mut up, 0.5))
            .with("up_acknowledged_p99_ms", quantile(&mut up, 0.99))
            .with("node_durable_p50_ms", quantile(&mut node, 0.5))
            .with("node_durable_p99_ms", quantile(&mut node, 0.99));
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}

fn writing(what: What, first: u64, count: u64, acknowledged: bool) -> Order {
    Order::Write { what, first, count, in_flight: 64, every_ms: EVERY_MS, acknowledged }
}
