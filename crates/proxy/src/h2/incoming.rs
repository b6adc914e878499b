//! The receiving direction of a stream: what the peer sends, as bytes of HTTP/1.1.
//!
//! Invariants: flow-control capacity is given back for bytes that were handed on, never for bytes that wait here; at
//! most one DATA frame's payload is held; a stream that broke off is an error, never an end.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use isobar_http1::{CHUNK_HEAD_MAX, chunk_head};

use super::gone;
use super::translate::{self, BodyForm};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Incoming {
    body: RecvStream,
    form: BodyForm,
    /// Bytes of ours (the head, lines around chunks) that go before `payload`.
    lead: Vec<u8>,
    lead_sent: usize,
    payload: Bytes,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    Ended,
}

impl Incoming {
    /// A message whose encoded head is `head`.
    pub(super) fn new(body: RecvStream, head: Vec<u8>, form: BodyForm) -> Self {
        let stage = if form == BodyForm::None { Stage::Ended } else { Stage::Data };
        Self { body, form, lead: head, lead_sent: 0, payload: Bytes::new(), stage }
    }

    /// Gives up the memory of what is ours; nothing can be read after it.
    pub(super) fn take_lead(&mut self) -> Vec<u8> {
        self.lead_sent = 0;
        std::mem::take(&mut self.lead)
    }

    /// Everything was handed on.
    pub(super) fn is_ended(&self) -> bool {
        self.stage == Stage::Ended && !self.has_bytes()
    }

    fn has_bytes(&self) -> bool {
        self.lead_sent < self.lead.len() || !self.payload.is_empty()
    }

    /// Ready when bytes can be read, at the end, or with an error.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_bytes() || self.stage == Stage::Ended {
            return Poll::Ready(Ok(()));
        }
        self.poll_next(cx)
    }

    /// Reads into `into`, which must not be empty; `Ok(0)` is the end of the message.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut n_read = 0;
        loop {
            n_read += self.hand_on(&mut into[n_read..]);
            if n_read == into.len() || self.is_ended() {
                return Poll::Ready(Ok(n_read));
            }
            match self.poll_next(cx) {
                Poll::Ready(Ok(())) => {}
                // What was read is not lost to what comes behind it; an error shows at the next call.
                _ if n_read > 0 => return Poll::Ready(Ok(n_read)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Copies what is there.
    fn hand_on(&mut self, into: &mut [u8]) -> usize {
        let lead = &self.lead[self.lead_sent..];
        let of_lead = lead.len().min(into.len());
        into[..of_lead].copy_from_slice(&lead[..of_lead]);
        self.lead_sent += of_lead;
        let rest = &mut into[of_lead..];
        let of_payload = self.payload.len().min(rest.len());
        if of_payload > 0 {
            rest[..of_payload].copy_from_slice(&self.payload.split_to(of_payload));
            // An error means that the stream is gone, which the next frame tells.
            let _ = self.body.flow_control().release_capacity(of_payload);
            if self.payload.is_empty() && self.form == BodyForm::Chunked {
                self.say(|lead| lead.extend_from_slice(b"\r\n"));
            }
        }
        of_lead + of_payload
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.lead_sent == self.lead.len() {
            self.lead.clear();
            self.lead_sent = 0;
        }
        write(&mut self.lead);
    }

    /// Takes the next frame.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Data => match std::task::ready!(self.body.poll_data(cx)) {
                    Some(Ok(payload)) if payload.is_empty() => {}
                    Some(Ok(payload)) => {
                        self.open_chunk(payload.len());
                        self.payload = payload;
                        return Poll::Ready(Ok(()));
                    }
                    Some(Err(error)) => return Poll::Ready(Err(gone(error))),
                    None => self.stage = Stage::Trailers,
                },
                Stage::Trailers => {
                    let trailers = match std::task::ready!(self.body.poll_trailers(cx)) {
                        Ok(trailers) => trailers.unwrap_or_default(),
                        Err(error) => return Poll::Ready(Err(gone(error))),
                    };
                    self.stage = Stage::Ended;
                    if self.form == BodyForm::Chunked {
                        let mut section = b"0\r\n".to_vec();
                        translate::write_trailers(&trailers, &mut section)
                            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                        self.say(|lead| lead.extend_from_slice(&section));
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn open_chunk(&mut self, len: usize) {
        if self.form == BodyForm::Chunked {
            let mut line = [0; CHUNK_HEAD_MAX];
            let n = chunk_head(len, &mut line);
            self.say(|lead| lead.extend_from_slice(&line[..n]));
        }
    }
}
