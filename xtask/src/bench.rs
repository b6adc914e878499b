//! `cargo xtask bench`: turns arguments into a plan for the bench crate and prints its report.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isobar_bench::{
    BASELINE, Binaries, Front, IdlePlan, PicksPlan, Plan, SpreadPlan, Suite, Workload, peer_names, run,
    run_idle, run_picks, run_spread,
};

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
    Http1(CompareArgs),
    /// The same over TLS, and full handshakes.
    ///
    /// Example: cargo xtask bench tls --quick --workloads tls-handshake
    Tls(CompareArgs),
    /// The same of HTTP/2 to origins of HTTP/1.1: 16 connections of 8 streams.
    ///
    /// Example: cargo xtask bench h2 --quick
    H2(CompareArgs),
    /// The same of unary calls of gRPC: 16 connections of 8 streams.
    ///
    /// Example: cargo xtask bench grpc --quick
    Grpc(CompareArgs),
    /// Memory per idle kept connection.
    ///
    /// Example: cargo xtask bench idle --connections 1000
    Idle(IdleArgs),
    /// Nanoseconds per pick and milliseconds per change of an endpoint, by policy and number of endpoints.
    ///
    /// Example: cargo xtask bench picks --policies p2c,ring-hash
    Picks(PicksArgs),
    /// Wall time and latencies by policy where instances differ a thousandfold in speed: about six minutes.
    ///
    /// Example: cargo xtask bench spread --policies round-robin,peak-ewma
    Spread(SpreadArgs),
}

#[derive(Debug, Args)]
struct SpreadArgs {
    /// Policies to measure; all by default.
    #[arg(long, value_delimiter = ',')]
    policies: Vec<String>,
    /// Measure this binary instead of building one.
    #[arg(long)]
    isobar: Option<PathBuf>,
    /// Write the reports to bench/results instead of target/bench-run.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct PicksArgs {
    /// Policies to measure; all by default.
    #[arg(long, value_delimiter = ',')]
    policies: Vec<String>,
    /// Write the reports to bench/results instead of target/bench-run.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Fewer and shorter rounds, of HTTP/1.1 without Pingora and Envoy unless asked for: about a minute.
    #[arg(long)]
    quick: bool,
    /// Peers to measure; all that can by default.
    #[arg(long, value_delimiter = ',', value_parser = peer_names(Front::Http1))]
    peers: Vec<String>,
    /// Workloads of the comparison; all by default but for post.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Turns of each peer per workload; 5 by default, 3 with --quick.
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of one measurement; 3 by default, 1 with --quick.
    #[arg(long)]
    seconds: Option<u32>,
    /// Kept connections of the load generator; 64 by default, 16 where each has 8 streams.
    #[arg(long)]
    connections: Option<u32>,
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
    #[arg(long, value_delimiter = ',', value_parser = peer_names(Front::Http1), default_value = "isobar,nginx,haproxy-debian")]
    peers: Vec<String>,
    /// What is asked once on each connection, and so what it speaks.
    #[arg(long, value_delimiter = ',', value_parser = Workload::KEPT.map(Workload::name).to_vec(), default_value = "small")]
    workloads: Vec<String>,
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
pub(crate) fn run_bench(args: &BenchArgs) -> Result<(), String> {
    let (suite, args) = match &args.what {
        What::Http1(args) => (Suite::Http1, args),
        What::Tls(args) => (Suite::Tls, args),
        What::H2(args) => (Suite::H2, args),
        What::Grpc(args) => (Suite::Grpc, args),
        What::Idle(args) => return print(run_idle(&idle_plan(args))),
        What::Spread(args) => {
            let binaries = Binaries { isobar: args.isobar.clone(), baseline: None };
            let policies = args.policies.clone();
            return print(run_spread(&SpreadPlan { policies, binaries, keep: args.keep }));
        }
        What::Picks(args) => {
            return print(run_picks(&PicksPlan { policies: args.policies.clone(), keep: args.keep }));
        }
    };
    print(run(&plan(suite, args)?))
}

fn print(report: Result<String, isobar_bench::BenchError>) -> Result<(), String> {
    print!("{}", report.map_err(|error| error.to_string())?);
    Ok(())
}

fn idle_plan(args: &IdleArgs) -> IdlePlan {
    let asked = |workload: &Workload| args.workloads.iter().any(|name| name == workload.name());
    IdlePlan {
        peers: args.peers.clone(),
        workloads: Workload::KEPT.into_iter().filter(asked).collect(),
        connections: args.connections,
        binaries: Binaries { isobar: args.isobar.clone(), baseline: args.baseline.clone() },
        keep: args.keep,
    }
}

fn plan(suite: Suite, args: &CompareArgs) -> Result<Plan, String> {
    let front = if suite == Suite::Http1 { Front::Http1 } else { Front::Tls };
    let default_peers = peer_names(front).into_iter().filter(|name| match *name {
        "pingora" | "envoy" if suite == Suite::Http1 => !args.quick,
        BASELINE => args.baseline.is_some(),
        _ => true,
    });
    let peers =
        if args.peers.is_empty() { default_peers.map(str::to_owned).collect() } else { args.peers.clone() };
    Ok(Plan {
        suite,
        peers,
        workloads: workloads(suite, &args.workloads)?,
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 5 }),
        seconds: args.seconds.unwrap_or(if args.quick { 1 } else { 3 }),
        warm_up_seconds: u32::from(!args.quick),
        connections: args.connections.unwrap_or(suite.connections()),
        binaries: Binaries { isobar: args.isobar.clone(), baseline: args.baseline.clone() },
        keep: args.keep,
    })
}

/// The workloads of these names, or those that a run has by default.
fn workloads(suite: Suite, names: &[String]) -> Result<Vec<Workload>, String> {
    let all = suite.workloads();
    if names.is_empty() {
        return Ok(all.iter().copied().filter(|workload| *workload != Workload::Post).collect());
    }
    let find = |name: &String| {
        all.iter().copied().find(|workload| workload.name() == name).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|workload| workload.name()).collect();
            format!("there is no workload `{name}` here; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_of_another_comparison_is_refused() {
        assert!(workloads(Suite::Tls, &["small".to_owned()]).is_err());
        assert_eq!(workloads(Suite::Tls, &["tls-small".to_owned()]), Ok(vec![Workload::TlsSmall]));
    }

    #[test]
    fn bodies_of_callers_are_only_measured_when_asked_for() {
        assert_eq!(workloads(Suite::Http1, &[]), Ok(vec![Workload::Small, Workload::Large]));
    }
}
