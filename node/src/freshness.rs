//! Since when what is shown is complete, remembered over restarts and told where the ERP looks:
//! `stato.json` beside the spool folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use crate::{api::space::Space, moment::rfc3339, private};

/// How often it is written.
const BEAT: Duration = Duration::from_secs(30);

/// The latest moment at which all was here, milliseconds since 1970; 0 for never.
#[derive(Clone, Default)]
pub struct Remembered(Arc<AtomicU64>);

impl Remembered {
    /// What the file says; nothing where there is none, or it is damaged: no moment is better
    /// than a wrong one.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let moment = private::read_checked(path).and_then(|text| text.parse().ok());
        Self(Arc::new(AtomicU64::new(moment.unwrap_or(0))))
    }

    /// The later of what is remembered and what is known.
    #[must_use]
    pub fn or(&self, known: Option<u64>) -> Option<u64> {
        let before = self.0.fetch_max(known.unwrap_or(0), Ordering::Relaxed);
        Some(before.max(known.unwrap_or(0))).filter(|ms| *ms > 0)
    }
}

/// Keeps `as_of` in the file at `remembered` and writes `stato.json` in `spool`, until the task
/// is dropped.
pub async fn run(space: Arc<Space>, remembered: PathBuf, spool: PathBuf) {
    let mut kept = None;
    loop {
        let status = space.sync_status().await;
        let as_of = space.as_of_ms().await;
        let told = serde_json::json!({
            "vat": status.vat,
            "as_of": status.as_of,
            "written_at": rfc3339(crate::moment::now_ms()),
            "queued": status.queued,
            "mirror_behind": status.mirror_behind,
            "portals": status.portals,
            "storage": status.storage,
        });
        let (path, spool) = (remembered.clone(), spool.clone());
        let keep = as_of.filter(|as_of| kept != Some(*as_of));
        let written = tokio::task::spawn_blocking(move || {
            if let Some(as_of) = keep {
                private::write_checked(&path, &as_of.to_string())?;
            }
            tell(&spool, &told)
        });
        match written.await {
            Ok(Ok(())) => kept = as_of,
            Ok(Err(error)) => tracing::debug!(%error, "stato.json waits"),
            Err(_) => return,
        }
        sleep(BEAT).await;
    }
}

/// Who may read it is the share's affair.
fn tell(spool: &Path, told: &serde_json::Value) -> io::Result<()> {
    let half = spool.join(".stato.json.half");
    fs::write(&half, format!("{told:#}\n"))?;
    fs::rename(half, spool.join("stato.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_moment_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("as_of");
        assert_eq!(Remembered::read(&path).or(None), None);
        private::write_checked(&path, "1764000000000").unwrap();
        let remembered = Remembered::read(&path);
        assert_eq!(remembered.or(None), Some(1_764_000_000_000));
        assert_eq!(remembered.or(Some(5)), Some(1_764_000_000_000));
        assert_eq!(remembered.or(Some(1_764_000_000_001)), Some(1_764_000_000_001));
        assert_eq!(remembered.or(None), Some(1_764_000_000_001));
    }
}
