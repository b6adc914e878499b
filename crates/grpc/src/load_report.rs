//! A server's report of its load, as gRPC servers send it with an answer's trailers (gRFC A51):
//! `xds.data.orca.v3.OrcaLoadReport`, in Protocol Buffers, in base64 as all binary metadata.
//!
//! Invariants: as many steps as bytes; nothing is allocated. Limit: of the message only the numbers are read that weights
//! follow from (gRFC A58); maps of named ones are passed over.

use crate::protobuf::{EIGHT_BYTES, double, skip_field, varint};

/// The metadata that carries it.
pub const METADATA: &str = "endpoint-load-metrics-bin";

/// Bytes of a message: the numbers take a few dozen, maps some hundreds. What is longer is not read.
pub const MESSAGE_LEN_MAX: usize = 4096;

/// The numbers of a report; zero where one is not said, as the format has it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Utilization {
    /// Share of the processors.
    pub cpu: f64,
    /// What the application calls its utilization.
    pub application: f64,
    /// Requests a second.
    pub rate: f64,
    /// Errors a second.
    pub errors: f64,
}

/// The numbers that a message tells; `None` where the bytes are no message, or have one of these numbers in another form.
pub fn parse(message: &[u8]) -> Option<Utilization> {
    let mut rest = message;
    let mut said = Utilization::default();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = match tag >> 3 {
            1 => &mut said.cpu,
            6 => &mut said.rate,
            7 => &mut said.errors,
            9 => &mut said.application,
            _ => {
                skip_field(tag, &mut rest)?;
                continue;
            }
        };
        if tag & 7 != EIGHT_BYTES {
            return None;
        }
        *number = double(&mut rest)?;
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One number of a message.
    fn number(field: u8, value: f64) -> Vec<u8> {
        [&[field << 3 | 1], value.to_le_bytes().as_slice()].concat()
    }

    #[test]
    fn the_numbers_are_read_among_fields_that_are_not_known() {
        // As protobuf's own library for Python writes it: cpu 0.25, rps 7, request_cost {"a": 1}, rps_fractional 100, eps 2,
        // application 0.5.
        let message = b"\x09\x00\x00\x00\x00\x00\x00\xd0\x3f\x18\x07\x22\x0c\x0a\x01a\x11\x00\x00\x00\x00\x00\x00\xf0\x3f\
            \x31\x00\x00\x00\x00\x00\x00\x59\x40\x39\x00\x00\x00\x00\x00\x00\x00\x40\x49\x00\x00\x00\x00\x00\x00\xe0\x3f";
        let expected = Utilization { cpu: 0.25, application: 0.5, rate: 100.0, errors: 2.0 };
        assert_eq!(parse(message), Some(expected));
        assert_eq!(parse(b""), Some(Utilization::default()));
        let twice = [number(1, 0.5), number(1, 0.75)].concat();
        assert_eq!(parse(&twice).map(|said| said.cpu), Some(0.75), "the last one counts");
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bytes in [&b"\x09\x00"[..], b"\x08\x01", b"\x00", b"\x0a\x05ab", b"\x0b", b"\x49", b"TEXT eps=1"]
        {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_number_comes_out_as_it_was_written(cpu: f64, application: f64, rate: f64, errors: f64) {
            let message = [number(9, application), number(7, errors), number(6, rate), number(1, cpu)].concat();
            let said = parse(&message).unwrap_or_default();
            let bits = [said.cpu, said.application, said.rate, said.errors].map(f64::to_bits);
            prop_assert_eq!(bits, [cpu, application, rate, errors].map(f64::to_bits));
        }
    }
}
