//! HTTP/2 at both ends of an exchange that speaks HTTP/1.1 bytes.
//!
//! ```text
//! caller --h2--> serve: a local task a connection, one more (of `servants`) a stream
//!                  `-> Channel (isobar_http2) <--> CallerStream: text of HTTP/1.1 <--> exchange
//!                                                                                       ^
//!                  endpoint <--h2-- link: Channel <--> EndpointStream <-----------------'
//! ```
//!
//! A stream is one more kind of [`Stream`](crate::stream::Stream): what the exchange reads of it passes the strict
//! parser of HTTP/1, so nothing that is refused there can come in here (`isobar_http2` refuses what the translation could
//! hide).
//!
//! Invariants: what a caller or an endpoint may send ahead is bounded by flow control, and capacity is given back only
//! for what the exchange took; a message that was cut ends in a reset, never in an end; everything of a connection stays
//! on its worker.
//! Limits: no server push, no priorities, extended CONNECT for WebSocket alone, no upgrade from HTTP/1.1 (`h2c` by `Upgrade`).

mod caller_stream;
mod channel;
mod endpoint_stream;
mod flood;
mod link;
mod memory;
mod preface;
mod servants;
mod serve;

pub(crate) use caller_stream::CallerStream;
pub(crate) use endpoint_stream::EndpointStream;
pub(crate) use flood::CloseReason;
pub(crate) use link::{Link, LinkError, Links};
pub(crate) use memory::OutputStock;
pub(crate) use preface::{Preface, preface};
pub(crate) use servants::Servants;
pub(crate) use serve::serve;

/// Bytes of one stream that its sender may send ahead. A relay holds at most a buffer of a stream itself; twice that
/// lets the next be on its way. Multiplied by the streams of a connection it is what a slow reader can make us hold.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;

/// Bytes of all streams of a connection that its sender may send ahead: no less than its streams may, since those of which
/// nothing is read would otherwise hold up the others.
pub(crate) const fn connection_window(streams_max: u32) -> u32 {
    let all = streams_max as u64 * STREAM_WINDOW as u64;
    if all < WINDOW_MAX as u64 { all as u32 } else { WINDOW_MAX }
}

/// The largest window that there is (RFC 9113, section 6.9.1).
const WINDOW_MAX: u32 = 0x7FFF_FFFF;

/// What a field costs in the header list beside its name and value (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;
