//! Where endpoints come from: an adapter a folder, each of which tells what its source says at present.
//!
//! ```text
//! fixed list -.
//! file -------+-> Feed<EndpointSettings> --> names --> Feed<Found> --> the cluster's owner (control)
//!               (addresses as written)      (addresses that can be connected to)
//! ```
//!
//! Architecture Invariant: a source that fails keeps its last good set; the failure is told beside the set, never as an
//! empty one. Nothing here decides about health, precedence or sudden losses: [`Found::inferred`] says how sure a
//! loss is, and the cluster decides.
//!
//! A feed holds the newest state only, so a slow reader meets no queue. The task behind a feed ends when every receiver
//! of it is gone.
//!
//! Limits: Linux only (inotify).

mod feed;
mod file;
mod names;
mod watch;

pub use feed::{Feed, FixedList, SourceState, fixed};
pub use file::file;
pub use names::{
    Found, Lookup, RERESOLVE_INTERVAL, ResolveError, ResolveErrors, SystemLookup, names, resolve,
};
pub use watch::FileWatch;
