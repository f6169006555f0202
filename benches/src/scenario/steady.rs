//! A poor line for a long time: a node writes a little over 300 ms, 1 % loss and 100 ms of jitter. The
//! primary must stay where it is.

use std::time::{Duration, Instant};

use benches::{
    end::{AnyError, Order, What},
    figures::quantile,
};

use super::{Options, World, standard};

/// Writes between two looks at the primary.
const WRITES: u64 = 5;
const EVERY_MS: u64 = 200;

/// Measures once, for `minutes`.
pub fn run(options: &Options, minutes: f64) -> Result<(), AnyError> {
    let poor = "rtt_ms=300,jitter_ms=100,loss=0.01".to_owned();
    let link = Some(options.link.clone().unwrap_or(poor));
    let options = Options { link, documents: 0, ..options.clone() };
    let mut world = World::start(&options, 2)?;
    let come = world.dialling(&[0, 1]);
    world.node.done(&come)?;
    world.node.done(&Order::Greeted { sessions: 2 })?;
    let before = world.states(1)?;
    let mut primary = world.primary()?;
    let (mut changes, mut written, mut waits) = (0_u64, 0, Vec::new());
    let until = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    while Instant::now() < until {
        world.node.order(&Order::Write {
            what: What::Sent,
            first: written,
            count: WRITES,
            in_flight: 64,
            every_ms: EVERY_MS,
            acknowledged: true,
        })?;
        let said = world.node.written()?;
        written += WRITES;
        let wait = |said: &benches::end::Said| (said.acknowledged_ns - said.said_ns) as f64 / 1e6;
        waits.extend(said.iter().map(wait));
        // Between a loss and the next session there is none.
        if let Ok(now) = world.primary()
            && now != primary
        {
            changes += 1;
            primary = now;
        }
    }
    let after = world.states(1)?;
    let wall_ns = after[0].at_ns - before[0].at_ns;
    let sent = after[0].reading.bundles_sent - before[0].reading.bundles_sent;
    let figures = standard("steady", &options, written, wall_ns, &before, &after)
        .with("primary_changes", changes)
        .with("promotions", after[0].reading.promotions - before[0].reading.promotions)
        .with("hedges", after[0].reading.hedges - before[0].reading.hedges)
        .with("acknowledged_p50_ms", quantile(&mut waits, 0.5))
        .with("acknowledged_p99_ms", quantile(&mut waits, 0.99))
        .with("bundles_sent_again", sent.saturating_sub(written));
    println!("{}", figures.to_json("0"));
    Ok(())
}
