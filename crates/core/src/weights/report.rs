//! What an endpoint's response says of its load.
//!
//! Two forms. A load report of ORCA (`xds.data.orca.v3.OrcaLoadReport`, gRFC A51) tells a rate, a rate of errors and a
//! utilization; what follows from it is a weight, which means something beside those of other endpoints only (gRFC
//! A58). A plain load from 0 to 1 is a factor by itself.
//!
//! Invariants: what comes out is finite and above zero; a report that breaks its form, or of which a number that is used is
//! out of bounds, is none at all. Limits: of the text form only these numbers are kept; the JSON form is not read.

/// Requests or errors a second past which a report is absurd: no instance serves a billion.
const RATE_MAX: f64 = 1e9;

/// Utilization past which a report is absurd: a hundred times of what the endpoint calls full. Some percent above one are
/// usual.
const UTILIZATION_MAX: f64 = 100.0;

/// Utilization below which nothing is said: an endpoint that serves requests with less of its capacity than a ten-thousandth
/// does not measure it, and would draw all of the traffic.
const UTILIZATION_MIN: f64 = 1e-4;

/// The factor of an endpoint that says it is full: it keeps some traffic, so that it can report that it is not.
const LOAD_FACTOR_MIN: f64 = 0.05;

/// Entries of a report in text: the five that are known, and named ones of which an application has some dozens.
const ENTRIES_MAX: usize = 64;

/// The numbers of a load report that weights follow from; zero stands for one that is not said, as in its protobuf form.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LoadMetrics {
    /// What the application calls its utilization.
    pub application_utilization: f64,
    /// Of the processors.
    pub cpu_utilization: f64,
    /// Requests a second.
    pub rps_fractional: f64,
    /// Errors a second.
    pub eps: f64,
}

/// A load report that can be used.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum LoadReport {
    /// Its numbers, all in bounds, rate and utilization above zero.
    Metrics {
        /// Requests a second.
        rate: f64,
        /// Errors a second.
        errors: f64,
        /// Share of the capacity that is used; may be somewhat above one.
        utilization: f64,
    },
    /// A plain load.
    Load(f64),
}

impl LoadReport {
    /// The report with these numbers; `None` where one is out of bounds, or rate or utilization is not said.
    pub fn of(metrics: &LoadMetrics) -> Option<Self> {
        let LoadMetrics { application_utilization, cpu_utilization, rps_fractional: rate, eps: errors } =
            *metrics;
        let is_sound = |value: f64, max: f64| (0.0..=max).contains(&value);
        let all_are =
            [application_utilization, cpu_utilization].iter().all(|n| is_sound(*n, UTILIZATION_MAX))
                && [rate, errors].iter().all(|n| is_sound(*n, RATE_MAX));
        let utilization =
            if application_utilization > 0.0 { application_utilization } else { cpu_utilization };
        let says_both = rate > 0.0 && utilization >= UTILIZATION_MIN;
        (all_are && says_both).then_some(Self::Metrics { rate, errors, utilization })
    }

    /// Reads the text form of `endpoint-load-metrics`: `TEXT ` and `name=value` or `name:value`, with commas between.
    /// The word in front may be missing, as in older versions of the form; another word there is another form.
    pub fn parse_text(value: &[u8]) -> Option<Self> {
        const FORM: &str = "TEXT ";
        let text = std::str::from_utf8(value).ok()?;
        let entries = match text.split_at_checked(FORM.len()) {
            Some((form, entries)) if form.eq_ignore_ascii_case(FORM) => entries,
            _ => text,
        };
        let mut said: [Option<f64>; 4] = [None; 4];
        for (place, entry) in entries.split(',').enumerate() {
            let at = entry.find(['=', ':'])?;
            let (name, number) = (entry[..at].trim(), entry[at + 1..].trim().parse::<f64>().ok()?);
            if place >= ENTRIES_MAX || name.is_empty() || name.contains(' ') || !number.is_finite() {
                return None;
            }
            let known = match name {
                "application_utilization" => 0,
                "cpu_utilization" => 1,
                "rps_fractional" => 2,
                "eps" => 3,
                _ => continue,
            };
            // Which of two would be meant is not known.
            if said[known].replace(number).is_some() {
                return None;
            }
        }
        let [application_utilization, cpu_utilization, rps_fractional, eps] =
            said.map(Option::unwrap_or_default);
        Self::of(&LoadMetrics { application_utilization, cpu_utilization, rps_fractional, eps })
    }

    /// Reads the value of `x-load`: a number from 0, idle, to 1, full.
    pub fn parse_load(value: &[u8]) -> Option<Self> {
        let load = std::str::from_utf8(value).ok()?.parse::<f64>().ok()?;
        (0.0..=1.0).contains(&load).then_some(Self::Load(load))
    }

    /// What it says of the endpoint's weight, an error counting as `error_penalty` of a request's work.
    pub(crate) fn reading(self, error_penalty: f32) -> Option<Reading> {
        let reading = match self {
            Self::Metrics { rate, errors, utilization } => {
                Reading::Weight((rate / (utilization + errors / rate * f64::from(error_penalty))) as f32)
            }
            Self::Load(load) => Reading::Factor((1.0 - load).clamp(LOAD_FACTOR_MIN, 1.0) as f32),
        };
        let (Reading::Weight(number) | Reading::Factor(number)) = reading;
        (number.is_finite() && number > 0.0).then_some(reading)
    }
}

/// What is known of an endpoint's weight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Reading {
    /// Means something beside the others' only.
    Weight(f32),
    /// Of the configured weight.
    Factor(f32),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: &str) -> Option<LoadReport> {
        LoadReport::parse_text(value.as_bytes())
    }

    fn metrics(rate: f64, errors: f64, utilization: f64) -> LoadReport {
        LoadReport::Metrics { rate, errors, utilization }
    }

    #[test]
    fn the_text_form_is_read_with_either_sign_and_with_or_without_its_word() {
        for value in [
            "TEXT cpu_utilization=0.3, mem_utilization=0.8, rps_fractional=10.0, eps=1, named_metrics.x=-4",
            "cpu_utilization:0.3,rps_fractional:10,eps:1e0",
            "text  eps = 1 , rps_fractional = 10 ,cpu_utilization=.3",
        ] {
            assert_eq!(text(value), Some(metrics(10.0, 1.0, 0.3)), "{value}");
        }
        let both = "TEXT application_utilization=1.2,cpu_utilization=0.3,rps_fractional=5";
        assert_eq!(text(both), Some(metrics(5.0, 0.0, 1.2)));
    }

    #[test]
    fn a_report_that_breaks_its_form_or_the_bounds_is_none() {
        for value in [
            "",
            "TEXT ",
            "TEXT rps_fractional=10",
            "TEXT cpu_utilization=0.3",
            "TEXT cpu_utilization=0.3,rps_fractional=0",
            "TEXT cpu_utilization=0,rps_fractional=10",
            "TEXT cpu_utilization=0.00001,rps_fractional=10",
            "TEXT cpu_utilization=NaN,rps_fractional=10",
            "TEXT cpu_utilization=0.3,rps_fractional=inf",
            "TEXT cpu_utilization=-0.3,rps_fractional=10",
            "TEXT cpu_utilization=0.3,rps_fractional=-10",
            "TEXT cpu_utilization=0.3,rps_fractional=10,eps=-1",
            "TEXT cpu_utilization=101,rps_fractional=10",
            "TEXT cpu_utilization=0.3,rps_fractional=1.1e9",
            "TEXT cpu_utilization=0.3,application_utilization=-1,rps_fractional=10",
            "TEXT cpu_utilization=0.3,rps_fractional=10,rps_fractional=10",
            "TEXT cpu_utilization=0.3,rps_fractional=10,",
            "TEXT cpu_utilization=0.3,rps_fractional=10,named_metrics.x=NaN",
            "TEXT cpu_utilization,rps_fractional=10",
            "TEXT cpu_utilization=0.3 rps_fractional=10",
            "JSON {\"cpu_utilization\": 0.3, \"rps_fractional\": 10}",
            "BIN CTMzMzMzM9M/",
            "\u{661}",
        ] {
            assert_eq!(text(value), None, "{value}");
        }
        let many = format!("cpu_utilization=0.3,rps_fractional=10{}", ",a=1".repeat(ENTRIES_MAX));
        assert_eq!(text(&many), None);
        assert_eq!(LoadReport::parse_text(b"\xff=1"), None);
    }

    #[test]
    fn a_plain_load_is_the_factor_of_what_is_left_and_never_nothing() {
        for (value, factor) in [("0", 1.0), ("0.42", 0.58), ("0.95", 0.05), ("1", 0.05), ("1.0", 0.05)] {
            let report = LoadReport::parse_load(value.as_bytes());
            let reading = report.and_then(|report| report.reading(1.0));
            assert!(
                matches!(reading, Some(Reading::Factor(got)) if (got - factor).abs() < 1e-6),
                "{value}: {reading:?}"
            );
        }
        for value in ["", "-0.1", "1.1", "NaN", "inf", "42%", "0,5", "load"] {
            assert_eq!(LoadReport::parse_load(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn errors_count_as_work_by_their_share_of_the_requests() {
        let weight = |errors: f64, penalty: f32| {
            let report = LoadReport::Metrics { rate: 100.0, errors, utilization: 0.5 };
            report.reading(penalty)
        };
        assert_eq!(weight(0.0, 1.0), Some(Reading::Weight(200.0)));
        assert_eq!(weight(50.0, 1.0), Some(Reading::Weight(100.0)));
        assert_eq!(weight(50.0, 0.0), Some(Reading::Weight(200.0)));
        assert_eq!(weight(50.0, 3.0), Some(Reading::Weight(50.0)));
    }

    proptest! {
        #[test]
        fn whatever_comes_a_reading_is_finite_and_above_zero(
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "(TEXT )?((cpu_utilization|eps|rps_fractional|application_utilization)[=:][-+.0-9eInfNa]{1,12},?){1,5}"
                    .prop_map(String::into_bytes),
            ],
            penalty in 0.0_f32..100.0,
        ) {
            for report in [LoadReport::parse_text(&value), LoadReport::parse_load(&value)].into_iter().flatten() {
                let reading = report.reading(penalty);
                if let Some(Reading::Weight(number) | Reading::Factor(number)) = reading {
                    prop_assert!(number.is_finite() && number > 0.0);
                }
            }
        }

        #[test]
        fn numbers_in_bounds_survive_and_others_do_not(
            application: f64, cpu in 0.0..200.0_f64, rate in -10.0..2e9_f64, eps: f64,
        ) {
            let given = LoadMetrics { application_utilization: application, cpu_utilization: cpu, rps_fractional: rate, eps };
            let sound = |n: f64, max: f64| n >= 0.0 && n <= max;
            let used = if application > 0.0 { application } else { cpu };
            let expected = sound(application, 100.0) && sound(cpu, 100.0) && sound(rate, 1e9) && sound(eps, 1e9)
                && rate > 0.0 && used >= 1e-4;
            prop_assert_eq!(LoadReport::of(&given).is_some(), expected);
        }
    }
}
