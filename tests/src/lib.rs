//! The harness of the end-to-end tests: starts the built binary, scripted endpoints and raw clients.
//!
//! Invariants: nothing waits for time, only for conditions, each with a bound; every port is chosen by the system; a
//! line at level ERROR in the proxy's log fails the test that started it, unless the test announced it.
//! Limits: helpers panic, because a test that cannot set its stage has failed.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a harness: what fails here fails the test"
)]

mod certificates;
mod client;
pub mod dirty;
pub mod http2;
mod isobar;
pub mod keyed;
mod load;
mod origin;
pub mod pairs;
pub mod real;
pub mod servers;
mod setup;
mod tls;
mod wait;

pub use certificates::Certificates;
pub use client::{Client, Response};
pub use isobar::{Isobar, Metrics};
pub use load::Load;
pub use origin::{Origin, Visit};
pub use setup::{one_service, refusing_address, save, watching};
pub use tls::{Session, told_to};
pub use wait::{PATIENCE, SECOND_WITH_SLACK, wait_for, wait_up_to};
