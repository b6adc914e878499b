//! The rules one by one, through the public interface: what is accepted means, and what is refused is refused for.
//!
//! The corpus holds the verdicts; here stands what verdicts do not show.
#![allow(clippy::unwrap_used)]

mod bodies;
#[path = "../models/mod.rs"]
mod models;
mod paths;
mod progress;
mod requests;
mod responses;
