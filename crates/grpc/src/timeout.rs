//! The deadline of a call: `grpc-timeout`, one to eight digits and a unit.
//!
//! Invariant: what is written is never longer than what was given, and never zero.

use std::time::Duration;

/// Digits of the number.
const N_DIGITS_MAX: usize = 8;

/// The first number with more digits than there may be.
const TOO_LARGE: u128 = 100_000_000;

/// The units and how many nanoseconds each has, from the finest on.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// How long a `grpc-timeout` of this value gives a call; `None` where it is malformed.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(name, _)| name == unit)?;
    if !(1..=N_DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    Some(Duration::from_nanos(*nanos).saturating_mul(number))
}

/// Appends `timeout` in the finest unit that eight digits are enough for, rounded down: a nanosecond at least, and no
/// more than can be said.
pub fn write_timeout(timeout: Duration, out: &mut Vec<u8>) {
    let nanos = timeout.as_nanos().max(1);
    let fitting = UNITS.iter().find(|(_, unit)| nanos / u128::from(*unit) < TOO_LARGE);
    let (name, number) = match fitting {
        Some((name, unit)) => (*name, nanos / u128::from(*unit)),
        None => (b'H', TOO_LARGE - 1),
    };
    out.extend_from_slice(number.to_string().as_bytes());
    out.push(name);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(timeout: Duration) -> String {
        let mut out = Vec::new();
        write_timeout(timeout, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_unit_is_understood_and_nothing_else() {
        for (value, nanos) in [
            ("1n", 1),
            ("10u", 10_000),
            ("0m", 0),
            ("00000007S", 7_000_000_000),
            ("2M", 120_000_000_000),
            ("99999999H", 99_999_999 * 3_600_000_000_000_u128),
        ] {
            assert_eq!(
                parse_timeout(value.as_bytes()).map(|timeout| timeout.as_nanos()),
                Some(nanos),
                "{value}"
            );
        }
        for value in ["", "S", "1", "1s", "123456789S", "-1S", "+1S", "1.5S", " 1S", "1S ", "1SS", "1 S"] {
            assert_eq!(parse_timeout(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn a_timeout_is_written_in_the_finest_unit_that_has_room() {
        for (timeout, value) in [
            (Duration::ZERO, "1n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(timeout), value);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_but_for_the_rounding(nanos: u64) {
            let timeout = Duration::from_nanos(nanos.max(1));
            let read = parse_timeout(written(timeout).as_bytes());
            prop_assert!(read.is_some_and(|read| read <= timeout && read >= timeout.mul_f64(0.999_99)), "{read:?}");
        }

        #[test]
        fn no_value_panics_and_what_is_accepted_has_the_form(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            if parse_timeout(&value).is_some() {
                prop_assert!((2..=9).contains(&value.len()));
            }
        }
    }
}
