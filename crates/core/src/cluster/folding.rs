//! From what sources name and operators changed to members.
//!
//! Invariants: written order stays; an endpoint keeps its live record while its id and address are the same. Where the order
//! is as before, which is nearly always, the cost is that of one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::edit::{Ids, Overlaid};
use super::{ADMIN, Cluster, ClusterEvent, EventKind};
use crate::{Endpoint, EndpointState, Instant, Live, Member};

impl Cluster {
    /// Makes the members from sources and overlay, and tells what changed: in written order, then the removals by id.
    pub(super) fn fold(&mut self, now: Instant) {
        let wanted = self.wanted();
        let before = std::mem::take(&mut self.members);
        // Where the order is as before, which is nearly always, nothing needs to be looked up.
        let n_alike = before
            .iter()
            .zip(&wanted)
            .take_while(|(old, (new, _))| old.endpoint.id == new.endpoint.id)
            .count();
        let mut same = before.len() == n_alike && wanted.len() == n_alike;
        let mut changed = !same;
        let mut before = before.into_iter();
        let mut members = Vec::with_capacity(wanted.len());
        let mut wanted = wanted.into_iter();
        for (old, (overlaid, source)) in before.by_ref().zip(wanted.by_ref()).take(n_alike) {
            let (generation, endpoint) = (old.live.generation(), Arc::clone(&old.endpoint));
            let is_as_before = old.draining == overlaid.draining && old.source == source;
            let member = self.member(Some(old), overlaid, source);
            if member.live.generation() != generation {
                (same, changed) = (false, true);
            } else if !Arc::ptr_eq(&member.endpoint, &endpoint) {
                changed = true;
                self.health.set_endpoint(generation, &member.endpoint);
                self.agents.set_endpoint(generation, &member.endpoint);
            }
            changed |= !is_as_before;
            members.push(member);
        }
        let mut leaving: BTreeMap<Arc<str>, Member> =
            before.map(|member| (member.endpoint.id.clone(), member)).collect();
        for (overlaid, source) in wanted {
            let old = leaving.remove(&overlaid.endpoint.id);
            members.push(self.member(old, overlaid, source));
        }
        for (id, old) in leaving {
            old.live.set_leaving(true);
            self.events.push_back(ClusterEvent::of(&id, EventKind::Removed));
        }
        self.members = members;
        if !same {
            self.health.watch_only(&self.members, now);
            self.agents.watch_only(&self.members, now);
            self.weigher.watch_only(&self.members, now);
        }
        self.judge(changed);
    }

    /// The endpoints that there should be, each with the name of its source; losses by duplication are told.
    fn wanted(&mut self) -> Vec<(Overlaid, Arc<str>)> {
        let mut duplicates = BTreeSet::new();
        let ids = self.sources.iter().flat_map(|source| &source.found).map(|found| &*found.endpoint.id);
        let named: Ids<'_> = ids.collect();
        let n_found = self.sources.iter().map(|source| source.found.len()).sum();
        let mut wanted = Vec::with_capacity(n_found);
        // Ids are told apart one by one only where some are named twice.
        let mut seen = (named.len() < n_found).then(BTreeSet::new);
        self.overlay.keep_named(&named);
        for source in &self.sources {
            for found in &source.found {
                let id = &found.endpoint.id;
                if seen.as_mut().is_some_and(|seen| !seen.insert(id)) {
                    let loss = (id.clone(), source.name.clone());
                    if !self.duplicates.contains(&loss) && !duplicates.contains(&loss) {
                        let reason = format!("named again by {}; only the first is used", source.name);
                        self.events.push_back(ClusterEvent::because(id, EventKind::DuplicateDropped, reason));
                    }
                    duplicates.insert(loss);
                } else if let Some(overlaid) = self.overlay.over(&found.endpoint) {
                    let source = if overlaid.edited { ADMIN.into() } else { source.name.clone() };
                    wanted.push((overlaid, source));
                }
            }
        }
        self.duplicates = duplicates;
        wanted.extend(self.overlay.added(&named).map(|overlaid| (overlaid, ADMIN.into())));
        wanted
    }

    /// The member for a wanted endpoint, made from the old one of its id where there is one.
    fn member(&mut self, old: Option<Member>, wanted: Overlaid, source: Arc<str>) -> Member {
        let id = wanted.endpoint.id.clone();
        let was_draining = old.as_ref().is_some_and(|old| old.draining);
        let mut member = match old {
            Some(mut old) if old.endpoint.address == wanted.endpoint.address => {
                if *old.endpoint != wanted.endpoint {
                    self.events.push_back(ClusterEvent::of(&id, EventKind::Changed));
                    old.endpoint = Arc::new(wanted.endpoint);
                }
                old
            }
            old => {
                let kind = if old.is_some() { EventKind::Readdressed } else { EventKind::Added };
                self.events.push_back(ClusterEvent::of(&id, kind));
                if let Some(old) = old {
                    old.live.set_leaving(true);
                }
                self.join(wanted.endpoint)
            }
        };
        if was_draining != wanted.draining {
            let kind = if wanted.draining { EventKind::Draining } else { EventKind::Undrained };
            self.events.push_back(ClusterEvent::of(&id, kind));
        }
        member.draining = wanted.draining;
        member.source = source;
        member
    }

    fn join(&mut self, endpoint: Endpoint) -> Member {
        let live = Arc::new(Live::new(self.next_generation, self.n_shards, Arc::clone(&self.bell)));
        live.set_alarm(self.alarm_at());
        self.next_generation += 1;
        Member {
            endpoint: Arc::new(endpoint),
            live,
            state: EndpointState::Unknown,
            reason: "".into(),
            source: "".into(),
            draining: false,
            is_eligible: false,
            weight: 0,
        }
    }
}
