//! The load of full handshakes: threads that connect, shake hands, ask once and close, again and again.
//!
//! Invariants: no session is resumed, the certificate is verified, and every answer is compared byte by byte; the first
//! thing that is not right ends the run. Written here because wrk and h2load keep their connections; it reports in wrk's
//! place with the same line.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};

use crate::error::BenchError;
use crate::process::{LOAD_CORE, pinned};
use crate::secure::{self, Certificates};
use crate::wire::{self, Kept};
use crate::workload::Workload;

/// Connections in progress at once: enough that the proxy never waits for one caller's arithmetic.
const AT_ONCE: usize = 16;

/// The command for one measurement, of this crate's own `program`.
pub(crate) fn command(
    program: &Path,
    certificates: &Certificates,
    workload: Workload,
    address: SocketAddr,
    seconds: u32,
) -> Command {
    let mut load = pinned(LOAD_CORE, program);
    load.args(["handshakes", &address.to_string()]).arg(&certificates.authority);
    load.args([workload.path(), &seconds.to_string()]);
    load
}

/// Shakes hands with `address` for `seconds`, believing the authority in the file, and returns the line to print.
pub fn shake_hands(
    address: SocketAddr,
    authority: &Path,
    path: &str,
    seconds: u32,
) -> Result<String, BenchError> {
    let config = secure::callers(secure::read_roots(authority)?, &[])?;
    let start = Instant::now();
    let end = start + Duration::from_secs(u64::from(seconds));
    let reply = Workload::Handshake.reply();
    let parts: Vec<Result<Vec<u64>, BenchError>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(|| until(end, || once(address, &config, path, &reply))))
            .collect();
        let crashed = |_| Err(BenchError::Machine("a thread of the load generator crashed".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect()
    });
    let micros = start.elapsed().as_micros();
    let mut each = parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    each.sort_unstable();
    let at = |share: usize| each.get(each.len() * share / 100).copied().unwrap_or_default();
    let (requests, bytes) = (each.len(), each.len() * reply.len());
    Ok(format!(
        "bench requests={requests} micros={micros} bytes={bytes} connect=0 read=0 write=0 status=0 timeout=0 \
         p50={} p99={}",
        at(50),
        at(99)
    ))
}

/// Repeats `once` until `end`, and returns how long each took, in microseconds.
fn until(end: Instant, once: impl Fn() -> Result<(), BenchError>) -> Result<Vec<u64>, BenchError> {
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
