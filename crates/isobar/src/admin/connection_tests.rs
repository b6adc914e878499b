//! Laws of the admin interface's connections, over pipes in memory and a clock that waits for nobody.
#![allow(clippy::unwrap_used)]

use axum::Extension;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

fn place() -> OwnedSemaphorePermit {
    places().try_acquire_owned().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_no_head_is_cut_off() {
    let (caller, served) = duplex(64);
    let serving = tokio::spawn(serve(Box::new(served), Router::new(), place()));
    let started = Instant::now();
    serving.await.unwrap();
    assert!(started.elapsed() <= CONNECTION_AGE_MAX, "{:?}", started.elapsed());
    drop(caller);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_no_answer_is_cut_off() {
    let (mut caller, served) = duplex(64);
    let large = Router::new().route("/", get(async || "x".repeat(1 << 20)));
    let serving = tokio::spawn(serve(Box::new(served), large, place()));
    caller.write_all(REQUEST).await.unwrap();
    let started = Instant::now();
    serving.await.unwrap();
    assert!(started.elapsed() <= CONNECTION_AGE_MAX + CONNECTION_GRACE + Duration::from_secs(1));
    drop(caller);
}

/// Answers with a piece of text every second until the reader goes.
fn endless() -> Router {
    let call = async |Extension(endless): Extension<Endless>| {
        endless.begin();
        Body::from_stream(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, io::Error>("x".repeat(100)), ()))
        }))
    };
    Router::new().route("/", get(call))
}

/// Reads until this much has come in all.
async fn read(caller: &mut DuplexStream, bytes: usize) {
    let mut piece = vec![0; bytes];
    caller.read_exact(&mut piece).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_the_bounds_of_ordinary_connections_and_takes_none_of_their_places() {
    let (mut caller, served) = duplex(1024);
    let places = places();
    let permit = Arc::clone(&places).try_acquire_owned().unwrap();
    let serving = tokio::spawn(serve(Box::new(served), endless(), permit));
    caller.write_all(REQUEST).await.unwrap();
    let started = Instant::now();
    read(&mut caller, 300).await;
    assert_eq!(places.available_permits(), 1);
    while started.elapsed() < CONNECTION_AGE_MAX * 3 {
        read(&mut caller, 100).await;
    }
    drop(caller);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_reader_takes_nothing_is_cut() {
    let (mut caller, served) = duplex(1024);
    let serving = tokio::spawn(serve(Box::new(served), endless(), place()));
    caller.write_all(REQUEST).await.unwrap();
    let started = Instant::now();
    serving.await.unwrap();
    assert!(started.elapsed() >= WRITE_STALL_MAX, "{:?}", started.elapsed());
    // Until the pipe is full the reader cannot be known to be gone.
    assert!(started.elapsed() < WRITE_STALL_MAX + Duration::from_mins(1), "{:?}", started.elapsed());
    drop(caller);
}
