//! What tests of hostile messages share: the committed corpus, a proxy in front of one endpoint, an endpoint that keeps
//! every byte.
//!
//! Invariant: a [`Recorder`] answers a request only when all of it has come, so an answer of its own proves that the
//! proxy took the request for whole.
//! Limit: it reads what a proxy may send, not what a caller may.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::{Client, Isobar, Origin, Response};

/// A line of the corpus index with its bytes.
pub struct Case {
    /// Path below the corpus folder.
    pub file: String,
    /// `request`, `response`, `response-to-head` or `chunked`.
    pub kind: String,
    /// Framing, or broken rule, of each message.
    pub verdict: Vec<String>,
    /// What a caller sees for each message.
    pub status: Vec<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Case {
    /// Statuses that are promised, as numbers.
    pub fn statuses(&self) -> Vec<u16> {
        self.status.iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// The last message breaks a rule, rather than ending early.
    pub fn is_refused(&self) -> bool {
        self.statuses().last().is_some_and(|&status| (400..600).contains(&status))
    }
}

/// Every case of these kinds; panics where there are none.
pub fn corpus(kinds: &[&str]) -> Vec<Case> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/http1/tests/corpus");
    let index = std::fs::read_to_string(folder.join("index.tsv")).unwrap();
    let words = |column: &str| column.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut cases = Vec::new();
    for line in index.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, kind, verdict, status] = columns[..] else { panic!("index line {line:?}") };
        if kinds.contains(&kind) {
            let bytes = std::fs::read(folder.join(file)).unwrap();
            let (verdict, status) = (words(verdict), words(status));
            cases.push(Case { file: file.into(), kind: kind.into(), verdict, status, bytes });
        }
    }
    assert!(!cases.is_empty(), "the corpus has no {kinds:?}");
    cases
}

/// A listener `web` whose service has this one endpoint; `more` is appended, `listener` goes into the listener's table.
pub fn in_front_of(endpoint: SocketAddr, listener: &str, more: &str) -> Isobar {
    Isobar::start(&format!(
        "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n{listener}\n\
         [services.app]\nendpoints = [\"{endpoint}\"]\n{more}\n"
    ))
}

/// Sends these bytes on a connection of its own and reads one answer.
pub fn answer_to(isobar: &Isobar, bytes: impl AsRef<[u8]>) -> Response {
    let mut client = isobar.connect();
    client.send(bytes);
    client.any_response("GET").expect("no answer came")
}

/// Nothing follows on this connection, and the proxy ends it.
pub fn assert_closed(client: &mut Client, what: &str) {
    let further = client.any_response("GET");
    assert!(further.is_none(), "{what}: a further answer {further:?}");
    assert!(client.is_closed_by_peer(), "{what}: the connection stays open");
}

/// An endpoint that answers whole requests with 200 and keeps every byte.
pub struct Recorder {
    /// The endpoint; its count of connections is of use.
    pub origin: Origin,
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// Starts one.
    pub fn start() -> Self {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        let origin = Origin::start(move |visit| {
            let (mut buffered, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
            while let Ok(n @ 1..) = visit.stream.read(&mut piece) {
                buffered.extend_from_slice(&piece[..n]);
                while let Some(end) = end_of_message(&buffered) {
                    kept.lock().unwrap().push(buffered.drain(..end).collect());
                    visit.answer("recorded");
                }
            }
        });
        Self { origin, messages }
    }

    /// Requests that arrived whole.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.messages.lock().unwrap().clone()
    }

    /// The last request that arrived whole, as text.
    pub fn last(&self) -> String {
        String::from_utf8_lossy(self.messages.lock().unwrap().last().expect("a request")).into_owned()
    }
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

fn end_of_message(bytes: &[u8]) -> Option<usize> {
    let mut at = find(bytes, 0, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        loop {
            let end = find(bytes, at, b"\r\n")?;
            let line = std::str::from_utf8(&bytes[at..end]).ok()?;
            let size = usize::from_str_radix(line, 16).ok()?;
            at = end + 2;
            if size == 0 {
                break;
            }
            at += size + 2;
        }
        while !bytes.get(at..)?.starts_with(b"\r\n") {
            at = find(bytes, at, b"\r\n")? + 2;
        }
        return Some(at + 2);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    at += length.map_or(Some(0), |length| length.trim().parse().ok())?;
    (bytes.len() >= at).then_some(at)
}
