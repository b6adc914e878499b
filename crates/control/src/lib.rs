//! The owner of each cluster: sources, edits and probe results in, snapshots out.
//!
//! ```text
//! settings, files, names -> sources -.
//! edits by operators ----> mailbox --+-> owner task (Cluster) -> Arc<ArcSwap<Snapshot>> -> workers
//! probes, agents <-> prober ---------'       |         | replaced
//!                                        journal    graveyard -> dropped here
//! ```
//!
//! Architecture Invariant: a cluster has exactly one owner, a task of the control runtime. Everything that changes the
//! cluster reaches it there; everything that reads the cluster reads a published snapshot. Nothing on the data path
//! waits for this crate, and the last reference of a snapshot is dropped here.

mod agent;
mod clusters;
mod graveyard;
mod handle;
mod journal;
mod metrics;
mod owner;
mod probe;
mod sources;

pub use clusters::{Clusters, PrepareError, Prepared, SilentFile};
pub use handle::{ClusterHandle, OwnerGone};
pub use journal::{Journal, Notice};
pub use metrics::render_metrics;
pub use owner::{MAILBOX_LEN, PUBLICATION_GAP};
pub use sources::{ReadEndpoints, SourceReport};
