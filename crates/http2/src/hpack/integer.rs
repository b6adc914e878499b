//! Integers with a prefix (RFC 7541 section 5.1).
//!
//! # Limits
//! What needs more than [`BYTES_MAX`] bytes is refused: such an integer is above every length and index that a block
//! can mean, and padding one with zeros serves nobody.

use super::HpackError;

/// Bytes of the longest integer that is read, the one with the prefix included: values up to 2^28 and a little more.
const BYTES_MAX: usize = 5;

/// Reads the integer whose prefix is the low `prefix` bits (1 to 8) of the first byte, and takes it off `rest`.
#[inline]
pub(super) fn decode(rest: &mut &[u8], prefix: u32) -> Result<usize, HpackError> {
    let (&first, behind) = rest.split_first().ok_or(HpackError::Truncated)?;
    *rest = behind;
    let full = (1_usize << prefix) - 1;
    let value = usize::from(first) & full;
    if value < full { Ok(value) } else { continued(rest, full) }
}

fn continued(rest: &mut &[u8], full: usize) -> Result<usize, HpackError> {
    let mut value = full;
    for place in 0..BYTES_MAX - 1 {
        let (&byte, behind) = rest.split_first().ok_or(HpackError::Truncated)?;
        *rest = behind;
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(HpackError::IntegerTooLong)
}

/// Appends `value` with a prefix of `prefix` bits (1 to 8), `flags` being what stands above the prefix.
#[inline]
pub(super) fn encode(value: usize, prefix: u32, flags: u8, out: &mut Vec<u8>) {
    let full = (1_usize << prefix) - 1;
    if value < full {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: usize, prefix: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, prefix, 0, &mut out);
        out
    }

    #[test]
    fn the_examples_of_appendix_c_1_hold() {
        for (value, prefix, bytes) in [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])]
        {
            assert_eq!(encoded(value, prefix), bytes);
            let mut rest = bytes;
            assert_eq!(decode(&mut rest, prefix), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn what_is_written_is_read_with_every_prefix_and_around_every_length() {
        for prefix in 1..=8 {
            let edges = (0..28).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 255]);
            for value in edges.chain(0..600) {
                let mut bytes = encoded(value, prefix);
                bytes.push(0xaa);
                let mut rest = &bytes[..];
                assert_eq!(decode(&mut rest, prefix), Ok(value), "{value} with {prefix} bits");
                assert_eq!(rest, [0xaa]);
            }
        }
    }

    #[test]
    fn bits_above_the_prefix_are_not_part_of_the_value() {
        assert_eq!(decode(&mut &[0xea][..], 5), Ok(10));
        assert_eq!(decode(&mut &[0xff, 0x9a, 0x0a][..], 5), Ok(1337));
    }

    #[test]
    fn a_sixth_byte_is_refused_even_if_it_adds_nothing() {
        let longest = [0x1f, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(decode(&mut &longest[..], 5), Ok(31 + (1 << 28) - 1));
        for hostile in
            [&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x00][..], &[0xff; 20], &[0x1f, 0x80, 0x80, 0x80, 0x80]]
        {
            assert_eq!(decode(&mut &hostile[..], 5), Err(HpackError::IntegerTooLong));
        }
    }

    #[test]
    fn an_integer_that_ends_early_is_truncated() {
        for cut in [&[][..], &[0x1f], &[0x1f, 0x9a], &[0x1f, 0x80, 0x80, 0x80]] {
            assert_eq!(decode(&mut &cut[..], 5), Err(HpackError::Truncated));
        }
    }
}
