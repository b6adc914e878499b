//! The laws of the fuzz targets, held against their seeds and against fixed mutations of them.
//!
//! No libFuzzer and no clock: the mutations come from a small generator with a fixed seed, so a failure repeats.
#![allow(clippy::unwrap_used)]

mod laws;
mod models;
mod support;

use support::{Case, Kind, corpus};

/// Mutations of each seed. More are the business of a fuzzer.
const N_MUTATIONS: usize = 200;

/// Longer seeds are there for their length, and slow to read byte by byte.
const MUTATED_BYTES_MAX: usize = 2048;

/// Bytes that mean something somewhere in the grammar.
const TELLING: &[u8] = b"\r\n\0 \t:;,\"=\\/?#%.0159afx\x7f\x80\xff";

/// xorshift64*, seeded.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// One small change, as a fuzzer makes them.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let len = self.below(8).min(bytes.len() - at);
        match self.below(6) {
            0 => bytes.insert(at, TELLING[self.below(TELLING.len())]),
            1 if at < bytes.len() => bytes[at] = TELLING[self.below(TELLING.len())],
            2 => drop(bytes.drain(at..at + len)),
            3 => bytes.truncate(at),
            4 => {
                let copied = bytes[at..at + len].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copied);
            }
            _ => {
                let from = self.below(other.len() + 1);
                let to = from + self.below(24).min(other.len() - from);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

fn check(kind: Kind, bytes: &[u8]) {
    match kind {
        Kind::Request => laws::request(bytes),
        Kind::Response(_) => laws::response(bytes),
        Kind::Chunked => laws::chunked(bytes),
    }
}

#[test]
fn seeds_and_their_mutations_keep_the_laws() {
    let cases = corpus();
    let mut noise = Noise(0x150b_a500_0000_0001);
    for case in &cases {
        check(case.kind, &case.bytes);
        if case.bytes.len() > MUTATED_BYTES_MAX {
            continue;
        }
        for _ in 0..N_MUTATIONS {
            let other: &Case = &cases[noise.below(cases.len())];
            let mut bytes = case.bytes.clone();
            for _ in 0..=noise.below(4) {
                noise.mutate(&mut bytes, &other.bytes);
            }
            check(case.kind, &bytes);
        }
    }
}

#[test]
fn paths_and_their_mutations_keep_the_laws() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/normalize_path");
    let mut noise = Noise(0x150b_a500_0000_0002);
    let mut n_seeds = 0;
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let seed = std::fs::read(path).unwrap();
        laws::normalize(&seed);
        for _ in 0..50 * N_MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..=noise.below(4) {
                noise.mutate(&mut bytes, b"/..//%2e%2E/.%2f%5c%00a/");
            }
            laws::normalize(&bytes);
        }
        n_seeds += 1;
    }
    assert!(n_seeds > 0, "no seeds in {folder}");
}
