//! `isobar check`: every error and warning of some configuration files, with the source lines.
//!
//! Findings go to standard error, a line for each file that is accepted to standard output. Nothing is resolved,
//! bound or connected: a check gives the same answer on every machine with the same files and environment.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use isobar_config::{Diagnostics, Settings};

use crate::cli::{CheckArgs, EXIT_FAILED};
use crate::files::{Disk, environment};
use crate::terminal;

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    if args.schema {
        let schema = format!("{:#}\n", isobar_config::schema());
        return terminal::print(schema.as_bytes());
    }
    let mut accepted = String::new();
    let mut all_accepted = true;
    for path in &args.files {
        match isobar_config::load(path, &Disk, &environment) {
            Ok(loaded) => {
                show(&loaded.warnings);
                // Writing to a String cannot fail.
                let _ = writeln!(accepted, "{}: ok ({})", path.display(), summary(&loaded.settings));
            }
            Err(findings) => {
                show(&findings);
                terminal::complain(&format!("{}: refused ({})", path.display(), tally(&findings)));
                all_accepted = false;
            }
        }
    }
    let printed = terminal::print(accepted.as_bytes());
    if all_accepted { printed } else { ExitCode::from(EXIT_FAILED) }
}

/// Shows findings to a person, coloured where the terminal can.
pub(crate) fn show(findings: &Diagnostics) {
    if !findings.is_empty() {
        terminal::complain(findings.render(terminal::wants_colour(&io::stderr())).trim_end());
    }
}

fn summary(settings: &Settings) -> String {
    let n_endpoints = settings.services.iter().map(|service| service.endpoints.len()).sum();
    [
        counted(settings.listeners.len(), "listener"),
        counted(settings.routes.len(), "route"),
        counted(settings.services.len(), "service"),
        counted(n_endpoints, "endpoint"),
    ]
    .join(", ")
}

fn tally(findings: &Diagnostics) -> String {
    let errors = counted(findings.n_errors(), "error");
    match findings.n_warnings() {
        0 => errors,
        n => format!("{errors}, {}", counted(n, "warning")),
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
