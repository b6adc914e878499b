//! What must hold of a connection whatever bytes come, however they are split and whatever the holders of its streams do.
//!
//! An input is a byte of choices (1: we are the client; 2: nothing comes before its bytes, not even what a connection begins
//! with), four bytes that seed the schedule, and bytes of the peer.

use isobar_http2::{Bounds, Connection, Key, Malformed, PREFACE, Read, Reason, kind};

use super::wire::noise::Noise;
use super::wire::{self, Frame};

/// Small, so that little input reaches them.
const BOUNDS: Bounds = Bounds {
    streams_max: 4,
    stream_window: wire::WINDOW,
    connection_window: wire::WINDOW,
    head_bytes: 256,
    header_list_max: 256,
    continuations_max: 2,
};

/// Bytes that wait to be sent, at most: payload, answers to frames up to where nothing more is received, and those to the
/// frames of one piece.
const OUTPUT_MAX: usize = 512 * 1024;

const AS_CLIENT: u8 = 1;
const UNGREETED: u8 = 2;

/// What a client asks before anything comes: streams 1, 3, 5 and 7.
const ASKED: &[&str] = &[
    "GET /1 HTTP/1.1\r\nhost: h\r\n\r\n",
    "HEAD /3 HTTP/1.1\r\nhost: h\r\n\r\n",
    "POST /5 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "GET /7 HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n",
];

/// What holders write, right and wrong.
const WRITTEN: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-le",
    "GET /n HTTP/1.1\r\nhost: h\r\n\r\n",
    "POST /n HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n",
    "5\r\nhello\r\nno number",
    "0\r\n\r\n",
    "0\r\nx-sum: 1\r\n\r\n",
    "hello",
    "\r\n",
];

/// What came of all that was received.
#[derive(Debug, PartialEq)]
struct Verdict {
    end: Option<Reason>,
    malformed: Option<(u64, Malformed)>,
    /// Whether a tunnel was asked for, the text, and how it ended.
    streams: Vec<(bool, Vec<u8>, Read)>,
    /// All but windows: how much of one is given back at a time depends on the pieces that came.
    said: Vec<Frame>,
}

fn begin(choices: u8) -> (Connection, Vec<Key>) {
    let is_greeted = choices & UNGREETED == 0;
    if choices & AS_CLIENT == 0 {
        let mut server = Connection::server(BOUNDS, is_greeted);
        if is_greeted {
            wire::receive(&mut server, &wire::settings(&[]));
        }
        return (server, Vec::new());
    }
    let mut client = Connection::client(BOUNDS, false);
    if !is_greeted {
        return (client, Vec::new());
    }
    wire::receive(&mut client, &wire::settings(&[(8, 1)]));
    let keys: Vec<_> = ASKED.iter().map(|text| wire::ask(&mut client, text)).collect();
    assert!(client.take_asked(keys[3]).is_some(), "a tunnel is asked for");
    client.prove(keys[3], [b'p'; 28]);
    (client, keys)
}

fn frames(mut said: &[u8], choices: u8) -> Vec<Frame> {
    if choices & AS_CLIENT != 0 {
        said = said.strip_prefix(PREFACE).expect("a client begins with its preface");
    }
    wire::frames(said)
}

/// Receives everything in pieces of the lengths that `next` says, and only then looks at what came.
fn verdict(choices: u8, mut bytes: &[u8], mut next: impl FnMut() -> usize) -> Verdict {
    let (mut connection, mut keys) = begin(choices);
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(next().min(bytes.len()));
        wire::receive(&mut connection, piece);
        bytes = rest;
    }
    let mut tunnels = vec![false; keys.len()];
    while let Some((key, asks)) = connection.accept() {
        keys.push(key);
        tunnels.push(asks);
    }
    assert!(connection.n_streams() <= BOUNDS.streams_max as usize);
    let mut said = frames(connection.output(), choices);
    said.retain(|frame| frame.kind != kind::WINDOW_UPDATE);
    let streams = keys.iter().zip(tunnels).map(|(key, asks)| {
        let (text, read) = wire::read_by(&mut connection, *key, 100);
        (asks, text, read)
    });
    let streams = streams.collect();
    Verdict { end: connection.end(), malformed: connection.take_malformed(), streams, said }
}

/// A connection whose holders do anything at any time.
struct Course {
    connection: Connection,
    held: Vec<Key>,
    said: Vec<u8>,
    noise: Noise,
}

impl Course {
    fn send(&mut self, n: usize) {
        self.said.extend_from_slice(&self.connection.output()[..n]);
        self.connection.sent(n);
    }

    /// One thing that somebody does.
    fn act(&mut self) {
        let Self { connection, held, noise, .. } = self;
        if noise.one_in(3) {
            let n = connection.output().len();
            let part = if noise.one_in(2) { n } else { noise.below(n + 1) };
            return self.send(part);
        }
        match noise.below(20) {
            0..=3 => {
                if let Some((key, asks)) = connection.accept() {
                    held.push(key);
                    if asks {
                        connection.fill_in_key(key, [b'k'; 24]);
                    }
                }
                held.extend(noise.one_in(4).then(|| connection.open()).flatten());
            }
            4 => connection.take_touched(|_| {}),
            5 if noise.one_in(10) => connection.leave(),
            5 if noise.one_in(20) => connection.fail(Reason::INTERNAL_ERROR),
            5 if noise.one_in(20) => connection.lost(),
            6 if connection.output().is_empty() => {
                let memory = connection.take_memory();
                connection.lend_memory(memory.unwrap_or_default());
            }
            _ if held.is_empty() => {}
            choice => {
                let place = noise.below(held.len());
                let key = held[place];
                on_stream(connection, key, choice, noise);
                if choice == 7 {
                    held.swap_remove(place);
                }
            }
        }
    }
}

/// What the holder of a stream does with it.
fn on_stream(connection: &mut Connection, key: Key, choice: usize, noise: &mut Noise) {
    match choice {
        7 => connection.release(key),
        8 => connection.reset(key, noise.pick(&[Reason::CANCEL, Reason::NO_ERROR, Reason(77)])),
        9 => connection.finish(key),
        10..=13 => {
            let (first, second) = (noise.pick(WRITTEN), noise.pick(WRITTEN));
            // What is no text is refused, and the holder may go on with anything.
            if let Ok(n) = connection.write(key, first.as_bytes(), second.as_bytes()) {
                assert!(n <= first.len() + second.len());
            }
        }
        _ => {
            let mut buffer = vec![0; 1 + noise.below(100)];
            let is_readable = connection.is_readable(key);
            let read = connection.read(key, &mut buffer);
            match read {
                Read::Bytes(n) => assert!(0 < n && n <= buffer.len()),
                Read::End => assert!(connection.is_read(key)),
                Read::Blocked => assert!(!is_readable && connection.broken(key).is_none()),
                Read::Broken(broken) => assert_eq!(connection.broken(key), Some(broken)),
            }
            assert!(is_readable || read == Read::Blocked, "{read:?} where nothing could be read");
        }
    }
}

fn anything_at_any_time(choices: u8, mut bytes: &[u8], mut noise: Noise) {
    let (connection, held) = begin(choices);
    let longest = 1 + noise.below(200);
    let mut course = Course { connection, held, said: Vec::new(), noise };
    while !bytes.is_empty() {
        let n = 1 + course.noise.below(longest);
        let (piece, rest) = bytes.split_at(n.min(bytes.len()));
        wire::receive(&mut course.connection, piece);
        bytes = rest;
        for _ in 0..course.noise.below(5) {
            course.act();
        }
        if course.connection.is_stuffed() {
            course.send(course.connection.output().len());
        }
        assert!(course.connection.output().len() <= OUTPUT_MAX);
        // Streams that a client opens beside its endpoint's say are its holder's matter.
        assert!(course.connection.n_streams() <= BOUNDS.streams_max as usize);
    }
    for key in std::mem::take(&mut course.held) {
        course.connection.release(key);
    }
    course.send(course.connection.output().len());
    frames(&course.said, choices);
}

/// Bytes of any kind to a connection.
///
/// # Panics
/// A law is broken.
pub(crate) fn connection(input: &[u8]) {
    let Some((&[choices, a, b, c, d], bytes)) = input.split_first_chunk() else { return };
    let mut noise = Noise::new(u64::from(u32::from_be_bytes([a, b, c, d])));
    let at_once = verdict(choices, bytes, || usize::MAX);
    assert_eq!(verdict(choices, bytes, || 1), at_once, "the verdict does not depend on how bytes were split");
    let longest = 1 + noise.below(30);
    let mut split = noise.clone();
    assert_eq!(verdict(choices, bytes, || 1 + split.below(longest)), at_once);
    anything_at_any_time(choices, bytes, noise);
}
