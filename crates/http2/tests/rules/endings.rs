//! How streams and connections end, and what those who hold streams are told of it (RFC 9113, sections 5.4 and 6.8).

use isobar_http2::{Broken, Connection, Key, Read, Reason, WriteError, flag, kind};

use crate::wire::{self, BOUNDS, GET, POST, data, frame, goaway, headers, receive};
use crate::{asked, assert_alive, broken, requested, resets};

const END: u8 = flag::END_STREAM;
const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

const fn break_of(reason: Option<Reason>, is_unprocessed: bool) -> Broken {
    Broken { reason, is_unprocessed }
}

/// A server that was told to leave and whose caller has heard it.
fn leaving(mut server: Connection) -> Connection {
    server.leave();
    let said = wire::sent(&mut server);
    let ping = said.iter().find(|frame| frame.kind == kind::PING).unwrap();
    receive(&mut server, &frame(kind::PING, flag::ACK, 0, &ping.payload));
    server
}

#[test]
fn a_connection_that_leaves_takes_what_was_on_its_way_and_ends_with_its_last_stream() {
    let (mut server, first) = requested(END, GET);
    server.leave();
    let said = wire::sent(&mut server);
    assert_eq!((said[0].kind, said[0].number(0), said[0].number(4)), (kind::GOAWAY, 0x7FFF_FFFF, 0));
    server.leave();
    assert!(server.output().is_empty(), "it is said once");
    receive(&mut server, &headers(3, END, GET));
    let (second, _) = server.accept().expect("it was on its way");
    receive(&mut server, &frame(kind::PING, flag::ACK, 0, &said[1].payload));
    let last = wire::sent(&mut server);
    assert_eq!((last.len(), last[0].kind, last[0].number(0), last[0].number(4)), (1, kind::GOAWAY, 3, 0));
    for key in [first, second] {
        assert!(!server.has_left());
        assert_eq!(server.write(key, NO_CONTENT, b""), Ok(NO_CONTENT.len()));
        server.release(key);
    }
    assert!(server.has_left() && server.end().is_none());
}

#[test]
fn what_comes_behind_the_end_that_was_told_is_passed_over() {
    let (server, first) = requested(0, POST);
    let mut server = leaving(server);
    wire::sent(&mut server);
    let late = [headers(3, 0, POST), data(3, 0, b"abc"), headers(3, END, &[("x-sum", "1")])];
    receive(&mut server, &late.concat());
    assert!(server.accept().is_none() && server.output().is_empty());
    receive(&mut server, &data(1, END, b"abc"));
    assert_eq!(wire::read(&mut server, first).1, Read::End, "what is in progress goes on");
    assert_alive(&mut server, "late requests");
}

#[test]
fn a_ping_of_the_caller_s_own_is_not_taken_for_his_having_heard() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &frame(kind::PING, flag::ACK, 0, b"leaving."));
    assert!(!server.has_left());
    server.leave();
    receive(&mut server, &frame(kind::PING, 0, 0, b"leaving."));
    receive(&mut server, &frame(kind::PING, flag::ACK, 0, b"another."));
    assert!(!server.has_left());
    receive(&mut server, &frame(kind::PING, flag::ACK, 0, b"leaving."));
    assert!(server.has_left());
}

#[test]
fn goaway_leaves_the_streams_up_to_its_last_and_says_that_later_ones_were_not_begun() {
    let mut client = wire::client(BOUNDS, &[]);
    let head = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let keys: [Key; 3] = std::array::from_fn(|_| wire::ask(&mut client, head));
    let unwritten = client.open().unwrap();
    wire::sent(&mut client);
    receive(&mut client, &goaway(3, 0));
    assert!(!client.is_open() && client.open().is_none());
    for key in [keys[2], unwritten] {
        assert_eq!(client.broken(key), Some(break_of(None, true)));
    }
    assert_eq!(client.write(unwritten, head.as_bytes(), b""), Err(WriteError::Broken(break_of(None, true))));
    for (key, id) in [(keys[0], 1), (keys[1], 3)] {
        assert_eq!(client.broken(key), None);
        receive(&mut client, &headers(id, END, &[(":status", "204")]));
        assert_eq!(wire::read(&mut client, key).1, Read::End);
    }
    // A server may say it twice, the second time with what it really took (section 6.8).
    assert!(client.end().is_none());
}

#[test]
fn a_second_goaway_takes_back_what_the_first_left_open() {
    let mut client = wire::client(BOUNDS, &[]);
    let keys: [Key; 2] = std::array::from_fn(|_| wire::ask(&mut client, "GET / HTTP/1.1\r\nhost: h\r\n\r\n"));
    receive(&mut client, &goaway(0x7FFF_FFFF, 0));
    assert!(client.broken(keys[0]).is_none() && client.broken(keys[1]).is_none());
    receive(&mut client, &goaway(1, 0));
    assert_eq!((client.broken(keys[0]), client.broken(keys[1])), (None, Some(break_of(None, true))));
}

#[test]
fn only_a_refusal_or_a_number_behind_the_last_is_unprocessed() {
    for (reason, is_unprocessed) in [
        (Reason::REFUSED_STREAM, true),
        (Reason::CANCEL, false),
        (Reason::NO_ERROR, false),
        (Reason::INTERNAL_ERROR, false),
        (Reason(77), false),
    ] {
        let (mut client, key) = asked();
        receive(&mut client, &wire::reset(1, reason.0));
        assert_eq!(client.broken(key), Some(break_of(Some(reason), is_unprocessed)));
    }
    let (mut client, key) = asked();
    client.lost();
    assert_eq!(client.broken(key), Some(break_of(None, false)), "it may have been begun");
}

#[test]
fn the_end_of_a_connection_breaks_every_stream_that_is_not_over() {
    for (is_lost, reason) in [(true, None), (false, Some(Reason::PROTOCOL_ERROR))] {
        let mut server = wire::server(BOUNDS);
        receive(&mut server, &[headers(1, END, GET), headers(3, 0, POST), headers(5, END, GET)].concat());
        let [whole, half] = std::array::from_fn(|_| server.accept().unwrap().0);
        assert_eq!(server.write(whole, NO_CONTENT, b""), Ok(NO_CONTENT.len()));
        // The third is not accepted yet: nobody is to be told.
        if is_lost {
            server.lost();
        } else {
            receive(&mut server, &frame(kind::PING, 0, 1, &[0; 8]));
        }
        assert!(server.accept().is_none() && server.n_streams() == 2);
        assert_eq!(server.broken(whole), None, "it is over as it should be");
        assert_eq!(server.broken(half), Some(break_of(reason, false)));
        let mut touched = Vec::new();
        server.take_touched(|key| touched.push(key));
        assert!(touched.contains(&half));
        let (text, read) = wire::read(&mut server, half);
        assert!(!text.is_empty() && matches!(read, Read::Broken(_)), "what came can be read");
        assert!(matches!(server.write(half, NO_CONTENT, b""), Err(WriteError::Broken(_))));
        server.release(whole);
        server.release(half);
        assert_eq!(server.n_streams(), 0);
        assert!(!server.is_open());
    }
}

#[test]
fn nothing_is_taken_behind_the_end() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &[data(0, 0, b""), headers(1, END, GET)].concat());
    receive(&mut server, &headers(3, END, GET));
    let said = wire::sent(&mut server);
    assert_eq!((said.len(), said[0].kind, server.accept()), (1, kind::GOAWAY, None));
    server.fail(Reason::INTERNAL_ERROR);
    assert!(server.output().is_empty(), "the first reason counts");
    assert_eq!(server.end(), Some(Reason::PROTOCOL_ERROR));
}

#[test]
fn goaway_of_a_server_names_the_newest_request_that_came() {
    let (mut server, _) = requested(END, GET);
    receive(&mut server, &headers(7, END, GET));
    server.fail(Reason::INTERNAL_ERROR);
    let said = wire::sent(&mut server);
    assert_eq!((said[0].number(0), Reason(said[0].number(4))), (7, Reason::INTERNAL_ERROR));
}

#[test]
fn a_stream_that_is_given_back_before_its_end_is_reset_for_what_its_peer_should_do() {
    let (mut server, key) = requested(0, POST);
    server.release(key);
    assert_eq!(resets(&mut server), [(1, Reason::CANCEL)], "no answer");
    let (mut server, key) = requested(0, POST);
    assert_eq!(server.write(key, NO_CONTENT, b""), Ok(NO_CONTENT.len()));
    server.release(key);
    assert_eq!(
        resets(&mut server),
        [(1, Reason::NO_ERROR)],
        "answered, and the rest of the request is not wanted"
    );
    let (mut server, key) = requested(END, GET);
    assert_eq!(server.write(key, NO_CONTENT, b""), Ok(NO_CONTENT.len()));
    server.release(key);
    assert!(resets(&mut server).is_empty(), "over");
    let (mut client, key) = asked();
    client.release(key);
    assert_eq!(resets(&mut client), [(1, Reason::CANCEL)], "nobody waits for the answer");
    let key = client.open().unwrap();
    client.release(key);
    assert!(client.output().is_empty(), "the endpoint has not heard of it");
}

#[test]
fn a_stream_that_its_holder_has_reset_is_broken_for_him_too() {
    let (mut server, key) = requested(0, POST);
    server.reset(key, Reason::INTERNAL_ERROR);
    server.reset(key, Reason::CANCEL);
    assert_eq!(resets(&mut server), [(1, Reason::INTERNAL_ERROR)], "once");
    assert_eq!(wire::read(&mut server, key).1, broken(Reason::INTERNAL_ERROR));
    assert!(server.write(key, NO_CONTENT, b"").is_err());
}

#[test]
fn text_that_is_none_is_refused_and_the_frames_before_it_are_whole() {
    let heads: [&[u8]; 4] = [
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
    ];
    for head in heads {
        let (mut server, key) = requested(END, GET);
        assert!(matches!(server.write(key, head, b""), Err(WriteError::Invalid(_))), "{head:?}");
        server.release(key);
        assert_eq!(resets(&mut server), [(1, Reason::CANCEL)]);
    }
    let (mut server, key) = requested(END, GET);
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    assert!(matches!(server.write(key, chunked, b"no number\r\n"), Err(WriteError::Invalid(_))));
    server.release(key);
    let said = wire::sent(&mut server);
    let kinds: Vec<_> = said.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [kind::HEADERS, kind::DATA, kind::RST_STREAM]);
    assert_eq!(said[1].payload, b"hello");
}
