//! The binary under test as a process.
//!
//! Invariant: a test that passed left nothing behind: when its proxy is dropped while it runs, nothing may be in
//! flight and no caller's connection open, once the test's own clients (declared later, so dropped before) are gone.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Client, Response, save, wait_for};

/// A running proxy; when dropped, looked through for leaks and for errors in its log, and killed.
pub struct Isobar {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    /// Its folder: configuration and whatever the test puts there.
    pub dir: TempDir,
    errors_expected: bool,
    /// It was told to stop, or the test ends in the middle of something: what is open says nothing then.
    stopping: AtomicBool,
}

/// Samples by their full name with labels, as written.
pub type Metrics = BTreeMap<String, f64>;

/// The name of the configuration file in the proxy's folder.
const CONFIG_FILE: &str = "isobar.toml";

/// With an admin interface, unless the configuration has one of its own.
fn with_admin(config: &str) -> String {
    if config.contains("[admin]") {
        return config.to_owned();
    }
    format!("{config}\n[admin]\nlisten = \"127.0.0.1:0\"\n")
}

/// The built binary: `ISOBAR_BIN`, or the newest of the usual places.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ISOBAR_BIN") {
        return path.into();
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let built = ["fast", "release", "debug"].map(|profile| target.join(profile).join("isobar"));
    let newest = built
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.expect("no isobar binary: run `cargo build --profile fast -p isobar`, or name one in ISOBAR_BIN")
}

impl Isobar {
    /// Starts it with this configuration and an admin interface; waits until it is ready.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, |command| command)
    }

    /// As `start`, with a chance to change the command.
    pub fn start_with(config: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let isobar = Self::launch(config, change);
        wait_for("the proxy to be ready", || {
            let log = isobar.log.lock().unwrap();
            log.iter().any(|line| message(line) == "ready").then_some(())
        });
        isobar
    }

    /// Starts it and does not wait.
    pub fn launch(config: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(CONFIG_FILE);
        std::fs::write(&file, with_admin(config)).unwrap();
        let mut command = Command::new(binary());
        command.args(["--log-format", "json", "proxy", "-c"]).arg(&file).current_dir(dir.path());
        change(&mut command);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(value);
            }
        });
        Self { child, log, dir, errors_expected: false, stopping: AtomicBool::new(false) }
    }

    /// The built binary, for its other commands.
    pub fn program() -> PathBuf {
        binary()
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join(CONFIG_FILE)
    }

    /// Saves another configuration, with the admin interface of the first.
    pub fn configure(&self, config: &str) {
        save(&self.config_file(), with_admin(config));
    }

    /// Says that ERROR lines are part of the test.
    #[must_use]
    pub fn expect_errors(mut self) -> Self {
        self.errors_expected = true;
        self
    }

    /// Says that the test ends in the middle of something, so that what is open then is no leak.
    #[must_use]
    pub fn expect_open(self) -> Self {
        self.stopping.store(true, Ordering::SeqCst);
        self
    }

    fn address(&self, message_text: &str, listener: Option<&str>) -> SocketAddr {
        wait_for(message_text, || {
            let log = self.log.lock().unwrap();
            // The last one: a listener may have come, gone and come again.
            let line = log.iter().rev().find(|line| {
                message(line) == message_text && listener.is_none_or(|name| field(line, "listener") == name)
            })?;
            field(line, "address").parse().ok()
        })
    }

    /// Where the listener of this name listens, as seen from this machine.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let mut address = self.address("listening", Some(name));
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        address
    }

    /// A connection to the listener `web`.
    pub fn connect(&self) -> Client {
        Client::connect(self.listener("web"))
    }

    /// One GET on a connection of its own to the listener `web`.
    pub fn get(&self, path: &str) -> Response {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"));
        client.response("GET")
    }

    /// Where the admin interface listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.address("admin interface listening", None)
    }

    /// One GET to the admin interface.
    pub fn admin(&self, path: &str) -> Response {
        self.admin_call("GET", path, "host: localhost\r\n", "")
    }

    /// One call to the admin interface, with these lines of fields.
    pub fn admin_call(&self, method: &str, path: &str, fields: &str, body: &str) -> Response {
        let mut client = Client::connect(self.admin_address());
        let length = body.len();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ));
        client.response(method)
    }

    /// Every sample of `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let text = self.admin("/metrics").text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// The sum of all samples whose name with labels contains every part.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let metrics = self.metrics();
        metrics
            .iter()
            .filter(|(name, _)| parts.iter().all(|part| name.contains(part)))
            .map(|(_, value)| value)
            .sum()
    }

    /// As `metric`, for what is counted.
    pub fn count(&self, parts: &[&str]) -> u64 {
        self.metric(parts) as u64
    }

    /// Waits until nothing is in flight and no caller's connection is open: nothing leaked.
    pub fn assert_no_leak(&self) {
        wait_for("attempts in flight and open connections to fall to zero", || {
            let (in_flight, open) =
                (self.metric(&["isobar_in_flight{"]), self.metric(&["isobar_connections_open{"]));
            (in_flight == 0.0 && open == 0.0).then_some(())
        });
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if signal != Signal::USR1 && signal != Signal::HUP {
            self.stopping.store(true, Ordering::SeqCst);
        }
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the proxy to exit", || child.try_wait().unwrap())
    }

    /// Whether the log has a line of this message.
    pub fn has_logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.to_string().contains(text))
    }

    /// The values of a field in every line of this message, oldest first.
    pub fn logged(&self, message_text: &str, name: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let lines = log.iter().filter(|line| message(line) == message_text);
        lines.map(|line| field(line, name).to_owned()).collect()
    }

    /// The whole log, for messages of failing tests and for tests of errors.
    pub fn log_text(&self) -> String {
        self.log.lock().unwrap().iter().map(|line| line.to_string() + "\n").collect()
    }

    /// Proportional set size in KiB.
    pub fn memory_kib(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn field<'a>(line: &'a Value, name: &str) -> &'a str {
    let value = line.get(name).or_else(|| line.get("fields").and_then(|fields| fields.get(name)));
    value.and_then(Value::as_str).unwrap_or_default()
}

fn message(line: &Value) -> &str {
    field(line, "message")
}

impl Drop for Isobar {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let is_asked = !std::thread::panicking() && !self.stopping.load(Ordering::SeqCst);
            let asks = is_asked && self.has_logged("\"ready\"");
            // Whatever it finds, the process must not outlive its test.
            let found = catch_unwind(AssertUnwindSafe(|| {
                if asks {
                    self.assert_no_leak();
                }
            }));
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            if let Err(leak) = found {
                eprintln_log(&self.log_text());
                resume_unwind(leak);
            }
        }
        if std::thread::panicking() {
            eprintln_log(&self.log_text());
        } else if !self.errors_expected {
            let log = self.log.lock().unwrap();
            let error = log.iter().find(|line| line.get("level").and_then(Value::as_str) == Some("ERROR"));
            assert!(error.is_none(), "unexpected error in the log: {error:?}");
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log of a failed test belongs to its output")]
fn eprintln_log(text: &str) {
    eprintln!("log of the proxy:\n{text}");
}
