//! Where a body ends, and the bounds that heads are read under.

/// How the end of a message body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// This many bytes, below 2^63; zero when a `Content-Length` says so.
    Length(u64),
    /// Chunks, the last of them empty, then trailers.
    Chunked,
    /// Everything until the connection ends; responses only.
    UntilClose,
}

/// The largest length of a body or a chunk. Other readers keep lengths in signed 64-bit numbers, so one above would mean
/// different things along the way.
pub(crate) const LENGTH_MAX: u64 = i64::MAX as u64;

/// Bounds of one message head, set by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head with its empty line, and of empty lines before it; below 4 GiB, as spans have 32 bits.
    pub head_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Field lines.
    pub n_headers: usize,
}

impl HeadLimits {
    /// The part of `buf` that a head may lie in.
    #[inline]
    pub(crate) fn window<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[..buf.len().min(self.head_bytes)]
    }
}

/// The length that a `Content-Length` gives: digits only, no leading zero, below 2^63.
///
/// A leading zero is legal in RFC 9110 section 8.6, but no sender writes one and some readers take it for octal.
pub fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value[0] == b'0' && value.len() > 1 {
        return None;
    }
    let mut length = 0_u64;
    for &b in value {
        if !b.is_ascii_digit() {
            return None;
        }
        length = length.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    (length <= LENGTH_MAX).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_plain_decimal_number() {
        for (text, length) in [("0", 0), ("7", 7), ("1048576", 1 << 20), ("9223372036854775807", LENGTH_MAX)]
        {
            assert_eq!(parse_length(text.as_bytes()), Some(length), "{text}");
        }
        let bad = [
            "",
            "+1",
            "-1",
            "-0",
            " 1",
            "1 ",
            "1 2",
            "1,1",
            "1, 1",
            "0x1",
            "1_0",
            "1.0",
            "1e3",
            "01",
            "00",
            "a",
            "١",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
        ];
        for text in bad {
            assert_eq!(parse_length(text.as_bytes()), None, "{text}");
        }
    }
}
