//! HTTP/1.1 as a codec without I/O: bytes go in, spans and verdicts come out.
//!
//! A head is parsed once, in place: [`RequestHead`] and [`ResponseHead`] hold byte ranges of the caller's buffer,
//! never copies. [`BodyDecoder`] finds the payload inside the caller's buffer. Nothing here reads a clock, a socket
//! or a random number, and nothing allocates on the path of a request once the field index has its capacity.
//!
//! # What always holds
//! - The verdict on a message does not depend on how its bytes were split into reads.
//! - Bytes that two readers could frame differently are refused, never repaired; every rule is a [`Reject`].
//! - No input panics.
//!
//! # Limits
//! HTTP/0.9, `CONNECT`, obsolete line folding and transfer codings other than `chunked` are refused on purpose.
#![deny(clippy::disallowed_methods)]

mod authority;
mod body;
mod chunk_line;
mod class;
mod field;
mod field_scan;
mod framing;
mod header_id;
mod method;
mod path;
mod reason_phrase;
mod reject;
mod request;
mod response;
mod scan;
mod span;
mod survey;
mod target;
mod tokenize;
mod trailers;

pub use authority::{authority_host, is_authority};
pub use body::{BodyDecoder, BodyStep};
pub use chunk_line::{CHUNK_HEAD_MAX, chunk_head};
pub use class::{is_lower_token, is_token, may_hold_control};
pub use field::Field;
pub use framing::{Framing, HeadLimits, parse_length};
pub use header_id::HeaderId;
pub use method::{Method, Version};
pub use path::normalize_path;
pub use reason_phrase::reason_phrase;
pub use reject::{Reject, RejectKind};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use scan::HeadProgress;
pub use span::Span;
pub use target::TargetForm;
