//! Routing: which route a request takes, and which service of a weighted split.
//!
//! Invariant: the first route in written order that matches wins, however the table finds it.

mod host;
mod pattern;
mod rules;
mod split;
mod table;

pub use host::{HostForm, HostPattern};
pub use pattern::Pattern;
pub use rules::{HeaderRule, HeaderTest, PathRule, RequestView, RouteMatch};
pub use split::SplitTable;
pub use table::RouteTable;
