//! The simulator's own test: each planted bug is found within a few seeds, by the invariant
//! that names it. `make planted` prints the table of `docs/RELIABILITY.md`.

use engine::plant::{self, Bug as Inside};

use crate::{HOURS, bug::Bug, run};

/// A bug, the first seed that found it, and the invariants that may be the first to notice it.
type Planted = (Bug, u64, &'static [&'static str]);

static BUGS: [Planted; 16] = [
    (Bug::Engine(Inside::AckBeforeBarrier), 0, &["I1"]),
    (Bug::Engine(Inside::VectorBeforeDurable), 0, &["I1"]),
    (Bug::Engine(Inside::MissingGrantCheck), 0, &["I2"]),
    (Bug::Engine(Inside::ForkAccepted), 0, &["I1", "I5"]),
    (Bug::Engine(Inside::RevocationIgnored), 30, &["I3", "I4"]),
    (Bug::MirrorNotRebuilt, 30, &["I8"]),
    (Bug::Engine(Inside::FileUnchecked), 3, &["I5"]),
    (Bug::Engine(Inside::ChunkUnchecked), 4, &["I1"]),
    (Bug::Engine(Inside::KindUnchecked), 0, &["I5"]),
    (Bug::Engine(Inside::ActorUnchecked), 0, &["I5"]),
    (Bug::Engine(Inside::SignatureUnchecked), 0, &["I5"]),
    (Bug::Engine(Inside::UndoForgotten), 5, &["I8", "I3"]),
    (Bug::IncarnationKept, 2, &["I1", "I3", "I4", "I7"]),
    (Bug::BarrierNotChecked, 5, &["I1"]),
    (Bug::MirrorSkipsOne, 0, &["I8"]),
    (Bug::MirrorPositionFirst, 0, &["I8"]),
];
/// Seeds looked at: from 0 in `make planted`, else from the first that found it, and those before it
/// then, since what a seed does changes with every change of the engine.
const SEEDS_MAX: u64 = 60;

/// Runs one bug through the seeds in turn: the seed and what it says.
fn find(bug: Bug, from: u64) -> Option<(u64, String)> {
    plant::plant(if let Bug::Engine(bug) = bug { Some(bug) } else { None });
    let found = (from..from + SEEDS_MAX).chain(0..from).find_map(|seed| {
        let failure = run(seed, HOURS, false, Some(bug)).failure?;
        Some((seed, failure.lines().next().unwrap_or_default().to_owned()))
    });
    plant::plant(None);
    found
}

#[test]
fn every_planted_bug_is_found() {
    let all = crate::variable::<u8>("FROM_ZERO").is_some();
    // Two threads, since each bug is planted in one thread's engines only.
    let missed: Vec<String> = std::thread::scope(|scope| {
        let look = |half: &'static [Planted]| {
            let mut missed = Vec::new();
            for (bug, first, invariants) in half {
                let from = if all { 0 } else { *first };
                match find(*bug, from) {
                    Some((seed, failure)) => {
                        println!("| {bug:?} | {seed} | {failure} |");
                        if !invariants.iter().any(|name| failure.starts_with(name)) {
                            missed.push(format!("{bug:?}: noticed only as {failure}"));
                        }
                    }
                    None => missed.push(format!("{bug:?}: not found in {SEEDS_MAX} seeds")),
                }
            }
            missed
        };
        let (one, two) = BUGS.split_at(BUGS.len() / 2);
        let other = scope.spawn(move || look(two));
        let mut missed = look(one);
        missed.extend(other.join().unwrap());
        missed
    });
    assert!(missed.is_empty(), "{missed:#?}");
}
