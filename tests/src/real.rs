//! Real programs beside the proxy: servers that a test configures and starts, and clients that it runs to their end.
//!
//! Invariants: a program that is not installed fails the test with its name; a server is killed when dropped.
//! Limits: a server that can only be told a port gets one that was free a moment before it starts; such ports lie below
//! those that the system gives to clients, so that only another run of these tests could take it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::wait_for;

/// A running program; killed with its whole process group when dropped.
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts it in a process group of its own.
    pub fn start(mut command: Command) -> Self {
        use std::os::unix::process::CommandExt as _;
        let name = command.get_program().to_owned();
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{}: {error}", name.display())) }
    }

    /// Starts one whose first line is the port of this machine that it listens on, and which writes no other.
    pub fn announced(mut command: Command) -> (Self, SocketAddr) {
        command.stdout(Stdio::piped());
        let mut this = Self::start(command);
        let mut port = String::new();
        BufReader::new(this.child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("a port is announced");
        (this, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Waits until it accepts connections at `address`.
    #[must_use]
    pub fn listening_at(mut self, address: SocketAddr) -> Self {
        wait_for(&format!("a server at {address}"), || {
            assert!(self.child.try_wait().unwrap().is_none(), "the server for {address} ended");
            TcpStream::connect(address).ok()
        });
        self
    }

    /// Sends a signal to its process group.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process_group(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // A group that ended already needs no signal.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        self.child.wait().unwrap();
    }
}

/// Ports for servers that must be told one: below 32768, where Linux begins to hand them out by itself.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// An address of this machine with a port that is free now and that no other call of this process was given.
pub fn free_address() -> SocketAddr {
    static N_GIVEN: AtomicU32 = AtomicU32::new(0);
    let of_process = std::process::id().wrapping_mul(61);
    for _ in PORTS {
        let place =
            of_process.wrapping_add(N_GIVEN.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], (PORTS.start + place) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// The program of this name from the search path or, where Debian keeps servers, from `/usr/sbin`.
pub fn command(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let mut folders = vec![target.join("venv/bin"), target.join("tools/bin")];
    folders.extend(std::env::split_paths(&path));
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    let missing = "is not installed: run `cargo xtask test --install --tier e2e`";
    Command::new(found.unwrap_or_else(|| panic!("{name} {missing}")))
}

/// Where a script of `tests/peers` is.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// A script of `tests/peers`, run by Node where its name ends in `.mjs`, else by the tests' own Python.
pub fn peer(name: &str) -> Command {
    let script = script(name);
    let is_node = script.extension().is_some_and(|extension| extension == "mjs");
    let mut command = command(if is_node { "node" } else { "python3" });
    command.arg(script);
    command
}

/// Runs a command to its end; panics with everything it wrote where it failed.
pub fn run(mut command: Command) -> Output {
    let name = command.get_program().to_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", name.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{} {}:\n{errors}\n{text}", name.display(), output.status);
    output
}

/// Lets this process have as many descriptors as the system allows; panics where that is fewer than `n_needed`.
pub fn raise_descriptor_limit(n_needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    assert!(allowed >= n_needed, "this test needs {n_needed} descriptors, the system allows {allowed}");
}

/// A small generator of repeatable numbers (`SplitMix64`, Steele, Lea, Flood 2014).
pub struct Draw(pub u64);

impl Draw {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// A number from 1 to 2^`max_power`, each power of two as likely as the others.
    pub fn magnitude(&mut self, max_power: u32) -> usize {
        let top = 1_usize << self.below(max_power as usize + 1);
        1 + self.below(top)
    }
}
