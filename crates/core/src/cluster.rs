//! The cluster: our live view of one service, as a pure machine with one owner.
//!
//! Invariants: an endpoint that survives an update, that is one with the same id and address, keeps its live
//! record whatever else changed; a new address under an id is a new generation with a new record; ids are
//! unique and keep their written order. Limits: updates are full sets, folded in O(n log n); a generation is
//! unique within one `Cluster`, so the owner keeps it over reloads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Endpoint, Live, Member, PolicyKind, Snapshot, Ticket};

/// What an update did to one endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClusterEvent {
    /// An id that was not there before.
    Added {
        /// The endpoint's id.
        id: Arc<str>,
    },
    /// An id that is no longer there.
    Removed {
        /// The endpoint's id.
        id: Arc<str>,
    },
    /// The same id at another address: a new generation, its numbers start over.
    Readdressed {
        /// The endpoint's id.
        id: Arc<str>,
    },
    /// The same id and address with another weight, priority, zone or metadata; its numbers go on.
    Changed {
        /// The endpoint's id.
        id: Arc<str>,
    },
    /// The id was in the set already; the first in written order stays.
    DuplicateDropped {
        /// The endpoint's id.
        id: Arc<str>,
    },
}

/// Owns the members of one service over updates and compiles snapshots of them.
#[derive(Debug)]
pub struct Cluster {
    service: Arc<str>,
    policy: PolicyKind,
    members: Vec<Member>,
    revision: u64,
    /// Given to the next live record; never reused, so an id that left and came back is told apart.
    next_generation: u64,
    ticket: Arc<Ticket>,
}

impl Cluster {
    /// An empty cluster for the service `name`.
    pub fn new(name: &str, policy: PolicyKind) -> Self {
        Self {
            service: name.into(),
            policy,
            members: Vec::new(),
            revision: 0,
            next_generation: 0,
            ticket: Arc::default(),
        }
    }

    /// Folds in a full set of endpoints and says what changed: in written order, then the removals by id.
    ///
    /// A set equal to the present one returns no events and keeps the revision.
    pub fn set_endpoints(&mut self, endpoints: Vec<Endpoint>) -> Vec<ClusterEvent> {
        let before = std::mem::take(&mut self.members);
        let mut leaving: BTreeMap<&str, &Member> =
            before.iter().map(|member| (&*member.endpoint.id, member)).collect();
        let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut events = Vec::new();
        let mut members = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let id = endpoint.id.clone();
            if !seen.insert(id.clone()) {
                events.push(ClusterEvent::DuplicateDropped { id });
                continue;
            }
            members.push(match leaving.remove(&*id) {
                Some(old) if *old.endpoint == endpoint => old.clone(),
                Some(old) if old.endpoint.address == endpoint.address => {
                    events.push(ClusterEvent::Changed { id });
                    Member { endpoint: Arc::new(endpoint), live: old.live.clone() }
                }
                Some(_) => {
                    events.push(ClusterEvent::Readdressed { id });
                    self.join(endpoint)
                }
                None => {
                    events.push(ClusterEvent::Added { id });
                    self.join(endpoint)
                }
            });
        }
        events.extend(leaving.into_values().map(|old| ClusterEvent::Removed { id: old.endpoint.id.clone() }));
        let same = members.len() == before.len()
            && members.iter().zip(&before).all(|(new, old)| Arc::ptr_eq(&new.endpoint, &old.endpoint));
        if !same {
            self.revision += 1;
        }
        self.members = members;
        events
    }

    /// Changes the policy; endpoints and their numbers stay.
    pub fn set_policy(&mut self, policy: PolicyKind) {
        if self.policy != policy {
            self.policy = policy;
            self.revision += 1;
        }
    }

    /// Compiles the present state. Every snapshot shares the live records and the ticket of the cluster.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::compile(
            self.service.clone(),
            self.revision,
            self.policy,
            self.members.clone(),
            self.ticket.clone(),
        )
    }

    fn join(&mut self, endpoint: Endpoint) -> Member {
        let live = Arc::new(Live::new(self.next_generation));
        self.next_generation += 1;
        Member { endpoint: Arc::new(endpoint), live }
    }
}
