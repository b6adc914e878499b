//! HTTP/2 as a codec without I/O, whose streams read and take the text of HTTP/1.1.
//!
//! A [`Connection`] takes the bytes of a connection and gives those that are to be sent. Each of its streams reads as one
//! message of HTTP/1.1 (a length where one came, else chunks of our making, trailers at their end) and takes one, so that
//! whoever carries HTTP/1.1 carries HTTP/2. What a stream reads is meant for the strict parser of `isobar-http1`; what that
//! could not see any more is refused here ([`Malformed`]).
//!
//! # What always holds
//! - The verdict does not depend on how bytes were split.
//! - What a peer can make a connection hold is bounded ([`Bounds`]).
//! - A message that was cut ends in a reset, never in an end.
//! - No input panics.
//!
//! # Limits
//! No server push, no priorities, extended CONNECT (RFC 8441) for WebSocket alone.
#![deny(clippy::disallowed_methods)]
#![expect(clippy::cast_possible_wrap, reason = "lengths of buffers and windows are below 2^31")]

mod blocks;
mod connection;
mod ending;
mod flow;
mod frame;
pub mod hpack;
mod inbound;
mod malformed;
mod outbound;
mod reason;
mod receive;
mod send;
mod settings;
mod slots;
mod stream;

pub use connection::{Connection, Key, PREFACE};
pub use frame::{FrameHead, flag, kind};
pub use inbound::BodyForm;
pub use malformed::Malformed;
pub use reason::Reason;
pub use send::WriteError;
pub use settings::Bounds;
pub use stream::{Broken, Read};
