//! Rendezvous: every node bids for a hash, the highest bid wins.
//!
//! Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998); weights after Resch: a bid is
//! `-weight / ln(u)` with `u` in (0, 1) from the hash of node and key. Invariants: nothing depends on the order of the
//! nodes; a changed weight or set moves only what it must. Limits: every pick looks at every node.

use super::Node;
use super::hashing::{mix, xxh64};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    bidders: Box<[Bidder]>,
    /// All weights are equal: then bids are in the order of `u`, and the logarithm, most of the work, can be spared.
    is_even: bool,
}

#[derive(Debug)]
struct Bidder {
    /// Stands for its name.
    seed: u64,
    weight: f64,
}

impl Rendezvous {
    /// Compiles the nodes.
    pub(crate) fn new(nodes: &[Node<'_>]) -> Self {
        let bidder =
            |node: &Node<'_>| Bidder { seed: xxh64(node.name.as_bytes(), 0), weight: node.weight.into() };
        let is_even = nodes.iter().all(|node| node.weight == nodes[0].weight);
        Self { bidders: nodes.iter().map(bidder).collect(), is_even }
    }

    /// The node of a hash among those that `may` admits.
    pub(crate) fn best(&self, hash: u64, mut may: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best: Option<(f64, u64, u32)> = None;
        for (bidder, node) in self.bidders.iter().zip(0..) {
            let bits = mix(hash ^ bidder.seed);
            // 53 bits, and half of one so that neither end is met.
            let u = ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            let bid = if self.is_even { u } else { -bidder.weight / u.ln() };
            // Equal bids go by the name's hash, so that no order decides.
            if best.is_none_or(|(highest, seed, _)| (bid, bidder.seed) > (highest, seed)) && may(node) {
                best = Some((bid, bidder.seed, node));
            }
        }
        best.map(|(_, _, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Layout;

    fn counts(weights: &[u32], n: u64) -> Vec<f64> {
        let names: Vec<String> = (0..weights.len()).map(|n| format!("node{n}")).collect();
        let nodes: Vec<_> =
            names.iter().zip(weights).map(|(name, weight)| Node { name, weight: *weight }).collect();
        let rendezvous = Rendezvous::new(&nodes);
        let mut counts = vec![0.0; weights.len()];
        for key in 0..n {
            if let Some(node) = rendezvous.best(Layout::Isobar.hash(&key.to_le_bytes()), |_| true) {
                counts[node as usize] += 1.0;
            }
        }
        counts
    }

    #[test]
    fn shares_follow_the_weights() {
        // Standard deviation of the largest count: 158; 800 is five of them.
        for (count, expected) in counts(&[1, 2, 7], 100_000).iter().zip([10_000.0, 20_000.0, 70_000.0]) {
            assert!((count - expected).abs() < 800.0, "{count} of {expected}");
        }
    }

    #[test]
    fn equal_weights_bid_in_the_order_of_their_logarithms() {
        let node = |name, weight| Node { name, weight };
        let even = Rendezvous::new(&["a", "b", "c", "d"].map(|name| node(name, 3)));
        let uneven =
            Rendezvous { is_even: false, ..Rendezvous::new(&["a", "b", "c", "d"].map(|name| node(name, 3))) };
        for key in 0..1_000_u64 {
            let hash = Layout::Isobar.hash(&key.to_le_bytes());
            assert_eq!(even.best(hash, |_| true), uneven.best(hash, |_| true));
        }
    }

    #[test]
    fn only_the_keys_of_a_node_that_is_left_out_move() {
        let nodes = ["a", "b", "c", "d"].map(|name| Node { name, weight: 1 });
        let rendezvous = Rendezvous::new(&nodes);
        for key in 0..1_000_u64 {
            let hash = Layout::Isobar.hash(&key.to_le_bytes());
            let before = rendezvous.best(hash, |_| true);
            let after = rendezvous.best(hash, |node| node != 2);
            assert!(before == after || before == Some(2));
            assert_ne!(after, Some(2));
        }
        assert_eq!(rendezvous.best(7, |_| false), None);
    }
}
