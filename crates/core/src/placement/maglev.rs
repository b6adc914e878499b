//! Maglev: a table of a prime number of entries, filled by turns.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4; weights and
//! further attempts as in Envoy's `maglev_lb.cc`. Invariants: a table does not depend on the order of its nodes; a
//! lookup is one division. Limits: shares are exact to one entry in the size of the table, so that should be a hundred
//! times the number of nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Node;
use super::hashing::xxh64;

/// Nodes that one walk names at most: entries repeat, so a further attempt may meet the same node again.
const ATTEMPTS_MAX: u64 = 64;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Maglev {
    table: Box<[u32]>,
}

/// A node's own order of the entries, and how far the table's building is with it.
struct Turns {
    node: u32,
    offset: u64,
    skip: u64,
    /// Share of the whole, at most one: Envoy counts turns in such fractions, and their rounding decides some of them.
    weight: f64,
    target: f64,
    next: u64,
}

impl Maglev {
    /// The size where none is said; prime, as every size must be.
    pub(crate) const SIZE: u32 = 65_537;

    /// Compiles the nodes, at least one, into a table of `size` entries.
    pub(crate) fn new(nodes: &[Node<'_>], size: u32) -> Self {
        let m = u64::from(size);
        let total: f64 = nodes.iter().map(|node| f64::from(node.weight)).sum();
        let mut order: Vec<u32> = (0..nodes.len() as u32).collect();
        order.sort_by_key(|place| nodes[*place as usize].name);
        let turns = order.into_iter().map(|node| {
            let Node { name, weight } = nodes[node as usize];
            Turns {
                node,
                offset: xxh64(name.as_bytes(), 0) % m,
                skip: xxh64(name.as_bytes(), 1) % (m - 1) + 1,
                weight: f64::from(weight) / total,
                target: 0.0,
                next: 0,
            }
        });
        Self { table: fill(turns.collect(), size) }
    }

    /// The node of a hash, then those of further attempts, as in Envoy.
    #[inline]
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        (0..ATTEMPTS_MAX).map(move |attempt| {
            let hash = if attempt == 0 { hash } else { hash ^ (!0 - attempt + 1) };
            self.table[(hash % self.table.len() as u64) as usize]
        })
    }
}

/// Lets the nodes, in this order, take turns at their next free entry until none is free.
///
/// In round `n` those take a turn whose `n * weight` has reached their target. Whoever is due next is found by a heap, so
/// that the time does not depend on how far weights differ.
fn fill(mut nodes: Vec<Turns>, size: u32) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let m = u64::from(size);
    let heaviest = nodes.iter().map(|turns| turns.weight).fold(0.0, f64::max);
    let mut table = vec![FREE; size as usize];
    let mut due: BinaryHeap<Reverse<(u64, u32)>> =
        (0..nodes.len() as u32).map(|at| Reverse((1, at))).collect();
    for _ in 0..size {
        let Some(mut first) = due.peek_mut() else { break };
        let Reverse((round, at)) = *first;
        let turns = &mut nodes[at as usize];
        turns.target += heaviest;
        *first = Reverse((turns.next_round(round), at));
        let free = loop {
            let entry = ((turns.offset + turns.skip * turns.next) % m) as usize;
            turns.next += 1;
            if table[entry] == FREE {
                break entry;
            }
        };
        table[free] = turns.node;
    }
    table.into()
}

impl Turns {
    /// The first round after this one in which its turn comes.
    fn next_round(&self, round: u64) -> u64 {
        let is_due = |round: u64| round as f64 * self.weight >= self.target;
        // The quotient may be off by its rounding; what decides is the product.
        let mut next = ((self.target / self.weight) as u64).saturating_sub(1).max(round + 1);
        while !is_due(next) {
            next += 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn table(names: &[&str], size: u32) -> Vec<u32> {
        let nodes: Vec<_> = names.iter().map(|name| Node { name, weight: 1 }).collect();
        Maglev::new(&nodes, size).table.to_vec()
    }

    /// Table 1 of the paper: offsets and skips are given there.
    #[test]
    fn the_paper_s_table_comes_out() {
        let turns =
            |node: u32, (offset, skip)| Turns { node, offset, skip, weight: 0.3, target: 0.0, next: 0 };
        let orders = [(3, 4), (0, 2), (3, 1)];
        let all = (0..3).zip(orders).map(|(node, order)| turns(node, order));
        assert_eq!(*fill(all.collect(), 7), [1, 0, 1, 0, 2, 2, 0]);
        let without_b1 = [turns(0, orders[0]), turns(2, orders[2])];
        assert_eq!(*fill(without_b1.into(), 7), [0, 0, 0, 0, 2, 2, 2]);
    }

    #[test]
    fn envoy_s_tables_come_out() {
        let addresses: Vec<String> = (90..96).map(|port| format!("127.0.0.1:{port}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        assert_eq!(table(&addresses, 7), [2, 4, 0, 1, 5, 0, 3]);
        assert_eq!(table(&["90", "91", "92", "93", "94", "95"], 7), [2, 5, 0, 3, 4, 1, 0]);
    }

    #[test]
    fn entries_follow_the_weights() {
        let nodes = [Node { name: "127.0.0.1:90", weight: 1 }, Node { name: "127.0.0.1:91", weight: 2 }];
        let maglev = Maglev::new(&nodes, Maglev::SIZE);
        let n = maglev.table.iter().filter(|node| **node == 0).count();
        assert_eq!((n, maglev.table.len() - n), (21_846, 43_691));
    }

    #[test]
    fn a_hundred_nodes_have_equal_shares_and_few_entries_change_with_one() {
        // The algorithms page, section 19 a: 655 or 656 entries each; one of a hundred gone changes 1.54 %.
        let names: Vec<String> = (0..100).map(|n| format!("10.0.0.{n}:80")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (all, less) = (table(&names, Maglev::SIZE), table(&names[..99], Maglev::SIZE));
        let mut counts = vec![0; 100];
        for node in &all {
            counts[*node as usize] += 1;
        }
        assert!(counts.iter().all(|count| (655..=656).contains(count)), "{counts:?}");
        let n_changed = all.iter().zip(&less).filter(|(before, after)| before != after).count();
        assert!((655..1_400).contains(&n_changed), "{n_changed}");
    }

    /// Envoy's rule to the letter: every node is asked in every round.
    fn naive(nodes: &[Node<'_>], size: u32) -> Vec<u32> {
        let total: f64 = nodes.iter().map(|node| f64::from(node.weight)).sum();
        let share = |node: &Node<'_>| f64::from(node.weight) / total;
        let heaviest = nodes.iter().map(share).fold(0.0, f64::max);
        let (m, mut table) = (u64::from(size), vec![None; size as usize]);
        let mut state = vec![(0.0, 0_u64); nodes.len()];
        for round in 1_u32.. {
            for (place, node) in nodes.iter().enumerate() {
                let (target, next) = &mut state[place];
                if !table.contains(&None) {
                    return table.into_iter().flatten().collect();
                }
                if f64::from(round) * share(node) < *target {
                    continue;
                }
                *target += heaviest;
                let (h1, h2) = (xxh64(node.name.as_bytes(), 0), xxh64(node.name.as_bytes(), 1));
                loop {
                    let entry = ((h1 % m + (h2 % (m - 1) + 1) * *next) % m) as usize;
                    *next += 1;
                    if table[entry].is_none() {
                        table[entry] = Some(place as u32);
                        break;
                    }
                }
            }
        }
        unreachable!("every round fills an entry")
    }

    proptest! {
        #[test]
        fn the_table_is_envoy_s_at_any_weights(
            weights in prop::collection::vec(prop_oneof![1_u32..20, 1_u32..1_000_000], 1..12),
        ) {
            let names: Vec<String> = (0..weights.len()).map(|n| format!("{n:02}")).collect();
            let nodes: Vec<_> =
                names.iter().zip(&weights).map(|(name, weight)| Node { name, weight: *weight }).collect();
            prop_assert_eq!(Maglev::new(&nodes, 251).table.to_vec(), naive(&nodes, 251));
        }

        #[test]
        fn the_order_of_the_nodes_changes_nothing(
            names in prop::collection::btree_set("[a-z]{1,6}", 1..12),
            weights in prop::collection::vec(1_u32..50, 12),
            seed: u64,
        ) {
            let mut nodes: Vec<_> =
                names.iter().zip(&weights).map(|(name, weight)| Node { name, weight: *weight }).collect();
            let named = |nodes: &[Node<'_>]| -> Vec<String> {
                let maglev = Maglev::new(nodes, 251);
                maglev.table.iter().map(|node| nodes[*node as usize].name.to_owned()).collect()
            };
            let before = named(&nodes);
            let mut draw = crate::Draw::new(seed);
            for n in (1..nodes.len()).rev() {
                nodes.swap(n, draw.below(n as u32 + 1) as usize);
            }
            prop_assert_eq!(before, named(&nodes));
        }
    }
}
