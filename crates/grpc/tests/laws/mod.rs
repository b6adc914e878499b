//! What must hold for any input whatever: the body of the fuzz target, and of the test that replays its seeds.
//!
//! The law panics where it is broken. It does not say which inputs are accepted; that is the part of the unit tests.

use isobar_grpc::health::{ANSWER_LEN_MAX, Malformed, Serving, serving};
use isobar_grpc::load_report;
use isobar_grpc::{Status, first_message, framed, parse_timeout, write_percent_encoded, write_timeout};

/// Any bytes: as the body of an answer, as a message, as a field's value and as trailers.
pub(crate) fn grpc(input: &[u8]) {
    body(input);
    assert_eq!(serving(input), naive_serving(input).ok_or(Malformed), "the two readers agree");
    if let Some(said) = load_report::parse(input) {
        let twice = load_report::parse(&[input, input].concat());
        // By their text, as a number that is none is not equal to itself.
        assert_eq!(format!("{twice:?}"), format!("{:?}", Some(said)), "the last of each number counts");
    }
    if let Some(timeout) = parse_timeout(input) {
        let mut written = Vec::new();
        write_timeout(timeout, &mut written);
        let again = parse_timeout(&written).expect("what is written can be read");
        assert!(again <= timeout.max(std::time::Duration::from_nanos(1)));
    }
    let status = Status::of_trailers(input);
    assert!(status.is_none() || input.contains(&b':'));
    let text = String::from_utf8_lossy(input);
    let mut encoded = Vec::new();
    write_percent_encoded(&text, &mut encoded);
    assert!(encoded.iter().all(|byte| (b' '..=b'~').contains(byte)), "it can stand in a field");
    assert_eq!(decoded(&encoded), text.as_bytes());
}

/// The verdict on a body does not depend on how it was split into reads.
fn body(input: &[u8]) {
    let whole = first_message(input, ANSWER_LEN_MAX);
    for cut in 0..input.len().min(64) {
        match first_message(&input[..cut], ANSWER_LEN_MAX) {
            Ok(None) => {}
            early => assert_eq!(early, whole, "after {cut} bytes"),
        }
    }
    if let Ok(Some(message)) = whole {
        assert!(input.starts_with(&framed(message)), "a message stands in its own frame");
        assert!(message.len() <= ANSWER_LEN_MAX);
    }
}

fn decoded(encoded: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = encoded;
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(&behind[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            rest = &behind[2..];
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    bytes
}

/// The same message by another way: all fields first, then the one that counts.
fn naive_serving(message: &[u8]) -> Option<Serving> {
    let mut bytes = message.iter().copied();
    let mut states = vec![0];
    while bytes.len() > 0 {
        let tag = naive_varint(&mut bytes)?;
        let (field, kind) = (tag / 8, tag % 8);
        let value = match kind {
            0 => Some(naive_varint(&mut bytes)?),
            1 | 2 | 5 => {
                let len = match kind {
                    1 => 8,
                    5 => 4,
                    _ => usize::try_from(naive_varint(&mut bytes)?).ok()?,
                };
                if len > bytes.len() {
                    return None;
                }
                bytes.by_ref().take(len).for_each(drop);
                None
            }
            _ => return None,
        };
        match field {
            0 => return None,
            1 => states.push(value?),
            _ => {}
        }
    }
    Some(match states.last()? {
        0 => Serving::Unknown,
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Other(*other),
    })
}

fn naive_varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0_u128;
    for place in 0..10 {
        let byte = bytes.next()?;
        value += u128::from(byte % 128) << (7 * place);
        if byte < 128 {
            return u64::try_from(value).ok();
        }
    }
    None
}
