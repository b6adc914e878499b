//! Blocks of fields as they come: requests, answers and trailers, each complete before it means anything.
//!
//! Invariant: every block is decoded, whoever waits for it, since the compression must stay in step (RFC 9113, section 4.3).

use crate::connection::{Block, Connection, Key, Leaving};
use crate::frame::{FrameHead, flag};
use crate::inbound::{Inbound, Kind, Translated};
use crate::receive::{Fault, Taken, is_circle_of};
use crate::{Malformed, Reason};

/// Bytes of a precedence in HEADERS.
const PRECEDENCE_LEN: usize = 5;

impl Connection {
    pub(crate) fn headers(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        let mut payload = payload;
        if head.has(flag::PADDED) {
            let (&n, rest) = payload.split_first().ok_or(Reason::FRAME_SIZE_ERROR)?;
            let len = rest.len().checked_sub(usize::from(n)).ok_or(Reason::PROTOCOL_ERROR)?;
            payload = &rest[..len];
        }
        let mut is_circle = false;
        if head.has(flag::PRIORITY) {
            let (precedence, rest) =
                payload.split_at_checked(PRECEDENCE_LEN).ok_or(Reason::FRAME_SIZE_ERROR)?;
            is_circle = is_circle_of(head.stream, precedence);
            payload = rest;
        }
        let ends_stream = head.has(flag::END_STREAM);
        let block = Block { stream: head.stream, ends_stream, is_circle, n_frames: 0, bytes: Vec::new() };
        if head.has(flag::END_HEADERS) {
            return self.complete(&block, payload);
        }
        self.block = Some(Block { bytes: payload.to_vec(), ..block });
        Ok(())
    }

    /// Takes a block whose last frame came; a stream that comes before itself is one by then.
    fn complete(&mut self, block: &Block, bytes: &[u8]) -> Taken {
        self.fields(block.stream, block.ends_stream, bytes)?;
        if block.is_circle { Err(Fault::Stream(block.stream, Reason::PROTOCOL_ERROR)) } else { Ok(()) }
    }

    pub(crate) fn continuation(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        let continuations_max = self.bounds.continuations_max;
        let Some(block) = &mut self.block else { return Err(Reason::PROTOCOL_ERROR.into()) };
        block.n_frames += 1;
        if block.n_frames > continuations_max {
            return Err(Reason::ENHANCE_YOUR_CALM.into());
        }
        block.bytes.extend_from_slice(payload);
        if !head.has(flag::END_HEADERS) {
            return Ok(());
        }
        let Some(block) = self.block.take() else { return Ok(()) };
        self.complete(&block, &block.bytes)
    }

    /// Takes a complete block of fields.
    fn fields(&mut self, id: u32, ends: bool, block: &[u8]) -> Taken {
        if let Some(key) = self.find(id) {
            return self.more_fields(key, id, ends, block);
        }
        let is_new = self.is_server() && id > self.newest;
        if is_new && id.is_multiple_of(2) {
            return Err(Reason::PROTOCOL_ERROR.into());
        }
        let is_taken = match self.leaving {
            Leaving::After(last) => id <= last,
            Leaving::No | Leaving::Told => true,
        };
        if !is_new {
            self.decode(block, |_, _| {})?;
            // What crossed the end that we set is no mistake; a number that was passed over is (section 5.1.1).
            let is_late = if self.is_server() { self.was_given_up(id) } else { self.was_begun(id) };
            return if is_late || !is_taken {
                Ok(())
            } else {
                self.on_unknown(id).and(Err(Reason::PROTOCOL_ERROR.into()))
            };
        }
        self.newest = id;
        if !is_taken {
            return self.decode(block, |_, _| {});
        }
        // Streams that their caller has reset count until their exchange has seen it.
        let is_refused = self.n_streams() >= self.bounds.streams_max as usize;
        if ends {
            self.remember_ended(id);
        }
        if is_refused {
            self.decode(block, |_, _| {})?;
            return Err(Fault::Stream(id, Reason::REFUSED_STREAM));
        }
        let key = self.hold(id);
        match self.translate(Key(key), Kind::Request, ends, block)? {
            Ok(translated) => {
                let slot = self.slot(Key(key));
                slot.method = translated.method;
                slot.tunnel = translated.tunnel;
                self.begin_message(Key(key), translated, ends);
                self.offer(key);
                Ok(())
            }
            Err(malformed) => {
                self.reset(Key(key), Reason::PROTOCOL_ERROR);
                self.release(Key(key));
                Err(Fault::Request(malformed))
            }
        }
    }

    /// Fields on a stream that is held: an answer, or trailers.
    fn more_fields(&mut self, key: Key, id: u32, ends: bool, block: &[u8]) -> Taken {
        let head_bytes = self.bounds.head_bytes;
        let slot = self.slot(key);
        if slot.broken.is_some() {
            return self.decode(block, |_, _| {});
        }
        if slot.receiving.is_complete {
            let fault = slot.after_end();
            return self.decode(block, |_, _| {}).and(Err(fault));
        }
        let is_answer = !slot.receiving.has_head;
        // Windows bound payload alone: interim heads that nobody reads would come without end.
        if is_answer && slot.receiving.text.len() >= head_bytes {
            let fault = Fault::Stream(id, Reason::ENHANCE_YOUR_CALM);
            return self.decode(block, |_, _| {}).and(Err(fault));
        }
        let kind = if is_answer {
            Kind::Response { to_head: slot.method == isobar_http1::Method::Head, tunnel: slot.proof }
        } else {
            Kind::Trailers
        };
        let translated = self.translate(key, kind, ends, block)?;
        if ends {
            self.remember_ended(id);
        }
        match translated {
            // Only trailers may follow a message, and they end it.
            Ok(_) if !is_answer && !ends => Err(Fault::Malformed(id, Malformed::PseudoField)),
            Ok(_) if !is_answer && self.slot(key).receiving.length_left.is_some_and(|left| left > 0) => {
                Err(Fault::Malformed(id, Malformed::Length))
            }
            Ok(translated) => {
                if is_answer {
                    self.begin_message(key, translated, ends);
                } else {
                    self.slot(key).receiving.is_complete = true;
                }
                if self.slot(key).wants_read {
                    self.touch(key);
                }
                Ok(())
            }
            Err(malformed) => Err(Fault::Malformed(id, malformed)),
        }
    }

    fn begin_message(&mut self, key: Key, translated: Translated, ends: bool) {
        let receiving = &mut self.slot(key).receiving;
        if translated.is_informational {
            return;
        }
        receiving.has_head = true;
        receiving.form = translated.form;
        receiving.length_left = translated.length;
        receiving.is_complete = ends;
    }

    /// Turns a block into text; an error in the result is the message's, an outer one the connection's.
    fn translate(
        &mut self,
        key: Key,
        kind: Kind,
        ends: bool,
        block: &[u8],
    ) -> Result<Result<Translated, Malformed>, Fault> {
        let bytes_max = self.bounds.head_bytes;
        let mut pseudo = std::mem::take(&mut self.pseudo);
        let receiving = &mut self.slot(key).receiving;
        let text = if kind == Kind::Trailers { &mut receiving.trailers } else { &mut receiving.text };
        let mut text = std::mem::take(text);
        let mut inbound = Inbound::new(kind, ends, &mut pseudo, &mut text, bytes_max);
        let decoded = self.decode(block, |name, value| inbound.field(name, value));
        let translated = inbound.finish();
        self.pseudo = pseudo;
        let receiving = &mut self.slot(key).receiving;
        *(if kind == Kind::Trailers { &mut receiving.trailers } else { &mut receiving.text }) = text;
        decoded.map(|()| translated)
    }

    fn decode(&mut self, block: &[u8], show: impl FnMut(&[u8], &[u8])) -> Taken {
        self.decoder.decode(block, show).map_err(|_| Fault::Connection(Reason::COMPRESSION_ERROR))
    }
}
