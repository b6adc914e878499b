//! What makes a message, and where it ends (RFC 9113, section 8.1).

use isobar_http2::{Malformed, Read, Reason, flag};

use crate::wire::{self, BOUNDS, GET, POST, data, headers, receive};
use crate::{asked, assert_alive, assert_reset, broken, requested, resets};

const END: u8 = flag::END_STREAM;
const OK: (&str, &str) = (":status", "200");

fn with_length(length: &str) -> Vec<(&str, &str)> {
    POST.iter().copied().chain([("content-length", length)]).collect()
}

/// How a request with this length ends, that has these bodies in frames, and the payload that could be read of it.
fn request_of_length(length: &str, frames: &[(&str, u8)]) -> (String, Read) {
    let (mut server, key) = requested(0, &with_length(length));
    for (payload, flags) in frames {
        receive(&mut server, &data(1, *flags, payload.as_bytes()));
    }
    let (text, read) = wire::read(&mut server, key);
    let payload = text.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(resets(&mut server).is_empty(), read == Read::End, "{read:?}");
    (payload, read)
}

#[test]
fn a_body_is_as_long_as_its_length_says_or_breaks_off() {
    let wrong = broken(Reason::PROTOCOL_ERROR);
    for (what, frames, expected) in [
        ("at once", &[("abcdef", END)][..], ("abcdef", Read::End)),
        ("in pieces", &[("abc", 0), ("", 0), ("def", 0), ("", END)], ("abcdef", Read::End)),
        ("too short", &[("abc", END)], ("", wrong)),
        ("too short in pieces", &[("abc", 0), ("de", END)], ("abc", wrong)),
        ("nothing", &[("", END)], ("", wrong)),
        ("too long", &[("abcdefg", END)], ("", wrong)),
        ("too long in pieces", &[("abcdef", 0), ("g", 0)], ("abcdef", wrong)),
    ] {
        let (payload, read) = request_of_length("6", frames);
        assert_eq!((&payload[..], read), expected, "{what}");
    }
}

#[test]
fn a_length_without_a_body_is_malformed() {
    let mut server = wire::server(BOUNDS);
    receive(&mut server, &headers(1, END, &with_length("6")));
    assert!(server.accept().is_none());
    assert_reset(&mut server, 1, Reason::PROTOCOL_ERROR, "a request");
    assert_eq!(server.take_malformed(), Some((1, Malformed::Length)));
    assert_eq!(server.take_malformed(), None, "it is told once");
    let (mut client, key) = asked();
    receive(&mut client, &headers(1, END, &[OK, ("content-length", "6")]));
    assert_eq!(wire::read(&mut client, key).1, broken(Reason::PROTOCOL_ERROR));
}

#[test]
fn trailers_end_a_body_that_is_too_short_as_little_as_data_does() {
    let (mut server, key) = requested(0, &with_length("6"));
    receive(&mut server, &data(1, 0, b"abc"));
    receive(&mut server, &headers(1, END, &[("x-sum", "1")]));
    assert_eq!(wire::read(&mut server, key).1, broken(Reason::PROTOCOL_ERROR));
    assert_reset(&mut server, 1, Reason::PROTOCOL_ERROR, "trailers");
}

#[test]
fn an_answer_is_as_long_as_its_length_says_or_breaks_off() {
    for (payload, is_right) in [("abc", true), ("ab", false), ("abcd", false), ("", false)] {
        let (mut client, key) = asked();
        receive(&mut client, &headers(1, 0, &[OK, ("content-length", "3")]));
        receive(&mut client, &data(1, END, payload.as_bytes()));
        let read = wire::read(&mut client, key).1;
        assert_eq!(read, if is_right { Read::End } else { broken(Reason::PROTOCOL_ERROR) }, "{payload}");
        assert_alive(&mut client, payload);
    }
}

#[test]
fn trailers_that_do_not_end_the_message_are_malformed() {
    let (mut server, key) = requested(0, POST);
    receive(&mut server, &data(1, 0, b"abc"));
    receive(&mut server, &headers(1, 0, &[("x-sum", "1")]));
    assert_eq!(wire::read(&mut server, key).1, broken(Reason::PROTOCOL_ERROR));
    assert_reset(&mut server, 1, Reason::PROTOCOL_ERROR, "trailers");
}

#[test]
fn trailers_follow_chunks_and_are_left_out_behind_a_length() {
    for (fields, body) in [
        (POST.to_vec(), "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"),
        (with_length("3"), "abc"),
        ([&with_length("3")[..], &[("trailer", "x-sum")]].concat(), "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"),
    ] {
        let (mut server, key) = requested(0, &fields);
        receive(&mut server, &data(1, 0, b"abc"));
        receive(&mut server, &headers(1, END, &[("x-sum", "1")]));
        let (text, read) = wire::read(&mut server, key);
        assert_eq!((text.split_once("\r\n\r\n").unwrap().1, read), (body, Read::End));
    }
}

#[test]
fn payload_before_the_head_of_an_answer_breaks_it_off() {
    let (mut client, key) = asked();
    receive(&mut client, &headers(1, 0, &[(":status", "103")]));
    receive(&mut client, &data(1, 0, b"abc"));
    let (text, read) = wire::read(&mut client, key);
    assert_eq!((&text[..], read), ("HTTP/1.1 103 Early Hints\r\n\r\n", broken(Reason::PROTOCOL_ERROR)));
    assert_reset(&mut client, 1, Reason::PROTOCOL_ERROR, "DATA");
}

#[test]
fn interim_answers_come_before_the_last_one_each_as_a_head() {
    let (mut client, key) = asked();
    receive(&mut client, &headers(1, 0, &[(":status", "100")]));
    receive(&mut client, &headers(1, 0, &[(":status", "103"), ("link", "</a>")]));
    receive(&mut client, &headers(1, END, &[(":status", "204")]));
    let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                    HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(wire::read(&mut client, key), (expected.to_owned(), Read::End));
}

#[test]
fn an_answer_that_can_have_no_body_ends_with_its_head_and_takes_no_payload() {
    for (method, status) in [("HEAD", "200"), ("GET", "204"), ("GET", "304")] {
        let mut client = wire::client(BOUNDS, &[]);
        let key = wire::ask(&mut client, &format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n"));
        wire::sent(&mut client);
        receive(&mut client, &headers(1, 0, &[(":status", status), ("content-length", "3")]));
        let (text, read) = wire::read(&mut client, key);
        assert!(text.ends_with("content-length: 3\r\n\r\n") && read == Read::End, "{text:?} {read:?}");
        receive(&mut client, &data(1, 0, b""));
        assert!(resets(&mut client).is_empty(), "an end may follow");
        receive(&mut client, &data(1, END, b"abc"));
        assert_reset(&mut client, 1, Reason::PROTOCOL_ERROR, "payload");
        assert_eq!(wire::read(&mut client, key), (String::new(), Read::End));
    }
}

#[test]
fn an_answer_that_is_whole_can_be_read_though_the_request_is_not_wanted_any_more() {
    let mut client = wire::client(BOUNDS, &[]);
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n";
    let key = wire::ask(&mut client, head);
    receive(&mut client, &headers(1, 0, &[(":status", "413"), ("content-length", "3")]));
    receive(&mut client, &[data(1, END, b"no!"), wire::reset(1, 0)].concat());
    let (text, read) = wire::read(&mut client, key);
    assert!(text.ends_with("\r\n\r\nno!") && read == Read::End, "{text:?} {read:?}");
    assert!(client.write(key, b"more", b"").is_err());
}

#[test]
fn a_malformed_request_costs_its_stream_alone_and_its_block_is_decoded() {
    let mut server = wire::server(BOUNDS);
    let mut encoder = isobar_http2::hpack::Encoder::new();
    let mut send = |id: u32, fields: &[(&str, &str)]| {
        let mut block = Vec::new();
        for (name, value) in fields {
            encoder.encode(name.as_bytes(), value.as_bytes(), &mut block);
        }
        receive(&mut server, &wire::split_headers(id, END, &block));
    };
    // What is wrong comes first, so that all that follows is only decoded.
    send(1, &[("connection", "close"), ("x-once", "inserted"), (":authority", "h.example")]);
    send(3, &[GET[0], GET[1], (":authority", "h.example"), GET[3], ("x-once", "inserted")]);
    let (key, _) = server.accept().unwrap();
    assert_eq!(
        wire::read(&mut server, key).0,
        "GET / HTTP/1.1\r\nhost: h.example\r\nx-once: inserted\r\n\r\n"
    );
    assert_reset(&mut server, 1, Reason::PROTOCOL_ERROR, "the first");
}

#[test]
fn a_head_is_read_in_pieces_of_any_size_and_so_are_chunks() {
    for len in 1..40 {
        let (mut server, key) = requested(0, POST);
        receive(&mut server, &data(1, 0, &[b'x'; 100]));
        receive(&mut server, &headers(1, END, &[("x-sum", "1")]));
        let (text, read) = wire::read_by(&mut server, key, len);
        assert_eq!(read, Read::End);
        let at = text.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let mut decoder = isobar_http1::BodyDecoder::new(isobar_http1::Framing::Chunked);
        let (mut rest, mut payload) = (&text[at..], 0);
        while let isobar_http1::BodyStep::Data { start, end } = decoder.decode(rest).unwrap() {
            payload += end - start;
            rest = &rest[end..];
        }
        assert_eq!((payload, decoder.is_done(), decoder.trailers()), (100, true, &b"x-sum: 1\r\n"[..]));
    }
}
