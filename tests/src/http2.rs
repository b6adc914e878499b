//! A raw caller or endpoint of HTTP/2: frames as the test writes them, right or wrong.
//!
//! Limit: it encodes fields as literals and decodes none; what an answer says is looked for in its bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

/// Kinds of frames (RFC 9113, section 6).
pub mod kind {
    #![allow(missing_docs, reason = "the names of the RFC")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// A flag: DATA or HEADERS is the last of its direction.
pub const END_STREAM: u8 = 1;
/// A flag: no CONTINUATION follows.
pub const END_HEADERS: u8 = 4;

/// One connection.
pub struct Http2 {
    stream: TcpStream,
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream; 0: the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of `RST_STREAM` and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

impl Http2 {
    /// Connects and says the preface with these settings, as they stand in the frame.
    pub fn connect(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut this = Self { stream };
        assert!(this.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        this.send(kind::SETTINGS, 0, 0, settings);
        this
    }

    /// Serves a connection that the proxy made: takes its preface and says these settings; `None` where none came.
    pub fn accept(stream: &TcpStream, settings: &[u8]) -> Option<Self> {
        let mut this = Self { stream: stream.try_clone().unwrap() };
        let mut preface = [0; 24];
        this.stream.read_exact(&mut preface).ok()?;
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        this.send(kind::SETTINGS, 0, 0, settings);
        Some(this)
    }

    /// The stream of the next request; `None` at the end of the connection.
    pub fn next_request(&mut self) -> Option<u32> {
        loop {
            let frame = self.next_frame()?;
            match frame.kind {
                kind::HEADERS => return Some(frame.stream),
                kind::SETTINGS if frame.flags & 1 == 0 => {
                    self.send(kind::SETTINGS, 1, 0, &[]);
                }
                kind::PING if frame.flags & 1 == 0 => {
                    self.send(kind::PING, 1, 0, &frame.payload);
                }
                _ => {}
            }
        }
    }

    /// Sends a whole answer with this body.
    pub fn answer(&mut self, stream: u32, body: &str) -> bool {
        self.send(kind::HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]))
            && self.send(kind::DATA, END_STREAM, stream, body.as_bytes())
    }

    /// Sends bytes; false where the proxy is gone.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a frame; false where the proxy is gone.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// Sends a request's head.
    pub fn request(&mut self, stream: u32, method: &str, path: &str, fields: &[(&str, &str)], ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(kind::HEADERS, flags, stream, &request_block(method, path, fields));
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7FFF_FFFF;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of this kind, whatever comes before.
    pub fn wait_for(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self
                .next_frame()
                .unwrap_or_else(|| panic!("the connection ended before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads to the end of the connection and gives the last GOAWAY before it.
    pub fn last_words(&mut self) -> Option<Frame> {
        let mut last = None;
        while let Some(frame) = self.next_frame() {
            if frame.kind == kind::GOAWAY {
                last = Some(frame);
            }
        }
        last
    }

    /// The body of the answer on this stream, to its end.
    pub fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.next_frame().expect("the answer's end");
            if frame.stream != stream {
                continue;
            }
            assert_ne!(frame.kind, kind::RST_STREAM, "the answer was cut");
            if frame.kind == kind::DATA {
                body.extend_from_slice(&frame.payload);
            }
            if [kind::DATA, kind::HEADERS].contains(&frame.kind) && frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The header block of a request to host `test`.
pub fn request_block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)];
    block(&[&pseudo, fields].concat())
}

/// Fields as literals that are not to be remembered (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            // Seven bits of the length, then the rest in groups of seven.
            if text.len() < 127 {
                bytes.push(text.len() as u8);
            } else {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                bytes.push(rest as u8);
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}
