//! Bodies of every size and any chunking arrive byte for byte, in both directions.
//!
//! Limits: sizes up to 1 MiB; bodies beyond that are the subject of `real_peers` and `memory`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::{SystemTime, UNIX_EPOCH};

use isobar_tests::real::Draw;
use isobar_tests::{Client, Isobar, Origin, Visit};

const N_CONNECTIONS: usize = 20;
const N_BODIES: usize = 50;
const MAX_SIZE: usize = 1 << 20;
/// Sizes at which framings and buffers turn, tried on every run.
const EDGES: [usize; 14] =
    [0, 1, 2, 15, 16, 255, 4095, 4096, 16383, 16384, 16385, 65536, MAX_SIZE - 1, MAX_SIZE];

/// The environment's seed, or one from the clock.
fn seed() -> u64 {
    let named = std::env::var("ISOBAR_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    named.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64)
}

fn content(size: usize, draw: &mut Draw) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| draw.bits().to_le_bytes()).collect();
    bytes.truncate(size);
    bytes
}

/// The body as chunks of random sizes, in upper or lower case hexadecimal, some with extensions.
fn chunked(body: &[u8], draw: &mut Draw) -> Vec<u8> {
    let (mut encoded, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let size = draw.magnitude(17).min(rest.len());
        let line = match draw.below(8) {
            0 => format!("{size:X}\r\n"),
            1 => format!("000{size:x}\r\n"),
            2 => format!("{size:x};a=b\r\n"),
            _ => format!("{size:x}\r\n"),
        };
        encoded.extend_from_slice(line.as_bytes());
        encoded.extend_from_slice(&rest[..size]);
        encoded.extend_from_slice(b"\r\n");
        rest = &rest[size..];
    }
    encoded.extend_from_slice(b"0\r\n\r\n");
    encoded
}

/// Hands the bytes over in pieces of random sizes, so that heads, chunk lines and bodies are cut anywhere.
fn in_pieces(mut bytes: &[u8], draw: &mut Draw, mut write: impl FnMut(&[u8])) {
    while !bytes.is_empty() {
        let size = draw.magnitude(18).min(bytes.len());
        write(&bytes[..size]);
        bytes = &bytes[size..];
    }
}

/// A whole message: this head without its framing and empty line, then the body in one of the framings.
fn message(head: &str, body: &[u8], is_chunked: bool, draw: &mut Draw) -> Vec<u8> {
    let mut message = head.as_bytes().to_vec();
    if is_chunked {
        message.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        message.extend(chunked(body, draw));
    } else {
        message.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        message.extend_from_slice(body);
    }
    message
}

fn echo(visit: &mut Visit) {
    while let Some(head) = visit.head() {
        let body = visit.body(&head);
        let mut fields = head.lines().filter_map(|line| line.strip_prefix("x-draw: "));
        let mut draw = Draw(fields.next().unwrap().parse().unwrap());
        let is_chunked = draw.below(2) == 0;
        let answer = message("HTTP/1.1 200 OK\r\n", &body, is_chunked, &mut draw);
        in_pieces(&answer, &mut draw, |piece| {
            visit.send(piece);
        });
    }
}

fn start(origin: &Origin) -> Isobar {
    Isobar::start(&format!(
        "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         [services.app]\nendpoints = [\"{}\"]\n",
        origin.address
    ))
}

/// One body there and back on a kept connection.
fn exchange(client: &mut Client, size: usize, draw: &mut Draw, name: &str) {
    let body = content(size, draw);
    let is_chunked = draw.below(2) == 0;
    let head = format!("POST /echo HTTP/1.1\r\nhost: test\r\nx-draw: {}\r\n", draw.bits());
    let request = message(&head, &body, is_chunked, draw);
    in_pieces(&request, draw, |piece| client.send(piece));
    let response = client.any_response("POST").unwrap_or_else(|| panic!("{name}: the answer broke off"));
    assert_eq!(response.status, 200, "{name}: {}", response.head);
    assert_eq!(response.body.len(), size, "{name}: length, {}", response.head);
    let differs = response.body.iter().zip(&body).position(|(got, sent)| got != sent);
    assert_eq!(differs, None, "{name}: first byte that differs, {}", response.head);
}

#[test]
fn a_thousand_bodies_of_any_size_and_chunking_come_back_unchanged() {
    let origin = Origin::start(echo);
    let isobar = start(&origin);
    let seed = seed();
    std::thread::scope(|scope| {
        for connection in 0..N_CONNECTIONS {
            let isobar = &isobar;
            scope.spawn(move || {
                let mut draw = Draw(seed ^ ((connection as u64) << 56));
                let mut client = isobar.connect();
                for n in 0..N_BODIES {
                    let edge = EDGES.get(n).filter(|_| connection < 4).copied();
                    let even = draw.below(MAX_SIZE + 1);
                    let small = draw.magnitude(20);
                    let size = edge.unwrap_or(if n % 2 == 0 { even } else { small });
                    let name = format!("seed {seed}, connection {connection}, body {n} of {size} bytes");
                    exchange(&mut client, size, &mut draw, &name);
                }
            });
        }
    });
    assert_eq!(origin.heads().len(), N_CONNECTIONS * N_BODIES, "seed {seed}");
    isobar.assert_no_leak();
}

#[test]
fn a_body_flows_back_while_it_is_still_being_sent() {
    let origin = Origin::start(|visit| {
        if visit.head().is_none() {
            return;
        }
        visit.send("HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n");
        for _ in 0..64 {
            let byte = visit.take(1);
            visit.send(byte);
        }
    });
    let isobar = start(&origin);
    let mut client = isobar.connect();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 64\r\n\r\n0");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.exactly(1).expect("the head comes before the upload's end"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    assert_eq!(client.exactly(1).unwrap(), b"0");
    for n in 1..64_u8 {
        client.send([n]);
        assert_eq!(client.exactly(1), Some(vec![n]), "byte {n}");
    }
    drop(client);
    isobar.assert_no_leak();
}
