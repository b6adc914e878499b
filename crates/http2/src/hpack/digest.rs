//! A few words that stand for a string, to find it by: made in constant time, whatever its length.

/// Multiplied in where a string has none of its own, so that zeros do not swallow the other word: the digits of pi.
const PI: u64 = 0x2438_4d88_5a30_8d31 ^ 0x0707_0707_0707_0707;

/// The ends of a string. Two strings of one length up to [`Digest::EXACT_MAX`] are the same if their digests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) len: usize,
    head: u64,
    tail: u64,
}

impl Digest {
    /// Bytes of the longest string that its digest determines.
    pub(super) const EXACT_MAX: usize = 16;

    /// Reads at most 24 bytes of `bytes`.
    #[inline]
    pub(super) const fn of(bytes: &[u8]) -> Self {
        let len = bytes.len();
        let (head, tail) =
            if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
                let head = u64::from_le_bytes(*head);
                // Values that differ in the middle alone are common: versions in a user agent, identifiers in a path.
                let middle = match bytes.split_at(len / 2 - 4).1.first_chunk() {
                    Some(middle) if len > Self::EXACT_MAX => u64::from_le_bytes(*middle),
                    _ => 0,
                };
                (head ^ middle.rotate_left(23), u64::from_le_bytes(*tail))
            } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
            } else if len > 0 {
                (bytes[0] as u64, bytes[len / 2] as u64 | (bytes[len - 1] as u64) << 8)
            } else {
                (0, 0)
            };
        Self { len, head, tail }
    }

    /// Both words and the length in one, other bits of it for another `seed`.
    #[inline]
    pub(super) const fn mix(&self, seed: u64) -> u64 {
        let product = (self.head ^ seed ^ self.len as u64) as u128 * (self.tail ^ PI) as u128;
        (product >> 64) as u64 ^ product as u64
    }
}
