//! Durations and sizes as people write them: `"250ms"`, `"5s"`, `"64KiB"`.
//!
//! Invariants: a number is whole and has exactly one unit; what [`format_duration`] and [`format_size`] write parses
//! back to the same value (durations: to the millisecond). An error says how the same amount is written here.

use std::time::Duration;

/// Milliseconds per unit, longest first, for writing.
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes per unit, largest first, for writing.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Why a duration or a size was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct UnitError {
    /// What is wrong with the text.
    pub problem: String,
    /// The same amount in a form that is understood, where one can be guessed.
    pub suggestion: Option<String>,
}

/// Reads `"250ms"`, `"5s"`, `"1m"` or `"1h"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text);
    let scale = DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let (Some(scale), Some(number)) = (scale, number) else {
        return Err(duration_error(text));
    };
    number.checked_mul(scale).map(Duration::from_millis).ok_or_else(|| UnitError {
        problem: "this is longer than can be counted".to_owned(),
        suggestion: None,
    })
}

/// Writes a duration with the longest unit that divides it; parts of a millisecond are cut off.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let (unit, scale) = largest_divisor(&DURATION_UNITS, millis);
    format!("{}{unit}", millis / scale)
}

/// Reads `"512B"`, `"64KiB"`, `"1MiB"`, `"1GiB"` or a plain number of bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" => Some(1),
        unit => SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale),
    };
    let (Some(scale), Some(number)) = (scale, number) else {
        return Err(size_error(number, unit));
    };
    number
        .checked_mul(scale)
        .ok_or_else(|| UnitError { problem: "this is more than can be counted".to_owned(), suggestion: None })
}

/// Writes a size with the largest unit that divides it; zero is `0`.
pub fn format_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    let (unit, scale) = largest_divisor(&SIZE_UNITS, bytes);
    format!("{}{unit}", bytes / scale)
}

fn largest_divisor(units: &[(&'static str, u64)], amount: u64) -> (&'static str, u64) {
    units.iter().copied().find(|(_, scale)| amount.is_multiple_of(*scale)).unwrap_or(("", 1))
}

/// Leading digits and the rest; `None` for no digits or too many.
fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

fn duration_error(text: &str) -> UnitError {
    let (number, unit) = split(text);
    let problem = match (number, unit) {
        (Some(_), "") => "a duration needs a unit: ms, s, m or h",
        _ => "a duration is a whole number and one unit: ms, s, m or h",
    };
    let suggestion = match (number, unit) {
        (Some(number), "") => Some(format!("{number}s")),
        _ => lenient_millis(text).map(|millis| format_duration(Duration::from_millis(millis))),
    };
    let suggestion = suggestion.filter(|suggestion| parse_duration(suggestion).is_ok());
    UnitError { problem: problem.to_owned(), suggestion }
}

/// Understands what is not accepted (`1.5s`, `1h30m`, `2 min`, `1d`), only to say how it is written.
fn lenient_millis(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let scale = match rest[..end].to_ascii_lowercase().as_str() {
            "ms" | "msec" | "millis" | "milliseconds" | "millisecond" => 1.0,
            "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
            "m" | "min" | "mins" | "minute" | "minutes" => 6e4,
            "h" | "hr" | "hour" | "hours" => 3.6e6,
            "d" | "day" | "days" => 8.64e7,
            _ => return None,
        };
        total += number * scale;
        rest = rest[end..].trim_start();
    }
    // Past a century the guess is no help, and the cast below stays exact.
    ((1.0..3.2e12).contains(&total) && total.fract() == 0.0).then_some(total as u64)
}

fn size_error(number: Option<u64>, unit: &str) -> UnitError {
    let problem = "a size is a whole number and one unit: B, KiB, MiB or GiB";
    let known = match unit.trim().to_ascii_lowercase().as_str() {
        "b" | "bytes" | "byte" => Some("B"),
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        _ => None,
    };
    let suggestion = number.zip(known).map(|(number, unit)| format!("{number}{unit}"));
    let suggestion = suggestion.filter(|suggestion| parse_size(suggestion).is_ok());
    UnitError { problem: problem.to_owned(), suggestion }
}
