//! What endpoints report of their load in the heads and trailers of their answers.
//!
//! `endpoint-load-metrics` in text (or `BIN ` and base64), `endpoint-load-metrics-bin` as gRPC servers send it, and
//! `x-load`. What was found is left in the endpoint's record; the fields go on to the caller as any others.
//!
//! Invariants: nothing here runs for a service whose weights are not reported; a field that cannot be used changes nothing;
//! a report counts for more than a plain load, and of several fields the first. Nothing is allocated.

use base64ct::{Base64Unpadded, Encoding as _};
use isobar_core::{InFlight, LoadMetrics, LoadReport};
use isobar_grpc::load_report::{MESSAGE_LEN_MAX, METADATA, parse};
use isobar_http1::ResponseHead;

use crate::view::View;

const TEXT: &[u8] = b"endpoint-load-metrics";
const LOAD: &[u8] = b"x-load";

/// Stands before a message in base64 in the field for text.
const BINARY: &[u8] = b"BIN ";

/// Notes what the head of an answer reports.
pub(super) fn note_head(response: &ResponseHead, head: &[u8], guard: &InFlight<View>, error_penalty: f32) {
    let fields = response.fields.iter().map(|field| (field.name.of(head), field.value.of(head)));
    note(fields, guard, error_penalty);
}

/// Notes what its trailers report: complete lines `name: value\r\n`.
pub(super) fn note_trailers(lines: &[u8], guard: &InFlight<View>, error_penalty: f32) {
    let fields = lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    note(fields, guard, error_penalty);
}

fn note<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, guard: &InFlight<View>, error_penalty: f32) {
    if let Some(report) = reported(fields) {
        guard.report(report, error_penalty);
    }
}

fn reported<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<LoadReport> {
    let mut load = None;
    for (name, value) in fields {
        let report = if name.eq_ignore_ascii_case(TEXT) {
            match value.split_at_checked(BINARY.len()) {
                Some((form, text)) if form.eq_ignore_ascii_case(BINARY) => binary(text),
                _ => LoadReport::parse_text(value),
            }
        } else if name.eq_ignore_ascii_case(METADATA.as_bytes()) {
            binary(value)
        } else {
            if load.is_none() && name.eq_ignore_ascii_case(LOAD) {
                load = LoadReport::parse_load(value);
            }
            None
        };
        if report.is_some() {
            return report;
        }
    }
    load
}

/// The report in a message in base64, with or without what fills it up, as gRPC demands of whoever reads it.
fn binary(value: &[u8]) -> Option<LoadReport> {
    let text = value.trim_ascii();
    let unfilled = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut message = [0; MESSAGE_LEN_MAX];
    let said = parse(Base64Unpadded::decode(&text[..unfilled], &mut message).ok()?)?;
    LoadReport::of(&LoadMetrics {
        application_utilization: said.application,
        cpu_utilization: said.cpu,
        rps_fractional: said.rate,
        eps: said.errors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `cpu_utilization` 0.25 and `rps_fractional` 100.
    const MESSAGE: &str = "CQAAAAAAANA/MQAAAAAAAFlA";

    fn of(fields: &[(&str, &str)]) -> Option<LoadReport> {
        reported(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn every_form_is_found_in_any_case_of_its_name() {
        let report = Some(LoadReport::Metrics { rate: 100.0, errors: 0.0, utilization: 0.25 });
        let text = "TEXT cpu_utilization=0.25,rps_fractional=100";
        assert_eq!(of(&[("Endpoint-Load-Metrics", text)]), report);
        assert_eq!(of(&[("endpoint-load-metrics", &format!("BIN {MESSAGE}"))]), report);
        assert_eq!(of(&[("endpoint-load-metrics-bin", MESSAGE)]), report);
        assert_eq!(of(&[("X-Load", "0.5")]), Some(LoadReport::Load(0.5)));
        // Eight bytes more, so that the text does not end with the last byte's six bits.
        assert_eq!(of(&[("endpoint-load-metrics-bin", "CQAAAAAAANA/MQAAAAAAAFlAOQAAAAAAAAAA")]), report);
        assert_eq!(of(&[("endpoint-load-metrics-bin", "CQAAAAAAANA/MQAAAAAAAFlAGAc=")]), report);
        assert_eq!(of(&[("endpoint-load-metrics-bin", "CQAAAAAAANA/MQAAAAAAAFlAGAc")]), report);
    }

    #[test]
    fn a_report_counts_for_more_than_a_load_and_what_cannot_be_used_for_nothing() {
        let text = ("endpoint-load-metrics", "cpu_utilization=0.25,rps_fractional=100");
        let report = Some(LoadReport::Metrics { rate: 100.0, errors: 0.0, utilization: 0.25 });
        assert_eq!(of(&[("x-load", "0.5"), text]), report);
        assert_eq!(of(&[("endpoint-load-metrics", "nonsense"), text]), report);
        assert_eq!(of(&[("x-load", "2"), ("x-load", "0.5")]), Some(LoadReport::Load(0.5)));
        for nothing in ["", "=", "CQAA", "????", "CQAAAAAAANA/MQAAAAAAAFl", &"A".repeat(10_000)] {
            assert_eq!(of(&[("endpoint-load-metrics-bin", nothing)]), None, "{nothing}");
        }
        assert_eq!(of(&[("x-loads", "0.5"), ("server", "0.5")]), None);
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in [TEXT, LOAD, METADATA.as_bytes()] {
                // Whether it can be used or not, it is read to its end.
                let _ = reported([(name, value.as_slice())].into_iter());
            }
        }
    }
}
