//! Sudden losses that are only inferred: kept for a while, because the source is likelier wrong than the fleet.
//!
//! A DNS server that restarts, or answers from half a zone, names fewer addresses than there are. So an answer that
//! drops more than a share of a name's endpoints drops them only after a grace time, or at the next answer where checks
//! agree that the endpoint is dead. What a configuration or an operator removes is a statement and goes at once: a name
//! that is written no more has no endpoint left in the new set, which is how it is told apart (an empty answer never
//! gets here).
//!
//! Invariant: an endpoint is held at most [`LOSS_GRACE`] from the answer that first lacked it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Found, SourceSet};
use crate::Instant;

/// Losses up to this share of a name's endpoints are believed at once, in percent: scaling down by half is common, by
/// more in one step is rare.
pub const LOSS_PERCENT_MAX: usize = 50;

/// How long a larger loss is held: longer than a DNS server takes to restart, short enough that a fleet that did
/// shrink is not searched for dead addresses for long (failed connections go elsewhere meanwhile).
pub const LOSS_GRACE: Duration = Duration::from_mins(1);

/// The endpoints that are kept although their source lacks them.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Until when, by source and id.
    held: BTreeMap<(Arc<str>, Arc<str>), Instant>,
}

/// Sets with what is held put back, and whom that concerns for the first time.
pub(super) struct Held {
    pub(super) sources: Vec<SourceSet>,
    pub(super) newly: Vec<Arc<str>>,
}

impl Losses {
    /// Compares new sets with those before; `agreed` tells whether checks find an endpoint dead.
    pub(super) fn hold(
        &mut self,
        before: &[SourceSet],
        mut sources: Vec<SourceSet>,
        agreed: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Held {
        let mut still = BTreeMap::new();
        let mut newly = Vec::new();
        for source in &mut sources {
            let Some(old) = before.iter().find(|old| old.name == source.name) else { continue };
            for lost in lost_by_name(old, source) {
                for found in lost {
                    let key = (source.name.clone(), found.endpoint.id.clone());
                    let until = self.held.get(&key).copied();
                    if agreed(&found.endpoint.id) || until.is_some_and(|until| until <= now) {
                        continue;
                    }
                    if until.is_none() {
                        newly.push(key.1.clone());
                    }
                    still.insert(key, until.unwrap_or(now.after(LOSS_GRACE)));
                    source.found.push(found);
                }
            }
        }
        self.held = still;
        Held { sources, newly }
    }

    /// Takes out what was held long enough; true when there was something.
    pub(super) fn release(&mut self, sources: &mut [SourceSet], now: Instant) -> bool {
        let over: BTreeSet<_> =
            self.held.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        for source in sources {
            let name = source.name.clone();
            source.found.retain(|found| !over.contains(&(name.clone(), found.endpoint.id.clone())));
        }
        self.held.retain(|key, _| !over.contains(key));
        !over.is_empty()
    }

    /// When the next one was held long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }
}

/// The endpoints that the new set lacks, by name, of the names whose loss is too large to be believed at once.
fn lost_by_name(old: &SourceSet, new: &SourceSet) -> Vec<Vec<Found>> {
    let present: BTreeSet<&str> = new.found.iter().map(|found| &*found.endpoint.id).collect();
    let named: BTreeSet<&str> = new.found.iter().filter_map(|found| found.inferred.as_deref()).collect();
    let mut groups: BTreeMap<&str, (usize, Vec<Found>)> = BTreeMap::new();
    for found in &old.found {
        let Some(name) = found.inferred.as_deref().filter(|name| named.contains(name)) else { continue };
        let (n, lost) = groups.entry(name).or_default();
        *n += 1;
        if !present.contains(&*found.endpoint.id) {
            lost.push(found.clone());
        }
    }
    let too_large = |(n, lost): &(usize, Vec<Found>)| lost.len() * 100 > n * LOSS_PERCENT_MAX;
    groups.into_values().filter(too_large).map(|(_, lost)| lost).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Address, Endpoint};

    fn set(ids: &[&str], name: Option<&str>) -> Vec<SourceSet> {
        let found = ids.iter().map(|id| Found {
            endpoint: Endpoint {
                id: (*id).into(),
                address: Address::Tcp("127.0.0.1:1".parse().unwrap()),
                weight: 1,
                priority: 0,
                zone: None,
                host: None,
                hash_key: None,
                metadata: BTreeMap::new(),
            },
            inferred: name.map(Into::into),
        });
        vec![SourceSet { name: "names".into(), found: found.collect() }]
    }

    fn ids(sources: &[SourceSet]) -> Vec<&str> {
        sources[0].found.iter().map(|found| &*found.endpoint.id).collect()
    }

    #[test]
    fn half_of_a_name_may_go_at_once_and_more_is_held_for_the_grace() {
        let mut losses = Losses::default();
        let four = set(&["a", "b", "c", "d"], Some("web"));
        let two = losses.hold(&four, set(&["a", "b"], Some("web")), |_| false, Instant(0));
        assert_eq!(ids(&two.sources), ["a", "b"]);
        let mut one = losses.hold(&four, set(&["a"], Some("web")), |_| false, Instant(0));
        assert_eq!((ids(&one.sources), one.newly.len()), (vec!["a", "b", "c", "d"], 3));
        let again = losses.hold(&one.sources, set(&["a"], Some("web")), |_| false, Instant(5));
        assert!(again.newly.is_empty(), "told twice");
        let over = Instant(0).after(LOSS_GRACE);
        assert_eq!(losses.poll_timeout(), Some(over), "a later answer must not put the end off");
        assert!(losses.release(&mut one.sources, over));
        assert_eq!((ids(&one.sources), losses.poll_timeout()), (vec!["a"], None));
    }

    #[test]
    fn checks_that_agree_end_the_hold() {
        let mut losses = Losses::default();
        let held =
            losses.hold(&set(&["a", "b", "c"], Some("web")), set(&["a"], Some("web")), |_| false, Instant(0));
        let next = losses.hold(&held.sources, set(&["a"], Some("web")), |id| id == "b", Instant(1));
        assert_eq!(ids(&next.sources), ["a", "c"]);
    }

    #[test]
    fn what_comes_back_is_held_no_more() {
        let mut losses = Losses::default();
        let three = set(&["a", "b", "c"], Some("web"));
        let held = losses.hold(&three, set(&["a"], Some("web")), |_| false, Instant(0));
        let back = losses.hold(&held.sources, three.clone(), |_| false, Instant(1));
        assert_eq!((ids(&back.sources), losses.poll_timeout()), (vec!["a", "b", "c"], None));
    }

    #[test]
    fn statements_apply_at_once() {
        let mut losses = Losses::default();
        let literal = losses.hold(&set(&["a", "b", "c"], None), set(&["a"], None), |_| false, Instant(0));
        assert_eq!(ids(&literal.sources), ["a"]);
        let unwritten =
            losses.hold(&set(&["a", "b"], Some("web")), set(&["z"], Some("other")), |_| false, Instant(0));
        assert_eq!(ids(&unwritten.sources), ["z"]);
        let no_source = losses.hold(&set(&["a", "b"], Some("web")), Vec::new(), |_| false, Instant(0));
        assert!(no_source.sources.is_empty());
    }
}
