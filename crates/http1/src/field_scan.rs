//! The judge of a field section's bytes: the lines of a head, or of a chunked body's trailers, up to the empty line.
//!
//! Like the scan of start lines it takes byte after byte and stops at the first wrong one (RFC 9112 section 5).

use crate::Reject;
use crate::class::{is_token_byte, is_value_byte, token_run, value_run};

/// How far a field section has been judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldScan {
    state: FieldState,
    n_fields: u32,
}

/// What the next byte of a field section belongs to. `Start` is left for `Name` or `End`; a field line leads back to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FieldState {
    #[default]
    Start,
    Name,
    Value,
    ValueCr,
    End,
}

/// What a byte of a field section completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldEvent {
    Nothing,
    Line,
    Section,
}

impl FieldScan {
    /// Judges `bytes`. Gives how many of them belong to the section, and whether it is complete.
    pub(crate) fn advance(&mut self, bytes: &[u8], n_max: usize) -> Result<(usize, bool), Reject> {
        let mut at = 0;
        while at < bytes.len() {
            at += self.run(&bytes[at..]);
            if at == bytes.len() {
                break;
            }
            let event = self.step(bytes[at], n_max)?;
            at += 1;
            if event == FieldEvent::Section {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// How many of the bytes change nothing, which is true of most.
    #[inline]
    pub(crate) fn run(self, bytes: &[u8]) -> usize {
        match self.state {
            FieldState::Name => token_run(bytes),
            FieldState::Value => value_run(bytes),
            FieldState::Start | FieldState::ValueCr | FieldState::End => 0,
        }
    }

    /// Judges one byte.
    pub(crate) fn step(&mut self, byte: u8, n_max: usize) -> Result<FieldEvent, Reject> {
        self.state = match (self.state, byte) {
            (_, 0) => return Err(Reject::NulByte),
            (FieldState::Start, b'\r') => FieldState::End,
            (FieldState::Start | FieldState::Name | FieldState::Value, b'\n') => return Err(Reject::BareLf),
            (FieldState::Start, b' ' | b'\t') => return Err(Reject::ObsFold),
            (FieldState::Start, byte) if is_token_byte(byte) => {
                if self.n_fields as usize >= n_max {
                    return Err(Reject::TooManyHeaders);
                }
                self.n_fields += 1;
                FieldState::Name
            }
            (FieldState::Name, b':') => FieldState::Value,
            (FieldState::Name, b' ' | b'\t') => return Err(Reject::SpaceBeforeColon),
            (FieldState::Name, byte) if is_token_byte(byte) => FieldState::Name,
            (FieldState::Start | FieldState::Name, _) => return Err(Reject::BadHeaderName),
            (FieldState::Value, b'\r') => FieldState::ValueCr,
            (FieldState::Value, byte) if is_value_byte(byte) => FieldState::Value,
            (FieldState::Value, _) => return Err(Reject::BadHeaderValue),
            (FieldState::ValueCr, b'\n') => {
                self.state = FieldState::Start;
                return Ok(FieldEvent::Line);
            }
            (FieldState::End, b'\n') => return Ok(FieldEvent::Section),
            (FieldState::ValueCr | FieldState::End, _) => return Err(Reject::BareCr),
        };
        Ok(FieldEvent::Nothing)
    }
}
