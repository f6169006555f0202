//! Two portals hold the same documents of many customers; one was away while the other wrote. What
//! it costs to catch up.

use std::{ops::Range, thread::sleep, time::Duration};

use benches::{
    end::{AnyError, Order, Papers, What},
    figures::print,
    workload::customer,
};

use super::{Options, World, standard};

/// After the last bundle: what trails behind is counted too.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures `options.runs` times, `options.changed` differences (1,000 if not said) spread over
/// `tenants` customers.
pub fn run(options: &Options, tenants: u64) -> Result<(), AnyError> {
    let changed = if options.changed == 0 { 1000 } else { options.changed };
    let mut world = World::start(options, 2)?;
    // The grant of the node is there too.
    let mut bundles = 1;
    for tenant in 0..tenants {
        let Papers { cert, key } = Papers::issue()?;
        world.portals[0].done(&Order::About { tenant: customer(tenant) })?;
        world.portals[0].done(&Order::Admit { cert, key })?;
        bundles += 1;
    }
    let documents = options.documents;
    say(
        &mut world,
        What::Received,
        |tenant| share(tenant, tenants, 0..documents),
        tenants,
        &mut bundles,
    )?;
    world.portals[1].done(&Order::HoldInAll { bundles })?;
    let dial =
        vec![(world.portals[0].pin.clone(), world.portals[0].place.listen.into_iter().collect())];
    let start = Order::Start { dial, lines: 1, mirror: false };
    let mut runs = Vec::new();
    for run in 0..options.runs as u64 {
        world.portals[1].done(&Order::Stop)?;
        // Of invoices that it has, and the first that is said of each.
        let spread = |tenant| {
            let part = share(tenant, tenants, 0..changed);
            let count = part.end - part.start;
            let first = share(tenant, tenants, 0..documents).start + run * count;
            first..first + count
        };
        say(&mut world, What::Statuses, spread, tenants, &mut bundles)?;
        if options.restart {
            world.portals[0].done(&Order::Stop)?;
            world.portals[0].done(&Order::Start { dial: vec![], lines: 1, mirror: false })?;
        }
        let before = [world.portals[1].read()?, world.portals[0].read()?];
        world.portals[1].done(&start)?;
        let done_ns = world.portals[1].done(&Order::HoldInAll { bundles })?;
        let reading = world.portals[1].read()?;
        sleep(SETTLE);
        let after = [world.portals[1].read()?, world.portals[0].read()?];
        let wall_ns = done_ns - before[0].at_ns;
        let mut figures = standard("twins", options, changed, wall_ns, &before, &after)
            .with("tenants", tenants)
            .with("round_trips_until_held", reading.reading.round_trips)
            .with("bundles_down", after[0].reading.bundles_heard)
            .with("disk_bytes", after[0].disk_bytes);
        let both =
            ["bytes_up", "bytes_down"].iter().filter_map(|name| figures.get(name)).sum::<f64>();
        figures = figures.with("bytes_a_difference", both / changed as f64);
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
    }
    print(&runs);
    Ok(())
}

/// The part of `all` that falls to one of `tenants`.
fn share(tenant: u64, tenants: u64, all: Range<u64>) -> Range<u64> {
    let count = all.end - all.start;
    all.start + tenant * count / tenants..all.start + (tenant + 1) * count / tenants
}

/// Has the first portal write each customer's part.
fn say(
    world: &mut World,
    what: What,
    part: impl Fn(u64) -> Range<u64>,
    tenants: u64,
    bundles: &mut u64,
) -> Result<(), AnyError> {
    for tenant in 0..tenants {
        let part = part(tenant);
        if part.is_empty() {
            continue;
        }
        let count = part.end - part.start;
        world.portals[0].done(&Order::About { tenant: customer(tenant) })?;
        *bundles += world.portals[0].write(what, part.start, count)?.len() as u64;
    }
    Ok(())
}
