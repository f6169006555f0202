//! A corpus and mutations of it, tried without libFuzzer: what `make test` does.

use std::{fs, path::Path};

/// Tries one input. Fails by a panic.
pub type Target = fn(&[u8]);

/// Mutations tried of each target's corpus.
const MUTATIONS: usize = 500;

/// The inputs that are kept for `target`.
fn corpus(folder: &Path, target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder.join(target))
        .unwrap_or_else(|error| panic!("{target} has no corpus: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 3, "{target} has a corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Tries every input that is kept.
pub fn replay(folder: &Path, targets: &[(&str, Target)]) {
    for (name, target) in targets {
        for (n, bytes) in corpus(folder, name).iter().enumerate() {
            println!("{name} {n}");
            target(bytes);
        }
    }
}

/// Tries what chance makes of them, the same each time.
pub fn mutate(folder: &Path, targets: &[(&str, Target)]) {
    let mut dice = 0x5eed_u64;
    let mut throw = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % sides.max(1) as u64) as usize
    };
    for (name, target) in targets {
        let corpus = corpus(folder, name);
        for _ in 0..MUTATIONS {
            let mut bytes = corpus[throw(corpus.len())].clone();
            for _ in 0..=throw(4) {
                let at = throw(bytes.len());
                match throw(5) {
                    _ if bytes.is_empty() => bytes.push(throw(256) as u8),
                    0 => bytes[at] ^= 1 << throw(8),
                    1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][throw(5)],
                    2 => drop(bytes.remove(at)),
                    3 => bytes.insert(at, throw(256) as u8),
                    _ => bytes.truncate(at),
                }
            }
            target(&bytes);
        }
    }
}
