//! One connection as a machine without I/O: bytes of HTTP/2 on one side, streams that read as HTTP/1.1 on the other.
//!
//! ```text
//! received bytes --> receive() --> streams --> read()     what came, as text of HTTP/1.1
//! bytes to send  <-- output()  <-- streams <-- write()    what goes out, from text of HTTP/1.1
//! ```
//! After any call: send [`Connection::output`], take [`Connection::accept`], look after [`Connection::take_touched`].
//!
//! Invariants: what a peer can make us hold is bounded by the windows, by the bounds on heads and by who stops receiving
//! while [`Connection::is_stuffed`]; nothing depends on how bytes were split; after [`Connection::end`] nothing more is
//! taken. Keys of streams are used again: a key means something from `accept` or `open` to `release`.
//! Limits: no server push, no priorities; extended CONNECT to endpoints for WebSocket alone.

use std::collections::VecDeque;

use isobar_http1::{RequestHead, ResponseHead};

use crate::hpack::{Decoder, Encoder};
use crate::inbound::{KEY, PROOF_LEN, Pseudo};
use crate::settings::{self, Bounds, PeerSettings, WINDOW_AT_FIRST};
use crate::stream::{Broken, Memory, Read, Slot};
use crate::{FrameHead, Malformed, Reason, frame};

/// What a caller's connection begins with (RFC 9113, section 3.4): a request that no server of HTTP/1 takes.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Payload that waits to be sent, over all streams: what one write to a socket takes at most times.
pub(crate) const OUT_MAX: usize = 64 * 1024;

/// Bytes of answers to frames that wait to be sent, beside payload, before no more of them is received.
const STUFFED: usize = 4 * OUT_MAX;

/// Streams that are over and remembered: who errs so does it soon, and a search through these costs little.
pub(crate) const ENDED_MAX: usize = 64;

/// Streams that we ended before their peer did, remembered so that fields on their way are not taken for errors.
pub(crate) const GIVEN_UP_MAX: usize = 256;

/// Places for streams that are kept while there is none.
const SLOTS_KEPT: usize = 16;

/// Memories of streams that are kept for the next: few where there are many connections that do nothing, many where there
/// are few and busy ones.
const SPARE_MAX_OF_CALLER: usize = 16;
const SPARE_MAX_TO_ENDPOINT: usize = 128;

/// Capacity above which a memory is let go, so that a huge head does not stay for ever.
const SPARE_BYTES_MAX: usize = 2 * 1024;

/// The compression table that the peer may fill: the default of the protocol.
const HEADER_TABLE: usize = 4096;

/// What `leave` asks, to know that the peer has heard it.
pub(crate) const LEAVING: [u8; 8] = *b"leaving.";

/// A stream, for as long as it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub u32);

/// Which side we are, and what heads that we write are parsed into.
#[derive(Debug)]
pub(crate) enum Role {
    Server(Box<ResponseHead>),
    Client { head: Box<RequestHead>, https: bool },
}

/// How far the connection is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// The peer was told, and has not answered.
    Told,
    /// Only streams up to this one are served.
    After(u32),
}

/// Where in a frame the received bytes stand.
#[derive(Debug)]
pub(crate) enum Progress {
    /// So much of the preface came.
    Preface(usize),
    Head([u8; frame::HEAD_LEN], usize),
    /// Of DATA: payload and padding that are to come.
    Data {
        head: FrameHead,
        left: usize,
        padding: Option<usize>,
    },
    /// Of any other frame: it is gathered.
    Payload(FrameHead),
}

/// A block of fields that is not complete.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) stream: u32,
    pub(crate) ends_stream: bool,
    /// Its stream comes before itself.
    pub(crate) is_circle: bool,
    pub(crate) n_frames: usize,
    pub(crate) bytes: Vec<u8>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Connection {
    pub(crate) role: Role,
    pub(crate) bounds: Bounds,
    pub(crate) peer: PeerSettings,
    pub(crate) progress: Progress,
    /// The peer's first SETTINGS came.
    pub(crate) is_greeted: bool,
    /// What of a frame's payload came, where it did not come at once.
    pub(crate) partial: Vec<u8>,
    pub(crate) block: Option<Block>,
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
    pub(crate) pseudo: Pseudo,
    pub(crate) name: Vec<u8>,
    pub(crate) out: Vec<u8>,
    out_sent: usize,
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) free: Vec<u32>,
    /// Open streams by their number, in order.
    pub(crate) by_id: Vec<(u32, u32)>,
    pub(crate) n_streams: usize,
    /// The newest stream that the peer began, or we did.
    pub(crate) newest: u32,
    pub(crate) accepted: VecDeque<u32>,
    pub(crate) touched: Vec<u32>,
    /// Streams that wait for the connection's window or room, by their turns.
    pub(crate) queue: VecDeque<u32>,
    /// Turns that were given.
    pub(crate) n_turns: u64,
    pub(crate) spare: Vec<Memory>,
    /// Streams that the peer ended, in a ring.
    pub(crate) ended: [u32; ENDED_MAX],
    pub(crate) n_ended: usize,
    /// Streams that we ended before their peer did, the newest last.
    pub(crate) given_up: VecDeque<u32>,
    pub(crate) send_window: i64,
    pub(crate) recv_window: i64,
    pub(crate) owed: u32,
    pub(crate) leaving: Leaving,
    /// The peer takes no more streams.
    pub(crate) peer_leaves: bool,
    pub(crate) end: Option<Reason>,
    pub(crate) n_faults: usize,
    pub(crate) malformed: Option<Malformed>,
    pub(crate) n_malformed: u64,
}

impl Connection {
    /// The side of a caller's connection that answers; `preface_read`: its preface was read already.
    pub fn server(bounds: Bounds, preface_read: bool) -> Self {
        let progress = if preface_read { Progress::Head([0; _], 0) } else { Progress::Preface(0) };
        let mut this = Self::new(Role::Server(Box::default()), bounds, progress);
        frame::put_settings(
            &[
                (settings::MAX_CONCURRENT_STREAMS, bounds.streams_max),
                (settings::INITIAL_WINDOW_SIZE, bounds.stream_window),
                (settings::MAX_HEADER_LIST_SIZE, bounds.header_list_max),
                (settings::ENABLE_CONNECT_PROTOCOL, 1),
            ],
            &mut this.out,
        );
        this.open_window();
        this
    }

    /// The side of a connection to an endpoint that asks; `https`: over TLS.
    pub fn client(bounds: Bounds, https: bool) -> Self {
        let role = Role::Client { head: Box::default(), https };
        let mut this = Self::new(role, bounds, Progress::Head([0; _], 0));
        this.out.extend_from_slice(PREFACE);
        frame::put_settings(
            &[
                (settings::ENABLE_PUSH, 0),
                (settings::INITIAL_WINDOW_SIZE, bounds.stream_window),
                (settings::MAX_HEADER_LIST_SIZE, bounds.header_list_max),
            ],
            &mut this.out,
        );
        this.open_window();
        this
    }

    fn new(role: Role, bounds: Bounds, progress: Progress) -> Self {
        Self {
            role,
            bounds,
            peer: PeerSettings::default(),
            progress,
            is_greeted: false,
            partial: Vec::new(),
            block: None,
            decoder: Decoder::new(HEADER_TABLE),
            encoder: Encoder::new(),
            pseudo: Pseudo::default(),
            name: Vec::new(),
            out: Vec::new(),
            out_sent: 0,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: Vec::new(),
            n_streams: 0,
            newest: 0,
            accepted: VecDeque::new(),
            touched: Vec::new(),
            queue: VecDeque::new(),
            n_turns: 0,
            spare: Vec::new(),
            ended: [0; ENDED_MAX],
            n_ended: 0,
            given_up: VecDeque::new(),
            send_window: i64::from(WINDOW_AT_FIRST),
            recv_window: i64::from(bounds.connection_window),
            owed: 0,
            leaving: Leaving::No,
            peer_leaves: false,
            end: None,
            n_faults: 0,
            malformed: None,
            n_malformed: 0,
        }
    }

    fn open_window(&mut self) {
        let more = self.bounds.connection_window - WINDOW_AT_FIRST;
        if more > 0 {
            frame::put_window_update(0, more, &mut self.out);
        }
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self.role, Role::Server(_))
    }

    // What is to be sent.

    /// Bytes that are to be sent next.
    pub fn output(&self) -> &[u8] {
        &self.out[self.out_sent..]
    }

    /// The first `n` bytes of [`Self::output`] were sent.
    pub fn sent(&mut self, n: usize) {
        self.out_sent += n;
        if self.out_sent == self.out.len() {
            self.out.clear();
            self.out_sent = 0;
        } else if self.out_sent >= OUT_MAX {
            // Who never takes all of it would make it grow for ever.
            self.out.drain(..self.out_sent);
            self.out_sent = 0;
        }
        self.grant();
    }

    /// Whether there is no memory to write into.
    pub fn is_without_memory(&self) -> bool {
        self.out.capacity() == 0
    }

    /// Memory to write into, which the next output needs; taken back by [`Self::take_memory`].
    pub fn lend_memory(&mut self, mut memory: Vec<u8>) {
        if self.out.capacity() == 0 {
            memory.clear();
            self.out = memory;
        }
    }

    /// The memory of the output while there is none.
    pub fn take_memory(&mut self) -> Option<Vec<u8>> {
        (self.out.is_empty() && self.out.capacity() > 0).then(|| std::mem::take(&mut self.out))
    }

    /// Whether so much waits to be sent that no more should be received.
    pub fn is_stuffed(&self) -> bool {
        self.out.len() - self.out_sent >= STUFFED
    }

    /// Payload that may be added to what waits to be sent.
    pub(crate) fn room(&self) -> usize {
        OUT_MAX.saturating_sub(self.out.len() - self.out_sent)
    }

    // Streams.

    /// The next request of a caller, and whether it asks for a tunnel: then its key must be filled in at once.
    pub fn accept(&mut self) -> Option<(Key, bool)> {
        let key = self.accepted.pop_front()?;
        let asks = self.slots[key as usize].as_ref().is_some_and(|slot| slot.tunnel.is_some());
        Some((Key(key), asks))
    }

    /// Fills in the key of a WebSocket that a caller's tunnel is to have.
    pub fn fill_in_key(&mut self, key: Key, text: [u8; KEY.len()]) {
        let slot = self.slot(key);
        // A head that is too long was cut, perhaps before the key; the parser refuses it.
        if let Some(place) = slot.tunnel.and_then(|at| slot.receiving.text.get_mut(at..at + KEY.len())) {
            place.copy_from_slice(&text);
        }
    }

    /// The key of a WebSocket that the request which was written asks for, once: whoever waits for the answer wants it proved.
    pub fn take_asked(&mut self, key: Key) -> Option<Vec<u8>> {
        self.slot(key).asked.take()
    }

    /// What proves that key: from now on a success is read as the answer that switches to the tunnel.
    pub fn prove(&mut self, key: Key, proof: [u8; PROOF_LEN]) {
        self.slot(key).proof = Some(proof);
    }

    /// A stream to an endpoint; its number is given when its head is written. `None`: none is free.
    pub fn open(&mut self) -> Option<Key> {
        if !self.is_open() || self.n_streams >= self.peer.streams_max.min(self.bounds.streams_max) as usize {
            return None;
        }
        let key = self.hold(0);
        Some(Key(key))
    }

    /// Whether streams to the endpoint can be opened, now or when others end.
    pub fn is_open(&self) -> bool {
        // The number after the last that there is.
        let has_numbers = self.newest <= settings::WINDOW_MAX - 2 * self.bounds.streams_max.min(1 << 20);
        self.is_greeted && self.end.is_none() && !self.peer_leaves && has_numbers
    }

    /// Streams that the peer allows at a time.
    pub fn streams_max(&self) -> u32 {
        self.peer.streams_max
    }

    /// Whether the endpoint said that it takes extended CONNECT.
    pub fn takes_connect(&self) -> bool {
        self.peer.takes_connect
    }

    /// Whether the peer's first SETTINGS came.
    pub fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// Streams that are held.
    pub fn n_streams(&self) -> usize {
        self.n_streams
    }

    /// Reads what came on a stream into `into`, which must not be empty.
    pub fn read(&mut self, key: Key, into: &mut [u8]) -> Read {
        let slot = self.slot(key);
        let (n, n_payload) = slot.receiving.read(into);
        if n_payload > 0 {
            self.give_back(key, n_payload as u32);
        }
        let slot = self.slot(key);
        match slot.broken {
            _ if n > 0 => Read::Bytes(n),
            _ if slot.receiving.is_ended() => Read::End,
            Some(broken) => Read::Broken(broken),
            None => {
                slot.wants_read = true;
                Read::Blocked
            }
        }
    }

    /// Whether a read would not be blocked; where it would, the stream is touched when that changes.
    pub fn is_readable(&mut self, key: Key) -> bool {
        let slot = self.slot(key);
        let is_readable = slot.receiving.is_ready() || slot.broken.is_some();
        slot.wants_read |= !is_readable;
        is_readable
    }

    /// Everything that the peer sends on this stream was read.
    pub fn is_read(&self, key: Key) -> bool {
        self.slots[key.0 as usize].as_ref().is_some_and(|slot| slot.receiving.is_ended())
    }

    /// Why the stream is over before its end, if it is; the stream is touched when that happens.
    pub fn broken(&self, key: Key) -> Option<Broken> {
        self.slots[key.0 as usize].as_ref().and_then(|slot| slot.broken)
    }

    /// Ends a stream that is not over, for this reason.
    pub fn reset(&mut self, key: Key, reason: Reason) {
        let slot = self.slot(key);
        if slot.broken.is_none() && slot.id != 0 && !(slot.is_sent() && slot.receiving.is_complete) {
            let id = slot.id;
            slot.broken = Some(Broken { reason: Some(reason), is_unprocessed: false });
            self.give_up(id, reason);
        }
    }

    /// Gives a stream back; one that is not over is reset with `CANCEL`, or with `NO_ERROR` where only its peer has not
    /// ended it (section 8.1).
    pub fn release(&mut self, key: Key) {
        let is_server = self.is_server();
        let slot = self.slot(key);
        let is_sent = slot.is_sent();
        if !is_server
            && is_sent
            && slot.receiving.is_whole()
            && slot.broken.is_none()
            && !slot.receiving.is_complete
        {
            // Only the word that it has ended is still to come.
            let id = slot.id;
            slot.receiving.is_complete = true;
            self.remember_given_up(id);
        }
        self.reset(key, if is_sent && is_server { Reason::NO_ERROR } else { Reason::CANCEL });
        let Some(slot) = self.slots[key.0 as usize].take() else { return };
        if slot.is_queued {
            self.queue.retain(|waiting| *waiting != key.0);
        }
        self.free.push(key.0);
        self.n_streams -= 1;
        if slot.id != 0
            && let Ok(place) = self.by_id.binary_search_by_key(&slot.id, |(id, _)| *id)
        {
            self.by_id.remove(place);
        }
        self.give_back_to_all(slot.receiving.n_waiting() as u32);
        if self.n_streams == 0 && self.slots.len() > SLOTS_KEPT {
            (self.slots, self.free, self.by_id) = (Vec::new(), Vec::new(), Vec::new());
        }
        if !self.queue.is_empty() {
            // What it was woken for is another's.
            self.grant();
        }
        let mut memory = slot.receiving.into_memory();
        let spare_max = if self.is_server() { SPARE_MAX_OF_CALLER } else { SPARE_MAX_TO_ENDPOINT };
        if self.spare.len() < spare_max && memory.capacity() <= SPARE_BYTES_MAX {
            memory.clear();
            self.spare.push(memory);
        }
    }
}
