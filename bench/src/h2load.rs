//! The load of HTTP/2, in the clear and over TLS, and of gRPC: h2load on the load core, the same for every peer.
//!
//! Limits: it tells no percentiles, and of a call it sees the status of HTTP but not that of gRPC; a call that failed
//! brings no message, so the count of bytes shows it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::error::BenchError;
use crate::grpc;
use crate::load::Load;
use crate::process::{LOAD_CORE, pinned};
use crate::secure::{CIPHER_SUITE, GROUP};
use crate::workload::Workload;

/// Streams in flight on each connection.
pub(crate) const STREAMS: u32 = 8;

/// The h2load command for one measurement; `folder` takes what it sends.
pub(crate) fn command(
    folder: &Path,
    workload: Workload,
    address: SocketAddr,
    connections: u32,
    seconds: u32,
) -> Result<Command, BenchError> {
    let mut h2load = pinned(LOAD_CORE, "h2load");
    h2load.args(["-t", "1", "-c", &connections.to_string(), "-m", &STREAMS.to_string()]);
    h2load.args(["-D", &seconds.to_string()]);
    if workload.is_tls() {
        h2load.args(["--tls13-ciphers", CIPHER_SUITE, "--groups", GROUP, "--npn-list", "h2"]);
        h2load.arg(format!("https://{address}{}", workload.path()));
        return Ok(h2load);
    }
    if workload == Workload::Unary {
        let message = folder.join("message");
        fs::write(&message, grpc::message()).map_err(BenchError::file(&message))?;
        h2load.arg("-d").arg(&message);
        h2load.args(["-H", &format!("content-type: {}", grpc::CONTENT_TYPE), "-H", "te: trailers"]);
    }
    h2load.args(["-p", "h2c"]).arg(format!("http://{address}{}", workload.path()));
    Ok(h2load)
}

/// Reads h2load's report, and refuses a run in which any request failed or bodies are missing.
pub(crate) fn read(output: &str, workload: Workload) -> Result<Load, BenchError> {
    let broken = |what: &str| BenchError::Program {
        program: "h2load".to_owned(),
        said: format!("{what} in `{}`", output.trim()),
    };
    let line = |start: &str| {
        output.lines().find_map(|line| line.strip_prefix(start)).ok_or_else(|| broken("no such line"))
    };
    // `NUMBER word, NUMBER word`, with more behind the word in some lines.
    let count = |line: &str, word: &str| {
        let pair = line.split(", ").find(|pair| pair.trim().split(' ').nth(1) == Some(word));
        let number = pair.and_then(|pair| pair.trim().split(' ').next());
        number.and_then(|number| number.parse::<u64>().ok()).ok_or_else(|| broken(word))
    };
    let (requests, statuses) = (line("requests: ")?, line("status codes: ")?);
    for error in ["failed", "errored", "timeout"] {
        let n = count(requests, error)?;
        if n > 0 {
            return Err(BenchError::Answer(format!("h2load counted {n} {error} under load")));
        }
    }
    let succeeded = count(requests, "succeeded")?;
    let data = bytes_of_data(line("traffic: ")?).ok_or_else(|| broken("no data"))?;
    // A 2xx is counted with its head: at the end of the time a few answers are cut off behind theirs.
    let all_2xx = count(statuses, "2xx")? >= succeeded && count(statuses, "5xx")? == 0;
    if succeeded == 0 || !all_2xx || data / succeeded < workload.reply().len() as u64 {
        return Err(BenchError::Answer(format!("answers under load are wrong or incomplete: {output}")));
    }
    let seconds = line("finished in ")?.split_once(',').and_then(|(span, _)| seconds(span));
    let micros = (seconds.ok_or_else(|| broken("no time"))? * 1e6) as u64;
    Ok(Load { requests: succeeded, micros: micros.max(1), p50_us: None, p99_us: None })
}

/// The number in `5.20MB (5447680) total, ..., 3.98MB (4173440) data`.
fn bytes_of_data(line: &str) -> Option<u64> {
    let before = line.trim().strip_suffix(" data")?;
    before.rsplit_once('(')?.1.strip_suffix(')')?.parse().ok()
}

/// A span as h2load writes it: `3.00s` or `998.51ms`.
fn seconds(text: &str) -> Option<f64> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse::<f64>().ok().map(|ms| ms / 1e3),
        None => text.strip_suffix('s')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "finished in 1.50s, 6.67 req/s, 1.70KB/s\n\
        requests: 10 total, 12 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 11 2xx, 0 3xx, 0 4xx, 0 5xx\n\
        traffic: 2.60KB (2660) total, 101B (101) headers (space savings 90.00%), 1.25KB (1280) data\n";

    #[test]
    fn a_clean_run_is_read_whole() {
        let load = read(GOOD, Workload::H2Small).unwrap();
        assert_eq!(load, Load { requests: 10, micros: 1_500_000, p50_us: None, p99_us: None });
    }

    #[test]
    fn any_error_or_missing_byte_refuses_the_run() {
        for bad in ["failed", "errored", "timeout", "5xx"] {
            let text = GOOD.replace(&format!("0 {bad}"), &format!("1 {bad}"));
            assert!(read(&text, Workload::H2Small).is_err(), "{bad}");
        }
        assert!(read(&GOOD.replace("11 2xx, 0 3xx", "9 2xx, 1 3xx"), Workload::H2Small).is_err());
        assert!(read(GOOD, Workload::Unary).is_err());
        assert!(read(&GOOD.replace("10 succeeded", "0 succeeded"), Workload::H2Small).is_err());
        assert!(read("h2load: not found", Workload::H2Small).is_err());
    }
}
