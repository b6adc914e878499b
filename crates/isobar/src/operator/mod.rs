//! Commands for operators of a running proxy: `status`, `drain`, `undrain`, `weight`. They speak to its admin interface.
//!
//! Exit codes: 0 done, 1 the request failed and standard error says what to do, 2 usage.

mod client;
mod edit;
mod status;
mod table;
mod target;

use std::process::ExitCode;

pub(crate) use target::Target;

use crate::cli::{AdminArgs, EXIT_FAILED, EndpointArgs, StatusArgs, WeightArgs};
use crate::files::environment;
use crate::terminal;
use client::{Client, Failure};

/// The variable that holds the token of the admin interface: a token on the command line would be seen by everybody
/// who lists processes.
const TOKEN: &str = "ISOBAR_ADMIN_TOKEN";

/// `isobar status`.
pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    run(&args.admin, async |client| status::show(client, args.service.as_deref(), args.json).await)
}

/// `isobar drain` and `isobar undrain`.
pub(crate) fn drain(args: &EndpointArgs, draining: bool) -> ExitCode {
    run(&args.admin, async |client| edit::drain(client, &args.service, &args.endpoint, draining).await)
}

/// `isobar weight`.
pub(crate) fn weight(args: &WeightArgs) -> ExitCode {
    run(&args.admin, async |client| edit::weight(client, &args.service, &args.endpoint, args.weight).await)
}

/// Connects, asks, and prints the text that comes out.
fn run(admin: &AdminArgs, ask: impl AsyncFnOnce(&mut Client) -> Result<String, Failure>) -> ExitCode {
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
        .and_then(|runtime| {
            runtime.block_on(async {
                let mut client = Client::connect(&admin.admin, environment(TOKEN)).await?;
                ask(&mut client).await
            })
        });
    match asked {
        Ok(text) => terminal::print(text.as_bytes()),
        Err(failure) => {
            terminal::complain(&format!("error: {}", printable(&failure.to_string())));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// What came from elsewhere, without the characters that steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}
