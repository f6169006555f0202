//! A large file is on its way up a slow line when the node is killed. The new process goes on where
//! the old one stopped: what the portal hears twice is at most what was under way.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use benches::{
    end::{AnyError, Order, What},
    figures::print,
};

use super::{Options, World, standard};

/// The file: the most that the SdI takes by web service.
const FILE_BYTES: u64 = 5_000_000;

/// Measures `options.runs` times, each with a new file.
pub fn run(options: &Options) -> Result<(), AnyError> {
    let slow = "rtt_ms=40,up_kbit=8000,down_kbit=20000".to_owned();
    let link = Some(options.link.clone().unwrap_or(slow));
    let options = Options { link, documents: 0, ..options.clone() };
    let mut world = World::start(&options, 1)?;
    let mut runs = Vec::new();
    for (bundles, run) in (2..).zip(0..options.runs) {
        let come = world.dialling(&[0]);
        world.node.done(&come)?;
        world.node.done(&Order::Greeted { sessions: 1 })?;
        let before = world.states(0)?;
        world.node.order(&Order::Write {
            what: What::Large,
            first: 1 + run as u64,
            count: FILE_BYTES,
            in_flight: 1,
            every_ms: 0,
            acknowledged: false,
        })?;
        world.node.written()?;
        let heard = |world: &mut World| -> Result<u64, AnyError> {
            Ok(world.portals[0].read()?.reading.heard.blobs.bytes)
        };
        let start = heard(&mut world)?;
        while heard(&mut world)? - start < FILE_BYTES / 2 {
            sleep(Duration::from_millis(5));
        }
        let sent = world.node.read()?.reading;
        world.revive_node()?;
        let come = world.dialling(&[0]);
        let resumed = Instant::now();
        world.node.done(&come)?;
        world.portals[0].done(&Order::Hold { bundles })?;
        let wall_ns = resumed.elapsed().as_nanos() as u64;
        let mut after = world.states(0)?;
        let again = after[0].reading.sent.blobs.bytes;
        // The node's own counters began anew with its process.
        after[0].cpu_ns += before[0].cpu_ns;
        let heard_bytes = heard(&mut world)? - start;
        let mut figures = standard(
            "blob-resume",
            &options,
            1,
            wall_ns,
            &[
                benches::end::State { reading: Default::default(), ..before[0].clone() },
                before[1].clone(),
            ],
            &after,
        );
        figures = figures
            .with("file_bytes", FILE_BYTES)
            .with("portal_heard_bytes", heard_bytes)
            .with("heard_twice_bytes", heard_bytes.saturating_sub(FILE_BYTES))
            .with("sent_before_bytes", sent.sent.blobs.bytes)
            .with("sent_after_bytes", again);
        println!("{}", figures.to_json(&run.to_string()));
        runs.push(figures);
        world.node.done(&Order::Equal { peers: vec![world.portals[0].pin.clone()] })?;
        world.node.done(&Order::Stop)?;
    }
    print(&runs);
    Ok(())
}
