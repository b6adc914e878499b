//! Programs of a run: each pinned to one core, each gone when its handle is.
//!
//! Pinning goes through `taskset` and the tie to this process's life through `setpriv`; both replace themselves by
//! the program, so the process id seen here is the program's own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::{self, Runtime};

use crate::error::BenchError;
use crate::measure;

/// The core of the proxy under test.
pub(crate) const PROXY_CORE: u32 = 0;
/// The core that origins and load generator share.
pub(crate) const LOAD_CORE: u32 = 1;

/// How long a program may take until it listens: a cold start on a loaded machine takes about a second.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a program may take to end after SIGTERM before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How much of a program's output goes into an error message, in bytes.
const LAST_WORDS: usize = 600;

/// A running program that is stopped on drop.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

/// A command that will run pinned to `core` and die with the thread that starts it.
pub(crate) fn pinned(core: u32, program: impl AsRef<OsStr>) -> Command {
    pinned_to(&core.to_string(), program)
}

/// The same on several cores, as `taskset` lists them.
pub(crate) fn pinned_to(cores: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "taskset", "-c", cores]).arg(program);
    command
}

/// A runtime for one thread, whichever drives it.
pub(crate) fn runtime() -> Result<Runtime, BenchError> {
    let built = runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| BenchError::Machine(format!("no runtime: {error}")))
}

impl Running {
    /// Starts `command` with its output going to `folder/output.log`, and waits until it listens on `address`.
    pub(crate) fn start(
        mut command: Command,
        folder: &Path,
        address: SocketAddr,
    ) -> Result<Self, BenchError> {
        let log = folder.join("output.log");
        let out = File::create(&log).map_err(BenchError::file(&log))?;
        let err = out.try_clone().map_err(BenchError::file(&log))?;
        let program = format!("{command:?}");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| BenchError::Start { program: program.clone(), source })?;
        let mut running = Self { child, log };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if !running.is_alive() || Instant::now() > deadline {
                return Err(BenchError::Program { program, said: running.last_words() });
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(running)
    }

    /// The process id of the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what the program wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(LAST_WORDS);
        let words = String::from_utf8_lossy(&text[from..]).trim().to_owned();
        if words.is_empty() { "it said nothing".to_owned() } else { words }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = measure::process_tree(self.child.id());
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while self.is_alive() && Instant::now() < deadline {
            thread::sleep(LOOK_AGAIN);
        }
        if self.is_alive() {
            // The whole family, or the workers of a killed parent would go on.
            for pid in family {
                signal(pid, Signal::KILL);
            }
            // Reaping fails only if somebody else already has.
            let _ = self.child.wait();
        }
    }
}

/// Sends `signal` to a process; one that is already gone is no error.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A loopback address that nobody listened on a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| BenchError::Machine(format!("no free port on loopback: {error}")))
}

/// Runs `command` to its end and returns what it wrote to stdout and stderr together.
pub(crate) fn output_of(command: &mut Command) -> Result<String, BenchError> {
    let (status, text) = finish(command)?;
    if status.success() {
        return Ok(text);
    }
    let from = text.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
    Err(BenchError::Program {
        program: format!("{command:?}"),
        said: format!("{status}: {}", text[from..].trim()),
    })
}

/// Runs `command` to its end, however it ends, and returns what it wrote to stdout and stderr together.
pub(crate) fn finish(command: &mut Command) -> Result<(ExitStatus, String), BenchError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BenchError::Start { program: format!("{command:?}"), source })?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status, text))
}
