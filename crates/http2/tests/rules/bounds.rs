//! What a peer can make a connection hold, and what is lent to it.

use isobar_http1::{HeadLimits, HeadProgress, Reject, RequestHead};
use isobar_http2::{Bounds, Connection, Read, Reason, flag, kind};

use crate::wire::{self, BOUNDS, GET, POST, frame, headers, receive};
use crate::{asked, assert_alive, requested, resets};

const END: u8 = flag::END_STREAM;
/// More than the output has room for.
const BODY: &[u8] = &[b'x'; 100_000];

const HEAD_BYTES: usize = 1000;
const SMALL: Bounds = Bounds { head_bytes: HEAD_BYTES + 1, ..BOUNDS };

/// What a listener with heads of this size makes of a text.
fn parse(text: &[u8]) -> Result<Option<usize>, Reject> {
    let limits = HeadLimits { head_bytes: HEAD_BYTES, target_bytes: HEAD_BYTES, n_headers: 10_000 };
    RequestHead::new().parse(text, &mut HeadProgress::default(), &limits)
}

/// What is read of a request with these fields behind the others, and how it goes on.
fn read_of(more: &[(&str, &str)], flags: u8) -> (Vec<u8>, Read) {
    let mut server = wire::server(SMALL);
    receive(&mut server, &wire::split_headers(1, flags, &wire::block(&[GET, more].concat())));
    let (key, _) = server.accept().expect("it is the parser that refuses it");
    wire::read_by(&mut server, key, 100)
}

#[test]
fn a_head_up_to_its_bound_passes_and_a_longer_one_is_cut_for_the_parser_to_refuse() {
    let (bare, _) = read_of(&[("x-a", "")], END);
    let room = HEAD_BYTES - bare.len();
    for (n, is_taken) in
        [(room - 1, true), (room, true), (room + 1, false), (room + 2, false), (10 * room, false)]
    {
        let (text, read) = read_of(&[("x-a", &"y".repeat(n))], END);
        assert_eq!(read, Read::End);
        if is_taken {
            assert_eq!(parse(&text), Ok(Some(text.len())), "{n} of {room}");
        } else {
            assert_eq!(
                (parse(&text), text.len()),
                (Err(Reject::HeadTooLarge), HEAD_BYTES + 1),
                "{n} of {room}"
            );
        }
    }
}

#[test]
fn a_head_that_is_cut_ends_in_none_of_its_fields() {
    let long = "y".repeat(HEAD_BYTES);
    let short = "y".repeat(50);
    let many = vec![("cookie", &short[..]); 50];
    for (what, more) in [
        ("one field", vec![("x-a", &long[..]), ("x-b", "1")]),
        ("many cookies", many),
        ("a cookie", vec![("cookie", &long), ("x-b", "1")]),
        ("what would be malformed", vec![("x-a", &long), ("connection", "close")]),
    ] {
        for flags in [END, 0] {
            let (text, _) = read_of(&more, flags);
            assert_eq!((text.len(), parse(&text)), (HEAD_BYTES + 1, Err(Reject::HeadTooLarge)), "{what}");
        }
    }
}

#[test]
fn a_path_longer_than_the_bound_is_cut_like_the_rest() {
    let path = format!("/{}", "y".repeat(3 * HEAD_BYTES));
    let mut server = wire::server(SMALL);
    receive(&mut server, &headers(1, END, &[GET[0], GET[1], GET[2], (":path", &path)]));
    let (key, _) = server.accept().unwrap();
    let (text, _) = wire::read_by(&mut server, key, 100);
    assert_eq!(text.len(), HEAD_BYTES + 1);
    assert!(parse(&text).is_err());
}

#[test]
fn a_block_that_unpacks_to_much_fills_no_more_than_the_bound_and_the_next_is_understood() {
    let mut server = wire::server(SMALL);
    // One entry that fills the table, and a byte for each time that it is meant.
    let value = "y".repeat(4000);
    let mut block = wire::block(GET);
    block.push(0x40);
    wire::put_string(b"x-a", &mut block);
    wire::put_string(value.as_bytes(), &mut block);
    block.resize(200_000, 0xBE);
    receive(&mut server, &wire::split_headers(1, END, &block));
    let (key, _) = server.accept().unwrap();
    let (text, read) = wire::read_by(&mut server, key, 100);
    assert_eq!((text.len(), read), (HEAD_BYTES + 1, Read::End));
    // The same in cookies, which become one, and in trailers.
    let mut cookies = wire::block(GET);
    cookies.push(0x40);
    wire::put_string(b"cookie", &mut cookies);
    wire::put_string(value.as_bytes(), &mut cookies);
    cookies.resize(200_000, 0xBE);
    receive(&mut server, &wire::split_headers(3, 0, &cookies));
    let (key, _) = server.accept().unwrap();
    receive(&mut server, &wire::split_headers(3, END, &vec![0xBE; 200_000]));
    let (text, read) = wire::read_by(&mut server, key, 100);
    assert_eq!(text.len(), HEAD_BYTES + 1);
    assert!(matches!(read, Read::Broken(_)), "trailers without an end would be waited for: {read:?}");
    receive(&mut server, &headers(5, END, GET));
    let (key, _) = server.accept().unwrap();
    assert_eq!(wire::read(&mut server, key).0, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
}

#[test]
fn a_tunnel_s_head_that_was_cut_before_its_key_is_left_as_it_is() {
    let mut server = wire::server(SMALL);
    let large = "y".repeat(2 * HEAD_BYTES);
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/"),
    ];
    let mut block = wire::block(&fields);
    block.extend_from_slice(&wire::block(&[("x-a", large.as_str())]));
    receive(&mut server, &wire::split_headers(1, 0, &block));
    let (key, asks_tunnel) = server.accept().unwrap();
    assert!(asks_tunnel);
    server.fill_in_key(key, [b'k'; 24]);
    let (text, _) = wire::read_by(&mut server, key, 100);
    assert_eq!(text.len(), HEAD_BYTES + 1);
}

#[test]
fn interim_answers_without_end_break_their_stream_off_when_nobody_reads_them() {
    let mut client = wire::client(SMALL, &[]);
    let key = wire::ask(&mut client, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    let interim = headers(1, 0, &[(":status", "103"), ("link", &"y".repeat(100))]);
    let mut n = 0;
    while client.broken(key).is_none() {
        receive(&mut client, &interim);
        n += 1;
        assert!(n * 100 <= 3 * HEAD_BYTES, "{n} of them are held");
    }
    let (text, _) = wire::read_by(&mut client, key, 100);
    assert!(text.len() <= 2 * HEAD_BYTES + 200, "{}", text.len());
    assert_eq!(resets(&mut client), [(1, Reason::ENHANCE_YOUR_CALM)]);
    assert_alive(&mut client, "interim answers");

    let mut client = wire::client(SMALL, &[]);
    let key = wire::ask(&mut client, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    for _ in 0..1000 {
        receive(&mut client, &interim);
        assert_eq!(wire::read_by(&mut client, key, 100).1, Read::Blocked, "they are read");
    }
}

#[test]
fn what_waits_to_be_sent_of_payload_is_bounded_whatever_the_window_is() {
    let mut server = Connection::server(BOUNDS, true);
    receive(&mut server, &wire::settings(&[(4, 0x7FFF_FFFF)]));
    receive(&mut server, &wire::window_update(0, 0x7FFF_FFFF - wire::WINDOW));
    wire::sent(&mut server);
    let mut n = 0;
    for id in [1, 3, 5] {
        receive(&mut server, &headers(id, END, GET));
        let (key, _) = server.accept().unwrap();
        server.write(key, b"HTTP/1.1 200 OK\r\n\r\n", b"").unwrap();
        while let n_taken @ 1.. = server.write(key, BODY, b"").unwrap() {
            n += n_taken;
        }
    }
    assert!(n <= 64 * 1024 && server.output().len() < 65 * 1024, "{n}");
}

#[test]
fn a_peer_that_never_takes_all_of_what_waits_makes_no_memory_grow() {
    let (mut server, key) = requested(END, GET);
    receive(&mut server, &wire::settings(&[(4, 0x7FFF_FFFF)]));
    receive(&mut server, &wire::window_update(0, 0x7FFF_FFFF - wire::WINDOW));
    server.write(key, b"HTTP/1.1 200 OK\r\n\r\n", b"").unwrap();
    let mut n_sent = 0;
    while n_sent < 16 << 20 {
        server.write(key, BODY, b"").unwrap();
        let n = server.output().len() - 1;
        server.sent(n);
        n_sent += n;
    }
    server.sent(1);
    let memory = server.take_memory().expect("everything is sent");
    assert!(memory.capacity() <= 512 * 1024, "{} bytes", memory.capacity());
}

#[test]
fn a_connection_is_stuffed_by_answers_that_nobody_takes_and_not_before() {
    let mut server = wire::server(BOUNDS);
    assert!(!server.is_stuffed());
    let pings = frame(kind::PING, 0, 0, &[0; 8]).repeat(1000);
    let mut n = 0;
    while !server.is_stuffed() {
        receive(&mut server, &pings);
        n += pings.len();
        assert!(n < 1 << 20, "{n} bytes of answers wait");
    }
    assert!(n > 64 * 1024);
    wire::sent(&mut server);
    assert!(!server.is_stuffed());
}

#[test]
fn memory_is_lent_while_there_is_something_to_send_and_taken_back_behind_it() {
    let mut server = wire::server(BOUNDS);
    let memory = server.take_memory().expect("what was said first is sent");
    assert!(server.is_without_memory() && server.take_memory().is_none());
    let (capacity, mut lent) = (memory.capacity(), memory);
    lent.extend_from_slice(b"left over");
    server.lend_memory(lent);
    assert!(!server.is_without_memory() && server.output().is_empty());
    receive(&mut server, &frame(kind::PING, 0, 0, &[0; 8]));
    assert!(server.take_memory().is_none(), "something waits");
    server.lend_memory(Vec::with_capacity(9));
    assert_eq!(server.output().len(), 17, "what waits stays");
    wire::sent(&mut server);
    assert_eq!(server.take_memory().map(|memory| memory.capacity()), Some(capacity));
}

#[test]
fn payload_that_nobody_reads_is_held_up_to_the_stream_s_window() {
    let (mut server, key) = requested(0, POST);
    for _ in 0..40 {
        receive(&mut server, &wire::data(1, 0, &[b'x'; 10_000]));
    }
    assert_eq!(resets(&mut server), [(1, Reason::FLOW_CONTROL_ERROR)]);
    let (text, read) = wire::read_by(&mut server, key, 1000);
    assert!(text.len() < 67_000 && matches!(read, Read::Broken(_)), "{}", text.len());
}

#[test]
fn keys_are_used_again_and_wake_nobody_who_has_gone() {
    let (mut client, key) = asked();
    assert_eq!(wire::read(&mut client, key).1, Read::Blocked);
    receive(&mut client, &headers(1, END, &[(":status", "204")]));
    client.release(key);
    let again = wire::ask(&mut client, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!((again, client.n_streams()), (key, 1));
    assert_eq!(wire::read(&mut client, again).1, Read::Blocked, "nothing of the last one is there");
}
