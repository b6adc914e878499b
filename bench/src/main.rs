//! What a run needs beside its peers and has nowhere else to take from: the load of handshakes, an origin of gRPC, the
//! cost of picks, instances of different speed.
//!
//! Started by the harness, pinned to the load core, built with optimisation while the harness itself need not be.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the line on stdout is what the harness reads")]

#[path = "../../crates/core/tests/common/counting.rs"]
mod counting;

use std::path::Path;
use std::process::ExitCode;

use isobar_bench::{BenchError, call_instances, measure_picks, serve_grpc, serve_instances, shake_hands};

const USAGE: &str = "usage: isobar-bench grpc-origin ADDRESS | handshakes ADDRESS AUTHORITY PATH SECONDS | picks [POLICY...] \
     | spread-instances ADDRESS | spread-load ADDRESS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), BenchError> {
    let usage = || BenchError::Usage(USAGE.to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["grpc-origin", address] => serve_grpc(address.parse().map_err(|_| usage())?),
        ["handshakes", address, authority, path, seconds] => {
            let (address, seconds) =
                (address.parse().map_err(|_| usage())?, seconds.parse().map_err(|_| usage())?);
            println!("{}", shake_hands(address, Path::new(authority), path, seconds)?);
            Ok(())
        }
        ["spread-instances", address] => serve_instances(address.parse().map_err(|_| usage())?),
        ["spread-load", address] => {
            println!("{}", call_instances(address.parse().map_err(|_| usage())?)?);
            Ok(())
        }
        ["picks", ref policies @ ..] => {
            measure_picks(policies, counting::allocations, |row| println!("{row}"));
            Ok(())
        }
        _ => Err(usage()),
    }
}
