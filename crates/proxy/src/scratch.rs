//! The memory of one exchange, recycled between exchanges of a worker.

use isobar_http1::{HeadProgress, RequestHead, ResponseHead};

use crate::buffer::Buffer;

/// Capacity above which recycled vectors are let go, so that one huge message does not stay in memory for ever.
const KEEP_CAPACITY: usize = 64 * 1024;

/// Buffers and indexes that an exchange works in.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Bytes from the caller: the request's head stays at the front until the exchange ends.
    pub(crate) down: Buffer,
    /// Bytes from the endpoint.
    pub(crate) up: Buffer,
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) progress: HeadProgress,
    /// The normalised path, where it differs from the one received.
    pub(crate) path: Vec<u8>,
    /// Encoded bytes on their way to the endpoint.
    pub(crate) to_endpoint: Vec<u8>,
    /// Encoded bytes on their way to the caller.
    pub(crate) to_caller: Vec<u8>,
}

impl Scratch {
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.path.capacity() + self.to_endpoint.capacity() + self.to_caller.capacity() <= KEEP_CAPACITY
    }
}
