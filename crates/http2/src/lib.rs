//! HTTP/2 as a codec without I/O: bytes go in, fields and verdicts come out, and the other way round.
//!
//! Nothing here reads a clock, a socket or a random number.
//!
//! # What always holds
//! - No input panics, and work is linear in the bytes that come in and go out.
//! - What one connection makes this crate keep has a bound.
#![deny(clippy::disallowed_methods)]

pub mod hpack;
