//! Frames whatever the state of their streams is: sizes, places, padding, order, settings (RFC 9113, sections 3, 4 and 6).

use isobar_http2::{Connection, FrameHead, Reason, flag, kind};

use crate::wire::{self, BOUNDS, GET, POST, WINDOW, frame, headers, receive, settings};
use crate::{assert_alive, assert_ended, assert_reset, requested};

const END: u8 = flag::END_STREAM;

/// The server ends the connection for these bytes behind its caller's first SETTINGS.
#[track_caller]
fn ends_for(reason: Reason, bytes: &[u8], what: &str) {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, bytes);
    assert_ended(&mut server, reason, what);
}

#[test]
fn a_preface_is_taken_byte_by_byte_and_nothing_else_in_its_place() {
    let greeting = [isobar_http2::PREFACE, &settings(&[])].concat();
    let mut server = Connection::server(BOUNDS, false);
    for byte in &greeting {
        assert!(!server.is_greeted());
        receive(&mut server, std::slice::from_ref(byte));
    }
    assert!(server.is_greeted());
    for at in 0..isobar_http2::PREFACE.len() {
        let mut wrong = greeting.clone();
        wrong[at] ^= 1;
        let mut server = Connection::server(BOUNDS, false);
        receive(&mut server, &wrong[..=at]);
        assert_eq!(server.end(), Some(Reason::PROTOCOL_ERROR), "byte {at}");
    }
}

#[test]
fn the_first_frame_is_settings_that_answer_nothing() {
    let first = [
        headers(1, END, GET),
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(kind::SETTINGS, flag::ACK, 0, &[]),
        wire::window_update(0, 1),
        frame(99, 0, 0, &[]),
    ];
    for bytes in first {
        let mut server = Connection::server(BOUNDS, true);
        receive(&mut server, &bytes);
        assert_eq!(server.end(), Some(Reason::PROTOCOL_ERROR), "{bytes:?}");
        let mut client = Connection::client(BOUNDS, false);
        receive(&mut client, &bytes);
        assert_eq!(client.end(), Some(Reason::PROTOCOL_ERROR), "{bytes:?}");
        assert!(!client.is_open());
    }
}

#[test]
fn a_frame_of_a_size_that_it_cannot_have_ends_the_connection_with_frame_size_error() {
    for (what, kind, flags, stream, len) in [
        ("PING of 7", kind::PING, 0, 0, 7),
        ("PING of 9", kind::PING, 0, 0, 9),
        ("SETTINGS of 5", kind::SETTINGS, 0, 0, 5),
        ("an answer to SETTINGS that says something", kind::SETTINGS, flag::ACK, 0, 6),
        ("WINDOW_UPDATE of 3", kind::WINDOW_UPDATE, 0, 0, 3),
        ("WINDOW_UPDATE of 5", kind::WINDOW_UPDATE, 0, 1, 5),
        ("RST_STREAM of 5", kind::RST_STREAM, 0, 1, 5),
        ("PRIORITY of 4", kind::PRIORITY, 0, 1, 4),
        ("GOAWAY of 7", kind::GOAWAY, 0, 0, 7),
        ("padded DATA without its length", kind::DATA, flag::PADDED, 1, 0),
        ("padded HEADERS without its length", kind::HEADERS, flag::PADDED | flag::END_HEADERS, 1, 0),
        ("HEADERS that ends within its precedence", kind::HEADERS, flag::PRIORITY | flag::END_HEADERS, 1, 4),
        ("DATA of more than 16,384", kind::DATA, 0, 1, 16_385),
        ("HEADERS of more than 16,384", kind::HEADERS, flag::END_HEADERS, 1, 16_385),
        ("an unknown frame of more than 16,384", 99, 0, 0, 16_385),
    ] {
        ends_for(Reason::FRAME_SIZE_ERROR, &frame(kind, flags, stream, &vec![0; len]), what);
    }
}

#[test]
fn a_frame_of_a_kind_that_has_no_place_there_ends_the_connection_with_protocol_error() {
    for (what, kind, flags, stream, len) in [
        ("DATA of the connection", kind::DATA, 0, 0, 1),
        ("HEADERS of the connection", kind::HEADERS, flag::END_HEADERS, 0, 1),
        ("PRIORITY of the connection", kind::PRIORITY, 0, 0, 5),
        ("RST_STREAM of the connection", kind::RST_STREAM, 0, 0, 4),
        ("CONTINUATION of the connection", kind::CONTINUATION, flag::END_HEADERS, 0, 1),
        ("SETTINGS of a stream", kind::SETTINGS, 0, 1, 0),
        ("PING of a stream", kind::PING, 0, 1, 8),
        ("GOAWAY of a stream", kind::GOAWAY, 0, 1, 8),
        ("PUSH_PROMISE of a caller", kind::PUSH_PROMISE, flag::END_HEADERS, 1, 4),
        ("CONTINUATION of nothing", kind::CONTINUATION, flag::END_HEADERS, 1, 0),
    ] {
        ends_for(Reason::PROTOCOL_ERROR, &frame(kind, flags, stream, &vec![0; len]), what);
    }
    let mut client = wire::client(BOUNDS, &[]);
    receive(&mut client, &frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2, 0x88]));
    assert_ended(&mut client, Reason::PROTOCOL_ERROR, "PUSH_PROMISE of an endpoint");
}

#[test]
fn kinds_and_flags_that_nobody_knows_are_passed_over() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &frame(99, 0xFF, 0, b"x"));
    receive(&mut server, &frame(99, 0xFF, 7, &[0; 16_384]));
    receive(&mut server, &frame(kind::PING, 0xFE, 0, b"are you?"));
    assert_eq!(wire::sent(&mut server).len(), 1);
    // The highest bit of a stream's number means nothing.
    let mut bytes = headers(1, END | 0x42, GET);
    bytes[5] |= 0x80;
    receive(&mut server, &bytes);
    assert!(server.accept().is_some());
    assert_alive(&mut server, "after all of them");
}

#[test]
fn padding_is_left_out_and_never_longer_than_its_frame() {
    let block = wire::block(POST);
    let padded = |n: u8, payload: &[u8]| [&[n], payload, &vec![0; usize::from(n)]].concat();
    let mut server = wire::server(BOUNDS);
    let with_precedence = [&[0, 0, 0, 0, 15][..], &block].concat();
    let flags = flag::PADDED | flag::PRIORITY | flag::END_HEADERS;
    receive(&mut server, &frame(kind::HEADERS, flags, 1, &padded(255, &with_precedence)));
    let (key, _) = server.accept().unwrap();
    receive(&mut server, &wire::data(1, flag::PADDED, &padded(3, b"abc")));
    receive(&mut server, &wire::data(1, flag::PADDED, &padded(0, b"de")));
    receive(&mut server, &wire::data(1, flag::PADDED | END, &padded(7, b"")));
    assert!(wire::read(&mut server, key).0.ends_with("\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"));

    for (kind, flags) in [(kind::DATA, flag::PADDED), (kind::HEADERS, flag::PADDED | flag::END_HEADERS)] {
        let (mut server, _) = requested(0, POST);
        receive(&mut server, &frame(kind, flags, 1, &[4, 1, 2, 3]));
        assert_ended(&mut server, Reason::PROTOCOL_ERROR, "padding of 4 in 3 bytes");
    }
}

#[test]
fn nothing_may_come_between_a_block_s_frames() {
    let begun = frame(kind::HEADERS, END, 1, &wire::block(GET)[..5]);
    for (what, between) in [
        ("PING", frame(kind::PING, 0, 0, &[0; 8])),
        ("SETTINGS", settings(&[])),
        ("an unknown frame", frame(99, 0, 1, &[])),
        ("DATA", wire::data(1, 0, b"x")),
        ("another request", headers(3, END, GET)),
        ("more of another stream", frame(kind::CONTINUATION, flag::END_HEADERS, 3, &wire::block(GET)[5..])),
    ] {
        ends_for(Reason::PROTOCOL_ERROR, &[&begun[..], &between].concat(), what);
    }
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &begun);
    receive(&mut server, &frame(kind::CONTINUATION, 0, 1, &[]));
    receive(&mut server, &frame(kind::CONTINUATION, flag::END_HEADERS, 1, &wire::block(GET)[5..]));
    let (key, _) = server.accept().unwrap();
    assert_eq!(wire::read(&mut server, key).0, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
}

#[test]
fn a_block_of_more_frames_than_its_bound_ends_the_connection() {
    let mut bytes = frame(kind::HEADERS, END, 1, &wire::block(GET));
    for _ in 0..BOUNDS.continuations_max {
        bytes.extend(frame(kind::CONTINUATION, 0, 1, &[]));
    }
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &bytes);
    assert_eq!(server.end(), None);
    receive(&mut server, &frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]));
    assert_ended(&mut server, Reason::ENHANCE_YOUR_CALM, "one more");
}

#[test]
fn a_block_that_cannot_be_decoded_ends_the_connection_wherever_it_comes() {
    let wrong: &[&[u8]] = &[&[0x80], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], &[0x40, 5, b'x'], &[0xBE]];
    for block in wrong {
        let block = frame(kind::HEADERS, flag::END_HEADERS | END, 1, block);
        ends_for(Reason::COMPRESSION_ERROR, &block, "a request");
        let (mut server, key) = requested(0, POST);
        server.reset(key, Reason::CANCEL);
        receive(&mut server, &block);
        assert_ended(&mut server, Reason::COMPRESSION_ERROR, "trailers that nobody waits for");
    }
}

#[test]
fn settings_have_the_values_that_they_can_have() {
    for (what, name, value, reason) in [
        ("ENABLE_PUSH of 2", 2, 2, Reason::PROTOCOL_ERROR),
        ("INITIAL_WINDOW_SIZE of 2^31", 4, 1 << 31, Reason::FLOW_CONTROL_ERROR),
        ("MAX_FRAME_SIZE below 16,384", 5, 16_383, Reason::PROTOCOL_ERROR),
        ("MAX_FRAME_SIZE of 2^24", 5, 1 << 24, Reason::PROTOCOL_ERROR),
        ("ENABLE_CONNECT_PROTOCOL of 2", 8, 2, Reason::PROTOCOL_ERROR),
    ] {
        ends_for(reason, &settings(&[(3, 1), (name, value)]), what);
    }
    let mut server = wire::server(BOUNDS);
    for (name, value) in
        [(1, 0), (2, 1), (2, 0), (4, (1 << 31) - 1), (4, 0), (5, 16_384), (5, (1 << 24) - 1), (77, 9)]
    {
        receive(&mut server, &settings(&[(name, value)]));
        let said = wire::sent(&mut server);
        assert_eq!(
            (said.len(), said[0].kind, said[0].flags),
            (1, kind::SETTINGS, flag::ACK),
            "{name}: {value}"
        );
    }
    assert_alive(&mut server, "values at their edges");
}

#[test]
fn an_endpoint_can_neither_push_nor_take_its_word_on_tunnels_back() {
    let mut client = wire::client(BOUNDS, &[]);
    receive(&mut client, &settings(&[(2, 1)]));
    assert_ended(&mut client, Reason::PROTOCOL_ERROR, "ENABLE_PUSH of a server");
    let mut client = wire::client(BOUNDS, &[(8, 1)]);
    assert!(client.takes_connect());
    receive(&mut client, &settings(&[(8, 0)]));
    assert_ended(&mut client, Reason::PROTOCOL_ERROR, "ENABLE_CONNECT_PROTOCOL taken back");
}

#[test]
fn a_setting_that_makes_a_window_too_large_ends_the_connection() {
    let (mut server, _) = requested(END, GET);
    receive(&mut server, &wire::window_update(1, (1 << 31) - 1 - WINDOW));
    receive(&mut server, &settings(&[(4, WINDOW + 1)]));
    assert_ended(&mut server, Reason::FLOW_CONTROL_ERROR, "2^31");
}

#[test]
fn ping_is_answered_with_what_it_brought_and_an_answer_is_not() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &frame(kind::PING, 0, 0, b"12345678"));
    receive(&mut server, &frame(kind::PING, flag::ACK, 0, b"nobody's"));
    let said = wire::sent(&mut server);
    assert_eq!((said.len(), said[0].flags, &said[0].payload[..]), (1, flag::ACK, &b"12345678"[..]));
}

#[test]
fn a_stream_cannot_come_before_itself() {
    let circle = [&[0, 0, 0, 1, 0][..], &wire::block(GET)].concat();
    let flags = flag::PRIORITY | END;
    let whole = frame(kind::HEADERS, flags | flag::END_HEADERS, 1, &circle);
    let (first, second) = circle.split_at(9);
    let split =
        [frame(kind::HEADERS, flags, 1, first), frame(kind::CONTINUATION, flag::END_HEADERS, 1, second)]
            .concat();
    for (what, bytes) in [("in one frame", whole), ("in two", split)] {
        let mut server = wire::server(BOUNDS);
        receive(&mut server, &bytes);
        assert!(server.accept().is_none(), "{what}");
        assert_reset(&mut server, 1, Reason::PROTOCOL_ERROR, what);
    }
    let (mut server, _) = requested(0, POST);
    receive(&mut server, &frame(kind::PRIORITY, 0, 1, &[0x80, 0, 0, 1, 0]));
    assert_reset(&mut server, 1, Reason::PROTOCOL_ERROR, "PRIORITY");
}

#[test]
fn whoever_looks_sees_every_frame_before_it_is_taken_and_may_end_the_connection() {
    let mut server = wire::server(BOUNDS);
    let bytes = [headers(1, END, GET), wire::window_update(1, 5), frame(77, 3, 0, b"x")].concat();
    let mut seen = Vec::new();
    for byte in &bytes {
        server.receive(std::slice::from_ref(byte), |frame| {
            seen.push((frame.kind, frame.stream, frame.len));
            Ok(())
        });
    }
    let len = wire::block(GET).len();
    assert_eq!(seen, [(kind::HEADERS, 1, len), (kind::WINDOW_UPDATE, 1, 4), (77, 0, 1)]);
    let refuses = |frame: FrameHead| if frame.kind == 77 { Err(Reason::ENHANCE_YOUR_CALM) } else { Ok(()) };
    server.receive(&bytes[bytes.len() - 10..], refuses);
    assert_ended(&mut server, Reason::ENHANCE_YOUR_CALM, "the look");
}
