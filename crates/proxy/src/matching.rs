//! Which parts of a new configuration are parts of the old one: by identity, never by position.
//!
//! Invariants: a part of the old list is taken by one part of the new at most; of equal ones the first takes the first.
//! Pure, and linear in the lengths of both lists.

use std::collections::HashMap;
use std::hash::Hash;

use isobar_config::{AddressText, ListenerSettings};

/// For each of `new` the position in `old` of the part that it continues; `None` for what is new.
pub(crate) fn continued<K: Hash + Eq>(old: &[K], new: &[K]) -> Vec<Option<usize>> {
    // Lists are taken from their ends, so they are filled from the last to the first.
    let mut places: HashMap<&K, Vec<usize>> = HashMap::with_capacity(old.len());
    for (place, identity) in old.iter().enumerate().rev() {
        places.entry(identity).or_default().push(place);
    }
    new.iter().map(|identity| places.get_mut(identity).and_then(Vec::pop)).collect()
}

/// Positions below `n_old` that nothing continues, in order.
pub(crate) fn ended(n_old: usize, continued: &[Option<usize>]) -> Vec<usize> {
    let mut goes_on = vec![false; n_old];
    for place in continued.iter().flatten() {
        goes_on[*place] = true;
    }
    (0..n_old).filter(|place| !goes_on[*place]).collect()
}

/// What makes a listener the same over a change of the configuration: its address as written, since that is what its
/// socket is bound to. Port 0 is another port each time, so there the name tells listeners apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ListenerIdentity {
    address: AddressText,
    name: Option<String>,
}

impl ListenerIdentity {
    pub(crate) fn of(listener: &ListenerSettings) -> Self {
        let any_port = matches!(listener.listen, AddressText::Tcp { port: 0, .. });
        Self { address: listener.listen.clone(), name: any_port.then(|| listener.name.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use isobar_config::{ListenerLimits, ListenerTimeouts};
    use proptest::prelude::*;

    use super::*;

    /// The same by looking at every pair.
    fn continued_naively(old: &[u8], new: &[u8]) -> Vec<Option<usize>> {
        let mut taken = vec![false; old.len()];
        new.iter()
            .map(|wanted| {
                let place = (0..old.len()).find(|place| !taken[*place] && old[*place] == *wanted)?;
                taken[place] = true;
                Some(place)
            })
            .collect()
    }

    fn parts() -> impl Strategy<Value = Vec<u8>> {
        // Few values, so that parts meet and repeat.
        proptest::collection::vec(0_u8..12, 0..20)
    }

    proptest! {
        #[test]
        fn a_part_continues_what_a_search_through_all_pairs_finds(old in parts(), new in parts()) {
            prop_assert_eq!(continued(&old, &new), continued_naively(&old, &new));
        }

        #[test]
        fn every_old_part_is_continued_once_or_has_ended(old in parts(), new in parts()) {
            let continued = continued(&old, &new);
            let mut places: Vec<usize> = continued.iter().flatten().copied().collect();
            places.extend(ended(old.len(), &continued));
            places.sort_unstable();
            prop_assert_eq!(places, (0..old.len()).collect::<Vec<_>>());
        }

        #[test]
        fn an_unchanged_list_continues_itself(parts in parts()) {
            let itself: Vec<Option<usize>> = (0..parts.len()).map(Some).collect();
            prop_assert_eq!(continued(&parts, &parts), itself);
        }
    }

    fn identity(listen: &str, name: &str) -> ListenerIdentity {
        let second = Duration::from_secs(1);
        ListenerIdentity::of(&ListenerSettings {
            name: name.to_owned(),
            listen: listen.parse().unwrap_or_else(|_| unreachable!("{listen} is an address")),
            tls: None,
            timeouts: ListenerTimeouts { head: second, body_idle: second, idle: second, handshake: second },
            limits: ListenerLimits {
                head: 1,
                target: 1,
                headers: 1,
                body: 0,
                connections: 0,
                handshakes: 1,
                streams: 1,
            },
            service: None,
            normalize_path: true,
        })
    }

    #[test]
    fn a_listener_is_its_address_and_at_port_zero_its_name_too() {
        assert_eq!(identity(":80", "a"), identity(":80", "b"));
        assert_ne!(identity(":80", "a"), identity("0.0.0.0:80", "a"));
        assert_ne!(identity("127.0.0.1:0", "a"), identity("127.0.0.1:0", "b"));
    }
}
