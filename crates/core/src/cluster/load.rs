//! How many attempts are in flight in a whole cluster.
//!
//! Invariants: one writer a shard (the worker whose number it has), on a cache line of its own, so a count is a plain
//! store. Limit: readers may see a sum that is a few attempts old.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Load {
    shards: Box<[Shard]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU32);

impl Load {
    pub(crate) fn new(n_shards: usize) -> Self {
        Self { shards: (0..n_shards).map(|_| Shard::default()).collect() }
    }

    /// Counts an attempt that begins; a shard beyond the number given at the start counts nothing.
    pub(crate) fn begin(&self, shard: usize) {
        if let Some(Shard(n)) = self.shards.get(shard) {
            n.store(n.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Counts that it ended; the same shard.
    pub(crate) fn end(&self, shard: usize) {
        if let Some(Shard(n)) = self.shards.get(shard) {
            n.store(n.load(Relaxed).wrapping_sub(1), Relaxed);
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.shards.iter().fold(0, |sum, Shard(n)| sum.wrapping_add(n.load(Relaxed)))
    }
}
