//! Every pair of protocols carries large bodies both ways at once, and holds little of what one side does not take.
//!
//! 100 MiB for the pairs of one kind and the two that translate over TLS; 8 MiB for the others, or 100 MiB with
//! `ISOBAR_SOAK=1`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use isobar_tests::pairs::{Body, Exchange, Pair, Part, Receiving, Sending, Stage, play, until};

const PIECE: usize = 64 << 10;

/// What one exchange may make the proxy hold: two buffers, two windows of a stream and what TLS and the library gather,
/// each some 64 KiB; the rest is slack of the allocator.
const HELD_KIB_MAX: u64 = 6 << 10;

/// Looks without progress that count as a stall; the harness looks every 2 ms.
const STALLED_LOOKS: u32 = 150;

/// Bytes of which no piece is like another: from a multiplicative generator, at any place.
fn fill(place: usize, piece: &mut [u8]) {
    for (at, eight) in piece.chunks_mut(8).enumerate() {
        let word = ((place / 8 + at) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        eight.copy_from_slice(&word.to_le_bytes()[..eight.len()]);
    }
}

async fn send(sending: &mut Sending, len: usize, n_sent: &AtomicUsize) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    for place in (0..len).step_by(PIECE) {
        let n = PIECE.min(len - place);
        fill(place, &mut piece[..n]);
        sending.data(&piece[..n]).await?;
        n_sent.fetch_add(n, Ordering::SeqCst);
    }
    sending.end(&[]).await
}

/// Takes a whole body and compares it.
async fn check(receiving: &mut Receiving, len: usize) {
    let (mut expected, mut place) = (vec![0; PIECE + 8], 0);
    while let Some(mut data) = receiving.data().await.unwrap() {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            let from = place % 8;
            let n = from + piece.len();
            fill(place - from, &mut expected[..n]);
            assert!(piece[..] == expected[from..n], "wrong bytes from {place}");
            place += piece.len();
        }
    }
    assert_eq!(place, len);
}

/// Sends back what comes, while it comes.
async fn echo(mut exchange: Exchange) -> Option<Exchange> {
    let length = exchange.head.field("content-length").map(|length| length.parse().unwrap());
    exchange.sending.head(200, &[], length.map_or(Body::Open, Body::Length)).await.ok()?;
    while let Some(piece) = exchange.receiving.data().await.ok()? {
        exchange.sending.data(&piece).await.ok()?;
    }
    exchange.sending.end(&[]).await.ok()?;
    Some(exchange)
}

/// One echo; the most that the proxy held while it went on, in KiB.
async fn echoed(stage: &Stage, pair: Pair, len: usize, form: Body) -> u64 {
    let mut caller = stage.connect(pair).await;
    let mut exchange = caller.begin("POST", "/", &[], form).await.unwrap();
    let n_sent = AtomicUsize::new(0);
    let (mut most, mut looked_at) = (0, 0);
    let sent = async {
        send(&mut exchange.sending, len, &n_sent)
            .await
            .unwrap_or_else(|error| panic!("{pair} after {n_sent:?}: {error}"));
    };
    let received = async {
        assert_eq!(exchange.receiving.head().await.unwrap().status, 200, "{pair}");
        check(&mut exchange.receiving, len).await;
    };
    let watched = async {
        loop {
            let now = n_sent.load(Ordering::SeqCst);
            if now - looked_at >= len / 8 {
                looked_at = now;
                most = most.max(stage.isobar.memory_kib());
            }
            if now >= len {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(sent, received, watched);
    caller.take_back(exchange);
    most
}

#[test]
fn a_body_of_100_mib_goes_both_ways_at_once_through_little_memory() {
    let stage = Stage::new(&Part::of(echo));
    let is_soak = std::env::var_os("ISOBAR_SOAK").is_some();
    let large: Vec<_> = Pair::main().collect();
    for pair in Pair::all() {
        play(async {
            // Everything that is made once exists.
            echoed(&stage, pair, 1 << 20, Body::Length(1 << 20)).await;
            let before = stage.isobar.memory_kib();
            let len = if is_soak || large.contains(&pair) { 100 << 20 } else { 8 << 20 };
            let most = echoed(&stage, pair, len, Body::Length(len)).await;
            assert!(most > 0 && most < before + HELD_KIB_MAX, "{pair}: {before} KiB before, {most} within");
        });
    }
}

#[test]
fn a_body_whose_length_nobody_told_goes_both_ways_at_once() {
    let stage = Stage::new(&Part::of(echo));
    for pair in Pair::all() {
        play(async {
            echoed(&stage, pair, (3 << 20) + 5, Body::Open).await;
        });
    }
}

/// Waits until the count has stood still for a while, having begun.
async fn stall(n: &AtomicUsize) -> usize {
    let (mut last, mut n_looks) = (0, 0);
    until("the flow to stall", || {
        let now = n.load(Ordering::SeqCst);
        n_looks = if now == last { n_looks + 1 } else { 0 };
        last = now;
        now > 0 && n_looks >= STALLED_LOOKS
    })
    .await;
    last
}

/// What the kernel's buffers of two connections (up to 32 MiB each where it may tune them), the windows and the proxy may
/// swallow; below the body.
const SWALLOWED_MAX: usize = 48 << 20;
/// Enough to show that the flow stopped, and little enough for sixteen pairs in turn.
const LARGE: usize = 64 << 20;

#[test]
fn a_caller_that_does_not_read_stops_the_endpoint_and_gets_every_byte_later() {
    let n_sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_sent);
    let stage = Stage::new(&Part::of(move |mut exchange: Exchange| {
        let counted = Arc::clone(&counted);
        async move {
            exchange.sending.head(200, &[], Body::Length(LARGE)).await.ok()?;
            send(&mut exchange.sending, LARGE, &counted).await.ok()?;
            Some(exchange)
        }
    }));
    for pair in Pair::all() {
        n_sent.store(0, Ordering::SeqCst);
        play(async {
            let before = stage.isobar.memory_kib();
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("GET", "/", &[], Body::None).await.unwrap();
            let sent = stall(&n_sent).await;
            assert!(sent < SWALLOWED_MAX, "{pair}: {sent} bytes were taken");
            let grown = stage.isobar.memory_kib().saturating_sub(before);
            assert!(grown < HELD_KIB_MAX, "{pair}: the proxy grew by {grown} KiB");
            assert_eq!(exchange.receiving.head().await.unwrap().status, 200);
            check(&mut exchange.receiving, LARGE).await;
        });
    }
}

#[test]
fn an_endpoint_that_does_not_read_stops_the_caller_and_gets_every_byte_later() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let stage = Stage::new(&Part::of(move |mut exchange: Exchange| {
        let released = Arc::clone(&released);
        async move {
            until("the word to read", || released.lock().unwrap().try_recv().is_ok()).await;
            check(&mut exchange.receiving, LARGE).await;
            exchange.reply(200, "whole").await.ok()?;
            Some(exchange)
        }
    }));
    for pair in Pair::all() {
        play(async {
            let before = stage.isobar.memory_kib();
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("PUT", "/", &[], Body::Length(LARGE)).await.unwrap();
            let n_sent = AtomicUsize::new(0);
            let sent = async {
                send(&mut exchange.sending, LARGE, &n_sent).await.unwrap();
            };
            let watched = async {
                let sent = stall(&n_sent).await;
                assert!(sent < SWALLOWED_MAX, "{pair}: {sent} bytes were taken");
                let grown = stage.isobar.memory_kib().saturating_sub(before);
                assert!(grown < HELD_KIB_MAX, "{pair}: the proxy grew by {grown} KiB");
                release.send(()).unwrap();
            };
            tokio::join!(sent, watched);
            assert_eq!(exchange.answer().await.unwrap().1, b"whole", "{pair}");
        });
    }
}
