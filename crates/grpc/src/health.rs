//! The two messages of the health service (`grpc.health.v1`), in Protocol Buffers.
//!
//! `HealthCheckRequest` has one string, the service; `HealthCheckResponse` has one enum, its state. Fields that are not
//! known are skipped, as the format wants it.

use crate::protobuf::{VARINT, skip_field, varint};

/// The path of the call.
pub const CHECK_PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes of an answer: the state takes two, and what another version may add is small.
pub const ANSWER_LEN_MAX: usize = 4096;

/// The number of the only field of either message.
const FIELD: u64 = 1;

/// What the health service says of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// It was never said.
    Unknown,
    /// It serves.
    Serving,
    /// It does not serve.
    NotServing,
    /// There is no such service.
    ServiceUnknown,
    /// A state that another version has.
    Other(u64),
}

/// An answer that is no message of the health service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no message of the gRPC health service")]
pub struct Malformed;

/// The message that asks for a service; the empty name is the whole server.
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        write_varint(FIELD << 3 | 2, &mut message);
        write_varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    message
}

/// The state that an answer tells.
///
/// # Errors
/// Where the bytes are no message, or have the state in another form than a number.
pub fn serving(message: &[u8]) -> Result<Serving, Malformed> {
    let mut rest = message;
    let mut state = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest).ok_or(Malformed)?;
        match (tag >> 3, tag & 7) {
            // The last one counts, as everywhere in this format.
            (FIELD, VARINT) => state = varint(&mut rest).ok_or(Malformed)?,
            (FIELD, _) => return Err(Malformed),
            _ => skip_field(tag, &mut rest).ok_or(Malformed)?,
        }
    }
    Ok(match state {
        0 => Serving::Unknown,
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Other(other),
    })
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_messages_are_those_that_other_implementations_write() {
        assert_eq!(request(""), b"");
        assert_eq!(request("shop.Cart"), b"\x0a\x09shop.Cart");
        let long = "a".repeat(300);
        assert_eq!(request(&long), [b"\x0a\xac\x02", long.as_bytes()].concat());
        for (message, state) in [
            (&b""[..], Serving::Unknown),
            (b"\x08\x00", Serving::Unknown),
            (b"\x08\x01", Serving::Serving),
            (b"\x08\x02", Serving::NotServing),
            (b"\x08\x03", Serving::ServiceUnknown),
            (b"\x08\x80\x01", Serving::Other(128)),
            (b"\x08\x02\x08\x01", Serving::Serving),
            (b"\x10\x05\x1a\x02hi\x21abcdefgh\x2dabcd\x08\x01", Serving::Serving),
        ] {
            assert_eq!(serving(message), Ok(state), "{message:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bytes in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x00\x01",
            b"\x0a\x01a",
            b"\x12\x05abc",
            b"\x13\x14",
            b"\x16",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"SERVING",
        ] {
            assert_eq!(serving(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value: u64, behind: u8) {
            let mut bytes = Vec::new();
            write_varint(value, &mut bytes);
            bytes.push(behind);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(varint(&mut rest), Some(value));
            prop_assert_eq!(rest, [behind]);
        }

        #[test]
        fn two_messages_behind_each_other_are_one_in_which_the_last_state_counts(
            first in proptest::collection::vec(any::<u8>(), 0..40), state in 1_u64..9,
        ) {
            let mut second = vec![FIELD as u8 * 8];
            write_varint(state, &mut second);
            let alone = serving(&second);
            if serving(&first).is_ok() {
                prop_assert_eq!(serving(&[first, second].concat()), alone);
            }
        }
    }
}
