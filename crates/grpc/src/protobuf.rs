//! Protocol Buffers, as far as two messages need them: numbers, and fields that are passed over.
//!
//! Everything here takes its bytes from the front of `rest`, and gives `None` where they are malformed.
//! Limit: groups, which no compiler of the format has written for years, are malformed here.

/// The wire types that are read: a number in groups of seven bits, and eight bytes.
pub(crate) const VARINT: u64 = 0;
pub(crate) const EIGHT_BYTES: u64 = 1;

/// Seven bits a byte, the lowest first; at most ten bytes.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        let bits = u64::from(byte & 0x7F);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A number with a binary point, the lowest byte first.
pub(crate) fn double(rest: &mut &[u8]) -> Option<f64> {
    let (bytes, behind) = rest.split_first_chunk::<8>()?;
    *rest = behind;
    Some(f64::from_le_bytes(*bytes))
}

/// Passes over the value of a field with this tag.
pub(crate) fn skip_field(tag: u64, rest: &mut &[u8]) -> Option<()> {
    let len = match (tag >> 3, tag & 7) {
        (0, _) => return None,
        (_, VARINT) => return varint(rest).map(drop),
        (_, EIGHT_BYTES) => 8,
        (_, 2) => varint(rest)?,
        (_, 5) => 4,
        _ => return None,
    };
    let len = usize::try_from(len).ok()?;
    *rest = rest.get(len..)?;
    Some(())
}
