//! How the priorities of a service share its requests: Envoy's formula, in its integers.
//!
//! ```text
//! health(P) = min(100, 140 * healthy / endpoints)         rounded down, as is every division here
//! sum       = min(100, all healths)
//! load(P)   = min(what is left, 100 * health(P) / sum)    what is left at the end goes to the first with a health
//! panic(P)  = sum < 100 and healthy share < min_healthy_percent
//! all panic : load(P) = 100 * endpoints(P) / all of them  what is left goes to the first
//! ```
//!
//! So a priority carries its whole load while 72 of 100 are healthy, and spills what it cannot carry to the next; and
//! health is ignored only where all of them together could not carry the load. Source: Envoy,
//! `source/extensions/load_balancing_policies/common/load_balancer_impl.cc`, and the pages "Priority levels" and "Panic
//! threshold". Invariants: the loads of a service with an endpoint sum to 100; where none is healthy every priority is in
//! panic, also with a share of zero. Limit: endpoints are counted, whatever their weights; there is no degraded state.

/// A priority is sized to lose some of its endpoints: with this many percent of the healthy ones it is whole. Envoy's
/// default.
const OVERPROVISIONING_PERCENT: usize = 140;

/// Endpoints of one priority that count, and how many of them are not unhealthy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    /// Above zero.
    pub(super) n: usize,
    pub(super) n_healthy: usize,
}

impl Census {
    /// The share of its load that it can carry, in percent.
    fn health(self) -> usize {
        (OVERPROVISIONING_PERCENT * self.n_healthy / self.n).min(100)
    }
}

/// What a priority gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Share {
    /// Percent of the requests.
    pub(super) load: u8,
    /// Too few are healthy to believe it.
    pub(super) in_panic: bool,
}

/// The share of each priority, lowest first, none without endpoints.
pub(super) fn shares(levels: &[Census], min_healthy_percent: u8) -> Vec<Share> {
    let healths: Vec<usize> = levels.iter().map(|level| level.health()).collect();
    let sum = healths.iter().sum::<usize>().min(100);
    let nobody = levels.iter().all(|level| level.n_healthy == 0);
    let is_scarce = |level: &Census| level.n_healthy * 100 < level.n * usize::from(min_healthy_percent);
    let panics: Vec<bool> = levels.iter().map(|level| sum < 100 && (nobody || is_scarce(level))).collect();
    let loads = if panics.iter().all(|in_panic| *in_panic) {
        let all = levels.iter().map(|level| level.n).sum::<usize>();
        divide(levels.iter().map(|level| 100 * level.n / all), Some(0))
    } else {
        // Of many endpoints so few may be healthy that no priority has a health.
        let first = healths.iter().position(|health| *health > 0);
        let first = first.or_else(|| levels.iter().position(|level| level.n_healthy > 0));
        divide(healths.iter().map(|health| (100 * health).checked_div(sum).unwrap_or(0)), first)
    };
    loads.into_iter().zip(panics).map(|(load, in_panic)| Share { load, in_panic }).collect()
}

/// A hundred percent by these wishes, lowest first; `rest` gets what nobody wished.
fn divide(wishes: impl Iterator<Item = usize>, rest: Option<usize>) -> Vec<u8> {
    let mut left = 100;
    let take = |wish: usize| {
        let load = wish.min(left);
        left -= load;
        load as u8
    };
    let mut loads: Vec<u8> = wishes.map(take).collect();
    if let Some(load) = rest.and_then(|place| loads.get_mut(place)) {
        *load += left as u8;
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Priorities of a hundred endpoints with these healthy.
    fn of(healthy: &[usize], min_healthy_percent: u8) -> Vec<Share> {
        let levels: Vec<_> =
            healthy.iter().map(|n_healthy| Census { n: 100, n_healthy: *n_healthy }).collect();
        shares(&levels, min_healthy_percent)
    }

    fn loads(shares: &[Share]) -> Vec<u8> {
        shares.iter().map(|share| share.load).collect()
    }

    fn panics(shares: &[Share]) -> Vec<bool> {
        shares.iter().map(|share| share.in_panic).collect()
    }

    #[test]
    fn the_rows_of_envoy_s_page_on_priorities_come_out() {
        for (healthy, expected) in [
            (&[100, 100][..], &[100, 0][..]),
            (&[72, 100], &[100, 0]),
            (&[71, 100], &[99, 1]),
            (&[50, 100], &[70, 30]),
            (&[25, 100], &[35, 65]),
            (&[0, 100], &[0, 100]),
            (&[25, 25], &[50, 50]),
            (&[25, 25, 100], &[35, 35, 30]),
            // The page says 36, 36 and 28, its code puts all of the rest on the first.
            (&[25, 25, 20], &[37, 35, 28]),
            // The page says 7 and 93.
            (&[5, 65], &[8, 92]),
            // On the page about panic, with 50/50 and 25/75, which contradict the formula.
            (&[50, 60], &[70, 30]),
        ] {
            // A threshold of zero keeps panic out of the table.
            assert_eq!(loads(&of(healthy, 0)), expected, "{healthy:?}");
        }
    }

    #[test]
    fn a_priority_is_in_panic_only_where_all_together_are_too_few() {
        for (healthy, expected) in [
            (&[72, 72][..], &[false, false][..]),
            (&[25, 100], &[false, false]),
            (&[25, 25], &[true, true]),
            (&[5, 65], &[true, false]),
            (&[0, 100], &[false, false]),
            (&[50, 0], &[false, true]),
            (&[49], &[true]),
            (&[50], &[false]),
        ] {
            assert_eq!(panics(&of(healthy, 50)), expected, "{healthy:?}");
        }
    }

    #[test]
    fn where_all_are_in_panic_the_load_follows_the_endpoints() {
        let level = |n, n_healthy| Census { n, n_healthy };
        assert_eq!(loads(&shares(&[level(100, 25), level(100, 25)], 50)), [50, 50]);
        assert_eq!(loads(&shares(&[level(6, 1), level(1, 0)], 20)), [86, 14], "85 and 14, and the one left");
        assert_eq!(loads(&shares(&[level(1, 0), level(2, 0)], 0)), [34, 66]);
    }

    #[test]
    fn none_healthy_is_panic_whatever_the_share_and_one_in_many_is_none_at_zero() {
        assert_eq!(of(&[0], 0), [Share { load: 100, in_panic: true }]);
        let few = [Census { n: 1_000, n_healthy: 0 }, Census { n: 1_000, n_healthy: 1 }];
        assert_eq!(loads(&shares(&few, 0)), [0, 100]);
        assert_eq!(panics(&shares(&few, 0)), [false, false]);
        assert!(shares(&[], 20).is_empty());
    }

    proptest! {
        #[test]
        fn loads_sum_to_a_hundred_and_go_to_whoever_can_take_them(
            levels in prop::collection::vec((1_usize..2_000, 0_usize..2_000), 1..6), percent in 0_u8..=100,
        ) {
            let levels: Vec<_> =
                levels.into_iter().map(|(n, healthy)| Census { n, n_healthy: healthy.min(n) }).collect();
            let shares = shares(&levels, percent);
            prop_assert_eq!(shares.iter().map(|share| u32::from(share.load)).sum::<u32>(), 100);
            for (level, share) in levels.iter().zip(&shares) {
                prop_assert!(share.load == 0 || level.n_healthy > 0 || share.in_panic, "{:?}", shares);
            }
            let sound = levels.iter().position(|level| level.health() == 100);
            if let Some(sound) = sound {
                prop_assert!(shares[sound + 1..].iter().all(|share| share.load == 0), "a sound one spills nothing");
                prop_assert!(shares.iter().all(|share| !share.in_panic));
            }
        }
    }
}
