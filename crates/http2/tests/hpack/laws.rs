//! What must hold for any input whatever: the body of the fuzz target, and of the test that replays its seeds.
//!
//! The law panics where it is broken. It does not say which blocks are accepted; that is the part of other tests.

use crate::models::{Field, NaiveDecoder};
use isobar_http2::hpack::{Decoder, Encoder};

/// Table sizes that the first byte of the input chooses from.
const TABLES: [usize; 4] = [4096, 256, 0, 65_536];

/// Tables that the peer of our encoder allows, one after the other.
const PEER_TABLES: [usize; 5] = [4096, 0, 200, 70_000, 64];

/// Any bytes as the blocks of one connection: a byte that chooses the table, then each block behind its length.
///
/// Our decoder and the naive one see the same, and what they saw comes back when our encoder sends it.
pub(crate) fn hpack(input: &[u8]) {
    let Some((choice, mut rest)) = input.split_first() else { return };
    let allowed = TABLES[usize::from(*choice) % TABLES.len()];
    let (mut decoder, mut naive) = (Decoder::new(allowed), NaiveDecoder::new(allowed));
    let mut heads = Vec::new();
    while let Some((len, behind)) = rest.split_first() {
        let block;
        (block, rest) = behind.split_at(usize::from(*len).min(behind.len()));
        let mut shown = Vec::new();
        let verdict = decoder.decode(block, |name, value| shown.push((name.to_vec(), value.to_vec())));
        let (expected, expected_verdict) = naive.decode(block);
        assert_eq!((&shown, verdict), (&expected, expected_verdict));
        heads.push(shown);
        if verdict.is_err() {
            break;
        }
    }
    comes_back(&heads, usize::from(*choice));
}

/// Our encoder's blocks stand for the fields that went in, for both decoders, while the table is resized.
pub(crate) fn comes_back(heads: &[Vec<Field>], choice: usize) {
    let (mut encoder, mut decoder, mut naive) = (Encoder::new(), Decoder::new(4096), NaiveDecoder::new(4096));
    for (at, head) in heads.iter().enumerate() {
        if (at + choice).is_multiple_of(3) {
            encoder.set_table_max(PEER_TABLES[at % PEER_TABLES.len()]);
            encoder.set_table_max(PEER_TABLES[(at + choice) % PEER_TABLES.len()]);
        }
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (name, value) in head {
            encoder.encode(name, value, &mut block);
        }
        let mut shown = Vec::new();
        let verdict = decoder.decode(&block, |name, value| shown.push((name.to_vec(), value.to_vec())));
        assert_eq!((&shown, verdict), (head, Ok(())));
        assert_eq!(naive.decode(&block), (shown, Ok(())));
    }
}
