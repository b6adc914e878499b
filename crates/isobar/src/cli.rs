//! The command line, as types that clap fills in.
//!
//! Invariants: only commands that do something are listed; every command shows an example in its help. A usage error
//! ends with exit code 2, which is clap's own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use isobar_config::{AddressText, WEIGHT_MAX};
use isobar_core::PolicyKind;

use crate::operator::Target;
use crate::terminal;

/// Exit code of a request that failed.
pub(crate) const EXIT_FAILED: u8 = 1;

/// Exit code of a command line that makes no sense; clap uses the same.
pub(crate) const EXIT_USAGE: u8 = 2;

/// The configuration file where none is named.
pub(crate) const DEFAULT_CONFIG: &str = "isobar.toml";

/// The largest rate of the demo's traffic: it shows how requests spread, and measures nothing.
const DEMO_RATE_MAX: i64 = 5_000;

/// The admin interface where none is named: what the documents' examples listen on.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:9900";

const EXAMPLES: &str = "\
Examples:
  isobar demo
  isobar proxy --listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002
  isobar check isobar.toml
  isobar status";

const PROXY_EXAMPLES: &str = "\
Examples:
  isobar proxy -c /etc/isobar/isobar.toml
  isobar proxy --listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002 --policy round-robin

Addresses: HOST:PORT, :PORT, [::1]:PORT, unix:/path

Signals: SIGTERM and SIGINT drain (a second one stops at once), SIGHUP reads the
configuration again, SIGUSR1 reopens the access log";

const DEMO_EXAMPLES: &str = "\
Examples:
  isobar demo
  isobar demo --for 30s --rate 1000
  isobar demo --listen 127.0.0.1:8081 --admin 127.0.0.1:9901

Keys: up and down select an instance, k kills or revives it, q or Ctrl-C ends the demo";

const CHECK_EXAMPLES: &str = "\
Examples:
  isobar check isobar.toml
  isobar check --schema > isobar.schema.json";

const STATUS_EXAMPLES: &str = "\
Examples:
  isobar status
  isobar status cart --json
  isobar status --admin unix:/run/isobar/admin.sock";

const DRAIN_EXAMPLES: &str = "\
Examples:
  isobar drain cart 127.0.0.1:9001
  isobar drain cart cart-2 --admin http://proxy.internal:9900
  isobar drain cart localhost/127.0.0.1:9001

An endpoint that came from a host name is called NAME/ADDRESS";

const UNDRAIN_EXAMPLES: &str = "\
Examples:
  isobar undrain cart 127.0.0.1:9001";

const WEIGHT_EXAMPLES: &str = "\
Examples:
  isobar weight cart 127.0.0.1:9001 3
  isobar weight cart cart-2 0";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  isobar completions bash > /etc/bash_completion.d/isobar
  isobar completions fish > ~/.config/fish/completions/isobar.fish";

/// A load balancer for microservices.
#[derive(Debug, Parser)]
#[command(name = "isobar", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log more; twice for still more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    /// Form of the log lines on standard error
    #[arg(long, value_enum, default_value_t = LogLines::Text, value_name = "FORM", global = true)]
    pub(crate) log_format: LogLines,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the load balancer
    #[command(after_help = PROXY_EXAMPLES)]
    Proxy(ProxyArgs),
    /// Run sample instances, a proxy and traffic on this machine, and watch them
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Check configuration files and show every error in them
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Show services and endpoints of a running proxy
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Take an endpoint out of rotation; its requests in flight finish
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(EndpointArgs),
    /// Take a drained endpoint back into rotation
    #[command(after_help = UNDRAIN_EXAMPLES)]
    Undrain(EndpointArgs),
    /// Change the share of an endpoint
    #[command(after_help = WEIGHT_EXAMPLES)]
    Weight(WeightArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
}

/// Arguments of `isobar proxy`: a file, or flags that take its place.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, conflicts_with_all = ["listen", "to", "policy"])]
    pub(crate) config: PathBuf,

    /// Listen here, without a configuration file; repeat it for each listener
    #[arg(long, value_name = "ADDR", requires = "to")]
    pub(crate) listen: Vec<String>,

    /// Send requests here; repeat it for each endpoint
    #[arg(long, value_name = "ADDR", requires = "listen")]
    pub(crate) to: Vec<String>,

    /// How an endpoint is chosen for a request
    #[arg(long, value_name = "NAME", requires = "listen", value_parser = policy_names())]
    pub(crate) policy: Option<String>,
}

/// Arguments of `isobar demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after this time, such as 30s or 5m; without it, on Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lasts: Option<Duration>,

    /// Where the proxy listens: HOST:PORT or :PORT [default: 127.0.0.1:8080, or a free port where that is taken]
    #[arg(long, value_name = "ADDR", value_parser = tcp_address)]
    pub(crate) listen: Option<AddressText>,

    /// Where the admin interface listens: HOST:PORT or :PORT [default: 127.0.0.1:9900, or a free port where that is taken]
    #[arg(long, value_name = "ADDR", value_parser = tcp_address)]
    pub(crate) admin: Option<AddressText>,

    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=DEMO_RATE_MAX))]
    pub(crate) rate: u32,
}

/// Arguments of `isobar check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Configuration files
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub(crate) files: Vec<PathBuf>,

    /// Print the JSON Schema of the configuration instead
    #[arg(long, conflicts_with = "files")]
    pub(crate) schema: bool,
}

/// Which proxy a command speaks to.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The admin interface of the proxy (`http://HOST:PORT` or `unix:/path`); its token stands in `ISOBAR_ADMIN_TOKEN`
    #[arg(long, value_name = "URL", env = "ISOBAR_ADMIN", default_value = DEFAULT_ADMIN)]
    pub(crate) admin: Target,
}

/// Arguments of `isobar status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,

    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// Arguments of `isobar drain` and `isobar undrain`.
#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    /// Its service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Its id, or its address if no other endpoint has the same; from a host name it is NAME/ADDRESS, such as
    /// localhost/127.0.0.1:9001
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: String,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// Arguments of `isobar weight`.
#[derive(Debug, Args)]
pub(crate) struct WeightArgs {
    /// Its service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Its id, or its address if no other endpoint has the same; from a host name it is NAME/ADDRESS, such as
    /// localhost/127.0.0.1:9001
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: String,

    /// Its share relative to the others; 0 takes no requests
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(WEIGHT_MAX)))]
    pub(crate) weight: u32,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// Arguments of `isobar completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLines {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    isobar_config::parse_duration(text).map_err(|error| match error.suggestion {
        Some(suggestion) => format!("{}; did you mean {suggestion}?", error.problem),
        None => error.problem,
    })
}

fn tcp_address(text: &str) -> Result<AddressText, String> {
    match AddressText::parse_listen(text) {
        Ok(AddressText::Unix(_)) => Err("the demo listens on TCP: write HOST:PORT or :PORT".to_owned()),
        parsed => parsed.map_err(|error| format!("{error}; {}", error.hint)),
    }
}

fn policy_names() -> PossibleValuesParser {
    PossibleValuesParser::new(PolicyKind::ALL.iter().map(|policy| policy.name()))
}

/// Writes the completion script to standard output.
pub(crate) fn print_completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "isobar", &mut script);
    terminal::print(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_that_parses() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  isobar ")).collect();
            assert!(!examples.is_empty(), "{} has no example", command.get_name());
            for example in examples {
                let words = example.split_whitespace().take_while(|word| *word != ">");
                assert!(Cli::try_parse_from(words).is_ok(), "{example}");
            }
        }
    }

    #[test]
    fn the_demo_takes_addresses_as_the_proxy_does() {
        for line in ["isobar demo --listen :8080 --admin localhost:9900", "isobar demo --listen [::1]:80"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        let refused = Cli::try_parse_from(["isobar", "demo", "--listen", "8080"]).err();
        assert!(refused.is_some_and(|error| error.to_string().contains("write \":8080\"")));
    }

    #[test]
    fn a_file_and_flags_exclude_each_other() {
        for line in [
            "isobar proxy -c a.toml --listen :1 --to :2",
            "isobar proxy --listen :1",
            "isobar proxy --to 127.0.0.1:2",
            "isobar proxy --policy p2c",
            "isobar proxy --listen :1 --to 127.0.0.1:2 --policy fastest",
            "isobar demo --for 30",
            "isobar demo --rate 0",
            "isobar demo --listen nowhere",
            "isobar demo --admin unix:/run/demo.sock",
            "isobar check",
            "isobar check --schema a.toml",
            "isobar status a b",
            "isobar status --admin https://localhost:1",
            "isobar drain cart",
            "isobar weight cart a",
            "isobar weight cart a -1",
            "isobar weight cart a 1000001",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).map(|_| line).err();
            assert_eq!(error.map(|error| error.exit_code()), Some(i32::from(EXIT_USAGE)), "{line}");
        }
    }
}
