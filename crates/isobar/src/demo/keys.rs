//! Keys, from the bytes that a terminal in raw mode sends.
//!
//! The terminal is read here and not by crossterm, whose reader takes the end of a terminal for a key that is yet to
//! come and spins: a closed window must end the demo.
//!
//! Limits: a key whose bytes arrive in two reads is not recognised; terminals write each in one piece.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Bytes that are read at once: more keys than anyone presses between two draws.
const READ_BYTES: usize = 256;

const ESCAPE: u8 = 0x1b;

/// Ctrl-C: in raw mode a byte and no signal.
const CTRL_C: u8 = 0x03;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    SelectAbove,
    SelectBelow,
    /// Kill the selected instance, or revive it.
    ToggleLife,
    Quit,
}

/// Waits for keys on standard input; none when `patience` is over or a signal came.
///
/// # Errors
///
/// Fails when the terminal is gone.
pub(super) fn wait_for_wishes(patience: Duration) -> io::Result<Vec<Wish>> {
    let timeout = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Read past its buffer, which would hide from the poll what it holds.
    let stdin = io::stdin();
    let mut bytes = [0; READ_BYTES];
    let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
    let read = match poll(&mut waiting, Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Vec::new()),
        Ok(_) => rustix::io::read(&stdin, &mut bytes)?,
        Err(error) => return Err(error.into()),
    };
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(wishes(&bytes[..read]))
}

fn wishes(mut bytes: &[u8]) -> Vec<Wish> {
    let mut wishes = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        let wish = match first {
            b'q' | &CTRL_C => Some(Wish::Quit),
            b'k' => Some(Wish::ToggleLife),
            &ESCAPE => match take_sequence(&mut bytes) {
                Some(b'A') => Some(Wish::SelectAbove),
                Some(b'B') => Some(Wish::SelectBelow),
                _ => None,
            },
            _ => None,
        };
        wishes.extend(wish);
    }
    wishes
}

/// Takes the rest of an escape sequence (ECMA-48, 5.4: `[`, parameters, a final byte; or `O` and one byte, as cursor
/// keys in application mode send) and gives its final byte.
fn take_sequence(bytes: &mut &[u8]) -> Option<u8> {
    let after_introducer = match bytes.split_first()? {
        (b'[', rest) => rest.iter().position(|byte| (0x40..=0x7e).contains(byte)),
        (b'O', _) => Some(0),
        _ => return None,
    };
    // A sequence without an end takes the rest of what was read.
    let end = after_introducer.map_or(bytes.len(), |at| (at + 2).min(bytes.len()));
    let (sequence, rest) = bytes.split_at(end);
    *bytes = rest;
    after_introducer.and(sequence.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_key_of_the_hints_is_obeyed() {
        assert_eq!(wishes(b"q"), [Wish::Quit]);
        assert_eq!(wishes(b"\x03"), [Wish::Quit]);
        assert_eq!(wishes(b"k"), [Wish::ToggleLife]);
        for up in [b"\x1b[A", b"\x1bOA"] {
            assert_eq!(wishes(up), [Wish::SelectAbove]);
        }
        for down in [b"\x1b[B", b"\x1bOB"] {
            assert_eq!(wishes(down), [Wish::SelectBelow]);
        }
    }

    #[test]
    fn keys_that_came_together_are_all_obeyed_in_order() {
        let expected =
            [Wish::SelectBelow, Wish::SelectBelow, Wish::ToggleLife, Wish::SelectAbove, Wish::Quit];
        assert_eq!(wishes(b"\x1b[B\x1b[1;5Bkx\x1b[Aq"), expected);
    }

    #[test]
    fn other_keys_and_their_letters_ask_for_nothing() {
        for other in [
            &b"c"[..],
            b"\r",
            b"\x1b",
            b"\x1b[",
            b"\x1bO",
            b"\x1b[15~",
            b"\x1b[1;2C",
            b"\x1b[12",
            "é".as_bytes(),
        ] {
            assert_eq!(wishes(other), [], "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(wishes(&bytes).len() <= bytes.len());
        }
    }
}
