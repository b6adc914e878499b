//! The rules of RFC 9113 that a connection holds its peer to, each with the code that breaking it gets, and what it promises
//! those who hold its streams.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../laws/wire/mod.rs"]
mod wire;

mod bounds;
mod endings;
mod frames;
mod messages;
mod streams;
mod tunnels;
mod windows;

use isobar_http2::{Broken, Connection, Key, Read, Reason, flag, kind};
use wire::Frame;

/// A request that was accepted on stream 1, and its server.
fn requested(flags: u8, fields: &[(&str, &str)]) -> (Connection, Key) {
    let mut server = wire::server(wire::BOUNDS);
    wire::receive(&mut server, &wire::headers(1, flags, fields));
    let (key, _) = server.accept().expect("a request");
    (server, key)
}

/// A client that asked for `/` on stream 1.
fn asked() -> (Connection, Key) {
    let mut client = wire::client(wire::BOUNDS, &[]);
    let key = wire::ask(&mut client, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    wire::sent(&mut client);
    (client, key)
}

/// The connection ended for this reason and said so.
#[track_caller]
fn assert_ended(connection: &mut Connection, reason: Reason, what: &str) {
    assert_eq!(connection.end(), Some(reason), "{what}");
    let said = wire::sent(connection);
    let last = said.last().unwrap_or_else(|| panic!("{what}: nothing is said"));
    assert_eq!((last.kind, Reason(last.number(4))), (kind::GOAWAY, reason), "{what}");
}

/// Streams that were reset, with their reasons, by what is to be sent.
fn resets(connection: &mut Connection) -> Vec<(u32, Reason)> {
    let resets = wire::sent(connection).into_iter().filter(|frame| frame.kind == kind::RST_STREAM);
    resets.map(|frame| (frame.stream, Reason(frame.number(0)))).collect()
}

/// One stream was reset for this reason, and the connection goes on.
#[track_caller]
fn assert_reset(connection: &mut Connection, stream: u32, reason: Reason, what: &str) {
    assert_eq!(connection.end(), None, "{what}");
    assert_eq!(resets(connection), [(stream, reason)], "{what}");
    assert_alive(connection, what);
}

/// The connection answers.
#[track_caller]
fn assert_alive(connection: &mut Connection, what: &str) {
    wire::receive(connection, &wire::frame(kind::PING, 0, 0, b"are you?"));
    let said = wire::sent(connection);
    let answers = said.iter().filter(|frame| frame.kind == kind::PING && frame.has(flag::ACK)).count();
    assert_eq!((answers, connection.end()), (1, None), "{what}");
}

fn broken(reason: Reason) -> Read {
    Read::Broken(Broken { reason: Some(reason), is_unprocessed: false })
}

/// Payload in DATA of one stream.
fn payload_of(said: &[Frame], stream: u32) -> usize {
    let of_stream = said.iter().filter(|frame| frame.kind == kind::DATA && frame.stream == stream);
    of_stream.map(|frame| frame.payload.len()).sum()
}

/// What was given back to a window, 0 being the connection's.
fn given_back(said: &[Frame], stream: u32) -> u32 {
    let of_stream = said.iter().filter(|frame| frame.kind == kind::WINDOW_UPDATE && frame.stream == stream);
    of_stream.map(|frame| frame.number(0)).sum()
}
