//! The frame around each message: a byte that says whether it is compressed, four of its length, the message.
//!
//! Invariant: the verdict about a beginning of a body never changes by what follows it.

/// Bytes before a message.
pub const PREFIX_LEN: usize = 5;

/// Why a body does not begin with a message that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The message is compressed although nobody offered to understand that.
    #[error("the message is compressed, which was not offered")]
    Compressed,
    /// The first byte is neither 0 nor 1.
    #[error("the body does not begin with a gRPC message")]
    BadFlag,
    /// The message is longer than it may be.
    #[error("the message is longer than expected")]
    TooLong,
}

/// A message within its frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &len.to_be_bytes()[..], message].concat()
}

/// The first message of a body, of which `bytes` have come; `None` until all of it is there.
///
/// # Errors
/// Where no message of at most `len_max` bytes comes, whatever follows.
pub fn first_message(bytes: &[u8], len_max: usize) -> Result<Option<&[u8]>, FrameError> {
    match bytes.first() {
        None | Some(0) => {}
        Some(1) => return Err(FrameError::Compressed),
        Some(_) => return Err(FrameError::BadFlag),
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if len > len_max {
        return Err(FrameError::TooLong);
    }
    Ok(rest.get(..len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_there_with_its_last_byte() {
        let body = framed(b"abc");
        assert_eq!(body, b"\0\0\0\0\x03abc");
        for cut in 0..body.len() {
            assert_eq!(first_message(&body[..cut], 3), Ok(None), "{cut}");
        }
        assert_eq!(first_message(&body, 3), Ok(Some(&b"abc"[..])));
        assert_eq!(first_message(b"\0\0\0\0\0next", 3), Ok(Some(&b""[..])));
    }

    #[test]
    fn what_cannot_be_read_is_told_as_soon_as_it_is_seen() {
        assert_eq!(first_message(b"\x01", 3), Err(FrameError::Compressed));
        assert_eq!(first_message(b"<html>", 3), Err(FrameError::BadFlag));
        assert_eq!(first_message(b"\0\0\0\0\x04", 3), Err(FrameError::TooLong));
        assert_eq!(first_message(b"\0\xff\xff\xff\xff", 3), Err(FrameError::TooLong));
    }
}
