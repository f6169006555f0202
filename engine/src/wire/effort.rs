//! How hard a run is compressed, and the contexts of zstd that are kept for it.

use std::{io, sync::Mutex};

use zstd::bulk::Compressor;

/// How hard a run is compressed. The host chooses, since it knows the line: the bytes are the same
/// to whoever opens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For one bundle to somewhere near, which somebody waits for.
    Quick,
    /// For many bundles to somewhere near, a LAN or another process: an invoice takes 259 bytes in a
    /// sheet. Level 5 takes 5 % less, and 3 us more of processor.
    Fair,
    /// For a line to somewhere else: 210 bytes, in longer runs, for 8 us more of processor, while 1
    /// Mbit/s needs 0.4 ms for what that saves and 100 Mbit/s 4 us.
    Thorough,
    /// For many bundles that are small together, wherever they go. A hundred status changes take 635
    /// bytes, 10 less than at [`Effort::Thorough`], for 2 us more of processor each.
    Utmost,
}

impl Effort {
    const fn level(self) -> i32 {
        match self {
            Self::Quick => 1,
            Self::Fair => 3,
            Self::Thorough => 9,
            Self::Utmost => 15,
        }
    }

    /// Compresses with a context that is kept: to make one costs more than to use it for one
    /// bundle.
    pub(super) fn compress(self, raw: &[u8]) -> io::Result<Vec<u8>> {
        static KEPT: [Mutex<Option<Compressor<'static>>>; 4] = [const { Mutex::new(None) }; 4];
        match KEPT[self as usize].try_lock().as_deref_mut() {
            Ok(Some(kept)) => kept.compress(raw),
            Ok(kept) => kept.insert(self.compressor()?).compress(raw),
            // Another session packs just now; no one needs to wait for it.
            Err(_) => self.compressor()?.compress(raw),
        }
    }

    /// A frame does not tell how long its content is: the run does.
    fn compressor(self) -> io::Result<Compressor<'static>> {
        let mut compressor = Compressor::new(self.level())?;
        compressor.include_contentsize(false)?;
        Ok(compressor)
    }
}
