//! A steady load of GETs that counts every answer and every failure.
//!
//! Some callers keep their connection, the others make one for each request. All work in closed loops with a short pause
//! after each answer, so that kept connections also meet a change while they are idle, and a machine has room for others.
//!
//! Invariants: a request counts as answered only when a whole 200 came; everything else is a failure, a kept connection
//! that the proxy closed among them. Answers are counted by their body, which tells the endpoint.
//! Limits: it tells what was lost, not how long anything took.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::{Client, wait_for};

/// Callers that keep their connection, and callers that do not.
const N_KEPT: usize = 4;
const N_FRESH: usize = 2;

/// Between an answer and the next request of the same caller.
const PAUSE: Duration = Duration::from_millis(1);

/// Failures that are kept for the message; more are only counted.
const N_TOLD: usize = 20;

/// A load that runs until it is ended or dropped.
pub struct Load {
    course: Arc<Course>,
    callers: Vec<JoinHandle<()>>,
}

struct Course {
    address: SocketAddr,
    /// Speaks TLS to `localhost`.
    tls: Option<Arc<ClientConfig>>,
    ends_when_refused: bool,
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// How many, and when the last came, by body.
    answers: BTreeMap<String, (usize, Instant)>,
    n_failed: usize,
    failures: Vec<String>,
}

impl Load {
    /// Starts one on this address.
    pub fn on(address: SocketAddr) -> Self {
        Self::start(address, None, false)
    }

    /// Starts one whose callers leave when the listener does: on a connection that is announced or seen to be closed
    /// they send nothing more, and a refused new connection is their end.
    pub fn until_refused(address: SocketAddr) -> Self {
        Self::start(address, None, true)
    }

    /// As `on`, over TLS.
    pub fn on_tls(address: SocketAddr, tls: &Arc<ClientConfig>) -> Self {
        Self::start(address, Some(Arc::clone(tls)), false)
    }

    fn start(address: SocketAddr, tls: Option<Arc<ClientConfig>>, ends_when_refused: bool) -> Self {
        let (stop, seen) = (AtomicBool::new(false), Mutex::default());
        let course = Arc::new(Course { address, tls, ends_when_refused, stop, seen });
        let caller = |n: usize| {
            let course = Arc::clone(&course);
            std::thread::spawn(move || course.call(n < N_KEPT))
        };
        let callers = (0..N_KEPT + N_FRESH).map(caller).collect();
        Self { course, callers }
    }

    /// Answers with this body so far.
    pub fn n_from(&self, body: &str) -> usize {
        self.course.seen().answers.get(body).map_or(0, |(n, _)| *n)
    }

    /// When the last answer with this body came.
    pub fn last_from(&self, body: &str) -> Option<Instant> {
        self.course.seen().answers.get(body).map(|(_, last)| *last)
    }

    /// Answers so far.
    pub fn n_answers(&self) -> usize {
        self.course.seen().answers.values().map(|(n, _)| n).sum()
    }

    /// Waits until `n` more requests were answered.
    pub fn wait_for_answers(&self, n: usize) {
        let from = self.n_answers();
        wait_for("answers to the load", || (self.n_answers() >= from + n).then_some(()));
    }

    /// Waits until each of these bodies has come once more.
    pub fn wait_for_each(&self, bodies: &[&str]) {
        for body in bodies {
            let from = self.n_from(body);
            wait_for(&format!("an answer from {body}"), || (self.n_from(body) > from).then_some(()));
        }
    }

    /// Ends it; panics where a request failed or none was answered.
    pub fn end_without_failure(mut self) {
        self.stop();
        self.assert_no_failure();
    }

    /// Waits until every caller was refused; panics where a request failed or none was answered.
    pub fn end_refused(self) {
        wait_for("the callers to be refused", || {
            self.callers.iter().all(JoinHandle::is_finished).then_some(())
        });
        self.assert_no_failure();
    }

    /// Panics where a request failed so far or none was answered.
    pub fn assert_no_failure(&self) {
        let n_answers = self.n_answers();
        let seen = self.course.seen();
        let (n_failed, told) = (seen.n_failed, seen.failures.join("\n"));
        drop(seen);
        assert!(n_failed == 0, "{n_failed} requests failed, {n_answers} were answered:\n{told}");
        assert!(n_answers > 0, "no request was answered");
    }

    fn stop(&mut self) {
        self.course.stop.store(true, Ordering::SeqCst);
        for caller in self.callers.drain(..) {
            // A caller that panicked has said so; its requests are missing in the count.
            let ended = caller.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a caller panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Course {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn fail(&self, what: String) {
        let mut seen = self.seen();
        seen.n_failed += 1;
        if seen.failures.len() < N_TOLD {
            seen.failures.push(what);
        }
    }

    fn connect(&self) -> std::io::Result<Client> {
        match &self.tls {
            None => TcpStream::connect(self.address).map(Client::over),
            Some(tls) => Client::connect_tls(self.address, tls, "localhost"),
        }
    }

    fn call(&self, keeps: bool) {
        let mut kept: Option<Client> = None;
        let mut n_on_connection = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let usable = kept.take().filter(|client| !(self.ends_when_refused && is_over(client)));
            let mut client = match usable.map_or_else(|| self.connect(), Ok) {
                Ok(client) => client,
                Err(error) if self.ends_when_refused && error.kind() == ErrorKind::ConnectionRefused => {
                    return;
                }
                Err(error) => {
                    self.fail(format!("connecting: {error}"));
                    std::thread::park_timeout(PAUSE);
                    continue;
                }
            };
            let end = if keeps { "" } else { "connection: close\r\n" };
            client.send(format!("GET / HTTP/1.1\r\nhost: test\r\n{end}\r\n"));
            n_on_connection += 1;
            match client.any_response("GET") {
                Some(response) if response.status == 200 => {
                    let now = Instant::now();
                    let mut seen = self.seen();
                    let answers = seen.answers.entry(response.text()).or_insert((0, now));
                    *answers = (answers.0 + 1, now);
                    drop(seen);
                    let closes = response.header("connection").is_some_and(|value| value == "close");
                    kept = Some(client).filter(|_| keeps && !closes);
                }
                Some(response) => self.fail(format!("{} {}", response.status, response.error())),
                None => self.fail(format!("no answer to request {n_on_connection} (kept: {keeps})")),
            }
            if kept.is_none() {
                n_on_connection = 0;
            }
            std::thread::park_timeout(PAUSE);
        }
    }
}

/// Whether the proxy has closed this connection while it was idle.
fn is_over(client: &Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let is_over = client.stream.peek(&mut [0]).is_ok();
    client.stream.set_nonblocking(false).unwrap();
    is_over
}
