//! The hash functions of placements: fixed for ever, since a changed one moves every key.
//!
//! Sources: xxHash specification 0.1.1 (XXH64); nginx `ngx_crc32_long` (CRC-32 of IEEE 802.3); RFC 1321 (MD5); HAProxy
//! `hash.c` (sdbm) and `full_hash` (a full avalanche by Bob Jenkins, times a prime); `MurmurHash2` 64A by Austin Appleby.
//! Invariants: pure functions, golden vectors below. Limits: none of them withstands an adversary; who may choose keys
//! can choose their endpoint.

use md5::{Digest as _, Md5};
use twox_hash::XxHash64;

/// XXH64 with a seed.
pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// `MurmurHash2` 64A under the seed of libstdc++, which is Envoy's.
pub(crate) fn murmur2(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let shifted = |word: u64| word ^ (word >> 47);
    let (words, rest) = bytes.as_chunks::<8>();
    let start = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut hash = words.iter().fold(start, |hash, word| {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        (hash ^ shifted(word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR)
    });
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    shifted(shifted(hash).wrapping_mul(FACTOR))
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014): every bit depends on every bit.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// CRC-32 of what is fed piece by piece.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crc32(crc32fast::Hasher);

impl Crc32 {
    pub(crate) fn feed(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// The four little-endian words of an MD5 digest.
pub(crate) fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let digest = Md5::digest(bytes);
    std::array::from_fn(|n| u32::from_le_bytes(std::array::from_fn(|byte| digest[4 * n + byte])))
}

/// sdbm, as HAProxy computes it by default.
pub(crate) fn sdbm(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0_u32, |hash, byte| {
        // HAProxy reads plain chars, which are signed on the machines that it is packaged for.
        let byte = i32::from(byte.cast_signed()).cast_unsigned();
        byte.wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
    })
}

/// HAProxy's avalanche.
pub(crate) fn full_hash(mut a: u32) -> u32 {
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_digests_come_out() {
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        assert_eq!(Crc32::default().feed(b"1234").feed(b"56789").finish(), 0xcbf4_3926);
        assert_eq!(md5_words(b"abc")[0], u32::from_le_bytes([0x90, 0x01, 0x50, 0x98]));
        // As Envoy's tests have them.
        assert_eq!(murmur2(b""), 6_142_509_188_972_423_790);
        assert_eq!(murmur2(b"foo"), 9_631_199_822_919_835_226);
        assert_eq!(murmur2(b"lyft"), 12_847_078_931_730_529_320);
        assert_eq!(murmur2(b"foo\nbar"), 16_306_510_975_912_980_159);
        assert_eq!(sdbm(b""), 0);
        assert_eq!(sdbm(b"a"), 97);
    }
}
