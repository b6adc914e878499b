//! What gRPC says over HTTP/2, as a codec without I/O: which request is a call, its deadline, statuses, the frames around
//! messages, the two messages of the health service and a server's report of its load.
//!
//! The source of every rule is the page "gRPC over HTTP2" of the gRPC project, and for the health service its "GRPC Health
//! Checking Protocol", for reports gRFC A51. Shared by the data path, which never looks into a message, and the probes, which send one.
//!
//! Invariants: pure (no socket, task, clock, environment or randomness); no input panics; nothing is allocated beyond
//! what is handed out.
//! Limits: no compression; Protocol Buffers only as far as these messages need them.
#![deny(clippy::disallowed_methods)]

mod frame;
pub mod health;
pub mod load_report;
mod message;
mod protobuf;
mod status;
mod timeout;

pub use frame::{FrameError, PREFIX_LEN, first_message, framed};
pub use message::write_percent_encoded;
pub use status::Status;
pub use timeout::{parse_timeout, write_timeout};

/// Whether a request with this `content-type` is a gRPC call; gRPC-Web, which browsers speak, is another protocol.
pub fn is_call(content_type: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some((start, rest)) = content_type.split_at_checked(TYPE.len()) else { return false };
    start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_its_content_type_and_grpc_web_is_none() {
        for call in ["application/grpc", "application/grpc+proto", "application/grpc;x=y", "Application/gRPC"]
        {
            assert!(is_call(call.as_bytes()), "{call}");
        }
        for other in
            ["", "application/grp", "application/grpc-web", "application/grpc-web+proto", "application/json"]
        {
            assert!(!is_call(other.as_bytes()), "{other}");
        }
    }
}
