//! Bodies over TLS on both sides: large ones arrive whole, and who reads slowly costs no memory.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use isobar_tests::real::Draw;
use isobar_tests::{Certificates, Client, Isobar, Origin, one_service, wait_for};

/// Bytes of a large body.
const LARGE: usize = 100 << 20;

/// Bytes that are sent or compared at a time.
const PIECE: usize = 64 << 10;

/// A body of which no two pieces are alike, made piece by piece on either side.
struct Pattern {
    block: Vec<u8>,
    n: u64,
}

impl Pattern {
    fn new() -> Self {
        let mut draw = Draw(7);
        Self { block: (0..PIECE / 8).flat_map(|_| draw.bits().to_le_bytes()).collect(), n: 0 }
    }

    fn piece(&mut self) -> Vec<u8> {
        let mut piece = self.block.clone();
        piece.rotate_left(self.n as usize % PIECE);
        piece[..8].copy_from_slice(&self.n.to_le_bytes());
        self.n += 1;
        piece
    }
}

/// TLS on both sides of the proxy.
fn start(certificates: &Certificates, endpoint: &Origin) -> Isobar {
    let service = format!("tls = {{ ca = \"{}\" }}", certificates.at("ca.pem"));
    Isobar::start(&one_service(&[endpoint.address], &certificates.listener(&["web"], ""), &service))
}

fn connect(certificates: &Certificates, isobar: &Isobar) -> Client {
    Client::connect_tls(isobar.listener("web"), &certificates.client(None), "localhost").unwrap()
}

#[test]
fn a_large_body_arrives_whole_in_both_directions() {
    let certificates = Certificates::for_localhost();
    let endpoint = Origin::start_tls(certificates.server("web", false), |visit| {
        while let Some(head) = visit.head() {
            let mut pattern = Pattern::new();
            if head.starts_with("POST") {
                let is_whole = (0..LARGE / PIECE).all(|_| visit.take(PIECE) == pattern.piece());
                visit.answer(if is_whole { "whole" } else { "different" });
            } else {
                visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
                (0..LARGE / PIECE).all(|_| visit.send(pattern.piece()));
            }
        }
    });
    let isobar = start(&certificates, &endpoint);
    let mut client = connect(&certificates, &isobar);
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LARGE}\r\n\r\n"));
    let mut pattern = Pattern::new();
    for _ in 0..LARGE / PIECE {
        client.send(pattern.piece());
    }
    assert_eq!(client.response("POST").text(), "whole");
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    let head = client.any_response("HEAD").unwrap();
    assert_eq!(head.header("content-length"), Some(LARGE.to_string().as_str()));
    let mut pattern = Pattern::new();
    for place in 0..LARGE / PIECE {
        assert!(client.exactly(PIECE).unwrap() == pattern.piece(), "piece {place}");
    }
    assert_eq!(endpoint.n_connections(), 1, "the connection to the endpoint is used again");
}

#[test]
fn who_reads_nothing_stops_the_endpoint_and_costs_little_memory() {
    /// What sockets and buffers on the way hold; far below the body.
    const HELD_MAX: usize = 32 << 20;
    const MEMORY_KIB_MAX: u64 = 8 << 10;
    let certificates = Certificates::for_localhost();
    let n_sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_sent);
    let endpoint = Origin::start_tls(certificates.server("web", false), move |visit| {
        if visit.head().is_some() {
            visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
            let mut pattern = Pattern::new();
            let send = |_| {
                let is_sent = visit.send(pattern.piece());
                counted.fetch_add(PIECE, Ordering::SeqCst);
                is_sent
            };
            (0..LARGE / PIECE).all(send);
        }
    });
    let isobar = start(&certificates, &endpoint);
    let before = isobar.memory_kib();
    let mut client = connect(&certificates, &isobar);
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    // Everything on the way is full when nothing was sent between two looks, with answers of the proxy in between.
    let mut last = (0, 0);
    wait_for("the endpoint to be stopped", || {
        let n = n_sent.load(Ordering::SeqCst);
        last = if n == last.0 { (n, last.1 + 1) } else { (n, 0) };
        isobar.metrics();
        (n > 0 && last.1 > 50).then_some(())
    });
    assert!(last.0 < HELD_MAX, "{} bytes were taken from the endpoint", last.0);
    let grown = isobar.memory_kib().saturating_sub(before);
    assert!(grown < MEMORY_KIB_MAX, "the proxy grew by {grown} KiB");
    let head = client.any_response("HEAD").unwrap();
    assert_eq!(head.status, 200);
    let mut pattern = Pattern::new();
    for place in 0..LARGE / PIECE {
        assert!(client.exactly(PIECE).unwrap() == pattern.piece(), "piece {place}");
    }
}
