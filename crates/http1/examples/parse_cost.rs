//! Prints what parsing costs: nanoseconds per head, and per chunk of a chunked body.
//!
//! `cargo run --release -p isobar-http1 --example parse_cost`. Each figure is the best of several rounds, because a
//! disturbance can only add time.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use isobar_http1::{
    BodyDecoder, BodyStep, Framing, HeadLimits, HeadProgress, Method, RequestHead, ResponseHead,
};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 20;
const CALLS: u32 = 100_000;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 32 * 1024, target_bytes: 8 * 1024, n_headers: 100 };

const BARE: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const WRK: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\nAccept: */*\r\n\
    User-Agent: wrk/4.2.0\r\n\r\n";

const BROWSER: &[u8] = b"GET /shop/cart/items?page=2&sort=price HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/shop/cart\r\nConnection: keep-alive\r\n\
    Cookie: session=6f2c1d0e9b8a7f6e5d4c3b2a19080706; theme=dark; consent=1\r\n\
    Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 23 Nov 2025 09:13:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 128\r\nLast-Modified: Sun, 23 Nov 2025 09:00:00 GMT\r\n\
    Connection: keep-alive\r\nETag: \"6922ce10-80\"\r\nAccept-Ranges: bytes\r\n\r\n";

const CHUNK_LINE: &[u8] = b"400\r\n";

fn main() {
    let mut request = RequestHead::new();
    for (name, head) in [
        ("request, Host only", BARE),
        ("request of wrk, 4 fields", WRK),
        ("request of a browser, 12 fields", BROWSER),
    ] {
        report(name, || {
            let parsed = request.parse(black_box(head), &mut HeadProgress::default(), &LIMITS);
            assert_eq!(parsed, Ok(Some(head.len())));
            black_box(&request);
        });
    }
    report("the same in two pieces", || {
        let mut progress = HeadProgress::default();
        let parsed = request.parse(black_box(&BROWSER[..BROWSER.len() / 2]), &mut progress, &LIMITS);
        assert_eq!(parsed, Ok(None));
        let parsed = request.parse(black_box(BROWSER), &mut progress, &LIMITS);
        assert_eq!(parsed, Ok(Some(BROWSER.len())));
    });
    let mut response = ResponseHead::new();
    report("response of nginx, 8 fields", || {
        let parsed = response.parse(black_box(RESPONSE), &mut HeadProgress::default(), &LIMITS, Method::Get);
        assert_eq!(parsed, Ok(Some(RESPONSE.len())));
        black_box(&response);
    });
    let mut chunk = CHUNK_LINE.to_vec();
    chunk.resize(CHUNK_LINE.len() + 1024, b'x');
    chunk.extend_from_slice(b"\r\n");
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    report("chunk of 1 KiB", || {
        let step = decoder.decode(black_box(&chunk));
        assert!(matches!(step, Ok(BodyStep::Data { .. })), "{step:?}");
        let step = decoder.decode(black_box(b"\r\n"));
        assert_eq!(step, Ok(BodyStep::NeedMore { consumed: 2 }));
    });
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
