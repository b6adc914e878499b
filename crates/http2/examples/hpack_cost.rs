//! Prints what HPACK costs: nanoseconds per block, of heads that a connection says again and again.
//!
//! `cargo run --release -p isobar-http2 --example hpack_cost`. Each figure is the best of several rounds, because a
//! disturbance can only add time. The first block of a connection, which fills the table, stands on its own line.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use isobar_http2::hpack::{Decoder, Encoder};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 30;
const CALLS: u32 = 50_000;

type Head = &'static [(&'static str, &'static str)];

const LOAD: Head = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "127.0.0.1:8080"),
    (":path", "/index.html"),
    ("user-agent", "h2load nghttp2/1.52.0"),
];

const CURL: Head = &[
    (":method", "GET"),
    (":path", "/shop/cart/items?page=2"),
    (":scheme", "https"),
    (":authority", "shop.example.com"),
    ("user-agent", "curl/8.5.0"),
    ("accept", "*/*"),
];

const BROWSER: Head = &[
    (":method", "GET"),
    (":path", "/shop/cart/items?page=2&sort=price"),
    (":scheme", "https"),
    (":authority", "shop.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example.com/shop/cart"),
    ("cookie", "session=6f2c1d0e9b8a7f6e5d4c3b2a19080706; theme=dark; consent=1"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-mode", "navigate"),
];

const GRPC: Head = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/helloworld.Greeter/SayHello"),
    (":authority", "greeter.example.com"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-python/1.60.0 grpc-c/37.0.0 (linux; chttp2)"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
    ("grpc-timeout", "998123u"),
];

const NGINX: Head = &[
    (":status", "200"),
    ("server", "nginx/1.22.1"),
    ("date", "Sun, 23 Nov 2025 09:13:00 GMT"),
    ("content-type", "text/plain"),
    ("content-length", "128"),
    ("last-modified", "Sun, 23 Nov 2025 09:00:00 GMT"),
    ("etag", "\"6922ce10-80\""),
    ("accept-ranges", "bytes"),
];

/// As browsers, h2load and Go send the path and the cookie: in Huffman code, and not in a table.
const CODED: &[u8] = &[
    0x82, 0x87, 0x04, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff, 0x0f,
    0x11, 0xad, 0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7, 0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39,
    0x60, 0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36, 0x72, 0xc1, 0xab, 0x27, 0x0f, 0xb5, 0x29, 0x1f, 0x95, 0x87,
    0x31, 0x60, 0x65, 0xc0, 0x03, 0xed, 0x4e, 0xe5, 0xb1, 0x06, 0x3d, 0x50, 0x07,
];

fn main() {
    for (name, head) in [
        ("request of h2load, 5 fields", LOAD),
        ("request of curl, 6 fields", CURL),
        ("request of a browser, 12 fields", BROWSER),
        ("request of gRPC, 9 fields", GRPC),
        ("response of nginx, 8 fields", NGINX),
    ] {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let mut block = Vec::new();
        encode(&mut encoder, head, &mut block);
        decode(&mut decoder, &block);
        encode(&mut encoder, head, &mut block);
        println!("{name}: {} bytes", block.len());
        report("decode", || decode(&mut decoder, black_box(&block)));
        report("encode", || encode(&mut encoder, black_box(head), &mut block));
        report("both, first of a connection", || {
            encode(&mut Encoder::new(), black_box(head), &mut block);
            decode(&mut Decoder::new(4096), black_box(&block));
        });
    }
    let mut decoder = Decoder::new(4096);
    println!("two strings in Huffman code, 15 and 56 bytes long");
    report("decode", || decode(&mut decoder, black_box(CODED)));
}

fn encode(encoder: &mut Encoder, head: Head, block: &mut Vec<u8>) {
    block.clear();
    encoder.begin(block);
    for (name, value) in head {
        encoder.encode(name.as_bytes(), value.as_bytes(), block);
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) {
    let mut n_bytes = 0;
    let verdict = decoder.decode(block, |name, value| {
        n_bytes += name.len() + value.len();
        black_box((name, value));
    });
    assert_eq!(verdict, Ok(()));
    black_box(n_bytes);
}

fn report(name: &str, mut call: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    println!("{best:7.0} ns  {name}");
}
