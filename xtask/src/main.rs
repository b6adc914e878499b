//! The one gate, and the tasks around it: `ci`, `test`, `tidy`, `soak`, `bench`.
//!
//! `ci` and `test` run the same steps, so that what passes here passes in `.ci/run`, which calls
//! `cargo xtask test --install`. Linux only: the end-to-end tests need what Debian packages.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks on its terminal")]

mod bench;
mod counts;
mod gate;
mod install;
mod requirements;
mod shell;
mod tidy;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::gate::Gate;
use crate::requirements::Tier;

/// Tasks of the Isobar workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every step of the gate.
    ///
    /// Example: cargo xtask ci
    Ci(InstallArgs),
    /// Run the gate, or some tiers of it; with --install, first install what they need.
    ///
    /// Example: cargo xtask test --install --tier unit --tier e2e
    Test(TestArgs),
    /// Check dependency direction, lengths, module documentation and words.
    ///
    /// Example: cargo xtask tidy --verbose
    Tidy(TidyArgs),
    /// Run the tests at length: more cases, larger bodies, longer runs.
    ///
    /// Example: cargo xtask soak
    Soak(InstallArgs),
    /// Measure Isobar side by side with other load balancers, on this machine.
    Bench(bench::BenchArgs),
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// Install what is missing (Debian packages, Python packages, cargo tools).
    #[arg(long)]
    install: bool,
}

#[derive(Debug, Args)]
struct TestArgs {
    #[command(flatten)]
    install: InstallArgs,
    /// Only these tiers.
    #[arg(long, value_enum)]
    tier: Vec<Tier>,
}

#[derive(Debug, Args)]
struct TidyArgs {
    /// Also name files above the length that files aim at.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Ci(args) => Gate { tiers: Tier::ALL.to_vec(), install: args.install, soak: false }.run(),
        Task::Test(args) => {
            let tiers = if args.tier.is_empty() { Tier::ALL.to_vec() } else { args.tier };
            Gate { tiers, install: args.install.install, soak: false }.run()
        }
        Task::Soak(args) => {
            Gate { tiers: vec![Tier::Unit, Tier::E2e], install: args.install, soak: true }.run()
        }
        Task::Tidy(args) => tidy::run(args.verbose),
        Task::Bench(args) => bench::run_bench(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
