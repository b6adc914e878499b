//! Instances that differ a thousandfold in speed, and callers that measure how long answers take.
//!
//! The demonstration of tower's balancer (`tower/examples/tower-balance.rs`): an answer takes a time that is drawn evenly
//! between nothing and the instance's maximum. Both sides are one thread each and speak just enough HTTP/1.1, so that
//! they cost less than what is measured. Instances also tell of their load, as `prequal` asks for it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use isobar_core::Draw;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use crate::error::BenchError;
use crate::process::runtime;

/// Greatest latency of each instance, in milliseconds.
pub(crate) const LATENCIES_MS: [u64; 10] = [1, 10, 10, 10, 10, 100, 100, 100, 100, 1_000];
/// Requests that wait for their answers at any time.
pub(crate) const CALLERS: usize = 50;
/// Requests in all.
pub(crate) const REQUESTS: usize = 50_000;
/// Where an instance is asked for its load.
pub(crate) const LOAD_PATH: &str = "/load";
/// Answers of an instance that it takes the median of.
const REMEMBERED: usize = 16;
/// Longest head that either side reads, in bytes: they know what the other sends.
const HEAD_MAX: usize = 4 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// One instance.
struct Instance {
    max: Duration,
    n_in_flight: u32,
    latencies: VecDeque<Duration>,
    draw: Draw,
}

/// Serves the ten instances on ports from this one on, until the process ends.
pub fn serve_instances(first: SocketAddr) -> Result<(), BenchError> {
    let ended = LocalSet::new().block_on(&runtime()?, async {
        let mut accepting = Vec::new();
        for (place, max) in (0_u16..).zip(LATENCIES_MS) {
            let listener = TcpListener::bind((first.ip(), first.port() + place)).await?;
            accepting.push(spawn_local(accept(listener, Duration::from_millis(max), place.into())));
        }
        for one in accepting {
            one.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    });
    ended.map_err(|error: std::io::Error| BenchError::Machine(format!("the instances at {first}: {error}")))
}

async fn accept(listener: TcpListener, max: Duration, seed: u64) -> std::io::Result<()> {
    let (draw, latencies) = (Draw::new(seed), VecDeque::new());
    let instance = Rc::new(RefCell::new(Instance { max, n_in_flight: 0, latencies, draw }));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        spawn_local(serve(stream, Rc::clone(&instance)));
    }
}

/// An error ends the connection, which the proxy sees.
async fn serve(mut stream: TcpStream, instance: Rc<RefCell<Instance>>) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_MAX);
    while read_head(&mut stream, &mut bytes).await? {
        let told = if bytes.starts_with(b"GET /load ") { instance.borrow().told() } else { String::new() };
        if told.is_empty() {
            let delay = instance.borrow_mut().begin();
            tokio::time::sleep(delay).await;
            instance.borrow_mut().end(delay);
        }
        bytes.clear();
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{told}content-length: 2\r\n\r\nok").as_bytes()).await?;
    }
    Ok(())
}

impl Instance {
    fn begin(&mut self) -> Duration {
        self.n_in_flight += 1;
        Duration::from_micros(self.draw.below(self.max.as_micros() as u32).into())
    }

    fn end(&mut self, latency: Duration) {
        self.n_in_flight -= 1;
        self.latencies.push_back(latency);
        if self.latencies.len() > REMEMBERED {
            self.latencies.pop_front();
        }
    }

    /// The fields that tell of its load.
    fn told(&self) -> String {
        let mut latencies: Vec<_> = self.latencies.iter().collect();
        latencies.sort();
        let median = latencies.get(latencies.len() / 2).map_or(0.0, |latency| latency.as_secs_f64() * 1e3);
        format!("x-load-rif: {}\r\nx-load-latency-ms: {median:.3}\r\n", self.n_in_flight)
    }
}

/// Sends all requests to the proxy at `address`, and tells how long they took.
pub fn call_instances(address: SocketAddr) -> Result<Value, BenchError> {
    let failed = |error: std::io::Error| BenchError::Answer(format!("the proxy at {address}: {error}"));
    let begun = Instant::now();
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(REQUESTS)));
    let ended: std::io::Result<()> = LocalSet::new().block_on(&runtime()?, async {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| spawn_local(call(address, Rc::clone(&latencies)))).collect();
        for caller in callers {
            caller.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    });
    ended.map_err(failed)?;
    let wall = begun.elapsed();
    let mut latencies = latencies.take();
    latencies.sort();
    let ms = |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
    Ok(json!({"wall_s": wall.as_secs_f64(), "p50_ms": ms(0.5), "p99_ms": ms(0.99), "p999_ms": ms(0.999)}))
}

async fn call(address: SocketAddr, latencies: Rc<RefCell<Vec<Duration>>>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(HEAD_MAX);
    while latencies.borrow().len() + CALLERS <= REQUESTS {
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
        bytes.clear();
        if !read_head(&mut stream, &mut bytes).await? || !bytes.starts_with(b"HTTP/1.1 200 ") {
            return Err(std::io::Error::other(String::from_utf8_lossy(&bytes).into_owned()));
        }
        while !bytes.ends_with(b"\r\n\r\nok") {
            read_more(&mut stream, &mut bytes).await?;
        }
        latencies.borrow_mut().push(begun.elapsed());
    }
    Ok(())
}

/// Reads until a head is complete; false where the connection ended before one began.
async fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    while !bytes.windows(END_OF_HEAD.len()).any(|window| window == END_OF_HEAD) {
        if read_more(stream, bytes).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    match stream.read_buf(bytes).await? {
        0 if !bytes.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ if bytes.len() > HEAD_MAX => Err(std::io::ErrorKind::InvalidData.into()),
        n => Ok(n),
    }
}

/// Ten ports in a row that nobody listened on a moment ago, by the first.
pub(crate) fn free_ports() -> Result<SocketAddr, BenchError> {
    /// Rows that are tried: on a machine with so many ports in use a bench measures nothing.
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let first = crate::process::free_address()?;
        let all = (0..LATENCIES_MS.len() as u16).map(|place| first.port().checked_add(place));
        let bind = |port: u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let bound: Vec<_> = all.map_while(|port| bind(port?).ok()).collect();
        if bound.len() == LATENCIES_MS.len() {
            return Ok(first);
        }
    }
    Err(BenchError::Machine("no ten free ports in a row on loopback".to_owned()))
}
