//! Frames and blocks of HTTP/2 as RFC 9113 and RFC 7541 write them, made and read for the tests apart from the codec.
#![allow(dead_code, reason = "each test uses a part of what they share")]

pub(crate) mod noise;

use isobar_http2::{Bounds, Connection, Key, Read, flag, kind};

/// Bytes of a frame's head.
pub(crate) const HEAD_LEN: usize = 9;

/// Payload that a frame may have as long as nothing else was agreed upon.
pub(crate) const PAYLOAD_MAX: usize = 16_384;

/// The smallest windows that a connection can be given.
pub(crate) const WINDOW: u32 = 65_535;

/// Bounds of a connection in a test that is not about bounds.
pub(crate) const BOUNDS: Bounds = Bounds {
    streams_max: 100,
    stream_window: WINDOW,
    connection_window: 4 * WINDOW,
    head_bytes: 64 * 1024,
    header_list_max: 64 * 1024,
    continuations_max: 16,
};

/// The request that tests begin with when it does not matter.
pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")];

/// One whose body has no length.
pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/")];

/// One frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number in the four bytes at `at`.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let each = settings.iter().flat_map(|(name, value)| {
        let (name, value) = (name.to_be_bytes(), value.to_be_bytes());
        name.into_iter().chain(value)
    });
    frame(kind::SETTINGS, 0, 0, &each.collect::<Vec<u8>>())
}

pub(crate) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, payload)
}

pub(crate) fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &reason.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn goaway(last: u32, reason: u32) -> Vec<u8> {
    frame(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

/// A complete block in one frame.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS | flags, stream, &block(fields))
}

/// A block in as many frames as it takes.
pub(crate) fn split_headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let n_pieces = block.len().div_ceil(PAYLOAD_MAX).max(1);
    let mut bytes = Vec::new();
    for place in 0..n_pieces {
        let piece = &block[place * PAYLOAD_MAX..block.len().min((place + 1) * PAYLOAD_MAX)];
        let (kind, first) = if place == 0 { (kind::HEADERS, flags) } else { (kind::CONTINUATION, 0) };
        let last = if place + 1 == n_pieces { flag::END_HEADERS } else { 0 };
        bytes.extend(frame(kind, first | last, stream, piece));
    }
    bytes
}

/// Fields that touch no table (RFC 7541, section 6.2.2), so that a block means the same wherever it stands.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        put_string(name.as_bytes(), &mut bytes);
        put_string(value.as_bytes(), &mut bytes);
    }
    bytes
}

/// A string without Huffman code (section 5.2).
pub(crate) fn put_string(string: &[u8], bytes: &mut Vec<u8>) {
    let mut rest = string.len();
    if rest < 0x7F {
        bytes.push(rest as u8);
    } else {
        bytes.push(0x7F);
        rest -= 0x7F;
        while rest >= 0x80 {
            bytes.push(0x80 | (rest & 0x7F) as u8);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes.extend_from_slice(string);
}

/// The frames in `bytes`.
///
/// # Panics
/// There are bytes that are no whole frame, or a frame is larger than a peer must take.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(HEAD_LEN).expect("a whole head of a frame");
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        assert!(len <= PAYLOAD_MAX, "a frame of {len} bytes");
        let (payload, rest) = rest.split_at_checked(len).expect("a whole frame");
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        frames.push(Frame { kind: head[3], flags: head[4], stream, payload: payload.to_vec() });
        bytes = rest;
    }
    frames
}

/// Takes bytes whose frames nobody looks at.
pub(crate) fn receive(connection: &mut Connection, bytes: &[u8]) {
    connection.receive(bytes, |_| Ok(()));
}

/// Everything that is to be sent, as frames.
pub(crate) fn sent(connection: &mut Connection) -> Vec<Frame> {
    let bytes = connection.output().to_vec();
    if !bytes.is_empty() {
        connection.sent(bytes.len());
    }
    frames(&bytes)
}

/// A server whose caller has said hello; what it said first is sent.
pub(crate) fn server(bounds: Bounds) -> Connection {
    let mut server = Connection::server(bounds, true);
    receive(&mut server, &settings(&[]));
    sent(&mut server);
    server
}

/// A client whose endpoint has said hello with these settings; what it said first is sent.
pub(crate) fn client(bounds: Bounds, of_endpoint: &[(u16, u32)]) -> Connection {
    let mut client = Connection::client(bounds, false);
    receive(&mut client, &settings(of_endpoint));
    let n = client.output().len();
    client.sent(n);
    client
}

/// Opens a stream and writes `text` to it, all of which is taken.
pub(crate) fn ask(client: &mut Connection, text: &str) -> Key {
    let key = client.open().expect("a free stream");
    assert_eq!(client.write(key, text.as_bytes(), b""), Ok(text.len()));
    key
}

/// Reads what is there in pieces of at most `len`, and how it went on.
pub(crate) fn read_by(connection: &mut Connection, key: Key, len: usize) -> (Vec<u8>, Read) {
    let (mut all, mut buffer) = (Vec::new(), vec![0; len]);
    loop {
        match connection.read(key, &mut buffer) {
            Read::Bytes(n) => all.extend_from_slice(&buffer[..n]),
            other => return (all, other),
        }
    }
}

/// Reads what is there as text, and how it went on.
pub(crate) fn read(connection: &mut Connection, key: Key) -> (String, Read) {
    let (bytes, read) = read_by(connection, key, 64 * 1024);
    (String::from_utf8_lossy(&bytes).into_owned(), read)
}
