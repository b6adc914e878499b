//! A few words that stand for a string, to find it by: made in constant time, whatever its length.

/// Multiplied in where a string has none of its own, so that zeros do not swallow the other word: the digits of pi.
const PI: u64 = 0x2438_4d88_5a30_8d31 ^ 0x0707_0707_0707_0707;

/// The ends of a string. Two strings of one length up to [`Digest::EXACT_MAX`] are the same if their digests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    len: usize,
    head: u64,
    tail: u64,
}

impl Digest {
    /// Bytes of the longest string that its digest determines.
    const EXACT_MAX: usize = 16;

    /// The first and the last bytes of `bytes`: enough for names.
    #[inline]
    pub(super) const fn of_ends(bytes: &[u8]) -> Self {
        let len = bytes.len();
        let (head, tail) =
            if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
                (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
            } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
            } else if len > 0 {
                (bytes[0] as u64, bytes[len / 2] as u64 | (bytes[len - 1] as u64) << 8)
            } else {
                (0, 0)
            };
        Self { len, head, tail }
    }

    /// The same, and eight bytes from the middle of a longer string: values that differ in nothing else are common,
    /// as versions in a user agent are, or identifiers in a path.
    #[inline]
    pub(super) const fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::of_ends(bytes);
        if !digest.is_exact()
            && let Some(middle) = bytes.split_at(digest.len / 2 - 4).1.first_chunk::<8>()
        {
            digest.head ^= u64::from_le_bytes(*middle).rotate_left(23);
        }
        digest
    }

    /// Whether this is the digest of exactly one string.
    #[inline]
    pub(super) const fn is_exact(&self) -> bool {
        self.len <= Self::EXACT_MAX
    }

    /// Both words and the length in one, other bits of it for another `seed`.
    #[inline]
    pub(super) const fn mix(&self, seed: u64) -> u64 {
        let product = (self.head ^ seed ^ self.len as u64) as u128 * (self.tail ^ PI) as u128;
        (product >> 64) as u64 ^ product as u64
    }
}
