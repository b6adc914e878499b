//! Side by side with other load balancers: the instrument that later work is judged by.
//!
//! Two origins and the load generator share one core, the proxy under test has another to itself. Peers take turns
//! in several rounds of one run, and every comparison is made within a round, so that a slow minute of the machine
//! is a slow minute for all. What is measured first is CPU time of the proxy process per request: unlike requests
//! per second it does not depend on how busy the other core is.
//!
//! Limits: Linux only (`/proc`), at least two cores, loopback only. Absolute numbers compare within one report,
//! never between machines. Configurations of all peers are in `bench/peers`, reports in `bench/results`.
#![allow(clippy::print_stderr, reason = "a command line tool tells its progress on stderr")]

mod binaries;
mod compare;
mod error;
mod grpc;
mod h2load;
mod handshakes;
mod held;
mod http2;
mod idle;
mod layout;
mod load;
mod machine;
mod measure;
mod origin;
mod peer;
mod pick_cost;
mod picks;
mod process;
mod recipe;
mod report;
mod secure;
mod spread;
mod spread_load;
mod stats;
mod wire;
mod workload;

pub use binaries::Binaries;
pub use compare::{Plan, run};
pub use error::BenchError;
pub use grpc::serve_grpc;
pub use handshakes::shake_hands;
pub use idle::{IdlePlan, run_idle};
pub use pick_cost::measure_picks;
pub use picks::{PicksPlan, run_picks};
pub use recipe::{BASELINE, peer_names};
pub use spread::{SpreadPlan, run_spread};
pub use spread_load::{call_instances, serve_instances};
pub use workload::{Front, Suite, Workload};
