//! Laws of the sample instances, over real sockets.
#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::demo::nature::NATURES;

/// Longest wait for a condition; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn nature(id: &str) -> &'static Nature {
    NATURES.iter().find(|nature| nature.id == id).unwrap()
}

/// An instance as it is `age` after the start of its demo.
fn instance_aged(id: &str, age: Duration) -> Arc<Instance> {
    Instance::start(nature(id), Instant::now().checked_sub(age).unwrap()).unwrap()
}

/// An instant of the flapping instance's first cycle at which it fails and will for another second.
fn failing_age() -> Duration {
    let fails = |ms: u64| nature("flapping").is_failing(SEED, Duration::from_millis(ms));
    let age = (0..12_000).step_by(100).find(|ms| fails(*ms) && fails(*ms + 1_000)).unwrap();
    Duration::from_millis(age)
}

/// The whole answer; empty where the connection was cut, an error where it was refused.
async fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut text = String::new();
    match stream.read_to_string(&mut text).await {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(text),
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never came");
}

#[tokio::test]
async fn every_answer_names_its_instance() {
    for nature in &NATURES {
        let instance = instance_aged(nature.id, Duration::ZERO);
        let answer = ask(instance.address, "/any/path").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(nature.id), "{answer}");
        assert!(ask(instance.address, "/healthz").await.unwrap().starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn the_slow_instance_takes_its_time() {
    let instance = instance_aged("slow", Duration::ZERO);
    let asked = Instant::now();
    ask(instance.address, "/").await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(u64::from(instance.nature.delay_ms.0)));
}

#[tokio::test]
async fn a_failing_instance_cuts_requests_and_fails_its_probe() {
    let instance = instance_aged("flapping", failing_age());
    assert_eq!(ask(instance.address, "/").await.unwrap(), "");
    assert!(ask(instance.address, "/healthz").await.unwrap().starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_killed_instance_refuses_connections_and_comes_back_on_its_port() {
    let instance = instance_aged("plain-1", Duration::ZERO);
    for _ in 0..3 {
        instance.toggle_life();
        until("a refusal", async || ask(instance.address, "/").await.is_err()).await;
        assert!(!instance.is_alive());
        instance.toggle_life();
        until("an answer", async || ask(instance.address, "/").await.is_ok_and(|text| !text.is_empty()))
            .await;
        assert!(instance.is_alive());
    }
}

#[tokio::test]
async fn a_kill_closes_connections_that_are_open() {
    let instance = instance_aged("plain-1", Duration::ZERO);
    let mut stream = TcpStream::connect(instance.address).await.unwrap();
    // An answer shows that the connection was accepted; it is kept.
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    instance.toggle_life();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection stayed open");
}

#[tokio::test]
async fn a_call_to_die_is_answered_before_it_is_obeyed() {
    let instance = instance_aged("heavy", Duration::ZERO);
    let answer = ask(instance.address, "/die").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("heavy dies"), "{answer}");
    until("a refusal", async || ask(instance.address, "/").await.is_err()).await;
}

#[tokio::test]
async fn a_killed_instance_comes_back_by_itself() {
    let instance = instance_aged("plain-2", Duration::ZERO);
    instance.toggle_life();
    until("a refusal", async || ask(instance.address, "/").await.is_err()).await;
    tokio::time::pause();
    tokio::time::advance(KILLED_FOR).await;
    tokio::time::resume();
    until("an answer", async || ask(instance.address, "/").await.is_ok_and(|text| !text.is_empty())).await;
    assert!(instance.is_alive());
}
