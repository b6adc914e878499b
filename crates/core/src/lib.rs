//! Every decision of Isobar, pure: endpoints, policies, routing, snapshots.
//!
//! Invariants: nothing here reads a clock, opens a socket, draws from global randomness, reads the
//! environment or logs. `now`, tickets and generators are arguments, so that the proxy, a client library
//! and a simulator run the very same code. A pick neither blocks nor allocates.
//!
//! How the parts stand together:
//!
//! ```text
//! sources, edits, probe results
//!    v
//! Cluster (one owner, &mut self) --snapshot()--> Snapshot (immutable, shared)
//!    |  keeps a Live per (id, generation)           |  pick(request, draw) -> MemberIndex
//!    |                                              v
//!    +------------------------------------------- InFlight (one attempt; its drop reports the Outcome)
//!
//! RouteTable::find(request) -> route id;  SplitTable::choose(draw) -> which service of a split
//! ```
//!
//! Limits: ejection is not compiled here.
#![deny(clippy::disallowed_methods)]

mod bell;
mod cluster;
mod draw;
mod endpoint;
mod health;
mod in_flight;
mod latency;
mod level;
mod live;
mod load_pool;
mod placement;
mod policy;
mod routing;
mod shard;
mod snapshot;
mod stickiness;
mod subset;
mod time;
mod weights;
mod zones;

pub use bell::Bell;
pub use cluster::{
    Cluster, ClusterEvent, ClusterSettings, Edit, EditError, EventKind, Found, LOSS_GRACE, LOSS_PERCENT_MAX,
    OVERRIDES_MAX, SourceSet,
};
pub use draw::{Draw, Ticket};
pub use endpoint::{Address, Endpoint};
pub use health::{ProbeDue, ProbeSettings, Verdict};
pub use in_flight::{FailureClass, InFlight, Outcome};
pub use live::Live;
pub use load_pool::{LoadPool, ProbeReport};
pub use placement::{Layout, PointHash};
pub use policy::{CHOICES_MAX, PolicyKind, PolicySettings};
pub use routing::{
    HeaderRule, HeaderTest, HostForm, HostPattern, PathRule, Pattern, RequestView, RouteMatch, RouteTable,
    SplitTable,
};
pub use shard::EndpointCounts;
pub use snapshot::{EndpointState, Member, MemberIndex, NoPick, PickRequest, Snapshot};
pub use stickiness::{Stickiness, StickyKey, StickyValue};
pub use subset::Subset;
pub use time::Instant;
pub use weights::{
    AgentDue, AgentLine, AgentSettings, LoadMetrics, LoadReport, WeightSettings, WeightSource,
};
pub use zones::ZoneAware;
