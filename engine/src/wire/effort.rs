//! How hard a run is compressed, with which dictionary, and the contexts of zstd that are kept for it.

use std::{io, sync::Mutex};

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe,
};

use super::Form;

/// What stands before every sheet as if both sides had just said it: the sheets of a few made-up
/// invoices and of what is said about them (PROTOCOL.md section 3.4). One bundle alone has little
/// in it that comes again, and most of what it says has been said by some other.
/// `cargo run -p engine --example dictionary` makes it. Other bytes are another version.
pub const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");

/// How hard a run is compressed. The host chooses, since it knows the line: the bytes are the same
/// to whoever opens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For one bundle to somewhere near, which somebody waits for.
    Quick,
    /// For many bundles to somewhere near, a LAN or another process: an invoice takes 252 bytes in a
    /// sheet. Level 5 takes 5 % less, and 3 us more of processor.
    Fair,
    /// For a line to somewhere else: 205 bytes, in longer runs, for 8 us more of processor, while 1
    /// Mbit/s needs 0.4 ms for what that saves and 100 Mbit/s 4 us.
    Thorough,
    /// For many bundles that are small together, wherever they go. A hundred status changes take 650
    /// bytes, 10 less than at [`Effort::Thorough`], for 1 us more of processor each.
    Utmost,
}

impl Effort {
    const fn level(self) -> i32 {
        match self {
            Self::Quick => 1,
            Self::Fair => 3,
            Self::Thorough => 9,
            Self::Utmost => 16,
        }
    }

    /// Compresses with a context that is kept: to make one costs more than to use it for one
    /// bundle.
    pub(super) fn compress(self, form: Form, raw: &[u8]) -> io::Result<Vec<u8>> {
        type Kept = Mutex<Option<Compressor<'static>>>;
        static KEPT: [[Kept; 4]; 2] = [const { [const { Mutex::new(None) }; 4] }; 2];
        match KEPT[form as usize][self as usize].try_lock().as_deref_mut() {
            Ok(Some(kept)) => kept.compress(raw),
            Ok(kept) => kept.insert(self.compressor(form)?).compress(raw),
            // Another session packs just now; no one needs to wait for it.
            Err(_) => self.compressor(form)?.compress(raw),
        }
    }

    fn compressor(self, form: Form) -> io::Result<Compressor<'static>> {
        Compressor::with_dictionary(self.level(), form.dictionary())
    }
}

/// Decompresses a frame into as much memory as it says, `len_max` bytes at most: a bomb fails
/// instead of growing.
pub(super) fn decompress(form: Form, frame: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
    static KEPT: [Mutex<Option<Decompressor<'static>>>; 2] = [const { Mutex::new(None) }; 2];
    let told = zstd_safe::get_frame_content_size(frame).ok().flatten().unwrap_or(u64::MAX);
    let len = usize::try_from(told).unwrap_or(usize::MAX).min(len_max);
    let made = || Decompressor::with_dictionary(form.dictionary());
    match KEPT[form as usize].try_lock().as_deref_mut() {
        Ok(Some(kept)) => kept.decompress(frame, len),
        Ok(kept) => kept.insert(made()?).decompress(frame, len),
        Err(_) => made()?.decompress(frame, len),
    }
}
