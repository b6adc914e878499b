//! The law of connections, held against the seeds of its fuzz target and against fixed mutations of them.
//!
//! No libFuzzer and no clock: the mutations come from a small generator with a fixed seed, so a failure repeats.
#![allow(clippy::unwrap_used, reason = "a test")]

mod laws;

use laws::wire::noise::Noise;

/// Mutations of each seed. More are the business of a fuzzer.
const N_MUTATIONS: usize = 600;

/// Bytes that mean something to frames or to the compression.
const TELLING: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 37, 62, 64, 127, 128, 130, 190, 255];

/// One small change, as a fuzzer makes them.
fn mutate(noise: &mut Noise, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = noise.below(bytes.len() + 1);
    let len = noise.below(40).min(bytes.len() - at);
    match noise.below(7) {
        0 => bytes.insert(at, noise.pick(TELLING)),
        1 | 2 if at < bytes.len() => bytes[at] = noise.pick(TELLING),
        3 => drop(bytes.drain(at..at + len)),
        4 => bytes.truncate(at),
        5 => {
            let again = bytes[at..at + len].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            let from = noise.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

#[test]
fn seeds_and_their_mutations_keep_the_law_of_connections() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/http2_connection");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() > 10, "{} seeds in {folder}", seeds.len());
    let mut noise = Noise::new(0x150b_a500_0000_0005);
    for seed in &seeds {
        laws::connection::connection(seed);
        for _ in 0..N_MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..=noise.below(4) {
                let other = &seeds[noise.below(seeds.len())];
                mutate(&mut noise, &mut bytes, other);
            }
            // The schedule is another one each time.
            bytes.resize(bytes.len().max(5), 0);
            (1..5).for_each(|at| bytes[at] = noise.below(256) as u8);
            laws::connection::connection(&bytes);
        }
    }
}
