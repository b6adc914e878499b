//! The judge of a head's bytes: a state machine that takes them one after the other and remembers how far it came.
//!
//! It decides three things: where a head that comes in pieces ends, without looking at any byte twice; that a broken one
//! is refused at its first wrong byte, whatever is still to come; and which rule was broken. A head that is whole in
//! its first read does not come here: the tokenizer accepts a subset of what this accepts, and leaves the rest to it.
//! The verdict is a function of the bytes alone, because the first wrong byte is the same however they were split.
//!
//! Sources: RFC 9112 sections 2.2, 3, 4 and 5.

use crate::class::{is_target_byte, is_token_byte, is_value_byte};
use crate::field_scan::FieldScan;
use crate::{HeadLimits, Reject};

/// Empty lines before a request line that are skipped (RFC 9112 section 2.2 asks for at least one; old clients sent one
/// behind a body).
const EMPTY_LINES_MAX: u8 = 4;

/// Longest method, in bytes; the longest registered one (`UPDATEREDIRECTREF`) has 17.
pub(crate) const METHOD_BYTES_MAX: usize = 32;

/// The fixed start of a version; the digits of major and minor follow, with a dot between them.
const VERSION_START: &[u8; 5] = b"HTTP/";

/// Which start line a head has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartLine {
    Request,
    Response,
}

/// How far the search for the end of a head has come. One per head: start with the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadProgress {
    /// Bytes judged so far.
    position: u32,
    /// Where the part being read began.
    mark: u32,
    state: State,
    n_empty_lines: u8,
    fields: FieldScan,
}

/// What the next byte belongs to. Each state leads to the next in this list, except where noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first byte of a line that may be empty; leads to `EmptyCr`, `Method` or `Version`.
    #[default]
    Start,
    /// The line feed of an empty line; leads back to `Start`.
    EmptyCr,
    Method,
    Target,
    /// Of either start line.
    Version,
    /// Behind the version: in a request leads to `LineCr`.
    VersionEnd,
    Status,
    StatusEnd,
    Reason,
    LineCr,
    Fields,
}

impl HeadProgress {
    /// Whether no byte was judged yet.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.position == 0
    }

    /// Judges the bytes of `buf` that are new. `Ok(Some(n))`: the head is complete and n bytes long.
    pub(crate) fn advance(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        start_line: StartLine,
    ) -> Result<Option<usize>, Reject> {
        let window = limits.window(buf);
        while self.state != State::Fields {
            let Some(&byte) = window.get(self.position as usize) else { return self.pause(window, limits) };
            self.step(byte, limits, start_line)?;
            self.position += 1;
        }
        let behind = window.get(self.position as usize..).unwrap_or_default();
        let (n_read, is_complete) = self.fields.advance(behind, limits.n_headers)?;
        self.position += n_read as u32;
        if is_complete { Ok(Some(self.position as usize)) } else { self.pause(window, limits) }
    }

    /// All bytes of the window are judged and the head is not complete: either there is room for more, or none.
    fn pause(&self, window: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Reject> {
        if window.len() < limits.head_bytes {
            return Ok(None);
        }
        Err(if self.state == State::Target { Reject::TargetTooLong } else { Reject::HeadTooLarge })
    }

    /// One byte of the start line.
    fn step(&mut self, byte: u8, limits: &HeadLimits, start_line: StartLine) -> Result<(), Reject> {
        if byte == 0 {
            return Err(if self.state == State::Start {
                first_byte_error(start_line)
            } else {
                Reject::NulByte
            });
        }
        self.state = match self.state {
            State::Start => return self.step_start(byte, start_line),
            State::EmptyCr => expect_lf(byte, State::Start)?,
            State::Method => self.step_method(byte)?,
            State::Target => self.step_target(byte, limits)?,
            State::Version => return self.step_version(byte, start_line),
            State::VersionEnd => match (start_line, byte) {
                (StartLine::Request, b'\r') => State::LineCr,
                (StartLine::Response, b' ') => self.begin(State::Status),
                (_, b'\n') => return Err(Reject::BareLf),
                (StartLine::Request, b' ' | b'\t') => return Err(Reject::BadRequestLine),
                (StartLine::Request, _) => return Err(Reject::BadVersion),
                (StartLine::Response, _) => return Err(Reject::BadStatusLine),
            },
            State::Status => self.step_status(byte)?,
            State::StatusEnd => match byte {
                b' ' => State::Reason,
                b'\r' => State::LineCr,
                b'\n' => return Err(Reject::BareLf),
                _ => return Err(Reject::BadStatusLine),
            },
            State::Reason => match byte {
                b'\r' => State::LineCr,
                b'\n' => return Err(Reject::BareLf),
                byte if is_value_byte(byte) => State::Reason,
                _ => return Err(Reject::BadStatusLine),
            },
            State::LineCr | State::Fields => expect_lf(byte, State::Fields)?,
        };
        Ok(())
    }

    /// Enters a state whose part begins behind the current byte.
    fn begin(&mut self, state: State) -> State {
        self.mark = self.position + 1;
        state
    }

    /// Bytes of the current part before the current byte.
    fn part_len(&self) -> usize {
        (self.position - self.mark) as usize
    }

    /// The first byte tells a request from a TLS handshake and other noise.
    fn step_start(&mut self, byte: u8, start_line: StartLine) -> Result<(), Reject> {
        self.mark = self.position;
        match (start_line, byte) {
            (StartLine::Response, _) => {
                self.state = State::Version;
                return self.step_version(byte, start_line);
            }
            (StartLine::Request, b'\r') if self.n_empty_lines < EMPTY_LINES_MAX => {
                self.n_empty_lines += 1;
                self.state = State::EmptyCr;
            }
            (StartLine::Request, b'\r') => return Err(Reject::BadRequestLine),
            (StartLine::Request, b'\n') => return Err(Reject::BareLf),
            (StartLine::Request, byte) if byte.is_ascii_uppercase() => self.state = State::Method,
            (StartLine::Request, _) => return Err(first_byte_error(start_line)),
        }
        Ok(())
    }

    fn step_method(&mut self, byte: u8) -> Result<State, Reject> {
        match byte {
            b' ' => Ok(self.begin(State::Target)),
            byte if is_token_byte(byte) && self.part_len() < METHOD_BYTES_MAX => Ok(State::Method),
            b'\n' => Err(Reject::BareLf),
            b'\r' | b'\t' => Err(Reject::BadRequestLine),
            _ => Err(Reject::BadMethod),
        }
    }

    fn step_target(&mut self, byte: u8, limits: &HeadLimits) -> Result<State, Reject> {
        match byte {
            b' ' if self.part_len() > 0 => Ok(self.begin(State::Version)),
            b' ' => Err(Reject::BadRequestLine),
            byte if is_target_byte(byte) => {
                if self.part_len() < limits.target_bytes {
                    Ok(State::Target)
                } else {
                    Err(Reject::TargetTooLong)
                }
            }
            b'\n' => Err(Reject::BareLf),
            // The line of HTTP/0.9 ends here.
            b'\r' => Err(Reject::BadVersion),
            _ => Err(Reject::BadTarget),
        }
    }

    fn step_version(&mut self, byte: u8, start_line: StartLine) -> Result<(), Reject> {
        let at = self.part_len();
        let is_right = match VERSION_START.get(at) {
            Some(&expected) => byte == expected,
            None if at == 6 => byte == b'.',
            None => byte.is_ascii_digit(),
        };
        if !is_right {
            return Err(match (start_line, byte) {
                (_, b'\n') => Reject::BareLf,
                (StartLine::Request, b' ') if at == 0 => Reject::BadRequestLine,
                (StartLine::Request, _) => Reject::BadVersion,
                (StartLine::Response, _) => Reject::BadStatusLine,
            });
        }
        match at {
            5 if byte != b'1' => Err(Reject::UnsupportedVersion),
            7 => {
                self.state = State::VersionEnd;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn step_status(&mut self, byte: u8) -> Result<State, Reject> {
        let at = self.part_len();
        match byte {
            b'1'..=b'9' if at == 0 => Ok(State::Status),
            b'0'..=b'9' if at == 1 => Ok(State::Status),
            b'0'..=b'9' if at == 2 => Ok(State::StatusEnd),
            b'\n' => Err(Reject::BareLf),
            _ => Err(Reject::BadStatusLine),
        }
    }
}

fn first_byte_error(start_line: StartLine) -> Reject {
    match start_line {
        StartLine::Request => Reject::BadMethod,
        StartLine::Response => Reject::BadStatusLine,
    }
}

fn expect_lf(byte: u8, next: State) -> Result<State, Reject> {
    if byte == b'\n' { Ok(next) } else { Err(Reject::BareCr) }
}
