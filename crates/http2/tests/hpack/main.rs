//! HPACK as its callers see it: the rules of RFC 7541, and laws that hold for any input.
#![allow(clippy::unwrap_used, reason = "a test")]

mod laws;
mod models;
mod replay;
mod rules;
