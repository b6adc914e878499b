//! Flow control in both directions (RFC 9113, section 6.9), and who writes when there is too little for all.

use isobar_http2::{Bounds, Connection, Key, Read, Reason, flag};

use crate::wire::{self, BOUNDS, GET, POST, WINDOW, data, headers, receive, settings, window_update};
use crate::{assert_alive, assert_ended, assert_reset, given_back, payload_of, requested, resets};

const END: u8 = flag::END_STREAM;
const WINDOW_MAX: u32 = 0x7FFF_FFFF;
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// More than any window of these tests.
const BODY: &[u8] = &[b'x'; 200_000];

/// The largest frame of payload, as often as it takes.
fn send(server: &mut Connection, stream: u32, mut n: usize) {
    while n > 0 {
        let len = n.min(wire::PAYLOAD_MAX);
        receive(server, &data(stream, 0, &BODY[..len]));
        n -= len;
    }
}

// What the peer may send.

#[test]
fn a_window_is_given_back_for_what_was_read_and_for_nothing_else() {
    let bounds = Bounds { connection_window: WINDOW, ..BOUNDS };
    let mut server = wire::server(bounds);
    receive(&mut server, &headers(1, 0, POST));
    let (key, _) = server.accept().unwrap();
    send(&mut server, 1, WINDOW as usize);
    assert!(server.output().is_empty(), "nothing was read");
    let (mut n_read, mut of_stream, mut of_all) = (0, 0, 0);
    let mut buffer = [0; 1000];
    while let Read::Bytes(n) = server.read(key, &mut buffer) {
        n_read += n as u32;
        let said = wire::sent(&mut server);
        of_stream += given_back(&said, 1);
        of_all += given_back(&said, 0);
        assert!(of_stream <= n_read && of_all <= n_read);
        let half = WINDOW / 2;
        // The text has chunks in it, which count for nothing: a tenth is more than they are.
        assert!(n_read / 10 * 9 < of_stream.min(of_all) + half, "{of_stream} and {of_all} of {n_read}");
    }
    // What is given back can be used.
    send(&mut server, 1, of_stream as usize);
    assert_eq!(server.end(), None);
}

#[test]
fn a_stream_that_its_peer_has_ended_or_that_broke_off_is_given_no_window() {
    for end in [data(1, END, b""), wire::reset(1, 8)] {
        let (mut server, key) = requested(0, POST);
        send(&mut server, 1, WINDOW as usize);
        receive(&mut server, &end);
        let (text, _) = wire::read_by(&mut server, key, 1000);
        assert!(text.len() > WINDOW as usize);
        assert_eq!(given_back(&wire::sent(&mut server), 1), 0);
    }
}

#[test]
fn the_connection_s_window_is_regained_from_streams_that_are_given_back_unread() {
    let mut server = wire::server(Bounds { connection_window: WINDOW, ..BOUNDS });
    let mut window = WINDOW;
    for id in (1..60).step_by(2) {
        receive(&mut server, &headers(id, 0, POST));
        let (key, _) = server.accept().unwrap();
        assert!(window > WINDOW / 2, "stream {id} finds {window}");
        send(&mut server, id, window as usize);
        server.release(key);
        window = given_back(&wire::sent(&mut server), 0);
    }
    assert_alive(&mut server, "streams given back");
}

#[test]
fn payload_that_nobody_waits_for_is_given_back_as_it_comes() {
    for is_held in [true, false] {
        let mut server = wire::server(Bounds { connection_window: WINDOW, ..BOUNDS });
        receive(&mut server, &headers(1, 0, POST));
        let (key, _) = server.accept().unwrap();
        server.reset(key, Reason::CANCEL);
        if !is_held {
            server.release(key);
        }
        let mut window = WINDOW;
        for _ in 0..50 {
            send(&mut server, 1, 10_000);
            window = window - 10_000 + given_back(&wire::sent(&mut server), 0);
            assert!(window > WINDOW / 2);
        }
    }
}

#[test]
fn padding_is_given_back_though_nobody_reads_it() {
    let mut server = wire::server(Bounds { connection_window: WINDOW, ..BOUNDS });
    receive(&mut server, &headers(1, 0, POST));
    let (mut of_stream, mut of_all) = (WINDOW, WINDOW);
    for _ in 0..2000 {
        receive(&mut server, &data(1, flag::PADDED, &[&[255][..], &[0; 255]].concat()));
        let said = wire::sent(&mut server);
        of_stream = of_stream - 256 + given_back(&said, 1);
        of_all = of_all - 256 + given_back(&said, 0);
        assert!(of_stream >= 256 && of_all >= 256, "{of_stream} and {of_all} are left");
    }
    assert_alive(&mut server, "nothing but padding");
}

#[test]
fn more_than_a_stream_s_window_breaks_the_stream() {
    let (mut server, key) = requested(0, POST);
    send(&mut server, 1, WINDOW as usize);
    assert_eq!(server.broken(key), None);
    receive(&mut server, &data(1, 0, b"x"));
    assert_reset(&mut server, 1, Reason::FLOW_CONTROL_ERROR, "one byte more");
}

#[test]
fn more_than_the_connection_s_window_ends_the_connection() {
    let mut server = wire::server(Bounds { connection_window: WINDOW, ..BOUNDS });
    receive(&mut server, &[headers(1, 0, POST), headers(3, 0, POST)].concat());
    send(&mut server, 1, 40_000);
    send(&mut server, 3, WINDOW as usize - 40_000);
    assert_eq!(server.end(), None);
    receive(&mut server, &data(3, 0, b"x"));
    assert_ended(&mut server, Reason::FLOW_CONTROL_ERROR, "one byte more");
}

#[test]
fn the_windows_that_a_peer_is_told_are_those_that_it_is_held_to() {
    let bounds = Bounds { stream_window: 100_000, connection_window: 150_000, ..BOUNDS };
    for mut connection in [Connection::server(bounds, true), Connection::client(bounds, false)] {
        let said = connection.output().to_vec();
        let said = wire::frames(said.strip_prefix(isobar_http2::PREFACE).unwrap_or(&said));
        let told = said[0].payload.chunks(6).find(|setting| setting[..2] == [0, 4]).unwrap();
        assert_eq!(told[2..], 100_000_u32.to_be_bytes());
        assert_eq!(given_back(&said, 0), 150_000 - WINDOW);
        connection.sent(connection.output().len());
    }
}

// What we may send.

#[test]
fn a_window_grows_by_something_and_not_past_its_maximum() {
    for (more, reason) in [(0, Reason::PROTOCOL_ERROR), (WINDOW_MAX - WINDOW + 1, Reason::FLOW_CONTROL_ERROR)]
    {
        let (mut server, _) = requested(END, GET);
        receive(&mut server, &window_update(1, more));
        assert_reset(&mut server, 1, reason, "a stream's");
        let (mut server, _) = requested(END, GET);
        receive(&mut server, &window_update(0, more));
        assert_ended(&mut server, reason, "the connection's");
    }
    let (mut server, _) = requested(END, GET);
    let most = WINDOW_MAX - WINDOW;
    // The highest bit means nothing.
    receive(&mut server, &[window_update(0, most), window_update(1, most | 0x8000_0000)].concat());
    assert!(resets(&mut server).is_empty());
    assert_alive(&mut server, "2^31 - 1");
}

/// A server whose caller gives every stream this window at first, and `n` requests at it whose answers have begun.
fn answering(initial_window: u32, n: usize) -> (Connection, Vec<Key>) {
    let mut server = Connection::server(BOUNDS, true);
    receive(&mut server, &settings(&[(4, initial_window)]));
    let ids = (0..n as u32).map(|place| 2 * place + 1);
    ids.for_each(|id| receive(&mut server, &headers(id, END, GET)));
    let keys: Vec<_> = std::iter::from_fn(|| server.accept()).map(|(key, _)| key).collect();
    assert_eq!(keys.len(), n);
    for key in &keys {
        assert_eq!(server.write(*key, UNTIL_CLOSE, b""), Ok(UNTIL_CLOSE.len()));
    }
    wire::sent(&mut server);
    (server, keys)
}

fn touched(server: &mut Connection) -> Vec<Key> {
    let mut touched = Vec::new();
    server.take_touched(|key| touched.push(key));
    touched
}

#[test]
fn a_stream_sends_as_much_as_its_window_and_goes_on_when_that_grows() {
    let (mut server, keys) = answering(1000, 1);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(1000));
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0));
    assert!(touched(&mut server).is_empty());
    receive(&mut server, &window_update(1, 700));
    assert_eq!(touched(&mut server), keys);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(700));
    assert_eq!(payload_of(&wire::sent(&mut server), 1), 1700);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0));
    receive(&mut server, &settings(&[(4, 1500)]));
    assert_eq!(touched(&mut server), keys, "a setting lets streams go on as well");
    assert_eq!(server.write(keys[0], BODY, b""), Ok(500));
}

#[test]
fn a_window_can_be_less_than_nothing() {
    let (mut server, keys) = answering(1000, 1);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(1000));
    receive(&mut server, &settings(&[(4, 400)]));
    receive(&mut server, &window_update(1, 600));
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0), "-600 and 600 are nothing");
    receive(&mut server, &window_update(1, 300));
    assert_eq!(server.write(keys[0], BODY, b""), Ok(300));
}

#[test]
fn scraps_of_a_window_are_not_sent_while_more_can_come() {
    let (mut server, keys) = answering(1000, 1);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(1000));
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0));
    receive(&mut server, &window_update(1, 200));
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0), "200 of 1000");
    receive(&mut server, &window_update(1, 100));
    assert_eq!(touched(&mut server), keys);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(300));
    receive(&mut server, &window_update(1, 200));
    assert_eq!(server.write(keys[0], &BODY[..150], b""), Ok(150), "all that there is");
}

#[test]
fn a_peer_whose_windows_are_scraps_gets_scraps() {
    let (mut server, keys) = answering(100, 1);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(100));
    receive(&mut server, &window_update(1, 1));
    assert_eq!(server.write(keys[0], BODY, b""), Ok(1));
}

#[test]
fn scraps_of_the_connection_s_window_wait_for_the_rest() {
    let (mut server, keys) = answering(WINDOW_MAX, 1);
    // What the output has room for, again and again, up to the connection's window.
    let mut n = 0;
    while n < WINDOW as usize - 100 {
        n += server.write(keys[0], &BODY[..WINDOW as usize - 100 - n], b"").unwrap();
        wire::sent(&mut server);
    }
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0), "100 are left");
    touched(&mut server);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0));
    receive(&mut server, &window_update(0, 200));
    assert_eq!(touched(&mut server), keys);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(300));
}

#[test]
fn the_end_needs_no_window() {
    let (mut server, keys) = answering(0, 1);
    assert_eq!(server.write(keys[0], BODY, b""), Ok(0));
    server.finish(keys[0]);
    assert!(server.is_sent(keys[0]));
    let (mut server, key) = requested(END, GET);
    receive(&mut server, &settings(&[(4, 0)]));
    let empty = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n";
    assert_eq!(server.write(key, empty, b""), Ok(empty.len()));
    assert!(server.is_sent(key));
}

/// Lets every stream that is woken write all that it can, as often as `gives` lets something out: what each has sent.
fn shares(
    server: &mut Connection,
    keys: &[Key],
    n_rounds: usize,
    gives: impl Fn(&mut Connection),
) -> Vec<usize> {
    let mut n_sent = vec![0; keys.len()];
    let mut due = keys.to_vec();
    for _ in 0..n_rounds {
        for key in std::mem::take(&mut due) {
            let place = keys.iter().position(|other| *other == key).unwrap();
            loop {
                match server.write(key, BODY, b"").unwrap() {
                    0 => break,
                    n => n_sent[place] += n,
                }
            }
        }
        wire::sent(server);
        due.extend(touched(server));
        gives(server);
        due.extend(touched(server));
    }
    n_sent
}

#[test]
fn writers_that_wait_for_the_connection_s_window_are_served_in_turn() {
    for n in [2, 3, 4, 6, 20] {
        for step in [300, 5_000, 65_535, 1_000_000] {
            let (mut server, keys) = answering(WINDOW_MAX, n);
            let shares =
                shares(&mut server, &keys, 40 * n, |server| receive(server, &window_update(0, step)));
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            // One turn is what the output has room for, and the first window is one writer's.
            assert!(most - least <= 3 * 65_536, "{n} writers, {step} at a time: {shares:?}");
            assert!(*least > 0, "{n} writers, {step} at a time: {shares:?}");
        }
    }
}

#[test]
fn writers_that_wait_for_room_are_served_in_turn() {
    for n in [2, 3, 5, 9] {
        let (mut server, keys) = answering(WINDOW_MAX, n);
        receive(&mut server, &window_update(0, WINDOW_MAX - WINDOW));
        let shares = shares(&mut server, &keys, 40 * n, |_| {});
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 2 * 65_536 && *least > 0, "{n} writers: {shares:?}");
    }
}

/// A server with 12 answers that wait for the connection's window, one behind the other.
fn waiting() -> (Connection, Vec<Key>) {
    let (mut server, keys) = answering(WINDOW_MAX, 12);
    for key in &keys {
        while server.write(*key, BODY, b"").unwrap() > 0 {}
        wire::sent(&mut server);
    }
    touched(&mut server);
    for key in &keys {
        assert_eq!(server.write(*key, BODY, b""), Ok(0));
    }
    (server, keys)
}

#[test]
fn a_stream_that_broke_off_takes_no_turn_while_it_is_held() {
    let (mut server, keys) = waiting();
    (0..11).for_each(|place| receive(&mut server, &wire::reset(2 * place + 1, 8)));
    touched(&mut server);
    receive(&mut server, &window_update(0, 20_000));
    assert_eq!(touched(&mut server), keys[11..]);
}

#[test]
fn a_writer_has_his_turn_though_those_before_him_are_gone() {
    for by_peer in [true, false] {
        let (mut server, keys) = waiting();
        let (last, others) = keys.split_last().unwrap();
        receive(&mut server, &window_update(0, 200_000));
        let mut due = touched(&mut server);
        // Those whose turn it is go without having written.
        for (place, key) in others.iter().enumerate() {
            if by_peer {
                receive(&mut server, &wire::reset(2 * place as u32 + 1, 8));
            }
            server.release(*key);
            due.extend(touched(&mut server));
        }
        wire::sent(&mut server);
        due.extend(touched(&mut server));
        assert!(due.contains(last), "by the peer: {by_peer}");
        assert!(server.write(*last, BODY, b"").unwrap() > 0);
    }
}
