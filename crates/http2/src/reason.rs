//! Why a stream or a connection ends (RFC 9113, section 7).

use std::fmt;

/// An error code; any number may come from a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub u32);

impl Reason {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The peer broke a rule that has no code of its own.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// We failed.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// More was sent than a window allows, or a window grew past its maximum.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// A frame came on a stream that its sender had ended.
    pub const STREAM_CLOSED: Self = Self(5);
    /// A frame has a size that it cannot have.
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    /// The request was not begun with and may be made again.
    pub const REFUSED_STREAM: Self = Self(7);
    /// Nobody waits for it any more.
    pub const CANCEL: Self = Self(8);
    /// The compression of fields is broken.
    pub const COMPRESSION_ERROR: Self = Self(9);
    /// The peer asks for too much work.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);

    /// The name in the RFC; empty for codes that it does not know.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(self.0 as usize).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "" => write!(f, "code {}", self.0),
            name => f.write_str(name),
        }
    }
}
