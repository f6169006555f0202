//! What was acknowledged is there after `kill -9`, and batches are there whole.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use engine::store::Store as _;

use crate::{bundle, open, tip, whole};

const CHILD: &str = "STAFFETTA_TRUTH_OF_A_CHILD";

/// Not a test by itself: this binary started again, which writes until it is killed.
#[test]
fn writes_until_killed() {
    let Some(dir) = env::var_os(CHILD) else { return };
    let truth = open(Path::new(&dir));
    let first = tip(&truth).unwrap().unwrap_or(0) + 1;
    for n in first.. {
        truth.apply(bundle(n)).unwrap();
        if n % 3 == 0 {
            truth.barrier().unwrap();
            println!("acknowledged {n}");
            std::io::stdout().flush().unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("truth");
    let mut before = 0;
    for round in 1..=8 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "killed::writes_until_killed", "--nocapture"])
            .env(CHILD, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..round * 7 {
            for line in lines.by_ref() {
                let line = line.unwrap();
                if let Some(n) = line.strip_prefix("acknowledged ") {
                    acknowledged = n.parse().unwrap();
                    break;
                }
            }
        }
        // It goes on writing: the kill comes at any point of a barrier.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(acknowledged > before, "round {round}: the child wrote");
        let tip = whole(&open(&dir));
        assert!(tip >= acknowledged, "round {round}: {acknowledged} acknowledged, {tip} there");
        before = tip;
    }
}
