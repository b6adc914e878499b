//! What may come on a stream in which state (RFC 9113, section 5.1).

use isobar_http2::{Bounds, Read, Reason, flag, kind};

use crate::wire::{self, BOUNDS, GET, POST, data, frame, headers, receive, reset, window_update};
use crate::{asked, assert_alive, assert_ended, assert_reset, broken, requested, resets};

const END: u8 = flag::END_STREAM;

#[test]
fn a_frame_of_a_stream_that_was_never_begun_ends_the_connection_with_protocol_error() {
    for (what, bytes) in [
        ("DATA", data(7, 0, b"x")),
        ("RST_STREAM", reset(7, 8)),
        ("WINDOW_UPDATE", window_update(7, 1)),
        ("RST_STREAM of an even one", reset(2, 8)),
        ("WINDOW_UPDATE of an even one", window_update(2, 1)),
        ("DATA of an even one", data(2, 0, b"x")),
        ("a request of an even number", headers(8, END, GET)),
        ("a request of a lower even number", headers(2, END, GET)),
    ] {
        let mut server = wire::server(BOUNDS);
        receive(&mut server, &headers(5, END, GET));
        receive(&mut server, &bytes);
        assert_ended(&mut server, Reason::PROTOCOL_ERROR, what);
    }
    for (what, bytes) in [
        ("an answer to what was not asked", headers(3, END, &[(":status", "200")])),
        ("an answer that was pushed", headers(2, END, &[(":status", "200")])),
        ("payload of what was not asked", data(3, 0, b"x")),
        ("RST_STREAM", reset(3, 8)),
        ("WINDOW_UPDATE", window_update(3, 1)),
    ] {
        let (mut client, _) = asked();
        receive(&mut client, &bytes);
        assert_ended(&mut client, Reason::PROTOCOL_ERROR, what);
    }
}

#[test]
fn a_number_that_was_passed_over_cannot_be_used_any_more() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &[headers(5, END, GET), headers(3, END, GET)].concat());
    assert_ended(&mut server, Reason::PROTOCOL_ERROR, "3 behind 5");
}

#[test]
fn precedence_may_come_for_any_stream() {
    let mut server = wire::server(BOUNDS);
    for stream in [1, 2, 9] {
        receive(&mut server, &frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 15]));
    }
    receive(&mut server, &headers(1, END, GET));
    receive(&mut server, &frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 9, 15]));
    assert!(server.accept().is_some());
    assert_alive(&mut server, "PRIORITY");
}

#[test]
fn more_of_a_message_that_has_ended_is_an_error_of_its_stream_while_the_answer_is_due() {
    for (what, late) in [("DATA", data(1, 0, b"x")), ("trailers", headers(1, END, &[("x", "y")]))] {
        let (mut server, key) = requested(END, GET);
        receive(&mut server, &late);
        assert_reset(&mut server, 1, Reason::STREAM_CLOSED, what);
        assert_eq!(
            server.broken(key).and_then(|broken| broken.reason),
            Some(Reason::STREAM_CLOSED),
            "{what}"
        );
    }
}

#[test]
fn more_of_a_stream_that_has_ended_both_ways_ends_the_connection_whether_it_is_held_or_not() {
    for is_held in [true, false] {
        for (what, late) in [("DATA", data(1, 0, b"x")), ("fields", headers(1, END, &[(":status", "200")]))] {
            let (mut client, key) = asked();
            receive(&mut client, &headers(1, 0, &[(":status", "200")]));
            receive(&mut client, &data(1, END, b"abc"));
            if !is_held {
                client.release(key);
            }
            receive(&mut client, &late);
            assert_ended(&mut client, Reason::STREAM_CLOSED, what);
            if is_held {
                let (text, read) = wire::read(&mut client, key);
                assert!(
                    text.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n") && read == Read::End,
                    "{what}: {text:?}"
                );
            }
        }
    }
}

#[test]
fn more_of_a_stream_that_its_peer_has_reset_ends_the_connection() {
    for (what, late) in [("DATA", data(1, 0, b"x")), ("trailers", headers(1, END, &[("x", "y")]))] {
        let (mut server, key) = requested(0, POST);
        receive(&mut server, &reset(1, 8));
        server.release(key);
        receive(&mut server, &late);
        assert_ended(&mut server, Reason::STREAM_CLOSED, what);
    }
}

#[test]
fn what_crossed_the_end_that_we_set_is_passed_over() {
    for is_held in [true, false] {
        let (mut server, key) = requested(0, POST);
        server.reset(key, Reason::CANCEL);
        if !is_held {
            server.release(key);
        }
        assert_eq!(resets(&mut server), [(1, Reason::CANCEL)]);
        for late in [
            data(1, 0, b"abc"),
            data(1, 0, b""),
            data(1, flag::PADDED, &[2, 9, 0, 0]),
            window_update(1, 5),
            window_update(1, 0x7FFF_FFFF),
            headers(1, END, &[("x", "y")]),
            reset(1, 0),
        ] {
            receive(&mut server, &late);
        }
        assert!(resets(&mut server).is_empty());
        assert_alive(&mut server, "late frames");
    }
}

#[test]
fn frames_that_say_nothing_more_may_follow_an_end() {
    let (mut server, key) = requested(END, GET);
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(server.write(key, answer, b""), Ok(answer.len()));
    server.release(key);
    receive(&mut server, &[window_update(1, 9), reset(1, 0), window_update(1, 9)].concat());
    assert!(resets(&mut server).is_empty());
    assert_alive(&mut server, "WINDOW_UPDATE and RST_STREAM");
}

#[test]
fn requests_past_the_bound_are_refused_and_those_before_it_served() {
    let mut server = wire::server(Bounds { streams_max: 2, ..BOUNDS });
    let four: Vec<u8> =
        [1, 3, 5, 7].iter().flat_map(|&id| headers(id, END * u8::from(id != 5), GET)).collect();
    receive(&mut server, &four);
    let first = server.accept().unwrap().0;
    assert!(server.accept().is_some() && server.accept().is_none());
    assert_eq!(resets(&mut server), [(5, Reason::REFUSED_STREAM), (7, Reason::REFUSED_STREAM)]);
    // The rest of one that was refused was on its way.
    receive(&mut server, &[data(5, 0, b"abc"), headers(5, END, &[("x", "y")])].concat());
    server.release(first);
    receive(&mut server, &headers(9, END, GET));
    assert!(server.accept().is_some(), "one is over");
    assert_alive(&mut server, "streams that were refused");
}

#[test]
fn a_reset_request_counts_until_its_holder_has_seen_it() {
    let mut server = wire::server(Bounds { streams_max: 1, ..BOUNDS });
    receive(&mut server, &headers(1, END, GET));
    let (key, _) = server.accept().unwrap();
    receive(&mut server, &[reset(1, 8), headers(3, END, GET)].concat());
    assert_eq!(resets(&mut server), [(3, Reason::REFUSED_STREAM)]);
    server.release(key);
    receive(&mut server, &headers(5, END, GET));
    assert!(server.accept().is_some());
}

#[test]
fn a_request_that_is_reset_before_anybody_accepted_it_was_never_there() {
    let mut server = wire::server(Bounds { streams_max: 1, ..BOUNDS });
    for id in (1..100).step_by(2) {
        receive(&mut server, &[headers(id, END, GET), reset(id, 8)].concat());
        assert!(server.accept().is_none());
        assert_eq!(server.n_streams(), 0);
    }
    assert!(wire::sent(&mut server).is_empty());
}

#[test]
fn a_reset_breaks_its_stream_off_behind_what_had_come() {
    let (mut server, key) = requested(0, POST);
    receive(&mut server, &[data(1, 0, b"abc"), reset(1, 77)].concat());
    let (text, read) = wire::read(&mut server, key);
    assert!(text.ends_with("3\r\nabc\r\n"), "{text:?}");
    assert_eq!(read, broken(Reason(77)));
    server.release(key);
    assert!(resets(&mut server).is_empty(), "it is over on both sides");
}

#[test]
fn streams_that_are_reset_for_mistakes_too_often_end_the_connection() {
    /// As `FAULTS_MAX`.
    const N_FAULTS: u32 = 256;
    type Mistake = fn(u32) -> Vec<u8>;
    let mistakes: [(&str, Mistake); 3] = [
        ("malformed", |id| headers(id, END, &[("x", "y")])),
        ("DATA behind the end", |id| [headers(id, END, GET), data(id, 0, b"x")].concat()),
        ("a window that grows by nothing", |id| [headers(id, END, GET), window_update(id, 0)].concat()),
    ];
    for (what, mistake) in mistakes {
        let mut server = wire::server(BOUNDS);
        for n in 0..N_FAULTS {
            receive(&mut server, &mistake(2 * n + 1));
            assert_eq!((server.end(), server.n_streams()), (None, 0), "{what}: {n}");
        }
        receive(&mut server, &mistake(2 * N_FAULTS + 1));
        assert_ended(&mut server, Reason::ENHANCE_YOUR_CALM, what);
    }
    let mut server = wire::server(Bounds { streams_max: 0, ..BOUNDS });
    (0..2 * N_FAULTS).for_each(|n| receive(&mut server, &headers(2 * n + 1, END, GET)));
    assert_alive(&mut server, "requests that are refused are no mistakes");
}

#[test]
fn a_client_opens_streams_as_far_as_both_sides_allow() {
    let mut client = wire::client(Bounds { streams_max: 3, ..BOUNDS }, &[(3, 2)]);
    let (first, second) = (client.open().unwrap(), client.open().unwrap());
    assert_eq!(client.open(), None, "the endpoint takes two");
    receive(&mut client, &wire::settings(&[(3, 100)]));
    assert!(client.open().is_some() && client.open().is_none(), "we take three");
    // Numbers are given in the order in which heads are written, whatever was opened first.
    let text = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    for (key, id) in [(second, 1), (first, 3)] {
        assert_eq!(client.write(key, text, b""), Ok(text.len()));
        assert_eq!(wire::sent(&mut client).last().unwrap().stream, id);
    }
    client.release(first);
    assert!(client.open().is_some());
}

#[test]
fn no_stream_is_opened_before_the_endpoint_has_greeted() {
    let mut client = isobar_http2::Connection::client(BOUNDS, false);
    assert!(!client.is_open() && client.open().is_none());
    receive(&mut client, &wire::settings(&[]));
    assert!(client.is_open() && client.open().is_some());
}
