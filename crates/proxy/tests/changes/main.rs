//! A proxy in this process takes new configurations while it carries traffic over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of one test program")]

mod endpoint;
mod listeners;
mod log;
mod numbers;
mod requests;
mod traffic;
mod world;
