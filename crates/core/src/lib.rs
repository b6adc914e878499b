//! Every decision of Isobar, pure: endpoints, policies, routing, snapshots.
//!
//! Invariants: nothing here reads a clock, opens a socket, draws from global randomness, reads the
//! environment or logs. `now`, tickets and generators are arguments, so that the proxy, a client library
//! and a simulator run the very same code. A pick neither blocks nor allocates.
//!
//! How the parts stand together:
//!
//! ```text
//! Cluster (one owner, &mut self) --snapshot()--> Snapshot (immutable, shared)
//!    |  keeps a Live per (id, generation)           |  pick(request, draw) -> MemberIndex
//!    |                                              v
//!    +------------------------------------------- InFlight (one attempt; its drop reports the Outcome)
//!
//! RouteTable::find(request) -> route id;  SplitTable::choose(draw) -> which service of a split
//! ```
//!
//! Limits: health, ejection, zones and subsets are not compiled here; every endpoint with a weight above
//! zero is eligible, and the lowest priority level that has an untried one is used.
#![deny(clippy::disallowed_methods)]

mod cluster;
mod draw;
mod endpoint;
mod in_flight;
mod live;
mod policy;
mod routing;
mod snapshot;
mod time;

pub use cluster::{Cluster, ClusterEvent};
pub use draw::{Draw, Ticket};
pub use endpoint::{Address, Endpoint};
pub use in_flight::{FailureClass, InFlight, Outcome};
pub use live::Live;
pub use policy::PolicyKind;
pub use routing::{
    HeaderRule, HeaderTest, HostPattern, PathRule, Pattern, RequestView, RouteMatch, RouteTable, SplitTable,
};
pub use snapshot::{Member, MemberIndex, NoPick, PickRequest, Snapshot};
pub use time::Instant;
