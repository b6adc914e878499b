//! What comes from the peer: frames, one after the other, and what each of them means.
//!
//! Invariants: a frame is taken once, whatever its bytes were split into; of DATA nothing is kept but payload, of other
//! frames no more than one, of a block of fields no more than its bound; what the compression remembers is in step with
//! the peer even where nobody waits for the fields (RFC 9113, section 4.3).

use crate::connection::{Connection, Key, LEAVING, Leaving, PREFACE, Progress};
use crate::frame::{FrameHead, flag, kind};
use crate::settings::WINDOW_MAX;
use crate::stream::{Broken, Slot};
use crate::{Malformed, Reason, frame};

/// Streams that are reset for mistakes of the peer in one connection; then it is closed.
const FAULTS_MAX: usize = 256;

/// What becomes of the connection, or of one stream, for a frame.
pub(crate) enum Fault {
    Connection(Reason),
    Stream(u32, Reason),
    Malformed(u32, Malformed),
    /// A request that was reset already.
    Request(Malformed),
}

impl Slot {
    /// What more of a message means whose end came: where ours was sent as well the stream is closed, as if it were not held
    /// any more (RFC 9113, section 5.1).
    pub(crate) fn after_end(&self) -> Fault {
        if self.is_sent() {
            Reason::STREAM_CLOSED.into()
        } else {
            Fault::Stream(self.id, Reason::STREAM_CLOSED)
        }
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::Connection(reason)
    }
}

pub(crate) type Taken = Result<(), Fault>;

impl Connection {
    /// Takes received bytes. `look` sees the head of every frame before it is taken, and may end the connection for it.
    pub fn receive(&mut self, mut bytes: &[u8], mut look: impl FnMut(FrameHead) -> Result<(), Reason>) {
        while !bytes.is_empty() && self.end().is_none() {
            match self.step(&mut bytes, &mut look) {
                Ok(()) => {}
                Err(Fault::Connection(reason)) => self.fail(reason),
                Err(Fault::Stream(id, Reason::REFUSED_STREAM)) => {
                    self.fail_stream(id, Reason::REFUSED_STREAM);
                }
                Err(Fault::Stream(id, reason)) => {
                    self.fail_stream(id, reason);
                    self.count_fault();
                }
                Err(Fault::Malformed(id, malformed)) => {
                    self.malformed = Some(malformed);
                    self.n_malformed += 1;
                    self.fail_stream(id, Reason::PROTOCOL_ERROR);
                    self.count_fault();
                }
                Err(Fault::Request(malformed)) => {
                    self.malformed = Some(malformed);
                    self.n_malformed += 1;
                    self.count_fault();
                }
            }
        }
    }

    /// Counts a stream that was reset for a mistake; too many end the connection.
    fn count_fault(&mut self) {
        self.n_faults += 1;
        if self.n_faults > FAULTS_MAX {
            self.fail(Reason::ENHANCE_YOUR_CALM);
        }
    }

    /// Takes the bytes of one step from the front of `bytes`.
    fn step(&mut self, bytes: &mut &[u8], look: &mut impl FnMut(FrameHead) -> Result<(), Reason>) -> Taken {
        match &mut self.progress {
            Progress::Preface(n) => {
                let rest = &PREFACE[*n..];
                let len = rest.len().min(bytes.len());
                if bytes[..len] != rest[..len] {
                    return Err(Reason::PROTOCOL_ERROR.into());
                }
                *n += len;
                *bytes = &bytes[len..];
                if *n == PREFACE.len() {
                    self.next_frame();
                }
                Ok(())
            }
            Progress::Head(head, n) => {
                let len = (frame::HEAD_LEN - *n).min(bytes.len());
                head[*n..*n + len].copy_from_slice(&bytes[..len]);
                *n += len;
                *bytes = &bytes[len..];
                if *n < frame::HEAD_LEN {
                    return Ok(());
                }
                let head = FrameHead::parse(*head);
                self.begin_frame(head, bytes, look)
            }
            Progress::Data { .. } => self.data(bytes),
            Progress::Payload(head) => {
                let head = *head;
                let len = (head.len - self.partial.len()).min(bytes.len());
                self.partial.extend_from_slice(&bytes[..len]);
                *bytes = &bytes[len..];
                if self.partial.len() < head.len {
                    return Ok(());
                }
                self.next_frame();
                let payload = std::mem::take(&mut self.partial);
                let taken = self.frame(head, &payload);
                self.partial = payload;
                self.partial.clear();
                taken
            }
        }
    }

    fn next_frame(&mut self) {
        self.progress = Progress::Head([0; _], 0);
    }

    fn begin_frame(
        &mut self,
        head: FrameHead,
        bytes: &mut &[u8],
        look: &mut impl FnMut(FrameHead) -> Result<(), Reason>,
    ) -> Taken {
        look(head)?;
        head.check()?;
        if !self.is_greeted && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Reason::PROTOCOL_ERROR.into());
        }
        let continues = self.block.as_ref().map(|block| block.stream);
        let is_continuation = head.kind == kind::CONTINUATION;
        if is_continuation != continues.is_some() || continues.is_some_and(|stream| stream != head.stream) {
            return Err(Reason::PROTOCOL_ERROR.into());
        }
        if head.kind == kind::DATA {
            return self.begin_data(head);
        }
        // Where all of it is there it is not copied.
        if let Some((payload, rest)) = bytes.split_at_checked(head.len) {
            *bytes = rest;
            self.next_frame();
            return self.frame(head, payload);
        }
        self.progress = Progress::Payload(head);
        Ok(())
    }

    /// Takes a frame that carries no payload of a message.
    fn frame(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        match head.kind {
            kind::HEADERS => self.headers(head, payload),
            kind::CONTINUATION => self.continuation(head, payload),
            kind::PRIORITY if is_circle_of(head.stream, payload) => {
                Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR))
            }
            kind::RST_STREAM => self.reset_received(head, Reason(number(payload))),
            kind::SETTINGS => self.settings(head, payload),
            kind::PING => {
                self.ping(head, payload);
                Ok(())
            }
            kind::GOAWAY => {
                self.goaway(number(payload));
                Ok(())
            }
            kind::WINDOW_UPDATE => self.window_update(head, number(payload)),
            _ => Ok(()),
        }
    }

    // DATA.

    fn begin_data(&mut self, head: FrameHead) -> Taken {
        self.recv_window -= head.len as i64;
        if self.recv_window < 0 {
            return Err(Reason::FLOW_CONTROL_ERROR.into());
        }
        let padding = if head.has(flag::PADDED) { None } else { Some(0) };
        if padding.is_none() && head.len == 0 {
            return Err(Reason::FRAME_SIZE_ERROR.into());
        }
        self.progress = Progress::Data { head, left: head.len, padding };
        let Some(key) = self.find(head.stream) else {
            return self.on_unknown(head.stream);
        };
        let slot = self.slot(key);
        if slot.broken.is_some() {
            return Ok(());
        }
        if slot.receiving.is_complete {
            return Err(slot.after_end());
        }
        if !slot.receiving.has_head {
            return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR));
        }
        slot.receiving.window -= head.len as i64;
        if slot.receiving.window < 0 {
            return Err(Fault::Stream(head.stream, Reason::FLOW_CONTROL_ERROR));
        }
        if padding.is_some() {
            self.count_payload(key, head, head.len)?;
        }
        if head.len == 0 {
            return self.data(&mut &[][..]);
        }
        Ok(())
    }

    /// Holds the payload of a frame against the length that its message was told to have, before any of it is taken: what is
    /// read of a message that is wrong must not depend on how the frame was split.
    fn count_payload(&mut self, key: Key, head: FrameHead, n: usize) -> Taken {
        let Some(left) = &mut self.slot(key).receiving.length_left else { return Ok(()) };
        match left.checked_sub(n as u64) {
            Some(less) if less == 0 || !head.has(flag::END_STREAM) => {
                *left = less;
                Ok(())
            }
            _ => Err(Fault::Malformed(head.stream, Malformed::Length)),
        }
    }

    /// Takes what came of a frame of DATA.
    fn data(&mut self, bytes: &mut &[u8]) -> Taken {
        let Progress::Data { head, left, padding } = &mut self.progress else { return Ok(()) };
        let head = *head;
        if padding.is_none()
            && let Some((&n, rest)) = bytes.split_first()
        {
            *bytes = rest;
            *left -= 1;
            if usize::from(n) > *left {
                return Err(Reason::PROTOCOL_ERROR.into());
            }
            *padding = Some(usize::from(n));
            let n_payload = *left - usize::from(n);
            // The byte that tells of it is padding as well.
            self.pad(head.stream, 1);
            if let Some(key) = self.find(head.stream).filter(|key| self.broken(*key).is_none()) {
                self.count_payload(key, head, n_payload)?;
            }
        }
        let Progress::Data { left, padding, .. } = &mut self.progress else { return Ok(()) };
        let Some(n_padding) = *padding else { return Ok(()) };
        let len = (*left - n_padding).min(bytes.len());
        let (payload, rest) = bytes.split_at(len);
        *left -= len;
        let of_padding = if *left <= n_padding { (*left).min(rest.len()) } else { 0 };
        *left -= of_padding;
        *padding = Some(n_padding.min(*left));
        *bytes = &rest[of_padding..];
        let is_over = *left == 0;
        if is_over {
            self.next_frame();
        }
        self.pad(head.stream, of_padding as u32);
        let Some(key) = self.find(head.stream).filter(|key| self.broken(*key).is_none()) else {
            self.give_back_to_all(len as u32);
            return Ok(());
        };
        self.payload(key, head.stream, payload, is_over && head.has(flag::END_STREAM));
        Ok(())
    }

    /// Gives padding back at once.
    fn pad(&mut self, stream: u32, n: u32) {
        if n == 0 {
            return;
        }
        match self.find(stream) {
            Some(key) => self.give_back(key, n),
            None => self.give_back_to_all(n),
        }
    }

    fn payload(&mut self, key: Key, id: u32, payload: &[u8], ends: bool) {
        let receiving = &mut self.slot(key).receiving;
        receiving.take(payload);
        if ends {
            receiving.is_complete = true;
            self.remember_ended(id);
        }
        if (ends || !payload.is_empty()) && self.slot(key).wants_read {
            self.touch(key);
        }
    }

    // What concerns streams that are not held, and their ends.

    /// Callers begin odd streams, and nobody begins others.
    fn check_begun(&self, id: u32) -> Taken {
        let was_never = id > self.newest || id.is_multiple_of(2);
        if was_never { Err(Reason::PROTOCOL_ERROR.into()) } else { Ok(()) }
    }

    /// A frame of a message on a stream that nobody holds.
    pub(crate) fn on_unknown(&self, id: u32) -> Taken {
        self.check_begun(id)?;
        if self.was_ended(id) { Err(Reason::STREAM_CLOSED.into()) } else { Ok(()) }
    }

    fn reset_received(&mut self, head: FrameHead, reason: Reason) -> Taken {
        let id = head.stream;
        let Some(key) = self.find(id) else {
            return self.check_begun(id);
        };
        self.remember_ended(id);
        let slot = self.slot(key);
        // What came before it can still be read: an endpoint may have answered whole and want no more of the request
        // (section 8.1).
        if slot.broken.is_none() && !(slot.receiving.is_complete && slot.is_sent()) {
            slot.broken =
                Some(Broken { reason: Some(reason), is_unprocessed: reason == Reason::REFUSED_STREAM });
        }
        if !self.withdraw(key) {
            self.touch(key);
        }
        Ok(())
    }

    /// Ends one stream for what its peer did.
    fn fail_stream(&mut self, id: u32, reason: Reason) {
        match self.find(id) {
            Some(key) => {
                self.reset(key, reason);
                if !self.withdraw(key) {
                    self.touch(key);
                }
            }
            None => self.give_up(id, reason),
        }
    }

    // What concerns the connection.

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        if head.has(flag::ACK) {
            return Ok(());
        }
        let before = self.peer.initial_window;
        let from_server = !self.is_server();
        self.peer.apply(payload, from_server)?;
        self.is_greeted = true;
        if self.peer.header_table_least <= self.peer.header_table {
            self.encoder.set_table_max(self.peer.header_table_least as usize);
            self.encoder.set_table_max(self.peer.header_table as usize);
        }
        let more = i64::from(self.peer.initial_window) - i64::from(before);
        if more != 0 {
            for key in self.keys() {
                let slot = self.slot(key);
                slot.send_window += more;
                let overflows = slot.send_window > i64::from(WINDOW_MAX);
                let may_write = slot.wants_write && slot.send_window > 0;
                if overflows {
                    return Err(Reason::FLOW_CONTROL_ERROR.into());
                }
                if may_write {
                    self.touch(key);
                }
            }
        }
        frame::put_settings_ack(&mut self.out);
        Ok(())
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else { return };
        if !head.has(flag::ACK) {
            frame::put_ping(payload, flag::ACK, &mut self.out);
        } else if payload == LEAVING && self.leaving == Leaving::Told {
            self.leaving = Leaving::After(self.newest);
            frame::put_goaway(self.newest, Reason::NO_ERROR, &mut self.out);
        }
    }

    fn goaway(&mut self, last: u32) {
        if self.is_server() {
            return;
        }
        self.peer_leaves = true;
        let last = last & 0x7FFF_FFFF;
        for key in self.keys() {
            let slot = self.slot(key);
            if (slot.id == 0 || slot.id > last) && slot.broken.is_none() {
                slot.broken = Some(Broken { reason: None, is_unprocessed: true });
                self.touch(key);
            }
        }
    }

    fn window_update(&mut self, head: FrameHead, more: u32) -> Taken {
        let more = i64::from(more & WINDOW_MAX);
        if head.stream == 0 {
            self.send_window += more;
            if more == 0 {
                return Err(Reason::PROTOCOL_ERROR.into());
            }
            if self.send_window > i64::from(WINDOW_MAX) {
                return Err(Reason::FLOW_CONTROL_ERROR.into());
            }
            self.grant();
            return Ok(());
        }
        let Some(key) = self.find(head.stream) else {
            return self.check_begun(head.stream);
        };
        if more == 0 {
            return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR));
        }
        let slot = self.slot(key);
        slot.send_window += more;
        if slot.send_window > i64::from(WINDOW_MAX) {
            return Err(Fault::Stream(head.stream, Reason::FLOW_CONTROL_ERROR));
        }
        if slot.wants_write {
            self.touch(key);
        }
        Ok(())
    }
}

/// Whether a stream comes before itself, which it cannot.
pub(crate) fn is_circle_of(stream: u32, precedence: &[u8]) -> bool {
    number(precedence) & 0x7FFF_FFFF == stream
}

/// The number in the first four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}
