//! Laws of factors and weights; those over time are in the tests of the crate.

use super::*;
use proptest::prelude::*;

fn weigher(source: WeightSource) -> Weigher {
    Weigher::new(WeightSettings { source, ..WeightSettings::default() })
}

fn factors(readings: &[Option<Reading>]) -> Vec<f64> {
    relative(readings).collect()
}

#[test]
fn weights_count_by_their_mean_and_who_has_none_counts_as_the_mean() {
    let weight = |weight| Some(Reading::Weight(weight));
    assert_eq!(factors(&[weight(1.0), weight(3.0), None]), [0.5, 1.5, 1.0]);
    assert_eq!(factors(&[weight(7.0), None, None]), [1.0; 3]);
    assert_eq!(factors(&[None, None]), [1.0; 2]);
    assert_eq!(factors(&[]), Vec::<f64>::new());
    assert_eq!(factors(&[weight(0.0), weight(0.0)]), [1.0; 2]);
}

#[test]
fn plain_loads_count_as_they_are_beside_weights() {
    let (half, full) = (Some(Reading::Factor(0.5)), Some(Reading::Factor(1.0)));
    assert_eq!(factors(&[half, full, None]), [0.5, 1.0, 0.75]);
    assert_eq!(factors(&[half, Some(Reading::Weight(900.0))]), [0.5, 1.0]);
    assert_eq!(factors(&[half, None]), [1.0, 1.0], "one alone says nothing");
}

#[test]
fn a_weight_is_configured_times_live_and_keeps_zero_and_range() {
    let mut weigher = weigher(WeightSource::Measured);
    assert_eq!(weigher.weight(0, 3, 100), 300);
    assert_eq!(weigher.weight(0, 3, 75), 225);
    assert_eq!(weigher.weight(0, 0, 100), 0);
    assert_eq!(weigher.weight(0, 1, 0), 1);
    assert_eq!(weigher.weight(0, u32::MAX, 1_000), u32::MAX);
    weigher.settings.source = WeightSource::Configured;
    assert_eq!(weigher.weight(0, 3, 75), 3);
}

#[test]
fn only_another_source_or_another_update_plans_the_next_weighing_anew() {
    let second = Duration::from_secs(1);
    let measured = WeightSettings {
        source: WeightSource::Measured,
        update: 10 * second,
        expiry: 60 * second,
        agents: None,
    };
    let mut weigher = Weigher::new(measured);
    weigher.watch_only(&[], Instant(0));
    let planned = weigher.poll_timeout();
    let now = Instant(0).after(3 * second);
    let other_expiry = WeightSettings { expiry: 30 * second, ..measured };
    let with_agents =
        WeightSettings { agents: Some(AgentSettings { port: 1, interval: second }), ..measured };
    for settings in [measured, other_expiry, with_agents] {
        weigher.set_settings(settings, &[], now);
        assert_eq!(weigher.poll_timeout(), planned, "{settings:?}");
    }
    weigher.set_settings(WeightSettings { update: 5 * second, ..measured }, &[], now);
    assert_eq!(weigher.poll_timeout(), Some(now.after(5 * second)));
    let source = WeightSource::Reported { blackout: second, error_penalty_percent: 100 };
    let later = now.after(second);
    weigher.set_settings(WeightSettings { source, update: 5 * second, ..measured }, &[], later);
    assert_eq!(weigher.poll_timeout(), Some(later.after(5 * second)));
    weigher.set_settings(WeightSettings::default(), &[], later);
    assert_eq!(weigher.poll_timeout(), None);
}

proptest! {
    #[test]
    fn factors_are_finite_and_in_the_ratio_of_the_weights(
        weights in prop::collection::vec(prop::option::of(1e-6_f32..1e9), 2..40),
    ) {
        let readings: Vec<_> = weights.iter().map(|weight| weight.map(Reading::Weight)).collect();
        let got = factors(&readings);
        prop_assert!(got.iter().all(|factor| factor.is_finite() && *factor > 0.0));
        let known: Vec<_> = weights.iter().zip(&got).filter_map(|(weight, got)| weight.map(|w| (f64::from(w), got))).collect();
        if known.len() > 1 {
            for pair in known.windows(2) {
                let ratio = (pair[0].0 * pair[1].1) / (pair[1].0 * pair[0].1);
                prop_assert!((ratio - 1.0).abs() < 1e-6, "{ratio}");
            }
        }
    }
}
