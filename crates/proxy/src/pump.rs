//! Moves one message body from a stream to another: decode, encode, write, with backpressure.
//!
//! One `Pump` serves both directions of an exchange. It holds no payload of its own: payload stands in the source's
//! buffer until the sink took it; only the bytes around it (the message head, chunk lines, small pieces) are copied to
//! `lead`, so that a short message leaves in one write.
//!
//! Invariants: nothing is read while something waits to be written; a wake moves at most [`BYTES_PER_WAKE`].
//! Limits: the first `base` bytes of the source's buffer belong to somebody else (the request's head) and stay.

use std::io;
use std::task::{Context, Poll};

use isobar_http1::{BodyDecoder, BodyStep, CHUNK_HEAD_MAX, Framing, Reject, chunk_head};

use crate::buffer::Buffer;
use crate::stream::Stream;

/// Payload moved in one wake before other connections of the worker get their turn.
const BYTES_PER_WAKE: usize = 256 * 1024;

/// Reads in one wake, for sources that deliver a few bytes at a time.
const READS_PER_WAKE: usize = 16;

/// Pieces up to this length are copied behind the lead: cheaper than a second element in a vectored write.
const SMALL_PIECE: usize = 2 * 1024;

/// The lead stops taking small pieces at this length.
const LEAD_MAX: usize = 16 * 1024;

/// Body bytes kept for another attempt (architecture, section 2); a request that sent more is not retried.
pub(crate) const KEPT_MAX: usize = 64 * 1024;

/// Why a body stopped moving.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// Reading failed.
    Source(io::Error),
    /// The source ended inside the body.
    Truncated,
    /// The source's framing is wrong.
    Rejected(Reject),
    /// The body is longer than its bound.
    TooLong,
    /// Writing failed.
    Sink(io::Error),
}

/// One body on its way.
#[expect(clippy::struct_excessive_bools, reason = "independent phases of two streams, not one state")]
pub(crate) struct Pump {
    decoder: BodyDecoder,
    chunked: bool,
    lead: Vec<u8>,
    lead_sent: usize,
    base: usize,
    /// Where the bytes not looked at begin in the source's buffer.
    at: usize,
    /// Payload at `at` that waits to be written.
    payload: usize,
    flush_due: bool,
    in_chunk: bool,
    ended: bool,
    finished: bool,
    /// Keeps what was sent in the source's buffer, for another attempt.
    keep: bool,
    /// Something that was consumed is no longer in the source's buffer.
    dropped: bool,
    /// Payload bytes so far.
    pub(crate) n_bytes: u64,
    /// Bytes written to the sink so far, framing and head included.
    pub(crate) n_written: u64,
    max_bytes: u64,
}

enum Staged {
    Flush,
    Read,
}

impl Pump {
    /// A pump whose first bytes are `lead` (the encoded head), from `base` in the source's buffer.
    pub(crate) fn new(framing: Framing, chunked: bool, lead: Vec<u8>, base: usize) -> Self {
        Self {
            decoder: BodyDecoder::new(framing),
            chunked,
            lead,
            lead_sent: 0,
            base,
            at: base,
            payload: 0,
            flush_due: false,
            in_chunk: false,
            ended: false,
            finished: false,
            keep: false,
            dropped: false,
            n_bytes: 0,
            n_written: 0,
            max_bytes: u64::MAX,
        }
    }

    /// Fails with `TooLong` past `max` payload bytes.
    pub(crate) fn bounded(mut self, max: u64) -> Self {
        self.max_bytes = max;
        self
    }

    /// Keeps up to [`KEPT_MAX`] sent bytes in the source's buffer.
    pub(crate) fn keeping(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Everything arrived and was written.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The source's message was read to its end (it may not be written yet).
    pub(crate) fn source_is_done(&self) -> bool {
        self.ended
    }

    /// Whether it waits for the sink rather than for the source.
    pub(crate) fn waits_for_sink(&self) -> bool {
        self.flush_due
    }

    /// Whether another attempt could start over: all that was consumed is still there.
    pub(crate) fn can_restart(&self) -> bool {
        !self.dropped
    }

    /// Ends keeping: the exchange has its response.
    pub(crate) fn stop_keeping(&mut self) {
        self.keep = false;
    }

    /// Where the first byte behind the message stands in the source's buffer.
    pub(crate) fn source_end(&self) -> usize {
        self.at
    }

    /// The trailers of the source's message, once it was read to its end: complete lines.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.decoder.trailers()
    }

    /// What ends a message in chunks that broke off between two of them, with these trailers; `None` for any other.
    pub(crate) fn ending(&self, trailers: &[u8]) -> Option<Vec<u8>> {
        if !self.chunked || self.flush_due || self.ended {
            return None;
        }
        let chunk_end: &[u8] = if self.in_chunk { b"\r\n" } else { b"" };
        Some([&self.lead[self.lead_sent..], chunk_end, b"0\r\n", trailers, b"\r\n"].concat())
    }

    /// The memory of the lead, for the next pump.
    pub(crate) fn into_lead(mut self) -> Vec<u8> {
        self.lead.clear();
        self.lead
    }

    /// Moves as much as both sides take; `Ready(Ok(()))` when the whole message was written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<Result<(), PumpError>> {
        let (mut n_reads, written_before) = (0, self.n_written);
        loop {
            if self.finished {
                return Poll::Ready(Ok(()));
            }
            if self.flush_due {
                if self.poll_flush(cx, buffer, sink)?.is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            if let Staged::Flush = self.stage(buffer)? {
                self.flush_due = true;
                continue;
            }
            let moved = (self.n_written - written_before) as usize;
            if n_reads >= READS_PER_WAKE || moved >= BYTES_PER_WAKE {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.poll_fill(cx, source, buffer)?.is_pending() {
                return Poll::Pending;
            }
            n_reads += 1;
        }
    }

    /// Writes the lead and the payload; ready when both are out.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            let lead = &self.lead[self.lead_sent..];
            if lead.is_empty() && self.payload == 0 {
                if let Err(error) = std::task::ready!(sink.poll_flush(cx)) {
                    return Poll::Ready(Err(PumpError::Sink(error)));
                }
                self.lead.clear();
                self.lead_sent = 0;
                self.flush_due = false;
                self.finished = self.ended;
                return Poll::Ready(Ok(()));
            }
            let payload = &buffer.filled()[self.at..self.at + self.payload];
            let n = match sink.poll_write(cx, lead, payload) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Sink(error))),
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(PumpError::Sink(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(n)) => n,
            };
            self.n_written += n as u64;
            let of_lead = n.min(lead.len());
            self.lead_sent += of_lead;
            self.at += n - of_lead;
            self.payload -= n - of_lead;
        }
    }

    /// Decodes what the buffer holds into lead and payload.
    fn stage(&mut self, buffer: &Buffer) -> Result<Staged, PumpError> {
        loop {
            let input = &buffer.filled()[self.at..];
            match self.decoder.decode(input).map_err(PumpError::Rejected)? {
                BodyStep::NeedMore { consumed } => {
                    self.at += consumed;
                    return Ok(if self.lead.is_empty() { Staged::Read } else { Staged::Flush });
                }
                BodyStep::Data { start, end } => {
                    let len = end - start;
                    self.n_bytes += len as u64;
                    if self.n_bytes > self.max_bytes {
                        return Err(PumpError::TooLong);
                    }
                    self.open_chunk(len);
                    if len <= SMALL_PIECE && self.lead.len() + len <= LEAD_MAX {
                        self.lead.extend_from_slice(&input[start..end]);
                        self.at += end;
                    } else {
                        self.at += start;
                        self.payload = len;
                        return Ok(Staged::Flush);
                    }
                }
                BodyStep::Done { consumed } => {
                    self.at += consumed;
                    self.end();
                    return Ok(Staged::Flush);
                }
            }
        }
    }

    fn open_chunk(&mut self, len: usize) {
        if !self.chunked {
            return;
        }
        if self.in_chunk {
            self.lead.extend_from_slice(b"\r\n");
        }
        let mut line = [0; CHUNK_HEAD_MAX];
        let n = chunk_head(len, &mut line);
        self.lead.extend_from_slice(&line[..n]);
        self.in_chunk = true;
    }

    fn end(&mut self) {
        self.ended = true;
        if self.chunked {
            if self.in_chunk {
                self.lead.extend_from_slice(b"\r\n");
            }
            self.lead.extend_from_slice(b"0\r\n");
            self.lead.extend_from_slice(self.decoder.trailers());
            self.lead.extend_from_slice(b"\r\n");
        }
    }

    /// Reads once from the source.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), PumpError>> {
        if self.keep && self.at - self.base > KEPT_MAX {
            self.keep = false;
        }
        if !self.keep && self.at > self.base {
            buffer.cut(self.base..self.at);
            self.at = self.base;
            self.dropped = true;
        }
        // A message head may fill most of the buffer and kept bytes the rest; the body needs some room beside them. The
        // codec leaves at most a chunk line undecoded, so this bound is not met by what it accepts.
        if !buffer.make_room(self.base + KEPT_MAX * 2) {
            return Poll::Ready(Err(PumpError::TooLong));
        }
        match source.poll_read(cx, buffer.room()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => {
                if self.decoder.end_of_stream().is_err() {
                    return Poll::Ready(Err(PumpError::Truncated));
                }
                self.end();
                self.flush_due = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(n)) => {
                buffer.filled_more(n);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(PumpError::Source(error))),
        }
    }
}
