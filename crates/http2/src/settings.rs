//! What each side asks of the other (RFC 9113, section 6.5).

use crate::{Reason, frame};

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A window of everybody before anything is said (section 6.9.2).
pub(crate) const WINDOW_AT_FIRST: u32 = 65_535;

/// The largest window (section 6.9.1).
pub(crate) const WINDOW_MAX: u32 = 0x7FFF_FFFF;

/// Bounds that we hold the peer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Streams that a caller may have at a time; without a meaning towards endpoints.
    pub streams_max: u32,
    /// Bytes of one stream that may be sent ahead, at least 65,535.
    pub stream_window: u32,
    /// Bytes of all streams that may be sent ahead, at least 65,535.
    pub connection_window: u32,
    /// Bytes of the text of a head or of trailers; what is longer is cut there, for the parser to refuse.
    pub head_bytes: usize,
    /// The size of the list of fields that the peer is told (section 6.5.2).
    pub header_list_max: u32,
    /// Frames of one block of fields that may follow its first.
    pub continuations_max: usize,
}

/// What the peer said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerSettings {
    pub(crate) streams_max: u32,
    pub(crate) initial_window: u32,
    pub(crate) header_table: u32,
    /// The least that the last SETTINGS said on the way to it (RFC 7541, section 4.2).
    pub(crate) header_table_least: u32,
    pub(crate) takes_connect: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            streams_max: u32::MAX,
            initial_window: WINDOW_AT_FIRST,
            header_table: 4096,
            header_table_least: 4096,
            takes_connect: false,
        }
    }
}

impl PeerSettings {
    /// Takes the payload of SETTINGS; `from_server`: a server sent it.
    pub(crate) fn apply(&mut self, payload: &[u8], from_server: bool) -> Result<(), Reason> {
        self.header_table_least = u32::MAX;
        for setting in payload.chunks_exact(frame::SETTING_LEN) {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match name {
                HEADER_TABLE_SIZE => {
                    self.header_table = value;
                    self.header_table_least = self.header_table_least.min(value);
                }
                ENABLE_PUSH if value > u32::from(!from_server) => return Err(Reason::PROTOCOL_ERROR),
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                INITIAL_WINDOW_SIZE if value > WINDOW_MAX => return Err(Reason::FLOW_CONTROL_ERROR),
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                ENABLE_CONNECT_PROTOCOL if value > 1 => return Err(Reason::PROTOCOL_ERROR),
                // It cannot be taken back (RFC 8441, section 3).
                ENABLE_CONNECT_PROTOCOL if value == 0 && self.takes_connect => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                ENABLE_CONNECT_PROTOCOL => self.takes_connect = value == 1,
                _ => {}
            }
        }
        Ok(())
    }
}
