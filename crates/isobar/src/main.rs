//! The binary: command line, wiring, admin interface.
//!
//! Only this crate reads files, the environment and signals; everything it learns there it hands on as values.
//! Exit codes: 0 done, 1 the request failed, 2 usage (see `cli`).

mod admin;
mod certificates;
mod check;
mod cli;
mod configuration;
mod demo;
mod files;
mod invocation;
mod limits;
mod log_tail;
mod logging;
mod operator;
mod proxy_command;
mod readiness;
mod reload;
mod runtimes;
mod seat;
mod signals;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Proxy(args) => proxy_command::run(&args, cli.verbose, cli.log_format),
        Command::Demo(args) => demo::run(&args, cli.verbose, cli.log_format),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => operator::status(&args),
        Command::Drain(args) => operator::drain(&args, true),
        Command::Undrain(args) => operator::drain(&args, false),
        Command::Weight(args) => operator::weight(&args),
        Command::Completions(args) => cli::print_completions(args.shell),
    }
}
