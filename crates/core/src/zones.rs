//! Zones: as much as possible within the proxy's own, without more load for its endpoints than others have.
//!
//! ```text
//! capacity(Z) = 10000 * weight of the eligible endpoints of Z / weight of all of them
//! callers(Z)  = 10000 * proxies of Z / all proxies
//! own zone    : all where capacity >= callers, else 10000 * capacity / callers of 10000
//! the others  : share the rest by max(0, capacity - callers)
//! ```
//!
//! Source: Envoy's zone-aware routing, `regenerateLocalityRoutingStructures` and `tryChooseLocalLocalityHosts` in
//! `source/extensions/load_balancing_policies/common/load_balancer_impl.cc`; its basis is ours where weights are equal.
//! Invariant: if every proxy does the same, each zone gets its capacity to within the rounding. Limits: where the proxies
//! are is told by the configuration, or they are taken to be as many in each zone that an endpoint of the level names;
//! endpoints without a zone are a zone without proxies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::draw::scale;
use crate::placement::mix;
use crate::policy::Candidate;
use crate::{Draw, EndpointState, Member};

/// Shares are counted in hundredths of a percent, as Envoy does.
const WHOLE: u64 = 10_000;

/// How a service prefers endpoints of the proxy's zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneAware {
    /// The proxy's own.
    pub zone: Arc<str>,
    /// A priority with fewer eligible endpoints than this is used without regard to zones.
    pub min_endpoints: usize,
    /// Proxies by zone, where that is known; empty: as many in each.
    pub proxies: BTreeMap<Arc<str>, u32>,
}

impl ZoneAware {
    /// What each of these zones has of all proxies, of [`WHOLE`].
    fn callers<'a>(&'a self, zones: &BTreeSet<Option<&'a str>>) -> BTreeMap<Option<&'a str>, u64> {
        if self.proxies.is_empty() {
            let named = || zones.iter().copied().flatten();
            let n = named().count() as u64;
            return named().map(|zone| (Some(zone), WHOLE / n)).collect();
        }
        let sum: u64 = self.proxies.values().copied().map(u64::from).sum();
        let share = |n: u32| (WHOLE * u64::from(n)).checked_div(sum).unwrap_or(0);
        self.proxies.iter().map(|(zone, n)| (Some(&**zone), share(*n))).collect()
    }
}

/// The candidates of a level by zone, and what each zone gets.
pub(crate) struct Zoned {
    /// The own zone first.
    pub(crate) zones: Vec<(Option<Arc<str>>, Vec<Candidate>)>,
    pub(crate) shares: ZoneShares,
}

impl Zoned {
    /// Divides the eligible `candidates` of one priority, of which `all` are members; `None` where zones do not count: too
    /// few endpoints, health is ignored, none in the own zone, or none elsewhere.
    pub(crate) fn divide<'a>(
        aware: &ZoneAware,
        all: impl Iterator<Item = &'a Member>,
        members: &[Member],
        candidates: &[Candidate],
    ) -> Option<Self> {
        let member = |candidate: &Candidate| &members[candidate.index.0 as usize];
        let ignores_health = || candidates.iter().any(|of| member(of).state == EndpointState::Unhealthy);
        if candidates.len() < aware.min_endpoints || ignores_health() {
            return None;
        }
        let mut by_zone: BTreeMap<Option<Arc<str>>, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            by_zone.entry(member(candidate).endpoint.zone.clone()).or_default().push(*candidate);
        }
        let own = Some(aware.zone.clone());
        let mine = by_zone.remove(&own)?;
        if by_zone.is_empty() {
            return None;
        }
        let zones: Vec<_> = std::iter::once((own, mine)).chain(by_zone).collect();
        // A zone whose endpoints are all dead still has its proxies.
        let names: BTreeSet<Option<&str>> = all.map(|member| member.endpoint.zone.as_deref()).collect();
        let callers = aware.callers(&names);
        let facts: Vec<(u64, u64)> = zones
            .iter()
            .map(|(zone, of_zone)| {
                let weight = of_zone.iter().map(|candidate| u64::from(candidate.weight)).sum();
                (weight, callers.get(&zone.as_deref()).copied().unwrap_or(0))
            })
            .collect();
        Some(Self { zones, shares: ZoneShares::new(&facts) })
    }
}

/// How a proxy's requests are spread over zones, its own being the first.
#[derive(Debug)]
pub(crate) struct ZoneShares {
    /// Of [`WHOLE`].
    own: u64,
    /// Where each other zone's stretch of what is left over ends.
    ends: Box<[u64]>,
}

impl ZoneShares {
    /// From the weight and the share of the proxies of each zone.
    fn new(facts: &[(u64, u64)]) -> Self {
        let sum: u64 = facts.iter().map(|(weight, _)| *weight).sum();
        let capacity = |weight: u64| (WHOLE * weight).checked_div(sum).unwrap_or(0);
        let (own, callers) = (capacity(facts[0].0), facts[0].1);
        let own = if own >= callers { WHOLE } else { WHOLE * own / callers };
        let mut end = 0;
        let ends = facts[1..].iter().map(|(weight, callers)| {
            end += capacity(*weight).saturating_sub(*callers);
            end
        });
        Self { own, ends: ends.collect() }
    }

    /// The place of the zone for one pick; a key keeps its zone.
    pub(crate) fn draw(&self, key: Option<u64>, draw: &mut Draw) -> usize {
        // Mixed, since the key itself decides on the priority and, within the zone, on the endpoint.
        let bits = key.map_or_else(|| draw.next_u64(), mix);
        if bits % WHOLE < self.own {
            return 0;
        }
        let bits = mix(bits);
        match self.ends.last().copied() {
            // Envoy: any zone, where nobody has anything left.
            None | Some(0) => scale(bits, 1 + self.ends.len() as u64) as usize,
            Some(sum) => {
                let at = scale(bits, sum);
                1 + self.ends.partition_point(|end| *end <= at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a proxy of the zone at `own` sends to each zone, of one.
    fn sent(shares: &ZoneShares, own: usize) -> Vec<f64> {
        let left = (WHOLE - shares.own) as f64 / WHOLE as f64;
        let sum = shares.ends.last().copied().unwrap_or(0);
        let mut start = 0;
        let mut of_others = shares.ends.iter().map(|end| {
            let width = end - start;
            start = *end;
            if sum == 0 { 0.0 } else { left * width as f64 / sum as f64 }
        });
        let others: Vec<f64> = of_others.by_ref().collect();
        let mut all = others[..own].to_vec();
        all.push(shares.own as f64 / WHOLE as f64);
        all.extend(&others[own..]);
        all
    }

    /// Own zone first, the others in their order.
    fn seen_from(own: usize, facts: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let others = facts.iter().enumerate().filter(|(place, _)| *place != own).map(|(_, fact)| *fact);
        std::iter::once(facts[own]).chain(others).collect()
    }

    #[test]
    fn the_shares_are_envoy_s() {
        // Worked by the formula: a zone with half of the endpoints and a third of the proxies keeps its own; a zone with a
        // quarter keeps three quarters of its requests and sends the rest to whoever has something left.
        let facts = [(50, 3333), (25, 3333), (25, 3333)];
        let big = ZoneShares::new(&facts);
        assert_eq!((big.own, &*big.ends), (10_000, &[0, 0][..]));
        let small = ZoneShares::new(&seen_from(1, &facts));
        assert_eq!((small.own, &*small.ends), (7_500, &[1667, 1667][..]));
        // Two zones alike: all stays.
        let even = ZoneShares::new(&[(3, 5000), (3, 5000)]);
        assert_eq!((even.own, &*even.ends), (10_000, &[0][..]));
        // Endpoints without a zone are spare for everybody.
        let spare = ZoneShares::new(&[(1, 10_000), (3, 0)]);
        assert_eq!((spare.own, &*spare.ends), (2_500, &[7_500][..]));
    }

    #[test]
    fn a_key_keeps_its_zone_and_draws_follow_the_shares() {
        let shares = ZoneShares::new(&[(25, 3333), (50, 3333), (25, 3333)]);
        let (mut draw, mut counts) = (Draw::new(5), [0_i32; 3]);
        for key in 0..40_000_u64 {
            let key = Some(mix(key));
            let zone = shares.draw(key, &mut draw);
            assert_eq!(zone, shares.draw(key, &mut draw));
            counts[zone] += 1;
            counts[shares.draw(None, &mut draw)] += 1;
        }
        // 80,000 draws: the standard deviation of a count is at most 123; 620 is five of them.
        for (count, expected) in counts.iter().zip([60_000, 20_000, 0]) {
            assert!((count - expected).abs() < 620, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn if_every_proxy_does_the_same_each_zone_gets_its_capacity(
            weights in prop::collection::vec(1_u64..1_000, 2..8), proxies in prop::collection::vec(1_u64..50, 8),
        ) {
            let sum: u64 = weights.iter().sum();
            let proxies = &proxies[..weights.len()];
            let all: u64 = proxies.iter().sum();
            let facts: Vec<(u64, u64)> =
                weights.iter().zip(proxies).map(|(weight, n)| (*weight, WHOLE * n / all)).collect();
            let mut got = vec![0.0; weights.len()];
            for (own, n) in proxies.iter().enumerate() {
                let shares = ZoneShares::new(&seen_from(own, &facts));
                for (zone, share) in sent(&shares, own).into_iter().enumerate() {
                    got[zone] += share * *n as f64 / all as f64;
                }
            }
            // Shares are cut to a ten-thousandth each: of eight zones a few of them are off.
            for (got, weight) in got.iter().zip(&weights) {
                let capacity = *weight as f64 / sum as f64;
                prop_assert!((got - capacity).abs() < 0.01, "{got} of {capacity}");
            }
        }

        #[test]
        fn a_draw_is_a_zone(facts in prop::collection::vec((0_u64..5, 0_u64..=WHOLE), 1..6), key: Option<u64>, seed: u64) {
            let shares = ZoneShares::new(&facts);
            prop_assert!(shares.draw(key, &mut Draw::new(seed)) < facts.len());
        }
    }
}
