//! `cargo xtask bench`: turns arguments into a plan for the bench crate and prints its report.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isobar_bench::{BASELINE, Binaries, Http1Plan, IdlePlan, Workload, peer_names, run_http1, run_idle};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU time per request, rate, latency, memory and system calls of an HTTP/1.1 proxy.
    ///
    /// Example: cargo xtask bench http1 --quick --peers isobar,nginx
    Http1(Http1Args),
    /// Memory per idle keep-alive connection.
    ///
    /// Example: cargo xtask bench idle --connections 1000
    Idle(IdleArgs),
}

#[derive(Debug, Args)]
struct Http1Args {
    /// Fewer and shorter rounds, and no Pingora unless asked for: about a minute.
    #[arg(long)]
    quick: bool,
    /// Peers to measure; all of them by default.
    #[arg(long, value_delimiter = ',', value_parser = peer_names())]
    peers: Vec<String>,
    /// Workloads: small and 64k by default.
    #[arg(long, value_delimiter = ',', value_parser = Workload::ALL.map(Workload::name).to_vec())]
    workloads: Vec<String>,
    /// Turns of each peer per workload; 5 by default, 3 with --quick.
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of one measurement; 3 by default, 1 with --quick.
    #[arg(long)]
    seconds: Option<u32>,
    /// Kept connections of the load generator.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Measure this binary instead of building one.
    #[arg(long)]
    isobar: Option<PathBuf>,
    /// Measure this earlier build beside it, as the peer `isobar-base`.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Write the reports to bench/results instead of target/bench-run.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct IdleArgs {
    /// Peers to measure.
    #[arg(long, value_delimiter = ',', value_parser = peer_names(), default_value = "isobar,nginx,haproxy-debian")]
    peers: Vec<String>,
    /// Connections held open.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// Measure this binary instead of building one.
    #[arg(long)]
    isobar: Option<PathBuf>,
    /// Measure this earlier build beside it, as the peer `isobar-base`.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Write the reports to bench/results instead of target/bench-run.
    #[arg(long)]
    keep: bool,
}

/// Runs the benchmark and prints its report.
pub(crate) fn run(args: &BenchArgs) -> Result<(), String> {
    let report = match &args.what {
        What::Http1(args) => run_http1(&http1_plan(args)),
        What::Idle(args) => run_idle(&IdlePlan {
            peers: args.peers.clone(),
            connections: args.connections,
            binaries: Binaries { isobar: args.isobar.clone(), baseline: args.baseline.clone() },
            keep: args.keep,
        }),
    };
    print!("{}", report.map_err(|error| error.to_string())?);
    Ok(())
}

fn http1_plan(args: &Http1Args) -> Http1Plan {
    let default_peers = peer_names().into_iter().filter(|name| match *name {
        "pingora" => !args.quick,
        BASELINE => args.baseline.is_some(),
        _ => true,
    });
    let peers =
        if args.peers.is_empty() { default_peers.map(str::to_owned).collect() } else { args.peers.clone() };
    let asked = |workload: &Workload| {
        if args.workloads.is_empty() {
            *workload != Workload::Post
        } else {
            args.workloads.iter().any(|name| name == workload.name())
        }
    };
    Http1Plan {
        peers,
        workloads: Workload::ALL.into_iter().filter(asked).collect(),
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 5 }),
        seconds: args.seconds.unwrap_or(if args.quick { 1 } else { 3 }),
        warm_up_seconds: u32::from(!args.quick),
        connections: args.connections,
        binaries: Binaries { isobar: args.isobar.clone(), baseline: args.baseline.clone() },
        keep: args.keep,
    }
}
