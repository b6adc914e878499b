//! Frames: their heads, and those that carry no message (RFC 9113, sections 4 and 6).
//!
//! Invariant: what is written here is a whole frame. Limit: frames that we send are never padded.

use crate::Reason;

/// Bytes before a frame's payload.
pub(crate) const HEAD_LEN: usize = 9;

/// Payload that a frame has at most: what every peer takes and all that we take (section 4.2). Larger frames would let one
/// stream hold up the others for longer and save nothing that can be measured.
pub(crate) const PAYLOAD_MAX: usize = 16_384;

/// Bytes of one setting.
pub(crate) const SETTING_LEN: usize = 6;

/// The numbers of the kinds of frames.
pub mod kind {
    /// Payload of a message.
    pub const DATA: u8 = 0;
    /// Fields of a message.
    pub const HEADERS: u8 = 1;
    /// What an earlier version of HTTP/2 knew of precedence.
    pub const PRIORITY: u8 = 2;
    /// The end of one stream.
    pub const RST_STREAM: u8 = 3;
    /// How the peer wants to be spoken to.
    pub const SETTINGS: u8 = 4;
    /// A message that nobody asked for.
    pub const PUSH_PROMISE: u8 = 5;
    /// A question whether the other is there.
    pub const PING: u8 = 6;
    /// No more streams are taken.
    pub const GOAWAY: u8 = 7;
    /// More may be sent.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More of HEADERS.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// Of SETTINGS and PING: an answer.
    pub const ACK: u8 = 1;
    /// The message ends.
    pub const END_STREAM: u8 = 1;
    /// The fields are complete.
    pub const END_HEADERS: u8 = 4;
    /// Padding surrounds the payload.
    pub const PADDED: u8 = 8;
    /// A precedence comes before the fields.
    pub const PRIORITY: u8 = 32;
}

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Of [`kind`].
    pub kind: u8,
    /// Of [`flag`].
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
    /// Bytes of payload.
    pub len: usize,
}

impl FrameHead {
    pub(crate) fn parse(bytes: [u8; HEAD_LEN]) -> Self {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7FFF_FFFF,
            len: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
        }
    }

    fn bytes(self) -> [u8; HEAD_LEN] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    /// Whether it has this flag.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What is wrong with it, whatever the state of its stream is.
    pub(crate) fn check(self) -> Result<(), Reason> {
        let size_is_right = match self.kind {
            kind::PRIORITY => self.len == 5,
            kind::RST_STREAM | kind::WINDOW_UPDATE => self.len == 4,
            kind::PING => self.len == 8,
            kind::GOAWAY => self.len >= 8,
            kind::SETTINGS if self.has(flag::ACK) => self.len == 0,
            kind::SETTINGS => self.len.is_multiple_of(SETTING_LEN),
            _ => true,
        };
        if !size_is_right || self.len > PAYLOAD_MAX {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let place_is_right = match self.kind {
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION => {
                self.stream != 0
            }
            kind::SETTINGS | kind::PING | kind::GOAWAY => self.stream == 0,
            // Nobody is allowed to send it: callers never are, and endpoints are told not to.
            kind::PUSH_PROMISE => false,
            _ => true,
        };
        if place_is_right { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) }
    }
}

/// Appends the head of a frame whose payload follows.
pub(crate) fn put_head(kind: u8, flags: u8, stream: u32, len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHead { kind, flags, stream, len }.bytes());
}

/// Sets the length in the head that begins at `at` to what stands behind it.
pub(crate) fn set_len(at: usize, out: &mut [u8]) {
    let [_, bytes @ ..] = ((out.len() - at - HEAD_LEN) as u32).to_be_bytes();
    out[at..at + bytes.len()].copy_from_slice(&bytes);
}

/// Adds flags to the head that begins at `at`.
pub(crate) fn add_flags(at: usize, flags: u8, out: &mut [u8]) {
    out[at + 4] |= flags;
}

pub(crate) fn put_reset(stream: u32, reason: Reason, out: &mut Vec<u8>) {
    put_head(kind::RST_STREAM, 0, stream, 4, out);
    out.extend_from_slice(&reason.0.to_be_bytes());
}

pub(crate) fn put_window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    put_head(kind::WINDOW_UPDATE, 0, stream, 4, out);
    out.extend_from_slice(&more.to_be_bytes());
}

pub(crate) fn put_ping(payload: [u8; 8], flags: u8, out: &mut Vec<u8>) {
    put_head(kind::PING, flags, 0, payload.len(), out);
    out.extend_from_slice(&payload);
}

pub(crate) fn put_goaway(last: u32, reason: Reason, out: &mut Vec<u8>) {
    put_head(kind::GOAWAY, 0, 0, 8, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&reason.0.to_be_bytes());
}

pub(crate) fn put_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    put_head(kind::SETTINGS, 0, 0, settings.len() * SETTING_LEN, out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn put_settings_ack(out: &mut Vec<u8>) {
    put_head(kind::SETTINGS, flag::ACK, 0, 0, out);
}
