//! The load of HTTP/1.1, in the clear and over TLS: wrk on the load core, the same for every peer.

use std::net::SocketAddr;
use std::process::Command;

use crate::error::BenchError;
use crate::layout::Layout;
use crate::process::{LOAD_CORE, pinned};
use crate::secure::Certificates;
use crate::workload::Workload;

/// Length of the request bodies of [`Workload::Post`], in bytes: more than one page, less than any peer's buffer.
const POST: usize = 4 * 1024;

/// What a load generator saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Requests answered.
    pub(crate) requests: u64,
    /// How long it took, in microseconds.
    pub(crate) micros: u64,
    /// Median latency, in microseconds, where the generator tells it.
    pub(crate) p50_us: Option<u64>,
    /// 99th percentile of the latency, in microseconds, where the generator tells it.
    pub(crate) p99_us: Option<u64>,
}

/// The wrk command for one measurement.
pub(crate) fn command(
    layout: &Layout,
    certificates: &Certificates,
    workload: Workload,
    address: SocketAddr,
    connections: u32,
    seconds: u32,
) -> Command {
    let mut wrk = pinned(LOAD_CORE, "wrk");
    wrk.args(["-t", "1", "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "-s"]);
    wrk.arg(layout.template("load.lua"));
    let scheme = if workload.is_tls() { "https" } else { "http" };
    wrk.arg(format!("{scheme}://{address}{}", workload.path()));
    certificates.bind_openssl(&mut wrk);
    wrk.env("ISOBAR_BENCH_POST", if workload == Workload::Post { POST } else { 0 }.to_string());
    wrk
}

/// Reads the line that `load.lua` wrote, and refuses a run in which any request failed or bodies are missing.
pub(crate) fn read(output: &str, workload: Workload) -> Result<Load, BenchError> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("bench "))
        .ok_or_else(|| BenchError::Program { program: "wrk".to_owned(), said: output.trim().to_owned() })?;
    let value = |name: &str| {
        line.split_whitespace()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
            .ok_or_else(|| BenchError::Program {
                program: "wrk".to_owned(),
                said: format!("no {name} in `{line}`"),
            })
    };
    for error in ["connect", "read", "write", "status", "timeout"] {
        let count = value(error)?;
        if count > 0 {
            return Err(BenchError::Answer(format!("wrk counted {count} {error} errors under load")));
        }
    }
    let requests = value("requests")?;
    if requests == 0 || value("bytes")? / requests < workload.reply().len() as u64 {
        return Err(BenchError::Answer(format!("answers under load are incomplete: {line}")));
    }
    Ok(Load {
        requests,
        micros: value("micros")?.max(1),
        p50_us: Some(value("p50")?),
        p99_us: Some(value("p99")?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "Running\nbench requests=10 micros=5 bytes=3000 connect=0 read=0 write=0 status=0 timeout=0 p50=7 p99=9\n";

    #[test]
    fn a_clean_run_is_read_whole() {
        let load = read(GOOD, Workload::Small).unwrap();
        assert_eq!(load, Load { requests: 10, micros: 5, p50_us: Some(7), p99_us: Some(9) });
    }

    #[test]
    fn any_error_or_missing_byte_refuses_the_run() {
        for bad in ["connect", "read", "write", "status", "timeout"] {
            let text = GOOD.replace(&format!("{bad}=0"), &format!("{bad}=1"));
            assert!(read(&text, Workload::Small).is_err(), "{bad}");
        }
        assert!(read(GOOD, Workload::Large).is_err());
        assert!(read(&GOOD.replace("requests=10", "requests=0"), Workload::Small).is_err());
        assert!(read("wrk: not found", Workload::Small).is_err());
    }
}
