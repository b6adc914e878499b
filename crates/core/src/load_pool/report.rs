//! What one endpoint tells of its load, in fields of its answers.
//!
//! Invariant: a number that is no plain decimal, or beyond what can be true, is as if it had not been told: a report that
//! is wrong changes nothing.

use std::time::Duration;

/// Requests in flight that an endpoint may tell of: more is a counter that ran wild.
const IN_FLIGHT_MAX: f32 = 1e6;

/// Latency that it may tell of, in milliseconds: ten minutes, as what takes longer is as bad.
const LATENCY_MAX_MS: f32 = 6e5;

/// Length of a number, in bytes: more digits than the type can hold say nothing more.
const LEN_MAX: usize = 16;

/// What one endpoint told of its load; what it did not tell is taken from what this process sees itself.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ProbeReport {
    /// Requests in flight there, of all callers; finite and not negative.
    pub in_flight: Option<f32>,
    /// How long a request takes there now.
    pub latency: Option<Duration>,
}

impl ProbeReport {
    /// The field of an answer that tells the number of requests in flight.
    pub const IN_FLIGHT: &str = "x-load-rif";
    /// The field of an answer that tells the latency in milliseconds.
    pub const LATENCY_MS: &str = "x-load-latency-ms";

    /// Reads the values of both fields, where they are there.
    pub fn read(in_flight: Option<&[u8]>, latency_ms: Option<&[u8]>) -> Self {
        let millis = latency_ms.and_then(|text| number(text, LATENCY_MAX_MS));
        Self {
            in_flight: in_flight.and_then(|text| number(text, IN_FLIGHT_MAX)),
            latency: millis.map(|millis| Duration::from_secs_f32(millis / 1_000.0)),
        }
    }

    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A plain decimal from zero to `max`.
fn number(text: &[u8], max: f32) -> Option<f32> {
    // The library would also read infinities and exponents.
    let is_plain = text.len() <= LEN_MAX && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let value: f32 = std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()?;
    (value <= max).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_read() {
        let report = ProbeReport::read(Some(b"12"), Some(b"3.5"));
        assert_eq!(report.in_flight, Some(12.0));
        assert_eq!(report.latency, Some(Duration::from_micros(3_500)));
        assert!(ProbeReport::read(None, None).is_empty());
        assert!(!ProbeReport::read(Some(b"0"), None).is_empty());
    }

    #[test]
    fn what_cannot_be_true_is_not_told() {
        let lies: [&[u8]; 12] = [
            b"",
            b".",
            b"-1",
            b"+1",
            b"NaN",
            b"inf",
            b"1e3",
            b"1 ",
            b"0x1",
            b"1000001",
            b"00000000000000001",
            b"\xff",
        ];
        for lie in lies {
            assert_eq!(ProbeReport::read(Some(lie), Some(b"600001")), ProbeReport::default(), "{lie:?}");
        }
    }
}
