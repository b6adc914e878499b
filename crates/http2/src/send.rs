//! What goes to the peer: text of HTTP/1.1 that is written to a stream, as HEADERS, DATA and trailers.
//!
//! Invariants: payload is taken only as far as the peer's windows and our own bound reach, so who writes meets the peer's
//! backpressure; the end is sent when the framing says that it is there, and then only. Pieces of one call are put into
//! as few frames as may be.

use isobar_http1::{BodyDecoder, BodyStep, Framing, HeadLimits, HeadProgress, HeaderId, Method};

use crate::connection::{Connection, Key, Role};
use crate::frame::{self, HEAD_LEN, PAYLOAD_MAX, flag, kind};
use crate::outbound::Outbound;
use crate::stream::{Broken, Sending};

/// Bounds of a head that is written. It was parsed before and got lines added: what is refused here is a defect of ours, not
/// of anybody's message.
const LIMITS: HeadLimits = HeadLimits { head_bytes: 2 << 20, target_bytes: 2 << 20, n_headers: 2048 };

/// Less than this is not sent for want of window while the peer has more of that to give: a frame's head would be a good part
/// of it, and peers take many small frames for a flood.
const PIECE_MIN: i64 = 256;

/// A write that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// The stream is over.
    Broken(Broken),
    /// The text is not what HTTP/2 can carry.
    Invalid(&'static str),
}

/// How far a slice was taken.
enum Taken {
    All,
    Until(usize),
}

impl Connection {
    /// Takes bytes of the slices in order, as many as may be sent now; 0, unless there are none: the stream is touched when
    /// that changes. Bytes behind the message's end are not taken.
    ///
    /// # Errors
    /// The stream broke off, or the text is none.
    pub fn write(&mut self, key: Key, first: &[u8], second: &[u8]) -> Result<usize, WriteError> {
        if let Some(broken) = self.broken(key) {
            return Err(WriteError::Broken(broken));
        }
        let (mut n_taken, mut open) = (0, None);
        for slice in [first, second] {
            match self.take(key, slice, &mut open) {
                Ok(Taken::All) => n_taken += slice.len(),
                Ok(Taken::Until(n)) => {
                    n_taken += n;
                    break;
                }
                Err(error) => {
                    // What went out before is a whole frame: the other streams go on behind it.
                    self.close_frame(open);
                    return Err(error);
                }
            }
        }
        self.close_frame(open);
        if n_taken == 0 && !(first.is_empty() && second.is_empty()) && !self.slot(key).is_sent() {
            self.slot(key).wants_write = true;
        }
        Ok(n_taken)
    }

    /// Ends a body that has no other end, as that of a tunnel.
    pub fn finish(&mut self, key: Key) {
        let slot = self.slot(key);
        if slot.broken.is_none() && matches!(slot.sending, Sending::Body { .. }) {
            slot.sending = Sending::Ended;
            let id = slot.id;
            frame::put_head(kind::DATA, flag::END_STREAM, id, 0, &mut self.out);
        }
    }

    /// Whether the end was sent.
    pub fn is_sent(&self, key: Key) -> bool {
        self.slots[key.0 as usize].as_ref().is_some_and(crate::stream::Slot::is_sent)
    }

    /// `open`: where a frame of DATA that can take more begins.
    fn take(&mut self, key: Key, slice: &[u8], open: &mut Option<usize>) -> Result<Taken, WriteError> {
        let mut at = 0;
        loop {
            match &mut self.slot(key).sending {
                Sending::Ended => break,
                Sending::Head(_) => {
                    if at == slice.len() {
                        break;
                    }
                    at += self.head(key, &slice[at..])?;
                }
                Sending::Body { decoder, payload: 0 } => {
                    match decoder
                        .decode(&slice[at..])
                        .map_err(|reject| WriteError::Invalid(reject.reason()))?
                    {
                        BodyStep::NeedMore { consumed } => {
                            at += consumed;
                            break;
                        }
                        BodyStep::Data { start, end } => {
                            at += start;
                            self.set_payload(key, end - start);
                        }
                        BodyStep::Done { consumed } => {
                            at += consumed;
                            self.end_message(key, open)?;
                        }
                    }
                }
                Sending::Body { payload, .. } => {
                    if at == slice.len() {
                        break;
                    }
                    let wanted = (*payload).min(slice.len() - at);
                    let n = self.data_out(key, &slice[at..at + wanted], open);
                    if n == 0 {
                        return Ok(Taken::Until(at));
                    }
                    at += n;
                    self.end_of_length(key, n, open)?;
                }
            }
        }
        Ok(if at == slice.len() { Taken::All } else { Taken::Until(at) })
    }

    fn set_payload(&mut self, key: Key, n: usize) {
        if let Sending::Body { payload, .. } = &mut self.slot(key).sending {
            *payload = n;
        }
    }

    /// Counts payload that went out; a body whose length was told ends with its last byte.
    fn end_of_length(&mut self, key: Key, n: usize, open: &mut Option<usize>) -> Result<(), WriteError> {
        let Sending::Body { decoder, payload } = &mut self.slot(key).sending else { return Ok(()) };
        *payload -= n;
        if *payload == 0 && decoder.is_done() { self.end_message(key, open) } else { Ok(()) }
    }

    /// Puts as much of `bytes` as may be sent into frames of DATA.
    fn data_out(&mut self, key: Key, bytes: &[u8], open: &mut Option<usize>) -> usize {
        let (room, of_all, initial) = (self.room(), self.send_window, i64::from(self.peer.initial_window));
        let slot = self.slot(key);
        let (id, of_stream) = (slot.id, slot.send_window);
        let windows = of_all.min(of_stream);
        let mut n = bytes.len().min(room).min(usize::try_from(windows).unwrap_or(0));
        // A peer that reads what it has gives more window for it, unless all that it gives is less.
        let is_scrap = n < bytes.len() && windows < PIECE_MIN && initial >= PIECE_MIN;
        if is_scrap && open.is_none() {
            n = 0;
        }
        if n == 0 {
            if room == 0 || of_all < PIECE_MIN {
                self.queue(key);
            }
            return 0;
        }
        let at = match *open {
            Some(at) if self.out.len() - at - HEAD_LEN < PAYLOAD_MAX => at,
            full => {
                self.close_frame(full);
                let at = self.out.len();
                frame::put_head(kind::DATA, 0, id, 0, &mut self.out);
                at
            }
        };
        n = n.min(PAYLOAD_MAX - (self.out.len() - at - HEAD_LEN));
        self.out.extend_from_slice(&bytes[..n]);
        *open = Some(at);
        self.send_window -= n as i64;
        let slot = self.slot(key);
        slot.send_window -= n as i64;
        slot.turn = None;
        n
    }

    fn close_frame(&mut self, open: Option<usize>) {
        if let Some(at) = open {
            frame::set_len(at, &mut self.out);
        }
    }

    /// Sends the end, with trailers where there are any.
    fn end_message(&mut self, key: Key, open: &mut Option<usize>) -> Result<(), WriteError> {
        let slot = self.slot(key);
        let id = slot.id;
        let sending = std::mem::replace(&mut slot.sending, Sending::Ended);
        let Sending::Body { decoder, .. } = sending else { return Ok(()) };
        let trailers = decoder.trailers();
        let open = open.take();
        self.close_frame(open);
        match open {
            _ if !trailers.is_empty() => self.trailers(id, trailers)?,
            Some(at) => frame::add_flags(at, flag::END_STREAM, &mut self.out),
            None => frame::put_head(kind::DATA, flag::END_STREAM, id, 0, &mut self.out),
        }
        Ok(())
    }

    fn trailers(&mut self, id: u32, lines: &[u8]) -> Result<(), WriteError> {
        let at = self.out.len();
        frame::put_head(kind::HEADERS, 0, id, 0, &mut self.out);
        let mut outbound = Outbound { encoder: &mut self.encoder, name: &mut self.name, out: &mut self.out };
        outbound.trailers(lines).map_err(|_| WriteError::Invalid("trailers"))?;
        self.close_block(at, id, true);
        Ok(())
    }

    /// Completes the frame of fields that begins at `at`, in as many frames as it takes.
    fn close_block(&mut self, at: usize, id: u32, ends: bool) {
        let ends = if ends { flag::END_STREAM } else { 0 };
        let len = self.out.len() - at - HEAD_LEN;
        if len <= PAYLOAD_MAX {
            frame::set_len(at, &mut self.out);
            frame::add_flags(at, ends | flag::END_HEADERS, &mut self.out);
            return;
        }
        let block = self.out.split_off(at + HEAD_LEN);
        self.out.truncate(at);
        let n_pieces = block.len().div_ceil(PAYLOAD_MAX);
        for (place, piece) in block.chunks(PAYLOAD_MAX).enumerate() {
            let (kind, first) = if place == 0 { (kind::HEADERS, ends) } else { (kind::CONTINUATION, 0) };
            let last = if place + 1 == n_pieces { flag::END_HEADERS } else { 0 };
            frame::put_head(kind, first | last, id, piece.len(), &mut self.out);
            self.out.extend_from_slice(piece);
        }
    }

    /// Takes bytes of a head, and sends it when it is whole: how many of them belong to it.
    fn head(&mut self, key: Key, bytes: &[u8]) -> Result<usize, WriteError> {
        let slot = self.slot(key);
        let Sending::Head(before) = &mut slot.sending else { return Ok(0) };
        if before.is_empty() {
            if let Some(n) = self.whole_head(key, bytes)? {
                return Ok(n);
            }
            self.slot(key).sending = Sending::Head(bytes.to_vec());
            return Ok(bytes.len());
        }
        let n_before = before.len();
        before.extend_from_slice(bytes);
        let whole = std::mem::take(before);
        if let Some(n) = self.whole_head(key, &whole)? {
            return Ok(n - n_before);
        }
        self.slot(key).sending = Sending::Head(whole);
        Ok(bytes.len())
    }

    /// Sends the head at the front of `bytes` if it is whole: its length.
    fn whole_head(&mut self, key: Key, bytes: &[u8]) -> Result<Option<usize>, WriteError> {
        if self.is_server() { self.answer(key, bytes) } else { self.ask(key, bytes) }
    }

    fn answer(&mut self, key: Key, bytes: &[u8]) -> Result<Option<usize>, WriteError> {
        let slot = self.slot(key);
        let (id, method) = (slot.id, slot.method);
        let Role::Server(head) = &mut self.role else { return Ok(None) };
        let parsed = head.parse(bytes, &mut HeadProgress::default(), &LIMITS, method);
        let Some(n) = parsed.map_err(|reject| WriteError::Invalid(reject.reason()))? else { return Ok(None) };
        let framing = if head.status == 101 { Framing::UntilClose } else { head.framing };
        let is_informational = head.is_informational();
        let ends = !is_informational && matches!(framing, Framing::None | Framing::Length(0));
        let at = self.out.len();
        frame::put_head(kind::HEADERS, 0, id, 0, &mut self.out);
        let mut outbound = Outbound { encoder: &mut self.encoder, name: &mut self.name, out: &mut self.out };
        outbound.response(head, &bytes[..n]);
        self.close_block(at, id, ends);
        self.slot(key).sending = match (is_informational, ends) {
            (true, _) => Sending::Head(Vec::new()),
            (false, true) => Sending::Ended,
            (false, false) => Sending::Body { decoder: BodyDecoder::new(framing), payload: 0 },
        };
        Ok(Some(n))
    }

    fn ask(&mut self, key: Key, bytes: &[u8]) -> Result<Option<usize>, WriteError> {
        let Role::Client { head, .. } = &mut self.role else { return Ok(None) };
        let parsed = head.parse(bytes, &mut HeadProgress::default(), &LIMITS);
        let Some(n) = parsed.map_err(|reject| WriteError::Invalid(reject.reason()))? else { return Ok(None) };
        let id = self.number(key);
        let Role::Client { head, https } = &self.role else { return Ok(None) };
        let text = &bytes[..n];
        let asked = head.upgrade.is_some_and(|name| name.of(text).eq_ignore_ascii_case(b"websocket"));
        let websocket_key = head.find(HeaderId::SecWebSocketKey, text).filter(|_| asked);
        let is_tunnel = websocket_key.is_some();
        let framing = if is_tunnel { Framing::UntilClose } else { head.framing };
        let ends = matches!(framing, Framing::None | Framing::Length(0));
        let method = if is_tunnel { Method::Get } else { head.method };
        let at = self.out.len();
        frame::put_head(kind::HEADERS, 0, id, 0, &mut self.out);
        let mut outbound = Outbound { encoder: &mut self.encoder, name: &mut self.name, out: &mut self.out };
        outbound.request(head, text, *https, is_tunnel);
        self.close_block(at, id, ends);
        let slot = self.slot(key);
        slot.asked = websocket_key.map(<[u8]>::to_vec);
        slot.method = method;
        slot.sending = if ends {
            Sending::Ended
        } else {
            Sending::Body { decoder: BodyDecoder::new(framing), payload: 0 }
        };
        Ok(Some(n))
    }
}
