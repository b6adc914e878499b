//! One stream of a connection: what came of it and waits to be read, and how far its other direction is.
//!
//! Invariants: what waits is bounded by the window that its sender was given, since payload is kept as it came and put into
//! chunks when it is read; a direction that broke off is never read as ended.

use isobar_http1::{BodyDecoder, CHUNK_HEAD_MAX, Method, chunk_head};

use crate::{BodyForm, Reason};

/// A line's end behind a chunk.
const CRLF: &[u8] = b"\r\n";

/// Room below which a chunk is put together apart: its lines alone would take as much.
const CHUNK_ROOM_MIN: usize = 2 * (CHUNK_HEAD_MAX + CRLF.len());

/// Why a stream is over before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The code that was sent or came; `None`: the connection ended.
    pub reason: Option<Reason>,
    /// The peer has not begun with it and never will.
    pub is_unprocessed: bool,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, never 0.
    Bytes(usize),
    /// The message has ended.
    End,
    /// Nothing is there yet; the stream is among the touched ones when that changes.
    Blocked,
    /// It broke off.
    Broken(Broken),
}

/// The direction in which the peer sends.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// Text that goes before the payload: heads; behind it, trailers.
    pub(crate) text: Vec<u8>,
    text_read: usize,
    pub(crate) body: Vec<u8>,
    body_read: usize,
    /// The text of the trailers with its empty line, without the chunk before it; empty: there are none.
    pub(crate) trailers: Vec<u8>,
    pub(crate) form: BodyForm,
    /// The final head came.
    pub(crate) has_head: bool,
    /// The peer has ended it.
    pub(crate) is_complete: bool,
    /// All of it was read.
    is_read: bool,
    /// Payload that is still to come, where the head told.
    pub(crate) length_left: Option<u64>,
    /// What the peer may send.
    pub(crate) window: i64,
    /// Payload that was read and not given back to the peer's window.
    pub(crate) owed: u32,
}

impl Receiving {
    pub(crate) fn new(window: u32, memory: Memory) -> Self {
        Self {
            text: memory.text,
            text_read: 0,
            body: memory.body,
            body_read: 0,
            trailers: memory.trailers,
            form: BodyForm::None,
            has_head: false,
            is_complete: false,
            is_read: false,
            length_left: None,
            window: i64::from(window),
            owed: 0,
        }
    }

    /// Payload that waits to be read.
    pub(crate) fn n_waiting(&self) -> usize {
        self.body.len() - self.body_read
    }

    /// Its memory, when it is of no more use.
    pub(crate) fn into_memory(self) -> Memory {
        Memory { text: self.text, body: self.body, trailers: self.trailers }
    }

    fn has_text(&self) -> bool {
        self.text_read < self.text.len()
    }

    /// Everything was read.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_read && !self.has_text()
    }

    /// All that its length says has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.has_head && self.length_left == Some(0)
    }

    /// Whether a read would give bytes or the end.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_text() || self.n_waiting() > 0 || self.is_read || self.is_over()
    }

    /// The message ends where it stands.
    fn is_over(&self) -> bool {
        self.has_head && (self.is_complete || self.form == BodyForm::None)
    }

    /// Takes payload.
    pub(crate) fn take(&mut self, payload: &[u8]) {
        if self.body_read > 0 {
            // What was read makes room before more is asked for.
            if self.body.len() + payload.len() > self.body.capacity() {
                self.body.drain(..self.body_read);
                self.body_read = 0;
            }
        }
        self.body.extend_from_slice(payload);
    }

    /// Reads into `into`, which must not be empty: how many bytes, and how many of them are payload.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> (usize, usize) {
        let (mut n, mut n_payload) = (0, 0);
        loop {
            n += self.read_text(&mut into[n..]);
            let rest = &mut into[n..];
            if rest.is_empty() || self.is_read {
                return (n, n_payload);
            }
            let waiting = self.n_waiting();
            if waiting > 0 && self.form != BodyForm::None {
                let (of_all, of_payload) = self.read_payload(rest);
                n += of_all;
                n_payload += of_payload;
            } else if self.is_over() {
                self.is_read = true;
                if self.form == BodyForm::Chunked {
                    self.text.extend_from_slice(b"0\r\n");
                    let trailers: &[u8] = if self.trailers.is_empty() { CRLF } else { &self.trailers };
                    self.text.extend_from_slice(trailers);
                }
            } else {
                return (n, n_payload);
            }
        }
    }

    fn read_text(&mut self, into: &mut [u8]) -> usize {
        let text = &self.text[self.text_read..];
        let n = text.len().min(into.len());
        into[..n].copy_from_slice(&text[..n]);
        self.text_read += n;
        if self.text_read == self.text.len() {
            self.text.clear();
            self.text_read = 0;
        }
        n
    }

    /// Reads payload in the body's form; text is empty. May move some of it to the text.
    fn read_payload(&mut self, into: &mut [u8]) -> (usize, usize) {
        let waiting = self.n_waiting();
        if self.form == BodyForm::Plain {
            let n = waiting.min(into.len());
            self.move_payload(&mut into[..n]);
            return (n, n);
        }
        let mut line = [0; CHUNK_HEAD_MAX];
        if into.len() < CHUNK_ROOM_MIN {
            let n = waiting.min(CHUNK_ROOM_MIN);
            let n_line = chunk_head(n, &mut line);
            self.text.extend_from_slice(&line[..n_line]);
            let mut text = std::mem::take(&mut self.text);
            let at = text.len();
            text.resize(at + n, 0);
            self.move_payload(&mut text[at..]);
            text.extend_from_slice(CRLF);
            self.text = text;
            return (0, n);
        }
        let n = waiting.min(into.len() - CHUNK_HEAD_MAX - CRLF.len());
        let n_line = chunk_head(n, &mut line);
        into[..n_line].copy_from_slice(&line[..n_line]);
        self.move_payload(&mut into[n_line..n_line + n]);
        into[n_line + n..n_line + n + CRLF.len()].copy_from_slice(CRLF);
        (n_line + n + CRLF.len(), n)
    }

    fn move_payload(&mut self, into: &mut [u8]) {
        let end = self.body_read + into.len();
        into.copy_from_slice(&self.body[self.body_read..end]);
        self.body_read = end;
        if self.n_waiting() == 0 {
            self.body.clear();
            self.body_read = 0;
        }
    }
}

/// The direction in which we send.
#[derive(Debug)]
pub(crate) enum Sending {
    /// The part of a head that came.
    Head(Vec<u8>),
    Body {
        decoder: BodyDecoder,
        /// Payload at the front of what is written next.
        payload: usize,
    },
    Ended,
}

/// The memory of a stream, given on to another.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) text: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<u8>,
}

impl Memory {
    /// Its size in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.body.capacity() + self.trailers.capacity()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.body.clear();
        self.trailers.clear();
    }
}

/// A stream that somebody holds.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one stream")]
#[derive(Debug)]
pub(crate) struct Slot {
    /// 0: not opened yet.
    pub(crate) id: u32,
    pub(crate) receiving: Receiving,
    pub(crate) sending: Sending,
    /// What we may send; can be negative (RFC 9113, section 6.9.2).
    pub(crate) send_window: i64,
    pub(crate) broken: Option<Broken>,
    /// The method of the request, which the shape of an answer depends on.
    pub(crate) method: Method,
    /// What proves a WebSocket's key to the caller, where the request asks for one.
    pub(crate) proof: Option<[u8; crate::inbound::PROOF_LEN]>,
    /// The key of a WebSocket that was asked for, until it is proved.
    pub(crate) asked: Option<Vec<u8>>,
    /// The place in the text of a key that is to be filled in.
    pub(crate) tunnel: Option<usize>,
    /// Somebody waits to read, or to write.
    pub(crate) wants_read: bool,
    pub(crate) wants_write: bool,
    /// Stands among those that wait for the connection's window or room.
    pub(crate) is_queued: bool,
    /// Since when it waits for them; the smallest goes first.
    pub(crate) turn: Option<u64>,
    pub(crate) is_touched: bool,
}

impl Slot {
    pub(crate) fn new(id: u32, recv_window: u32, send_window: u32, memory: Memory) -> Self {
        Self {
            id,
            receiving: Receiving::new(recv_window, memory),
            sending: Sending::Head(Vec::new()),
            send_window: i64::from(send_window),
            broken: None,
            method: Method::Other,
            proof: None,
            asked: None,
            tunnel: None,
            wants_read: false,
            wants_write: false,
            is_queued: false,
            turn: None,
            is_touched: false,
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.sending, Sending::Ended)
    }
}
