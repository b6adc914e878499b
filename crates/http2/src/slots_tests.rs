//! Laws of what is remembered of streams, which no bytes show.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::connection::{Connection, ENDED_MAX, GIVEN_UP_MAX, PREFACE};
use crate::hpack::Encoder;
use crate::settings::WINDOW_MAX;
use crate::{Bounds, Reason, flag, frame, kind};

const STREAMS_MAX: u32 = 10;

const BOUNDS: Bounds = Bounds {
    streams_max: STREAMS_MAX,
    stream_window: 65_535,
    connection_window: 65_535,
    head_bytes: 1000,
    header_list_max: 1000,
    continuations_max: 4,
};

fn request(id: u32, flags: u8) -> Vec<u8> {
    let (mut encoder, mut block, mut bytes) = (Encoder::new(), Vec::new(), Vec::new());
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")] {
        encoder.encode(name.as_bytes(), value.as_bytes(), &mut block);
    }
    frame::put_head(kind::HEADERS, flags | flag::END_HEADERS, id, block.len(), &mut bytes);
    bytes.extend_from_slice(&block);
    bytes
}

fn reset(id: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put_reset(id, Reason::CANCEL, &mut bytes);
    bytes
}

#[test]
fn what_is_remembered_of_streams_does_not_grow_with_their_number() {
    let mut server = Connection::server(BOUNDS, false);
    let mut greeting = PREFACE.to_vec();
    frame::put_settings(&[], &mut greeting);
    server.receive(&greeting, |_| Ok(()));
    // The connection's window is used up, so that everybody who writes waits for it.
    let answer = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 10_000]].concat();
    for place in 0..5000 {
        let id = 2 * place + 1;
        let flags = if place % 2 == 0 { flag::END_STREAM } else { 0 };
        server.receive(&request(id, flags), |_| Ok(()));
        let (key, _) = server.accept().unwrap();
        let mut n = 0;
        while let more @ 1.. = server.write(key, &answer[n..], b"").unwrap() {
            n += more;
        }
        match place % 3 {
            0 => server.receive(&reset(id), |_| Ok(())),
            1 => server.reset(key, Reason::CANCEL),
            _ => {}
        }
        server.release(key);
        server.take_touched(|_| {});
        let n_out = server.output().len();
        server.sent(n_out);
    }
    assert!(server.send_window < 256, "writers wait");
    assert_eq!((server.n_streams(), server.by_id.len(), server.queue.len()), (0, 0, 0));
    assert!(server.accepted.is_empty() && server.touched.is_empty());
    assert!(server.slots.len() <= STREAMS_MAX as usize && server.free.len() <= server.slots.len());
    assert_eq!((server.given_up.len(), server.ended.len()), (GIVEN_UP_MAX, ENDED_MAX));
}

#[test]
fn a_stream_is_found_by_its_number_for_as_long_as_it_is_held() {
    let mut server = Connection::server(BOUNDS, true);
    let mut settings = Vec::new();
    frame::put_settings(&[], &mut settings);
    server.receive(&settings, |_| Ok(()));
    let ids = [1, 5, 7, 19];
    for id in ids {
        server.receive(&request(id, flag::END_STREAM), |_| Ok(()));
    }
    let keys = ids.map(|_| server.accept().unwrap().0);
    for (id, key) in ids.into_iter().zip(keys).rev() {
        assert_eq!(server.find(id), Some(key));
        server.release(key);
        assert_eq!(server.find(id), None);
    }
}

#[test]
fn a_client_whose_numbers_are_used_up_opens_no_more_and_goes_on_with_what_it_has() {
    let mut client = Connection::client(BOUNDS, false);
    let mut settings = Vec::new();
    frame::put_settings(&[], &mut settings);
    client.receive(&settings, |_| Ok(()));
    let key = client.open().unwrap();
    client.newest = WINDOW_MAX - 2;
    assert!(!client.is_open() && client.open().is_none());
    let head = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    assert_eq!(client.write(key, head, b""), Ok(head.len()));
    assert_eq!(client.find(WINDOW_MAX), Some(key), "the last number that there is");
}
