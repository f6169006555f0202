//! A full disk: writes stop with a sentence, reads go on, writes resume by themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use engine::store::{Store as _, StoreError};
use node::truth::{Truth, TruthOptions};

use crate::{bundle, open, options, tip, whole};

/// A disk of `mib` MiB, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(mib: u32) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "staffetta-test"])
            .arg(home.path())
            .status();
        let mounted = mounted.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small tmpfs: run it as root, or in a container");
        Self(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all that is left, but for `bytes`.
    fn fill_but(&self, bytes: usize) -> PathBuf {
        let ballast = self.path().join("ballast");
        let free = fs4::available_space(self.path()).unwrap();
        fs::write(&ballast, vec![1; (free as usize).saturating_sub(bytes)]).unwrap();
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Full { .. })
}

#[test]
fn writes_stop_at_the_reserve_and_resume_when_there_is_room() {
    let disk = Disk::new(16);
    let dir = disk.path().join("truth");
    let options = TruthOptions { reserve_bytes: 4 * 1024 * 1024, ..options() };
    let truth = Truth::open(&dir, options).unwrap();
    let mut stored = 0;
    let refused = loop {
        match truth.apply(bundle(stored + 1)).and_then(|()| truth.barrier()) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(is_full(&refused), "{refused}");
    assert!(truth.free_bytes().unwrap() > 1024 * 1024, "the reserve is kept");
    assert_eq!(whole(&truth), stored, "reads go on");
    // Someone else takes the reserve as well; a restart in that state works too.
    let ballast = disk.fill_but(0);
    assert!(is_full(&truth.apply(bundle(stored + 1)).unwrap_err()));
    drop(truth);
    let truth = Truth::open(&dir, options).unwrap();
    assert_eq!(whole(&truth), stored);
    drop(truth);
    fs::remove_file(ballast).unwrap();
    let roomy = Truth::open(&dir, crate::options()).unwrap();
    roomy.apply(bundle(stored + 1)).unwrap();
    roomy.barrier().unwrap();
    assert_eq!(whole(&roomy), stored + 1);
}

#[test]
fn a_disk_that_fills_under_a_barrier_loses_nothing_acknowledged() {
    for left in [0, 4096, 20_000, 100_000, 400_000] {
        let disk = Disk::new(24);
        let dir = disk.path().join("truth");
        let truth = open(&dir);
        for n in 1..=200 {
            truth.apply(bundle(n)).unwrap();
        }
        truth.barrier().unwrap();
        let mut acknowledged = 200;
        let ballast = disk.fill_but(left);
        // The reserve is 0 here, so the engine itself meets the end of the disk.
        let refused = loop {
            let applied = (1..=20).try_for_each(|n| truth.apply(bundle(acknowledged + n)));
            match applied.and_then(|()| truth.barrier()) {
                Ok(()) => acknowledged += 20,
                Err(error) => break error,
            }
        };
        assert!(is_full(&refused), "{left} left: {refused}");
        // What the failed barrier should have covered is taken back; the rest reads on, unless
        // not even opening finds room.
        match tip(&truth) {
            Ok(found) => assert!(found >= Some(acknowledged), "{left} left: {found:?}"),
            Err(error) => assert!(is_full(&error), "{left} left: {error}"),
        }
        fs::remove_file(ballast).unwrap();
        let tip = whole(&truth);
        assert!(tip >= acknowledged, "{left} left: {tip} of {acknowledged}");
        truth.apply(bundle(tip + 1)).unwrap();
        truth.barrier().unwrap();
        drop(truth);
        assert_eq!(whole(&open(&dir)), tip + 1, "{left} left");
    }
}
