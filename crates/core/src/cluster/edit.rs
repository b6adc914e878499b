//! What operators change by hand: an overlay above the sources, one entry an endpoint id.
//!
//! Invariants: an entry survives every update of the sources that still name its endpoint, and ends when the last of
//! them drops it; an endpoint that only an operator knows stays until he removes it; nothing here is written to disk.
//! A refused edit changes nothing. Limit: at most [`OVERRIDES_MAX`] entries.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use twox_hash::XxHash64;

use crate::Endpoint;

/// Ids, hashed: sets of ten thousand are made with every change.
pub(super) type Ids<'a> = HashSet<&'a str, BuildHasherDefault<XxHash64>>;

/// Entries of one overlay: ten times what a person or a script edits in an incident; past it a source should be used.
pub const OVERRIDES_MAX: usize = 10_000;

/// One change by an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Adds an endpoint or replaces the one of this id.
    Put(Endpoint),
    /// Changes what is given and leaves the rest.
    Patch {
        /// Which endpoint.
        id: Arc<str>,
        /// Its share; zero takes no picks.
        weight: Option<u32>,
        /// Whether it takes no new picks.
        draining: Option<bool>,
    },
    /// Removes an endpoint; one that a source names is left out from now on.
    Remove {
        /// Which endpoint.
        id: Arc<str>,
    },
    /// Forgets every change of this endpoint.
    Clear {
        /// Which endpoint.
        id: Arc<str>,
    },
}

/// Why an edit was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// No source and no earlier edit names the endpoint.
    #[error("the service has no endpoint of this id; see its list of endpoints")]
    UnknownEndpoint,
    /// A source names the endpoint, and an operator removed it.
    #[error("the endpoint was removed by hand; DELETE of its override brings it back")]
    Removed,
    /// Nothing was changed by hand here.
    #[error("nothing was changed by hand on this endpoint")]
    NoOverride,
    /// The overlay is full.
    #[error(
        "{OVERRIDES_MAX} endpoints of this service are changed by hand already; use a source of endpoints"
    )]
    TooMany,
}

/// What was changed on one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Override {
    endpoint: Option<Endpoint>,
    weight: Option<u32>,
    draining: Option<bool>,
    suppressed: bool,
    /// A source has named the endpoint since the entry was made, so the entry ends when none does any more.
    was_named: bool,
}

/// An endpoint as the overlay leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlaid {
    pub(super) endpoint: Endpoint,
    pub(super) draining: bool,
    /// An operator changed something of it.
    pub(super) edited: bool,
}

/// Every change made by hand to the endpoints of one service.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    entries: BTreeMap<Arc<str>, Override>,
}

impl Overlay {
    /// Takes an edit; `named` tells whether a source names an id.
    pub(super) fn apply(&mut self, edit: Edit, named: impl Fn(&str) -> bool) -> Result<(), EditError> {
        match edit {
            Edit::Put(endpoint) => {
                let (id, was_named) = (endpoint.id.clone(), named(&endpoint.id));
                self.check_room(&id)?;
                // A new description replaces earlier changes of weight; a drain goes on until it is ended.
                let draining = self.entries.get(&id).and_then(|entry| entry.draining);
                let entry = Override { endpoint: Some(endpoint), draining, was_named, ..Override::default() };
                self.entries.insert(id, entry);
            }
            Edit::Patch { id, weight, draining } => {
                let was_named = named(&id);
                self.check_known(&id, was_named)?;
                self.check_room(&id)?;
                let entry = self.entries.entry(id).or_default();
                entry.was_named |= was_named;
                entry.weight = weight.or(entry.weight);
                entry.draining = draining.or(entry.draining);
                self.forget_what_says_nothing();
            }
            Edit::Remove { id } => {
                let is_named = named(&id);
                self.check_known(&id, is_named)?;
                if is_named {
                    self.check_room(&id)?;
                    let entry = Override { suppressed: true, was_named: true, ..Override::default() };
                    self.entries.insert(id, entry);
                } else {
                    self.entries.remove(&id);
                }
            }
            Edit::Clear { id } => {
                self.entries.remove(&id).ok_or(EditError::NoOverride)?;
            }
        }
        Ok(())
    }

    fn check_known(&self, id: &str, is_named: bool) -> Result<(), EditError> {
        match self.entries.get(id) {
            Some(entry) if entry.suppressed => Err(EditError::Removed),
            None if !is_named => Err(EditError::UnknownEndpoint),
            _ => Ok(()),
        }
    }

    fn check_room(&self, id: &str) -> Result<(), EditError> {
        let has_room = self.entries.len() < OVERRIDES_MAX || self.entries.contains_key(id);
        has_room.then_some(()).ok_or(EditError::TooMany)
    }

    /// An undrained endpoint without other changes is as its source says, and is shown so.
    fn forget_what_says_nothing(&mut self) {
        self.entries.retain(|_, entry| {
            entry.endpoint.is_some()
                || entry.weight.is_some()
                || entry.suppressed
                || entry.draining == Some(true)
        });
    }

    /// Ends the entries whose endpoint no source names any more.
    pub(super) fn keep_named(&mut self, named: &Ids<'_>) {
        self.entries.retain(|id, entry| {
            let is_named = named.contains(&**id);
            let ends = entry.was_named && !is_named;
            entry.was_named |= is_named;
            !ends
        });
    }

    /// The endpoints of sources that an operator removed, by id.
    pub(super) fn removed(&self) -> impl Iterator<Item = &Arc<str>> + Clone {
        self.entries.iter().filter(|(_, entry)| entry.suppressed).map(|(id, _)| id)
    }

    /// What becomes of an endpoint of a source; `None` where it is suppressed.
    pub(super) fn over(&self, endpoint: &Endpoint) -> Option<Overlaid> {
        let Some(entry) = self.entries.get(&endpoint.id) else {
            return Some(Overlaid { endpoint: endpoint.clone(), draining: false, edited: false });
        };
        (!entry.suppressed).then(|| entry.over(entry.endpoint.as_ref().unwrap_or(endpoint)))
    }

    /// The endpoints that no source names, by id.
    pub(super) fn added<'a>(&'a self, named: &'a Ids<'a>) -> impl Iterator<Item = Overlaid> + 'a {
        let unnamed = self.entries.iter().filter(|(id, _)| !named.contains(&***id));
        unnamed.filter_map(|(_, entry)| entry.endpoint.as_ref().map(|endpoint| entry.over(endpoint)))
    }
}

impl Override {
    fn over(&self, endpoint: &Endpoint) -> Overlaid {
        let mut endpoint = endpoint.clone();
        endpoint.weight = self.weight.unwrap_or(endpoint.weight);
        Overlaid { endpoint, draining: self.draining.unwrap_or(false), edited: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use std::net::{Ipv4Addr, SocketAddr};

    fn put(id: usize) -> Edit {
        Edit::Put(Endpoint {
            id: id.to_string().into(),
            address: Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        })
    }

    #[test]
    fn a_full_overlay_refuses_new_entries_and_takes_changes_of_old_ones() {
        let mut overlay = Overlay::default();
        for id in 0..OVERRIDES_MAX {
            assert_eq!(overlay.apply(put(id), |_| false), Ok(()));
        }
        assert_eq!(overlay.apply(put(OVERRIDES_MAX), |_| false), Err(EditError::TooMany));
        assert_eq!(overlay.apply(put(0), |_| false), Ok(()));
        assert_eq!(overlay.apply(Edit::Remove { id: "0".into() }, |_| false), Ok(()));
        assert_eq!(overlay.apply(put(OVERRIDES_MAX), |_| false), Ok(()));
    }
}
