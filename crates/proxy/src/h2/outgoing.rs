//! The sending direction of a stream: a body in the framing of HTTP/1.1, as DATA and trailers.
//!
//! Invariants: bytes are taken only as far as the peer's window and our own bound on waiting bytes reach, so who writes
//! meets the peer's backpressure; the end is sent when the framing says that it is there, and then only.
//! Pieces of one call are cut no smaller than need be ([`PIECE_MIN`]). Limit: pieces that were gathered in one call leave as one DATA frame, those of different calls do not wait for
//! another.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};
use isobar_http1::{BodyDecoder, BodyStep, Framing};
use tokio::time::Sleep;

use super::gone;
use super::piece::{Piece, Waiting};
use super::translate;

/// A part of a piece shorter than this is not sent while more may soon be (RFC 1122, section 4.2.3.4, has the like for TCP): the
/// head of a frame is then less than 1 % of it, and no peer takes it for a flood of small ones.
const PIECE_MIN: usize = 1024;

/// Where a peer's windows are smaller than that, what they allow is enough from then on, but for frames as short as this,
/// which are more head than body.
const PIECE_LEAST: usize = 256;

/// A peer that reads gives room for more well within this.
const PATIENCE: Duration = Duration::from_millis(10);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Piece>,
    decoder: BodyDecoder,
    /// Payload at the front of what is written next.
    payload: usize,
    /// Payload that was taken in this call.
    gathered: BytesMut,
    /// There from the first piece that others follow.
    waiting: Option<Rc<Waiting>>,
    /// How long a rest of the window is left alone; there while one is.
    pause: Option<Pin<Box<Sleep>>>,
    /// A part shorter than this is not sent while more may soon be.
    piece_min: usize,
    ended: bool,
}

impl Outgoing {
    /// A body in this framing; where there is none, the end must have gone with the head.
    pub(super) fn new(stream: SendStream<Piece>, framing: Framing) -> Self {
        let decoder = BodyDecoder::new(framing);
        let ended = decoder.is_done();
        let (waiting, pause, piece_min) = (None, None, PIECE_MIN);
        Self { stream, decoder, payload: 0, gathered: BytesMut::new(), waiting, pause, piece_min, ended }
    }

    /// The end was sent.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Ready with the reason when the peer reset the stream.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(cx)
    }

    pub(super) fn send_reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ends a body that has no other end.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            // Of a stream that is over the next read tells.
            let _ = self.stream.send_data(Piece::last(Bytes::new()), true);
        }
    }

    /// Takes bytes of the slices in order, as many as may be sent now.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut n_taken = 0;
        for slice in [first, second] {
            match self.take(cx, slice)? {
                Taken::All => n_taken += slice.len(),
                Taken::Until(n) => {
                    n_taken += n;
                    break;
                }
            }
        }
        self.send(false)?;
        if n_taken == 0 && !(first.is_empty() && second.is_empty()) && !self.ended {
            // `take` has left its waker with the stream.
            return Poll::Pending;
        }
        Poll::Ready(Ok(n_taken))
    }

    fn take(&mut self, cx: &mut Context<'_>, slice: &[u8]) -> io::Result<Taken> {
        let mut at = 0;
        while !self.ended {
            if self.payload > 0 {
                if at == slice.len() {
                    break;
                }
                let wanted = self.payload.min(slice.len() - at);
                let Some(n) = self.capacity(cx, wanted)? else { return Ok(Taken::Until(at)) };
                self.gathered.extend_from_slice(&slice[at..at + n]);
                at += n;
                self.payload -= n;
                if self.payload > 0 || !self.decoder.is_done() {
                    continue;
                }
            }
            match self.decoder.decode(&slice[at..]).map_err(|reject| invalid(reject.reason()))? {
                BodyStep::NeedMore { consumed } => {
                    at += consumed;
                    break;
                }
                BodyStep::Data { start, end } => {
                    at += start;
                    self.payload = end - start;
                }
                BodyStep::Done { consumed } => {
                    at += consumed;
                    self.send(true)?;
                }
            }
        }
        if at == slice.len() { Ok(Taken::All) } else { Ok(Taken::Until(at)) }
    }

    /// Whether no more than the few bytes that may be sent now is to be had for a while.
    fn is_all_there_is(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(waiting) = self.waiting.as_ref().filter(|waiting| !waiting.is_none()) {
            // The rest of a buffer, which will empty itself.
            waiting.wake(cx);
            return false;
        }
        // The rest of a window. A peer that reads gives more of it; one that waits for these bytes must get them.
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        pause.as_mut().poll(cx).is_ready()
    }

    /// How many of `wanted` bytes may be sent now; `None`: none, and the task is woken when that changes.
    fn capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> io::Result<Option<usize>> {
        let wanted_in_all = self.gathered.len() + wanted;
        if self.stream.capacity() < wanted_in_all {
            self.stream.reserve_capacity(wanted_in_all);
        }
        loop {
            let available = self.stream.capacity().saturating_sub(self.gathered.len());
            let n = available.min(wanted);
            let is_worth_a_frame = n == wanted || self.gathered.len() + n >= self.piece_min;
            if n > 0 && (is_worth_a_frame || self.is_all_there_is(cx)) {
                if !is_worth_a_frame {
                    self.piece_min = (self.gathered.len() + n).clamp(PIECE_LEAST, PIECE_MIN);
                }
                self.pause = None;
                return Ok(Some(n));
            }
            match self.stream.poll_capacity(cx) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Err(gone(error)),
                Poll::Ready(None) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Sends what was gathered, and the end where that is there.
    fn send(&mut self, ends: bool) -> io::Result<()> {
        let lines = if ends { self.decoder.trailers() } else { b"" };
        let trailers = if lines.is_empty() {
            None
        } else {
            Some(translate::trailers(lines).map_err(|_| invalid("trailers"))?)
        };
        let ends_here = ends && trailers.is_none();
        if ends_here || !self.gathered.is_empty() {
            let bytes = std::mem::take(&mut self.gathered).freeze();
            let piece = if ends {
                Piece::last(bytes)
            } else {
                Piece::new(bytes, self.waiting.get_or_insert_default())
            };
            self.stream.send_data(piece, ends_here).map_err(gone)?;
        }
        if let Some(trailers) = trailers {
            self.stream.send_trailers(trailers).map_err(gone)?;
        }
        self.ended |= ends;
        Ok(())
    }
}

/// How much of a slice was taken.
enum Taken {
    All,
    Until(usize),
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
