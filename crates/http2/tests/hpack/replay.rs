//! The law of the fuzz target, held against its seeds, fixed mutations of them, and heads that are drawn.
//!
//! No libFuzzer and no clock: the mutations come from a small generator with a fixed seed, so a failure repeats.

use crate::laws;
use crate::models::{self, Field, huffman};
use proptest::prelude::*;

/// Mutations of each seed. More are the business of a fuzzer.
const N_MUTATIONS: usize = 1000;

/// Bytes that mean something: kinds of fields, ends of tables, lengths, Huffman code.
const TELLING: &[u8] = b"\x00\x01\x10\x0f\x20\x3f\x40\x7f\x80\x82\xbd\xbe\xbf\xc0\xff\x81\x83\x1f\xe1\x05";

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
        match self.below(6) {
            0 => bytes.insert(at, telling),
            1 if at < bytes.len() => bytes[at] = telling,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            4 => {
                let copied = bytes[at..].to_vec();
                bytes.extend(copied.iter().take(200));
            }
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn seeds_and_their_mutations_keep_the_law() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/hpack");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "no seeds in {folder}");
    let mut noise = Noise(0x150b_a500_0000_0005);
    for seed in seeds {
        let seed = std::fs::read(seed).unwrap();
        laws::hpack(&seed);
        for _ in 0..N_MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..=noise.below(4) {
                noise.mutate(&mut bytes);
            }
            laws::hpack(&bytes);
        }
    }
}

/// Fields that repeat, fields that fill the table, and fields that are anything.
fn field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        "x-[a-f]{1,12}".prop_map(String::into_bytes),
        (1_usize..62).prop_map(|index| models::static_field(index).0),
        Just(b"grpc-timeout".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let value = prop_oneof![
        4 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => (1_usize..62).prop_map(|index| models::static_field(index).1),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (0_usize..5000).prop_map(|len| vec![b'v'; len]),
    ];
    (name, value)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_is_encoded_is_decoded_whatever_the_table(
        heads in prop::collection::vec(prop::collection::vec(field(), 0..12), 0..40),
        choice in 0_usize..5,
    ) {
        laws::comes_back(&heads, choice);
    }

    #[test]
    fn any_bytes_are_read_as_the_naive_decoder_reads_them(
        input in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(TELLING)], 0..400),
    ) {
        laws::hpack(&input);
    }

    #[test]
    fn a_string_in_huffman_code_is_what_the_listed_codes_say(text in prop::collection::vec(any::<u8>(), 0..100)) {
        let coded = huffman::coded(&text);
        let mut block = vec![0x00, 0x01, b'x'];
        // A length of 127 and more, in two bytes.
        match coded.len() {
            len @ 0..127 => block.push(0x80 | len as u8),
            len @ 127..255 => block.extend([0xff, (len - 127) as u8]),
            len => block.extend([0xff, 0x80 | ((len - 127) % 128) as u8, ((len - 127) / 128) as u8]),
        }
        block.extend(coded);
        let mut shown = None;
        isobar_http2::hpack::Decoder::new(0).decode(&block, |_, value| shown = Some(value.to_vec())).unwrap();
        prop_assert_eq!(shown, Some(text));
    }
}
