//! The weighted split of a route over several services.

use crate::Draw;
use crate::policy::Alias;

/// Draws one of several destinations by weight, in constant time.
#[derive(Clone, Debug)]
pub struct SplitTable {
    shares: Alias,
}

impl SplitTable {
    /// Compiles the weights: zero is never chosen, unless all are zero, which makes them equal.
    pub fn new(weights: &[u32]) -> Self {
        Self { shares: Alias::new(weights) }
    }

    /// The place of the chosen destination; zero if there are none.
    pub fn choose(&self, draw: &mut Draw) -> usize {
        self.shares.choose(draw)
    }
}
