//! Runs other programs from the top of the checkout, showing what they say as they say it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::counts::{Counts, failed_test};

/// Failed tests that an error names; more than that is read in the output above it.
const NAMED_MAX: usize = 20;

/// The top folder of the checkout that this program was built from.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Cargo's target folder, which the environment may have moved.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The Python environment of the tests.
pub(crate) fn venv() -> PathBuf {
    target().join("venv")
}

/// The folder in which `cargo install` puts the tools of the gate, under `bin`.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// Where programs are looked for: the gate's own first, then `PATH`, then the folders of system programs, which an
/// ordinary user's `PATH` leaves out and Debian puts servers into.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let mut folders = vec![venv().join("bin"), tools().join("bin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
}

/// A command that runs at the top of the checkout with [`search_path`].
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let path = std::env::join_paths(search_path()).unwrap_or_else(|_| OsString::from("/usr/bin:/bin"));
    command.args(arguments).current_dir(root()).env("PATH", path).stdin(Stdio::null());
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

/// Runs `command`; an error names it.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let shown = show(&command);
    println!("$ {shown}");
    let status = command.status().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}`: {status}")) }
}

/// Runs a test runner, passing its output on and adding its closing lines to `counts`; an error names failed tests.
pub(crate) fn run_tests(mut command: Command, counts: &mut Counts) -> Result<(), String> {
    let shown = show(&command);
    println!("$ {shown}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let err = thread::spawn(move || relay(err, |line| eprintln!("{line}")));
    let (of_out, mut failed) = relay(out, |line| println!("{line}"));
    let (of_err, more) = err.join().map_err(|_| format!("lost the output of `{shown}`"))?;
    let status = child.wait().map_err(|error| format!("lost `{shown}`: {error}"))?;
    counts.add(of_out);
    counts.add(of_err);
    if status.success() {
        return Ok(());
    }
    failed.extend(more);
    failed.sort();
    failed.dedup();
    let rest = failed.len().saturating_sub(NAMED_MAX);
    failed.truncate(NAMED_MAX);
    if rest > 0 {
        failed.push(format!("and {rest} more"));
    }
    failed.insert(0, format!("`{shown}`: {status}"));
    Err(failed.join("\n      "))
}

/// Passes each line on and reads it for counts and failed tests. Bytes that are no UTF-8 are shown replaced.
fn relay(from: Option<impl Read>, show: fn(&str)) -> (Counts, Vec<String>) {
    let (mut counts, mut failed) = (Counts::default(), Vec::new());
    let Some(from) = from else { return (counts, failed) };
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        show(text);
        counts.take(text);
        failed.extend(failed_test(text).map(str::to_owned));
        line.clear();
    }
    (counts, failed)
}

/// A command as one would type it.
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
