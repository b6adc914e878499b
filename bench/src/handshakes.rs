//! The load of full handshakes: threads on the load core that connect, shake hands, ask once and close, again and again.
//!
//! Invariants: no session is resumed, the certificate is verified, and every answer is compared byte by byte; the first
//! thing that is not right ends the run. Written here because wrk and h2load keep their connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};

use crate::error::BenchError;
use crate::load::Load;
use crate::process::{LOAD_CORE, pin_this_thread};
use crate::wire::{self, Kept};
use crate::workload::Workload;

/// Connections in progress at once: enough that the proxy never waits for one caller's arithmetic.
const AT_ONCE: usize = 16;

/// Shakes hands with `address` for `seconds`.
pub(crate) fn run(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    workload: Workload,
    seconds: u32,
) -> Result<Load, BenchError> {
    let start = Instant::now();
    let end = start + Duration::from_secs(u64::from(seconds));
    let reply = workload.reply();
    let parts: Vec<Result<Vec<u64>, BenchError>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(|| until(end, || once(address, config, workload.path(), &reply))))
            .collect();
        let crashed = |_| Err(BenchError::Machine("a thread of the load generator crashed".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect()
    });
    let micros = start.elapsed().as_micros() as u64;
    let mut each = parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    each.sort_unstable();
    let at = |share: usize| each.get(each.len() * share / 100).copied();
    Ok(Load { requests: each.len() as u64, micros, p50_us: at(50), p99_us: at(99) })
}

/// Repeats `once` until `end`, and returns how long each took, in microseconds.
fn until(end: Instant, once: impl Fn() -> Result<(), BenchError>) -> Result<Vec<u64>, BenchError> {
    pin_this_thread(LOAD_CORE).map_err(|error| BenchError::Machine(error.to_string()))?;
    let mut each = Vec::new();
    let mut begun = Instant::now();
    while begun < end {
        once()?;
        let now = Instant::now();
        each.push((now - begun).as_micros() as u64);
        begun = now;
    }
    Ok(each)
}

fn once(address: SocketAddr, config: &Arc<ClientConfig>, path: &str, reply: &[u8]) -> Result<(), BenchError> {
    let mut stream = wire::connect_tls(address, config)?;
    wire::ask(&mut stream, path, reply, Kept::No)?;
    match stream.conn.handshake_kind() {
        Some(HandshakeKind::Full) => Ok(()),
        other => Err(BenchError::Answer(format!("{address}: the handshake was {other:?}, not a full one"))),
    }
}
