//! The law of the fuzz target, held against its seeds and against fixed mutations of them.
//!
//! No libFuzzer and no clock: the mutations come from a small generator with a fixed seed, so a failure repeats.
#![allow(clippy::unwrap_used, reason = "a test")]

mod laws;

/// Mutations of each seed. More are the business of a fuzzer.
const N_MUTATIONS: usize = 2000;

/// Bytes that mean something to one of the readers.
const TELLING: &[u8] = b"\0\x01\x02\x05\x08\x0a\x10\x12\x7f\x80\xff%:\r\nnumSMH09";

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
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let telling = TELLING[self.below(TELLING.len())];
        match self.below(4) {
            0 => bytes.insert(at, telling),
            1 if at < bytes.len() => bytes[at] = telling,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn seeds_and_their_mutations_keep_the_law() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/grpc");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "no seeds in {folder}");
    let mut noise = Noise(0x150b_a500_0000_0003);
    for seed in seeds {
        let seed = std::fs::read(seed).unwrap();
        laws::grpc(&seed);
        for _ in 0..N_MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..=noise.below(4) {
                noise.mutate(&mut bytes);
            }
            laws::grpc(&bytes);
        }
    }
}
