//! The whole system in one process and one thread: portals, nodes, lines, disks, and one seed
//! that picks the work and the faults. What is checked, how to read a failure and what it has
//! found so far is in `docs/RELIABILITY.md`; the model is TigerBeetle's VOPR.
//!
//! `make sim SEEDS=100`, `make sim SEED=42` for one seed with its last steps, `make soak`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bug;
mod calm;
mod committer;
mod dice;
mod disk;
mod host;
mod imp;
mod keys;
mod mirror;
mod network;
mod oracle;
mod plan;
#[cfg(feature = "plant")]
mod planted;
mod trace;
mod world;
mod write;

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use bug::Bug;
use plan::Plan;
use world::{Outcome, World};

/// Simulated hours of one seed.
const HOURS: u64 = 24;

/// Runs one seed. A panic anywhere is a failure of I7.
fn run(seed: u64, hours: u64, verbose: bool, bug: Option<Bug>) -> Outcome {
    let mut world = World::new(Plan::new(seed, hours), verbose, bug);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(mut outcome) => {
            if let Some(failure) = &mut outcome.failure {
                failure.push_str(&format!(" at {:?}", world.now));
                if verbose {
                    failure.push_str(&format!(
                        "\n{}last steps:\n{}",
                        world.plan,
                        world.trace.last()
                    ));
                }
            }
            outcome
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let mut failure = format!("I7: panic at {:?}: {}", world.now, text.unwrap_or_default());
            if verbose {
                failure.push_str(&format!("\n{}last steps:\n{}", world.plan, world.trace.last()));
            }
            Outcome { hash: 0, steps: 0, bundles: 0, failure: Some(failure) }
        }
    }
}

/// Runs `seeds`; a failing one is run again to show its plan and its last steps.
fn check(seeds: impl IntoIterator<Item = u64>, hours: u64) -> (u64, u64, usize) {
    let mut total = (0, 0, 0);
    for seed in seeds {
        let outcome = run(seed, hours, false, None);
        if outcome.failure.is_some() {
            let again = run(seed, hours, true, None);
            let failure = again.failure.or(outcome.failure).unwrap_or_default();
            panic!(
                "seed {seed} ({hours} h) fails; `make sim SEED={seed}` shows it again\n{failure}"
            );
        }
        total = (total.0 + 1, total.1 + outcome.steps, total.2 + outcome.bundles);
    }
    total
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_seed_is_one_run() {
    for seed in [1, 2, 3] {
        let (one, two) = (run(seed, 3, false, None), run(seed, 3, false, None));
        assert_eq!(one.hash, two.hash, "seed {seed}");
        assert_eq!(one.hash, run(seed, 3, true, None).hash, "watching changes nothing");
    }
}

/// How many seeds a test runs: few by itself, 200 in `make test`.
fn seeds() -> u64 {
    variable("SIM_SEEDS").unwrap_or(10)
}

#[test]
fn fixed_seeds() {
    told("fixed seeds", 0);
}

#[test]
fn fresh_seeds() {
    told("fresh seeds", u64::from(std::process::id()) << 20);
}

/// Checks as many seeds from `first`, and says so past the test harness, which keeps what a
/// test that passes prints to itself.
fn told(what: &str, first: u64) {
    println!("{what} from {first}");
    let begun = processor_time();
    let (seeds, steps, bundles) = check(first..first + seeds(), HOURS);
    let rate = (seeds * HOURS) as f64 / ((processor_time() - begun) / 60.0);
    let _ = writeln!(
        std::io::stderr(),
        "simulator: {seeds} {what} from {first}, {HOURS} h each, {steps} steps, {bundles} bundles: \
         {rate:.0} simulated hours a minute of one core"
    );
}

/// `make sim` and `make soak`: SEEDS seeds from FIRST, or one SEED, of HOURS hours.
#[test]
#[ignore = "runs for as long as it is told to"]
fn soak() {
    let hours = variable("HOURS").unwrap_or(HOURS);
    if let Some(seed) = variable("SEED") {
        let outcome = run(seed, hours, true, None);
        println!(
            "seed {seed}: {} steps, {} bundles, trace {:016x}",
            outcome.steps, outcome.bundles, outcome.hash
        );
        if let Some(failure) = outcome.failure {
            panic!("{failure}");
        }
        return;
    }
    let (first, seeds) = (variable("FIRST").unwrap_or(0), variable::<u64>("SEEDS").unwrap_or(100));
    let go_on = variable::<u8>("GO_ON").is_some();
    let begun = processor_time();
    let (mut steps, mut bundles, mut failed) = (0, 0, 0);
    for seed in first..first + seeds {
        let outcome = run(seed, hours, false, None);
        steps += outcome.steps;
        bundles += outcome.bundles;
        if let Some(failure) = outcome.failure {
            failed += 1;
            println!("seed {seed}: {failure}");
            if !go_on {
                check([seed], hours);
            }
        }
    }
    let rate = (seeds * hours) as f64 / ((processor_time() - begun) / 60.0);
    println!(
        "{seeds} seeds of {hours} h, {steps} steps, {bundles} bundles: {failed} failed; \
         {rate:.0} simulated hours a minute of one core"
    );
    assert_eq!(failed, 0);
}

/// Seconds of processor time of this thread; 1 where the system does not say.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // utime and stime, in ticks of which Linux has 100 a second for every architecture.
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).flat_map(f64::from_str).sum();
    ticks.max(100.0) / 100.0
}
