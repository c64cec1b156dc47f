//! The seeds of the fuzzers, and the same mutations of them each time: what a change breaks shows without a fuzzer.

use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::CHECKS;

/// Mutations of each seed.
const MUTATIONS: u64 = 100;

/// Bytes that often mean something.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff'\"\\;,=$%() \nrnBCDEFHPQSXZ";

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn mutate(bytes: &mut Vec<u8>, random: &mut SmallRng) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let telling = TELLING[random.random_range(0..TELLING.len())];
        match random.random_range(0..6) {
            0 => bytes.insert(at, telling),
            1 => bytes.insert(at, random.random()),
            2 if at < bytes.len() => bytes[at] = telling,
            3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            4 => drop(bytes.drain(at..(at + random.random_range(0..8)).min(bytes.len()))),
            _ => {
                let again = bytes[at..(at + random.random_range(0..40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

/// An input whose check panics, for the message.
struct Trying<'a>(&'a str, &'a Path, &'a [u8]);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{} of a mutation of {}: {:?}",
                self.0,
                self.1.display(),
                self.2.escape_ascii().to_string()
            );
        }
    }
}

fn smoke(part: usize) {
    for (name, check) in CHECKS.iter().skip(part).step_by(2) {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (number, (path, seed)) in seeds.iter().enumerate() {
            let mut random = SmallRng::seed_from_u64(number as u64);
            for round in 0..=MUTATIONS {
                let mut input = seed.clone();
                if round > 0 {
                    mutate(&mut input, &mut random);
                }
                let trying = Trying(name, path, &input);
                check(&input);
                drop(trying);
            }
        }
    }
}

#[test]
fn the_seeds_and_their_mutations_hold_first_half() {
    smoke(0);
}

#[test]
fn the_seeds_and_their_mutations_hold_second_half() {
    smoke(1);
}

#[test]
fn every_check_has_a_target() {
    for (name, _) in CHECKS {
        let target =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&target).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(text.contains(&format!("\"{name}\"")), "{name} runs another check");
    }
}
