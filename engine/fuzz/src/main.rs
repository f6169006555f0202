//! libFuzzer's door to [`targets`]: the environment's TARGET names the one that is tried.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "`make test` replays what libFuzzer finds")]
mod replay;
mod targets;

static TRIED: LazyLock<replay::Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| {
            panic!("TARGET is not one of {:?}", targets::TARGETS.map(|(name, _)| name))
        })
        .1
});

fuzz_target!(|data: &[u8]| TRIED(data));
