//! Bodies: where the payload lies in the bytes that arrive.
//!
//! A decoder keeps no payload. Each call looks at the bytes that were not consumed yet and says what the first of them
//! are. Calls may be as many and as small as reads are; the payload and the verdict do not depend on it.

use crate::chunk_line::{Chunk, ChunkLine};
use crate::trailers::Trailers;
use crate::{Framing, Reject};

/// How far extensions may exceed the payload they come with, in bytes, over a whole body. Without this bound a body of
/// one-byte chunks could cost hundreds of times what it carries.
const SURPLUS_EXTENSION_BYTES_MAX: u64 = 16 * 1024;

/// What the bytes at the start of the input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyStep {
    /// Consume these framing bytes, then nothing more is known until more input arrives.
    NeedMore {
        /// Bytes to consume.
        consumed: usize,
    },
    /// Payload at `start..end` of the input, never empty; consume `end` bytes.
    Data {
        /// Offset of the payload's first byte.
        start: usize,
        /// Offset one past its last byte.
        end: usize,
    },
    /// Consume these bytes; the body is complete.
    Done {
        /// Bytes to consume.
        consumed: usize,
    },
}

/// Decodes one message body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyDecoder {
    state: State,
    /// Extension bytes not made up for by payload.
    n_surplus_bytes: u64,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This much is left of a body of known length, never zero; leads to `Done`.
    Length(u64),
    /// Leads to `Done` with the end of the stream only.
    UntilClose,
    /// Leads to `Payload`, or to `Trailers` behind the last chunk.
    ChunkLine(ChunkLine),
    /// This much is left of the chunk, never zero; leads to `PayloadEnd`.
    Payload(u64),
    /// The carriage return behind a chunk's payload; leads to `PayloadEndLf`.
    PayloadEnd,
    /// The line feed behind it; leads to `ChunkLine`.
    PayloadEndLf,
    /// Leads to `Done`.
    Trailers,
    Done,
}

impl BodyDecoder {
    /// For one body of this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::ChunkLine(ChunkLine::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, n_surplus_bytes: 0, trailers: Trailers::default() }
    }

    /// Looks at the start of `input`, the bytes not consumed yet. One call takes all framing before the first payload
    /// byte. After an error the connection is of no further use.
    pub fn decode(&mut self, input: &[u8]) -> Result<BodyStep, Reject> {
        let mut at = 0;
        loop {
            match &mut self.state {
                State::Done => return Ok(BodyStep::Done { consumed: at }),
                State::Length(left) | State::Payload(left) => {
                    let left = *left;
                    return Ok(self.take(input, at, left));
                }
                State::UntilClose => return Ok(self.take(input, at, u64::MAX)),
                State::ChunkLine(line) => {
                    let (n_read, chunk) = line.advance(&input[at..])?;
                    at += n_read;
                    let Some(chunk) = chunk else { return Ok(BodyStep::NeedMore { consumed: at }) };
                    self.state = self.begin_chunk(chunk)?;
                }
                State::Trailers => {
                    let (n_read, is_over) = self.trailers.advance(&input[at..])?;
                    at += n_read;
                    if !is_over {
                        return Ok(BodyStep::NeedMore { consumed: at });
                    }
                    self.state = State::Done;
                }
                State::PayloadEnd | State::PayloadEndLf => {
                    let Some(&byte) = input.get(at) else { return Ok(BodyStep::NeedMore { consumed: at }) };
                    self.state = self.step(byte)?;
                    at += 1;
                }
            }
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The stream ended. That completes a body until close; any other must be complete already, or
    /// [`Reject::Truncated`].
    pub fn end_of_stream(&mut self) -> Result<(), Reject> {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        if self.is_done() { Ok(()) } else { Err(Reject::Truncated) }
    }

    /// The trailer section, checked, without the fields that must not come so late: complete lines `name: value\r\n`,
    /// empty if there are none.
    pub fn trailers(&self) -> &[u8] {
        self.trailers.lines()
    }

    /// Payload at `at`, at most `left` bytes of it.
    fn take(&mut self, input: &[u8], at: usize, left: u64) -> BodyStep {
        let available = (input.len() - at) as u64;
        if available == 0 {
            return BodyStep::NeedMore { consumed: at };
        }
        let taken = available.min(left);
        self.state = match self.state {
            State::Length(_) if taken == left => State::Done,
            State::Length(_) => State::Length(left - taken),
            State::Payload(_) if taken == left => State::PayloadEnd,
            State::Payload(_) => State::Payload(left - taken),
            other => other,
        };
        BodyStep::Data { start: at, end: at + taken as usize }
    }

    /// One byte of the framing behind a chunk's payload.
    fn step(&self, byte: u8) -> Result<State, Reject> {
        match (self.state, byte) {
            (State::PayloadEnd, b'\r') => Ok(State::PayloadEndLf),
            (State::PayloadEnd, b'\n') => Err(Reject::BareLf),
            (State::PayloadEnd, _) => Err(Reject::BadChunkEnd),
            (State::PayloadEndLf, b'\n') => Ok(State::ChunkLine(ChunkLine::default())),
            _ => Err(Reject::BareCr),
        }
    }

    fn begin_chunk(&mut self, chunk: Chunk) -> Result<State, Reject> {
        let surplus = self.n_surplus_bytes + u64::from(chunk.n_extension_bytes);
        if surplus > SURPLUS_EXTENSION_BYTES_MAX {
            return Err(Reject::ChunkExtensionTooLong);
        }
        self.n_surplus_bytes = surplus.saturating_sub(chunk.size);
        Ok(if chunk.size == 0 { State::Trailers } else { State::Payload(chunk.size) })
    }
}
