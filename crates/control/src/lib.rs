//! The owner of each cluster: folds updates into a [`isobar_core::Cluster`], publishes snapshots.
//!
//! ```text
//! endpoints (discovery) -> owner task (Cluster) -> Arc<ArcSwap<Snapshot>> -> workers
//!                               ^ mailbox                 | replaced
//!                          ClusterHandle              graveyard -> dropped here
//! ```
//!
//! Architecture Invariant: a cluster has exactly one owner, a task of the control runtime. Everything that changes the
//! cluster is a message to it; everything that reads the cluster reads a published snapshot. Nothing on the data path
//! waits for this crate, and the last reference of a snapshot is dropped here.
//!
//! Limits: a full set of endpoints is the only update there is.

mod graveyard;
mod metrics;
mod owner;

pub use metrics::render_metrics;
pub use owner::{ClusterHandle, MAILBOX_LEN, OwnerGone, PUBLICATION_GAP, spawn};
